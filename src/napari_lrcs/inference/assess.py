"""Score and measure volumes of labels slab by slab, whatever their size."""

from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np

from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.config import Axis
from napari_lrcs.data.slices import AXES
from napari_lrcs.data.volume import Volume
from napari_lrcs.errors import VolumeError
from napari_lrcs.metrics.composition import (
    Composition,
    Neighbourhood,
    compose_slabs,
)
from napari_lrcs.metrics.overlap import confusion_matrix
from napari_lrcs.phases import UNPAINTED, PhaseTable

_SLAB = 16


def evaluate_volume(
    predicted: Volume,
    target: Volume,
    *,
    phases: PhaseTable,
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
) -> Confusion:
    """Count painted against predicted phases over a volume.

    Parameters
    ----------
    predicted, target : Volume
        Labels of the same shape; voxels that are unpainted in `target` do not count.
    phases : PhaseTable
        Of both, as from `phases_of`.
    slices : sequence of int, optional
        Slices along z; all by default.
    mask : Volume of bool, optional
        Voxels outside do not count.

    Returns
    -------
    ndarray of int64, shape (n_phases, n_phases)

    Raises
    ------
    ValueError
        If the shapes differ, a slice is out of range, nothing is painted, or a painted
        voxel has no prediction.
    """
    check_comparable(predicted, target, slices=slices)
    wanted = range(target.shape[0]) if slices is None else slices
    total = np.zeros((len(phases), len(phases)), np.int64)
    for z in wanted:
        painted, answer = read_pair(predicted, target, z, z + 1, mask=mask)
        total += confusion_matrix(painted, answer, n_phases=len(phases))
    if not total.any():
        raise nothing_painted(target)
    return total


def read_pair(
    predicted: Volume,
    target: Volume,
    start: int,
    stop: int,
    *,
    mask: Volume | None = None,
    axis: Axis = "z",
) -> tuple[Labels, Labels]:
    """Read the voxels of some slices that count in a comparison.

    Parameters
    ----------
    predicted, target : Volume
        Labels of the same shape.
    start, stop : int
        First slice and the one after the last.
    mask : Volume of bool, optional
        Voxels outside do not count.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.

    Returns
    -------
    painted, answer : ndarray of uint8, shape (stop - start, rows, columns)
        Of `target` and `predicted`; both are 0 where `target` is unpainted or masked.

    Raises
    ------
    ValueError
        If a painted voxel has no prediction.
    """
    painted = _inside(target, mask, start, stop, axis=axis)
    counts = painted != UNPAINTED
    answer = predicted.slab(start, stop, axis=axis) * counts
    missing = (counts & (answer == UNPAINTED)).any(axis=(1, 2))
    if missing.any():
        raise ValueError(
            f"{predicted.name} has no prediction for painted voxels of slice "
            f"{axis}={start + int(missing.argmax())}; choose slices that are "
            "predicted, or the field of view as a mask"
        )
    return painted, answer


def nothing_painted(target: Volume) -> ValueError:
    """Make the error for slices without a painted voxel."""
    return ValueError(f"no voxel of {target.name} is painted on these slices")


def check_comparable(
    predicted: Volume,
    target: Volume,
    *,
    slices: Sequence[int] | None,
    axis: Axis = "z",
) -> None:
    """Refuse volumes and slices that `evaluate_volume` would, without reading a voxel.

    Raises
    ------
    ValueError
        If the shapes differ or a slice is out of range.
    """
    if predicted.shape != target.shape:
        raise VolumeError(
            f"{predicted.name} is {predicted.shape} voxels (z, y, x) and {target.name} "
            f"is {target.shape}; only volumes of one shape can be compared"
        )
    n_slices = target.shape[AXES[axis]]
    beyond = [z for z in slices or () if not 0 <= z < n_slices]
    if beyond:
        raise ValueError(
            f"slice {beyond[0]} is out of range: {target.name} has slices 0 to "
            f"{n_slices - 1}"
        )


def measure_volume(
    labels: Volume,
    *,
    phases: PhaseTable,
    mask: Volume | None = None,
    neighbourhood: Neighbourhood = 26,
) -> Composition:
    """Count volumes, surfaces and interfaces of the phases.

    Parameters
    ----------
    labels : Volume
    phases : PhaseTable
        As from `phases_of`.
    mask : Volume of bool, optional
        Voxels outside count as unpainted.
    neighbourhood : {4, 8, 6, 18, 26}

    Returns
    -------
    Composition

    Raises
    ------
    ValueError
        If nothing is labelled.
    """
    slabs = compose_slabs(
        lambda start, stop: _inside(labels, mask, start, stop),
        n_slices=labels.shape[0],
        n_phases=len(phases),
        neighbourhood=neighbourhood,
        slab=_SLAB,
    )
    composition = reduce(add, slabs)
    if not composition.n_voxels.any():
        raise ValueError(f"no voxel of {labels.name} is labelled; nothing to measure")
    return composition


def phases_of(*volumes: Volume) -> PhaseTable:
    """Name the phases of labels: as the files do, else by numbers.

    A table from a file serves if it covers all labels. Volumes without one are read
    once to find their highest label.
    """
    tables = [v.phases for v in volumes if v.phases is not None]
    highest = max((_highest(v) for v in volumes if v.phases is None), default=0)
    highest = max(highest, *(len(table) for table in tables), 2)
    for table in tables:
        if len(table) == highest:
            return table
    return PhaseTable.numbered(highest)


def _highest(labels: Volume) -> int:
    n_slices = labels.shape[0]
    starts = range(0, n_slices, _SLAB)
    return max(int(labels.slab(z, min(z + _SLAB, n_slices)).max()) for z in starts)


def _inside(
    labels: Volume, mask: Volume | None, start: int, stop: int, *, axis: Axis = "z"
) -> Labels:
    slab = labels.slab(start, stop, axis=axis)
    return slab if mask is None else slab * mask.slab(start, stop, axis=axis)
