"""Choose the field of view of a painting."""

from pathlib import Path
from typing import cast

from napari.components import LayerList
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_lrcs.data.mask import CYLINDER
from napari_lrcs.plugin.forms import LayerChoice

_EVERYTHING, _CYLINDER, _LAYER, _FILE = range(4)


class FieldOfView(QWidget):
    """Everything, a cylinder, or a layer that is not 0 inside.

    Parameters
    ----------
    layers : LayerList
    """

    wanted = Signal(object)
    """None, "cylinder" or a layer."""

    def __init__(self, layers: LayerList) -> None:
        super().__init__()
        self._kind = QComboBox()
        self._kind.addItems(["Everything", "Cylinder about z", "Mask layer"])
        self._kind.setToolTip("Outside it, nothing is trained, predicted or measured")
        self._kind.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        # isinstance takes a union, though it is no type.
        either = cast("type[Layer]", Image | Labels)
        self.layers = LayerChoice(layers, either, none="Choose a layer…")
        self.layers.setToolTip("Inside is where this layer is not 0")
        self.layers.setVisible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._kind)
        layout.addWidget(self.layers)
        self._kind.currentIndexChanged.connect(self._on_kind)
        self.layers.chosen.connect(self._on_mask)

    def choose(self, kind: int) -> None:
        """Choose the entry at a place: everything, cylinder, mask layer."""
        self._kind.setCurrentIndex(kind)

    def show_mask(self, mask: Layer | str | None) -> None:
        """Show what is chosen."""
        kind = _LAYER
        if mask is None:
            kind = _EVERYTHING
        elif isinstance(mask, str):
            kind = _CYLINDER if mask == CYLINDER else _FILE
        with QSignalBlocker(self._kind), QSignalBlocker(self.layers):
            if self._kind.count() > _FILE:
                self._kind.removeItem(_FILE)
            if kind == _FILE:
                self._kind.addItem(f"File {Path(str(mask)).name}")
            is_waiting = kind == _EVERYTHING and self._kind.currentIndex() == _LAYER
            if not (is_waiting and self.layers.layer is None):
                self._kind.setCurrentIndex(kind)
        self.layers.setVisible(self._kind.currentIndex() == _LAYER)

    def _on_kind(self, kind: int) -> None:
        self.layers.setVisible(kind == _LAYER)
        if kind == _EVERYTHING:
            self.wanted.emit(None)
        elif kind == _CYLINDER:
            self.wanted.emit(CYLINDER)
        elif kind == _LAYER:
            self._on_mask()

    def _on_mask(self) -> None:
        if self._kind.currentIndex() == _LAYER and self.layers.layer is not None:
            self.wanted.emit(self.layers.layer)
