"""Train as long as somebody paints: a generator of the events of `train`, and others.

Strokes are drawn from at the next step. The learning rate is constant until the end is
asked for; then it falls to 0 within some epochs, and the run ends as any other. When
nothing is painted and the score does not rise any more, the training rests.
"""

from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.annotation.painting.growing import GrowingAnnotation
from napari_lrcs.annotation.painting.live import LivePainting
from napari_lrcs.arrays import Mask
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.locks import check_not_in_use
from napari_lrcs.io.paths import follow_link
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import (
    Finishing,
    OverlayChosen,
    Resting,
    TrainEvent,
    WaitingForStrokes,
)
from napari_lrcs.training.live.first_overlay import FirstOverlay
from napari_lrcs.training.live.run import LiveRunFolder
from napari_lrcs.training.live.session import LiveSession, live_config
from napari_lrcs.training.loop import run_session, train_epoch, train_to_the_end
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import Origin, splits_before
from napari_lrcs.training.validation import end_epoch

_WAIT_SECONDS = 0.25
"""Between events while nothing is computed."""

_REST_EPOCHS = 4
"""Epochs without a gain after which a training rests."""
_SCORE_GAIN, _LOSS_GAIN = 0.002, 0.02
"""What counts as a gain: in mean IoU, or relative to the training loss."""


def train_live(  # noqa: PLR0913 where it starts from
    painting: LivePainting,
    *,
    config: TrainConfig,
    phases: PhaseTable,
    run: Path,
    resume: bool = False,
    overwrite: bool = False,
    origin: Origin | None = None,
    parent: Path | None = None,
) -> Generator[TrainEvent, None, None]:
    """Train a network on a painting that grows, and leave a run folder.

    Parameters
    ----------
    painting : LivePainting
        Its `finish` ends the training as its usual end would; closing the generator
        stops it, and it can be resumed.
    config : TrainConfig
        Its schedule and its numbers of epochs do not count; where a run is resumed,
        that of the run.
    phases : PhaseTable
        Names and colours; they stay as they are.
    run, resume, overwrite, origin, parent
        As of `train`; but a run is resumed with the painting as it is now.

    Yields
    ------
    TrainEvent
        As `train` does, and `LiveEvent`: `WaitingForStrokes` before two phases are
        painted, `OverlayChosen`, `StrokesTaken`, `Resting` several times a second,
        `Finishing`. Nothing but the first if it is finished before it has begun.

    Raises
    ------
    CheckpointError, ResultExistsError, InUseError, ValueError
        As `train` does.
    """
    run = follow_link(run)
    check_not_in_use(run)
    folder = LiveRunFolder(run)
    if not resume:
        folder.check_place(overwrite=overwrite)
    former = folder if resume else None if parent is None else RunFolder(parent)
    growing = GrowingAnnotation(
        painting,
        config=config,
        phases=phases,
        begun_at=folder.read_task().begun_at if resume else None,
        held_out=_held_out(former or origin, config, painting.read().image),
    )
    annotation = yield from _wait_for_phases(growing)
    if annotation is None:
        return
    session = LiveSession(
        growing,
        annotation,
        config=config if resume else live_config(config),
        run=folder,
    )

    def begin() -> None:
        session.begin(origin, parent=None if resume else former, overwrite=overwrite)

    has_network = resume or former is not None or origin is not None
    yield from run_session(
        session,
        begin=session.resume if resume else begin,
        work=_train if has_network else _train_after_forest,
    )


def _wait_for_phases(
    growing: GrowingAnnotation,
) -> Generator[WaitingForStrokes, None, Annotation | None]:
    """Wait until two phases are painted; None if the end comes before."""
    painting = growing.painting
    while (annotation := growing.begin()) is None and not painting.is_finishing:
        yield WaitingForStrokes()
        while not painting.wait(_WAIT_SECONDS):
            yield WaitingForStrokes()
    return annotation


def _train_after_forest(session: LiveSession) -> Iterator[TrainEvent]:
    """Train, and let a forest label the slice in view until the network is better."""
    with closing(FirstOverlay(session)) as first, closing(_train(session)) as events:
        for event in events:
            yield event
            if not first.is_over:
                yield from first.update()
            if not first.is_over:
                yield from first.compare(event)


def _train(session: LiveSession) -> Generator[TrainEvent, None, None]:
    painting = session.growing.painting
    yield OverlayChosen(by="network")
    while not painting.is_finishing:
        session.plan_epoch()
        yield from _with_strokes(session, train_epoch(session))
        yield from end_epoch(session)
        session.follow(everything=True)
        session.freshen()
        yield from session.take_strokes()
        yield from _rest(session)
    session.plan_end()
    yield from session.take_strokes()
    yield Finishing(n_epochs=session.config.optimisation.n_epochs)
    yield from train_to_the_end(session)


def _with_strokes(
    session: LiveSession, events: Iterator[TrainEvent]
) -> Iterator[TrainEvent]:
    for event in events:
        yield from session.take_strokes()
        yield event


def _rest(session: LiveSession) -> Iterator[TrainEvent]:
    """Compute nothing until the next stroke, if there is nothing more to learn."""
    painting = session.growing.painting
    if painting.has_changed or not _is_settled(session):
        return
    session.save()
    while not painting.wait(_WAIT_SECONDS):
        yield Resting(checkpoint=session.checkpoint)
    session.start_clock()


def _is_settled(session: LiveSession) -> bool:
    """Tell whether the last epochs have gained nothing on this painting."""
    rows = session.state.history[session.changed_at_epoch :]
    if len(rows) <= _REST_EPOCHS:
        return False
    scores = [row["validation_mean_iou"] for row in rows]
    if any(score is None for score in scores):
        losses = [row["training_loss"] or 0.0 for row in rows]
        least = min(losses[:-_REST_EPOCHS])
        return min(losses[-_REST_EPOCHS:]) > least * (1 - _LOSS_GAIN)
    known = [float(score or 0.0) for score in scores]
    return max(known[-_REST_EPOCHS:]) < max(known[:-_REST_EPOCHS]) + _SCORE_GAIN


def _held_out(
    former: RunFolder | Origin | None, config: TrainConfig, image: Volume
) -> dict[int, Mask]:
    """Read which pixels of each slice the network that goes on was validated on."""
    splits = splits_before(former, config.preprocessing.axis, [image])
    return {index: split.held_out for (_, index), split in splits.items()}
