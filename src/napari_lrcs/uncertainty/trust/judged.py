"""Every quantity that check patches judge, and the words for what they cannot tell."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.metrics.composition import Composition
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.trust.estimator import (
    Estimate,
    difference_estimate,
    mean_estimate,
    ratio_estimate,
)
from napari_lrcs.uncertainty.trust.patch_counts import PatchCounts

Kind = Literal[
    "volume_fraction",
    "surface_fraction",
    "interface_fraction",
    "accuracy",
    "mean_iou",
    "iou",
    "dice",
    "precision",
    "recall",
]

KINDS: Mapping[Kind, str] = {
    "volume_fraction": "Volume",
    "surface_fraction": "Surface",
    "interface_fraction": "Interface",
    "accuracy": "Accuracy",
    "mean_iou": "Mean IoU",
    "iou": "IoU",
    "dice": "Dice",
    "precision": "Precision",
    "recall": "Recall",
}
"""The kinds of quantities, in the order of tables, and their names on screen."""

_COMPARED: tuple[Kind, ...] = ("accuracy", "mean_iou", "iou")

_MANY = 10
"""Patches from which one should not hold most of the scatter."""

LEAST_HOLDING = 5
"""Patches that must hold a phase or an interface for an interval of it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Quantity:
    """A quantity with its estimate.

    Parameters
    ----------
    predicted : float
        Of the prediction alone, in the whole volume; NaN for scores.
    n_holding : int
        Patches in which the phase or interface occurs, painted or predicted.
    """

    kind: Kind
    labels: tuple[int, ...]
    name: str
    estimate: Estimate
    n_holding: int
    predicted: float = math.nan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimated:
    """All estimates of one segmentation."""

    name: str
    estimates: tuple[_Quantity, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A quantity of a segmentation, corrected by check patches.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    labels : tuple of int
        Label of the phase, or of both phases of an interface; empty for all.
    name : str
        Name of the phase, of both phases, or "all".
    predicted : float
        Of the prediction in the whole volume, 0 to 1; NaN for scores.
    correction : float
        What is added to it; NaN for scores.
    value, low, high : float
        The corrected value and its interval, 0 to 1; NaN if undefined.
    half_width : float
        Of the interval before it is cut at 0 or 1.
    reason : str
        Why there is no interval; empty if there is one.
    note : str
        What else is to be known, such as that the interval was cut; mostly empty.
    patches_needed : int or None
        Patches for the wanted half width.
    """

    kind: Kind
    labels: tuple[int, ...]
    name: str
    predicted: float
    correction: float
    value: float
    low: float
    high: float
    half_width: float
    reason: str = ""
    note: str = ""
    patches_needed: int | None = None

    @property
    def title(self) -> str:
        """Its name in tables, as in "Volume, pore"."""
        kind = KINDS[self.kind]
        return f"{kind}, {self.name}" if self.labels else kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The scores of one segmentation minus those of another, from the same patches.

    Parameters
    ----------
    first, second : str
        Names of the segmentations.
    differences : tuple of Judged
        First minus second; `value`, `low` and `high` are -1 to 1.
    """

    first: str
    second: str
    differences: tuple[Judged, ...]

    @property
    def better(self) -> str:
        """Name of the one with the higher mean IoU; empty if the interval holds 0."""
        found = next(d for d in self.differences if d.kind == "mean_iou")
        if found.low > 0:
            return self.first
        return self.second if found.high < 0 else ""


def estimate_all(
    composition: Composition, patches: PatchCounts, *, phases: PhaseTable
) -> tuple[_Quantity, ...]:
    """Estimate every quantity of a segmentation.

    Parameters
    ----------
    composition : Composition
        Of the whole prediction.
    patches : PatchCounts
        Of the patches, as painted and as predicted.
    phases : PhaseTable
        In the order of the counts.
    """
    fractions = [*_fractions(composition, patches, phases)]
    scores = [*_scores(patches, phases)]
    ious = [q.estimate for q in scores if q.kind == "iou" and q.n_holding]
    area = patches.area
    correct = np.trace(patches.confusion, axis1=1, axis2=2)
    overall: tuple[tuple[Kind, Estimate], ...] = (
        ("accuracy", ratio_estimate(correct, area)),
        ("mean_iou", mean_estimate(ious)),
    )
    return (
        *fractions,
        *(
            _Quantity(
                kind=kind, labels=(), name="all", estimate=found, n_holding=area.size
            )
            for kind, found in overall
        ),
        *scores,
    )


def _fractions(
    composition: Composition, patches: PatchCounts, phases: PhaseTable
) -> Iterator[_Quantity]:
    kinds: tuple[tuple[Kind, str], ...] = (
        ("volume_fraction", "n_voxels"),
        ("surface_fraction", "n_surface"),
    )
    for kind, counts in kinds:
        for i, phase in enumerate(phases):
            painted, predicted = (
                np.array([getattr(patch, counts)[i] for patch in part])
                for part in (patches.painted, patches.predicted)
            )
            yield _fraction(
                (kind, (phase.label,), phase.name),
                painted,
                predicted,
                patches.area,
                whole=float(getattr(composition, kind)[i]),
            )
    for a, b in combinations(range(len(phases)), 2):
        painted, predicted = (
            np.array([p.n_touching[a, b] + p.n_touching[b, a] for p in part])
            for part in (patches.painted, patches.predicted)
        )
        yield _fraction(
            (
                "interface_fraction",
                (a + 1, b + 1),
                f"{phases.names[a]} – {phases.names[b]}",
            ),
            painted,
            predicted,
            patches.area,
            whole=composition.interface_fraction[a + 1, b + 1],
        )


def _fraction(
    what: tuple[Kind, tuple[int, ...], str],
    painted: NDArray[np.int64],
    predicted: NDArray[np.int64],
    area: NDArray[np.int64],
    *,
    whole: float,
) -> _Quantity:
    kind, labels, name = what
    return _Quantity(
        kind=kind,
        labels=labels,
        name=name,
        predicted=whole,
        estimate=difference_estimate(painted, predicted, area, predicted_mean=whole),
        n_holding=int(np.count_nonzero(painted + predicted)),
    )


def _scores(patches: PatchCounts, phases: PhaseTable) -> Iterator[_Quantity]:
    confusion = patches.confusion
    for i, phase in enumerate(phases):
        shared = confusion[:, i, i]
        painted, predicted = confusion[:, i].sum(axis=1), confusion[:, :, i].sum(axis=1)
        ratios: tuple[tuple[Kind, NDArray[np.int64], NDArray[np.int64]], ...] = (
            ("iou", shared, painted + predicted - shared),
            ("dice", 2 * shared, painted + predicted),
            ("precision", shared, predicted),
            ("recall", shared, painted),
        )
        for kind, top, bottom in ratios:
            yield _Quantity(
                kind=kind,
                labels=(phase.label,),
                name=phase.name,
                estimate=ratio_estimate(top, bottom),
                n_holding=int(np.count_nonzero(bottom)),
            )


def judge_all(
    quantities: Sequence[_Quantity],
    *,
    confidence_level: float,
    half_width: float | None = None,
) -> tuple[Judged, ...]:
    """Turn estimates into intervals, or into the reason why there is none.

    Parameters
    ----------
    confidence_level : float
        Share of the intervals that shall contain the truth.
    half_width : float, optional
        Wanted half width, to tell how many patches it takes.
    """
    return tuple(
        _judge(quantity, confidence_level, wanted=half_width, lowest=0.0)
        for kind in KINDS
        for quantity in quantities
        if quantity.kind == kind
    )


def compare(
    first: Estimated, second: Estimated, *, confidence_level: float
) -> Comparison:
    """Compare the scores of two segmentations in the same patches."""
    differences = []
    for one, other in zip(first.estimates, second.estimates, strict=True):
        if one.kind in _COMPARED:
            difference = _Quantity(
                kind=one.kind,
                labels=one.labels,
                name=one.name,
                estimate=one.estimate - other.estimate,
                n_holding=min(one.n_holding, other.n_holding),
            )
            differences.append(_judge(difference, confidence_level, lowest=-1.0))
    return Comparison(
        first=first.name, second=second.name, differences=tuple(differences)
    )


def _judge(
    quantity: _Quantity,
    confidence_level: float,
    *,
    wanted: float | None = None,
    lowest: float,
) -> Judged:
    estimate = quantity.estimate
    half, reason = estimate.half_width(confidence_level), _too_few(quantity)
    value = min(max(estimate.value, lowest), 1.0)
    low, high = max(estimate.value - half, lowest), min(estimate.value + half, 1.0)
    if reason:
        half = low = high = math.nan
    needed = (
        None
        if wanted is None or reason
        else estimate.patches_needed(wanted, confidence_level)
    )
    return Judged(
        kind=quantity.kind,
        labels=quantity.labels,
        name=quantity.name,
        predicted=quantity.predicted,
        correction=estimate.value - quantity.predicted,
        value=value,
        low=low,
        high=high,
        half_width=half,
        reason=reason,
        note=""
        if reason
        else _note(estimate.value, half, lowest=lowest) or _rough(estimate),
        patches_needed=needed,
    )


def _too_few(quantity: _Quantity) -> str:
    n, enough = quantity.n_holding, min(LEAST_HOLDING, quantity.estimate.influence.size)
    if n >= enough:
        return ""
    size = quantity.estimate.influence.size
    found = f"only {n} of {size} patches hold" if n else f"none of {size} patches holds"
    return f"{found} {quantity.name}; an interval needs {LEAST_HOLDING}"


def _note(value: float, half: float, *, lowest: float) -> str:
    if not lowest <= value <= 1:
        return (
            f"the estimate, {value:.2%}, is cut at {min(max(value, lowest), 1.0):.0%}"
        )
    if value - half < lowest or value + half > 1:
        return f"the interval is cut to {lowest:.0%} to 100%"
    if half == 0:
        return "all patches agree, so their scatter gives the interval no width"
    return ""


def _rough(estimate: Estimate) -> str:
    """Warn where errors are so rare that a few patches make the scatter."""
    squares = np.sort(estimate.influence**2)[::-1]
    if squares.size < _MANY or squares[0] <= squares.sum() / 2:
        return ""
    return (
        "one patch holds most of the scatter: errors are rare and large, and the "
        "interval may be too narrow; paint more patches"
    )
