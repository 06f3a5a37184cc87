"""Locks: one writer at a time per file or folder, one window per painting."""

import errno
import os
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from napari_lrcs.errors import InUseError
from napari_lrcs.io.paths import follow_link, lock_of

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_LOCKED_BYTE = 1 << 20
"""Position of the byte that is locked on Windows, where locked bytes cannot be read:
far behind the process id."""

_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
"""Error numbers that mean that somebody else holds the lock."""

_ATTEMPTS, _PAUSE = 20, 0.01
"""Attempts to read who holds a lock, and seconds between them: the holder writes its
process id just after it has locked the file."""


@contextmanager
def only_writer(*places: Path) -> Iterator[None]:
    """Be the only writer of some files or folders until the block ends.

    Parameters
    ----------
    *places : Path
        Files or folders to write; their parent folders must exist. Links are resolved.

    Raises
    ------
    InUseError
        If somebody else is writing to one of them, even in the same process.
    OSError
        If a lock file cannot be created.
    """
    with ExitStack() as stack:
        for place in sorted(set(map(follow_link, places))):
            lock = FileLock(
                lock_of(place),
                refusal=f"{place} is being written by process {{process}}; wait until "
                "it has ended, or choose another name",
            )
            stack.callback(lock.remove)
        yield


@contextmanager
def one_at_a_time(path: Path, *, pause: float = _PAUSE) -> Iterator[None]:
    """Wait until nobody else holds a lock, and hold it until the block ends.

    Parameters
    ----------
    path : Path
        The lock file; it is created, and removed afterwards.
    pause : float
        Seconds between attempts; the default is for blocks that take a moment.

    Raises
    ------
    OSError
        If the file cannot be created.
    """
    while True:
        try:
            lock = FileLock(path, refusal="")
            break
        except InUseError:
            time.sleep(pause)
    try:
        yield
    finally:
        lock.remove()


def check_not_in_use(place: Path) -> None:
    """Refuse a file or folder that somebody else is writing to.

    Raises
    ------
    InUseError
        If somebody else is writing to it, even in the same process.
    """
    if place.parent.is_dir():
        with only_writer(place):
            pass


def remove_left_locks(folder: Path) -> None:
    """Remove what killed writers have left in a folder; locks that are held stay.

    Raises
    ------
    OSError
        If a lock file cannot be opened.
    """
    for lock in folder.glob(lock_of(Path("*")).name):
        with suppress(InUseError):
            FileLock(lock, refusal="").remove()


def is_in_use(place: Path) -> bool:
    """Whether somebody is writing to a file or folder; makes no lock file."""
    if not lock_of(place).exists():
        return False
    try:
        check_not_in_use(place)
    except InUseError:
        return True
    except OSError:  # of another user's lock nothing is known
        return False
    return False


class FileLock:
    """Holds a lock until it is released or garbage-collected, or the process ends.

    The operating system holds the lock, so the file that a killed process leaves behind
    locks nothing. The file contains the process id, for the error that others get. On a
    file system without locks, nobody is refused.

    Parameters
    ----------
    path : Path
        The lock file; created if it is missing.
    refusal : str
        Message of the error; ``{process}`` becomes the holder's process id.

    Raises
    ------
    InUseError
        If somebody else holds the lock, even in the same process.
    OSError
        If the file cannot be created.
    """

    def __init__(self, path: Path, *, refusal: str) -> None:
        self._path = path
        file = _open_locked(path, refusal)
        self._close = weakref.finalize(self, os.close, file)
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())

    def release(self) -> None:
        """Release the lock, unless it has been released already."""
        self._close()

    def remove(self) -> None:
        """Release the lock, and remove the file."""
        if sys.platform == "win32":  # where an open file cannot be removed
            self.release()
        with suppress(OSError):
            self._path.unlink()
        self.release()


def _open_locked(path: Path, refusal: str) -> int:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in _HELD:
                return file
            holder = _read_holder(file)
            os.close(file)
            raise InUseError(refusal.replace("{process}", holder)) from error
        if _is_at(file, path):
            return file
        os.close(file)  # its last holder has just removed it


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _read_holder(file: int) -> str:
    for _ in range(_ATTEMPTS):
        os.lseek(file, 0, os.SEEK_SET)
        if holder := os.read(file, 20).decode("ascii", "replace").strip():
            return holder
        time.sleep(_PAUSE)
    return "unknown"


def _lock(file: int) -> None:
    if sys.platform == "win32":
        os.lseek(file, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
