"""The field of view: outside it, nothing is trained, predicted or measured."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_lrcs.arrays import Mask
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.lazy_arrays import Wrapper
from napari_lrcs.io.opening import open_to_share
from napari_lrcs.io.volume import Volume

CYLINDER = "cylinder"
"""The mask that needs no file: the usual circular field of view of tomography."""


def open_mask(spec: str | Path | None, *, shape: tuple[int, int, int]) -> Volume | None:
    """Open the mask of a volume.

    Parameters
    ----------
    spec : {"cylinder"}, str, Path or None
        ``"cylinder"`` is the largest circle that fits the slice (y, x), the same in
        each slice; else a file or folder that `open_to_share` takes, whose voxels are
        inside where they are not 0 (NaN is outside); None is no mask.
    shape : tuple of int
        Of the volume, z, y and x.

    Returns
    -------
    Volume of bool or None
        True inside; its slabs are made, or read, when they are asked for.

    Raises
    ------
    VolumeError
        If the file is no volume, or of another shape.

    Examples
    --------
    >>> open_mask("cylinder", shape=(1, 3, 3)).slab(0, 1).astype(int)[0].tolist()
    [[1, 1, 1], [1, 1, 1], [1, 1, 1]]
    """
    if spec is None:
        return None
    if str(spec) == CYLINDER:
        return Volume(array=_Cylinder(shape), name=CYLINDER)
    return as_mask(open_to_share(spec), shape=shape)


def as_mask(volume: Volume, *, shape: tuple[int, int, int]) -> Volume:
    """Take a volume as the mask of another: inside where it is not 0.

    Parameters
    ----------
    volume : Volume
        NaN is outside.
    shape : tuple of int
        Of the volume that is masked, z, y and x.

    Returns
    -------
    Volume of bool

    Raises
    ------
    VolumeError
        If the shapes differ.
    """
    if volume.shape != shape:
        raise VolumeError(
            f"the mask {volume.name} is {volume.shape} (z, y, x); "
            f"expected the volume's shape {shape}"
        )
    return Volume(
        array=_NonZero(volume.array), name=volume.name, sources=volume.sources
    )


def is_cylinder(mask: Volume) -> bool:
    """Whether a mask is the one that needs no file, and so cannot be edited."""
    return isinstance(mask.array, _Cylinder)


@dataclass(frozen=True, slots=True)
class _Cylinder:
    """A circle whose diameter is the slice's shorter side, about the z axis."""

    shape: tuple[int, int, int]
    dtype = np.dtype(np.bool_)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Mask:
        z, y, x = (np.arange(n)[part] for n, part in zip(self.shape, key, strict=True))
        _, n_y, n_x = self.shape
        squared = (y[:, np.newaxis] - (n_y - 1) / 2) ** 2 + (x - (n_x - 1) / 2) ** 2
        circle = squared <= (min(n_y, n_x) / 2) ** 2
        return np.broadcast_to(circle, (len(z), *circle.shape))


@dataclass(frozen=True, slots=True)
class _NonZero(Wrapper):
    dtype = np.dtype(np.bool_)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Mask:
        part = np.asarray(self.array[key])
        # Not "part != 0", which would count NaN.
        return np.asarray((part < 0) | (part > 0))
