"""Add up what the slabs of a volume give, in this process or in others."""

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Protocol, Self, TypeVar

from napari_lrcs.io.elsewhere import Elsewhere, PackedVolumes
from napari_lrcs.io.volume import Volume

_MOST_SLABS = 64
"""Slabs of a part: about a GiB and some seconds, so that progress can be shown."""


class _Addable(Protocol):
    def __add__(self, other: Self, /) -> Self: ...


Sum = TypeVar("Sum", bound=_Addable)

Measure = Callable[..., Iterator[Sum]]
"""Called with labels, ``mask`` and ``run``, yields what each slab of the run gives."""


def add_slabs(
    measure: Measure[Sum],
    labels: Volume,
    mask: Volume | None,
    *,
    n_slices: int,
    depth: int,
    others: Elsewhere | None = None,
) -> Generator[float, None, Sum]:
    """Add up what the slabs of a volume give.

    They are added in their order, so that sums of floats are the same, bit for bit,
    wherever they are measured.

    Parameters
    ----------
    measure : callable
        Can be pickled, if `others` are given.
    n_slices : int
        Number of slices of the volume, along the axis of the slabs.
    depth : int
        Number of slices of a slab.
    others : Elsewhere, optional
        Other processes, which measure. Then the labels, and the file of the mask, must
        come from `open_to_share`.

    Yields
    ------
    float
        Share of the slabs that are done.

    Raises
    ------
    ValueError
        If the labels are in memory, where other processes cannot read them.
    LrcsError, OSError
        If one of these processes, or their executor, fails.
    """
    total: Sum | None = None
    parts: Iterator[tuple[list[Sum], float]]
    if others is None:
        slabs = measure(labels, mask=mask, run=range(n_slices))
        parts = (([slab], i * depth / n_slices) for i, slab in enumerate(slabs, 1))
    else:
        runs = _runs(n_slices, depth=depth, others=others)
        there = partial(_measure_there, measure, PackedVolumes.of(labels, mask))
        parts = _in_order(others.run(there, runs), n_parts=len(runs))
    for ended, share in parts:
        for slab in ended:
            total = slab if total is None else total + slab
        yield share
    assert total is not None  # a volume has slices
    return total


def _in_order(
    found: Iterable[Sequence[tuple[int, list[Sum]]]], *, n_parts: int
) -> Iterator[tuple[list[Sum], float]]:
    """Give what parts have found in the order of the parts, as far as it is there."""
    early: dict[int, list[Sum]] = {}
    n_ended = n_given = 0
    for ended in found:
        early.update(ended)
        n_ended += len(ended)
        ready: list[Sum] = []
        while n_given in early:
            ready += early.pop(n_given)
            n_given += 1
        yield ready, n_ended / n_parts


def _runs(n_slices: int, *, depth: int, others: Elsewhere) -> list[range]:
    parts = others.split(math.ceil(n_slices / depth), most=_MOST_SLABS)
    return [
        range(part.start * depth, min(part.stop * depth, n_slices)) for part in parts
    ]


def _measure_there(
    measure: Measure[Sum], volumes: PackedVolumes, run: range
) -> list[Sum]:
    """Measure a run of slices in another process."""
    labels, mask = volumes.open()
    return list(measure(labels, mask=mask, run=run))
