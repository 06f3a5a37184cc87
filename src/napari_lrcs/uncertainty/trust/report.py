"""Judge segmentations by check patches: corrected values with intervals."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TypedDict, Unpack

from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.comparison.adding import add_slabs
from napari_lrcs.comparison.evaluate import named_phases, read_inside, slices_at_once
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import Composition, Neighbourhood
from napari_lrcs.metrics.counting import compose_slabs
from napari_lrcs.phases import PhaseTable, check_same_numbers, naming_notes
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.progress import changed
from napari_lrcs.uncertainty.trust import CONFIDENCE_LEVEL
from napari_lrcs.uncertainty.trust.judged import (
    Comparison,
    Estimated,
    Judged,
    compare,
    estimate_all,
    judge_all,
)
from napari_lrcs.uncertainty.trust.patch_counts import (
    PaintedPatch,
    count_patches,
    read_painted,
)
from napari_lrcs.uncertainty.trust.seen import check_unseen

LEAST_PATCHES = 3
"""Painted patches below which no interval is given."""

ENOUGH_PATCHES = 5
"""Painted patches from which the number that is needed can be told."""

_PATCHES = "the painting of the patches"

_WITHIN_SLICES: tuple[Neighbourhood, ...] = (8, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """More of a segmentation has been counted."""

    share: float
    """0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CountedSegmentation:
    """A segmentation whose voxels are counted.

    Parameters
    ----------
    segmentation : Volume of uint8
    composition : Composition
        Of its voxels in the field of view.
    """

    segmentation: Volume
    composition: Composition
    warning: str = ""
    """What `check_unseen` warns of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A segmentation as check patches judge it."""

    name: str
    quantities: tuple[Judged, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """One or several segmentations as check patches judge them.

    Parameters
    ----------
    check : Check
    n_patches : int
        Painted ones, which judge.
    confidence_level : float
        Share of such intervals that contain the truth.
    neighbourhood : {4, 8, 6, 18, 26}
        Which voxels were neighbours at surfaces and interfaces.
    phases : PhaseTable
    segmentations : tuple of Judgement
    comparisons : tuple of Comparison
        Of each two of them.
    warnings : tuple of str
        Sentences on segmentations of which it is not known what they learnt from.
    """

    check: Check
    n_patches: int
    confidence_level: float
    neighbourhood: Neighbourhood
    phases: PhaseTable
    segmentations: tuple[Judgement, ...]
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the patches are, for whoever reads the numbers."""
        n_drawn = len(self.check.patches)
        notes = [*self.warnings]
        if self.n_patches < n_drawn:
            notes.append(
                f"{self.n_patches} of {n_drawn} patches are painted: paint the others "
                "too, even the difficult ones, or the numbers are of the easy places "
                "only"
            )
        if not self.check.design.blind:
            notes.append(
                "the patches were painted over the prediction, so errors may have been "
                "left in; painting blind is safer"
            )
        return tuple(notes)


class WantedIntervals(TypedDict, total=False):
    """Which intervals a report gives."""

    confidence_level: float
    """Share of them that should contain the truth; `CONFIDENCE_LEVEL` by default."""
    half_width: float | None
    """Wanted half width, 0 to 1: the report says how many patches it needs."""


def judge(
    segmentations: Sequence[Volume],
    folder: CheckFolder,
    *,
    labels: Volume | None = None,
    neighbourhood: Neighbourhood | None = None,
    others: Elsewhere | None = None,
    **wanted: Unpack[WantedIntervals],
) -> Generator[Counting | CheckReport]:
    """Judge segmentations of a volume by check patches, in one pass over each.

    Parameters
    ----------
    segmentations : sequence of Volume of uint8
        Labels of the check's shape that cover its field of view.
    folder : CheckFolder
        Where the patches are, and their painting.
    labels : Volume of uint8, optional
        The painting, if it lies elsewhere.
    neighbourhood : {4, 6, 8, 18, 26}, optional
        Which voxels are neighbours at interfaces. Within the slice by default, with
        patches three slices thick 26.
    others : Elsewhere, optional
        As of `count_segmentation`.
    **wanted
        See `WantedIntervals`.

    Yields
    ------
    Counting, and at last CheckReport

    Raises
    ------
    ValueError
        If a segmentation is of another shape or does not cover the field of view, its
        network has learnt from the patches, fewer than three patches are painted, or
        the neighbourhood does not suit them.
    """
    check = folder.read()
    chosen = neighbourhood_of(check, neighbourhood)
    counted: list[CountedSegmentation] = []
    judge_all_counted = partial(
        judge_counted,
        counted,
        folder,
        neighbourhood=chosen,
        painting=labels,
        **wanted,
    )
    judge_all_counted()  # raise errors of the painting before the long work
    for i, segmentation in enumerate(segmentations):
        for event in count_segmentation(
            segmentation, folder, neighbourhood=chosen, others=others
        ):
            if isinstance(event, CountedSegmentation):
                counted.append(event)
            else:
                yield Counting(share=(i + event.share) / len(segmentations))
    yield judge_all_counted()


def neighbourhood_of(
    check: Check, neighbourhood: Neighbourhood | None
) -> Neighbourhood:
    """Return the neighbourhood of a report, and refuse one that patches cannot show."""
    is_thin = check.design.thickness == 1
    if neighbourhood is None:
        return 8 if is_thin else 26
    if is_thin and neighbourhood not in _WITHIN_SLICES:
        raise ValueError(
            f"{neighbourhood} neighbours reach into the next slices, which these "
            "patches do not show; choose 8 or 4, or draw patches three slices thick"
        )
    return neighbourhood


def count_segmentation(
    segmentation: Volume,
    folder: CheckFolder,
    *,
    neighbourhood: Neighbourhood,
    others: Elsewhere | None = None,
) -> Iterator[Counting | CountedSegmentation]:
    """Count a segmentation in the field of view of check patches, slab by slab.

    Parameters
    ----------
    others : Elsewhere, optional
        Other processes, which count; the segmentation comes from `open_to_share` then.

    Yields
    ------
    Counting, and at last CountedSegmentation

    Raises
    ------
    ValueError
        If its shape is another one, it has unknown labels or numbers phases differently
        from the patches, it does not cover the field of view, or its network has learnt
        from the patches; or as `add_slabs` does.
    LrcsError, OSError
        As `add_slabs` does.
    """
    check, view = folder.read(), folder.field_of_view()
    design = check.design
    if segmentation.shape != design.shape:
        raise VolumeError(
            f"{segmentation.name} is {segmentation.shape} voxels (z, y, x), but the "
            f"patches are for {design.shape}; choose a segmentation of the volume that "
            "they were drawn in"
        )
    phases = folder.painting.read().phases
    check_same_numbers((_PATCHES, phases), *named_phases(segmentation))
    warning = check_unseen(segmentation, check)
    count = partial(
        _count_slabs,
        axis=design.axis,
        n_phases=len(phases),
        neighbourhood=neighbourhood,
    )
    adding = add_slabs(
        count,
        segmentation,
        view,
        n_slices=design.n_slices,
        depth=slices_at_once(segmentation),
        others=others,
    )
    composition = yield from changed(adding, _counting)
    missing = check.n_voxels - int(composition.n_voxels.sum())
    if missing:
        raise ValueError(
            f"{segmentation.name} has no prediction for {missing} of the "
            f"{check.n_voxels} voxels that the patches stand for; predict the same "
            "field of view as when they were drawn"
        )
    yield CountedSegmentation(
        segmentation=segmentation, composition=composition, warning=warning
    )


def _count_slabs(
    labels: Volume,
    *,
    mask: Volume | None,
    run: range,
    axis: Axis,
    n_phases: int,
    neighbourhood: Neighbourhood,
) -> Iterator[Composition]:
    return compose_slabs(
        lambda start, stop: read_inside(labels, mask, start, stop, axis=axis),
        n_slices=labels.shape[AXES[axis]],
        labels=range(1, n_phases + 1),
        neighbourhood=neighbourhood,
        slab=slices_at_once(labels),
        run=run,
    )


def _counting(share: float) -> Counting:
    return Counting(share=min(share, 1.0))


def judge_counted(
    counted: Sequence[CountedSegmentation],
    folder: CheckFolder,
    *,
    neighbourhood: Neighbourhood | None = None,
    painting: Volume | None = None,
    confidence_level: float = CONFIDENCE_LEVEL,
    half_width: float | None = None,
) -> CheckReport:
    """Judge segmentations that are counted already, by the patches alone.

    Parameters
    ----------
    counted : sequence of CountedSegmentation
        With the same neighbourhood.
    painting : Volume of uint8, optional
        If it lies elsewhere.

    Raises
    ------
    ValueError
        As `judge` does.
    """
    _check_wanted(confidence_level, half_width)
    check, phases = folder.read(), folder.painting.read().phases
    chosen = neighbourhood_of(check, neighbourhood)
    volumes = [*([painting] if painting else []), *(c.segmentation for c in counted)]
    named = [(_PATCHES, phases), *named_phases(*volumes)]
    check_same_numbers(*named)
    painted = _read_enough(folder, check, painting)
    estimated = []
    for one in counted:
        counts = count_patches(
            check,
            painted,
            one.segmentation,
            n_phases=len(phases),
            neighbourhood=chosen,
        )
        estimates = estimate_all(one.composition, counts, phases=phases)
        estimated.append(Estimated(name=one.segmentation.name, estimates=estimates))
    wanted = half_width if len(painted) >= ENOUGH_PATCHES else None
    return CheckReport(
        check=check,
        n_patches=len(painted),
        confidence_level=confidence_level,
        neighbourhood=chosen,
        phases=phases,
        segmentations=tuple(
            Judgement(
                name=one.name,
                quantities=judge_all(
                    one.estimates, confidence_level=confidence_level, half_width=wanted
                ),
            )
            for one in estimated
        ),
        comparisons=tuple(
            compare(first, second, confidence_level=confidence_level)
            for first, second in combinations(estimated, 2)
        ),
        warnings=(*(c.warning for c in counted if c.warning), *naming_notes(*named)),
    )


def _read_enough(
    folder: CheckFolder, check: Check, painting: Volume | None
) -> list[PaintedPatch]:
    painted = read_painted(
        check,
        painting or folder.open_painting(),
        folder.field_of_view(),
        only_done=painting is None and not check.design.blind,
    )
    if len(painted) < LEAST_PATCHES:
        raise ValueError(
            f"{len(painted)} of {len(check.patches)} check patches in {folder.path} "
            f"are painted; an interval needs at least {LEAST_PATCHES}, and 20 are "
            "advised"
        )
    return painted


def _check_wanted(confidence_level: float, half_width: float | None) -> None:
    if not 0 < confidence_level < 1:
        raise ValueError(
            f"the confidence level must be above 0 and below 1, got {confidence_level}"
        )
    if half_width is not None and not 0 < half_width < 1:
        raise ValueError(
            f"the wanted half width must be above 0 and below 1, got {half_width}; it "
            "is a share: 0.01 for one percentage point"
        )
