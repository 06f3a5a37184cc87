"""Give specks, components of too few voxels, to the phase around them.

Voxels are neighbours where they share a face. A **speck** is a 3D component of one
phase with fewer than ``min_size`` voxels. Specks are peeled from the outside in: in
each round, every speck voxel with settled neighbours takes the label most common among
them, the lower one of two that are equally common. Settled are the voxels of phases
that are in no speck, and what earlier rounds have peeled. So specks within specks (a
bright grain with its blurred rim) go to the phase around both. After `min_size` rounds,
what no settled voxel was near enough to reach stays as it is.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.phases import UNPAINTED


def remove_specks(labels: Labels, *, min_size: int) -> Labels:
    """Give the components of fewer than `min_size` voxels to the phase around them.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x)
        Labels; unpainted voxels stay unpainted, and pass no label on.
    min_size : int
        Voxels that a component needs to stay; 0 or 1 keeps all.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        The cleaned labels, by the rule of this module.

    Examples
    --------
    >>> remove_specks(np.array([[[1, 1, 2, 1, 3, 3]]], np.uint8), min_size=2)
    array([[[1, 1, 1, 3, 3, 3]]], dtype=uint8)
    """
    return _peel(labels, _find_specks(labels, min_size), n_rounds=min_size)


def remove_specks_slabwise(
    read: Callable[[int, int], Labels], *, n_slices: int, min_size: int, slab: int
) -> Iterator[Labels]:
    """Yield the slabs of what `remove_specks` gives for the whole volume.

    Parameters
    ----------
    read : callable
        Returns the labels of the slices from a start to a stop (excluded) as uint8
        (z, y, x); it is asked for some slices more than once.
    n_slices : int
        Number of slices of the volume.
    min_size : int
        As of `remove_specks`.
    slab : int
        Slices that are yielded at once.

    Yields
    ------
    ndarray of uint8, shape (slab or less, y, x)
        The cleaned slabs, in order.

    Notes
    -----
    A slab is cleaned within a window of slices around it, which grows until the result
    is that of the whole volume, by one of two arguments. Either no group of touching
    specks reaches from the slab to a cut end of the window: then these specks are
    complete, and peeling them needs only their neighbours. Or the window has
    ``2 * min_size`` slices on either side: what is too small for a component only
    because the window cuts it lies within ``min_size - 2`` slices of the end, and
    `min_size` rounds carry its influence no farther than ``2 * min_size - 2``.
    """
    for start in range(0, n_slices, slab):
        yield _clean(read, start, min(start + slab, n_slices), n_slices, min_size)


_FIRST_HALO = 8
"""Slices on either side of a slab that suffice where specks are few."""


def _clean(
    read: Callable[[int, int], Labels],
    start: int,
    stop: int,
    n_slices: int,
    min_size: int,
) -> Labels:
    halo = min(_FIRST_HALO, 2 * min_size)
    while True:
        first, end = max(start - halo, 0), min(stop + halo, n_slices)
        inner = slice(start - first, stop - first)
        labels = read(first, end)
        specks = _find_specks(labels, min_size)
        cut_ends = [z for z, is_cut in ((0, first > 0), (-1, end < n_slices)) if is_cut]
        if halo >= 2 * min_size or not _reach(specks, inner, cut_ends):
            return _peel(labels, specks, n_rounds=min_size)[inner]
        halo *= 2


def _find_specks(labels: Labels, min_size: int) -> Mask:
    specks = np.zeros(labels.shape, np.bool_)
    for phase in range(1, int(labels.max(initial=0)) + 1):
        components, n_components = ndimage.label(labels == phase)
        sizes = np.zeros(n_components + 1, np.int64)
        # Slice by slice: bincount makes an int64 copy of its input.
        for plane in components:
            sizes += np.bincount(plane.ravel(), minlength=sizes.size)
        is_speck = sizes < min_size
        is_speck[0] = False
        specks |= is_speck[components]
    return specks


def _reach(specks: Mask, inner: slice, ends: list[int]) -> bool:
    """Tell whether touching specks lead from the inner slices to one of the ends."""
    groups, n_groups = ndimage.label(specks)
    is_inside = np.zeros(n_groups + 1, np.bool_)
    is_inside[groups[inner]] = True
    is_inside[0] = False
    return bool(is_inside[groups[ends]].any())


def _peel(labels: Labels, specks: Mask, *, n_rounds: int) -> Labels:
    # A border of unpainted voxels spares all questions about the edges.
    settled = np.pad(np.where(specks, np.uint8(UNPAINTED), labels), 1)
    flat = settled.reshape(-1)
    steps = np.array(settled.strides)
    neighbours = np.concatenate([-steps, steps])
    open_ = np.flatnonzero(np.pad(specks, 1))
    for _ in range(n_rounds):
        found = _most_common(flat[open_[:, np.newaxis] + neighbours])
        if not found.any():
            break
        flat[open_] = found
        open_ = open_[found == UNPAINTED]
    peeled = settled[1:-1, 1:-1, 1:-1]
    return np.where(peeled == UNPAINTED, labels, peeled)


def _most_common(votes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the most common painted label of each row, the lowest of equals, or 0."""
    votes = np.sort(votes, axis=1)
    n_equal = (votes[:, :, np.newaxis] == votes[:, np.newaxis]).sum(axis=2)
    n_equal[votes == UNPAINTED] = 0
    found: NDArray[np.uint8] = votes[np.arange(len(votes)), n_equal.argmax(axis=1)]
    return found
