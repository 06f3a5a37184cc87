"""A training that is going on: its network, its optimiser, and how they are saved."""

import math
import time
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import torch

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError, PaintingChangedError
from napari_lrcs.metrics.calibration import UNCALIBRATED
from napari_lrcs.models.checkpoint import Checkpoint, cpu_copy
from napari_lrcs.models.device import (
    device_notices,
    on_device,
    release_memory,
    resolve_device,
    resolve_precision,
)
from napari_lrcs.models.registry import create_model
from napari_lrcs.models.trained_on import TrainedOn, grey_quantiles
from napari_lrcs.preprocessing.normalisation import fit_normalisation
from napari_lrcs.progress import Notice
from napari_lrcs.training.averaging import WeightAverage
from napari_lrcs.training.counts import StepCounts
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.run.resume import (
    ResumeState,
    TrainingState,
    check_same_config,
)
from napari_lrcs.training.sampling import PatchSampler, fitting_patch_size
from napari_lrcs.training.scoring import phase_weights_of
from napari_lrcs.training.transfer import Origin

_TO_OTHER_SEED = 2**20
"""From a seed to that of a restart: repeats of a study have those that follow."""


class TrainingSession:
    """All that the steps of a training work on, and what they change.

    Parameters
    ----------
    run : RunFolder
        Nothing is written there before `begin` or `resume`.

    Raises
    ------
    ValueError
        If the device is absent, the image is constant, or there is no such network.
    """

    sampler_kind: type[PatchSampler] = PatchSampler
    save_seconds = 60.0
    """Between saved states within an epoch: what a crash may cost."""

    def __init__(
        self, annotation: Annotation, *, config: TrainConfig, run: RunFolder
    ) -> None:
        self.annotation = annotation
        self.config = config
        self.run = run
        self.device = resolve_device(config.device)
        self.precision = resolve_precision(config.precision, self.device)
        grey_levels = [s.grey_levels for s in annotation.with_role("train")]
        self.normalisation = fit_normalisation(grey_levels)
        self.trained_on = TrainedOn(
            grey_levels=grey_quantiles(grey_levels, self.normalisation)
        )
        """What the next checkpoint says of its training."""
        self.learnt = annotation.learnt
        self.temperature = 1.0
        self.confidence_curve = UNCALIBRATED
        """Calibration of the network at the last validation."""
        self.parent: RunFolder | None = None
        """Run that this one continues with another painting."""
        optimisation = config.optimisation
        n_phases = len(annotation.phases)
        self.weights = phase_weights_of(optimisation, n_phases, self.device)
        n_patches = optimisation.patches_per_epoch
        self.steps_per_epoch = math.ceil(n_patches / optimisation.batch_size)
        self.state = TrainingState(seed=config.seed)
        self.told_not_learnt: set[int] = set()
        """Labels of the phases that a notice has named as not learnt."""
        self.counts = StepCounts(n_phases, self.device)
        self.saved_at = self._clock = time.monotonic()
        self._n_threads = torch.get_num_threads()
        self._notices = [
            *device_notices(self.device),
            *(Notice(kind="advice", text=text) for text in annotation.advice),
        ]
        self._new_model()
        self.patch_size = _fit_patch_size(self, self._notices)
        self.sampler = make_sampler(self)

    def _new_model(self) -> None:
        n_phases = len(self.annotation.phases)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.state.seed)
            model = create_model(self.config.network, n_phases=n_phases)
        self.model = on_device(model, self.device)
        self.optimiser = torch.optim.Adam(self.model.parameters())
        kept = self.config.optimisation.weight_averaging
        self.average = WeightAverage(self.model, kept=kept)

    # ---- where it stands ----

    @property
    def n_epochs_done(self) -> int:
        """Epochs that are trained and validated."""
        return len(self.state.history)

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left, or the validation has not improved for long."""
        n_done, best_epoch = self.n_epochs_done, self.state.best_epoch
        return self.config.optimisation.is_over(n_done, best_epoch=best_epoch)

    def prepare_step(self) -> None:
        """Do what comes before each step: nothing, where the painting stays."""

    def start_clock(self) -> None:
        """Count the seconds of the training from now on."""
        self.saved_at = self._clock = time.monotonic()

    def update_state(self) -> float:
        """Bring the state up to date, for which the device must have ended its steps.

        Returns
        -------
        float
            Loss of the last step; NaN if there was none since the last call.
        """
        losses, confusion = self.counts.read()
        for loss in losses:  # not `sum`, which may round otherwise
            self.state.loss_sum += loss
        if losses:
            before = np.array(self.state.training) if self.state.training else 0
            self.state.training = (confusion + before).tolist()
        now = time.monotonic()
        self.state.seconds += now - self._clock
        self._clock = now
        return losses[-1] if losses else math.nan

    def take_notices(self) -> Iterator[Notice]:
        """Yield what the user should know, once."""
        taken, self._notices = self._notices, []
        yield from taken

    # ---- how it begins, and begins again ----

    def begin(
        self,
        origin: Origin | None,
        *,
        parent: RunFolder | None = None,
        overwrite: bool,
    ) -> None:
        """Start from random weights, those of another training, or where one stands."""
        if origin is not None:
            text = origin.fill(self.model, self.config.network, self.annotation.phases)
            self.learnt = origin.read_learnt() + self.learnt
            self._notices += [Notice(kind="advice", text=text)] if text else []
        self.parent = parent
        if parent is not None:
            self._continue(parent)
        # What is learnt already is not given up for random weights.
        self.state.escaped = origin is not None or parent is not None
        self.average.restart()
        self.run.check_place(overwrite=overwrite)
        self.run.begin()
        self.save()
        self.write_task()

    def write_task(self) -> None:
        """Write what is trained, and on what."""
        self.run.write_task(
            self.annotation, self.config, parent=self.parent, learnt=self.learnt
        )

    def _continue(self, parent: RunFolder) -> None:
        """Take over the network and the optimiser of a run; epochs count from 0."""
        try:
            parent.read_resume().restore(self.model, self.optimiser)
        except ValueError as error:
            raise CheckpointError(
                f"the run in {parent.path} cannot be continued with this painting: "
                f"{error}"
            ) from error
        self.learnt = parent.read_task().learnt + self.learnt

    def resume(self) -> None:
        """Go on where the run folder's state was saved."""
        check_same_config(self.run.read_config(), self.config)
        saved = self.run.read_resume()
        if saved.labels_hash != self.annotation.labels_hash:
            raise PaintingChangedError(
                f"the labels differ from those that the run in {self.run.path} was "
                "started with, or their slices have other roles; restore them, or "
                "start a new run from its weights"
            )
        self.restore(saved)

    def restore(self, saved: ResumeState) -> None:
        """Go on from a state of this run."""
        try:
            saved.state.check(
                n_phases=len(self.annotation.phases),
                n_epochs=self.config.optimisation.n_epochs,
                steps_per_epoch=self.steps_per_epoch,
            )
            saved.restore(self.model, self.optimiser)
            self.average.restore(saved.averaged)
        except (ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"resume.pt in {self.run.path} does not belong to this run: {error}"
            ) from error
        self.state, self.precision = saved.state, saved.precision
        self.learnt = self.run.read_task().learnt
        torch.set_num_threads(saved.n_threads)
        text = f"resumed after step {self.state.step}"
        self._notices.append(Notice(kind="resumed", text=text))

    def restart(self) -> None:
        """Begin again with random weights of another seed."""
        self.state = TrainingState(
            seed=self.state.seed + _TO_OTHER_SEED,
            n_restarts=self.state.n_restarts + 1,
            n_micro_batches=self.state.n_micro_batches,
            seconds=self.state.seconds,
        )
        self._new_model()

    def split_batches(self) -> None:
        """Compute batches in twice as many parts from now on: memory ran out."""
        self.optimiser.zero_grad()
        release_memory(self.device)
        self.state.n_micro_batches *= 2
        whole = self.config.optimisation.batch_size
        part = math.ceil(whole / self.state.n_micro_batches)
        text = f"out of memory on {self.device}: each batch of {whole} is now "
        text += f"computed {part} patches at a time"
        self._notices.append(Notice(kind="out_of_memory", text=text))

    # ---- what it leaves ----

    def checkpoint(self) -> Checkpoint:
        """Copy the network as it is now, its weights averaged if that is set."""
        return Checkpoint(
            config=self.config,
            phases=self.annotation.phases,
            normalisation=self.normalisation,
            state=cpu_copy(self.average.network.state_dict()),
            voxel_size=self.annotation.voxel_size,
            unit=self.annotation.unit,
            trained_on=self.trained_on,
            temperature=self.temperature,
            confidence_curve=self.confidence_curve,
            labels_hash=self.annotation.labels_hash,
            learnt=self.learnt,
            history=tuple(self.state.history),
        )

    def save(self) -> None:
        """Write the state to resume from; only between two steps."""
        self.update_state()
        # A copy of the fields, not dataclasses.asdict: only plain types load safely.
        state = {f.name: getattr(self.state, f.name) for f in fields(self.state)}
        self.run.write_resume(
            {
                "state": state,
                "model": self.model.state_dict(),
                "averaged": self.average.state(),
                "optimiser": self.optimiser.state_dict(),
                "precision": self.precision,
                "labels_hash": self.annotation.labels_hash,
                "n_threads": torch.get_num_threads(),
            }
        )
        self.saved_at = time.monotonic()

    def close(self) -> None:
        """Keep a best model and release the device, however the training ended."""
        if self.state.step and not self.run.best.exists():
            self.run.write_epoch(self.checkpoint(), epoch=0, is_best=True)
        del self.model, self.average, self.optimiser, self.sampler, self.counts
        torch.set_num_threads(self._n_threads)
        release_memory(self.device)


def make_sampler(session: TrainingSession) -> PatchSampler:
    """Make what draws patches of the session's training slices."""
    return session.sampler_kind(
        session.annotation.with_role("train"),
        normalisation=session.normalisation,
        config=session.config.augmentation,
        patch_size=session.patch_size,
        balance=session.config.optimisation.balance,
        device=session.device,
    )


def _fit_patch_size(session: TrainingSession, notices: list[Notice]) -> int:
    """Return the side of patches; add a notice if it is not the one in the config."""
    slices = session.annotation.with_role("train")
    shortest = min(min(s.labels.shape) for s in slices)
    stride = session.model.stride
    wanted = session.config.optimisation.patch_size
    fitting = fitting_patch_size(wanted, shortest=shortest, stride=stride)
    if fitting < wanted:
        text = f"patches are {fitting} px, not {wanted}: the smallest training "
        text += f"slice is {shortest} px and sides are multiples of {stride}"
        notices.append(Notice(kind="patch_cut", text=text))
    return fitting
