"""Compute slabs in other processes, each of which writes its own to disk.

Importing this module loads no torch.
"""

import pickle
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np

from napari_lrcs.errors import LrcsError, VolumeError
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.outputs import Arrays, Output
from napari_lrcs.inference.sharing import Session
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import naming
from napari_lrcs.progress import Notice, SlabPredicted, TilePredicted

_MOST_SLABS = 8
"""Slabs of a part: nothing is computed while its first is read or its last written."""

_PARTS_PER_WORKER = 4
"""So that workers of unequal speed end at about the same time."""

_FEW_WORKERS = 4
"""Parts are made for at least as many: more may come."""

_MOST_BYTES = 2**20
"""How much of the volume and the mask may be sent: their paths, not their voxels."""

_POLL_SECONDS = 0.5
"""Seconds between events while others compute."""

Found = TypeVar("Found")


# ---- in the process that has the result ----


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Other processes that compute.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Whose processes they are.
    n_workers : int
        Their number, about: it decides how large the parts are that each of them gets
        at once.
    """

    executor: Executor
    n_workers: int

    @property
    def device(self) -> str:
        """What computes, for the user."""
        return f"{self.n_workers} worker{'' if self.n_workers == 1 else 's'}"

    def run(
        self,
        compute: Callable[[Sequence[Slab]], Found],
        slabs: Sequence[Slab],
        *,
        take: Callable[[Found], Iterable[Notice]],
        depth: int,
        n_slices: int,
    ) -> Iterator[Notice | TilePredicted | SlabPredicted]:
        """Have slabs computed, all of a chunk by one process.

        Parameters
        ----------
        compute : callable
            Computes some slabs in another process and writes them; can be pickled.
        slabs : sequence of Slab
            What is left to compute.
        take : callable
            Takes what `compute` has returned, and gives what the user should know.
        depth : int
            Slices of a chunk.
        n_slices : int
            Of the whole result.

        Yields
        ------
        Notice, TilePredicted or SlabPredicted
            The latter once a process has ended its part.

        Raises
        ------
        LrcsError, OSError
            If a process, or the executor, fails.
        """
        parts = parts_of(slabs, depth=depth, n_workers=self.n_workers)
        waiting = {self.executor.submit(compute, part): part for part in parts}
        n_done = n_slices - sum(map(len, slabs))
        try:
            while waiting:
                for part, found in _ended(waiting):
                    yield from take(found)
                    for slab in part:
                        n_done += len(slab)
                        yield SlabPredicted(
                            start=slab.start,
                            stop=slab.stop,
                            n_done=n_done,
                            n_slices=n_slices,
                        )
                yield TilePredicted(n_done=n_done, n_slices=n_slices)
        finally:
            for future in waiting:
                future.cancel()


def _ended(
    waiting: dict[Future[Found], tuple[Slab, ...]],
) -> Iterator[tuple[tuple[Slab, ...], Found]]:
    """Wait a moment for parts, and take out those that have ended."""
    done, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
    for future in done:
        yield waiting.pop(future), future.result()


def parts_of(
    slabs: Sequence[Slab], *, depth: int, n_workers: int
) -> list[tuple[Slab, ...]]:
    """Group slabs, all of a chunk together: no two processes write to one chunk."""
    chunks = [tuple(own) for _, own in groupby(slabs, lambda s: s.start // depth)]
    n_parts = _PARTS_PER_WORKER * max(n_workers, _FEW_WORKERS)
    n = int(np.clip(len(chunks) // n_parts, 1, _MOST_SLABS))
    return [
        tuple(slab for chunk in chunks[i : i + n] for slab in chunk)
        for i in range(0, len(chunks), n)
    ]


def pack_volumes(volume: Volume, mask: Volume | None) -> bytes:
    """Pickle what other processes read, from `open_to_share`.

    Raises
    ------
    ValueError
        If it is in memory.
    """
    packed = pickle.dumps((volume, mask))
    if len(packed) > _MOST_BYTES:
        raise ValueError(
            f"{volume.name} or its mask is in memory, where other processes cannot "
            "read it; save it, and open the file"
        )
    return packed


# ---- in the other processes ----


def unpack_volumes(packed: bytes, *, fingerprint: str) -> tuple[Volume, Volume | None]:
    """Open what `pack_volumes` has packed.

    Raises
    ------
    LrcsError
        If it cannot be read here, or is another volume.
    """
    host = socket.gethostname()
    try:
        volume, mask = pickle.loads(packed)  # noqa: S301 our own process sent it
    except VolumeError as error:
        raise LrcsError(
            f"the worker on {host} cannot read the image or its mask: {error}; they "
            "must be on a disk that all workers share, under the same names"
        ) from error
    if volume.fingerprint() != fingerprint:
        raise LrcsError(
            f"the worker on {host} reads another {volume.name}: all workers must see "
            "the same file under this name"
        )
    return volume, mask


def left_of(slabs: Sequence[Slab], session: Session) -> list[Slab]:
    """List the slabs that are not there yet.

    A process may have been killed after it had written some.
    """
    done = session.folder.read_done()
    return [slab for slab in slabs if slab.start not in done]


def writing_to(
    session: Session, *, geometry: Geometry, outputs: Sequence[Output], writer: str
) -> Callable[[Slab, Arrays], None]:
    """Return what writes the arrays of a slab; `writer` as `Session.writing` names."""
    folder = session.folder
    arrays = {output: folder.array(output, mode="r+") for output in outputs}

    def write(slab: Slab, values: Arrays) -> None:
        with naming(folder.path):
            for output, array in arrays.items():
                geometry.put(array, slab, values[output])
        folder.note_done(slab, writer=writer)

    return write
