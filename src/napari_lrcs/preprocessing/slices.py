"""Read slices with their neighbours, filtered, for training and prediction alike."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Mask
from napari_lrcs.config import Axis, PreprocessingConfig, TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.lazy_arrays import Planes
from napari_lrcs.io.volume import Volume
from napari_lrcs.preprocessing.filters import apply_filters

AXES: dict[Axis, int] = {"z": 0, "y": 1, "x": 2}
"""Place of each axis in a volume's shape."""

_SAMPLED_PLANES = 32
"""Planes along z that are enough to tell what slices across y or x look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceReader:
    """Slices of a volume across one axis, with context and filters.

    Parameters
    ----------
    preprocessing : PreprocessingConfig
        Axis that the slices lie across, and filters.
    context_slices : int
        Neighbours on either side that come along.
    mask : Volume of bool, optional
        Field of view; voxels outside may be NaN or infinite.
    """

    volume: Volume
    preprocessing: PreprocessingConfig = field(default_factory=PreprocessingConfig)
    context_slices: int = 0
    mask: Volume | None = None

    @classmethod
    def for_config(
        cls, volume: Volume, config: TrainConfig, *, mask: Volume | None = None
    ) -> "SliceReader":
        """Read as a network with this config was, or is to be, trained."""
        return cls(
            volume=volume,
            preprocessing=config.preprocessing,
            context_slices=config.network.context_slices,
            mask=mask,
        )

    @property
    def axis(self) -> Axis:
        """Axis that the slices lie across."""
        return self.preprocessing.axis

    @property
    def n_slices(self) -> int:
        """Slices across the axis."""
        return self.volume.shape[AXES[self.axis]]

    @property
    def slice_shape(self) -> tuple[int, int]:
        """Rows and columns of a slice."""
        rows, columns = (
            n for i, n in enumerate(self.volume.shape) if i != AXES[self.axis]
        )
        return rows, columns

    def read(self, start: int, stop: int) -> GreyImage:
        """Read slices `start` to `stop` (excluded) and their context.

        Returns
        -------
        ndarray of float32, shape (stop - start + 2 context_slices, rows, columns)
            Neighbours beyond the volume's ends are reflected.

        Raises
        ------
        VolumeError
            If a voxel in the field of view is NaN or infinite.
        """
        margin = self.context_slices + self.preprocessing.margin
        wanted = reflected(np.arange(start - margin, stop + margin), self.n_slices)
        first, last = int(wanted.min()), int(wanted.max())
        slab = self.volume.slab(first, last + 1, axis=self.axis)
        if slab.dtype.kind == "f":
            slab = self._finite(slab, first)
        return apply_filters(slab[wanted - first], self.preprocessing)

    def inside(self, start: int, stop: int) -> Mask | None:
        """Read the mask of slices `start` to `stop`; None without a mask."""
        if self.mask is None:
            return None
        return np.asarray(self.mask.slab(start, stop, axis=self.axis), bool)

    def _finite(self, slab: NDArray[np.floating], first: int) -> NDArray[np.floating]:
        # NaN, infinity and what becomes infinite as float32.
        bad = ~(np.abs(slab) <= np.finfo(np.float32).max)
        if not bad.any():
            return slab
        inside = self.inside(first, first + len(slab))
        in_view = bad if inside is None else bad & inside
        if inside is None or in_view.any():
            raise self._not_finite(slab, in_view, first)
        return _filled(slab, bad, inside)

    def _not_finite(
        self, slab: NDArray[np.floating], in_view: Mask, first: int
    ) -> VolumeError:
        place = first + int(np.flatnonzero(in_view.any(axis=(1, 2)))[0])
        found = f"({int(in_view.sum())} voxels, the first in slice {self.axis}={place})"
        if np.isfinite(slab[in_view]).all():
            return VolumeError(
                f"{self.volume.name} holds values beyond 3.4e38, which float32 cannot "
                f"represent {found}; rescale them, or leave them outside a mask"
            )
        return VolumeError(
            f"{self.volume.name} holds NaN or infinity {found}; replace them, or leave "
            "them outside a mask"
        )


def _filled(
    slab: NDArray[np.floating], bad: Mask, inside: Mask
) -> NDArray[np.floating]:
    """Replace bad voxels by a grey level of their slice, whatever is read with it.

    It is the median of what is inside; of what is outside, if nothing is; that
    of the nearest slice, if all of a slice is bad.
    """
    medians = {}
    for i, (image, is_bad) in enumerate(zip(slab, bad, strict=True)):
        is_in = inside[i] if inside[i].any() else ~is_bad
        if is_in.any():
            medians[i] = np.median(image[is_in])
    filled = slab.copy()
    for i, is_bad in enumerate(bad):
        nearest = min(medians, key=lambda j: abs(j - i), default=None)
        filled[i][is_bad] = 0 if nearest is None else medians[nearest]
    return filled


def sampled(volume: Volume, *, axis: Axis) -> Volume:
    """Cut slices down that are to be looked at only.

    Slices across y or x are stored in pieces all over a file: their middle along z is
    enough. Slices across z stay whole.
    """
    n_z = volume.shape[0]
    if axis == "z" or n_z <= _SAMPLED_PLANES:
        return volume
    start = (n_z - _SAMPLED_PLANES) // 2
    planes = Planes(volume.array, start, start + _SAMPLED_PLANES)
    return replace(volume, array=planes)


def reflected(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Fold places into 0 … length - 1 by reflection, edges not repeated.

    Examples
    --------
    >>> reflected(np.arange(-2, 5), 3).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    >>> reflected(np.arange(-2, 3), 1).tolist()
    [0, 0, 0, 0, 0]
    """
    period = max(2 * (length - 1), 1)
    folded = places % period
    return np.minimum(folded, period - folded).clip(max=length - 1)


def runs_of(slices: Sequence[int], *, depth: float = math.inf) -> Iterator[range]:
    """Group ascending slices into runs of neighbours, cut at multiples of `depth`.

    Examples
    --------
    >>> list(runs_of([1, 2, 3, 6]))
    [range(1, 4), range(6, 7)]
    >>> list(runs_of([1, 2, 3, 6], depth=2))
    [range(1, 2), range(2, 4), range(6, 7)]
    """
    if not slices:
        return
    first = previous = slices[0]
    for place in slices[1:]:
        if place != previous + 1 or place % depth == 0:
            yield range(first, previous + 1)
            first = place
        previous = place
    yield range(first, previous + 1)
