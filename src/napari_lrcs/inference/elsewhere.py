"""Have slabs computed by other processes, each of which writes its own to disk.

Importing this module loads no torch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import TypeVar

from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.results.outputs import Arrays, Output
from napari_lrcs.inference.results.sharing import Session
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.writing import naming
from napari_lrcs.progress import Notice, SlabPredicted, TilePredicted

_MOST_CHUNKS = 8
"""Most chunks of a part. Large parts are faster: nothing is computed while the first
slab is read or the last is written."""

Found = TypeVar("Found")


# ---- in the process that has the result ----


def compute_slabs_elsewhere(
    compute: Callable[[Sequence[Slab]], Found],
    slabs: Sequence[Slab],
    *,
    others: Elsewhere,
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
        The slabs that are left to compute.
    take : callable
        Handles what `compute` has returned, and returns notices for the user.
    depth : int
        Number of slices of a chunk.
    n_slices : int
        Number of slices of the whole result.

    Yields
    ------
    Notice, TilePredicted or SlabPredicted
        `SlabPredicted` once a process has finished its part.

    Raises
    ------
    LrcsError, OSError
        If a process, or the executor, fails.
    """
    parts = parts_of(slabs, depth=depth, others=others)
    n_done = n_slices - sum(map(len, slabs))
    for ended in others.run(compute, parts):
        for place, found in ended:
            yield from take(found)
            for slab in parts[place]:
                n_done += len(slab)
                yield SlabPredicted(
                    start=slab.start, stop=slab.stop, n_done=n_done, n_slices=n_slices
                )
        yield TilePredicted(n_done=n_done, n_slices=n_slices)


def parts_of(
    slabs: Sequence[Slab], *, depth: int, others: Elsewhere
) -> list[tuple[Slab, ...]]:
    """Group slabs, all of a chunk together: no two processes write to one chunk."""
    chunks = [tuple(own) for _, own in groupby(slabs, lambda s: s.start // depth)]
    return [
        tuple(slab for i in part for slab in chunks[i])
        for part in others.split(len(chunks), most=_MOST_CHUNKS)
    ]


# ---- in the other processes ----


def left_of(slabs: Sequence[Slab], session: Session) -> list[Slab]:
    """List the slabs that are not written yet: a killed process may have left some."""
    done = session.folder.read_done()
    return [slab for slab in slabs if slab.start not in done]


def writing_to(
    session: Session, *, geometry: Geometry, outputs: Sequence[Output], writer: str
) -> Callable[[Slab, Arrays], None]:
    """Return a function that writes a slab; `Session.writing` yields `writer`."""
    folder = session.folder
    arrays = {output: folder.array(output, mode="r+") for output in outputs}

    def write(slab: Slab, values: Arrays) -> None:
        with naming(folder.path):
            for output, array in arrays.items():
                geometry.put(array, slab, values[output])
        folder.note_done(slab, writer=writer)

    return write
