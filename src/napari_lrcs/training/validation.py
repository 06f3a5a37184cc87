"""What ends an epoch and a training: validation, checkpoints, the history."""

from collections.abc import Generator, Iterator

import numpy as np

from napari_lrcs.annotation.annotation import Role
from napari_lrcs.arrays import Confusion
from napari_lrcs.metrics.overlap import mean_iou
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.progress import EpochEnded, Scoring, TrainEvent, TrainingEnded
from napari_lrcs.training.pitfall import answer_pitfall
from napari_lrcs.training.scoring import (
    history_row,
    never_predicted_notices,
    score_slices,
)
from napari_lrcs.training.session import TrainingSession


def end_epoch(session: TrainingSession) -> Iterator[TrainEvent]:
    """Validate, keep the network, and watch for the pitfall."""
    state, epoch = session.state, session.n_epochs_done + 1
    loss, confusion = yield from _score(session, "validation")
    # Without validation (its part was too small to hold out) the last is the best.
    score = state.step if confusion is None else mean_iou(confusion)
    # Scribbles are soon predicted without an error: the loss tells on from there.
    is_best = (score, -loss) > (state.best_score, -state.best_loss)
    if is_best:
        state.best_score, state.best_loss = float(score), loss
        state.best_epoch = epoch
    session.update_state()
    event = EpochEnded(
        epoch=epoch,
        n_epochs=session.config.optimisation.n_epochs,
        step=state.step,
        learning_rate=float(session.optimiser.param_groups[0]["lr"]),
        loss=state.loss_sum / session.steps_per_epoch,
        training=np.array(state.training),
        validation_loss=loss,
        validation=confusion,
        is_best=is_best,
        seconds=state.seconds,
    )
    state.history.append(history_row(event))
    session.run.write_epoch(session.checkpoint(), epoch=epoch, is_best=is_best)
    session.run.write_history(state.history)
    notices = list(answer_pitfall(session, confusion))
    # Before the events: a consumer may close the generator at any of them.
    session.save()
    yield event
    yield from notices


def end_training(session: TrainingSession) -> Iterator[TrainEvent]:
    """Score the best network on all validation and test slices."""
    best = load_checkpoint(session.run.best)
    session.model.load_state_dict(dict(best.state))
    _, validation = yield from _score(session, "validation")
    _, test = yield from _score(session, "test")
    session.update_state()
    confusions = {
        "on the validation slices": validation,
        "on the test slices": test,
    }
    if validation is None:  # all that is left to tell by
        confusions["in the training patches"] = np.array(session.state.training)
    yield from never_predicted_notices(confusions, session.annotation.phases)
    yield TrainingEnded(
        best=session.run.best,
        epochs=session.n_epochs_done,
        seconds=session.state.seconds,
        device=str(session.device),
        validation=validation,
        test=test,
    )


def _score(
    session: TrainingSession, role: Role
) -> Generator[Scoring, None, tuple[float, Confusion | None]]:
    return score_slices(
        session.model,
        session.annotation.with_role(role),
        normalisation=session.normalisation,
        config=session.config.optimisation,
        precision=session.precision,
    )
