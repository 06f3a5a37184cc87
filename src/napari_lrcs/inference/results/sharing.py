"""Let other processes write slabs of a prediction, and know when they have stopped.

A file ``session-TOKEN`` in the folder of a prediction is the permission to write there.
Whoever writes holds the lock of a file ``writer-NAME.lock`` meanwhile. To end a session
is to remove the permission, and to wait until nobody holds a lock: also those that
belong to a process that was killed, whose workers may still be at it.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from napari_lrcs.errors import LrcsError
from napari_lrcs.inference.results.partial import PartialFolder
from napari_lrcs.io.locks import FileLock, one_at_a_time


@dataclass(frozen=True, slots=True)
class Session:
    """The permission to write slabs into the folder of a prediction; can be pickled.

    Parameters
    ----------
    path : Path
        The folder, absolute.
    token : str
        Tells it from earlier sessions.
    """

    path: Path
    token: str

    @classmethod
    def begin(cls, path: Path) -> "Session":
        """Let others write into a folder.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        session = cls(path.absolute(), uuid4().hex)
        session._permission.touch()
        return session

    @property
    def folder(self) -> PartialFolder:
        """The folder of the prediction."""
        return PartialFolder(self.path)

    @property
    def _permission(self) -> Path:
        return self.path / f"session-{self.token}"

    def check(self) -> None:
        """Raise `LrcsError` if the session has ended, or the folder is not in sight."""
        if not self._permission.exists():
            raise LrcsError(
                f"the worker on {socket.gethostname()} does not see {self.path}: the "
                "result and the image must be on a disk that all workers share, under "
                "the same names"
            )

    @contextmanager
    def writing(self) -> Iterator[str]:
        """Be a writer until the block ends.

        Yields
        ------
        str
            A name that no other writer has, for `PartialFolder.note_done`.

        Raises
        ------
        LrcsError
            As `check` does.
        """
        self.check()  # first: nothing is put into another folder of that name
        name = uuid4().hex
        lock = FileLock(self.path / f"writer-{name}.lock", refusal="")
        try:
            self.check()  # again: from now on, who ends the session waits for us
            yield name
        finally:
            lock.remove()


def end_sessions(path: Path) -> None:
    """Withdraw the permission to write into a folder, and wait until nobody does."""
    for permission in path.glob("session-*"):
        permission.unlink(missing_ok=True)
    for lock in path.glob("writer-*.lock"):
        with one_at_a_time(lock):
            pass
