"""Painted slices of a volume, packed to be perturbed, and put back into the volume."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_lrcs.annotation.painting.slices import (
    SliceFound,
    SlicesRead,
    find_painted,
)
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis, PerturbConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import create_in_memory
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.uncertainty.perturbation.perturb import Dimensions, Scalar

_LARGEST_REACH = 3
"""Slices that the largest kernel reaches across."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintedSlices:
    """The painted slices of a volume, packed: long unpainted gaps are cut short.

    Parameters
    ----------
    labels : ndarray of uint8, shape (places, rows, columns)
        Perturbing these gives what perturbing the whole volume would.
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

    def planes(self, packed: NDArray[Any]) -> dict[int, NDArray[Any]]:
        """Map the painted slices of the volume to those of an array like `labels`."""
        return dict(zip(self.indices, self.of(packed), strict=True))

    def in_volume(
        self, packed: NDArray[Any], *, shape: tuple[int, ...], axis: Axis
    ) -> zarr.Array[Any]:
        """Put them in their places in the volume; see `planes_in_memory`."""
        return planes_in_memory(self.planes(packed), shape=shape, axis=axis)


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
    config : PerturbConfig
        Its reach decides how far apart slices must stay.
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
        If the file is damaged, or does not hold labels.
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
        Its reach decides how far apart slices must stay.
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
        dimensions=dimensions_of(np.array(indices)),
    )


def dimensions_of(indices: NDArray[np.intp]) -> Dimensions:
    """Return 3 where some of the ascending slices are neighbours, else 2."""
    return 3 if (np.diff(indices) == 1).any() else 2


def planes_in_memory(
    planes: Mapping[int, NDArray[Any]], *, shape: tuple[int, ...], axis: Axis
) -> zarr.Array[Any]:
    """Put slices into an array in memory that has the shape of their volume.

    Parameters
    ----------
    planes : mapping of int to ndarray, shape (rows, columns)
        By slice across `axis`, at least one.
    shape : tuple of int
        (y, x), (z, y, x), or this with axes of length 1 in front.

    Returns
    -------
    zarr.Array, of the type of the planes
        0 in all other slices, which take no memory.
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
    """Put slices into their volume, and yield it slice by slice along z.

    Parameters
    ----------
    planes : mapping of int to ndarray, shape (rows, columns)
        By slice across `axis`, at least one.
    shape : tuple of int
        Of the volume.

    Yields
    ------
    ndarray, shape (1, y, x), of the type of the planes
        0 where there is none of the slices.
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
