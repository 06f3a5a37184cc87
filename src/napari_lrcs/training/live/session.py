"""A training whose painting grows."""

import os
import time
from collections.abc import Iterator

import numpy as np
import torch

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.annotation.painting.growing import GrowingAnnotation
from napari_lrcs.annotation.painting.live import Stroke
from napari_lrcs.config import TrainConfig
from napari_lrcs.models.header import read_header
from napari_lrcs.progress import StrokesTaken
from napari_lrcs.training.live.run import LiveRunFolder, StrokeRow
from napari_lrcs.training.live.sampling import LiveSampler
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.schedule import DOWN_EPOCHS
from napari_lrcs.training.session import TrainingSession, make_sampler
from napari_lrcs.training.transfer import Origin

_STEPS_PER_EPOCH = 50
"""At most: scores come, and *Finish* ends, within a minute also where presets have
longer epochs."""
_AVERAGING = 0.98
"""Of the weights, where the settings have none: the average follows a stroke within
some 50 steps."""
_FRESH_SECONDS = 60.0
"""How long a stroke is drawn more often."""


def live_config(config: TrainConfig) -> TrainConfig:
    """Change the settings that a training of unknown length cannot have.

    The learning rate is constant, no validation ends the training, and nothing begins
    again from random weights.
    """
    own = config.optimisation
    return config.with_changes(
        schedule="trapezoidal",
        n_epochs=1 + DOWN_EPOCHS,
        patches_per_epoch=min(own.patches_per_epoch, _STEPS_PER_EPOCH * own.batch_size),
        weight_averaging=min(own.weight_averaging or _AVERAGING, _AVERAGING),
        patience=0,
        pitfall_restarts=0,
    )


class LiveSession(TrainingSession):
    """A training that takes in strokes between its steps.

    Parameters
    ----------
    growing : GrowingAnnotation
        Has begun.
    annotation : Annotation
        What it has read.
    config : TrainConfig
        From `live_config`, or of the run that is continued.
    """

    sampler: LiveSampler
    sampler_kind = LiveSampler
    save_seconds = 8.0
    """A crash may cost ten seconds of training; a step takes one at most."""

    def __init__(
        self,
        growing: GrowingAnnotation,
        annotation: Annotation,
        *,
        config: TrainConfig,
        run: LiveRunFolder,
    ) -> None:
        super().__init__(annotation, config=config, run=run)
        self.live_run = run
        self.growing = growing
        self.strokes: list[StrokeRow] = []
        self.changed_at_epoch = 0
        """Epochs that were done when the painting changed last."""
        self._untold: tuple[Stroke, ...] = ()
        """Strokes that are read; they wait while too little is for training."""
        self._taken: list[StrokesTaken] = []
        self._fresh: list[tuple[float, Stroke]] = []
        self._former = annotation.learnt
        """What is learnt besides the painting: by the network that it started from."""
        self._is_written = True
        self._is_following = True
        # Whoever paints sees it, and paints more: only the end is worth a notice.
        self.told_not_learnt = {phase.label for phase in annotation.phases}
        self._leave_a_core()

    def _leave_a_core(self) -> None:
        """Compute on one core less than there are: the others paint."""
        n_cores = os.cpu_count() or 1
        torch.set_num_threads(max(1, min(torch.get_num_threads(), n_cores - 1)))

    # ---- how it begins, and begins again ----

    def begin(
        self,
        origin: Origin | None,
        *,
        parent: RunFolder | None = None,
        overwrite: bool,
    ) -> None:
        """Start as any training; the strokes of before have no times."""
        super().begin(origin, parent=parent, overwrite=overwrite)
        self._former = self.learnt
        self.live_run.write_strokes(self.strokes)

    def resume(self) -> None:
        """Go on with the painting as it is now, and the grey levels as they were."""
        task = self.run.read_task()
        self.restore(self.run.read_resume())
        self._former = task.learnt
        self.learnt = task.learnt + self.annotation.learnt
        self.parent = (
            RunFolder(self.run.path.parent / task.parent) if task.parent else None
        )
        self.strokes = self.live_run.read_strokes()
        self.changed_at_epoch = self.n_epochs_done
        if self.run.last.is_file():
            self.normalisation = read_header(self.run.last).normalisation
            self._draw_anew()
        self._forget_best()
        self._is_written = False
        self._leave_a_core()

    # ---- strokes ----

    def prepare_step(self) -> None:
        """Take in the strokes since the last step."""
        if self._is_following and self.growing.painting.has_changed:
            self.follow()

    def follow(self, *, everything: bool = False) -> None:
        """Read the painting again where it has changed.

        Parameters
        ----------
        everything : bool
            Whether to read all painted slices.
        """
        annotation, strokes = self.growing.update(everything=everything)
        self._untold += strokes
        if annotation is None or not self._differs(annotation):
            return
        is_known = _same_slices(annotation, self.annotation)
        self.annotation = annotation
        self.learnt = self._former + annotation.learnt
        if is_known:
            self.sampler.repaint(annotation.with_role("train"))
        else:
            self._draw_anew()
        self._note(self._untold)
        self._untold = ()
        self._is_written = False
        self._forget_best()
        self.changed_at_epoch = self.n_epochs_done

    def _draw_anew(self) -> None:
        sampler = make_sampler(self)
        assert isinstance(sampler, LiveSampler)
        self.sampler = sampler

    def _differs(self, annotation: Annotation) -> bool:
        """Tell whether labels have changed, or roles."""
        return bool(self._untold) or _places(annotation) != _places(self.annotation)

    def _note(self, strokes: tuple[Stroke, ...]) -> None:
        now = time.monotonic()
        self.update_state()
        self._fresh += [(now, stroke) for stroke in strokes if len(stroke.places)]
        self.freshen()
        for stroke in strokes:
            self.strokes.append(
                StrokeRow(
                    seconds=round(self.state.seconds, 3),
                    step=self.state.step,
                    slice=stroke.index,
                    voxels=stroke.n_voxels,
                )
            )
        if strokes:
            taken = StrokesTaken(
                slices=tuple(stroke.index for stroke in strokes),
                n_voxels=sum(stroke.n_voxels for stroke in strokes),
                step=self.state.step,
            )
            self._taken.append(taken)

    def freshen(self) -> None:
        """Draw the strokes of the last minute more often than others."""
        oldest = time.monotonic() - _FRESH_SECONDS
        self._fresh = [(at, stroke) for at, stroke in self._fresh if at > oldest]
        training = [s.index for s in self.annotation.with_role("train")]
        self.sampler.freshen(
            [
                (training.index(stroke.index), stroke.places)
                for _, stroke in self._fresh
                if stroke.index in training
            ]
        )

    def _forget_best(self) -> None:
        """Compare no scores from before: they were against another painting."""
        self.state.best_score, self.state.best_loss = -np.inf, np.inf

    def take_strokes(self) -> Iterator[StrokesTaken]:
        """Yield which strokes were taken in, once."""
        taken, self._taken = self._taken, []
        yield from taken

    # ---- epochs ----

    def plan_epoch(self) -> None:
        """Let one more epoch follow before those that end the training."""
        self._plan(self.n_epochs_done + 1 + DOWN_EPOCHS)

    def plan_end(self) -> None:
        """Take the last strokes; let only the epochs follow that end the training."""
        self.follow(everything=True)
        self._is_following = False
        self.told_not_learnt.clear()
        torch.set_num_threads(self._n_threads)  # nobody waits for an answer any more
        self._plan(self.n_epochs_done + DOWN_EPOCHS)

    def _plan(self, n_epochs: int) -> None:
        self.config = self.config.with_changes(n_epochs=n_epochs)
        self._is_written = False
        self.save()

    def save(self) -> None:
        """Write the state to resume from, and the painting if it has changed."""
        if not self._is_written:
            self.write_task()
            self.live_run.write_strokes(self.strokes)
            self._is_written = True
        super().save()


def _places(annotation: Annotation) -> list[tuple[int, str]]:
    return [(s.index, s.role) for s in annotation.slices]


def _same_slices(one: Annotation, other: Annotation) -> bool:
    first, second = ([s.index for s in a.with_role("train")] for a in (one, other))
    return first == second
