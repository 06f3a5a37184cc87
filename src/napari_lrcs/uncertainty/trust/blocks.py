"""Sums over blocks of voxels, while a volume is read slab by slab."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison.evaluate import read_inside, slices_at_once
from napari_lrcs.io.volume import Volume

Block = tuple[int, int, int]
"""Voxels of a block along z, y and x."""


def block_within(shape: tuple[int, int, int], *, n_blocks: int) -> Block:
    """Find the smallest cubes, cut off where the volume is flatter, that are so few.

    Examples
    --------
    >>> block_within((64, 64, 64), n_blocks=64**3)
    (1, 1, 1)
    >>> block_within((3, 400, 400), n_blocks=10_000)
    (3, 4, 4)
    """
    for side in range(1, max(shape) + 1):
        z, y, x = (min(side, length) for length in shape)
        if math.prod(map(_n_runs, shape, (z, y, x))) <= n_blocks:
            break
    return z, y, x


def blocks_of(shape: tuple[int, int, int], block: Block) -> tuple[int, int, int]:
    """Count the blocks along z, y and x; the last ones may be cut off."""
    z, y, x = map(_n_runs, shape, block)
    return z, y, x


def _n_runs(length: int, run: int) -> int:
    return -(-length // run)


def sum_blocks(
    values: NDArray[np.integer | np.bool_], block: Block
) -> NDArray[np.uint32]:
    """Add up the values of each block.

    Parameters
    ----------
    values : ndarray of integers or bool, shape (z, y, x)
    block : tuple of int
        Voxels of a block along z, y and x; the last ones may be cut off.

    Examples
    --------
    >>> sum_blocks(np.ones((1, 2, 3), np.bool_), (2, 2, 2)).tolist()
    [[[4, 2]]]
    """
    sums: NDArray[Any] = values
    for axis, run in enumerate(block):
        if run > 1:
            sums = _sum_runs(sums, run, axis)
    return sums.astype(np.uint32, copy=False)


def _sum_runs(
    values: NDArray[np.integer | np.bool_], run: int, axis: int
) -> NDArray[np.uint32]:
    # Not reduceat, which is several times slower.
    parts = np.moveaxis(values, axis, 0)
    sums = np.zeros((_n_runs(len(parts), run), *parts.shape[1:]), np.uint32)
    for place in range(run):
        part = parts[place::run]
        sums[: len(part)] += part
    return np.moveaxis(sums, 0, axis)


def read_layers(
    labels: Volume, mask: Volume | None, *, depth: int
) -> Iterator[tuple[int, Labels]]:
    """Read slabs of whole layers of blocks, or parts of a layer that is too large.

    Parameters
    ----------
    labels : Volume
    mask : Volume of bool or None
        Voxels outside become unpainted.
    depth : int
        Slices of a layer of blocks.

    Yields
    ------
    start, slab
        The first slice, and the labels, uint8 (z, y, x).
    """
    n_slices = labels.shape[0]
    at_once = max(1, slices_at_once(labels) // 4)  # for several events a second
    whole = max(depth, at_once // depth * depth)
    for first in range(0, n_slices, whole):
        last = min(first + whole, n_slices)
        for start in range(first, last, min(whole, at_once)):
            stop = min(start + at_once, last)
            yield start, read_inside(labels, mask, start, stop)
