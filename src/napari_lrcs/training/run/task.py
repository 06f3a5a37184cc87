"""What a run was begun with: ``config.json`` of its folder."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.provenance import Learnt, to_json
from napari_lrcs.io.records import LONG_AGO, convert, read_json, write_json


class _Beside(TypedDict):
    """What the file holds besides the config; the first runs had none of it."""

    parent: NotRequired[str]
    begun_at: NotRequired[datetime]
    learnt: NotRequired[Learnt]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTask:
    """The config of a run, and where it comes from.

    Parameters
    ----------
    config : TrainConfig
    parent : str
        Name of the run that this one continues; empty for none.
    begun_at : datetime
        When it began, or the study, say, that it is part of; with its time zone.
    learnt : Learnt
        What its network learns from, and has before.
    """

    config: TrainConfig
    parent: str = ""
    begun_at: datetime = LONG_AGO
    learnt: Learnt = field(default_factory=Learnt)

    def write(self, path: Path) -> None:
        """Write the file, which makes the folder a run that resumes."""
        values = self.config.to_dict()
        values["begun_at"] = self.begun_at.isoformat()
        values["learnt"] = to_json(self.learnt)
        if self.parent:
            values["parent"] = self.parent
        write_json(path, values)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the file.

        Raises
        ------
        CheckpointError
            If it is missing.
        ValueError, OSError
            If it is damaged, or cannot be read.
        """
        try:
            values = read_json(path, dict[str, Any])
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CheckpointError(
                f"there is no run in {path.parent}; choose a run folder, or start a "
                "run without resuming"
            ) from error
        names = set(_Beside.__annotations__) & set(values)
        beside = convert({name: values.pop(name) for name in names}, _Beside)
        return cls(config=TrainConfig.from_dict(values), **beside)
