"""Notice that a file or a Zarr changes while a volume is read from it."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.lazy_arrays import ArrayLike3D
from napari_lrcs.io.volume import Volume

Signature = tuple[int, int, int, int]
"""Device, inode, size and time of modification of a file."""

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Files of a Zarr that are not chunks."""

_MOST_ENTRIES = 1000
"""Entries of a folder that are looked at for the newest."""

_SECOND = 1_000_000_000


def changed(file: Path) -> VolumeError:
    """Make the error for what is not as it was when it was opened."""
    name = file.parent.name if file.name in METADATA else file.name
    return VolumeError(
        f"{name} was changed or removed while it was read; start again when no other "
        "program writes to it"
    )


def signature(file: Path) -> Signature:
    """Tell one state of a file from another.

    Raises
    ------
    VolumeError
        If there is no such file.
    """
    try:
        found = file.stat()
    except OSError as error:
        raise changed(file) from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@contextmanager
def unchanged(signatures: Mapping[Path, Signature]) -> Iterator[None]:
    """Read from files that must not have changed since their signatures were taken.

    Raises
    ------
    VolumeError
        If one has; also in place of the error that it has led to.
    """
    try:
        yield
    finally:
        for file, opened in signatures.items():
            if signature(file) != opened:
                raise changed(file)


@dataclass(frozen=True, slots=True)
class Watched:
    """An array that refuses what it has read if its files have changed meanwhile.

    Parameters
    ----------
    array : array-like, shape (z, y, x)
        Read from the files.
    signatures : mapping of Path to Signature
        The files as they were when the array was opened, links resolved.
    """

    array: ArrayLike3D
    signatures: Mapping[Path, Signature]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths along z, y and x."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the voxels."""
        return self.array.dtype

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        with unchanged(self.signatures):
            return np.asarray(self.array[key])


def watched(volume: Volume, signatures: Mapping[Path, Signature]) -> Volume:
    """Return a volume that refuses to be read once its files have changed."""
    array = Watched(volume.array, signatures)
    return replace(volume, array=array, sources=tuple(signatures))


def moment_of_opening(place: Path) -> int:
    """Return the time, in ns, after which a Zarr must not be modified.

    It is the present, but not before the newest files of the Zarr: the clock of a file
    server may be ahead of ours.

    Parameters
    ----------
    place : Path
        Folder of the Zarr.
    """
    now = time.time_ns()
    newest = _newest(place)
    # Of files that are written at once, not all are looked at.
    return now if newest <= now else newest + _SECOND


def _newest(place: Path) -> int:
    """Find the last change of a folder, following the newest of its folders down."""
    newest = last_change(place.stat())
    folder: Path | None = place
    while folder is not None:
        known = _changes_in(folder)
        newest = max([newest, *known.values()])
        folders = (path for path in known if path.is_dir())
        folder = max(folders, key=known.__getitem__, default=None)
    return newest


def _changes_in(folder: Path) -> dict[Path, int]:
    """List the last changes of a folder's entries, as far as these can be seen."""
    known: dict[Path, int] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, _MOST_ENTRIES):
            known[Path(entry.path)] = last_change(entry.stat(follow_symlinks=False))
    return known


def last_change(status: os.stat_result) -> int:
    """Return the time, in ns, of the last change of a file or of what it is called."""
    # On Windows "ctime" is the time of creation.
    changed = status.st_ctime_ns if os.name == "posix" else 0
    return max(status.st_mtime_ns, changed)
