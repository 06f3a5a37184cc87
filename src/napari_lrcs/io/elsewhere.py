"""Other processes that compute, and the volumes that they read for it."""

import math
import pickle
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar
from uuid import uuid4

from napari_lrcs.errors import LrcsError, VolumeError
from napari_lrcs.io.volume import Volume

_FIRST_SHARE = 2
"""A worker's first part is one half of what it would get if all were equally fast."""

_MOST_BYTES = 2**20
"""Largest pickle of volume and mask: their paths may be sent, not their voxels."""

_POLL_SECONDS = 0.5
"""Seconds between events while others compute."""

Part = TypeVar("Part")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Other processes that compute.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        The executor that runs them.
    n_workers : int
        Approximate number of processes; see `split`.
    """

    executor: Executor
    n_workers: int

    @property
    def device(self) -> str:
        """The workers, as shown to the user."""
        return f"{self.n_workers} worker{'' if self.n_workers == 1 else 's'}"

    def split(self, n: int, *, most: int) -> Iterator[range]:
        """Split work into parts: large ones first, ever smaller ones at the end.

        Large parts cost less, small ones let workers of unequal speed, and those that
        come later, finish at about the same time.

        Parameters
        ----------
        n : int
            Pieces of work in all.
        most : int
            Pieces of the largest part.

        Yields
        ------
        range
            The pieces of a part.
        """
        start, n_shares = 0, _FIRST_SHARE * max(self.n_workers, 1)
        while start < n:
            stop = start + min(math.ceil((n - start) / n_shares), most)
            yield range(start, stop)
            start = stop

    def run(
        self, compute: Callable[[Part], Found], parts: Sequence[Part]
    ) -> Iterator[list[tuple[int, Found]]]:
        """Have parts computed.

        Parameters
        ----------
        compute : callable
            Can be pickled, as can what it returns.

        Yields
        ------
        list of (int, Found)
            The indices of the parts that have ended since the last event, and what they
            returned; twice a second, and when a part ends.

        Raises
        ------
        LrcsError, OSError
            If a process, or the executor, fails.
        """
        waiting = {self.executor.submit(compute, p): i for i, p in enumerate(parts)}
        try:
            while waiting:
                done, _ = wait(
                    waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED
                )
                yield [(waiting.pop(future), future.result()) for future in done]
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedVolumes:
    """A volume and its mask as they are sent to other processes: by their paths.

    Parameters
    ----------
    pickled : bytes
        The volume and its mask.
    fingerprint : str
        Fingerprint of the volume.
    token : str
        Unique, so that no cached volume is used after a file has changed.
    """

    pickled: bytes
    fingerprint: str
    token: str

    @classmethod
    def of(cls, volume: Volume, mask: Volume | None) -> "PackedVolumes":
        """Pack volumes that come from `open_to_share`.

        Raises
        ------
        ValueError
            If one of them is in memory.
        """
        pickled = pickle.dumps((volume, mask))
        if len(pickled) > _MOST_BYTES:
            raise ValueError(
                f"{volume.name} or its mask is in memory, where other processes cannot "
                "read it; save it, and open the file"
            )
        return cls(pickled=pickled, fingerprint=volume.fingerprint(), token=uuid4().hex)

    def open(self) -> tuple[Volume, Volume | None]:
        """Open them in another process.

        Raises
        ------
        LrcsError
            If they cannot be read here, or the file holds another volume.
        """
        return _opened(self)


@lru_cache(maxsize=1)  # a process gets many parts of one volume
def _opened(packed: PackedVolumes) -> tuple[Volume, Volume | None]:
    host = socket.gethostname()
    try:
        volume, mask = pickle.loads(packed.pickled)  # noqa: S301 we have sent it
    except VolumeError as error:
        raise LrcsError(
            f"the worker on {host} cannot read the volume or its mask: {error}; they "
            "must be on a disk that all workers share, under the same names"
        ) from error
    if volume.fingerprint() != packed.fingerprint:
        raise LrcsError(
            f"the worker on {host} reads another {volume.name}: all workers must see "
            "the same file under this name"
        )
    return volume, mask
