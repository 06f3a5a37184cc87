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
"""Attempts to remove a folder that is still being written, and seconds between them."""


def check_new(path: Path, *, overwrite: bool) -> None:
    """Check that a result can be written, before any work is done for it.

    Parameters
    ----------
    path : Path
        File or folder to write.
    overwrite : bool
        Whether an existing file or folder may be replaced.

    Raises
    ------
    ResultExistsError
        If `path` exists and `overwrite` is False.
    InUseError
        If somebody else is writing to it.
    VolumeError
        If the parent folder is missing or read-only, if `path` is a device or a pipe,
        or if its name is not valid UTF-8.
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
    check_writable(parent, to_write=path)
    check_not_in_use(path)
    check_free(path, overwrite=overwrite)


def check_writable(folder: Path, *, to_write: Path) -> None:
    """Refuse a folder that nothing can be written into.

    Parameters
    ----------
    folder : Path
        An existing folder.
    to_write : Path
        What is to be written; for the message.

    Raises
    ------
    VolumeError
        If the folder is read-only.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        raise VolumeError(
            f"{to_write} cannot be written: the folder {folder} is read-only for you; "
            "make it writable, or work in another folder"
        )


def _is_not_text(path: Path) -> bool:
    """Return whether a name has bytes that some libraries cannot handle."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return True
    return False


def check_free(path: Path, *, overwrite: bool) -> None:
    """Do what `check_new` does, if the caller is the only writer already."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise VolumeError(
            f"{path} is not a regular file; results can only replace files and "
            "folders: choose another name"
        )
    if path.exists() and not overwrite:
        raise ResultExistsError(
            f"{path} exists already; choose another name, or allow overwriting it"
        )


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Write to a temporary name, and rename it to `path` when it is complete.

    Parameters
    ----------
    path : Path
        File or folder to create or replace; if it is a link, its target is replaced.
    overwrite : bool
        Whether an existing file or folder may be replaced.

    Yields
    ------
    Path
        Hidden temporary name next to `path`, with the same suffix, where the block must
        create a file or a folder. If the block raises, it is removed, and `path` is
        unchanged.

    Raises
    ------
    InUseError
        If somebody else is writing to `path`.
    ResultExistsError, VolumeError
        If `path` exists and may not be replaced.
    OSError
        If writing fails, for example on a full disk; the error names a file.
    """
    path = follow_link(path)
    with only_writer(path), naming(path):
        _restore(path)
        # Checked under the lock: another writer may have finished until now.
        check_free(path, overwrite=overwrite)
        with written_beside(path) as temporary:
            yield temporary


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Do what `replacing` does, if the caller is the only writer already."""
    temporary = part_of(path)
    remove(temporary)  # left by a killed run
    try:
        yield temporary
        with uninterrupted():
            put_in_place(temporary, path)
    finally:
        remove(temporary)
        if path.exists():
            remove(former_of(path))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file name to system errors that lack one, such as for a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C until the block ends: for a few renames that belong together."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C does not interrupt other threads
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
    """Create an array in memory, in which empty slices take no memory.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.
    across : int
        Axis across which the slices lie; negative to make the whole array one chunk.
    dtype : dtype-like
        Type of the voxels; by default that of labels.

    Returns
    -------
    zarr.Array
        Array of zeros.
    """
    import zarr  # slow, and not needed to put files in place

    from napari_lrcs.io.prompt_array import PromptArray

    array = zarr.create_array(
        zarr.storage.MemoryStore(),
        shape=shape,
        chunks=tuple(1 if i == across else n for i, n in enumerate(shape)),
        dtype=dtype,
        compressors=None,
    )
    return PromptArray(array.async_array)


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename; folders in two steps, as one rename cannot replace a non-empty folder.

    A folder that was in the way is left under the name that `former_of` gives it.
    """
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
    """Undo the first rename of a folder if the process was killed before the second."""
    if not path.exists() and former_of(path).exists():
        former_of(path).replace(path)


def move_aside(path: Path) -> None:
    """Rename `path` to `former_of(path)`, and remove what had that name before."""
    remove(former_of(path))
    path.replace(former_of(path))


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists."""
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
