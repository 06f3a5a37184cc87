"""Choose which voxels count, and which are neighbours of one another."""

from collections.abc import Mapping
from typing import Any

from napari.components import LayerList
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QWidget
from superqt.utils import signals_blocked

from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import Neighbourhood
from napari_lrcs.plugin.parts.forms import Fold, form_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.layers import volume_of
from napari_lrcs.plugin.parts.widgets import choice, vbox
from napari_lrcs.preprocessing.mask import CYLINDER, as_mask, open_mask

EVERYTHING, ABOUT_Z, LAYER = "Everything", "Cylinder about z", "Mask layer"
_SAVED = "As saved"

_AROUND: Mapping[Neighbourhood, str] = {
    26: "26: faces, edges, corners",
    18: "18: faces, edges",
    6: "6: faces",
}
_WITHIN: Mapping[Neighbourhood, str] = {8: "8: edges, corners", 4: "4: edges"}


class FieldOfView(QWidget):
    """The kind of the field of view, and below it the layer where there is one.

    A layer is proposed when the user turns to layers. One that is removed afterwards is
    not replaced: what is predicted or measured would silently be so within another.

    Parameters
    ----------
    offered : type
        Type of the layers that can be chosen.
    none : str
        Entry that chooses no layer; empty to propose a layer instead.
    """

    requested = Signal(object)
    """Emitted with None, "cylinder" or a layer when the user chooses one."""

    def __init__(
        self, layers: LayerList, *, offered: type[Layer] = Labels, none: str = ""
    ) -> None:
        super().__init__()
        self._file: str | None = None
        self.kind = choice(EVERYTHING, ABOUT_Z, LAYER)
        self.kind.setToolTip("Outside it, nothing is trained, predicted or measured")
        self.layers = LayerChoice(layers, offered, none=none)
        self.layers.setToolTip("Inside is where this layer is not 0")
        for box in (self.kind, self.layers):
            box.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys stay with the canvas
        vbox(self, self.kind, self.layers)
        self.layers.setVisible(False)
        self.kind.currentIndexChanged.connect(self._on_kind)
        self.layers.chosen.connect(self._on_layer)

    @property
    def layer(self) -> Layer | None:
        """The layer, if one is chosen."""
        return self.layers.layer if self.kind.currentText() == LAYER else None

    @property
    def spec(self) -> str | None:
        """The field of view that needs no layer, as `open_mask` takes it."""
        return {ABOUT_Z: CYLINDER, _SAVED: self._file}.get(self.kind.currentText())

    def volume(self, shape: tuple[int, int, int]) -> Volume | None:
        """Return the field of view of a volume; None for everything.

        Raises
        ------
        ValueError
            If it is missing or does not fit.
        """
        layer = self.layer
        if layer is not None:
            return as_mask(volume_of(layer), shape=shape)
        if self.kind.currentText() == LAYER:
            raise ValueError(
                "there is no mask layer; choose one that is not 0 inside, or Everything"
            )
        return open_mask(self.spec, shape=shape)

    def show_mask(self, mask: Layer | str | None) -> None:
        """Show the field of view of a painting."""
        with signals_blocked(self.kind, self.layers):
            self._show_kind(mask)
            if isinstance(mask, Layer) and self.layers.offers(mask):
                self.layers.layer = mask
            self._show_layers()

    def _show_kind(self, mask: Layer | str | None) -> None:
        text = EVERYTHING if mask is None else LAYER
        self.kind.removeItem(self.kind.findText(_SAVED))
        if isinstance(mask, str):
            self._file, text = mask, ABOUT_Z if mask == CYLINDER else _SAVED
        if text == _SAVED:
            self.kind.addItem(_SAVED)
        is_being_chosen = self.kind.currentText() == LAYER and self.layer is None
        if not (mask is None and is_being_chosen):
            self.kind.setCurrentText(text)

    def _show_layers(self) -> None:
        is_layer = self.kind.currentText() == LAYER
        self.layers.setVisible(is_layer)
        self.layers.set_proposing(is_proposing=not is_layer)

    def _on_kind(self) -> None:
        self._show_layers()
        if self.kind.currentText() == LAYER:
            self._on_layer()
        else:
            self.requested.emit(self.spec)

    def _on_layer(self) -> None:
        if self.layer is not None:
            self.requested.emit(self.layer)


class NeighbourChoice(QComboBox):
    """A choice of which voxels count as neighbours: those of a volume or of a slice."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.offer(is_flat=False)

    @property
    def neighbourhood(self) -> Neighbourhood:
        """The number of neighbours."""
        number: Neighbourhood = self.currentData()
        return number

    def offer(self, *, is_flat: bool) -> None:
        """Offer the neighbours within a slice, or those within a volume."""
        offered = _WITHIN if is_flat else _AROUND
        if self.findData(next(iter(offered))) < 0:
            self.clear()
            for number, text in offered.items():
                self.addItem(text, number)

    def restore(self, number: object) -> None:
        """Choose a number of neighbours, if it is offered."""
        self.setCurrentIndex(max(self.findData(number), 0))


class WhatCounts(Fold):
    """The field of view and the neighbours, folded away while both are usual.

    Parameters
    ----------
    layers : LayerList
        Layers of the viewer.
    """

    def __init__(self, layers: LayerList) -> None:
        rows = QWidget()
        super().__init__("More", rows)
        self.field_of_view = FieldOfView(layers)
        self.neighbours = NeighbourChoice()
        rows.setLayout(
            form_rows(
                ("Field of view", self.field_of_view, "Where voxels count"),
                (
                    "Neighbours",
                    self.neighbours,
                    "How many voxels around one count as its neighbours, for the "
                    "fractions of surfaces and interfaces",
                ),
            )
        )
        self.field_of_view.kind.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.field_of_view.kind.currentTextChanged.connect(self._unfold_if_unusual)

    def follow(self, mask: Layer | str | None, *, is_flat: bool) -> None:
        """Show the field of view of a painting, if it has one; offer its neighbours."""
        self.neighbours.offer(is_flat=is_flat)
        if mask is not None:
            self.field_of_view.show_mask(mask)
            self._unfold_if_unusual()

    def settings(self) -> dict[str, Any]:
        """Return the neighbourhood and the field of view."""
        return {
            "neighbourhood": self.neighbours.neighbourhood,
            "view": self.field_of_view.kind.currentText(),
        }

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Show settings, as far as they are known."""
        self.neighbours.restore(settings.get("neighbourhood"))
        if settings.get("view") == ABOUT_Z:
            self.field_of_view.kind.setCurrentText(ABOUT_Z)

    def _unfold_if_unusual(self, text: str = "") -> None:
        del text
        if self.field_of_view.kind.currentText() != EVERYTHING:
            self.unfold()
