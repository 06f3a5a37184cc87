"""Locks: one writer at a time for each place, one window for each painting."""

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

_FAR = 1 << 20
"""Byte that Windows locks: what it locks cannot be read, and the pid is before it."""

_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
"""How systems say that another one holds the lock."""

_LOOKS, _PAUSE = 20, 0.01
"""Attempts to read who holds a lock, and seconds between them: the holder writes its
process id just after it has locked the file."""


@contextmanager
def only_writer(*places: Path) -> Iterator[None]:
    """Keep all others from writing to some places, until the block ends.

    Parameters
    ----------
    *places : Path
        Files or folders to be written; their parent folders must exist. Links are
        resolved.

    Raises
    ------
    InUseError
        If another one writes to one of them, even in the same process.
    OSError
        If a lock file cannot be made.
    """
    with ExitStack() as stack:
        for place in sorted(set(map(follow_link, places))):
            lock = FileLock(
                lock_of(place),
                refusal=f"{place} is being written by process {{process}}; wait until "
                "that has ended, or choose another name",
            )
            stack.callback(lock.remove)
        yield


def check_not_in_use(place: Path) -> None:
    """Refuse a place that another one writes to; nothing if it is free.

    Raises
    ------
    InUseError
        As `only_writer` does.
    """
    if place.parent.is_dir():
        with only_writer(place):
            pass


class FileLock:
    """Holds a lock file until it is released, collected, or its process ends.

    The system holds the lock, not the file: what a killed process leaves locks nothing.
    The file names the process for those who are refused. Where a file system has no
    locks, nobody is refused.

    Parameters
    ----------
    path : Path
        The lock file; made where it is missing.
    refusal : str
        What to tell who is refused; ``{process}`` becomes the holder's process id.

    Raises
    ------
    InUseError
        If another one holds it, even in the same process.
    OSError
        If the file cannot be made.
    """

    def __init__(self, path: Path, *, refusal: str) -> None:
        self._path = path
        file = _open_locked(path, refusal)
        self._close = weakref.finalize(self, os.close, file)
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others have it; once is enough."""
        self._close()

    def remove(self) -> None:
        """Let others have it, and remove the file."""
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
    for _ in range(_LOOKS):
        os.lseek(file, 0, os.SEEK_SET)
        if holder := os.read(file, 20).decode("ascii", "replace").strip():
            return holder
        time.sleep(_PAUSE)
    return "unknown"


def _lock(file: int) -> None:
    if sys.platform == "win32":
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
