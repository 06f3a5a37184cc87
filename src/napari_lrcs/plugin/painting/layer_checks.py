"""A list of labels layers to check, which follows the viewer."""

from collections.abc import Callable, Sequence

from napari.components import LayerList
from napari.layers import Image, Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem
from superqt.utils import signals_blocked

from napari_lrcs.plugin.parts.connections import Connections, Emitter
from napari_lrcs.plugin.parts.layers.choice import images_like_labels, title_as_labels
from napari_lrcs.plugin.parts.layers.kinds import NEVER_CHOSEN, kind_of
from napari_lrcs.plugin.parts.layers.layers import layer_shape, use_as_labels

_MOST_ROWS = 6
"""Most rows that the list shows without scrolling."""

_ROW, _SPACING = 14, 2
"""Smallest height of a row, and the space around it, in pixels."""

_WITHOUT = frozenset({"training preview", "perturbed preview"}) | NEVER_CHOSEN
"""Kinds of labels that hold a part of the volume alone, and are gone soon."""

_USUAL = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable


class LayerChecks(QListWidget):
    """Labels layers to be checked, by name; follows the viewer.

    Images that look like labels are offered, too: checking one makes it a labels layer.

    Parameters
    ----------
    layers : LayerList
    one_shape : bool
        Whether those of another shape than the checked ones cannot be checked.
    propose : callable, optional
        Chooses the layer that is checked until the user checks one, anew with each
        change in the viewer; may return None. By default none is checked.
    anew : Emitter, optional
        Signal after which a layer is proposed anew.
    """

    changed = Signal()
    """Emitted when other layers are checked."""

    _image_checked = Signal(object)

    def __init__(
        self,
        layers: LayerList,
        *,
        one_shape: bool = True,
        propose: Callable[[Sequence[Labels]], Labels | None] | None = None,
        anew: Emitter | None = None,
    ) -> None:
        super().__init__()
        self._layers, self._one_shape, self._propose = layers, one_shape, propose
        self._offered: list[Labels] = []
        self._images: list[Image] = []
        """Images that are offered as labels, below the layers."""
        self._checked: list[Labels] = []
        self._is_picked = propose is None
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setSpacing(_SPACING)
        # napari's own boxes are hardly seen on the list's background.
        self.setStyleSheet("QListView::indicator:unchecked { border: 1px solid gray }")
        events = layers.events
        self.connections = Connections(
            *(
                (event, self._refresh)
                for event in (
                    *(() if anew is None else (anew,)),
                    events.inserted,
                    events.removed,
                    events.reordered,
                    events.renamed,
                )
            )
        )
        self.itemChanged.connect(self._on_item_changed)
        # Queued, as the item that was clicked on is removed.
        queued = Qt.ConnectionType.QueuedConnection
        self._image_checked.connect(self._check_as_labels, queued)
        self._refresh()

    @property
    def layers(self) -> tuple[Labels, ...]:
        """Those that are checked, in the viewer's order."""
        return tuple(layer for layer in self._offered if layer in self._checked)

    def check(self, *layers: Labels) -> None:
        """Check these and no others."""
        before = self.layers
        self._is_picked = True
        self._checked = list(layers)
        self._update(before)

    def check_all_of_shape(self) -> None:
        """Check all layers of the shape of the first checked one."""
        if not self.layers:
            return
        shape = layer_shape(self.layers[0])
        self.check(*(layer for layer in self._offered if layer_shape(layer) == shape))

    def _refresh(self, event: object = None) -> None:
        del event
        self._update(self.layers)

    def _update(self, before: tuple[Labels, ...]) -> None:
        self._offered = [
            layer
            for layer in self._layers
            if isinstance(layer, Labels) and kind_of(layer) not in _WITHOUT
        ]
        self._images = images_like_labels(self._layers)
        self._checked = [layer for layer in self._checked if layer in self._offered]
        if self._propose is not None and not (self._is_picked and self._checked):
            self._is_picked = False
            proposed = self._propose(self._offered)
            self._checked = [] if proposed is None else [proposed]
        with signals_blocked(self):
            self.clear()
            for layer in self._offered:
                self._add_row(layer.name, is_checked=layer in self._checked)
            for image in self._images:
                self._add_row(title_as_labels(image), is_checked=False)
        self._allow_fitting()
        rows = min(max(self.count(), 2), _MOST_ROWS)
        height = max(self.sizeHintForRow(0), _ROW) + 2 * _SPACING
        self.setFixedHeight(rows * height + 2 * (self.frameWidth() + _SPACING))
        if self.layers != before:
            self.changed.emit()

    def _add_row(self, text: str, *, is_checked: bool) -> None:
        item = QListWidgetItem(text)
        item.setCheckState(
            Qt.CheckState.Checked if is_checked else Qt.CheckState.Unchecked
        )
        self.addItem(item)

    def _on_item_changed(self, item: QListWidgetItem) -> None:
        place = self.row(item) - len(self._offered)
        if place >= 0:
            self._image_checked.emit(self._images[place])
            return
        self._is_picked = True
        layer = self._offered[self.row(item)]
        others = [other for other in self._checked if other is not layer]
        is_checked = item.checkState() == Qt.CheckState.Checked
        self._checked = [*others, layer] if is_checked else others
        self._allow_fitting()
        self.changed.emit()

    def _check_as_labels(self, image: Image) -> None:
        if image in self._images:
            self.check(*self.layers, use_as_labels(self._layers, image))

    def _allow_fitting(self) -> None:
        """Let those be checked that have the shape of the checked ones."""
        is_limited = self._one_shape and bool(self._checked)
        shape = layer_shape(self._checked[0]) if is_limited else None
        with signals_blocked(self):
            for row, layer in enumerate((*self._offered, *self._images)):
                item = self.item(row)
                assert item is not None
                fits = shape in (None, layer_shape(layer))
                item.setFlags(_USUAL if fits else Qt.ItemFlag.NoItemFlags)
                other = f"{layer.name} has another shape than those checked"
                item.setToolTip(layer.name if fits else other)
        viewport = self.viewport()
        assert viewport is not None
        viewport.update()
