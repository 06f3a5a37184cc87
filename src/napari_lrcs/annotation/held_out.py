"""Which part of a painted slice is held out, where no slice is for validation."""

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.phases import UNPAINTED

_SHARE = 0.2
_BLOCKS = 8
"""Blocks along the longer side of a slice."""
_FEWEST_FRESH = 3
"""Blocks that a stroke begins, at least, before one of them is held out."""


def held_out_blocks(labels: Labels) -> Mask:
    """Choose blocks with about a fifth of each phase's painting, rare phases first.

    Parameters
    ----------
    labels : ndarray of uint8, shape (rows, columns)
        0 where unpainted.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        True in the blocks for validation.
    """
    blocks = _blocks_of(labels)
    counts = [
        np.bincount(blocks[labels == phase], minlength=_BLOCKS**2)
        for phase in np.unique(labels[labels != UNPAINTED])
    ]
    # The block with most of a phase is kept, so that training knows every phase.
    kept = [int(in_block.argmax()) for in_block in counts]
    is_chosen = np.zeros(_BLOCKS**2, np.bool_)
    for in_block in sorted(counts, key=np.sum):
        wanted = _SHARE * in_block.sum()
        by_size = np.argsort(-in_block, kind="stable")
        # Every third of the others, so that training keeps large and small ones.
        for block in by_size[~np.isin(by_size, kept)][::3]:
            if in_block[is_chosen].sum() >= wanted or in_block[block] == 0:
                break
            is_chosen[block] = True
    held_out: Mask = is_chosen[blocks]
    return held_out


def held_out_of_stroke(before: Labels, now: Labels) -> Mask:
    """Choose what of a stroke is held out: blocks where nothing was painted before.

    Short strokes, such as most corrections, are not held out: they are painted to be
    learnt.

    Parameters
    ----------
    before, now : ndarray of uint8, shape (rows, columns)
        Labels of the slice before and after the stroke; 0 where unpainted.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        True at painted pixels for validation.
    """
    blocks = _blocks_of(now)
    known = np.unique(blocks[before != UNPAINTED])
    stroke = np.where(np.isin(blocks, known), UNPAINTED, now)
    if len(np.unique(blocks[stroke != UNPAINTED])) < _FEWEST_FRESH:
        return np.zeros(now.shape, np.bool_)
    held_out: Mask = held_out_blocks(stroke) & (stroke != UNPAINTED)
    return held_out


def is_enough(n_held_out: int, n_painted: int) -> bool:
    """Tell whether a part of the painted pixels is enough to validate on."""
    return n_held_out >= _SHARE * n_painted


def _blocks_of(labels: Labels) -> NDArray[np.int64]:
    """Return the number of each pixel's block, shape (rows, columns)."""
    side = max(1, -(-max(labels.shape) // _BLOCKS))
    rows, columns = (np.arange(n) // side for n in labels.shape)
    blocks: NDArray[np.int64] = rows[:, None] * _BLOCKS + columns[None, :]
    return blocks
