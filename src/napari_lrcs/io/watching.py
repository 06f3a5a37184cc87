"""Notice if a file or a Zarr changes while a volume is read from it."""

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
from napari_lrcs.io.lazy_arrays import Wrapper
from napari_lrcs.io.paths import TIFF_SUFFIXES, is_zarr
from napari_lrcs.io.volume import Volume

Signature = tuple[int, int, int, int]
"""Device, inode, size and time of modification of a file."""

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Files of a Zarr that are not chunks."""

_MAX_ENTRIES = 1000
"""Number of entries of a folder among which the newest is looked for."""

_SECOND = 1_000_000_000

_LARGEST = 2**63
"""Above all integers that other readers of JSON can hold."""


def changed(file: Path) -> VolumeError:
    """Make the error for a file that is not as it was when it was opened."""
    name = file.parent.name if file.name in METADATA else file.name
    return VolumeError(
        f"{name} was changed or removed while it was read; start again when no other "
        "program is writing to it"
    )


def signature(file: Path) -> Signature:
    """Return values that differ if a file has changed.

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


def stamp(path: Path) -> list[int]:
    """Tell one state of a file from another: size and time in ns; empty if absent.

    Unlike a signature, it is the same on all computers that see the file.
    """
    if not path.exists():
        return []
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def content_stamp(path: Path) -> list[int]:
    """Tell one state of an image from another; as `stamp`, for folders as well.

    Of a Zarr, and of a folder of TIFF slices, it is the number of files, their total
    size and the sum of their times: a folder's own time says nothing of files that are
    written in place. No file is opened, but each is asked for its size and time, which
    takes about a second for a hundred thousand on a local disk. Other hidden files than
    a Zarr's own do not count.
    """
    if not path.is_dir():
        return stamp(path)
    files = _files_in(path, is_whole=is_zarr(path))
    n_files, size, times = 0, 0, 0
    for status in files:
        n_files += 1
        size += status.st_size
        times += status.st_mtime_ns
    return [n_files, size, times % _LARGEST]


def _files_in(folder: Path, *, is_whole: bool) -> Iterator[os.stat_result]:
    """Look up the slices in a folder, or all that is in a Zarr, as far as readable."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name not in METADATA:
                continue
            if is_whole and entry.is_dir(follow_symlinks=False):
                yield from _files_in(Path(entry.path), is_whole=True)
            elif entry.is_file() and (is_whole or _is_slice(entry.name)):
                yield entry.stat()


def _is_slice(name: str) -> bool:
    return Path(name).suffix.lower() in TIFF_SUFFIXES


@contextmanager
def unchanged(signatures: Mapping[Path, Signature]) -> Iterator[None]:
    """Check after the block that files still have the given signatures.

    Raises
    ------
    VolumeError
        If a file has changed; also instead of any error that this caused in the block.
    """
    try:
        yield
    finally:
        for file, opened in signatures.items():
            if signature(file) != opened:
                raise changed(file)


@dataclass(frozen=True, slots=True)
class Watched(Wrapper):
    """An array that raises an error if its files have changed since it was opened.

    Parameters
    ----------
    array : array-like, shape (z, y, x)
        Array that is read from the files.
    signatures : mapping of Path to Signature
        Signatures of the files when the array was opened, links resolved.
    """

    signatures: Mapping[Path, Signature]

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        with unchanged(self.signatures):
            return np.asarray(self.array[key])


def watched(volume: Volume, signatures: Mapping[Path, Signature]) -> Volume:
    """Return a volume that cannot be read any more once its files have changed."""
    array = Watched(volume.array, signatures)
    return replace(volume, array=array, sources=tuple(signatures))


def moment_of_opening(place: Path) -> int:
    """Return the time, in ns, after which a Zarr must not be modified.

    This is the current time, or that of the newest file of the Zarr if later: the clock
    of a file server may be ahead of ours.

    Parameters
    ----------
    place : Path
        Folder of the Zarr.
    """
    now = time.time_ns()
    newest = _newest(place)
    # Not all files are looked at, but those written together differ by little.
    return now if newest <= now else newest + _SECOND


def _newest(place: Path) -> int:
    """Find the last change in a folder, descending into its newest subfolders."""
    newest = last_change(place.stat())
    folder: Path | None = place
    while folder is not None:
        known = _changes_in(folder)
        newest = max([newest, *known.values()])
        folders = (path for path in known if path.is_dir())
        folder = max(folders, key=known.__getitem__, default=None)
    return newest


def _changes_in(folder: Path) -> dict[Path, int]:
    """Return when each entry of a folder last changed, if the folder is readable."""
    known: dict[Path, int] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in islice(entries, _MAX_ENTRIES):
            known[Path(entry.path)] = last_change(entry.stat(follow_symlinks=False))
    return known


def last_change(status: os.stat_result) -> int:
    """Return the time, in ns, of the last change of a file's content or name."""
    # On Windows "ctime" is the time of creation.
    changed = status.st_ctime_ns if os.name == "posix" else 0
    return max(status.st_mtime_ns, changed)
