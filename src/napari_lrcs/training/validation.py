"""What ends an epoch and a training: validation, checkpoints, the history."""

import math
from collections.abc import Generator, Iterator, Mapping

import numpy as np

from napari_lrcs.annotation.annotation import Role
from napari_lrcs.arrays import Confusion
from napari_lrcs.metrics.overlap import mean_iou
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.progress import (
    EpochEnded,
    Notice,
    NotLearnt,
    Scoring,
    TrainEvent,
    TrainingEnded,
)
from napari_lrcs.training.not_learnt import (
    TRAINING_PATCHES,
    find_not_learnt,
    not_learnt_notice,
)
from napari_lrcs.training.pitfall import answer_pitfall, is_major_class_pitfall
from napari_lrcs.training.scoring import SliceScore, history_row, score_slices
from napari_lrcs.training.session import TrainingSession

_VALIDATION = "on the validation slices"


def end_epoch(session: TrainingSession) -> Iterator[TrainEvent]:
    """Validate, keep the network, and watch for what is not learnt."""
    state, epoch = session.state, session.n_epochs_done + 1
    validation = yield from _score(session, "validation")
    loss = math.nan if validation is None else validation.loss
    confusion = _confusion_of(validation)
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
    if validation is not None:
        known = session.trained_on.with_predicted(validation.predicted)
        session.trained_on = known
        session.temperature, session.confidence_curve = validation.calibration()
    session.run.write_epoch(session.checkpoint(), epoch=epoch, is_best=is_best)
    notices = [*answer_pitfall(session, confusion), *_notices_halfway(session, event)]
    session.run.write_history(session.state.history)  # empty if it has begun again
    # Before the events: a consumer may close the generator at any of them.
    session.save()
    yield event
    yield from notices


def end_training(session: TrainingSession) -> Iterator[TrainEvent]:
    """Score the best network on all validation and test slices."""
    best = load_checkpoint(session.run.best)
    session.average.network.load_state_dict(dict(best.state))
    validation = _confusion_of((yield from _score(session, "validation")))
    test = _confusion_of((yield from _score(session, "test")))
    session.update_state()
    found = find_not_learnt(
        {
            _VALIDATION: validation,
            "on the test slices": test,
            TRAINING_PATCHES: np.array(session.state.training),
        },
        session.annotation.phases,
    )
    yield from _notices_of(session, found)
    yield TrainingEnded(
        best=session.run.best,
        epochs=session.n_epochs_done,
        seconds=session.state.seconds,
        device=str(session.device),
        validation=validation,
        test=test,
        not_learnt=tuple(found),
    )


def _notices_halfway(session: TrainingSession, event: EpochEnded) -> Iterator[Notice]:
    """Name what is not learnt after half of the training, unless in a pitfall."""
    n_done, config = session.n_epochs_done, session.config.optimisation
    confusion = event.validation
    is_early = 2 * n_done < config.n_epochs  # also if a pitfall has restarted it
    if is_early or (confusion is not None and is_major_class_pitfall(confusion)):
        return
    found = find_not_learnt(
        {_VALIDATION: confusion, TRAINING_PATCHES: event.training},
        session.annotation.phases,
    )
    yield from _notices_of(session, found, after=f"after epoch {n_done}, ")


def _notices_of(
    session: TrainingSession, found: Mapping[NotLearnt, str], *, after: str = ""
) -> Iterator[Notice]:
    """Name each phase once during the training."""
    for phase, where in found.items():
        if phase.label not in session.told_not_learnt:
            session.told_not_learnt.add(phase.label)
            yield not_learnt_notice(
                phase, where, config=session.config.optimisation, after=after
            )


def _confusion_of(score: SliceScore | None) -> Confusion | None:
    return None if score is None else score.confusion


def _score(
    session: TrainingSession, role: Role
) -> Generator[Scoring, None, SliceScore | None]:
    return score_slices(
        session.average.network,
        session.annotation.with_role(role),
        normalisation=session.normalisation,
        config=session.config.optimisation,
        precision=session.precision,
    )
