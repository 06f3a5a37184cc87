"""The error budget: each source of error by its name, and what they add up to."""

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal, TypedDict

from scipy.stats import t as student

from napari_lrcs.comparison.measures import Measuring
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.quantities import Quantity
from napari_lrcs.uncertainty.study.summary import GroupSummary, StudySummary
from napari_lrcs.uncertainty.trust import CONFIDENCE_LEVEL
from napari_lrcs.uncertainty.trust.finite_volume import (
    FiniteVolume,
    Indicator,
    finite_volumes,
    in_interface,
    in_phase,
)
from napari_lrcs.uncertainty.trust.judged import KINDS, Judged, Kind
from napari_lrcs.uncertainty.trust.report import CheckReport
from napari_lrcs.uncertainty.trust.resolution import coarsened_fractions

Budgeted = Literal["volume_fraction", "interface_fraction"]

BUDGETED: tuple[Budgeted, ...] = ("volume_fraction", "interface_fraction")
"""Kinds of quantities that have a budget."""

UNKNOWN_BIAS = (
    "without check patches, the bias that all networks share is unknown: there is no "
    "interval for this volume"
)

_ENOUGH = 5
"""Networks from which on Student's t widens their interval by less than a half."""

Key = tuple[Budgeted, tuple[int, ...]]
"""A quantity: its kind and the labels of its phases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The sources of error of one quantity, all 0 to 1 and NaN where unknown.

    Parameters
    ----------
    kind : str
        One of `BUDGETED`.
    labels : tuple of int
        Label of the phase, or of both phases of an interface.
    name : str
        Name of the phase, or of both.
    predicted : float
        Of the prediction in the whole volume.
    correction, correction_half_width : float
        For the bias of the network, from check patches.
    label_scatter, seed_scatter : float
        Standard deviations: how far results move with the painting, and with the seed.
    n_label, n_seed : int
        Networks that they come from.
    finite_volume : FiniteVolume, optional
        How far the material may be from this volume.
    resolution : tuple of float
        The fraction at 1×, 2× and 4× coarser voxels: a trend, not part of the totals.
    confidence_level : float
        Of the half widths.
    no_interval : str
        Why the correction has no interval, if it has none.
    """

    kind: Budgeted
    labels: tuple[int, ...]
    name: str
    predicted: float
    correction: float = math.nan
    correction_half_width: float = math.nan
    label_scatter: float = math.nan
    seed_scatter: float = math.nan
    n_label: int = 0
    n_seed: int = 0
    finite_volume: FiniteVolume | None = None
    resolution: tuple[float, ...] = ()
    confidence_level: float = CONFIDENCE_LEVEL
    no_interval: str = UNKNOWN_BIAS

    @property
    def title(self) -> str:
        """Its name in tables, as in "Volume, pore"."""
        return f"{KINDS[self.kind]}, {self.name}"

    @property
    def value(self) -> float:
        """The corrected value, 0 to 1; NaN without check patches."""
        return min(max(self.predicted + self.correction, 0.0), 1.0)

    @property
    def label_half_width(self) -> float:
        """Half width that the scatter of the labels alone gives; NaN if unknown."""
        return self._width(self.label_scatter, self.n_label)

    @property
    def seed_half_width(self) -> float:
        """Half width that the scatter of the seeds gives; NaN if unknown."""
        return self._width(self.seed_scatter, self.n_seed)

    @property
    def this_volume(self) -> float:
        """Half width for this volume: correction, labels and seeds together.

        NaN without check patches. What a study would tell counts as nothing where there
        is no study, since the patches judge one segmentation as it is.
        """
        return math.hypot(
            self.correction_half_width,
            or_nothing(self.label_half_width),
            or_nothing(self.seed_half_width),
        )

    @property
    def material_half_width(self) -> float:
        """Half width that the finite volume gives, for the corrected fraction."""
        found = self.finite_volume
        if found is None:
            return math.nan
        share, value = found.fraction, self.predicted
        if not math.isnan(self.correction):
            value = self.value
        # A share p scatters as the root of p (1 - p) does.
        scale = math.sqrt(value * (1 - value)) / math.sqrt(share * (1 - share) or 1)
        return found.half_width * scale

    @property
    def material(self) -> float:
        """Half width for the material: that of this volume, and the finite volume."""
        return math.hypot(self.this_volume, self.material_half_width)

    @property
    def reason(self) -> str:
        """Why a total is missing, or rough; empty if neither."""
        if math.isnan(self.correction_half_width):
            return self.no_interval
        found = self.finite_volume
        of_material = "" if found is None else found.reason or ""
        return "; ".join(filter(None, (self._few_networks, of_material)))

    @property
    def _few_networks(self) -> str:
        n = min((n for n in (self.n_label, self.n_seed) if n > 1), default=_ENOUGH)
        if n >= _ENOUGH:
            return ""
        return (
            f"with the scatter of only {n} networks, the interval is wide and rough; a "
            f"study of {_ENOUGH} or more tells it better"
        )

    def _width(self, sd: float, n: int) -> float:
        if n < 2:
            return math.nan
        return float(student.ppf((1 + self.confidence_level) / 2, n - 1)) * sd


def budgets_of_report(
    report: CheckReport,
    *,
    study: StudySummary | None = None,
    beyond: "BeyondVolume | None" = None,
) -> tuple[Budget, ...]:
    """Combine check patches, a study and the finite volume.

    Parameters
    ----------
    report : CheckReport
        Its first segmentation counts.
    study : StudySummary, optional
        Of the same volume. Its interfaces count only if the report has its
        neighbourhood.
    beyond : BeyondVolume, optional
        From `look_beyond`.
    """
    beyond = beyond or BeyondVolume()
    return tuple(
        Budget(
            kind=kind,
            labels=q.labels,
            name=q.name,
            predicted=q.predicted,
            correction=q.correction,
            correction_half_width=q.half_width,
            confidence_level=report.confidence_level,
            no_interval=q.reason,
            finite_volume=beyond.finite.get((kind, q.labels)),
            resolution=beyond.resolution.get((kind, q.labels), ()),
            **scatter_of(study if _is_comparable(kind, report) else None, q),
        )
        for kind in BUDGETED
        for q in report.segmentations[0].quantities
        if q.kind == kind
    )


def budgets_of_study(study: StudySummary) -> tuple[Budget, ...]:
    """List what a study alone tells: how its networks scatter, but not their bias."""
    group = next((g for g in study.groups.values() if g.n), None)
    return tuple(
        Budget(
            kind=kind,
            labels=q.labels,
            name=q.name,
            predicted=q.mean,
            **scatter_of(study, q),
        )
        for kind in BUDGETED
        for q in (group.of_kind(kind) if group else ())
    )


class Scatter(TypedDict, total=False):
    """The fields of `Budget` that come from a study."""

    label_scatter: float
    seed_scatter: float
    n_label: int
    n_seed: int


def scatter_of(study: StudySummary | None, quantity: Judged | Quantity) -> Scatter:
    """Take the scatter of a quantity from a study.

    Networks on perturbed labels differ in their seeds, too: the variance that seeds
    give is taken from theirs, so that it is not added twice.
    """
    groups = {} if study is None else study.groups
    found = {name: _find(group, quantity) for name, group in groups.items()}
    scatter = Scatter()
    seeds, both = found.get("same_labels"), found.get("perturbed")
    if seeds is not None:
        scatter["seed_scatter"], scatter["n_seed"] = seeds.sd, len(seeds.defined)
    if both is not None:
        of_seeds = 0.0 if seeds is None else or_nothing(seeds.sd)
        of_labels = both.sd**2 - of_seeds**2  # NaN, of one network, stays NaN
        scatter["label_scatter"] = 0.0 if of_labels < 0 else math.sqrt(of_labels)
        scatter["n_label"] = len(both.defined)
    return scatter


def _find(group: GroupSummary, quantity: Judged | Quantity) -> Quantity | None:
    for q in group.quantities:
        if (q.kind, q.labels) == (quantity.kind, quantity.labels):
            return q
    return None


def scatter_of_labels(
    quantity: Judged, study: StudySummary | None, report: CheckReport
) -> Quantity | None:
    """Find how a quantity scatters among a study's networks on perturbed labels.

    Returns
    -------
    Quantity or None
        None where there are none, or they count other neighbours.
    """
    group = None if study is None else study.groups.get("perturbed")
    if group is None or not _is_comparable(quantity.kind, report):
        return None
    return _find(group, quantity)


def _is_comparable(kind: Kind, report: CheckReport) -> bool:
    """Tell whether a study measures the same as a report: it counts 26 neighbours."""
    return kind == "volume_fraction" or report.neighbourhood == 26


@dataclass(frozen=True, slots=True, kw_only=True)
class BeyondVolume:
    """What a segmentation tells beyond its own voxels.

    Parameters
    ----------
    finite : mapping of key to FiniteVolume
        How far the material may be from this volume.
    resolution : mapping of key to tuple of float
        Fractions at coarser voxels.
    """

    finite: Mapping[Key, FiniteVolume] = field(default_factory=dict)
    resolution: Mapping[Key, tuple[float, ...]] = field(default_factory=dict)


def look_beyond(
    segmentation: Volume,
    *,
    phases: PhaseTable,
    view: Volume | None = None,
    within_slices: bool = True,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> Generator[Measuring, None, BeyondVolume]:
    """Find out what a segmentation tells of the material, and of coarser voxels.

    Parameters
    ----------
    segmentation : Volume of uint8
    phases : PhaseTable
    view : Volume of bool, optional
        Field of view.
    within_slices : bool
        Whether interfaces are those of the 8 neighbours within slices across z; others
        have no number for the finite volume.
    confidence_level : float
        Of the half widths, 0 to 1.

    Yields
    ------
    Measuring

    Returns
    -------
    BeyondVolume
    """
    indicators: dict[Key, Indicator] = {
        ("volume_fraction", (phase.label,)): in_phase(phase.label) for phase in phases
    }
    if within_slices:
        for a, b in combinations(range(1, len(phases) + 1), 2):
            indicators["interface_fraction", (a, b)] = in_interface(a, b)
    finite = yield from finite_volumes(
        segmentation, indicators, mask=view, confidence_level=confidence_level
    )
    coarser = yield from coarsened_fractions(
        segmentation, phases=tuple(phases), mask=view
    )
    resolution: dict[Key, tuple[float, ...]] = {
        ("volume_fraction", (phase.label,)): tuple(
            float(fractions[i]) for fractions in coarser.values()
        )
        for i, phase in enumerate(phases)
    }
    return BeyondVolume(finite=finite, resolution=resolution)


def or_nothing(half_width: float) -> float:
    """Take an unknown half width as 0, which adds nothing to a total."""
    return 0.0 if math.isnan(half_width) else half_width
