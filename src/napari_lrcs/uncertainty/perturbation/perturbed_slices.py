"""Sets of perturbed labels, from the painted slices of volumes of any size."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_lrcs.annotation.painted_labels import count_phases
from napari_lrcs.annotation.painted_slices import (
    SliceFound,
    SlicesRead,
    find_painted,
)
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis, PerturbConfig
from napari_lrcs.io.tiff import write_labels_tiff
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import create_in_memory
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.uncertainty.perturbation.perturb import (
    Dimensions,
    Perturbation,
    advice,
    changed_share,
    perturb_labels,
)

Scalar = TypeVar("Scalar", bound=np.generic)

_LARGEST_REACH = 3
"""Slices that the largest kernel reaches across."""

_AROUND = 5
"""Slices on either side that a preview is perturbed with, if there are so many."""

_PREVIEW_VOXELS = 2**23
"""That are perturbed for a preview at most, which takes about a second; a slice of more
than a tenth of them is perturbed alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintedSlices:
    """The painted slices of a volume, packed: long unpainted gaps are cut short.

    Parameters
    ----------
    labels : ndarray of uint8, shape (places, rows, columns)
        Perturbed as the whole volume would be.
    indices : tuple of int
        Slices of the volume that are painted, ascending.
    places : tuple of int
        Where each of these lies in `labels`.
    dimensions : {2, 3}
        3 where slices are perturbed together; 2 where none has a neighbour.
    """

    labels: Labels
    indices: tuple[int, ...]
    places: tuple[int, ...]
    dimensions: Dimensions

    def of(self, packed: NDArray[Any]) -> NDArray[Any]:
        """Take the painted slices out of an array of the shape of `labels`."""
        return packed[list(self.places)]

    def in_volume(
        self, packed: NDArray[Any], *, shape: tuple[int, ...], axis: Axis
    ) -> zarr.Array[Any]:
        """Put them in their places, in an array in memory; see `planes_in_memory`."""
        planes = dict(zip(self.indices, self.of(packed), strict=True))
        return planes_in_memory(planes, shape=shape, axis=axis)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberPerturbed:
    """A member of a set is drawn."""

    number: int
    """From 0."""
    n_members: int
    labels: Labels
    """Of the shape of ``PaintedSlices.labels``."""
    changed_share: float
    """Of the painted voxels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberWritten:
    """A member of a set is in its file."""

    number: int
    n_members: int
    path: Path
    changed_share: float
    """Of the painted voxels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerturbedSlice:
    """What a perturbation may make of one slice.

    Parameters
    ----------
    index : int
    labels : ndarray of uint8, shape (rows, columns)
    phases : PhaseTable
    before, after : ndarray of int64, shape (n_phases,)
        Painted voxels of each phase.
    n_changed : int
        Painted voxels that have another label.
    advice : tuple of str
        Sentences, as of `napari_lrcs.uncertainty.perturbation.perturb.advice`.
    """

    index: int
    labels: Labels
    phases: PhaseTable
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    n_changed: int
    advice: tuple[str, ...]

    @property
    def n_painted(self) -> int:
        """Painted voxels."""
        return int(self.before.sum())

    @property
    def changed_share(self) -> float:
        """Of the painted voxels, 0 to 1."""
        return self.n_changed / self.n_painted

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Of the painted voxels, 0 to 1: before and after, shape (2, n_phases)."""
        return np.array([self.before, self.after]) / self.n_painted

    @property
    def moved(self) -> NDArray[np.float64]:
        """By how much of itself each phase grew; NaN for one that is not painted."""
        nothing = np.where(self.before == 0, np.nan, self.before)
        return (self.after - self.before) / nothing

    def in_volume(self, *, shape: tuple[int, ...], axis: Axis) -> zarr.Array[Any]:
        """Put it in its place, in an array in memory; see `planes_in_memory`."""
        return planes_in_memory({self.index: self.labels}, shape=shape, axis=axis)


def read_painted(
    labels: Volume,
    *,
    config: PerturbConfig,
    axis: Axis = "z",
    slices: Sequence[int] | None = None,
) -> Iterator[SlicesRead | PaintedSlices]:
    """Read slices that are to be perturbed; those that are not painted are left out.

    Parameters
    ----------
    labels : Volume of uint8
    config : PerturbConfig
        Its reach tells how far apart slices must stay.
    axis : {"z", "y", "x"}
        That the slices lie across.
    slices : sequence of int, optional
        All by default.

    Yields
    ------
    SlicesRead
        Several times a second.
    PaintedSlices
        Last.

    Raises
    ------
    ValueError
        If none of them is painted.
    VolumeError
        If the labels are damaged, or no labels.
    """
    wanted = None if slices is None else sorted(set(slices))
    painted: dict[int, Labels] = {}
    for event in find_painted(labels, wanted, axis=axis):
        if isinstance(event, SliceFound):
            painted[event.index] = event.labels
        else:
            yield event
    if not painted:
        raise ValueError(
            f"{labels.name} is painted on none of the chosen slices; paint one, or "
            "choose others"
        )
    yield pack_slices(painted, config=config)


def pack_slices(
    painted: Mapping[int, Labels], *, config: PerturbConfig
) -> PaintedSlices:
    """Pack slices that are to be perturbed.

    Parameters
    ----------
    painted : mapping of int to ndarray of uint8, shape (rows, columns)
        By slice, at least one.
    config : PerturbConfig
        Its reach tells how far apart slices must stay.
    """
    longest_gap = max(_LARGEST_REACH, math.ceil(config.max_distance)) + 1
    indices = tuple(sorted(painted))
    gaps = np.diff(indices, prepend=indices[0])
    places = np.minimum(gaps, longest_gap).cumsum()
    some = painted[indices[0]]
    labels = np.zeros((int(places[-1]) + 1, *some.shape), np.uint8)
    for place, index in zip(places, indices, strict=True):
        labels[place] = painted[index]
    return PaintedSlices(
        labels=labels,
        indices=indices,
        places=tuple(places.tolist()),
        dimensions=_dimensions(np.array(indices)),
    )


def perturbed_members(
    painted: PaintedSlices, *, config: PerturbConfig, n_members: int, seed: int
) -> Iterator[MemberPerturbed]:
    """Draw a set of perturbed labels.

    Parameters
    ----------
    painted : PaintedSlices
    config : PerturbConfig
    n_members : int
        At least 1.
    seed : int
        Member m is drawn with ``np.random.default_rng((seed, m))``.

    Yields
    ------
    MemberPerturbed

    Raises
    ------
    ValueError
        If there is no member to draw, or as `Perturbation` does.
    """
    if n_members < 1:
        raise ValueError(f"the number of members must be at least 1, got {n_members}")
    perturbation = Perturbation(painted.labels, config, dimensions=painted.dimensions)
    for number in range(n_members):
        perturbed = perturbation.draw(np.random.default_rng((seed, number)))
        yield MemberPerturbed(
            number=number,
            n_members=n_members,
            labels=perturbed,
            changed_share=changed_share(painted.labels, perturbed),
        )


def member_path(out: Path, number: int) -> Path:
    """Return the file of a member.

    Examples
    --------
    >>> member_path(Path("set"), 3).as_posix()
    'set/member-003.tif'
    """
    return out / f"member-{number:03d}.tif"


def write_members(
    labels: Volume,
    painted: PaintedSlices,
    members: Iterator[MemberPerturbed],
    *,
    out: Path,
    axis: Axis = "z",
) -> Iterator[MemberWritten]:
    """Write members as TIFF files of the whole volume's shape, 0 where unpainted.

    Parameters
    ----------
    labels : Volume of uint8
        Gives shape, voxel size, unit and phases.
    painted : PaintedSlices
    members : iterator of MemberPerturbed
    out : Path
        Folder, made if need be.
    axis : {"z", "y", "x"}
        That the slices lie across.

    Yields
    ------
    MemberWritten

    Raises
    ------
    OSError
        If the disk is full, or the like.
    """
    out.mkdir(exist_ok=True)
    for member in members:
        path = member_path(out, member.number)
        planes = dict(zip(painted.indices, painted.of(member.labels), strict=True))
        write_labels_tiff(
            path,
            whole_slabs(planes, shape=labels.shape, axis=axis),
            shape=labels.shape,
            voxel_size=labels.voxel_size,
            unit=labels.unit,
            phases=labels.phases,
        )
        yield MemberWritten(
            number=member.number,
            n_members=member.n_members,
            path=path,
            changed_share=member.changed_share,
        )


def planes_in_memory(
    planes: Mapping[int, NDArray[Any]], *, shape: tuple[int, ...], axis: Axis
) -> zarr.Array[Any]:
    """Make a volume in memory of which some slices are known.

    Parameters
    ----------
    planes : mapping of int to ndarray, shape (rows, columns)
        By slice across `axis`, at least one.
    shape : tuple of int
        (y, x), (z, y, x), or this with axes of length 1 in front.
    axis : {"z", "y", "x"}

    Returns
    -------
    zarr.Array, of the type of the planes
        0 elsewhere, where it takes no memory.
    """
    across = len(shape) - 3 + AXES[axis]
    dtype = next(iter(planes.values())).dtype
    array = create_in_memory(shape, across=across, dtype=dtype)
    for index, plane in planes.items():
        # An array of two axes has no axis z: its one slice is all of it.
        region = tuple(
            slice(index, index + 1) if i == across else slice(n)
            for i, n in enumerate(shape)
        )
        array[region] = plane.reshape(
            [1 if i == across else n for i, n in enumerate(shape)]
        )
    return array


def whole_slabs(
    planes: Mapping[int, NDArray[Scalar]], *, shape: tuple[int, int, int], axis: Axis
) -> Iterator[NDArray[Scalar]]:
    """Make a volume slice by slice along z, of which some slices are known.

    Parameters
    ----------
    planes : mapping of int to ndarray, shape (rows, columns)
        By slice across `axis`, at least one.
    shape : tuple of int
        Of the volume.
    axis : {"z", "y", "x"}

    Yields
    ------
    ndarray, shape (1, y, x), of the type of the planes
        0 where nothing is known.
    """
    dtype = next(iter(planes.values())).dtype
    for z in range(shape[0]):
        slab = np.zeros((1, *shape[1:]), dtype)
        if axis == "z":
            slab[0] = planes.get(z, 0)
        else:
            across = np.moveaxis(slab[0], AXES[axis] - 1, 0)
            for index, plane in planes.items():
                across[index] = plane[z]
        yield slab


def perturb_slice(
    labels: Volume,
    index: int,
    *,
    axis: Axis = "z",
    slices: Sequence[int] | None = None,
    config: PerturbConfig,
    seed: int,
) -> PerturbedSlice:
    """Perturb one slice with those around it, as a preview of a set's members.

    Parameters
    ----------
    labels : Volume of uint8
    index : int
        Painted slice.
    axis : {"z", "y", "x"}
        That the slices lie across.
    slices : sequence of int, optional
        That are to be perturbed; all by default.
    config : PerturbConfig
    seed : int

    Returns
    -------
    PerturbedSlice

    Raises
    ------
    ValueError
        If the slice is not painted, or as `Perturbation` does.
    """
    slab, place = _around(labels, index, axis=axis, slices=slices)
    original = slab[place]
    if not original.any():
        raise ValueError(f"slice {axis}={index} is not painted")
    perturbed = perturb_labels(
        slab,
        config=config,
        seed=seed,
        dimensions=_dimensions(np.flatnonzero(slab.any(axis=(1, 2)))),
    )[place]
    phases = phases_up_to(int(slab.max()), labels.phases)
    said = advice(original, perturbed, phases)
    if len(slab) > 1:
        said += advice(slab, slab, phases)  # on the number of slices
    return PerturbedSlice(
        index=index,
        labels=perturbed,
        phases=phases,
        before=count_phases(original, n_phases=len(phases)),
        after=count_phases(perturbed, n_phases=len(phases)),
        n_changed=int(np.count_nonzero(original != perturbed)),
        advice=said,
    )


def phases_up_to(highest: int, known: PhaseTable | None) -> PhaseTable:
    """Name phases up to a label: as known, else by numbers."""
    if known is not None and len(known) >= highest:
        return known
    return PhaseTable.numbered(max(highest, 2))


def _around(
    labels: Volume, index: int, *, axis: Axis, slices: Sequence[int] | None
) -> tuple[Labels, int]:
    """Read a slice with those around it that are perturbed, and tell its place."""
    n_slices = labels.shape[AXES[axis]]
    area = math.prod(labels.shape) // n_slices
    n_around = _AROUND if area * (2 * _AROUND + 1) <= _PREVIEW_VOXELS else 0
    start, stop = max(index - n_around, 0), min(index + n_around + 1, n_slices)
    slab = labels.slab(start, stop, axis=axis)
    if slices is not None:
        slab[sorted({*range(stop - start)} - {i - start for i in slices})] = 0
    return slab, index - start


def _dimensions(indices: NDArray[np.intp]) -> Dimensions:
    return 3 if (np.diff(indices) == 1).any() else 2
