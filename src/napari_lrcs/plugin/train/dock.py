"""The dock that trains a network on a painting."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget

from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.connections import Connections, Replaceable
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.layers.current_slice import SliceInView
from napari_lrcs.plugin.parts.widgets import Kind, Notices, Tabs, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED
from napari_lrcs.plugin.project.docks import show_dock
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.plugin.project.training_layers import may_train_on
from napari_lrcs.plugin.train.buttons import TrainButtons, may_discard
from napari_lrcs.plugin.train.curves import Curves
from napari_lrcs.plugin.train.job import (
    Branched,
    Prepared,
    Scored,
    TrainingJob,
)
from napari_lrcs.plugin.train.last_run import LastRun
from napari_lrcs.plugin.train.live_job import continued_training, new_live_training
from napari_lrcs.plugin.train.live_status import LiveStatus
from napari_lrcs.plugin.train.new_strokes import NewStrokes
from napari_lrcs.plugin.train.preview import PreviewLayer, SlicePreview
from napari_lrcs.plugin.train.progress import TrainingProgress
from napari_lrcs.plugin.train.setup import TrainSetup
from napari_lrcs.plugin.train.transfer_page import TransferPage
from napari_lrcs.progress import Notice, TrainingEnded, TrainingStarted

_CANCELLED = "Cancelled: this run was removed; all others are unchanged."


class TrainDock(Dock):
    """Train a network; watch its curves, and its overlay on the slice in view."""

    key: ClassVar[str] = "train"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.setup = TrainSetup(viewer)
        self.curves = Curves(viewer)
        self.notices = Notices()
        self.last_run = LastRun(self)
        self.transfer = TransferPage(self, self.setup)
        self.buttons = TrainButtons()
        self.new_strokes = NewStrokes()
        self.live = LiveStatus()
        self._training: TrainingJob | None = None
        self._in_view = Replaceable()
        self._preview: PreviewLayer | None = None
        self._layers: tuple[Image, Labels] | None = None
        self._steps = TrainingProgress(self.progress)
        self._to_continue: Path | None = None
        """Run that is continued as soon as it has stopped."""
        self._build()
        self.setup.restore(self.recall())
        moved = project_of(viewer.layers).run_moved
        self.connections += [
            *(self.setup, self.curves, self.last_run, self.new_strokes, self._in_view),
            *(self.transfer, self.live),
            Connections((moved, self.setup.start.follow_run)),
        ]
        _connect_parts(self)
        self._follow_image()
        self.update_buttons()

    def _build(self) -> None:
        watch = QWidget()
        vbox(watch, self.curves, self.notices, top=4).addStretch()
        self.tabs = Tabs()
        self.tabs.addTab(self.setup, "Setup")
        self.tabs.addTab(watch, "Curves")
        self.tabs.addTab(self.transfer, "Transfer")
        self.tabs.currentChanged.connect(lambda _: self.update_buttons())
        self.tabs.setCornerWidget(self.buttons.runs)
        self.body.addWidget(self.tabs)
        self.footer.addWidget(self.live)
        self.footer.addWidget(self.new_strokes)
        self.footer.addWidget(self.buttons)

    # ---- what the buttons do ----

    def train(self) -> None:
        """Start a training with the settings of the form."""
        self._begin(lambda: self.setup.new_training(self._follow_view))

    def train_live(self) -> None:
        """Start a training that goes on while its user paints."""
        self._begin(lambda: new_live_training(self.setup, self._follow_view))

    def balance_and_train(self) -> None:
        """Train again as last, with patches balanced between the phases."""
        assert self._steps.config is not None
        self.setup.balance(self._steps.config)
        self.train()

    def continue_run(self, run: Path) -> None:
        """Continue a run that was stopped."""
        self._begin(lambda: continued_training(self.setup, run, self._follow_view))

    def restart(self) -> None:
        """Stop, and continue from the present weights with the new strokes."""
        if self._training is not None:
            self._to_continue = self._training.run
            self._stop("")

    def pause(self) -> None:
        """Pause the training, or resume it."""
        if self.job is not None:
            (self.job.resume if self.job.is_paused else self.job.pause)()
            self.show_message("Paused." if self.job.is_paused else "")
            self.update_buttons()

    def stop_and_keep(self) -> None:
        """End the training; its best network stays, and it can be continued."""
        if self.transfer.is_running:
            self.stop()
            return
        kind: Kind = "done" if self._steps.has_network else "hint"
        self._stop(self._steps.stopped_text, kind)

    def cancel(self) -> None:
        """End the training and remove its run, unless it was continued."""
        if (training := self._training) is None:
            return
        is_kept, seconds = training.is_resumed, self._steps.seconds
        may = is_kept or may_discard(training.run.name, seconds, self)
        if not may or training is not self._training:  # it may have ended meanwhile
            return
        training.discarded.set()
        if self._preview is not None:
            self._preview.remove()
        kept = (
            f"Stopped. {training.run.name} was continued, so it is kept as it is now."
        )
        self._stop(kept if is_kept else _CANCELLED)

    def _stop(self, text: str, kind: Kind = "hint") -> None:
        self._steps.message, self._steps.kind = text, kind
        self.stop()

    def update_buttons(self) -> None:
        """Show the buttons that make sense now."""
        is_comparing = self.transfer.is_running
        self.buttons.update_for(
            self.job,
            newest=self.last_run.newest,
            can_balance=self._steps.can_balance,
            is_comparing=is_comparing,
            can_finish=self.live.can_finish,
        )
        is_elsewhere = self.tabs.currentWidget() is not self.transfer
        self.buttons.setVisible(self.is_busy or is_elsewhere)
        self.transfer.update_buttons()
        self.new_strokes.setEnabled(not self.is_stopping)

    # ---- beginning and ending ----

    def _begin(self, make: Callable[[], TrainingJob]) -> None:
        if self.is_busy or not may_train_on(self.setup.labels_choice.layer, self):
            return
        try:
            training = make()
        except EXPECTED as error:
            self.show_error(error)
            return
        self._training, self._preview = training, None
        self._layers = self.setup.layers.read()
        self.notices.clear()
        painting = painting_of(self.setup.labels_choice.layer)
        self.live.follow(painting, training)
        self.new_strokes.follow(None if self.live.can_finish else painting)
        self.remember()
        self.begin(
            f"Training {training.run.name}",
            training.events,
            kept="Its finished epochs are kept: Continue last run goes on with them.",
        )
        self._steps.begin()

    def _follow_view(self, image: Image) -> SliceInView:
        """Follow the slice in view of this image alone."""
        in_view = SliceInView(self.viewer, image)
        self._in_view.replace(in_view)
        return in_view

    def finish(self, outcome: Outcome) -> None:
        """Say how the training ended, and list its run."""
        is_comparing = self.transfer.is_running
        (self.transfer.finish if is_comparing else self._finish)(outcome)

    def _finish(self, outcome: Outcome) -> None:
        self._announce_runs()
        self._training = self._layers = self._preview = None  # and so the image
        self._in_view.disconnect_events()
        self.live.follow(None, None)
        self.new_strokes.follow(None)
        if self._steps.message and outcome != "failed":
            self.show_message(self._steps.message, self._steps.kind)
        run, self._to_continue = self._to_continue, None
        if run is not None and outcome != "failed":
            self.continue_run(run)

    def embed(self) -> None:
        """Hide what the bar shows."""
        self.setup.hide_layers()

    def settings(self) -> dict[str, Any]:
        """Return what to remember."""
        return self.setup.settings()

    # ---- events ----

    def handle(self, event: Any) -> None:
        """Show an event of the training, or of a comparison."""
        is_comparing = self.transfer.is_running
        (self.transfer.handle if is_comparing else self._handle)(event)

    def _handle(self, event: Any) -> None:
        self._steps.handle(event)
        self.live.handle(event)
        match event:
            case Notice():
                self.notices.add(event)
            case Branched():
                self._training = event.training
            case Prepared():
                self._show_prepared(event)
            case TrainingStarted():
                self.tabs.setCurrentIndex(1)
                self._announce_runs()
            case Scored():
                self.curves.add(event.row)
            case SlicePreview() if self._preview is not None:
                self._preview.show(event)
            case TrainingEnded(not_learnt=()):
                self.notices.remove("not_learnt")

    def _show_prepared(self, event: Prepared) -> None:
        assert self._layers is not None
        image, labels = self._layers
        self._preview = PreviewLayer(
            self.viewer, image, phases=event.phases, below=labels
        )
        self.curves.begin(
            event.phases,
            n_epochs=event.config.optimisation.n_epochs,
            history=event.history,
        )

    # ---- runs ----

    def start_from(self, run: Path) -> None:
        """Let the next training start from the best network of a run."""
        try:
            self.setup.start_from(run)
        except EXPECTED as error:
            self.show_error(error)
            return
        if self.setup.initial_weights == run:
            self.show_message(f'The next training starts from the run "{run.name}".')
            self.tabs.setCurrentIndex(0)

    def _follow_image(self) -> None:
        self.last_run.follow(self.setup.image_choice.layer)

    def _show_last_run(self) -> None:
        """Offer to continue it; draw its curves where there are none yet."""
        self.update_buttons()
        run = self.last_run.history
        if run is not None and self.curves.is_empty and not self.is_busy:
            self.curves.begin(run.phases, n_epochs=run.n_epochs, history=run.rows)

    def _announce_runs(self) -> None:
        """Let docks that list the runs of the image list them anew."""
        if self._layers is not None:
            self._layers[0].events.metadata()


def _connect_parts(dock: TrainDock) -> None:
    dock.buttons.runs_requested.connect(lambda: show_dock(dock.viewer, "Training runs"))
    dock.buttons.train_requested.connect(dock.train)
    dock.buttons.live_requested.connect(dock.train_live)
    dock.buttons.finish_requested.connect(dock.live.finish)
    dock.live.changed.connect(dock.update_buttons)
    dock.live.stop_requested.connect(dock._stop)
    dock.live.closed.connect(dock.new_strokes.follow)
    dock.buttons.continue_requested.connect(dock.continue_run)
    dock.buttons.balance_requested.connect(dock.balance_and_train)
    dock.buttons.pause_requested.connect(dock.pause)
    dock.buttons.stop_requested.connect(dock.stop_and_keep)
    dock.buttons.cancel_requested.connect(dock.cancel)
    dock.new_strokes.restart_requested.connect(dock.restart)
    dock.setup.failed.connect(lambda text: dock.show_message(text, "error"))
    dock.setup.image_choice.chosen.connect(dock._follow_image)
    dock.last_run.found.connect(dock._show_last_run)
