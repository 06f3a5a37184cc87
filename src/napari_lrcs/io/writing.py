"""Put results in place only when they are complete."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.locks import check_not_in_use, only_writer
from napari_lrcs.io.paths import follow_link, former_of, part_of

if TYPE_CHECKING:
    import zarr

_REMOVALS, _PAUSE = 20, 0.05
"""Attempts to remove a folder that is still written to, and seconds between them."""


def check_new(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a result before any work is done for it.

    Parameters
    ----------
    path : Path
        File or folder that is to be written.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    ResultExistsError
        If something is there and `overwrite` is False.
    InUseError
        If another one writes to it.
    VolumeError
        If the parent folder is missing or may not be written to, a device, a pipe or
        the like is there, or the name is not valid text.
    """
    path = follow_link(path)
    if _is_not_text(path):
        raise VolumeError(
            f"{path} cannot be written: its name is not valid UTF-8; choose "
            "another name"
        )
    parent = path.absolute().parent
    if not parent.is_dir():
        raise VolumeError(f"{path} cannot be written: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise VolumeError(
            f"{path} cannot be written: the folder {parent} is read-only for you"
        )
    check_not_in_use(path)
    check_free(path, overwrite=overwrite)


def _is_not_text(path: Path) -> bool:
    """Tell whether a name holds bytes that not all libraries can take."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return True
    return False


def check_free(path: Path, *, overwrite: bool) -> None:
    """Do what `check_new` does, for a place that the caller is the only writer of."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise VolumeError(
            f"{path} is not a regular file; results go to files and folders: choose "
            "another name"
        )
    if path.exists() and not overwrite:
        raise ResultExistsError(
            f"{path} exists already; choose another name, or ask to overwrite it"
        )


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Write beside `path`, and put the result in its place when it is complete.

    Parameters
    ----------
    path : Path
        File or folder to create or replace; of a link, what it points to.
    overwrite : bool
        Whether what is there may be replaced.

    Yields
    ------
    Path
        Hidden temporary name beside `path`, of the same suffix, where the block must
        create a file or a folder. It is removed if the block raises, and `path` is
        then as it was.

    Raises
    ------
    InUseError
        If another one writes to `path`.
    ResultExistsError, VolumeError
        If something is there that may not be replaced.
    OSError
        If the disk is full, or the like; it names a file.
    """
    path = follow_link(path)
    with only_writer(path), naming(path):
        _restore(path)
        # Now that nobody else writes: until then, another one may have ended.
        check_free(path, overwrite=overwrite)
        with written_beside(path) as temporary:
            yield temporary


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Do what `replacing` does, for a place that the caller is the only writer of."""
    temporary = part_of(path)
    remove(temporary)  # left by a killed run
    try:
        yield temporary
        with uninterrupted():
            _put_in_place(temporary, path)
    finally:
        remove(temporary)
        if path.exists():
            remove(former_of(path))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in errors of the system that name none, such as of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends: for a few renames that belong together."""
    if threading.current_thread() is not threading.main_thread():
        yield  # which Ctrl-C does not reach
        return
    received: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former or signal.SIG_DFL)
    if received:
        signal.raise_signal(signal.SIGINT)


def create_in_memory(
    shape: tuple[int, ...], *, across: int, dtype: DTypeLike = np.uint8
) -> "zarr.Array[Any]":
    """Create an array in memory, of which empty slices take none.

    Parameters
    ----------
    shape : tuple of int
    across : int
        Axis that slices lie across; -1 or less where all is one slice.
    dtype : dtype-like
        Of the voxels; that of labels by default.

    Returns
    -------
    zarr.Array
        0 everywhere.
    """
    import zarr  # slow, and needless where files are only put in place

    return zarr.create_array(
        zarr.storage.MemoryStore(),
        shape=shape,
        chunks=tuple(1 if i == across else n for i, n in enumerate(shape)),
        dtype=dtype,
        compressors=None,
    )


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename, a folder in two steps, since none can replace a full one in one."""
    if temporary.is_file():
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
    if not path.is_dir() and (temporary.is_file() or not path.exists()):
        temporary.replace(path)
        return
    move_aside(path)
    try:
        temporary.replace(path)
    except OSError:
        former_of(path).replace(path)
        raise


def _restore(path: Path) -> None:
    """Undo what was killed between the two renames of a folder."""
    if not path.exists() and former_of(path).exists():
        former_of(path).replace(path)


def move_aside(path: Path) -> None:
    """Give `path` a hidden name, `former_of`; what an earlier one has left goes."""
    remove(former_of(path))
    path.replace(former_of(path))


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    # After one of Zarr's threads has failed, others may still be writing for a while.
    for _ in range(_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_PAUSE)
    shutil.rmtree(path)
