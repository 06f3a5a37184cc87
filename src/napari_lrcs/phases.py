"""Material phases: their labels, names and colours."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Self, TypeAlias, TypedDict

import msgspec

UNPAINTED = 0
"""Label of unpainted voxels, which are ignored in losses, scores and measures."""

MAX_PHASES = 255
"""Largest number of phases: labels are uint8, and 0 means unpainted."""

# Okabe and Ito's colour-blind safe palette (https://jfly.uni-koeln.de/color/), in an
# order that keeps neighbours far apart in lightness. First come blue pores, orange
# binder and green particles, as in the paper's Fig. 1a.
_PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#999999",
)


class PhaseDict(TypedDict):
    """A phase as a JSON object."""

    label: int
    name: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One material class.

    Parameters
    ----------
    label : int
        Value of its voxels in labels, 1 to 255.
    name : str
        Name on screen and in tables.
    colour : str
        Colour on screen, as ``#rrggbb``.

    Raises
    ------
    ValueError
        If the label is out of range, the name is empty or the colour is not of the form
        ``#rrggbb``.
    """

    label: int
    name: str
    colour: str

    def __post_init__(self) -> None:
        if not 1 <= self.label <= MAX_PHASES:
            raise ValueError(
                f"a phase's label must be 1 to {MAX_PHASES}, got {self.label}"
            )
        if not self.name.strip():
            raise ValueError(f"the phase with label {self.label} has an empty name")
        if not re.fullmatch("#[0-9a-fA-F]{6}", self.colour):
            raise ValueError(f"a colour must look like #rrggbb, got {self.colour!r}")

    @property
    def has_default_name(self) -> bool:
        """Whether it is named by its number, as in tables that nobody has named."""
        return self.name == _default_name(self.label)

    @property
    def rgb(self) -> tuple[float, float, float]:
        """Red, green and blue, 0 to 1."""
        red, green, blue = (int(self.colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return red, green, blue


@dataclass(frozen=True, slots=True)
class PhaseTable:
    """The phases of a segmentation, labelled 1 to `n_phases` without gaps.

    Parameters
    ----------
    phases : tuple of Phase
        At least two, in the order of their labels.

    Raises
    ------
    ValueError
        If there are fewer than two phases, labels have gaps, or two names are the same.

    Examples
    --------
    >>> table = PhaseTable.named("pore", "CBD", "NMC")
    >>> [(phase.label, phase.name) for phase in table]
    [(1, 'pore'), (2, 'CBD'), (3, 'NMC')]
    """

    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        labels = [phase.label for phase in self.phases]
        if len(labels) < 2:
            raise ValueError(f"a segmentation needs at least 2 phases, got {labels}")
        if labels != list(range(1, len(labels) + 1)):
            raise ValueError(
                f"phases must be labelled 1 to {len(labels)} in order, got {labels}"
            )
        if len(set(self.names)) < len(labels):
            raise ValueError(f"two phases share a name: {', '.join(self.names)}")

    def __len__(self) -> int:
        return len(self.phases)

    def __iter__(self) -> Iterator[Phase]:
        return iter(self.phases)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the labels."""
        return tuple(phase.name for phase in self.phases)

    @classmethod
    def named(cls, *names: str) -> Self:
        """Make a table with the given names and the default colours."""
        return cls(
            tuple(
                Phase(label=i + 1, name=name, colour=_PALETTE[i % len(_PALETTE)])
                for i, name in enumerate(names)
            )
        )

    @classmethod
    def numbered(cls, n_phases: int) -> Self:
        """Make a table of "phase 1", "phase 2", … with the default colours."""
        return cls.named(*map(_default_name, range(1, n_phases + 1)))

    @classmethod
    def from_dicts(cls, rows: object) -> Self:
        """Make a table from the JSON objects of `to_dicts`.

        Raises
        ------
        ValueError
            If `rows` is anything else.
        """
        return cls(msgspec.convert(rows, tuple[Phase, ...]))

    def to_dicts(self) -> list[PhaseDict]:
        """List the phases as JSON objects."""
        return [PhaseDict(label=p.label, name=p.name, colour=p.colour) for p in self]


def phases_up_to(highest: int, *tables: PhaseTable | None) -> PhaseTable:
    """Name the labels 1 to `highest`: by a table that has them all, else by numbers.

    Parameters
    ----------
    highest : int
        Highest label that occurs.
    *tables : PhaseTable or None
        Those of the files, if they name phases; the longest one counts. Tables that
        contradict each other are to be refused before, with `check_same_numbers`.

    Examples
    --------
    >>> known = PhaseTable.named("pore", "solid")
    >>> phases_up_to(2, None, known).names, phases_up_to(3, known).names
    (('pore', 'solid'), ('phase 1', 'phase 2', 'phase 3'))
    """
    longest = max(filter(None, tables), key=len, default=None)
    if longest is not None and len(longest) >= highest:
        return longest
    return PhaseTable.numbered(max(highest, 2))


NamedTable: TypeAlias = tuple[str, PhaseTable | None]
"""The name of a file, and its phases if it names them."""


def check_same_numbers(*files: NamedTable) -> None:
    """Refuse files of labels that number the same phase differently.

    Names are the same in upper and lower case; "phase 1" and the like name nothing.

    Raises
    ------
    ValueError
        If a name has one number in one file, and another number in another.

    Examples
    --------
    >>> check_same_numbers(("a.tif", ELECTRODE), ("b.tif", PhaseTable.numbered(3)))
    """
    known = [(name, table) for name, table in files if table is not None]
    for (name, ours), (other, theirs) in combinations(known, 2):
        numbers, others = _numbers(ours), _numbers(theirs)
        moved = [n for n in numbers if others.get(n, numbers[n]) != numbers[n]]
        if not moved:
            continue
        shown = [p.name for p in ours if p.name.strip().casefold() in moved]
        verb = "does" if len(shown) == 1 else "do"
        found = (
            "the same phases in another order"
            if numbers.keys() == others.keys()
            else f"{' and '.join(shown)} {verb} not have the same number in both"
        )
        raise ValueError(
            f"{name} has {_listed(ours)}, but {other} has {_listed(theirs)}: {found}, "
            "and labels count by their number; reorder the phases of one of them in "
            "Label phases, which changes its labels, or rename those that are wrong"
        )


def naming_notes(*files: NamedTable) -> tuple[str, ...]:
    """Say which files name other phases than the first one that names any.

    Names that differ only in upper and lower case are the same, and "phase 1" and the
    like name nothing.
    """
    known = [(name, table) for name, table in files if table is not None]
    if not known:
        return ()
    first, ours = known[0]
    return tuple(
        f"{first} has {len(ours)} phases ({', '.join(ours.names)}), {name} "
        f"{len(table)} ({', '.join(table.names)}); labels of the same number are "
        "compared"
        for name, table in known[1:]
        if _differ(ours, table)
    )


def _numbers(table: PhaseTable) -> dict[str, int]:
    return {p.name.strip().casefold(): p.label for p in table if not p.has_default_name}


def _differ(a: PhaseTable, b: PhaseTable) -> bool:
    names = [{label: name for name, label in _numbers(t).items()} for t in (a, b)]
    both = names[0].keys() & names[1].keys()
    return len(a) != len(b) or any(names[0][n] != names[1][n] for n in both)


def _listed(phases: Iterable[Phase]) -> str:
    return ", ".join(f"{phase.label} {phase.name}" for phase in phases)


ELECTRODE = PhaseTable.named("pore", "CBD", "NMC")
"""The phases of a battery cathode: pores, carbon-binder domain and NMC particles."""


def _default_name(label: int) -> str:
    return f"phase {label}"


def phase_called(text: str, phases: Iterable[Phase]) -> Phase:
    """Find a phase by its name or its label.

    Raises
    ------
    ValueError
        If there is none; the message lists those that there are.
    """
    known = tuple(phases)
    for phase in known:
        if text in (phase.name, str(phase.label)):
            return phase
    listed = ", ".join(f"{phase.label} ({phase.name})" for phase in known)
    raise ValueError(f"there is no phase {text}; the labels have {listed}")
