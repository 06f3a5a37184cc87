"""The major-class pitfall: one phase is predicted everywhere; how it is answered."""

from collections.abc import Iterator

import numpy as np

from napari_lrcs.arrays import Confusion
from napari_lrcs.metrics.overlap import accuracy
from napari_lrcs.progress import Notice
from napari_lrcs.training.session import TrainingSession

_PITFALL_SHARE = 0.999
"""One phase predicted in more than this share of the voxels is the pitfall."""

_FOUND_SHARE = 0.01
"""Unless this share of the other phases' voxels is found: they may be as rare."""

_PITFALL_EPOCHS = 2
"""Validations in a row that show it; the first alone may pass by itself."""


def is_major_class_pitfall(confusion: Confusion) -> bool:
    """Tell whether one phase is predicted everywhere although several are painted.

    The paper: "the network can be easily trapped by a poor local minimum that predicts
    only the majority class. We call it a major class pitfall as the accuracy is stuck
    at the value of volume fraction of the major class."
    """
    predicted, painted = confusion.sum(axis=0), confusion.sum(axis=1)
    major = int(predicted.argmax())
    n_others = painted.sum() - painted[major]
    n_found = confusion.trace() - confusion[major, major]
    return bool(
        np.count_nonzero(painted) > 1
        and predicted[major] > _PITFALL_SHARE * predicted.sum()
        and n_found < _FOUND_SHARE * n_others
    )


def answer_pitfall(
    session: TrainingSession, confusion: Confusion | None
) -> Iterator[Notice]:
    """Warn of a pitfall that lasts, and restart the training if the config allows it.

    Parameters
    ----------
    session : TrainingSession
        At the end of an epoch.
    confusion : ndarray of int64 or None
        Of the epoch's validation.
    """
    state, config = session.state, session.config.optimisation
    if confusion is None or not is_major_class_pitfall(confusion):
        state.n_pitfalls, state.escaped = 0, True
        return
    state.n_pitfalls += 1
    is_last = session.n_epochs_done == config.n_epochs
    # Reported once: when it lasts, or when there is no epoch left for it to last.
    lasts = state.n_pitfalls == _PITFALL_EPOCHS
    if not lasts and not (is_last and state.n_pitfalls < _PITFALL_EPOCHS):
        return
    phase = list(session.annotation.phases)[int(confusion.sum(axis=0).argmax())]
    yield Notice(
        kind="pitfall",
        text=(
            f"major-class pitfall: only {phase.name} is predicted, and the "
            f"accuracy ({accuracy(confusion):.1%}) is no more than its share of "
            "the painted voxels; try another seed, a lower learning rate, smaller "
            "batches or phase weights"
        ),
    )
    # A network that had learnt more before is kept: its best is worth more.
    if state.n_restarts < config.pitfall_restarts and not state.escaped:
        session.restart()
        text = f"started again with seed {session.state.seed}"
        yield Notice(kind="restart", text=text)
