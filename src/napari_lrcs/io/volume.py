"""Volumes that are read slab by slab, whatever array they lie in."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.lazy_arrays import READ_ERRORS, ArrayLike3D, Reshaped, damaged
from napari_lrcs.io.units import METRES, known_unit
from napari_lrcs.phases import PhaseTable

if TYPE_CHECKING:
    from napari_lrcs.config import Axis

PHASES_KEY = "napari_lrcs"
"""Zarr attribute, and key of the TIFF tag's JSON, under which phases are stored."""

VoxelSize = tuple[float, float, float]

_MOST_SLICES = 10_000_000
"""Far beyond any detector; a slipped digit must not fill the memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """A 3D array that is read slab by slab, and what its file says about it.

    Parameters
    ----------
    array : array-like, shape (z, y, x)
        Sliced with three slices; numpy, h5py, zarr, dask, …
    name : str
        File name, for messages.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Of any known spelling ("um"); kept as OME-NGFF spells it ("micrometer"), and as
        None where unknown or pixels.
    phases : PhaseTable, optional
        Of labels that this package has written.
    sources : tuple of Path, optional
        Files and folders that it is read from, links resolved; none of an array in
        memory.
    """

    array: ArrayLike3D
    name: str
    voxel_size: VoxelSize | None = None
    unit: str | None = None
    phases: PhaseTable | None = None
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
        """Type of what `slab` returns, in native byte order."""
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
            Contiguous and the caller's own; the slices' axis first, the other two in
            their order.

        Raises
        ------
        ValueError
            If the run leaves the volume.
        VolumeError
            If the file turns out to be damaged, or has changed since it was opened.
        """
        across = "zyx".index(axis)
        if not 0 <= start <= stop <= self.shape[across]:
            raise ValueError(
                f"slices {start}:{stop} along {axis} leave {self.name}, "
                f"which has 0:{self.shape[across]}"
            )
        key = [slice(None)] * 3
        key[across] = slice(start, stop)
        part = self._read(tuple(key), f"slices {start}:{stop}")
        moved = np.moveaxis(part, across, 0)
        if self.sources and part.base is None:  # just read, and nobody else's
            return np.ascontiguousarray(moved, self.dtype)
        return np.array(moved, dtype=self.dtype, order="C")

    def region(self, z: slice, y: slice, x: slice) -> NDArray[Any]:
        """Read any block of voxels into memory.

        Raises
        ------
        VolumeError
            If the file turns out to be damaged, or has changed since it was opened.
        """
        return self._read((z, y, x), f"slices {z.start}:{z.stop}")

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
    """Wrap an array, lazy or not, after the checks that a file undergoes.

    Parameters
    ----------
    array : array-like of integers or reals, shape ([1, …,] z, y, x) or (y, x)
        Anything with `shape`, `dtype` and slicing.
    name : str
        For messages.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Of any known spelling; None or another, such as "pixel", where unknown.

    Returns
    -------
    Volume
        Of shape (z, y, x); a 2D array becomes one slice.

    Raises
    ------
    VolumeError
        If the array is empty, complex, structured, in colour, or of other dimensions.
    """
    return checked_volume(array, name=name, physical=(voxel_size, unit))


def as_labels(volume: Volume) -> Volume:
    """Return a volume whose slabs are checked to be labels, as uint8.

    Parameters
    ----------
    volume : Volume of integers or bool
        0 unpainted, phases from 1.

    Returns
    -------
    Volume
        Its `slab` raises VolumeError for a value below 0 or above 255.

    Raises
    ------
    VolumeError
        If the values are not whole numbers.
    """
    if volume.dtype.kind not in "bui":
        raise VolumeError(
            f"{volume.name} holds {volume.dtype}; labels are whole numbers from 0 to "
            "255: convert it to uint8"
        )
    return replace(volume, array=_CheckedLabels(volume.array, volume.name))


def parse_slices(text: str, *, n_slices: int | None = None) -> tuple[int, ...]:
    """Read a choice of slices, ``10``, ``10,30`` or ``50:60`` (60 excluded).

    Parameters
    ----------
    text : str
        Numbers and ranges, separated by commas, counted from 0.
    n_slices : int, optional
        Number of slices that there are.

    Returns
    -------
    tuple of int
        Ascending, each slice once.

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
            f"there are {n_slices}, 0 to {n_slices - 1}"
        )
    return tuple(slices)


def _parse_range(part: str, text: str) -> range:
    match = re.fullmatch(r"\s*([0-9]+)\s*(?::\s*([0-9]+)\s*)?", part)
    if match is None:
        raise ValueError(
            f"slices must read like 10, 10,30 or 50:60 (60 excluded), got {text!r}"
        )
    start = int(match[1])
    stop = start + 1 if match[2] is None else int(match[2])
    if stop <= start:
        raise ValueError(f"the range {part.strip()} of slices {text!r} is empty")
    if stop > _MOST_SLICES:
        raise ValueError(
            f"slices {text!r} reach {stop}, beyond any volume; check the number"
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
    """Wrap an array whose axes, voxel size and phases its file has told."""
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
        raise VolumeError(f"{name} has no voxel: its shape is {shape}")
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
    remedy: str = "save one channel and time point by itself",
) -> VolumeError:
    """Make the error for an array that has other axes than z, y and x."""
    sizes = " × ".join(str(length) for length in shape)
    return VolumeError(
        f"{name} has {f'axes {axes}' if axes else f'{len(shape)} axes'} of {sizes}; "
        f"expected z, y, x: {remedy}"
    )


def _is_colour(shape: tuple[int, ...], axes: str) -> bool:
    if axes:
        return "S" in axes
    # Nothing names the axes: a width of 3 is one only where the slices are small.
    could_be = len(shape) in (3, 4) and shape[-1] in (3, 4)
    return could_be and (len(shape) == 4 or min(shape[:2]) >= 32)


@dataclass(frozen=True, slots=True)
class _CheckedLabels:
    array: ArrayLike3D
    name: str
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Labels:
        part = np.asarray(self.array[key])
        if part.dtype == self.dtype:  # large, and right
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
    """Bring the voxel's sides along z, y and x to the unit of x, where it has one."""
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


def stored_phases(holder: Mapping[str, Any]) -> PhaseTable | None:
    """Read the phases that are stored under `PHASES_KEY`."""
    rows = holder[PHASES_KEY].get("phases")
    return None if rows is None else PhaseTable.from_dicts(rows)
