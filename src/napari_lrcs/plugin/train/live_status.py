"""What a training does while its user paints; it is told of each stroke."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel

from napari_lrcs.annotation.painting.live import LivePainting
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.train.job import TrainingJob
from napari_lrcs.plugin.train.live_job import LiveTrainingJob
from napari_lrcs.progress import (
    EpochEnded,
    Finishing,
    OverlayChosen,
    Resting,
    StepEnded,
    WaitingForStrokes,
)

_OVERLAYS = {
    "forest": "Overlay: random forest, until the network is better.",
    "network": "Overlay: network.",
}

_PHASES = (
    "Stopped: the phases have changed. Train as I paint goes on with the new ones."
)


class LiveStatus(QLabel):
    """A line on a live training, which passes on to it what is painted."""

    changed = Signal()
    """It can be finished no more."""

    closed = Signal(object)
    """No more strokes of the painting that it carries are learnt."""

    stop_requested = Signal(str)
    """The training cannot go on; the reason."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self._painting: Painting | None = None
        self._live: LivePainting | None = None
        self.follow(None, None)

    def follow(self, painting: Painting | None, training: TrainingJob | None) -> None:
        """Pass on from now on what changes in a painting, if the training is live."""
        self.disconnect_events()
        live = training.painting if isinstance(training, LiveTrainingJob) else None
        self._painting, self._live = painting, live
        self._overlay, self._epoch = "", 1
        if painting is not None and live is not None:
            self._names, self._roles = painting.phases.names, dict(painting.roles)
            painting.touched.connect(live.mark_changed)
            painting.changed.connect(self._on_changed)
        self.setVisible(live is not None)
        self.setText("Preparing…")

    def disconnect_events(self) -> None:
        """Ignore the painting."""
        if self._painting is not None and self._live is not None:
            self._painting.touched.disconnect(self._live.mark_changed)
            self._painting.changed.disconnect(self._on_changed)
        self._painting = self._live = None

    @property
    def can_finish(self) -> bool:
        """Whether a live training goes on that was not asked to finish."""
        return self._live is not None and not self._live.is_finishing

    def finish(self) -> None:
        """Ask the training to come to its end."""
        if self._live is not None:
            self._live.finish()
            self.setText("Finishing…")
            self.changed.emit()

    def handle(self, event: Any) -> None:
        """Show an event of the training; others are ignored."""
        if self._live is None:
            return
        match event:
            case WaitingForStrokes():
                self._show("Waiting: paint two phases, and the training begins.")
            case OverlayChosen():
                self._overlay = _OVERLAYS[event.by]
            case EpochEnded():
                self._epoch = event.epoch + 1
            case StepEnded() if self.can_finish:
                self._show(f"Learning as you paint, epoch {self._epoch}.")
            case Resting():
                self._show("Resting: waiting for your next stroke.")
            case Finishing():
                self.setVisible(False)
                self.closed.emit(self._painting)

    def _show(self, text: str) -> None:
        text = f"{text} {self._overlay}".strip()
        if text != self.text():
            self.setText(text)

    def _on_changed(self) -> None:
        painting, live = self._painting, self._live
        if painting is None or live is None:
            return
        if painting.phases.names != self._names:
            self._names = painting.phases.names
            self.stop_requested.emit(_PHASES)
        if dict(painting.roles) != self._roles:
            self._roles = dict(painting.roles)
            live.mark_changed([*painting.painted()])
