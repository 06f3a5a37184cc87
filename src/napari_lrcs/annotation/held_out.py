"""Which part of a painted slice is held out, where no slice is for validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.phases import UNPAINTED

_SHARE = 0.2
_BLOCKS = 8
"""Blocks along the longer side of a slice."""
_FEWEST_FRESH = 3
"""Blocks that a stroke begins, at least, before one of them is held out."""

Place: TypeAlias = tuple[str, int]
"""Name of a volume, and place of a slice in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What of a slice a network has learnt, and what it was validated on.

    Parameters
    ----------
    trained, held_out : ndarray of bool, shape (rows, columns)
    """

    trained: Mask
    held_out: Mask


Splits: TypeAlias = Mapping[Place, Split]


def held_out_of(painted: Mapping[Place, Labels], splits: Splits) -> dict[Place, Mask]:
    """Choose what of the training slices is held out, where no slice validates.

    Parameters
    ----------
    painted : mapping of Place to ndarray of uint8, shape (rows, columns)
        Labels of the training slices; 0 where unpainted.
    splits : mapping of Place to Split
        Of the training whose network goes on: what it has held out stays so, and
        what it has learnt is never held out.

    Returns
    -------
    dict of Place to ndarray of bool, shape (rows, columns)
    """
    known = {
        place: split
        for place, split in splits.items()
        if place in painted and split.trained.shape == painted[place].shape
    }
    held_out = {
        place: known[place].held_out & (labels != UNPAINTED)
        if place in known
        else held_out_blocks(labels)
        for place, labels in painted.items()
    }
    n_painted = sum(int(np.count_nonzero(labels)) for labels in painted.values())
    for place, split in known.items():
        n_held_out = sum(
            int(np.count_nonzero(painted[p][mask])) for p, mask in held_out.items()
        )
        if is_enough(n_held_out, n_painted):
            break
        before = (split.trained | split.held_out).astype(np.uint8)
        held_out[place] |= held_out_of_stroke(before, painted[place])
    return held_out


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
