"""Choices of layers that follow the viewer."""

from collections.abc import Callable, Container, Sequence
from typing import Generic, TypeVar

from napari.components import LayerList
from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_lrcs.plugin.parts.connections import Emitter
from napari_lrcs.plugin.parts.layer_kinds import Kind, kind_of
from napari_lrcs.plugin.parts.widgets import colour

LayerKind = TypeVar("LayerKind", bound=Layer)


class LayerChoice(QComboBox, Generic[LayerKind]):
    """A choice among a viewer's layers of one kind, by name; follows the viewer.

    Parameters
    ----------
    kind : type
        Image or Labels.
    none : str
        Entry that chooses no layer; empty to leave it out.
    without : container of str
        Kinds of layers that cannot be chosen.
    propose : callable, optional
        Chooses among the layers that are offered until the user does, anew with each
        change in the viewer; may return None. The newest layer is taken without it,
        and stays. A layer that the user has chosen instead is shown in colour.
    anew : Emitter, optional
        Signal after which a layer is proposed anew.
    """

    chosen = Signal()
    """Emitted when another layer is chosen, but not when the layer is renamed."""

    def __init__(
        self,
        layers: LayerList,
        kind: type[LayerKind],
        *,
        none: str = "",
        without: Container[Kind] = (),
        propose: Callable[[Sequence[LayerKind]], LayerKind | None] | None = None,
        anew: Emitter | None = None,
    ) -> None:
        super().__init__()
        self._layers, self._kind, self._none = layers, kind, none
        self._without, self._propose = without, propose
        self._layer: LayerKind | None = None
        self._is_picked = False
        self._offered: list[LayerKind | None] = []
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(12)
        self._events: tuple[Emitter, ...] = (
            *(() if anew is None else (anew,)),
            layers.events.inserted,
            layers.events.removed,
            layers.events.reordered,
            layers.events.renamed,
        )
        for event in self._events:
            event.connect(self._refresh)
        # Blocked while proposing: what comes through was chosen.
        self.currentIndexChanged.connect(self._pick)
        self.activated.connect(self._pick)
        self._refresh()

    @property
    def layer(self) -> LayerKind | None:
        """The chosen layer, if it is still in the viewer."""
        return self._layer

    @layer.setter
    def layer(self, layer: LayerKind | None) -> None:
        if layer not in self._offered:
            raise ValueError(f"{layer} cannot be chosen: it is not in the viewer")
        self._is_picked = True
        self.setCurrentIndex(self._offered.index(layer))

    @property
    def is_picked(self) -> bool:
        """Whether the layer was chosen, rather than proposed."""
        return self._is_picked

    def propose_again(self, *, anew: bool = False) -> None:
        """Propose a layer again, unless one was chosen; `anew` forgets that choice."""
        self._is_picked &= not anew
        self._refresh()

    def offers(self, layer: Layer) -> bool:
        """Whether a layer can be chosen."""
        return layer in self._offered

    def disconnect_events(self) -> None:
        """Stop listening to the viewer, before Qt deletes the widget."""
        for event in self._events:
            event.disconnect(self._refresh)

    def _refresh(self, event: object = None) -> None:
        del event
        fitting = [
            layer
            for layer in self._layers
            if isinstance(layer, self._kind) and kind_of(layer) not in self._without
        ]
        self._offered = [*([None] if self._none else []), *fitting]
        self._is_picked &= self._layer in self._offered
        shown = self._layer if self._is_picked else self._proposed(fitting)
        with signals_blocked(self):
            self.clear()
            self.setPlaceholderText("choose a layer" if fitting else "")
            self.addItems(
                [self._none if layer is None else layer.name for layer in self._offered]
            )
            is_offered = shown in self._offered
            self.setCurrentIndex(self._offered.index(shown) if is_offered else -1)
        self._update_layer()
        self._show_whether_elsewhere()

    def _proposed(self, fitting: Sequence[LayerKind]) -> LayerKind | None:
        if self._propose is not None:
            return self._propose(fitting)
        if self._layer in self._offered or self._none or not fitting:
            return self._layer if self._layer in self._offered else None
        return fitting[-1]

    def _pick(self, index: int) -> None:
        del index
        self._is_picked = True
        self._update_layer()
        self._show_whether_elsewhere()

    def _show_whether_elsewhere(self) -> None:
        """Show in colour that the user has chosen another layer than is proposed."""
        is_elsewhere = False
        if self._propose is not None and self._is_picked:
            proposed = self._propose([x for x in self._offered if x is not None])
            is_elsewhere = proposed not in (None, self._layer)
        colour(self, "warning" if is_elsewhere else "hint")

    def _update_layer(self) -> None:
        place = self.currentIndex()
        layer = None if place < 0 else self._offered[place]
        if layer is not self._layer:
            self._layer = layer
            self.chosen.emit()
