"""Train a network on annotated slices: a generator of events.

Read from top to bottom: the training, an epoch, a step, and the way back through the
network. What a training holds, and how it is saved, is in `training.session`; what ends
an epoch and a training, in `training.validation`.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.locks import check_not_in_use, only_writer, remove_left_locks
from napari_lrcs.io.paths import follow_link
from napari_lrcs.models.device import (
    arithmetic,
    convolution_kernels,
    memory_error_for,
    rounds_alike,
)
from napari_lrcs.progress import StepEnded, TrainEvent, TrainingStarted
from napari_lrcs.training.augment import augment
from napari_lrcs.training.counts import count_confusion
from napari_lrcs.training.losses import LOSSES
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.schedule import generator_of, learning_rate_at
from napari_lrcs.training.session import TrainingSession
from napari_lrcs.training.transfer import Origin
from napari_lrcs.training.validation import end_epoch, end_training

Session = TypeVar("Session", bound=TrainingSession)

_EVENT_SECONDS = 0.25
"""Between step events: often enough for a stop to feel prompt."""


def train(  # noqa: PLR0913 where it starts from
    annotation: Annotation,
    *,
    config: TrainConfig,
    run: Path,
    resume: bool = False,
    overwrite: bool = False,
    origin: Origin | None = None,
    parent: Path | None = None,
) -> Iterator[TrainEvent]:
    """Train a network and leave a run folder.

    On a CPU with the same number of threads, the same seed gives the same weights to
    the last bit, also through any number of interruptions.

    Parameters
    ----------
    annotation : Annotation
        From `read_annotation` with the same config.
    run : Path
        Folder for the checkpoints, the history and the state to resume from.
    resume : bool
        Go on where the run in the folder stopped; its config and painting must be the
        same.
    overwrite : bool
        Replace a run that is in the folder, once all else is found to be in order.
    origin : Origin, optional
        The network whose weights to start from (transfer learning).
    parent : Path, optional
        Run folder to continue with another painting: this training begins with the
        network and the optimiser as they are there.

    Yields
    ------
    TrainEvent
        `TrainingStarted` first, `StepEnded` several times a second, `EpochEnded`,
        `Notice` where the user should know something, `TrainingEnded` last. Closing
        the generator keeps the best model and the state to resume from.

    Raises
    ------
    PaintingChangedError
        If the run is to be resumed with another painting.
    CheckpointError
        If the run, its parent or its origin does not fit.
    ResultExistsError
        If a run is in the folder that is neither to be resumed nor to be replaced.
    InUseError
        If another process, or another window, trains in the folder.
    ValueError
        If the device is absent or the image is constant.
    """
    run = follow_link(run)
    check_not_in_use(run)
    if not resume:
        RunFolder(run).check_place(overwrite=overwrite)
    session = TrainingSession(annotation, config=config, run=RunFolder(run))

    def begin() -> None:
        former = None if parent is None else RunFolder(parent)
        session.begin(origin, parent=former, overwrite=overwrite)

    yield from run_session(
        session, begin=session.resume if resume else begin, work=train_to_the_end
    )


def run_session(
    session: Session,
    *,
    begin: Callable[[], None],
    work: Callable[[Session], Iterator[TrainEvent]],
) -> Iterator[TrainEvent]:
    """Train in a run folder that nobody else writes to, and save when it is stopped.

    Parameters
    ----------
    begin : callable
        Begins or resumes the session.
    work : callable
        Yields the events of the training.
    """
    run, config = session.run.path, session.config
    run.parent.mkdir(parents=True, exist_ok=True)
    with only_writer(run):
        remove_left_locks(run)
        begin()
        try:
            yield from session.take_notices()
            yield TrainingStarted(
                device=str(session.device),
                precision=session.precision,
                rounds_alike=rounds_alike(
                    session.device, deterministic=config.deterministic
                ),
                n_parameters=sum(p.numel() for p in session.model.parameters()),
                n_epochs=config.optimisation.n_epochs,
                steps_per_epoch=session.steps_per_epoch,
                first_epoch=session.n_epochs_done + 1,
            )
            session.start_clock()
            yield from work(session)
        except GeneratorExit:  # closed between two steps
            session.save()
            raise
        finally:
            session.close()


def train_to_the_end(session: TrainingSession) -> Iterator[TrainEvent]:
    """Run the epochs that are left, then the test."""
    while not session.is_over:
        yield from train_epoch(session)
        yield from end_epoch(session)
    yield from end_training(session)


def train_epoch(session: TrainingSession) -> Iterator[TrainEvent]:
    """Take the steps of an epoch; tell of them, and save, every now and then."""
    state, n_steps = session.state, session.steps_per_epoch
    n_before = session.n_epochs_done * n_steps
    if state.step == n_before:  # else it was interrupted
        state.loss_sum, state.training = 0.0, []
    reported_at = 0.0
    session.model.train()
    while state.step < n_before + n_steps:
        session.prepare_step()
        _step_within_memory(session)
        yield from session.take_notices()
        if time.monotonic() - reported_at >= _EVENT_SECONDS:
            reported_at = time.monotonic()
            yield StepEnded(
                epoch=session.n_epochs_done + 1,
                step=state.step - n_before,
                steps_per_epoch=n_steps,
                loss=session.update_state(),
                checkpoint=session.checkpoint,
            )
        if time.monotonic() - session.saved_at >= session.save_seconds:
            session.save()


def _step_within_memory(session: TrainingSession) -> None:
    """Take a step; when memory runs out, in smaller parts from now on."""
    advice = "for a single patch; use smaller patches, fewer filters or another device"
    while True:
        try:
            with memory_error_for(session.device, advice):
                _step(session)
            return
        except MemoryError:
            if session.state.n_micro_batches >= session.config.optimisation.batch_size:
                raise
        # After the exception, whose traceback holds on to the tensors.
        session.split_batches()


def _step(session: TrainingSession) -> None:
    """Draw a batch of patches and move the weights once, without waiting for a GPU."""
    state, config, optimiser = session.state, session.config, session.optimiser
    generator = generator_of(state.seed, state.step, device=session.device)
    patches = session.sampler.sample(
        config.optimisation.batch_size, generator=generator
    )
    images = augment(patches.images, config=config.augmentation, generator=generator)
    optimiser.zero_grad()
    loss, confusion = _backward(session, images, patches.labels)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate_at(
            state.step,
            config=config.optimisation,
            steps_per_epoch=session.steps_per_epoch,
        )
    optimiser.step()
    session.average.update(state.step)
    session.counts.add(loss, confusion)
    state.step += 1


def _backward(
    session: TrainingSession, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Add up the gradients of a batch in as many parts as memory asks for.

    Returns
    -------
    loss : Tensor, scalar
    confusion : Tensor of int64, shape (K, K)
    """
    n_parts = min(session.state.n_micro_batches, len(images))
    loss_of = LOSSES[session.config.optimisation.loss]
    deterministic = session.config.deterministic
    total = torch.zeros((), device=session.device)
    n_phases = len(session.annotation.phases)
    shape = (n_phases, n_phases)
    confusion = torch.zeros(shape, dtype=torch.int64, device=session.device)
    parts = zip(images.chunk(n_parts), labels.chunk(n_parts), strict=True)
    for patches, target in parts:
        inputs = patches.contiguous(memory_format=torch.channels_last)
        # Around the way back too, where autocast must not be.
        with convolution_kernels(session.precision, deterministic=deterministic):
            with arithmetic(
                session.precision, session.device, deterministic=deterministic
            ):
                logits = session.model(inputs).float()
            loss = loss_of(logits, target, session.weights)
            loss = loss * (len(patches) / len(images))
            torch.autograd.backward(loss)
        total += loss.detach()
        confusion += count_confusion(logits.detach(), target)
    return total, confusion
