"""Score and measure volumes of labels slab by slab, whatever their size."""

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from math import prod
from operator import add

import numpy as np

from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import Composition, Neighbourhood
from napari_lrcs.metrics.counting import compose_slabs, count_labels
from napari_lrcs.metrics.overlap import confusion_matrix
from napari_lrcs.phases import (
    UNPAINTED,
    NamedTable,
    Phase,
    PhaseTable,
    check_same_numbers,
    phases_up_to,
)
from napari_lrcs.preprocessing.slices import AXES

_READ_BYTES = 2**26
"""Bytes read at once, unless a slice is larger."""

_MOST_SLICES = 64
"""Slices read at once: more of them are no faster."""


def evaluate_volume(
    predicted: Volume,
    target: Volume,
    *,
    phases: Iterable[Phase],
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
) -> Confusion:
    """Count painted against predicted phases over a volume.

    Parameters
    ----------
    predicted, target : Volume
        Labels of the same shape; voxels that are unpainted in `target` do not count.
    phases : iterable of Phase
        Of both, as from `phases_of` or `phases_in`.
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
        As `check_comparable`; or if nothing is painted, a painted voxel has no
        prediction, or a label is not one of the phases'.
    """
    check_comparable(predicted, target, slices=slices)
    wanted = range(target.shape[0]) if slices is None else slices
    labels = [phase.label for phase in phases]
    total = np.zeros((max(labels),) * 2, np.int64)
    for z in wanted:
        painted, answer = read_pair(predicted, target, z, z + 1, mask=mask)
        total += confusion_matrix(painted, answer, n_phases=len(total))
    if not total.any():
        raise nothing_painted(target)
    places = np.array(labels) - 1
    confusion: Confusion = total[np.ix_(places, places)]
    if confusion.sum() < total.sum():
        raise ValueError(
            f"{predicted.name} or {target.name} has other labels than those of the "
            f"phases, {', '.join(map(str, labels))}"
        )
    return confusion


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
    painted = read_inside(target, mask, start, stop, axis=axis)
    counts = painted != UNPAINTED
    answer = predicted.slab(start, stop, axis=axis)
    answer *= counts
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


def nothing_labelled(*volumes: Volume) -> ValueError:
    """Make the error for volumes without a labelled voxel."""
    names = " and ".join(volume.name for volume in volumes)
    return ValueError(f"no voxel of {names} is labelled; nothing to measure")


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
        If the shapes differ, a slice is out of range, or both name the same phase, but
        with different numbers.
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
    check_same_numbers(*named_phases(predicted, target))


def named_phases(*volumes: Volume) -> list[NamedTable]:
    """Return the names of volumes and their phases, as `check_same_numbers` takes."""
    return [(volume.name, volume.phases) for volume in volumes]


def measure_volume(
    labels: Volume,
    *,
    phases: Iterable[Phase],
    mask: Volume | None = None,
    neighbourhood: Neighbourhood = 26,
) -> Composition:
    """Count volumes, surfaces and interfaces of the phases.

    Parameters
    ----------
    phases : iterable of Phase
        As from `phases_of` or `phases_in`, in the order of the counts.
    mask : Volume of bool, optional
        Voxels outside count as unpainted.
    neighbourhood : {4, 8, 6, 18, 26}

    Raises
    ------
    ValueError
        If nothing is labelled.
    """
    slabs = count_slabs(labels, phases=phases, mask=mask, neighbourhood=neighbourhood)
    composition = reduce(add, slabs)
    if not composition.n_voxels.any():
        raise nothing_labelled(labels)
    return composition


def count_slabs(
    labels: Volume,
    *,
    phases: Iterable[Phase],
    mask: Volume | None = None,
    neighbourhood: Neighbourhood = 26,
    depth: int | None = None,
    run: range | None = None,
) -> Iterator[Composition]:
    """Count slab by slab; the sum of all slabs is that of `measure_volume`.

    Parameters
    ----------
    labels, phases, mask, neighbourhood
        As of `measure_volume`.
    depth : int, optional
        Slices counted at once; by default as many as are fast.
    run : range, optional
        Slices to count; all by default.
    """
    return compose_slabs(
        lambda start, stop: read_inside(labels, mask, start, stop),
        n_slices=labels.shape[0],
        labels=[phase.label for phase in phases],
        neighbourhood=neighbourhood,
        slab=depth or slices_at_once(labels),
        run=run,
    )


def phases_of(*volumes: Volume) -> PhaseTable:
    """Name the phases of labels: as the files do, else by numbers up to the highest.

    A table from a file serves if it covers all labels. Volumes without one are read
    once to find their highest label.
    """
    highest = max(_labels_of(volumes), default=0)
    return phases_up_to(highest, *(volume.phases for volume in volumes))


def phases_in(*volumes: Volume) -> tuple[Phase, ...]:
    """List the phases of labels: as the files name them, else those that occur.

    As `phases_of`, but labels that no voxel has leave gaps: a mask of 0 and 255 has
    the single phase 255.

    Raises
    ------
    ValueError
        If no voxel is labelled.
    """
    labels = _labels_of(volumes)
    if not labels:
        raise nothing_labelled(*volumes)
    table = phases_up_to(max(labels), *(volume.phases for volume in volumes))
    return tuple(phase for phase in table if phase.label in labels)


def _labels_of(volumes: Sequence[Volume]) -> set[int]:
    """Find the labels of all phases: those that files name, and others that occur."""
    labels: set[int] = set()
    for volume in volumes:
        if volume.phases is not None:
            labels.update(phase.label for phase in volume.phases)
        else:
            labels.update(_labels_in(volume))
    return labels


def _labels_in(labels: Volume) -> Iterator[int]:
    n_slices, depth = labels.shape[0], slices_at_once(labels)
    counts = np.zeros(256, np.int64)
    for z in range(0, n_slices, depth):
        slab = labels.slab(z, min(z + depth, n_slices))
        if not counts[1 : int(slab.max()) + 1].all():  # it may have others
            counts += count_labels(slab)
    yield from map(int, np.flatnonzero(counts[1:]) + 1)


def slices_at_once(labels: Volume) -> int:
    """Return how many slices to read at once."""
    return min(max(1, _READ_BYTES // prod(labels.shape[1:])), _MOST_SLICES)


def read_inside(
    labels: Volume, mask: Volume | None, start: int, stop: int, *, axis: Axis = "z"
) -> Labels:
    """Read the labels of some slices; those outside the mask become unpainted."""
    slab: Labels = labels.slab(start, stop, axis=axis)
    if mask is not None:
        slab *= mask.slab(start, stop, axis=axis)
    return slab
