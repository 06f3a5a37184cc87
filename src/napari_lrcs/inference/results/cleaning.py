"""Labels without specks, slab by slab."""

from collections.abc import Callable, Iterator, Sequence

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.specks import remove_specks_slabwise
from napari_lrcs.inference.geometry import Slab
from napari_lrcs.preprocessing.slices import runs_of

COPY_SLICES = 16
"""Slices that are cleaned and written at once."""


def cleaned_slabs(
    read: Callable[[Slab], Labels], slices: Sequence[int], *, min_size: int
) -> Iterator[tuple[Slab, Labels]]:
    """Read labels slab by slab, without specks of fewer than `min_size` voxels.

    Parameters
    ----------
    read : callable
        Returns the labels of a slab, shape (slices, rows, columns).
    slices : sequence of int
        Slices that are not empty, ascending; only these are read.
    min_size : int
        As of `remove_specks`.

    Yields
    ------
    slab : Slab
        In order.
    labels : ndarray of uint8, shape (len(slab), rows, columns)
    """
    # Empty slices lend nobody a label, so what lies between them is cleaned by itself.
    for run in runs_of(slices):
        start = run.start
        for labels in _cleaned(read, run, min_size):
            yield Slab(start=start, stop=start + len(labels)), labels
            start += len(labels)


def _cleaned(
    read: Callable[[Slab], Labels], run: range, min_size: int
) -> Iterator[Labels]:
    def read_part(start: int, stop: int) -> Labels:
        return read(Slab(start=run.start + start, stop=run.start + stop))

    n_slices = len(run)
    if min_size > 1:
        yield from remove_specks_slabwise(
            read_part, n_slices=n_slices, min_size=min_size, slab=COPY_SLICES
        )
        return
    for start in range(0, n_slices, COPY_SLICES):
        yield read_part(start, min(start + COPY_SLICES, n_slices))
