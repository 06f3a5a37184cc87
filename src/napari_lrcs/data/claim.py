"""A folder that one window at a time works in."""

import errno
import os
import sys
import weakref
from pathlib import Path

from napari_lrcs.errors import VolumeError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_FAR = 1 << 20
"""Byte that Windows locks: what it locks cannot be read, and the pid is before it."""

_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
"""How systems say that another one holds the lock."""


class Claim:
    """Holds a lock file until it is released, collected, or its process ends.

    The system holds the lock, not the file: what a killed process leaves locks nothing.
    The file names the process for those who are refused. Where a file system knows no
    locks, nobody is refused.

    Parameters
    ----------
    path : Path
        The lock file; made where it is missing.

    Raises
    ------
    VolumeError
        If another one holds it, be it in the same process.
    OSError
        If the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        self._close = weakref.finalize(self, os.close, file)
        try:
            _lock(file)
        except OSError as error:
            owner = os.read(file, 20).decode("ascii", "replace").strip()
            self.release()
            if error.errno in _HELD:
                raise VolumeError(
                    f"{path.parent.name} is open in another window (process {owner}); "
                    "close it there, or begin a new one"
                ) from error
        else:
            os.ftruncate(file, 0)
            os.write(file, str(os.getpid()).encode())

    def release(self) -> None:
        """Let others have it; once is enough."""
        self._close()


def _lock(file: int) -> None:
    if sys.platform == "win32":
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
