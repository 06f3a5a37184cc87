"""The buttons of a training: Train, and while it runs Pause, Stop and Cancel."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QMessageBox, QWidget

from napari_lrcs.plugin.parts.widgets import button, clock, hbox
from napari_lrcs.plugin.parts.workers import Job

_MUCH_WORK = 60.0
"""Seconds of training that are not discarded without a question."""

_STOP = "Stop and keep the best"


class TrainButtons(QWidget):
    """Shows the buttons that make sense now."""

    runs_requested = Signal()
    """Show the runs of the image."""
    train_requested = Signal()
    live_requested = Signal()
    """Train as long as somebody paints."""
    finish_requested = Signal()
    """Bring such a training to its end."""
    continue_requested = Signal(object)
    """Continue the run whose path it carries."""
    balance_requested = Signal()
    """Train again, with balanced patches."""
    pause_requested = Signal()
    """Pause, or resume."""
    stop_requested = Signal()
    cancel_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.runs = button(
            "Runs…",
            "Show the runs of the image: compare and continue them, predict with one",
            self.runs_requested.emit,
        )
        self.train = button(
            "Train", "Train a network on the painted slices", self.train_requested.emit
        )
        self.live = button(
            "Train as I paint",
            "Train on and on while you paint: each stroke is learnt at once, and the "
            "overlay answers within seconds",
            self.live_requested.emit,
        )
        self.finish = button(
            "Finish",
            "Learn no more strokes, and let the network settle: within a minute or "
            "so it is scored and ready to predict, as after Train",
            self.finish_requested.emit,
        )
        self.resume = button(
            "Continue last run",
            "Continue the newest run with its own settings; after new strokes, as "
            "another run",
            lambda: self.continue_requested.emit(self._newest),
        )
        self._newest: Path | None = None
        self.balance = button(
            "Balance phases and train again",
            "Train a new network with the same settings, but centre half of the "
            "patches on each phase equally often",
            self.balance_requested.emit,
        )
        self.pause = button(
            "Pause", "Pause the training, or resume it", self.pause_requested.emit
        )
        self.stop = button(
            _STOP,
            "Stop: what has been trained is kept, and can be continued",
            self.stop_requested.emit,
        )
        self.cancel = button(
            "Cancel",
            "Stop and remove this run; earlier runs are kept, and so is a run that was "
            "continued",
            self.cancel_requested.emit,
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.balance, 0, 0, 1, 2)
        grid.addLayout(hbox(self.train, self.live, stretch=(1, 1)), 1, 0, 1, 2)
        grid.addWidget(self.resume, 2, 0, 1, 2)
        grid.addWidget(self.stop, 3, 0)
        grid.addWidget(self.cancel, 3, 1)
        # Where Train was: a second click by mistake does no harm there.
        pause = hbox(self.pause, self.finish, stretch=(1, 1))
        grid.addLayout(pause, 4, 0, 1, 2)

    def update_for(
        self,
        job: Job | None,
        *,
        newest: Path | None,
        can_balance: bool,
        is_comparing: bool,
        can_finish: bool,
    ) -> None:
        """Show the buttons for a job, or for none and the run to be continued."""
        self._newest = newest
        self.resume.setVisible(job is None and newest is not None)
        self.train.setVisible(job is None)
        self.live.setVisible(job is None)
        self.finish.setVisible(job is not None and can_finish)
        self.balance.setVisible(job is None and can_balance)
        self.pause.setText("Resume" if job is not None and job.is_paused else "Pause")
        for made in (self.pause, self.stop, self.cancel):
            made.setVisible(job is not None)
        for made in (self.pause, self.finish, self.stop, self.cancel):
            made.setEnabled(job is not None and not job.abort_requested)
        self.cancel.setVisible(job is not None and not is_comparing)
        self.stop.setText("Stop and keep all" if is_comparing else _STOP)


def may_discard(run: str, seconds: float, parent: QWidget) -> bool:
    """Ask whether a run may be removed, if it has trained for more than a minute.

    Parameters
    ----------
    run : str
        Its name.
    seconds : float
        How long it has trained.
    parent : QWidget
        Dock that asks.
    """
    if seconds < _MUCH_WORK:
        return True
    answer = QMessageBox.question(
        parent,
        f"Cancel {run}?",
        f"{run} has trained for {clock(seconds)}, and Cancel removes it. To keep it, "
        f"press No, then {_STOP}. Cancel it anyway?",
        QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
        QMessageBox.StandardButton.No,
    )
    return bool(answer == QMessageBox.StandardButton.Yes)
