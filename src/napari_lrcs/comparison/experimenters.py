"""Compare what several experimenters painted on the same slices."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Confusion, Labels, Mask
from napari_lrcs.comparison.evaluate import named_phases
from napari_lrcs.comparison.experimenter_volumes import (
    check_experimenters,
    slices_of_all,
)
from napari_lrcs.comparison.votes import majority_vote
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.interfaces import near_interface
from napari_lrcs.metrics.overlap import accuracy, confusion_matrix
from napari_lrcs.phases import (
    UNPAINTED,
    Phase,
    PhaseTable,
    naming_notes,
    phases_up_to,
)

NEAR = (5, 10)
"""Distances from an interface, in voxels: how far perturbed labels reach at most, and
half of it."""

Pair: TypeAlias = tuple[int, int]
"""Places of two experimenters, from 0, the lower one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparing:
    """A part of the slices is counted; yielded several times a second."""

    share: float
    """Share of the slices, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceVoted:
    """A slice is counted, and its `majority_vote` taken."""

    index: int
    """Place of the slice along z."""
    majority: Labels
    agreement: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentersCompared:
    """All experimenters against one another, and each against a target.

    Parameters
    ----------
    names : tuple of str
        Names of the experimenters' labels.
    counted : tuple of Phase
        All phases if a file names them, else those that occur.
    confusions : mapping of pairs to ndarray of int64, shape (n_phases, n_phases)
        Of the voxels that both have painted; rows are the first one's labels.
    n_near : mapping of pairs to ndarray of int64, shape (len(near),)
        Voxels painted by both, differently, that lie near an interface of either.
    near : tuple of int
        How near, ascending, in voxels within the slice.
    target : str, optional
        Name of the target.
    against_target : tuple of ndarray of int64, shape (n_phases, n_phases)
        One per experimenter, of the voxels painted in both; rows are the target. Empty
        without a target.
    notes : tuple of str
        As of `naming_notes`.
    """

    names: tuple[str, ...]
    phases: PhaseTable
    counted: tuple[Phase, ...]
    confusions: Mapping[Pair, Confusion]
    n_near: Mapping[Pair, NDArray[np.int64]]
    near: tuple[int, ...]
    target: str | None = None
    against_target: tuple[Confusion, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def disagreement(self) -> NDArray[np.float64]:
        """Share of the voxels painted by both that differ, 0 to 1.

        Of shape (n, n), symmetric, 0 on the diagonal; NaN for two who have painted no
        voxel in common.
        """
        found = np.zeros((len(self.names),) * 2)
        for (a, b), confusion in self.confusions.items():
            found[a, b] = found[b, a] = 1 - accuracy(confusion)
        return found

    @property
    def mean_disagreement(self) -> float:
        """Mean over the pairs, 0 to 1; those without a common voxel are left out."""
        every = self.disagreement[np.triu_indices(len(self.names), 1)]
        return float(np.nanmean(every))

    def share_near(self, *pairs: Pair) -> NDArray[np.float64]:
        """Return which share of the differing voxels lies near an interface.

        Parameters
        ----------
        *pairs : tuple of int
            Whose voxels are taken together; all by default.

        Returns
        -------
        ndarray of float64, shape (len(near),)
            0 to 1; NaN where nothing differs.
        """
        chosen = pairs or tuple(self.confusions)
        matrices = [self.confusions[pair] for pair in chosen]
        n_differing = sum(int(m.sum() - np.trace(m)) for m in matrices)
        n_near = np.sum([self.n_near[pair] for pair in chosen], axis=0)
        share: NDArray[np.float64] = n_near / (n_differing or math.nan)
        return share


ExperimentersEvent: TypeAlias = Comparing | SliceVoted | ExperimentersCompared


def compare_experimenters(
    experimenters: Sequence[Volume],
    *,
    target: Volume | None = None,
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
    near: Sequence[int] = NEAR,
) -> Iterator[ExperimentersEvent]:
    """Compare labels of the same slices, slice by slice, whatever their size.

    A voxel counts for a pair where both have painted it, and against the target where
    it is painted in both. If labels turn out to be damaged, all are read to the end
    first, so that one error names all that are damaged.

    Parameters
    ----------
    experimenters : sequence of Volume
        Labels of the same shape, two or more.
    target : Volume, optional
        Labels that each experimenter is scored against.
    slices : sequence of int, optional
        Slices along z; all by default.
    mask : Volume of bool, optional
        Voxels outside do not count.
    near : sequence of int
        Where disagreement lies: which share of the voxels that a pair has painted
        differently is at most so many voxels away from an interface of either.
        Euclidean, between centres, within the slice; a voxel is on an interface if it
        shares an edge there with one of another phase.

    Yields
    ------
    ExperimentersEvent
        `Comparing`, `SliceVoted` for each slice, ascending; `ExperimentersCompared`
        last.

    Raises
    ------
    ValueError
        As `check_experimenters`; or if a distance is negative, labels are damaged, or
        no two experimenters, or none and the target, have painted a voxel in common.
    """
    check_experimenters(experimenters, target=target, slices=slices)
    if not near or min(near) < 0:
        raise ValueError(f"near must be distances of 0 or more voxels, got {[*near]}")
    wanted = sorted(set(range(experimenters[0].shape[0]) if slices is None else slices))
    volumes = [*experimenters, *([] if target is None else [target])]
    counts = _Counts(n=len(experimenters), near=tuple(sorted(set(near))))
    for n_done, (z, labels) in enumerate(slices_of_all(volumes, wanted, mask=mask)):
        if labels is None:
            yield Comparing(share=n_done / len(wanted))
            continue
        for share in counts.add(labels):
            yield Comparing(share=(n_done + share) / len(wanted))
        majority, agreement = majority_vote(labels[: counts.n])
        yield SliceVoted(index=z, majority=majority, agreement=agreement)
    _check_common(counts, experimenters, target)
    yield counts.result(volumes)


@dataclass(slots=True, kw_only=True)
class _Counts:
    """Counts over slices; matrices grow with the labels that occur."""

    n: int
    near: tuple[int, ...]
    confusions: dict[Pair, Confusion] = field(init=False)
    n_near: dict[Pair, NDArray[np.int64]] = field(init=False)
    against_target: dict[int, Confusion] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        pairs = list(combinations(range(self.n), 2))
        self.confusions = {pair: np.zeros((1, 1), np.int64) for pair in pairs}
        self.n_near = {pair: np.zeros(len(self.near), np.int64) for pair in pairs}

    def add(self, labels: Labels) -> Iterator[float]:
        """Count a slice of all experimenters, and of the target if there is one more.

        Yields the share that is done, 0 to 1.
        """
        if not labels.any():
            return
        are_near = []
        for i in range(self.n):
            are_near.append(near_interface(labels[i], self.near))
            yield (i + 1) / (2 * self.n)
        for b in range(self.n):
            for a in range(b):
                self._add_pair((a, b), labels, are_near[a] | are_near[b])
            if len(labels) > self.n:
                former = self.against_target.get(b, np.zeros((1, 1), np.int64))
                self.against_target[b] = _sum(former, _count(labels[-1], labels[b]))
            yield (self.n + b + 1) / (2 * self.n)

    def _add_pair(self, pair: Pair, labels: Labels, is_near: Mask) -> None:
        a, b = (labels[i] for i in pair)
        self.confusions[pair] = _sum(self.confusions[pair], _count(a, b))
        differs = (a != b) & (a != UNPAINTED) & (b != UNPAINTED)
        self.n_near[pair] += np.count_nonzero(differs & is_near, axis=(1, 2))

    def result(self, volumes: Sequence[Volume]) -> ExperimentersCompared:
        every = [*self.confusions.values(), *self.against_target.values()]
        total = reduce(_sum, every)
        tables = [volume.phases for volume in volumes]
        phases = phases_up_to(len(total), *tables)
        is_named = phases in tables
        nothing = np.zeros((len(phases),) * 2, np.int64)
        occurs = _sum(nothing, total + total.T).sum(axis=0) > 0
        return ExperimentersCompared(
            names=tuple(volume.name for volume in volumes[: self.n]),
            phases=phases,
            counted=tuple(p for p in phases if is_named or occurs[p.label - 1]),
            confusions={p: _sum(nothing, m) for p, m in self.confusions.items()},
            n_near=self.n_near,
            near=self.near,
            target=volumes[-1].name if self.against_target else None,
            against_target=tuple(
                _sum(nothing, m) for m in self.against_target.values()
            ),
            notes=naming_notes(*named_phases(*volumes)),
        )


def _count(target: Labels, predicted: Labels) -> Confusion:
    both = (target != UNPAINTED) & (predicted != UNPAINTED)
    highest = max(int(target.max(initial=0)), int(predicted.max(initial=0)), 1)
    return confusion_matrix(target * both, predicted * both, n_phases=highest)


def _sum(a: Confusion, b: Confusion) -> Confusion:
    total = np.zeros((max(len(a), len(b)),) * 2, np.int64)
    for part in (a, b):
        total[: len(part), : len(part)] += part
    return total


def _check_common(
    counts: _Counts, experimenters: Sequence[Volume], target: Volume | None
) -> None:
    if not any(m.any() for m in counts.confusions.values()):
        raise ValueError(
            f"no voxel of these slices is painted by two of the {len(experimenters)} "
            "experimenters; choose slices that several have painted"
        )
    if target is not None and not any(m.any() for m in counts.against_target.values()):
        raise ValueError(
            f"no voxel of these slices is painted in {target.name} and by an "
            "experimenter; choose slices that are painted in both, or no target"
        )
