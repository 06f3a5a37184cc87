"""The dock "Label phases"."""

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import Any, ClassVar

import numpy as np
from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QLabel,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_lrcs.annotation.painting import PaintingFolder
from napari_lrcs.inference.fill import Filled
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.plugin.label.keys import (
    NEXT_KEY,
    PHASE_KEYS,
    PREVIOUS_KEY,
    Keys,
    shown,
)
from napari_lrcs.plugin.label.large_3d import LargeIn3D
from napari_lrcs.plugin.label.layers import LayersPart
from napari_lrcs.plugin.label.paint_help import HelpPart, take
from napari_lrcs.plugin.label.painted_layers import adopt, new_painting, open_painting
from napari_lrcs.plugin.label.pairs import Exported, Imported
from napari_lrcs.plugin.label.phases import PhaseEditor, what_is_lost
from napari_lrcs.plugin.label.restore import Found, RestoreLine
from napari_lrcs.plugin.label.slices import SlicesPart
from napari_lrcs.plugin.label.slices_table import next_step
from napari_lrcs.plugin.label.whole_volume import Segmented
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.painting.training_layers import may_train_on
from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.current_slice import show_across
from napari_lrcs.plugin.parts.dock import Dock
from napari_lrcs.plugin.parts.layers import (
    layer_shape,
    phases_shown,
    volume_of,
    workspace_for,
)
from napari_lrcs.plugin.parts.widgets import Kind, button
from napari_lrcs.plugin.parts.workers import EXPECTED, Events
from napari_lrcs.progress import Notice, PredictionStarted, TilePredicted

_NO_IMAGE = "Open an image: File > Open File(s)…, or File > Open Sample > LRCS-Net."


class LabelDock(Dock):
    """Paint phases into slices of an image, and say what the slices serve for.

    Parameters
    ----------
    viewer : Viewer
    """

    key: ClassVar[str] = "label"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.painting: Painting | None = None
        """That of the chosen labels layer."""
        self._worked_on: Painting | None = None
        self._hint = self._unfit = ""
        self._is_told = False
        self._following: Connections | None = None
        self._make_choices()
        self._make_painting_part()
        self._make_footer()
        self._listen()
        self._choose_painting()
        self._on_image()

    # ---- widgets ----

    def _make_choices(self) -> None:
        part = LayersPart(self.viewer.layers, on_use=self.use_layer)
        self.image, self.axis, self.labels = part.image, part.axis, part.labels
        self._use = part.use
        self.restore_line = RestoreLine(self._is_open)
        self.phases = PhaseEditor(self._last_phases())
        self.body.addWidget(part)
        self.body.addWidget(self.phases)

    def _make_painting_part(self) -> None:
        self._part = QWidget()
        layout = QVBoxLayout(self._part)
        layout.setContentsMargins(0, 0, 0, 0)
        self.slices = SlicesPart(self.viewer)
        self.help = HelpPart(
            self.viewer,
            image=self._image_or_complaint,
            index=lambda: self.slices.index,
        )
        layout.addWidget(self.slices)
        layout.addWidget(self.help)
        self._keys_text = QLabel()
        self._keys_text.setWordWrap(True)
        layout.addWidget(self._keys_text)
        self.body.addWidget(self._part)
        self.body.addWidget(self.restore_line)
        self.body.addStretch(1)

    def _make_footer(self) -> None:
        self.new_button = _quiet(
            button(
                "New labels layer",
                "Begin a painting of the image with these phases; it is saved to disk "
                "as you paint",
                self.new_labels,
            )
        )
        self.footer.addWidget(self.new_button)

    def _listen(self) -> None:
        viewer = self.viewer
        self.image.chosen.connect(self._on_image)
        self.labels.chosen.connect(self._on_labels)
        self.restore_line.wanted.connect(self.restore)
        self.restore_line.changed.connect(self._show_hint)
        self.restore_line.trouble.connect(self._warn)
        self.phases.edited.connect(self.edit_phases)
        self.phases.refused.connect(self._warn)
        self.phases.selected.connect(self.select_phase)
        self.slices.failed.connect(self._fail)
        self.help.work.connect(self._work)
        self.help.stop_wanted.connect(self.stop)
        self.help.said.connect(self.show_message)
        events = viewer.dims.events
        actions = {
            NEXT_KEY: lambda: self.slices.step(1),
            PREVIOUS_KEY: lambda: self.slices.step(-1),
        }
        for label, key in enumerate(PHASE_KEYS, start=1):
            actions[key] = self._painting_with(label)
        self.connections += [
            self.image,
            self.labels,
            self.help.field_of_view.layers,
            self.help.fill.networks,
            self.restore_line,
            Keys(viewer, actions),
            LargeIn3D(viewer, self._warn),
            Connections(
                (events.current_step, self._show_view),
                (events.order, self._show_view),
                (events.ndisplay, self._show_view),
                (viewer.layers.events.inserted, self._on_inserted),
                (viewer.layers.events.removed, self._on_removed),
            ),
        ]

    def _painting_with(self, label: int) -> Callable[[], None]:
        return lambda: self.paint_with(label)

    # ---- a painting begins ----

    def new_labels(self) -> None:
        """Begin a painting of the chosen image, ready for the first stroke."""
        if (image := self._image_or_complaint()) is None:
            return
        axis: Any = self.axis.currentText()
        try:
            layer = new_painting(image, phases=self.phases.phases, axis=axis)
        except EXPECTED as error:
            self.show_message(str(error), "error")
            return
        self._add(layer)
        self._show_hint(is_news=True)

    def restore(self, found: Found) -> None:
        """Open a painting again."""
        if (image := self._image_or_complaint()) is None:
            return
        try:
            layer = open_painting(
                found.folder, image, state=found.folder.read(), counts=found.counts
            )
        except EXPECTED as error:
            self.show_message(str(error), "error")
            return
        self._add(layer)
        self.slices.step(1)
        self.show_message(f"The painting is back. {self._hint}", "done")

    def use_layer(self) -> None:
        """Make a painting of the chosen labels layer."""
        image, layer = self._image_or_complaint(), self.labels.layer
        if image is None or layer is None or not may_train_on(layer, self):
            return
        axis: Any = self.axis.currentText()
        phases = phases_shown(layer) or self.phases.phases
        try:
            adopt(layer, image, phases=phases, axis=axis)
        except EXPECTED as error:
            self.show_message(str(error), "error")
            return
        self._on_labels()
        self._make_ready(layer)
        self.show_message(f"This layer is saved from now on. {self._hint}", "done")

    def _add(self, layer: Labels) -> None:
        self.viewer.add_layer(layer)
        self.labels.layer = layer
        self._make_ready(layer)

    def _make_ready(self, layer: Labels) -> None:
        painting = painting_of(layer)
        assert painting is not None
        show_across(self.viewer, layer, painting.axis)
        self.viewer.layers.selection.active = layer
        layer.brush_size = int(np.clip(min(layer_shape(layer)[-2:]) / 40, 3, 40))
        layer.selected_label = 1
        layer.mode = "paint"
        self._show_view()

    def _image_or_complaint(self) -> Image | None:
        image = self.image.layer
        if image is None:
            self.show_message(_NO_IMAGE, "warning")
        return image

    def _is_open(self, folder: PaintingFolder) -> bool:
        paintings = map(painting_of, self.viewer.layers)
        return any(p is not None and p.folder == folder for p in paintings)

    # ---- what is chosen ----

    def _on_image(self) -> None:
        image = self.image.layer
        self.axis.setEnabled(image is not None and image.ndim == 3)
        self.help.fill.networks.follow(image)
        self._look_for_paintings()
        self._show_hint()

    def _look_for_paintings(self) -> None:
        image, self._unfit = self.image.layer, ""
        if image is None:
            self.restore_line.forget()
            return
        try:
            shape = volume_of(image).shape
        except EXPECTED as error:
            self._unfit = str(error)
            self.restore_line.forget()
            return
        self.restore_line.look(image, workspace_for(image), shape)

    def _choose_painting(self) -> None:
        """Take up a painting that is in the viewer already."""
        for layer in reversed(self.viewer.layers):
            if painting_of(layer) is not None:
                self.labels.layer = layer
                return
        self._on_labels()

    def _on_labels(self) -> None:
        if self._following is not None:
            self._following.disconnect_events()
            self.connections.remove(self._following)
            self._following = None
        layer = self.labels.layer
        self.painting = painting = painting_of(layer)
        if painting is not None and layer is not None:
            self._following = Connections(
                (painting.changed, self._show),
                (painting.failed, self._on_failed),
                (layer.events.selected_label, self._on_selected_label),
            )
            self.connections.append(self._following)
            with QSignalBlocker(self.axis):
                self.axis.setCurrentText(painting.axis)
        self._use.setVisible(layer is not None and painting is None)
        self._show()

    def _on_inserted(self, event: Any) -> None:
        painting = painting_of(event.value)
        if painting is not None:  # it may have been removed, and come back
            self._tried(painting.claim)
        self.restore_line.update_offer()

    def _on_removed(self, event: Any) -> None:
        painting = painting_of(event.value)
        if painting is not None:
            self._tried(painting.save)
            painting.release()
            self._look_for_paintings()

    def _on_selected_label(self, event: object) -> None:
        del event
        if self.painting is not None:
            self.phases.select(int(self.painting.layer.selected_label))

    # ---- what is shown ----

    def _show(self) -> None:
        painting = self.painting
        self._part.setVisible(painting is not None)
        self.slices.show_painting(painting)
        self.help.show_painting(painting)
        self.restore_line.set_quiet(is_quiet=painting is not None)
        self._allow()
        self._show_hint()
        if painting is None:
            return
        if self.phases.phases != painting.phases:
            self.phases.phases = painting.phases
            self.phases.select(int(painting.layer.selected_label))
        keys = " ".join(PHASE_KEYS[: len(painting.phases)])
        ways = f", {NEXT_KEY} and {shown(PREVIOUS_KEY)} go between slices"
        self._keys_text.setText(
            f"Keys: {keys} paint a phase{ways if painting.n_slices > 1 else ''}."
        )

    def _show_view(self, event: object = None) -> None:
        del event
        self.slices.show_view()
        self._allow()
        if self.painting is not None:
            self._show_hint()

    def _allow(self) -> None:
        """Allow what can be done now."""
        painting = self.painting
        is_free = not self.is_busy
        is_free &= painting is None or not painting.is_renumbering
        self.phases.setEnabled(is_free)
        self.help.allow(is_free=is_free)

    def update_buttons(self) -> None:
        """Enable or disable the buttons, and show what is to be done next."""
        if not self.is_busy:
            self._worked_on = None
            self._show_hint(is_news=not self.message)
        self._allow()

    def show_message(self, text: str, kind: Kind = "hint") -> None:
        """Show a sentence; news stay until the next step is another one."""
        self._is_told = kind != "hint"
        super().show_message(text, kind)

    def _show_hint(self, *, is_news: bool = False) -> None:
        hint = self._next_step()
        is_news |= hint != self._hint
        self._hint = hint
        may_replace = is_news or not (self._is_told or self.is_busy)
        if may_replace and hint != self.message:
            self.show_message(hint, "warning" if hint == self._unfit else "hint")

    def _next_step(self) -> str:
        if self.painting is not None:
            return next_step(self.painting, self.slices.index)
        if self.image.layer is None:
            return _NO_IMAGE
        if self._unfit:
            return self._unfit
        if self.restore_line.offered:
            return "Click Restore, or begin anew by New labels layer."
        return "Check the phases, then click New labels layer."

    def _on_failed(self, text: str) -> None:
        if text:
            self._fail(text)
        else:
            self.show_message("The painting is saved again.", "done")

    def _warn(self, text: str) -> None:
        self.show_message(text, "warning")

    def _fail(self, text: str) -> None:
        self.show_message(text, "error")
        self._allow()

    # ---- phases ----

    def paint_with(self, label: int) -> None:
        """Paint with a phase: its key was pressed."""
        painting = self.painting
        if painting is None or label > len(painting.phases):
            return
        self.select_phase(label)
        self.viewer.layers.selection.active = painting.layer
        if painting.layer.mode in ("pan_zoom", "erase", "pick", "transform"):
            painting.layer.mode = "paint"

    def select_phase(self, label: int) -> None:
        """Let the brush paint a phase."""
        if self.painting is not None:
            self.painting.layer.selected_label = label

    def edit_phases(self, phases: PhaseTable, mapping: Mapping[int, int]) -> None:
        """Take other phases, asking first where painted voxels would be erased."""
        painting = self.painting
        if painting is None:
            self.phases.phases = phases
            return
        if not mapping:
            self._tried(lambda: painting.rename(phases))
        elif not self.is_busy and self._may_renumber(painting, mapping):
            self._tried(lambda: painting.begin_to_renumber(mapping, phases=phases))
        self.phases.phases = painting.phases
        self._allow()

    def _may_renumber(self, painting: Painting, mapping: Mapping[int, int]) -> bool:
        question = what_is_lost(painting, mapping)
        return not question or self.confirm(question)

    def confirm(self, question: str) -> bool:
        """Ask the user whether to go on."""
        answer = QMessageBox.question(self, "Change the phases?", question)
        return bool(answer == QMessageBox.StandardButton.Yes)

    # ---- jobs ----

    def _work(self, name: str, events: Iterator[Any]) -> None:
        if self.is_busy:
            return
        self._worked_on = self.painting

        def begin() -> Events:
            yield from events

        self.begin(name, begin)

    def handle(self, event: Any) -> None:
        """Take what a job has made."""
        match event:
            case Filled() | Imported():
                painting = self._worked_on
                if painting is not None and painting.layer in self.viewer.layers:
                    take(painting, event)
            case Exported():
                self.show_message(f"{event.n} pairs are in {event.folder}.", "done")
            case Segmented():
                self.show_message(
                    f"All slices are in the layer {event.show()}.", "done"
                )
            case PredictionStarted():
                self.progress.begin("Starting…")
            case TilePredicted():
                self.progress.show_share(
                    event.n_done / event.n_slices,
                    f"Slice {ceil(event.n_done)} of {event.n_slices}",
                )
            case Notice():
                self.show_message(f"{event.text[0].upper()}{event.text[1:]}.")

    def _tried(self, action: Callable[[], object]) -> bool:
        """Do something, or say why it cannot be done."""
        try:
            action()
        except EXPECTED as error:
            self.show_message(str(error), "error")
            return False
        return True

    # ---- settings and closing ----

    def settings(self) -> dict[str, Any]:
        """Return the phases and how slices are filled."""
        return {"phases": self.phases.phases.to_dicts(), "fill": self.help.fill.method}

    def remember(self) -> None:
        """Keep the settings, and save the paintings: the window closes."""
        for painting in map(painting_of, self.viewer.layers):
            if painting is not None:
                self._tried(painting.save)
        super().remember()

    def shut_down(self) -> None:
        """Stop; with the window, the paintings are closed too."""
        super().shut_down()
        # napari closes a dock alone by taking it out of the window, which goes on.
        if isalive(self) and self.parent() is None:
            return
        for painting in map(painting_of, self.viewer.layers):
            if painting is not None:
                painting.release()

    def _last_phases(self) -> PhaseTable:
        try:
            return PhaseTable.from_dicts(self.recall()["phases"])
        except (KeyError, TypeError, ValueError):
            return ELECTRODE


def _quiet(made: QPushButton) -> QPushButton:
    """Leave the keys to the canvas."""
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return made
