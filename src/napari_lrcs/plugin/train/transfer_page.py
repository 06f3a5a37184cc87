"""A page of the dock Train LRCS-Net: tells whether to start from another network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QLabel, QWidget

from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.forms import ConfigForm
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.tables import Table
from napari_lrcs.plugin.parts.widgets import (
    Notices,
    button,
    clock,
    hbox,
    percent,
    vbox,
)
from napari_lrcs.plugin.parts.workers import EXPECTED, BackgroundReader
from napari_lrcs.plugin.project.training_layers import may_train_on
from napari_lrcs.plugin.train.setup import TrainSetup
from napari_lrcs.plugin.train.transfer_job import TransferJob
from napari_lrcs.progress import Notice
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.transfer.config import TransferConfig
from napari_lrcs.transfer.figures import draw_curves, styles_of
from napari_lrcs.transfer.folder import TransferFolder, newest_transfer
from napari_lrcs.transfer.results import StartResult, TransferFindings

_WHAT = (
    "Trains from the moments that the run in Setup, Start from, has saved, at three "
    "initial rates each, and from scratch. All else is as in Setup."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Newest:
    """The comparison of an image that was begun last."""

    path: Path
    findings: TransferFindings
    is_complete: bool


class TransferPage(QWidget):
    """Compares trainings that start from an earlier network with those from scratch.

    Parameters
    ----------
    dock : Dock
        Runs the comparison, and shows how far it is.
    setup : TrainSetup
        Says what to train on, from which run, and how.
    """

    def __init__(self, dock: Dock, setup: TrainSetup) -> None:
        super().__init__()
        self._dock = dock
        self._setup = setup
        self.form = ConfigForm(TransferConfig(), main=("n_moments", "n_repeats"))
        self.plot = Plot(dock.viewer, height=270)
        self.table = Table(("Start", "Rate", "Mean IoU (%)", "Gain"))
        self.notices = Notices()
        self.found: TransferFindings | None = None
        """What is shown."""
        self._path: Path | None = None
        """Its folder."""
        self._running: TransferJob | None = None
        self._unfinished: Path | None = None
        self._end_text = ""
        self.compare_button = button(
            "Compare starts",
            "Train from each start, one after another, in a new comparison",
            self.compare,
        )
        self.continue_button = button(
            "Continue",
            "Continue the comparison that was stopped last, with its own settings",
            self.continue_last,
        )
        self.use_button = button(
            "Use the best start",
            "Let the next training start from these weights, at this rate",
            self.use_best,
        )
        what = QLabel(_WHAT)
        what.setWordWrap(True)
        layout = vbox(self, what, self.form, top=4)
        layout.addLayout(hbox(self.compare_button, self.continue_button))
        self._results = (self.plot, self.table, self.use_button)
        for part in (*self._results, self.notices):
            layout.addWidget(part)
        layout.addStretch()
        self._reader = BackgroundReader("Reading a comparison", self)
        self._reader.answered.connect(self._show_newest)
        setup.image_choice.chosen.connect(self._read_newest)
        self._clear()
        self._read_newest()

    @property
    def is_running(self) -> bool:
        """Whether the dock's job is a comparison."""
        return self._running is not None

    # ---- what the buttons do ----

    def compare(self) -> None:
        """Begin a comparison of what the setup says."""
        self._begin(self._new)

    def continue_last(self) -> None:
        """Continue the comparison that was stopped last."""
        if (out := self._unfinished) is not None:
            self._begin(lambda: self._resumed(out))

    def use_best(self) -> None:
        """Let the next training start as the best of the comparison."""
        if self.found is None or self._path is None:
            return
        best = _best(self.found).start
        start = self._setup.start
        try:
            if best.epoch:
                origin = TransferFolder(self._path).read_origin()
                start.choose(RunFolder(origin.path).moments[best.epoch])
                kept = self._setup.kept
                kept.setCurrentIndex(kept.findData(origin.kept))
            else:
                start.clear()
        except (*EXPECTED, KeyError) as error:
            self._dock.show_error(error)
            return
        self._setup.form["learning_rate"].value = best.learning_rate
        self._dock.show_message(f"Setup has: {best}. Press Train.", "done")

    def _new(self) -> TransferJob:
        setup = self._setup
        config, origin = setup.form.config, setup.origin
        image, _ = setup.layers.read()
        if origin is None:
            raise ValueError(
                "there is no run to start from; choose one of a similar sample in "
                "Setup, Start from"
            )
        comparison = TransferJob(
            volume=setup.painted(config),
            config=config,
            transfer=self.form.config,
            origin=origin,
            out=workspace_for(image).new_transfer(),
        )
        # Made at once, so that a second window chooses another one.
        comparison.out.mkdir(parents=True, exist_ok=True)
        return comparison

    def _resumed(self, out: Path) -> TransferJob:
        config = TransferFolder(out).read_settings()[0]
        return TransferJob(
            volume=self._setup.painted(config),
            config=config.with_changes(device=self._setup.form["device"].value),
            out=out,
            is_resumed=True,
        )

    def _begin(self, make: Callable[[], TransferJob]) -> None:
        dock = self._dock
        if dock.is_busy or not may_train_on(self._setup.labels_choice.layer, dock):
            return
        try:
            self._running = comparison = make()
        except EXPECTED as error:
            dock.show_error(error)
            return
        self._reader.cancel()
        self._clear()
        self.notices.clear()
        self._path = comparison.out
        dock.remember()
        dock.begin(
            f"Comparing starts in {comparison.out.name}",
            comparison.events,
            kept=(
                "The trainings that have ended are kept: Continue, in the dock Train "
                "LRCS-Net, Transfer, runs the others."
            ),
        )
        dock.progress.begin("Preparing…")

    def update_buttons(self) -> None:
        """Show the buttons that make sense now."""
        for made in (self.compare_button, self.continue_button, self.use_button):
            made.setEnabled(not self._dock.is_busy)
        self.continue_button.setVisible(self._unfinished is not None)
        if self._unfinished is not None:
            self.continue_button.setText(f"Continue {self._unfinished.name}")

    # ---- events ----

    def handle(self, event: Any) -> None:
        """Show an event of the comparison."""
        # PyTorch, which is loaded by now, must not slow the dock's opening.
        from napari_lrcs.transfer.transfer import (
            TransferEnded,
            TransferProgress,
            TransferStarted,
        )

        match event:
            case Notice():
                self.notices.add(event)
            case TransferStarted():
                text = f"{event.n_trainings} trainings from {len(event.starts)} starts"
                share = event.n_done / event.n_trainings
                self._dock.progress.begin(text, share=share)
            case TransferProgress():
                text = f"{str(event.start).capitalize()}, training {event.repeat + 1}"
                self._dock.progress.show_share(event.share, text)
            case TransferFindings():
                self._show(event)
            case TransferEnded():
                self._end_text = (
                    f"Done in {clock(event.seconds)}. {_best_text(event.findings)}"
                )

    def finish(self, outcome: Outcome) -> None:
        """Say how the comparison ended, and offer to continue it."""
        self._running, text = None, self._end_text
        self._end_text = ""
        if outcome == "stopped":
            text = "Stopped. What has been trained is kept; press Continue to go on."
        if text and outcome != "failed":
            self._dock.show_message(text, "done")
        self._read_newest()

    def disconnect_events(self) -> None:
        """Stop listening to the viewer, before Qt deletes the widget."""
        self._reader.cancel()
        self.plot.disconnect_events()

    # ---- showing ----

    def _read_newest(self) -> None:
        if self.is_running:
            return
        image = self._setup.image_choice.layer
        if image is None:
            self._reader.cancel()
            self._show_newest(None)
            return
        folder = workspace_for(image).path
        self._reader.read(lambda: _read(folder))

    def _show_newest(self, newest: _Newest | None) -> None:
        self._unfinished = None
        self._clear()
        if newest is None or newest.path != self._path:
            self.notices.clear()
        if newest is not None:
            self._unfinished = None if newest.is_complete else newest.path
            self._path = newest.path
            self._show(newest.findings)
        self.update_buttons()

    def _clear(self) -> None:
        self.found = None
        for part in self._results:
            part.hide()

    def _show(self, found: TransferFindings) -> None:
        results = [result for result in found.results if result.scores]
        if not results:
            return
        self.found, styles = found, styles_of(found)
        self.table.fill(
            [_row(result, found) for result in results],
            colours=[(styles[result.start.name][0],) for result in results],
        )
        self.plot.draw_figure(
            lambda figure: draw_curves(figure.add_subplot(), found, score="mean_iou")
        )
        for part in self._results:
            part.show()


def _read(folder: Path) -> _Newest | None:
    newest = newest_transfer(folder)
    if newest is None:
        return None
    return _Newest(
        path=newest.path,
        findings=newest.read_findings(),
        is_complete=newest.is_complete,
    )


def _row(result: StartResult, found: TransferFindings) -> tuple[str, ...]:
    start, is_scratch = result.start, result is found.scratch
    score = percent(result.score)
    if len(result.scores) > 1:
        score = f"{score} ± {percent(result.sd)}"
    gain = 100 * (result.score - found.scratch.score)
    return (
        "scratch" if is_scratch else f"epoch {start.epoch}",
        f"{start.learning_rate:.2g}",
        score,
        "" if is_scratch else f"{gain:+.1f}",
    )


def _best(found: TransferFindings) -> StartResult:
    return max((r for r in found.results if r.scores), key=lambda r: r.score)


def _best_text(found: TransferFindings) -> str:
    best = _best(found)
    if best is found.scratch:
        return "No start from the earlier network scores better than random weights."
    gain = 100 * (best.score - found.scratch.score)
    return f"Best: {best.start}, {gain:+.1f} points over random weights."
