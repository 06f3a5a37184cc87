"""Count the voxels of phases, surfaces and interfaces, slab by slab."""

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.metrics.composition import Composition, Neighbourhood

_BLOCK = 1 << 21
"""Voxels counted at once: a dozen bytes each, and the fewer the more fit the cache."""

_GROUP = 8
"""Phases whose presence among the neighbours fits the bits of one uint8."""


def compose(
    labels: Labels, *, n_phases: int, neighbourhood: Neighbourhood = 26
) -> Composition:
    """Count the voxels of phases, surfaces and interfaces.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x) or (y, x)
        Labels from 1 to `n_phases`; a voxel equal to `UNPAINTED` does not count, nor
        is it anyone's neighbour. Nothing lies beyond the border.
    n_phases : int
        Number of phases, 1 to 255.
    neighbourhood : {26, 18, 6, 8, 4}
        Which voxels are neighbours; 8 and 4 stay within a slice.

    Raises
    ------
    ValueError
        If a label exceeds `n_phases`, or there is no such neighbourhood.

    Examples
    --------
    >>> labels = np.array([[1, 1, 1, 2], [1, 1, 1, 2]], np.uint8)
    >>> measured = compose(labels, n_phases=2, neighbourhood=8)
    >>> measured.volume_fraction.tolist()
    [0.75, 0.25]
    >>> measured.interface_fraction
    {(1, 2): 0.5}
    """
    volume = labels[np.newaxis] if labels.ndim == 2 else labels
    slabs = compose_slabs(
        lambda start, stop: volume[start:stop],
        n_slices=len(volume),
        labels=range(1, n_phases + 1),
        neighbourhood=neighbourhood,
    )
    return reduce(add, slabs)


def compose_slabs(
    read: Callable[[int, int], Labels],
    *,
    n_slices: int,
    labels: Sequence[int],
    neighbourhood: Neighbourhood = 26,
    slab: int = 16,
    run: range | None = None,
) -> Iterator[Composition]:
    """Count slab by slab; the sum of all slabs equals `compose` of the whole.

    A slab is counted in blocks, so that it needs little more memory than its voxels.

    Parameters
    ----------
    read : callable
        Returns the labels of the slices from a start to a stop (excluded) as uint8
        (z, y, x). It is called once per slab, from the first to the last, and for the
        next one before a slab is counted; also for the slices beside a run.
    n_slices : int
        Number of slices of the volume.
    labels : sequence of int
        Labels of the phases, in the order of the counts.
    neighbourhood
        As of `compose`.
    slab : int
        Slices read at once.
    run : range, optional
        Slices to count; all by default.

    Yields
    ------
    Composition
        Of one slab.

    Raises
    ------
    ValueError
        If a label is not one of the phases', or there is no such neighbourhood.
    """
    if neighbourhood not in get_args(Neighbourhood):
        raise ValueError(
            f"there is no neighbourhood of {neighbourhood} voxels; "
            "choose 6, 18 or 26 in 3D, 4 or 8 within slices"
        )
    known, run = tuple(labels), run or range(n_slices)
    start = run.start
    slabs = _read_once(read, n_slices=n_slices, slab=slab, run=run)
    for before, own, after in slabs:
        blocks = (
            compose_inner(block, inner, labels=known, neighbourhood=neighbourhood)
            for block, inner in _blocks(before, own, after)
        )
        composition = reduce(add, blocks)
        if composition.n_voxels.sum() < np.count_nonzero(own):
            raise _unknown_label(own, known, start=start)
        yield composition
        start += len(own)


def _read_once(
    read: Callable[[int, int], Labels], *, n_slices: int, slab: int, run: range
) -> Iterator[tuple[Labels, Labels, Labels]]:
    """Read slabs one after another, each with the slice before and the one after it."""
    own = read(run.start, min(run.start + slab, run.stop))
    before = read(run.start - 1, run.start) if run.start else own[:0]
    for stop in range(run.start + slab, run.stop, slab):
        following = read(stop, min(stop + slab, run.stop))
        yield before, own, following[:1]
        before, own = own[-1:].copy(), following  # the rest of the slab can be freed
        del following
    is_last = run.stop == n_slices
    yield before, own, own[:0] if is_last else read(run.stop, run.stop + 1)


def _unknown_label(own: Labels, known: tuple[int, ...], *, start: int) -> ValueError:
    label = next(
        label
        for label in reversed(range(1, 256))
        if label not in known and (own == label).any()
    )
    consecutive = known == tuple(range(1, len(known) + 1))
    expected = (
        f"0 to {len(known)}" if consecutive else f"0 or {', '.join(map(str, known))}"
    )
    return ValueError(
        f"slices {start} to {start + len(own) - 1} have the label {label}, but there "
        f"are {len(known)} phases; labels must be {expected}"
    )


def _blocks(
    before: Labels, own: Labels, after: Labels
) -> Iterator[tuple[Labels, tuple[slice, ...]]]:
    """Yield blocks of a slab, which overlap by a voxel, and the inner part of each."""
    depth, n_rows, n_columns = own.shape
    width = min(n_columns, max(1, _BLOCK // depth))
    height = max(1, _BLOCK // (depth * width))
    layers = slice(len(before), len(before) + depth)
    for row in range(0, n_rows, height):
        rows, inner_rows = _widened(row, height, n_rows)
        for column in range(0, n_columns, width):
            columns, inner_columns = _widened(column, width, n_columns)
            parts = [part[:, rows, columns] for part in (before, own, after)]
            yield np.concatenate(parts), (layers, inner_rows, inner_columns)


def _widened(start: int, length: int, end: int) -> tuple[slice, slice]:
    """Widen a run by one on either side; return that, and the run's place in it."""
    stop = min(start + length, end)
    first = max(start - 1, 0)
    return slice(first, min(stop + 1, end)), slice(start - first, stop - first)


def compose_inner(
    block: Labels,
    inner: tuple[slice, ...],
    *,
    labels: Sequence[int],
    neighbourhood: Neighbourhood,
) -> Composition:
    """Count the inner voxels of a block; the others are only their neighbours.

    Parameters
    ----------
    block : ndarray of uint8, shape (z, y, x)
    inner : tuple of slice
        Voxels that count.
    labels : sequence of int
        Labels of the phases, in the order of the counts.
    neighbourhood : {26, 18, 6, 8, 4}
    """
    known = tuple(labels)
    own = block[inner]
    on_surface = np.zeros(own.shape, np.bool_)
    touching = []
    for first in range(0, len(known), _GROUP):
        group = known[first : first + _GROUP]
        bit_of_label = np.zeros(256, np.uint8)
        bit_of_label[[*group]] = 1 << np.arange(len(group))
        bits = bit_of_label[block]
        foreign = _spread(bits, neighbourhood)[inner] & ~bits[inner]
        on_surface |= foreign > 0
        touching.append(_count_bits(own, foreign, known)[:, : len(group)])
    return Composition(
        n_voxels=count_labels(own)[[*known]],
        n_surface=count_labels(own * on_surface)[[*known]],
        n_touching=np.concatenate(touching, axis=1),
        neighbourhood=neighbourhood,
    )


def at_interface(
    labels: Labels, a: int, b: int, *, neighbourhood: Neighbourhood = 26
) -> Mask:
    """Find the voxels of the interface of two phases, as `compose` counts them.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
    a, b : int
        Labels of the phases.
    neighbourhood : {26, 18, 6, 8, 4}

    Returns
    -------
    ndarray of bool, shape (z, y, x)

    Examples
    --------
    >>> labels = np.array([[[1, 1, 1, 2], [1, 1, 1, 2]]], np.uint8)
    >>> at_interface(labels, 1, 2).astype(int)[0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    bit_of_label = np.zeros(256, np.uint8)
    bit_of_label[[a, b]] = 1, 2
    bits = bit_of_label[labels]
    both: Mask = (_spread(bits, neighbourhood) == 3) & (bits > 0)
    return both


def _spread(bits: NDArray[np.uint8], neighbourhood: Neighbourhood) -> NDArray[np.uint8]:
    """OR the bits of all neighbours and of the voxel itself."""
    along_x = _spread_along(bits, axis=2)
    if neighbourhood == 26:
        return _spread_along(_spread_along(along_x, axis=1), axis=0)
    if neighbourhood == 8:
        return _spread_along(along_x, axis=1)
    along_x_or_y = along_x | _spread_along(bits, axis=1)
    if neighbourhood == 4:
        return along_x_or_y
    if neighbourhood == 6:
        return along_x_or_y | _spread_along(bits, axis=0)
    # 18: the squares of 3 × 3 in the planes zx and zy, then that in yx.
    return _spread_along(along_x_or_y, axis=0) | _spread_along(along_x, axis=1)


def _spread_along(bits: NDArray[np.uint8], *, axis: int) -> NDArray[np.uint8]:
    spread = bits.copy()
    source, result = np.moveaxis(bits, axis, 0), np.moveaxis(spread, axis, 0)
    result[1:] |= source[:-1]
    result[:-1] |= source[1:]
    return spread


def _count_bits(
    own: Labels, foreign: NDArray[np.uint8], known: tuple[int, ...]
) -> NDArray[np.int64]:
    """Count for each phase and bit the phase's voxels with that bit."""
    counts = np.zeros((max(known) + 1) * 256, np.int64)
    # Slice by slice: bincount makes an int64 copy of its input.
    for label, seen in zip(own, foreign, strict=True):
        codes = (label.astype(np.uint16) << 8 | seen).ravel()
        counts += np.bincount(codes, minlength=counts.size)[: counts.size]
    has_bit = np.arange(256)[:, np.newaxis] >> np.arange(_GROUP) & 1
    return counts.reshape(-1, 256)[[*known]] @ has_bit


def count_labels(labels: Labels) -> NDArray[np.int64]:
    """Count the voxels of each label.

    Parameters
    ----------
    labels : ndarray of uint8, any shape

    Returns
    -------
    ndarray of int64, shape (256,)
    """
    counts = np.zeros(256, np.int64)
    voxels = labels.ravel()
    # bincount makes int64 of its input: in chunks, that copy stays in the cache.
    chunk = 1 << 17
    for start in range(0, voxels.size, chunk):
        counts += np.bincount(voxels[start : start + chunk], minlength=256)
    return counts
