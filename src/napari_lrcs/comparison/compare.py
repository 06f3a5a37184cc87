"""Compare a segmentation with a target: events while it runs, tables of the result."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from operator import add
from pathlib import Path
from typing import TypeAlias

import numpy as np

from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.comparison.calibration import check_confidence
from napari_lrcs.comparison.evaluate import check_comparable, nothing_painted, read_pair
from napari_lrcs.config import Axis
from napari_lrcs.io.tables import Cell, Row, as_text, write_csv
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.calibration import Reliability, count_reliability
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.metrics.composition import Composition, Neighbourhood, measure_dict
from napari_lrcs.metrics.counting import compose_slabs
from napari_lrcs.metrics.overlap import (
    accuracy,
    confusion_matrix,
    iou_per_phase,
    mean_iou,
)
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.preprocessing.slices import AXES, runs_of

_READ_VOXELS = 2**25
"""Voxels read at once of each volume, unless a slice is larger; three such blocks are
kept."""

_COUNT_VOXELS = 2**22
"""Voxels counted at once, so that there is an event several times a second."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceCompared:
    """A slice is counted."""

    index: int
    """Place of the slice along the axis."""
    confusion: Confusion
    """Matrix of its painted voxels; all 0 if there is none."""
    n_done: int
    n_slices: int


CompareEvent: TypeAlias = SliceCompared | Comparison


def compare_volumes(  # noqa: PLR0913 what is compared, where and how
    predicted: Volume,
    target: Volume,
    *,
    phases: PhaseTable,
    slices: Sequence[int] | None = None,
    axis: Axis = "z",
    mask: Volume | None = None,
    neighbourhood: Neighbourhood = 26,
    confidence: Volume | None = None,
) -> Iterator[CompareEvent]:
    """Score a segmentation, and measure both, in one pass over the volumes.

    Only voxels that are painted in the target count, in the scores and in both
    compositions: these compare the same voxels even where the painting is sparse.

    Parameters
    ----------
    predicted, target : Volume
        Labels of the same shape.
    phases : PhaseTable
        Phases of both, as from `phases_of`.
    slices : sequence of int, optional
        Slices across `axis`; all by default. Where they are not consecutive, each run
        of neighbours is measured as a volume of its own, and the counts are added.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    mask : Volume of bool, optional
        Voxels outside do not count.
    neighbourhood : {26, 18, 6, 8, 4}
        Which voxels are neighbours; 8 and 4 stay within a slice.
    confidence : Volume of uint8, optional
        That of the prediction, 0 to 255; voxels where it is 0 have none.

    Yields
    ------
    CompareEvent
        `SliceCompared` for each slice in ascending order, `Comparison` last.

    Raises
    ------
    ValueError
        As `check_comparable`; or if nothing is painted, a painted voxel has no
        prediction, a label exceeds the phases, the confidence is not that of the
        prediction, or there is no such neighbourhood.
    """
    check_comparable(predicted, target, slices=slices, axis=axis)
    if confidence is not None:
        check_confidence(confidence, predicted)
    n_slices = target.shape[AXES[axis]]
    wanted = sorted(set(range(n_slices) if slices is None else slices))

    def read(start: int, stop: int) -> Labels:
        pair = read_pair(predicted, target, start, stop, mask=mask, axis=axis)
        if confidence is None:
            return np.stack(pair)
        return np.stack([*pair, confidence.slab(start, stop, axis=axis)])

    per_slice: list[tuple[int, Confusion]] = []
    measured: list[tuple[Composition, Composition]] = []
    counts: list[Reliability] = []
    n_done = 0
    for slab in _compare_slabs(
        read,
        wanted,
        slice_size=math.prod(target.shape) // n_slices,
        n_phases=len(phases),
        neighbourhood=neighbourhood,
    ):
        measured.append((slab.predicted, slab.target))
        counts += [] if slab.reliability is None else [slab.reliability]
        for index, confusion in enumerate(slab.confusions, slab.start):
            n_done += 1
            if confusion.any():
                per_slice.append((index, confusion))
            yield SliceCompared(
                index=index, confusion=confusion, n_done=n_done, n_slices=len(wanted)
            )
    if not per_slice:
        raise nothing_painted(target)
    yield Comparison(
        phases=phases,
        confusion=reduce(add, (confusion for _, confusion in per_slice)),
        per_slice=tuple(per_slice),
        predicted=reduce(add, (predicted for predicted, _ in measured)),
        target=reduce(add, (target for _, target in measured)),
        reliability=_total(counts),
    )


def _total(counts: Sequence[Reliability]) -> Reliability | None:
    total = reduce(add, counts) if counts else None
    return None if total is None or not total.n.any() else total


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Slab:
    """Counts of consecutive slices."""

    start: int
    confusions: list[Confusion]
    predicted: Composition
    target: Composition
    reliability: Reliability | None


def _compare_slabs(
    read: Callable[[int, int], Labels],
    wanted: Sequence[int],
    *,
    slice_size: int,
    n_phases: int,
    neighbourhood: Neighbourhood,
) -> Iterator[_Slab]:
    depth = max(1, _COUNT_VOXELS // slice_size)

    def compose(
        read_part: Callable[[int, int], Labels], n_slices: int
    ) -> Iterator[Composition]:
        return compose_slabs(
            read_part,
            n_slices=n_slices,
            labels=range(1, n_phases + 1),
            neighbourhood=neighbourhood,
            slab=depth,
        )

    for run in runs_of(wanted):
        pairs = _Buffered(read, run, depth=max(1, _READ_VOXELS // slice_size))
        compositions = zip(
            compose(pairs.predicted, len(run)),
            compose(pairs.target, len(run)),
            strict=True,
        )
        for i, (predicted, target) in enumerate(compositions):
            start = i * depth
            painted, answer, *confidence = pairs.parts(
                start, min(start + depth, len(run))
            )
            slices = zip(painted, answer, strict=True)
            yield _Slab(
                start=run.start + start,
                confusions=[confusion_matrix(*s, n_phases=n_phases) for s in slices],
                predicted=predicted,
                target=target,
                reliability=(
                    count_reliability(painted, answer, *confidence)
                    if confidence
                    else None
                ),
            )


class _Buffered:
    """A run of slices, counted from 0, that is read once, though slabs overlap."""

    def __init__(
        self, read: Callable[[int, int], Labels], run: range, *, depth: int
    ) -> None:
        self._depth = depth

        # Three: a slab of one slice and its neighbours may lie in as many blocks.
        @lru_cache(maxsize=3)
        def block(start: int) -> Labels:
            return read(run.start + start, min(run.start + start + depth, run.stop))

        self._block = block

    def target(self, start: int, stop: int) -> Labels:
        target: Labels = self.parts(start, stop, side=0)[0]
        return target

    def predicted(self, start: int, stop: int) -> Labels:
        predicted: Labels = self.parts(start, stop, side=1)[0]
        return predicted

    def parts(self, start: int, stop: int, *, side: int | None = None) -> Labels:
        starts = range(start // self._depth * self._depth, stop, self._depth)
        wanted = slice(side, None if side is None else side + 1)
        parts: Labels = np.concatenate(
            [self._block(z)[wanted, max(start - z, 0) : stop - z] for z in starts],
            axis=1,
        )
        return parts


def difference(predicted: Labels, target: Labels) -> Labels:
    """Show where a segmentation errs, and which phase it should have found there.

    Parameters
    ----------
    predicted, target : ndarray of uint8, of one shape

    Returns
    -------
    ndarray of uint8, of the same shape
        0 where both agree or either is unpainted, else the target's label.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> predicted = np.array([1, 2, 2, UNPAINTED], np.uint8)
    >>> target = np.array([1, 1, UNPAINTED, 2], np.uint8)
    >>> difference(predicted, target).tolist()
    [0, 1, 0, 0]
    """
    if predicted.shape != target.shape:
        raise ValueError(
            f"predicted has the shape {predicted.shape}, target {target.shape}; "
            "both must cover the same voxels"
        )
    wrong = (predicted != target) & (predicted != UNPAINTED)
    return np.where(wrong, target, np.uint8(UNPAINTED))


# ---- tables ----


def comparison_rows(comparison: Comparison) -> list[Row]:
    """Make a row per phase, then one per interface, all with the same columns.

    Returns
    -------
    list of dict
        Numbers are shares from 0 to 1, unrounded; NaN where undefined, None where a
        column does not apply.
    """
    names = comparison.phases.names
    measures = [
        measure_dict(side, comparison.phases)
        for side in (comparison.predicted, comparison.target)
    ]
    scored = comparison.scores["phases"]
    pairs = zip(*(m["phases"] for m in measures), strict=True)
    rows = [
        _row(
            phase=score["name"],
            iou=score["iou"],
            dice=score["dice"],
            precision=score["precision"],
            recall=score["recall"],
            predicted_volume_fraction=predicted["volume_fraction"],
            target_volume_fraction=target["volume_fraction"],
            predicted_surface_fraction=predicted["surface_fraction"],
            target_surface_fraction=target["surface_fraction"],
        )
        for score, (predicted, target) in zip(scored, pairs, strict=True)
    ]
    interfaces = zip(*(m["interfaces"] for m in measures), strict=True)
    return rows + [
        _row(
            phase=" – ".join(names[label - 1] for label in predicted["phases"]),
            predicted_interface_fraction=predicted["fraction"],
            target_interface_fraction=target["fraction"],
        )
        for predicted, target in interfaces
    ]


_COLUMNS = (
    *("phase", "iou", "dice", "precision", "recall"),
    *("predicted_volume_fraction", "target_volume_fraction"),
    *("predicted_surface_fraction", "target_surface_fraction"),
    *("predicted_interface_fraction", "target_interface_fraction"),
)


def _row(**values: Cell) -> Row:
    return dict.fromkeys(_COLUMNS) | values


def slice_rows(comparison: Comparison) -> list[Row]:
    """Make a row per slice: its accuracy, mean IoU and the IoU of each phase."""
    names = [f"iou {name}" for name in comparison.phases.names]
    rows: list[Row] = []
    for index, confusion in comparison.per_slice:
        row: Row = {
            "slice": index,
            "accuracy": accuracy(confusion),
            "mean_iou": mean_iou(confusion),
        }
        ious = iou_per_phase(confusion).tolist()
        rows.append(row | dict(zip(names, ious, strict=True)))
    return rows


def as_text_table(comparison: Comparison) -> str:
    """Lay out `comparison_rows` with tabs, to be pasted into a spreadsheet."""
    return as_text(comparison_rows(comparison))


def write_comparison_csv(path: Path, comparison: Comparison) -> None:
    """Write `comparison_rows`; the file is replaced only when complete."""
    write_csv(path, comparison_rows(comparison))


def write_slices_csv(path: Path, comparison: Comparison) -> None:
    """Write `slice_rows`; the file is replaced only when complete."""
    write_csv(path, slice_rows(comparison))
