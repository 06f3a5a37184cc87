"""The dock that predicts a volume with a trained network."""

from collections.abc import Sequence
from math import ceil
from typing import Any, ClassVar

from napari.viewer import Viewer

from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.plugin.parts.connections import Replaceable
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.widgets import Notices, button, clock, hbox
from napari_lrcs.plugin.parts.workers import EXPECTED
from napari_lrcs.plugin.predict.attempt import Attempt, next_attempt
from napari_lrcs.plugin.predict.job import AllDone, NextVolume, Opened
from napari_lrcs.plugin.predict.setup import PredictSetup
from napari_lrcs.plugin.project.keeper import keeper_of
from napari_lrcs.progress import (
    Notice,
    PredictionEnded,
    PredictionStarted,
    Publishing,
    SlabPredicted,
    TilePredicted,
)

_CONTINUES = "Press Predict again to continue."


class PredictDock(Dock):
    """Predict an image layer; the result is a layer that fills up meanwhile."""

    key: ClassVar[str] = "predict"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.setup = PredictSetup(viewer)
        self.notices = Notices()
        self._attempt: Attempt | None = None
        self._shown = Replaceable()
        self._build()
        self.setup.restore(self.recall())
        self.setup.failed.connect(lambda text: self.show_message(text, "error"))
        self.setup.compared.connect(self._show_compared)
        network = self.setup.model_choice
        for signal in (network.changed, network.listed):
            signal.connect(self.update_buttons)
        self.connections += [self.setup, self._shown]
        self.update_buttons()

    def _build(self) -> None:
        self.body.addWidget(self.setup)
        self._predict = button(
            "Predict",
            "Predict the region, or continue a prediction that was cancelled",
            self.predict,
        )
        self._cancel = button(
            "Cancel",
            "Stop; finished slices are kept, and the prediction can be continued",
            self.stop,
        )
        self.footer.addLayout(hbox(self._predict, self._cancel))
        self.footer.addWidget(self.notices)

    # ---- what the buttons do ----

    def predict(self) -> None:
        """Predict what the form says, or continue it."""
        if self.is_busy:
            return
        try:
            attempt = next_attempt(self.viewer, self.setup, self._attempt)
        except EXPECTED as error:
            self.show_error(error)
            return
        self._attempt = attempt
        self._shown.replace(attempt.layers)
        self.notices.clear()
        self.remember()
        if attempt.path is None:
            attempt.layers.show(*attempt.job.result.arrays())
        self.begin(
            f"Predicting {attempt.job.volume.name}",
            attempt.job.events,
            kept=(
                "The finished slices stay in the layer, but the others cannot be added "
                "to it later."
                if attempt.path is None
                else "The finished slices are kept: to go on, open Predict volume, and "
                f"press Continue {attempt.path.name}."
            ),
        )
        self.progress.begin("Loading the network…")

    def _show_compared(self, notices: Sequence[Notice]) -> None:
        if not self.is_busy:
            self.notices.remove("foreign")
            for notice in notices:
                self.notices.add(notice)

    def update_buttons(self) -> None:
        """Enable the buttons that make sense now."""
        is_ready = not self.is_busy and not self.setup.model_choice.is_awaited
        self._predict.setEnabled(is_ready)
        self._cancel.setEnabled(self.is_busy and not self.is_stopping)
        self.setup.compute_on.set_busy(self.is_busy)

    def embed(self) -> None:
        """Hide what the bar shows."""
        self.setup.hide_layers()

    def settings(self) -> dict[str, Any]:
        """Return what to remember."""
        return self.setup.settings()

    # ---- running ----

    def handle(self, event: Any) -> None:
        """Show an event of the prediction."""
        attempt = self._attempt
        if attempt is None:
            return
        match event:
            case Notice():
                attempt.is_foreign |= event.kind == "foreign"
                self.notices.add(event)
            case NextVolume():
                attempt.volume_text = (
                    f"Volume {event.number} of {event.n_volumes}, {event.name}: "
                )
            case PredictionStarted():
                self._start(attempt, event)
            case TilePredicted() | SlabPredicted():
                self._advance(attempt, event)
            case Publishing():
                self.progress.show_share(
                    event.share, f"{attempt.volume_text}finishing the result"
                )
            case PredictionEnded() | Opened() | AllDone():
                self._complete(attempt, event)

    def _start(self, attempt: Attempt, event: PredictionStarted) -> None:
        share = event.n_done / event.n_slices
        self.progress.begin(
            self._text(attempt, event.n_done, event.n_slices), share=share
        )
        if attempt.is_complete:
            return
        attempt.n_done, attempt.n_slices = event.n_done, event.n_slices
        result = attempt.job.result
        if isinstance(result, MemoryResult):
            attempt.layers.set_provenance(result.provenance)
        elif arrays := result.arrays():
            attempt.layers.show(*arrays)

    def _advance(self, attempt: Attempt, event: TilePredicted | SlabPredicted) -> None:
        share = event.n_done / event.n_slices
        self.progress.show_share(
            share, self._text(attempt, event.n_done, event.n_slices)
        )
        if attempt.is_complete or not isinstance(event, SlabPredicted):
            return
        attempt.n_done = event.n_done
        attempt.layers.refresh(event.start, event.stop)
        if attempt.path is None and attempt.layers.is_removed:
            self.stop()  # nobody could see the rest

    def _text(self, attempt: Attempt, n_done: float, n_slices: int) -> str:
        text = f"slice {ceil(n_done)} of {n_slices}"
        return f"{attempt.volume_text}{text}" if attempt.volume_text else f"S{text[1:]}"

    def _complete(
        self, attempt: Attempt, event: PredictionEnded | Opened | AllDone
    ) -> None:
        if isinstance(event, AllDone):
            attempt.is_over = True
        elif isinstance(event, Opened):
            attempt.layers.show(event.labels, event.confidence)
            attempt.layers.set_provenance(event.provenance)
            attempt.has_replaced = attempt.layers.replace_former()
            attempt.is_complete = True
        elif not attempt.is_complete:  # else it is another volume's
            attempt.seconds = event.seconds
            attempt.is_complete = attempt.path is None
            if attempt.is_complete:
                attempt.has_replaced = attempt.layers.replace_former()

    # ---- ending ----

    def finish(self, outcome: Outcome) -> None:
        """Say how the prediction ended, and what is kept."""
        attempt = self._attempt
        if attempt is None:
            return
        attempt.layers.redraw()
        if attempt.is_over:
            self._attempt = None  # which holds on to the image
            self.setup.place.new_file()
            self.show_message(
                _end_text(attempt), "warning" if attempt.is_foreign else "done"
            )
            return
        kept = self._kept(attempt)
        if outcome == "failed":
            self.show_message(f"{self.message}. {kept}", "error")
        else:
            self.show_message(f"Stopped. {kept}")

    def _kept(self, attempt: Attempt) -> str:
        if attempt.is_complete:
            return f"The volumes that are done are kept. {_CONTINUES}"
        if attempt.n_done:
            done = f"{attempt.n_done} of {attempt.n_slices} slices"
            return f"Kept {done}. {_CONTINUES}"
        if attempt.path is not None and attempt.job.result.is_unfinished:
            return f"Kept what was done. {_CONTINUES}"
        attempt.layers.remove()
        return ""

    def save_before_close(self) -> None:
        """Save predictions that are in memory alone, too."""
        super().save_before_close()
        keeper_of(self.viewer).save_results()

    def shut_down(self) -> None:
        """Stop, and leave no layer behind that has nothing in it."""
        super().shut_down()
        if self._attempt is not None:
            self._kept(self._attempt)


def _end_text(attempt: Attempt) -> str:
    text = f"Done in {clock(attempt.seconds)}"
    if attempt.path is not None:
        text += f": {attempt.path.name} in {attempt.path.parent}"
    series = attempt.job.series
    if series is not None:
        text += f"; {len(series.results)} more in {series.folder}"
    if attempt.has_replaced:
        text += "; it replaced the earlier prediction (to keep one, rename its layer)"
    if attempt.is_foreign:
        return f"{text}, but the network was trained on other data: see above."
    if attempt.path is None:
        is_saved = attempt.job.slices is None
        text += ", in memory only"
        text += ": saved when you quit" if is_saved else ": save the layer to keep it"
    return f"{text}. Next: Measure phases, or Compare segmentations."
