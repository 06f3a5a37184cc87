"""Which part of a painted slice is held out, where no slice is for validation."""

import numpy as np

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.phases import UNPAINTED

_SHARE = 0.2
_BLOCKS = 8
"""Blocks along the longer side of a slice."""


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
    side = max(1, -(-max(labels.shape) // _BLOCKS))
    rows, columns = (np.arange(n) // side for n in labels.shape)
    blocks = rows[:, None] * _BLOCKS + columns[None, :]
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
