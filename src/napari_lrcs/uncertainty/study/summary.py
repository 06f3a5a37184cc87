"""The results of a study: its members, and their means with standard deviations.

Needs no torch.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Self, TypedDict

import numpy as np
from msgspec import Meta

from napari_lrcs.io.tables import write_csv
from napari_lrcs.metrics.composition import MeasuresDict
from napari_lrcs.phases import Phase, PhaseTable

Group = Literal["perturbed", "same_labels"]
"""Members trained on perturbed labels, and members trained on the labels as painted,
which differ only in their seeds."""

GROUPS: Mapping[Group, str] = {
    "perturbed": "perturbed labels",
    "same_labels": "same labels, other seeds",
}
"""The groups and their names on screen."""

Kind = Literal[
    "accuracy", "iou", "volume_fraction", "surface_fraction", "interface_fraction"
]

KINDS: Mapping[Kind, str] = {
    "accuracy": "Accuracy",
    "iou": "IoU",
    "volume_fraction": "Volume",
    "surface_fraction": "Surface",
    "interface_fraction": "Interface",
}
"""The kinds of quantities and their names on screen."""

Row = dict[str, str | int | float]
"""A row of a table, by the names of its columns."""

_Share = Annotated[float, Meta(ge=0, le=1)] | None
"""0 to 1; None stands for NaN."""


class MemberDict(TypedDict):
    """A member as a JSON object."""

    name: str
    group: Group
    number: int
    seed: int
    changed_share: _Share
    accuracy: _Share
    iou: list[_Share]
    measures: MeasuresDict | None
    seconds: Annotated[float, Meta(ge=0, le=1e12)] | None
    error: str | None
    not_learnt: NotRequired[tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One network of a study, and its results.

    Parameters
    ----------
    name : str
        Name of its folder, such as ``perturbed-003``.
    group : {"perturbed", "same_labels"}
        Whether it was trained on perturbed labels or on the labels as painted.
    number : int
        Position in its group, from 0.
    seed : int
        Seed of its training.
    changed_share : float
        Share of the painted voxels that the perturbation changed, 0 to 1.
    accuracy : float
        Accuracy on the test slices, 0 to 1; NaN if it failed.
    iou : tuple of float
        IoU of each phase on the test slices; NaN for a phase that occurs in neither
        labels nor prediction. Empty if it failed.
    measures : MeasuresDict or None
        Measures of its whole segmentation, as in ``measure --json``; None if it failed.
    seconds : float
        Duration of its last session.
    error : str, optional
        Why it failed.
    not_learnt : tuple of int
        Labels of the phases that it has not learnt, by the test slices.
    """

    name: str
    group: Group
    number: int
    seed: int
    changed_share: float = math.nan
    accuracy: float = math.nan
    iou: tuple[float, ...] = ()
    measures: MeasuresDict | None = None
    seconds: float = math.nan
    error: str | None = None
    not_learnt: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, None for NaN."""
        values = asdict(self)
        for name in ("changed_share", "accuracy", "seconds"):
            values[name] = _or_none(values[name])
        return values | {"iou": [*map(_or_none, self.iou)]}

    @classmethod
    def from_dict(cls, values: MemberDict, *, n_phases: int) -> Self:
        """Make a member from the JSON values of `to_dict`.

        Raises
        ------
        ValueError
            If its scores or measures are not those of `n_phases` phases.
        """
        if not set(values.get("not_learnt", ())) <= {*range(1, n_phases + 1)}:
            raise ValueError(f"{values['name']} names unknown labels as not learnt")
        measures = values["measures"]
        if measures is not None:
            pairs = n_phases * (n_phases - 1) // 2
            found = len(values["iou"]), len(measures["phases"])
            if found != (n_phases,) * 2 or len(measures["interfaces"]) != pairs:
                raise ValueError(
                    f"{values['name']} has {found[0]} IoU and measures of {found[1]} "
                    f"phases and {len(measures['interfaces'])} interfaces, expected "
                    f"{n_phases} phases and {pairs} interfaces"
                )
        own: dict[str, Any] = {
            **values,
            "changed_share": _or_nan(values["changed_share"]),
            "accuracy": _or_nan(values["accuracy"]),
            "iou": tuple(map(_or_nan, values["iou"])),
            "seconds": _or_nan(values["seconds"]),
        }
        return cls(**own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A quantity over the members of a group.

    Parameters
    ----------
    kind : {"accuracy", "iou", "volume_fraction", "surface_fraction", \
"interface_fraction"}
        What was measured.
    name : str
        Name of the phase, or of both phases of an interface; "all" for the accuracy.
    labels : tuple of int
        Label of the phase, or of both; empty for the accuracy.
    values : tuple of float
        Value of each member, 0 to 1, in their order; NaN where undefined.
    """

    kind: Kind
    name: str
    labels: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def defined(self) -> tuple[float, ...]:
        """The values that are not NaN."""
        return tuple(value for value in self.values if not math.isnan(value))

    @property
    def n_missing(self) -> int:
        """Number of members without a value; mean and sd leave them out."""
        return len(self.values) - len(self.defined)

    @property
    def mean(self) -> float:
        """Mean of the defined values; NaN where there is none."""
        return float(np.mean(self.defined)) if self.defined else math.nan

    @property
    def sd(self) -> float:
        """Sample standard deviation (n - 1); NaN for fewer than two values."""
        return (
            float(np.std(self.defined, ddof=1)) if len(self.defined) > 1 else math.nan
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """All quantities of the members of a group that succeeded."""

    n: int
    n_failed: int
    names: tuple[str, ...]
    """Names of the members that succeeded, in the order of the quantities' values."""
    quantities: tuple[Quantity, ...]

    def of_kind(self, kind: Kind) -> tuple[Quantity, ...]:
        """Return the quantities of one kind, in the order of their labels."""
        return tuple(q for q in self.quantities if q.kind == kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySummary:
    """The results of a study, group by group; groups without members are left out."""

    phases: PhaseTable
    groups: Mapping[Group, GroupSummary]
    not_learnt: Mapping[Phase, int] = field(default_factory=dict)
    """How many networks, of all groups, have not learnt a phase."""

    @property
    def shortcoming(self) -> str:
        """A clause on what networks have not learnt; empty if there is nothing."""
        n = sum(group.n for group in self.groups.values())
        return ", ".join(
            f"{k} of {n} networks {'has' if k == 1 else 'have'} not learnt {phase.name}"
            for phase, k in self.not_learnt.items()
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, unrounded, None for NaN."""
        return {
            "phases": self.phases.to_dicts(),
            "groups": {
                name: {
                    "n": group.n,
                    "n_failed": group.n_failed,
                    "members": [*group.names],
                    "quantities": [_quantity_dict(q) for q in group.quantities],
                }
                for name, group in self.groups.items()
            },
            "not_learnt": [
                {"label": phase.label, "name": phase.name, "n_networks": n}
                for phase, n in self.not_learnt.items()
            ],
        }


def summarise(members: Sequence[Member], phases: PhaseTable) -> StudySummary:
    """Collect the quantities of each group from its members.

    Parameters
    ----------
    members : sequence of Member
        Finished and failed members; values are in this order.
    phases : PhaseTable
        Phases that all members predict.
    """
    groups = {}
    for group in GROUPS:
        own = [member for member in members if member.group == group]
        if own:
            groups[group] = _summarise_group(own, phases)
    counts = Counter(label for member in members for label in {*member.not_learnt})
    not_learnt = {phase: counts[phase.label] for phase in phases if counts[phase.label]}
    return StudySummary(phases=phases, groups=groups, not_learnt=not_learnt)


def _summarise_group(members: Sequence[Member], phases: PhaseTable) -> GroupSummary:
    good = [member for member in members if member.measures is not None]
    return GroupSummary(
        n=len(good),
        n_failed=len(members) - len(good),
        names=tuple(member.name for member in good),
        quantities=tuple(_quantities(good, phases)),
    )


def _quantities(members: Sequence[Member], phases: PhaseTable) -> Iterator[Quantity]:
    yield Quantity(
        kind="accuracy",
        name="all",
        labels=(),
        values=tuple(member.accuracy for member in members),
    )
    measures = [member.measures for member in members if member.measures is not None]
    for phase in phases:
        ious = tuple(member.iou[phase.label - 1] for member in members)
        yield Quantity(kind="iou", name=phase.name, labels=(phase.label,), values=ious)
    for kind in ("volume_fraction", "surface_fraction"):
        for i, phase in enumerate(phases):
            yield Quantity(
                kind=kind,
                name=phase.name,
                labels=(phase.label,),
                values=tuple(float(m["phases"][i][kind]) for m in measures),
            )
    for i, (a, b) in enumerate(combinations(range(1, len(phases) + 1), 2)):
        yield Quantity(
            kind="interface_fraction",
            name=f"{phases.names[a - 1]} – {phases.names[b - 1]}",
            labels=(a, b),
            values=tuple(float(m["interfaces"][i]["fraction"]) for m in measures),
        )


# ---- tables ----


def summary_rows(summary: StudySummary) -> list[Row]:
    """Return one row per quantity and group: mean and sd, 0 to 1; NaN if undefined."""
    return [
        {
            "group": name,
            "kind": q.kind,
            "name": q.name,
            "n": len(q.defined),
            "n_missing": q.n_missing,
            "mean": q.mean,
            "sd": q.sd,
        }
        for name, group in summary.groups.items()
        for q in group.quantities
    ]


def member_rows(members: Sequence[Member], phases: PhaseTable) -> list[Row]:
    """Return one row per member: scores and measures, 0 to 1; NaN if undefined.

    Columns of phases end in their label (``iou_1``), columns of interfaces in both
    labels (``interface_fraction_1_2``).
    """
    return [_member_row(member, phases) for member in members]


def _member_row(member: Member, phases: PhaseTable) -> Row:
    row: Row = {
        "name": member.name,
        "group": member.group,
        "number": member.number,
        "seed": member.seed,
        "changed_share": member.changed_share,
    }
    good = [] if member.measures is None else [member]
    for q in _quantities(good, phases):
        column = "_".join([q.kind, *map(str, q.labels)])
        row[column] = q.values[0] if q.values else math.nan
    return row | {"seconds": member.seconds, "error": member.error or ""}


def write_summary_csv(path: Path, summary: StudySummary) -> None:
    """Write `summary_rows` as CSV; the file is replaced only when complete."""
    write_csv(path, summary_rows(summary))


def write_members_csv(
    path: Path, members: Sequence[Member], phases: PhaseTable
) -> None:
    """Write `member_rows` as CSV; the file is replaced only when complete."""
    write_csv(path, member_rows(members, phases))


def in_percent(quantity: Quantity) -> str:
    """Format mean and standard deviation for a table on screen.

    Examples
    --------
    >>> iou = Quantity(kind="iou", name="pore", labels=(1,), values=(0.64, 0.66))
    >>> in_percent(iou)
    '65.0 ± 1.4%'
    >>> in_percent(
    ...     Quantity(kind="iou", name="NMC", labels=(3,), values=(0.1195, 0.1196))
    ... )
    '11.95 ± 0.01%'
    """
    if not quantity.defined:
        return "–"
    mean, sd = 100 * quantity.mean, 100 * quantity.sd
    if math.isnan(sd):
        return f"{mean:.1f}%"
    # A second digit for a deviation that would otherwise be rounded to 0.
    digits = 2 if 0 < sd < 0.1 else 1
    return f"{mean:.{digits}f} ± {sd:.{digits}f}%"


def _quantity_dict(quantity: Quantity) -> dict[str, Any]:
    return {
        "kind": quantity.kind,
        "name": quantity.name,
        "labels": [*quantity.labels],
        "mean": _or_none(quantity.mean),
        "sd": _or_none(quantity.sd),
        "n_missing": quantity.n_missing,
        "values": [*map(_or_none, quantity.values)],
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
