"""Which layers are painted: the image, and the labels upon it."""

from collections.abc import Callable
from typing import get_args

from napari.components import LayerList
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QWidget

from napari_lrcs.config import Axis
from napari_lrcs.plugin.painting.default_layers import image_to_segment
from napari_lrcs.plugin.parts.forms import LayerChoice
from napari_lrcs.plugin.parts.widgets import button


class LayersPart(QWidget):
    """Choices of the image, of the axis that is painted across, and of the labels.

    Parameters
    ----------
    layers : LayerList
    on_use : callable
        Called when the labels layer is to become a painting.
    """

    def __init__(self, layers: LayerList, *, on_use: Callable[[], None]) -> None:
        super().__init__()
        self.image: LayerChoice[Image] = LayerChoice(
            layers, Image, propose=lambda images: image_to_segment(images, layers)
        )
        self.axis = QComboBox()
        self.axis.addItems(get_args(Axis))
        self.labels = LayerChoice(layers, Labels, none="None yet")
        self.use = button(
            "Use this layer",
            "Keep what is painted in this layer safe, and its phases and roles with it",
            on_use,
        )
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        for name, widget, tooltip in (
            ("Image", self.image, "The grey volume, or image, that is to be segmented"),
            ("Slices across", self.axis, "Axis of the volume that is painted across"),
            ("Labels", self.labels, "The layer that is painted"),
        ):
            label = QLabel(name)
            for part in (label, widget):
                part.setToolTip(tooltip)
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys stay with the canvas
            rows.addRow(label, widget)
        rows.addRow(self.use)
