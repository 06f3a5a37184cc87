"""What an export tells while it runs; importing this module loads no torch."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """A network is being exported."""

    share: float
    """0 to 1, of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """The file is written, and its network computes what ours does."""

    out: Path
    advice: tuple[str, ...] = ()
    """What its user should know, in sentences."""


ExportEvent = Exporting | Exported
