"""The dock "Label phases"."""

from collections.abc import Callable
from math import ceil
from typing import Any, ClassVar

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtWidgets import QWidget

from napari_lrcs.annotation.spots import Spot
from napari_lrcs.inference.painting.fill import Filled
from napari_lrcs.inference.painting.propagate import Propagated
from napari_lrcs.plugin.label.large_3d import LargeIn3D
from napari_lrcs.plugin.label.layers import NO_IMAGE, LayersPart
from napari_lrcs.plugin.label.paint_help.pairs import Exported, Imported
from napari_lrcs.plugin.label.paint_help.panel import PaintHelp
from napari_lrcs.plugin.label.paint_help.whole_volume import Segmented
from napari_lrcs.plugin.label.painting_controller import PaintingController
from napari_lrcs.plugin.label.paintings_table import PaintingsFold
from napari_lrcs.plugin.label.phases import PhaseEditor
from napari_lrcs.plugin.label.phases_controller import PhasesController, kept_phases
from napari_lrcs.plugin.label.restore import RestoreLine
from napari_lrcs.plugin.label.slices import SlicesPart
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.closable import Closable
from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.dock import Dock
from napari_lrcs.plugin.parts.keys import NEXT_SPOT, Keys, canvas_button
from napari_lrcs.plugin.parts.widgets import Kind, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events
from napari_lrcs.plugin.project.found_work import FoundPainting
from napari_lrcs.plugin.project.keeper import keeper_of
from napari_lrcs.plugin.project.training_layers import may_train_on
from napari_lrcs.progress import Notice, PredictionStarted, TilePredicted


class LabelDock(Dock):
    """Paint phases into slices of an image, and give the slices their roles."""

    key: ClassVar[str] = "label"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self._worked_on: Painting | None = None
        self._hint, self._shows_news = "", False
        self._make_choices()
        self._make_painting_part()
        self._connect()
        self._listen()
        self.paintings.follow_project()
        self._on_image()

    @property
    def painting(self) -> Painting | None:
        """The painting of the chosen labels layer."""
        return self.paintings.painting

    # ---- widgets ----

    def _make_choices(self) -> None:
        choices = LayersPart(self.viewer.layers, on_use=self.use_layer)
        self.image, self.axis, self.labels = choices.image, choices.axis, choices.labels
        self._choices = choices
        self.paintings = PaintingController(self.viewer, choices)
        self.restore_line = RestoreLine(self.paintings.is_open, keeper_of(self.viewer))
        self.folders = PaintingsFold(self.paintings, choices)
        self.phases = PhaseEditor(kept_phases(self.recall()))
        self.phases_controller = PhasesController(self.phases, self.paintings)
        self.new_button = canvas_button(
            "New labels layer",
            "Begin a painting of the image with these phases; it is saved to disk as "
            "you paint",
            self.new_labels,
        )

    def _make_painting_part(self) -> None:
        self._part = QWidget()
        self.slices = SlicesPart(self.viewer)
        self.help = PaintHelp(
            self.viewer, image=self._image_or_warn, index=lambda: self.slices.index
        )
        vbox(self._part, self.slices, self.help)
        shown = self._choices, self.phases, self._part, self.restore_line, self.folders
        for widget in shown:
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.footer.addWidget(self.new_button)

    def _connect(self) -> None:
        self.image.chosen.connect(self._on_image)
        self.paintings.changed.connect(self._show)
        self.paintings.opened.connect(self.restore_line.refresh)
        self.paintings.closed.connect(self._search_paintings)
        self.paintings.closed.connect(keeper_of(self.viewer).handle_change)
        self.restore_line.restore_requested.connect(self.restore)
        self.restore_line.changed.connect(self._show_hint)
        self.folders.open_requested.connect(self.restore)
        self.folders.table.reported.connect(self.show_message)
        self.restore_line.failed.connect(self._warn)
        self.phases.refused.connect(self._warn)
        self.slices.reported.connect(self._warn)
        self.phases_controller.edited.connect(self._enable)
        for part in (self.paintings, self.phases_controller, self.slices, self.help):
            part.failed.connect(self._on_failed)
        self.help.job_requested.connect(self._start_job)
        self.help.guide.done.connect(lambda text: self.show_message(text, "done"))
        self.help.stop_requested.connect(self.stop)

    def _listen(self) -> None:
        dims = self.viewer.dims.events
        view_events = (dims.current_step, dims.order, dims.ndisplay)
        actions = {**self.slices.step_actions, **self.phases_controller.actions}
        actions[NEXT_SPOT] = self.help.guide.suggest
        self.connections += [
            self.image,
            self.labels,
            self.paintings,
            self.help,
            self.restore_line,
            self.folders,
            Keys(self.viewer, actions, on_change=self._show_keys),
            LargeIn3D(self.viewer, self._warn),
            Connections(*((event, self._show_view) for event in view_events)),
        ]

    # ---- a painting begins ----

    def new_labels(self) -> None:
        """Begin a painting of the chosen image, or go to one that is empty."""
        if self._start(lambda image: self.paintings.begin(image, self.phases.phases)):
            self._show_hint(is_news=True)

    def restore(self, found: FoundPainting) -> None:
        """Open a painting again."""
        if self._start(lambda image: self.paintings.open(found, image)):
            self.slices.find_painted()
            self.show_message(f"The painting is back. {self._hint}", "done")

    def use_layer(self) -> None:
        """Make a painting of the chosen labels layer."""
        layer, phases = self._choices.usable_labels(), self.phases.phases
        if layer is None or not may_train_on(layer, self):
            return
        if self._start(lambda image: self.paintings.adopt(layer, image, phases)):
            self.show_message(f"This layer is saved from now on. {self._hint}", "done")

    def _start(self, begin: Callable[[Image], None]) -> bool:
        """Begin a painting of the chosen image, or say why that is not possible."""
        if (image := self._image_or_warn()) is None:
            return False
        try:
            begin(image)
        except EXPECTED as error:
            self.show_message(str(error), "error")
            return False
        self._show_view()
        return True

    def _image_or_warn(self) -> Image | None:
        if self.image.layer is None:
            self._warn(NO_IMAGE)
        return self.image.layer

    def _on_image(self) -> None:
        self.help.fill.networks.follow(self.image.layer)
        self.phases_controller.offer_for(self.image.layer, self.recall())
        self._search_paintings()
        self._show_hint()

    def _search_paintings(self) -> None:
        self.restore_line.search(None if self._choices.complaint else self.image.layer)

    def _show(self) -> None:
        painting = self.painting
        self._part.setVisible(painting is not None)
        self.slices.show_painting(painting)
        self.help.show_painting(painting)
        self.restore_line.set_quiet(is_quiet=painting is not None)
        self.phases_controller.refresh()
        self._enable()
        self._show_hint()

    def _show_keys(self) -> None:
        for part in (self.phases, self.slices, self.help):
            part.show_keys()

    def _show_view(self, event: object = None) -> None:
        del event
        self.slices.show_view()
        self._enable()
        if self.painting is not None:
            self._show_hint()

    def _enable(self) -> None:
        """Enable what can be done now."""
        is_renumbering = self.painting is not None and self.painting.is_renumbering
        is_free = not self.is_busy and not is_renumbering
        self.phases.setEnabled(is_free)
        self.help.enable(is_free=is_free)

    def update_buttons(self) -> None:
        """Enable or disable the buttons, and show what to do next."""
        if not self.is_busy:
            self._worked_on = None
            self._show_hint(is_news=not self.message)
        self._enable()

    def show_message(self, text: str, kind: Kind = "hint") -> None:
        """Show a sentence; news stay until the next step is another one."""
        self._shows_news = kind != "hint"
        super().show_message(text, kind)

    def _show_hint(self, *, is_news: bool = False) -> None:
        complaint = "" if self.painting is not None else self._choices.complaint
        hint = complaint or self._next_step()
        is_news |= hint != self._hint
        self._hint = hint
        may_replace = is_news or not (self._shows_news or self.is_busy)
        if may_replace and hint != self.message:
            is_fit = complaint in ("", NO_IMAGE)
            self.show_message(hint, "hint" if is_fit else "warning")

    def _next_step(self) -> str:
        if self.painting is not None:
            return self.slices.next_step
        return self.restore_line.next_step or self._choices.next_step

    def _warn(self, text: str) -> None:
        self.show_message(text, "warning")

    def _on_failed(self, text: str) -> None:
        """Show what failed; an empty text means that it works again."""
        self.show_message(text or "Saving works again.", "error" if text else "done")
        self._enable()

    def _start_job(self, name: str, events: Events) -> None:
        if not self.is_busy:
            self._worked_on = self.painting
            self.begin(name, lambda: events)

    def handle(self, event: Any) -> None:
        """Show what a job has made."""
        match event:
            case Filled() | Imported() | Propagated() | Spot():
                painting = self._worked_on
                if painting is not None and painting.layer in self.viewer.layers:
                    self.help.show_made(painting, event)
            case Exported():
                self.show_message(f"Saved {event.n} pairs in {event.folder}.", "done")
            case Segmented():
                name = event.show()
                self.show_message(f"Labelled all slices, in the layer {name}.", "done")
            case PredictionStarted():
                self.progress.begin("Starting…")
            case TilePredicted(n_done=n_done, n_slices=n):
                self.progress.show_share(n_done / n, f"Slice {ceil(n_done)} of {n}")
            case Notice():
                self.show_message(f"{event.text[0].upper()}{event.text[1:]}.")

    def embed(self) -> None:
        """Hide what the bar shows."""
        self._choices.hide_layers()

    def settings(self) -> dict[str, Any]:
        """Return the phases and how slices are filled."""
        return {**self.phases_controller.settings(), "fill": self.help.fill.method}

    @property
    def unsaved(self) -> str:
        """Strokes that could not be saved, and why."""
        return self.paintings.unsaved

    def remember(self) -> None:
        """Keep the settings, and save the paintings: the window closes."""
        self.paintings.save()
        super().remember()

    def shut_down(self) -> None:
        """Stop; with the window, the paintings are closed too."""
        super().shut_down()
        # napari closes a dock alone by taking it out of the window, which goes on.
        if not isalive(self) or not isinstance(self.window(), Closable):
            self.paintings.unlock()
