"""Arrays whose voxels stay in a file until they are needed."""

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO, Protocol
from xml.etree.ElementTree import ParseError

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.errors import VolumeError, one_line

# Exceptions that tifffile, h5py, zarr, numpy and their codecs raise for damaged files.
READ_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,  # from a codec
    LZMAError,
    LookupError,
    OSError,
    ParseError,
    RuntimeError,
    SystemError,  # from the Blosc codec
    TypeError,
    ValueError,
    TokenError,  # numpy parses the header of a .npy as Python
    struct.error,
    zlib.error,
)


class ArrayLike3D(Protocol):
    """The interface of a volume's array; slicing may return anything array-like."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along z, y and x."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


def damaged(what: str, error: BaseException) -> VolumeError:
    """Make the error for something that a library failed to read."""
    return VolumeError(
        f"{what} cannot be read; it may be damaged, or have another format "
        f"({one_line(error)})"
    )


def truncated(name: str, n_bytes: int) -> VolumeError:
    """Make the error for a file that ends before its voxels do."""
    return VolumeError(
        f"{name} is truncated: it declares more data than its {n_bytes} bytes hold; "
        "copy or save it again"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainArray:
    """Part of a file as an array; slices are read, not mapped into memory.

    If the file is truncated, reading raises an error; a memory map would crash.

    Parameters
    ----------
    path : Path
        Absolute path, so that the working directory may change.
    offset : int
        Position of the first voxel in the file, in bytes.
    shape : tuple of int
        Lengths along z, y and x; x varies fastest in the file.
    dtype : dtype
        Type of the voxels, in the file's byte order.

    Raises
    ------
    VolumeError
        If the file is too short.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        promised = self.offset + math.prod(self.shape) * self.dtype.itemsize
        if promised > (size := self.path.stat().st_size):
            raise truncated(self.path.name, size)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        z, y, x = (range(n)[part] for n, part in zip(self.shape, key, strict=True))
        part = np.empty((len(z), len(y), len(x)), self.dtype)
        if part.size == 0:
            return part
        _, n_y, n_x = self.shape
        with self.path.open("rb") as file:
            if z.step == 1 and (y, x) == (range(n_y), range(n_x)):
                self._read(file, part, row=z.start * n_y)
                return part
            rows = np.empty((abs(y[-1] - y[0]) + 1, n_x), self.dtype)
            for i, slice_ in enumerate(z):
                self._read(file, rows, row=slice_ * n_y + min(y[0], y[-1]))
                part[i] = rows[:: y.step, key[2]]
        return part

    def _read(self, file: BinaryIO, rows: NDArray[Any], *, row: int) -> None:
        """Fill `rows` with whole rows, starting at the given row of the file."""
        file.seek(self.offset + row * self.shape[2] * self.dtype.itemsize)
        n_read = file.readinto(rows.reshape(-1).view(np.uint8))  # type: ignore[attr-defined]
        if n_read != rows.nbytes:
            raise truncated(self.path.name, self.path.stat().st_size)


@dataclass(frozen=True, slots=True)
class Wrapper:
    """An array that reads its voxels from another one.

    Parameters
    ----------
    array : array-like
        The other one; shape and type are the same unless a subclass changes them.
    """

    array: ArrayLike3D

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along z, y and x."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return self.array.dtype

    def __getitem__(self, key: Any) -> Any:
        return self.array[key]


@dataclass(frozen=True, slots=True)
class Transposed(Wrapper):
    """An array whose axes are in the opposite order, as in Fortran."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along z, y and x."""
        return self.array.shape[::-1]

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        return np.asarray(self.array[key[::-1]]).transpose()


@dataclass(frozen=True, slots=True)
class Planes(Wrapper):
    """The planes `start` to `stop` (excluded) along z of another array."""

    start: int
    stop: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along z, y and x."""
        return (self.stop - self.start, *self.array.shape[1:])

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Any:
        first, stop, _ = key[0].indices(self.stop - self.start)
        z = slice(self.start + first, self.start + stop)
        return self.array[(z, *key[1:])]


@dataclass(frozen=True)
class Slices:
    """A stack of slices that are read one by one when they are needed."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int], NDArray[Any]]

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        picked = [range(n)[s] for n, s in zip(self.shape, key, strict=True)]
        part = np.empty([len(indices) for indices in picked], self.dtype)
        for i, z in enumerate(picked[0]):
            part[i] = self.read(z)[key[1:]]
        return part


@dataclass(frozen=True, slots=True)
class Reshaped(Wrapper):
    """An image as a volume of one slice, or a volume without its leading axes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along z, y and x."""
        return (1, *self.array.shape)[-3:]

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        n_leading = len(self.array.shape) - 3
        if n_leading < 0:
            return np.asarray(self.array[key[1:]])[np.newaxis][key[0]]
        return np.asarray(self.array[(0,) * n_leading + key])
