"""Slices that baselines are fitted to, with their painting and field of view."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.preprocessing.slices import SliceReader

Value = TypeVar("Value", bound=np.generic)

_SAMPLED_VOXELS = 2**24
"""Voxels that thresholds are found on, in whole slices: more would change them by less
than a bin of the histogram."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A slice that a baseline is fitted to, or fills.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
        As from `SliceReader`: finite outside the field of view, too.
    labels : ndarray of uint8, the same shape, optional
        Its painting, 0 where there is none.
    inside : ndarray of bool, the same shape, optional
        Field of view; None for the whole slice.

    Raises
    ------
    ValueError
        If the shapes differ.
    """

    image: GreyImage
    labels: Labels | None = None
    inside: Mask | None = None

    def __post_init__(self) -> None:
        for name, part in (("labels", self.labels), ("field of view", self.inside)):
            if part is not None and part.shape != self.image.shape:
                raise ValueError(
                    f"the slice is {self.image.shape}, its {name} {part.shape}; "
                    "expected the same shape"
                )

    def within(self, values: NDArray[Value]) -> NDArray[Value]:
        """Return the values in the field of view, flat."""
        flat: NDArray[Value] = values[... if self.inside is None else self.inside]
        return flat.ravel()

    @property
    def is_painted(self) -> Mask:
        """Where there is painting in the field of view."""
        if self.labels is None:
            return np.zeros(self.image.shape, np.bool_)
        painted: Mask = self.labels != UNPAINTED
        return painted if self.inside is None else painted & self.inside


def spread_slices(reader: SliceReader) -> tuple[int, ...]:
    """Choose slices that stand for all: every one of a small volume.

    Returns
    -------
    tuple of int
        Evenly spread, at least three if there are so many.
    """
    n_slices, (rows, columns) = reader.n_slices, reader.slice_shape
    n = min(n_slices, max(3, _SAMPLED_VOXELS // (rows * columns)))
    middles = (np.arange(n) + 0.5) * n_slices / n
    return tuple(int(place) for place in middles)


def read_samples(
    reader: SliceReader,
    places: Sequence[int],
    *,
    labels: Volume | None = None,
    painted: Collection[int] = (),
) -> Iterator[Sample]:
    """Read the slices at `places`, those that are `painted` with their labels.

    Raises
    ------
    VolumeError
        If a voxel in the field of view is NaN or infinite, or the file is damaged.
    """
    for z in places:
        inside = reader.inside(z, z + 1)
        painting = None
        if labels is not None and z in painted:
            painting = labels.slab(z, z + 1, axis=reader.axis)[0]
        yield Sample(
            image=reader.read(z, z + 1)[0],
            labels=painting,
            inside=None if inside is None else inside[0],
        )


def painted_voxels(samples: Sequence[Sample]) -> tuple[GreyImage, Labels]:
    """Return the grey levels and the labels of all painted voxels, flat."""
    pairs = [
        (s.image[s.is_painted], s.labels[s.is_painted])
        for s in samples
        if s.labels is not None
    ]
    grey = [np.zeros(0, np.float32), *(grey for grey, _ in pairs)]
    labels = [np.zeros(0, np.uint8), *(labels for _, labels in pairs)]
    return np.concatenate(grey), np.concatenate(labels)
