"""The results of a study: its members, and their means with standard deviations.

Needs no torch.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Self

from msgspec import Meta

from napari_lrcs.phases import Phase, PhaseTable
from napari_lrcs.uncertainty.study.quantities import Kind, Quantity, quantities_of
from napari_lrcs.uncertainty.study.results import (
    Results,
    ResultsDict,
    Share,
    or_nan,
    or_none,
    read_results,
)

Group = Literal["perturbed", "same_labels"]
"""Members trained on perturbed labels, and members trained on the labels as painted,
which differ only in their seeds."""

GROUPS: Mapping[Group, str] = {
    "perturbed": "perturbed labels",
    "same_labels": "same labels, other seeds",
}
"""The groups and their names on screen."""

ENSEMBLE = "ensemble"
"""Name of the segmentation by the mean of the probabilities of all networks."""

CAVEAT = (
    "± is how far networks differ, not how far they are from the truth: all of them "
    "share a bias, which a few hand-painted check patches measure"
)
"""What a reader of the table must know, to be followed by where to do it."""


class MemberDict(ResultsDict):
    """A member as a JSON object."""

    name: str
    group: Group
    number: int
    seed: int
    changed_share: Share
    seconds: Annotated[float, Meta(ge=0, le=1e12)] | None
    error: str | None
    not_learnt: NotRequired[tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Results):
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
    seconds: float = math.nan
    error: str | None = None
    not_learnt: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, None for NaN."""
        return {
            "name": self.name,
            "group": self.group,
            "number": self.number,
            "seed": self.seed,
            "changed_share": or_none(self.changed_share),
            **self.results_dict(),
            "seconds": or_none(self.seconds),
            "error": self.error,
            "not_learnt": self.not_learnt,
        }

    @classmethod
    def from_dict(cls, values: MemberDict, *, n_phases: int) -> Self:
        """Make a member from the JSON values of `to_dict`.

        Raises
        ------
        ValueError
            If its scores or measures are not those of `n_phases` phases.
        """
        name = values["name"]
        if not set(values.get("not_learnt", ())) <= {*range(1, n_phases + 1)}:
            raise ValueError(f"{name} names unknown labels as not learnt")
        return cls(
            name=name,
            group=values["group"],
            number=values["number"],
            seed=values["seed"],
            changed_share=or_nan(values["changed_share"]),
            seconds=or_nan(values["seconds"]),
            error=values["error"],
            not_learnt=values.get("not_learnt", ()),
            **read_results(values, n_phases=n_phases, name=name),
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
    ensemble: GroupSummary | None = None
    """The segmentation by the mean of the probabilities of all networks that
    succeeded, as a group of one; None as long as there is none."""

    @property
    def columns(self) -> Mapping[str, tuple[str, GroupSummary]]:
        """Title and quantities of each group, and of the ensemble, by their names."""
        columns: dict[str, tuple[str, GroupSummary]] = {
            name: (f"{GROUPS[name]} ({group.n})", group)
            for name, group in self.groups.items()
        }
        if self.ensemble is not None:
            columns[ENSEMBLE] = ENSEMBLE, self.ensemble
        return columns

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The quantities of the first group; all have the same, with other values."""
        return next((group.quantities for group in self.groups.values()), ())

    def has(self, kind: Kind) -> bool:
        """Whether quantities of a kind are measured."""
        return any(quantity.kind == kind for quantity in self.quantities)

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
                    "quantities": [q.to_dict() for q in group.quantities],
                }
                for name, group in self.groups.items()
            },
            "not_learnt": [
                {"label": phase.label, "name": phase.name, "n_networks": n}
                for phase, n in self.not_learnt.items()
            ],
            "ensemble": None
            if self.ensemble is None
            else [q.to_dict() for q in self.ensemble.quantities],
        }


def summarise(
    members: Sequence[Member], phases: PhaseTable, *, ensemble: Results | None = None
) -> StudySummary:
    """Collect the quantities of each group from its members.

    Parameters
    ----------
    members : sequence of Member
        Finished and failed members; values are in this order.
    phases : PhaseTable
        Phases that all members predict.
    ensemble : Results, optional
        Those of the segmentation by the mean of all members' probabilities.
    """
    like = first_good(members)
    groups = {}
    for group in GROUPS:
        own = [member for member in members if member.group == group]
        if own:
            groups[group] = _summarise_group(own, phases, like)
    counts = Counter(label for member in members for label in {*member.not_learnt})
    not_learnt = {phase: counts[phase.label] for phase in phases if counts[phase.label]}
    return StudySummary(
        phases=phases,
        groups=groups,
        not_learnt=not_learnt,
        ensemble=None if ensemble is None else _group_of_one(ensemble, phases, like),
    )


def _group_of_one(
    ensemble: Results, phases: PhaseTable, like: Results | None
) -> GroupSummary:
    quantities = tuple(quantities_of([ensemble], phases, like=like))
    return GroupSummary(n=1, n_failed=0, names=(ENSEMBLE,), quantities=quantities)


def first_good(members: Sequence[Member]) -> Member | None:
    """Return the first member that did not fail; None if there is none."""
    return next((member for member in members if member.measures is not None), None)


def _summarise_group(
    members: Sequence[Member], phases: PhaseTable, like: Results | None
) -> GroupSummary:
    good = [member for member in members if member.measures is not None]
    return GroupSummary(
        n=len(good),
        n_failed=len(members) - len(good),
        names=tuple(member.name for member in good),
        quantities=tuple(quantities_of(good, phases, like=like)),
    )
