"""How far a training is, how good, and what to say of it at its end."""

from typing import Any

from napari_lrcs.annotation.painting.slices import SlicesRead
from napari_lrcs.config import TrainConfig
from napari_lrcs.metrics.overlap import mean_iou
from napari_lrcs.models.header import Row
from napari_lrcs.plugin.parts.widgets import Kind, Progress, clock
from napari_lrcs.plugin.train.job import Prepared, Scored
from napari_lrcs.plugin.train.preview import Worked
from napari_lrcs.progress import (
    Finishing,
    Notice,
    StepEnded,
    TrainingEnded,
    TrainingStarted,
    WaitingForStrokes,
)
from napari_lrcs.training.not_learnt import SUGGESTED_BALANCE

NEXT = "Next: Predict volume."
_NOTHING = "Nothing was learnt: fewer than two phases are painted."


class TrainingProgress:
    """Moves the bar of a training, and finds the message for its end."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._reset()

    def begin(self) -> None:
        """Forget the last training, and show the bar."""
        self._reset()
        self._bar.begin("Preparing…")

    def _reset(self) -> None:
        self.message = ""
        """What to say at the end; empty if nothing."""
        self.kind: Kind = "done"
        """Kind of that message."""
        self.config: TrainConfig | None = None
        """Of the training; None before its painting is read."""
        self._is_all_learnt = True
        self._best: float | None = None
        self._n_epochs = 1
        self._is_endless = False
        self.seconds = 0.0
        """Time that was spent on this training, without previews and pauses."""
        self._timed_from: float | None = None
        self._share = 0.0

    @property
    def stopped_text(self) -> str:
        """What to say if the training is stopped now."""
        if self.config is None:
            return "Stopped at once: nothing was learnt yet."
        if self._best is None:
            return (
                "Stopped before the first epoch ended: there is no network to predict "
                "with yet. Continue last run goes on with it."
            )
        best = f"Best mean IoU: {self._best:.1%}"
        return f"Stopped. {best}. The run is kept: see Training runs. {NEXT}"

    @property
    def has_network(self) -> bool:
        """Whether an epoch has ended, so that there is a network to predict with."""
        return self._best is not None

    @property
    def can_balance(self) -> bool:
        """Whether a phase is not learnt, and balanced patches were not yet tried."""
        return (
            not self._is_all_learnt
            and self.config is not None
            and self.config.optimisation.balance < SUGGESTED_BALANCE
        )

    def handle(self, event: Any) -> None:
        """Take in an event of the training; others are ignored."""
        match event:
            case Notice(kind="not_learnt"):
                self._is_all_learnt = False
            case Prepared():
                self.config = event.config
                self._n_epochs = event.config.optimisation.n_epochs
                self._is_endless = event.is_live
                for row in event.history:
                    self._update_best(row)
            case Scored():
                self._update_best(event.row)
            case TrainingEnded():
                self._is_all_learnt = not event.not_learnt
                self.kind = "done" if self._is_all_learnt else "warning"
                self.message = _end_text(event)
            case Worked():
                self.seconds = event.seconds
            case _:
                self._move_bar(event)

    def _update_best(self, row: Row) -> None:
        score = row["validation_mean_iou"]
        if score is not None:
            self._best = score if self._best is None else max(self._best, score)

    def _move_bar(self, event: Any) -> None:
        if self._is_endless:
            self._follow_endless(event)
            return
        match event:
            case SlicesRead():
                self._bar.show_share(event.share, "Looking for painted slices")
            case TrainingStarted():
                share = (event.first_epoch - 1) / event.n_epochs
                self._bar.begin(f"Training on {event.device}", share=share)
            case StepEnded():
                self._show_step(event)

    def _follow_endless(self, event: Any) -> None:
        """Show no bar before the end is in sight."""
        match event:
            case Finishing():
                self._n_epochs, self._is_endless = event.n_epochs, False
                self._bar.begin("Finishing")
            case WaitingForStrokes():
                self.message, self.kind = _NOTHING, "hint"
                self._bar.end()
            case TrainingStarted():
                self._bar.end()

    def _show_step(self, event: StepEnded) -> None:
        done = event.epoch - 1 + event.step / event.steps_per_epoch
        share, text = done / self._n_epochs, f"Epoch {event.epoch} of {self._n_epochs}"
        # The first step takes longer than others; a restart begins with it again.
        if self._timed_from is None or share < self._share:
            self._timed_from = self.seconds
            self._bar.begin(text, share=share)
        self._share = share
        self._bar.show_share(share, text, seconds=self.seconds - self._timed_from)


def _end_text(event: TrainingEnded) -> str:
    scores = [
        f"{name} mean IoU {mean_iou(confusion):.1%}"
        for name, confusion in (("validation", event.validation), ("test", event.test))
        if confusion is not None
    ]
    text = f"Done in {clock(event.seconds)}: {', '.join(scores) or 'trained'}"
    but = " and ".join(map(str, event.not_learnt))
    return f"{text}, but {but}: see Curves." if but else f"{text}. {NEXT}"
