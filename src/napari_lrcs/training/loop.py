"""Train a network on annotated slices: a generator of events."""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_lrcs.annotation.annotation import Annotation, Role
from napari_lrcs.arrays import Confusion
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.locks import check_not_in_use, only_writer
from napari_lrcs.io.paths import follow_link
from napari_lrcs.metrics.overlap import accuracy, mean_iou
from napari_lrcs.models.checkpoint import (
    Checkpoint,
    cpu_copy,
    load_checkpoint,
    load_weights,
)
from napari_lrcs.models.device import (
    arithmetic,
    deterministic_convolutions,
    device_notices,
    is_out_of_memory,
    on_device,
    release_memory,
    resolve_device,
    resolve_precision,
)
from napari_lrcs.models.registry import create_model, n_channels
from napari_lrcs.preprocessing.normalisation import fit_normalisation
from napari_lrcs.progress import (
    EpochEnded,
    Notice,
    Scoring,
    StepEnded,
    TrainEvent,
    TrainingEnded,
    TrainingStarted,
)
from napari_lrcs.training.augment import augment
from napari_lrcs.training.losses import LOSSES
from napari_lrcs.training.resume import TrainingState
from napari_lrcs.training.run_folder import RunFolder
from napari_lrcs.training.sampling import Patches, PatchSampler
from napari_lrcs.training.schedule import generator_of, learning_rate_at
from napari_lrcs.training.scoring import (
    count_confusion,
    evaluate_slice,
    history_row,
    is_major_class_pitfall,
    never_predicted_notices,
    phase_weights_of,
)

_EVENT_SECONDS = 0.25
"""Between step events: often enough for a stop to feel prompt."""

_SAVE_SECONDS = 60.0
"""Between saved states within an epoch: what a crash may cost."""

_PITFALL_EPOCHS = 2
"""Validations in a row that show it; the first alone may pass by itself."""


def train(
    annotation: Annotation,
    *,
    config: TrainConfig,
    run: Path,
    resume: bool = False,
    overwrite: bool = False,
    initial_weights: Path | None = None,
) -> Iterator[TrainEvent]:
    """Train a network and leave a run folder.

    On a CPU with the same number of threads, the same seed gives the same weights to
    the last bit, also through any number of interruptions.

    Parameters
    ----------
    annotation : Annotation
        From `read_annotation` with the same config.
    config : TrainConfig
    run : Path
        Folder for the checkpoints, the history and the state to resume from.
    resume : bool
        Go on where the run in the folder stopped; its config and painting must be the
        same.
    overwrite : bool
        Replace a run that is in the folder, once all else is found to be in order.
    initial_weights : Path, optional
        Checkpoint or run folder whose weights to start from (transfer learning).

    Yields
    ------
    TrainEvent
        `TrainingStarted` first, `StepEnded` several times a second, `EpochEnded`,
        `Notice` where the user should know something, `TrainingEnded` last. Closing
        the generator keeps the best model and the state to resume from.

    Raises
    ------
    CheckpointError
        If the run or the initial weights do not fit.
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
    training = _Training(annotation, config=config, run=RunFolder(run))
    run.parent.mkdir(parents=True, exist_ok=True)
    with only_writer(run):
        if resume:
            training.resume()
        else:
            training.begin(initial_weights, overwrite=overwrite)
        try:
            yield from training.events()
        except GeneratorExit:  # closed between two steps
            training.save()
            raise
        finally:
            training.leave()


class _Training:
    """One run: the network, its optimiser and the state that changes."""

    def __init__(
        self, annotation: Annotation, *, config: TrainConfig, run: RunFolder
    ) -> None:
        self.annotation = annotation
        self.config = config
        self.run = run
        self.device = resolve_device(config.device)
        self.precision = resolve_precision(config.precision, self.device)
        self.normalisation = fit_normalisation(
            [s.grey_levels for s in annotation.having("train")]
        )
        self.weights = phase_weights_of(config, len(annotation.phases), self.device)
        self.steps_per_epoch = math.ceil(config.patches_per_epoch / config.batch_size)
        self.state = TrainingState(seed=config.seed)
        self.n_threads = torch.get_num_threads()
        self.notices: list[Notice] = [
            *device_notices(self.device),
            *(Notice(kind="advice", text=text) for text in annotation.advice),
        ]
        self._new_model()
        self.sampler = self._new_sampler()

    def _new_model(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.state.seed)
            model = create_model(self.config, n_phases=len(self.annotation.phases))
        self.model = on_device(model, self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters())

    # ---- beginning and resuming ----

    def begin(self, initial_weights: Path | None, *, overwrite: bool) -> None:
        """Start from random weights or those of another training."""
        if initial_weights is not None:
            load_weights(self.model, self._transferred(initial_weights))
        self.run.check_place(overwrite=overwrite)
        self.run.begin()
        self.save()
        self.run.write_task(self.annotation, self.config)

    def _transferred(self, path: Path) -> dict[str, Tensor]:
        other = load_checkpoint(path)
        mine, theirs = n_channels(self.config), n_channels(other.config)
        if mine != theirs:
            raise CheckpointError(
                f"{path.name} sees {theirs} slices at once, this training {mine}; "
                f"set context_slices to {other.config.context_slices}"
            )
        if len(other.phases) != len(self.annotation.phases):
            raise CheckpointError(
                f"{path.name} knows {len(other.phases)} phases "
                f"({', '.join(other.phases.names)}), the labels show "
                f"{len(self.annotation.phases)}"
            )
        return dict(other.state)

    def resume(self) -> None:
        """Go on where the run folder's state was saved."""
        begun = self.run.read_config()
        _check_same_config(begun, self.config)
        saved = self.run.read_resume()
        if saved.labels_hash != self.annotation.labels_hash:
            raise CheckpointError(
                f"the labels differ from those that the run in {self.run.path} was "
                "begun with; restore them or start a new run"
            )
        try:
            saved.check_tensors(self.model)
            saved.state.check(
                n_phases=len(self.annotation.phases),
                n_epochs=self.config.n_epochs,
                steps_per_epoch=self.steps_per_epoch,
            )
            self.model.load_state_dict(saved.model)
            (group,) = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict(saved.optimiser_state(group))
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"resume.pt in {self.run.path} is not of this run: {error}"
            ) from error
        self.state, self.precision = saved.state, saved.precision
        torch.set_num_threads(saved.n_threads)
        self.notices.append(
            Notice(kind="resumed", text=f"resumed after step {self.state.step}")
        )

    def save(self) -> None:
        """Write the state to resume from; only between two steps."""
        # A copy of the fields, not dataclasses.asdict: only plain types load safely.
        state = {f.name: getattr(self.state, f.name) for f in fields(self.state)}
        self.run.write_resume(
            {
                "state": state,
                "model": self.model.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "precision": self.precision,
                "labels_hash": self.annotation.labels_hash,
                "n_threads": torch.get_num_threads(),
            }
        )
        self._saved_at = time.monotonic()

    def leave(self) -> None:
        """Keep a best model and release the device, however the training ended."""
        if self.state.step and not self.run.best.exists():
            self.run.write_epoch(self._checkpoint(), epoch=0, is_best=True)
        del self.model, self.optimiser, self.sampler
        torch.set_num_threads(self.n_threads)
        release_memory(self.device)

    # ---- the loop ----

    def events(self) -> Iterator[TrainEvent]:
        """Run the epochs that are left, then the test."""
        yield from self._take_notices()
        yield TrainingStarted(
            device=str(self.device),
            precision=self.precision,
            n_parameters=sum(p.numel() for p in self.model.parameters()),
            n_epochs=self.config.n_epochs,
            steps_per_epoch=self.steps_per_epoch,
            first_epoch=self._epoch + 1,
        )
        self._clock = self._saved_at = time.monotonic()
        while self._epoch < self.config.n_epochs and not self._out_of_patience():
            yield from self._train_epoch()
            yield from self._end_epoch()
        yield from self._end()

    @property
    def _epoch(self) -> int:
        """Epochs that are trained and validated."""
        return len(self.state.history)

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return 0 < patience <= self._epoch - self.state.best_epoch

    def _new_sampler(self) -> PatchSampler:
        slices = self.annotation.having("train")
        shortest = min(min(s.labels.shape) for s in slices)
        stride = self.model.stride
        fitting = max(
            2 * stride, min(self.config.patch_size, shortest) // stride * stride
        )
        if fitting < self.config.patch_size:
            text = (
                f"patches are {fitting} px, not {self.config.patch_size}: the smallest "
                f"training slice is {shortest} px and sides are multiples of {stride}"
            )
            self.notices.append(Notice(kind="patch_cut", text=text))
        return PatchSampler(
            slices,
            normalisation=self.normalisation,
            config=self.config,
            patch_size=fitting,
            device=self.device,
        )

    def _take_notices(self) -> Iterator[Notice]:
        taken, self.notices = self.notices, []
        yield from taken

    def _train_epoch(self) -> Iterator[TrainEvent]:
        state, epoch = self.state, self._epoch + 1
        told_at = 0.0
        self.model.train()
        while state.step < epoch * self.steps_per_epoch:
            loss = self._step_or_split()
            yield from self._take_notices()
            done = (state.step - 1) % self.steps_per_epoch + 1
            if time.monotonic() - told_at >= _EVENT_SECONDS:
                told_at = time.monotonic()
                yield StepEnded(
                    epoch=epoch,
                    step=done,
                    steps_per_epoch=self.steps_per_epoch,
                    loss=loss,
                )
            if time.monotonic() - self._saved_at >= _SAVE_SECONDS:
                self.save()

    def _step_or_split(self) -> float:
        """Take a step; when memory runs out, in smaller parts from now on."""
        while True:
            try:
                return self._step()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.state.n_micro_batches >= self.config.batch_size:
                    raise MemoryError(
                        f"{self.device} has not enough memory for a single patch; use "
                        "smaller patches, fewer filters or another device"
                    ) from error
            self.optimiser.zero_grad()
            release_memory(self.device)
            self.state.n_micro_batches *= 2
            part = math.ceil(self.config.batch_size / self.state.n_micro_batches)
            text = (
                f"memory ran out on {self.device}: each batch of "
                f"{self.config.batch_size} is now computed {part} patches at a time"
            )
            self.notices.append(Notice(kind="out_of_memory", text=text))

    def _step(self) -> float:
        state, config = self.state, self.config
        generator = generator_of(state.seed, state.step, device=self.device)
        patches = self.sampler.sample(config.batch_size, generator=generator)
        images = augment(patches.images, config=config, generator=generator)
        patches = Patches(images=images, labels=patches.labels)
        self.optimiser.zero_grad()
        total, confusion = self._backward(patches)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate_at(
                state.step, config=config, steps_per_epoch=self.steps_per_epoch
            )
        self.optimiser.step()
        loss = float(total)
        if state.step % self.steps_per_epoch == 0:
            state.loss_sum, state.training = 0.0, []
        before = np.array(state.training) if state.training else 0
        state.training = (confusion.cpu().numpy() + before).tolist()
        state.loss_sum += loss
        state.step += 1
        self._tick()
        return loss

    def _backward(self, patches: Patches) -> tuple[Tensor, Tensor]:
        """Add up the gradients of a batch in as many parts as memory asks for."""
        n_phases = len(self.annotation.phases)
        total = torch.zeros((), device=self.device)
        confusion = torch.zeros(n_phases**2, dtype=torch.int64, device=self.device)
        n_parts = min(self.state.n_micro_batches, len(patches.images))
        images, labels = patches.images.chunk(n_parts), patches.labels.chunk(n_parts)
        for patch, target in zip(images, labels, strict=True):
            part = patch.contiguous(memory_format=torch.channels_last)
            # Around the way back too, where autocast must not be.
            with deterministic_convolutions(self.precision):
                with arithmetic(self.precision, self.device):
                    logits = self.model(part).float()
                loss = LOSSES[self.config.loss](logits, target, self.weights)
                loss = loss * (len(part) / len(patches.images))
                torch.autograd.backward(loss)
            total += loss.detach()
            confusion += count_confusion(logits.detach(), target)
        return total, confusion.view(n_phases, n_phases)

    def _tick(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._clock = now

    # ---- the end of an epoch ----

    def _end_epoch(self) -> Iterator[TrainEvent]:
        state, epoch = self.state, self._epoch + 1
        loss, confusion = yield from self._evaluate("validation")
        # Without validation (its part was too small to hold out) the last is the best.
        score = state.step if confusion is None else mean_iou(confusion)
        # Scribbles are soon predicted without an error: the loss tells on from there.
        is_best = (score, -loss) > (state.best_score, -state.best_loss)
        if is_best:
            state.best_score, state.best_loss = float(score), loss
            state.best_epoch = epoch
        self._tick()
        event = EpochEnded(
            epoch=epoch,
            n_epochs=self.config.n_epochs,
            step=state.step,
            learning_rate=float(self.optimiser.param_groups[0]["lr"]),
            loss=state.loss_sum / self.steps_per_epoch,
            training=np.array(state.training),
            validation_loss=loss,
            validation=confusion,
            is_best=is_best,
            seconds=state.seconds,
        )
        state.history.append(history_row(event))
        self.run.write_epoch(self._checkpoint(), epoch=epoch, is_best=is_best)
        self.run.write_history(state.history)
        notices = list(self._watch_for_pitfall(confusion))
        # Before the events: a consumer may close the generator at any of them.
        self.save()
        yield event
        yield from notices

    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(
            config=self.config,
            phases=self.annotation.phases,
            normalisation=self.normalisation,
            state=cpu_copy(self.model.state_dict()),
            voxel_size=self.annotation.voxel_size,
            unit=self.annotation.unit,
            labels_hash=self.annotation.labels_hash,
            history=tuple(self.state.history),
        )

    def _evaluate(
        self, role: Role
    ) -> Generator[Scoring, None, tuple[float, Confusion | None]]:
        """Score all painted voxels of a role, never augmented."""
        slices = self.annotation.having(role)
        if not slices:
            return math.nan, None
        loss, counts = 0.0, np.zeros((len(self.annotation.phases),) * 2, np.int64)
        for i, s in enumerate(slices):
            scoring = evaluate_slice(
                self.model,
                s,
                normalisation=self.normalisation,
                config=self.config,
                precision=self.precision,
            )
            for result in scoring:
                if isinstance(result, float):
                    yield Scoring(share=(i + result) / len(slices))
                else:
                    loss += result.loss * s.n_painted
                    counts += result.confusion
        return loss / sum(s.n_painted for s in slices), counts

    def _watch_for_pitfall(self, confusion: Confusion | None) -> Iterator[Notice]:
        state = self.state
        if confusion is None or not is_major_class_pitfall(confusion):
            state.n_pitfalls, state.escaped = 0, True
            return
        state.n_pitfalls += 1
        is_last = self._epoch == self.config.n_epochs
        # Told once: when it lasts, or when there is no epoch left for it to last.
        lasts = state.n_pitfalls == _PITFALL_EPOCHS
        if not lasts and not (is_last and state.n_pitfalls < _PITFALL_EPOCHS):
            return
        phase = list(self.annotation.phases)[int(confusion.sum(axis=0).argmax())]
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
        if state.n_restarts < self.config.pitfall_restarts and not state.escaped:
            yield self._restart()

    def _restart(self) -> Notice:
        self.state = TrainingState(
            seed=self.state.seed + 1,
            n_restarts=self.state.n_restarts + 1,
            n_micro_batches=self.state.n_micro_batches,
            seconds=self.state.seconds,
        )
        self._new_model()
        return Notice(kind="restart", text=f"started again with seed {self.state.seed}")

    def _end(self) -> Iterator[TrainEvent]:
        best = load_checkpoint(self.run.best)
        self.model.load_state_dict(dict(best.state))
        _, validation = yield from self._evaluate("validation")
        _, test = yield from self._evaluate("test")
        self._tick()
        confusions = {
            "on the validation slices": validation,
            "on the test slices": test,
        }
        if validation is None:  # all that is left to tell by
            confusions["in the training patches"] = np.array(self.state.training)
        yield from never_predicted_notices(confusions, self.annotation.phases)
        yield TrainingEnded(
            best=self.run.best,
            epochs=self._epoch,
            seconds=self.state.seconds,
            device=str(self.device),
            validation=validation,
            test=test,
        )


def _check_same_config(begun: TrainConfig, wanted: TrainConfig) -> None:
    same_device = replace(begun, device=wanted.device)
    old, new = same_device.to_dict(), wanted.to_dict()
    changed = [name for name in old if old[name] != new[name]]
    if changed:
        name = changed[0]
        raise CheckpointError(
            f"the run was begun with {name} = {old[name]}, now it is {new[name]}; "
            "resume without changes, or start a new run"
        )
