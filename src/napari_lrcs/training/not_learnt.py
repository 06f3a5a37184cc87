"""Phases that are painted, but not learnt: which they are, and what to do about it."""

from collections.abc import Mapping

import numpy as np

from napari_lrcs.arrays import Confusion
from napari_lrcs.config import OptimisationConfig
from napari_lrcs.metrics.overlap import not_learnt
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import Notice, NotLearnt

TRAINING_PATCHES = "in the training patches"

SUGGESTED_BALANCE = 0.5
"""The `balance` to suggest where a phase is not learnt: half of the patches still show
how common the phases are."""


def find_not_learnt(
    confusions: Mapping[str, Confusion | None], phases: PhaseTable
) -> dict[NotLearnt, str]:
    """Find the phases that are not learnt, and where that is seen first.

    Parameters
    ----------
    confusions : mapping of str to ndarray of int64 or None
        By where their voxels lie, as "on the test slices"; None where there are none.
        Those of `TRAINING_PATCHES`, which come last, count for phases that are painted
        nowhere else.
    phases : PhaseTable
    """
    found: dict[int, tuple[NotLearnt, str]] = {}
    painted = np.zeros(len(phases), bool)
    for where, confusion in confusions.items():
        if confusion is None or not confusion.size:
            continue
        for poor in not_learnt(confusion, phases):
            if where != TRAINING_PATCHES or not painted[poor.label - 1]:
                found.setdefault(poor.label, (poor, where))
        painted |= confusion.any(axis=1)
    return dict(found.values())


def advice(config: OptimisationConfig, *, balance: str = "balance") -> str:
    """Say what helps against a phase that is not learnt.

    Parameters
    ----------
    config : OptimisationConfig
        Of the training.
    balance : str
        Name of the setting that balances the patches between the phases.
    """
    others = "give it a higher phase weight, paint more of it, or train longer"
    if config.balance >= SUGGESTED_BALANCE:
        return others
    return (
        f"balance the patches between the phases ({balance} {SUGGESTED_BALANCE}), "
        f"{others}"
    )


def not_learnt_notice(
    found: NotLearnt, where: str, *, config: OptimisationConfig, after: str = ""
) -> Notice:
    """Make the notice of a phase that is not learnt.

    Parameters
    ----------
    found : NotLearnt
    where : str
        Where that is seen, as "on the validation slices".
    config : OptimisationConfig
        Of the training.
    after : str
        Begins the sentence, as "after epoch 6, ".
    """
    text = f"{after}{found} {where}; {advice(config)}"
    return Notice(kind="not_learnt", text=text)
