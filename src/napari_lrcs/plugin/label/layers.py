"""Choose which layers are painted: the image, and the labels of it."""

from collections.abc import Callable
from typing import cast, get_args

from napari.components import LayerList
from napari.layers import Image, Labels
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget
from superqt.utils import signals_blocked

from napari_lrcs.config import Axis
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.forms import hide_rows
from napari_lrcs.plugin.parts.keys import without_focus
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.layers import use_as_labels, volume_of
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.plugin.parts.workers import EXPECTED
from napari_lrcs.plugin.project.default_layers import have_same_shape
from napari_lrcs.plugin.project.project import project_of

NO_IMAGE = "Open an image: File > Open File(s)…, or File > Open Sample > LRCS-Net."


class LayersPart(QWidget):
    """Choices of the image, of the axis that is painted across, and of the labels.

    Parameters
    ----------
    on_use : callable
        Called when the labels layer is to become a painting.
    """

    def __init__(self, layers: LayerList, *, on_use: Callable[[], None]) -> None:
        super().__init__()
        self._layers, project = layers, project_of(layers)
        self.image: LayerChoice[Image] = LayerChoice(
            layers, Image, propose=project.image, anew=project.changed
        )
        self.axis = QComboBox()
        self.axis.addItems(get_args(Axis))
        self.labels = LayerChoice(layers, Labels, none="None yet")
        self._use_button = button(
            "Use this layer",
            "Save the painting in this layer from now on, with its phases and roles",
            on_use,
        )
        self._rows = rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        for name, widget, tooltip in (
            ("Image", self.image, "The grey volume or image to segment"),
            ("Slices across", self.axis, "Axis at right angles to the painted slices"),
            ("Labels", self.labels, "The layer that is painted"),
        ):
            label = QLabel(name)
            for part in (label, widget):
                part.setToolTip(tooltip)
            rows.addRow(label, without_focus(widget))
        self._not_yet = QLabel()
        self._not_yet.setWordWrap(True)
        rows.addRow(self._not_yet)
        rows.addRow(self._use_button)
        self.image.chosen.connect(self._on_image)
        self._on_image()

    def hide_layers(self) -> None:
        """Hide what the bar of the project shows."""
        hide_rows(self._rows, self.image, self.labels)

    @property
    def chosen_axis(self) -> Axis:
        """The axis that a new painting lies across."""
        return cast(Axis, self.axis.currentText())

    @property
    def complaint(self) -> str:
        """Why the image cannot be painted; empty if it can."""
        if self.image.layer is None:
            return NO_IMAGE
        try:
            volume_of(self.image.layer)
        except EXPECTED as error:
            return str(error)
        return ""

    @property
    def usable(self) -> Labels | Image | None:
        """Labels that can become a painting; perhaps opened as an image."""
        layer, image = self.labels.layer, self.image.layer
        if layer is not None:
            return layer if painting_of(layer) is None else None
        offered = (x for x in self.labels.images if image not in (None, x))
        return next((x for x in offered if image and have_same_shape(x, image)), None)

    @property
    def next_step(self) -> str:
        """What to do next while there is no painting."""
        own = "Use this layer or " if self.usable is not None else ""
        return f"Check the phases, then click {own}New labels layer."

    def usable_labels(self) -> Labels | None:
        """Return the labels that can become a painting, an image of them as labels."""
        layer = self.usable
        if isinstance(layer, Image):
            self.labels.layer = use_as_labels(self._layers, layer)
            return self.labels.layer
        return layer

    def refresh(self) -> None:
        """Show what the chosen labels layer is: a painting, or not yet."""
        painting, usable = painting_of(self.labels.layer), self.usable
        if isinstance(usable, Image):
            text = f"{usable.name} was opened as an image, but holds labels."
        elif usable is not None:
            text = f"Train can use {usable.name}, but new strokes in it are not saved."
        else:
            text = ""
        self._not_yet.setText(text)
        for part in (self._not_yet, self._use_button):
            part.setVisible(usable is not None)
        if painting is not None:
            with signals_blocked(self.axis):
                self.axis.setCurrentText(painting.axis)

    def _on_image(self) -> None:
        image = self.image.layer
        self.axis.setEnabled(image is not None and image.ndim == 3)
        self.refresh()
