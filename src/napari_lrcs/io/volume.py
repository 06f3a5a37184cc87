"""Volumes that are read slab by slab, whatever array holds them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.lazy_arrays import (
    READ_ERRORS,
    ArrayLike3D,
    Reshaped,
    Wrapper,
    damaged,
)
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.io.units import METRES, known_unit
from napari_lrcs.phases import PhaseTable

if TYPE_CHECKING:
    from napari_lrcs.config import Axis

VoxelSize = tuple[float, float, float]

_MAX_SLICES = 10_000_000
"""Far more slices than any detector records: a typing error must not fill memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """A 3D array that is read slab by slab, with the metadata of its file.

    Parameters
    ----------
    array : array-like, shape (z, y, x)
        Array that can be indexed with three slices: numpy, h5py, zarr, dask, …
    name : str
        File name, for messages.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Unit of length in any known spelling ("um"), saved under its name in OME-NGFF
        ("micrometer"); pixels and unknown units become None.
    phases : PhaseTable, optional
        Phases of labels, if the file names them.
    provenance : Provenance, optional
        What a segmentation is of and was learnt from, if the file tells.
    sources : tuple of Path, optional
        Files and folders that it is read from, links resolved; empty for an array in
        memory.
    """

    array: ArrayLike3D
    name: str
    voxel_size: VoxelSize | None = None
    unit: str | None = None
    phases: PhaseTable | None = None
    provenance: Provenance | None = None
    sources: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", known_unit(self.unit))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Lengths along z, y and x."""
        n_z, n_y, n_x = self.array.shape
        return n_z, n_y, n_x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels that `slab` returns, in native byte order."""
        return np.dtype(self.array.dtype).newbyteorder("=")

    def slab(self, start: int, stop: int, *, axis: "Axis" = "z") -> NDArray[Any]:
        """Read a run of slices into memory.

        Parameters
        ----------
        start, stop : int
            First slice and the one after the last, counted from 0.
        axis : {"z", "y", "x"}
            Axis across which the slices lie.

        Returns
        -------
        ndarray, shape (stop - start, rows, columns), of `dtype`
            A contiguous copy; `axis` comes first, the other two keep their order.

        Raises
        ------
        ValueError
            If the slices are outside the volume.
        VolumeError
            If the file is damaged, or has changed since it was opened.
        """
        across = "zyx".index(axis)
        if not 0 <= start <= stop <= self.shape[across]:
            raise ValueError(
                f"slices {start}:{stop} along {axis} are outside {self.name}, "
                f"which has 0:{self.shape[across]}"
            )
        key = [slice(None)] * 3
        key[across] = slice(start, stop)
        part = self._read(tuple(key), f"slices {start}:{stop}")
        moved = np.moveaxis(part, across, 0)
        if self.sources and part.base is None:  # just read, so nothing else uses it
            return np.ascontiguousarray(moved, self.dtype)
        return np.array(moved, dtype=self.dtype, order="C")

    def region(self, z: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read any block of voxels into memory.

        Raises
        ------
        VolumeError
            If the file is damaged, or has changed since it was opened.
        """
        return self._read((z, y, x), f"slices {z.start}:{z.stop}")

    def fingerprint(self) -> str:
        """Tell it from others, whatever its name: by its shape and middle slice.

        Returns
        -------
        str
            Hexadecimal digits.

        Raises
        ------
        VolumeError
            If the file is damaged, or has changed since it was opened.
        """
        middle = self.shape[0] // 2
        digest = sha256(f"{self.shape} {self.dtype}".encode())
        digest.update(self.slab(middle, middle + 1).tobytes())
        return digest.hexdigest()

    def _read(self, key: tuple[slice, ...], what: str) -> NDArray[Any]:
        try:
            return np.asarray(self.array[key])
        except VolumeError:
            raise
        except READ_ERRORS as error:
            raise damaged(f"{what} of {self.name}", error) from error


def sources_of(*volumes: Volume | None) -> list[Path]:
    """List the files and folders that volumes are read from."""
    return [path for volume in volumes if volume for path in volume.sources]


def as_volume(
    array: ArrayLike3D,
    *,
    name: str = "array",
    voxel_size: VoxelSize | None = None,
    unit: str | None = None,
) -> Volume:
    """Make a volume of an array, lazy or not, after the same checks as for files.

    Parameters
    ----------
    array : array-like of integers or reals, shape ([1, …,] z, y, x) or (y, x)
        Anything with `shape`, `dtype` and slicing.
    name : str
        Name of the volume in messages.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Unit of length in any known spelling; pixels and unknown units become None.

    Returns
    -------
    Volume
        Shape (z, y, x); a 2D array becomes one slice.

    Raises
    ------
    VolumeError
        If the array is empty, complex, structured, in colour, or of other dimensions.
    """
    return checked_volume(array, name=name, physical=(voxel_size, unit))


def as_labels(volume: Volume) -> Volume:
    """Return labels as uint8, checked slab by slab as they are read.

    Parameters
    ----------
    volume : Volume of integers or bool
        Labels: 0 for unpainted, phases from 1.

    Returns
    -------
    Volume of uint8
        Its `slab` raises VolumeError for a value below 0 or above 255.

    Raises
    ------
    VolumeError
        If the values are not whole numbers.
    """
    if volume.dtype.kind not in "bui":
        raise VolumeError(
            f"{volume.name} holds {volume.dtype} values; labels are whole numbers from "
            "0 to 255: convert it to uint8"
        )
    return replace(volume, array=_CheckedLabels(volume.array, volume.name))


SLICE_EXAMPLES = "0, 0,2 or 1:3 (3 excluded)"
"""How slices are written: such as there are in the smallest volumes."""


def parse_slices(text: str, *, n_slices: int | None = None) -> tuple[int, ...]:
    """Parse a list of slices such as ``10``, ``10,30`` or ``50:60`` (60 excluded).

    Parameters
    ----------
    text : str
        Numbers and ranges separated by commas, counted from 0.
    n_slices : int, optional
        Number of slices in the volume.

    Returns
    -------
    tuple of int
        Slices in ascending order, without duplicates.

    Raises
    ------
    ValueError
        If the text is malformed, a range is empty, or a slice does not exist.

    Examples
    --------
    >>> parse_slices("10,50:53")
    (10, 50, 51, 52)
    """
    slices = sorted({z for part in text.split(",") for z in _parse_range(part, text)})
    if n_slices is not None and slices[-1] >= n_slices:
        raise ValueError(
            f"slice {slices[-1]} of {text!r} does not exist: "
            f"there are {n_slices} slices, 0 to {n_slices - 1}"
        )
    return tuple(slices)


def format_slices(slices: Sequence[int]) -> str:
    """Write ascending slices as `parse_slices` reads them.

    Examples
    --------
    >>> format_slices([3, 10, 11, 12])
    '3,10:13'
    """
    runs: list[list[int]] = []
    for index in slices:
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(
        f"{run[0]}:{run[-1] + 1}" if len(run) > 2 else ",".join(map(str, run))
        for run in runs
    )


def _parse_range(part: str, text: str) -> range:
    match = re.fullmatch(r"\s*([0-9]+)\s*(?::\s*([0-9]+)\s*)?", part)
    if match is None:
        raise ValueError(f"slices must look like {SLICE_EXAMPLES}, got {text!r}")
    start = int(match[1])
    stop = start + 1 if match[2] is None else int(match[2])
    if stop <= start:
        raise ValueError(f"the range {part.strip()} of slices {text!r} is empty")
    if stop > _MAX_SLICES:
        raise ValueError(
            f"slices {text!r} reach {stop}, more than any volume has; check the number"
        )
    return range(start, stop)


def checked_volume(
    array: ArrayLike3D,
    *,
    name: str,
    axes: str = "",
    physical: tuple[VoxelSize | None, str | None] = (None, None),
    phases: PhaseTable | None = None,
    sources: tuple[Path, ...] = (),
) -> Volume:
    """Make a volume of an array, with the axes, voxel size and phases of its file."""
    _check_dtype(np.dtype(array.dtype), name)
    check_shape(array.shape, axes, name)
    voxel_size, unit = physical
    return Volume(
        array=array if len(array.shape) == 3 else Reshaped(array),
        name=name,
        voxel_size=voxel_size,
        unit=unit,
        phases=phases,
        sources=sources,
    )


def _check_dtype(dtype: np.dtype[Any], name: str) -> None:
    if dtype.kind not in "buif":
        kind = "complex numbers" if dtype.kind == "c" else f"{dtype} values"
        raise VolumeError(f"{name} holds {kind}; expected integers or real numbers")


def check_shape(shape: tuple[int, ...], axes: str, name: str) -> None:
    """Raise VolumeError unless the shape is that of a grey image or volume."""
    if 0 in shape:
        raise VolumeError(f"{name} has no voxels: its shape is {shape}")
    if _is_colour(shape, axes):
        raise VolumeError(f"{name} is a colour image {shape}; convert it to grey")
    n_axes = len(shape)
    while n_axes > 3 and shape[-n_axes] == 1:
        n_axes -= 1
    if n_axes not in (2, 3):
        raise wrong_axes(shape, axes, name)


def wrong_axes(
    shape: tuple[int, ...],
    axes: str,
    name: str,
    *,
    remedy: str = "save a single channel and time point",
) -> VolumeError:
    """Make the error for an array with axes other than z, y and x."""
    sizes = " × ".join(str(length) for length in shape)
    return VolumeError(
        f"{name} has {f'axes {axes}' if axes else f'{len(shape)} axes'} of {sizes}; "
        f"expected z, y, x: {remedy}"
    )


def _is_colour(shape: tuple[int, ...], axes: str) -> bool:
    if axes:
        return "S" in axes
    # Without names of axes: a last axis of 3 or 4 is colour unless slices are small.
    could_be = len(shape) in (3, 4) and shape[-1] in (3, 4)
    return could_be and (len(shape) == 4 or min(shape[:2]) >= 32)


@dataclass(frozen=True, slots=True)
class _CheckedLabels(Wrapper):
    name: str
    dtype = np.dtype(np.uint8)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Labels:
        part = np.asarray(self.array[key])
        if part.dtype == self.dtype:  # no value can be out of range
            return part
        wrong = (part < 0) | (part > 255)
        if wrong.any():
            first = tuple(np.argwhere(wrong)[0])
            z = range(self.shape[0])[key[0]][first[0]]
            raise VolumeError(
                f"{self.name} holds {part[first]} in slice z = {z}; "
                "labels are whole numbers from 0 to 255"
            )
        return part.astype(np.uint8)


def physical_size(
    sizes: Sequence[float], units: Sequence[str | None]
) -> tuple[VoxelSize | None, str | None]:
    """Convert the sides of a voxel along z, y and x to the unit of x, if it has one."""
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        return None, None
    known = [known_unit(unit) for unit in units]
    unit = known[-1]
    if unit is None:
        z, y, x = sizes
        return (None if z == y == x == 1 else (z, y, x)), None
    z, y, x = (
        size * (METRES[own or unit] / METRES[unit])
        for size, own in zip(sizes, known, strict=True)
    )
    return (z, y, x), unit
