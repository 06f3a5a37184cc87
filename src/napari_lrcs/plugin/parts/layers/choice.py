"""Boxes to choose among names, such as those of the layers of a viewer."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Generic, TypeVar

from napari.components import LayerList
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QEvent, QRect, Qt, Signal
from qtpy.QtGui import QHelpEvent, QPaintEvent, QStandardItemModel, QWheelEvent
from qtpy.QtWidgets import (
    QComboBox,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolTip,
)
from superqt.utils import signals_blocked

from napari_lrcs.plugin.parts.connections import Emitter
from napari_lrcs.plugin.parts.layers.kinds import (
    NEVER_CHOSEN,
    Kind,
    kind_of,
    looks_like_labels,
)
from napari_lrcs.plugin.parts.layers.layers import use_as_labels
from napari_lrcs.plugin.parts.widgets import colour

_TEXT_MARGIN, _SCROLL_BAR = 2, 14
"""Room beside the text in a box, and for the scroll bar of its list, in pixels."""

LayerKind = TypeVar("LayerKind", bound=Layer)


class NameBox(QComboBox):
    """A box to choose among names; a long one loses its middle, not its end.

    The list that opens is as wide as the names, and the tooltip has the whole name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(12)

    @property
    def full_tip(self) -> str:
        """The name that is chosen, and the tooltip."""
        return "\n".join(filter(None, (self.currentText(), self.toolTip())))

    @property
    def shown_text(self) -> str:
        """What is seen of the name."""
        option = self._option()
        text = option.currentText or self.placeholderText()
        room = self._part(option, QStyle.SubControl.SC_ComboBoxEditField).width()
        middle = Qt.TextElideMode.ElideMiddle
        return str(self.fontMetrics().elidedText(text, middle, room - _TEXT_MARGIN))

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 Qt's name
        """Paint the box as Qt does, with the shortened name."""
        del event
        label, frame = self._option(), QStyleOptionComboBox()
        label.currentText = self.shown_text
        self.initStyleOption(frame)
        with QStylePainter(self) as painter:
            painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, frame)
            painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, label)

    def _option(self) -> QStyleOptionComboBox:
        """Describe the box to the style, with room for text up to the arrow."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        arrow = self._part(option, QStyle.SubControl.SC_ComboBoxArrow)
        text = self._part(option, QStyle.SubControl.SC_ComboBoxEditField)
        option.rect.setWidth(option.rect.width() + arrow.left() - text.right())
        return option

    def _part(self, option: QStyleOptionComboBox, part: QStyle.SubControl) -> QRect:
        style = self.style()
        assert style is not None
        box = QStyle.ComplexControl.CC_ComboBox
        return style.subControlRect(box, option, part, self)

    def event(self, event: QEvent | None) -> bool:
        """Show the whole name as the tooltip."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self.full_tip, self)
            return True
        return bool(super().event(event))

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802 Qt's name
        """Change nothing: the mouse may just pass by."""
        assert event is not None
        event.ignore()

    def showPopup(self) -> None:  # noqa: N802 Qt's name
        """Open the list, as wide as its names."""
        names = self.view()
        assert names is not None
        names.setMinimumWidth(names.sizeHintForColumn(0) + _SCROLL_BAR)
        super().showPopup()


class LayerChoice(NameBox, Generic[LayerKind]):
    """A choice among a viewer's layers of one kind, by name; follows the viewer.

    A choice of labels offers images that look like labels, too: choosing one makes it
    a labels layer. A choice of an image says so if the chosen one looks like labels.

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
        self._is_proposing = True
        self._oddity = ""
        self._offered: list[LayerKind | None] = []
        self._images: list[Image] = []
        """Images that are offered as labels, below the layers."""
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

    def set_proposing(self, *, is_proposing: bool) -> None:
        """Set whether another layer is proposed while none is chosen, as at first."""
        self._is_proposing = is_proposing
        self._refresh()

    def offers(self, layer: Layer) -> bool:
        """Whether a layer can be chosen."""
        return layer in self._offered

    @property
    def images(self) -> tuple[Image, ...]:
        """Images that are offered as labels."""
        return tuple(self._images)

    def disconnect_events(self) -> None:
        """Stop listening to the viewer, before Qt deletes the widget."""
        for event in self._events:
            event.disconnect(self._refresh)

    def showPopup(self) -> None:  # noqa: N802 Qt's name
        """Open the list; only there an image can be made labels."""
        self._enable_images(is_open=True)
        super().showPopup()

    def hidePopup(self) -> None:  # noqa: N802 Qt's name
        """Close the list."""
        super().hidePopup()
        self._enable_images(is_open=False)

    def _refresh(self, event: object = None) -> None:
        del event
        allowed = [x for x in self._layers if self._is_allowed(kind_of(x))]
        fitting = [layer for layer in allowed if isinstance(layer, self._kind)]
        if self._kind is Labels:
            self._images = images_like_labels(allowed)
        self._offered = [*([None] if self._none else []), *fitting]
        self._is_picked &= self._layer in self._offered
        shown = self._layer if self._is_picked else self._proposed(fitting)
        with signals_blocked(self):
            self.clear()
            has_any = bool(fitting or self._images)
            self.setPlaceholderText("choose…" if has_any else "none yet")
            self.addItems([self._title(layer) for layer in self._offered])
            self.addItems([title_as_labels(image) for image in self._images])
            is_offered = shown in self._offered
            self.setCurrentIndex(self._offered.index(shown) if is_offered else -1)
        self._enable_images(is_open=False)
        self._update_layer()
        self._warn()

    def _is_allowed(self, kind: Kind | None) -> bool:
        return kind not in self._without and kind not in NEVER_CHOSEN

    def _title(self, layer: LayerKind | None) -> str:
        if layer is None:
            return self._none
        is_doubtful = self._kind is Image and looks_like_labels(layer)
        return f"{layer.name} (looks like labels)" if is_doubtful else layer.name

    def _enable_images(self, *, is_open: bool) -> None:
        """Let neither wheel nor keys make an image labels while the list is closed."""
        model = self.model()
        assert isinstance(model, QStandardItemModel)
        for row in range(len(self._offered), model.rowCount()):
            item = model.item(row)
            assert item is not None
            item.setEnabled(is_open)

    def _proposed(self, fitting: Sequence[LayerKind]) -> LayerKind | None:
        if self._propose is not None:
            return self._propose(fitting)
        if self._layer in self._offered:
            return self._layer
        is_proposing = self._is_proposing and not self._none
        return fitting[-1] if is_proposing and fitting else None

    def _pick(self, index: int) -> None:
        place = index - len(self._offered)
        if place >= 0:
            self._use_as_labels(self._images[place])
            return
        self._is_picked = True
        self._update_layer()
        self._warn()

    def _use_as_labels(self, image: Image) -> None:
        labels = use_as_labels(self._layers, image)
        was_proposed = labels == self._layer
        self.setCurrentIndex(self._offered.index(labels))
        self._is_picked = True
        if was_proposed:
            self.chosen.emit()  # nothing else is chosen, but now by the user

    @property
    def full_tip(self) -> str:
        """The name that is chosen, why it is in colour, and the tooltip."""
        name, *tip = super().full_tip.split("\n")
        return "\n".join(filter(None, (name, self._oddity, *tip)))

    def _warn(self) -> None:
        """Show in colour that another layer is chosen than is proposed, or labels."""
        self._oddity = ""
        if self._propose is not None and self._is_picked:
            proposed = self._propose([x for x in self._offered if x is not None])
            if proposed not in (None, self._layer):
                self._oddity = f"In colour: chosen only here, in place of {proposed}"
        if self._kind is Image and looks_like_labels(self._layer):
            self._oddity = "In colour: it looks like labels, not like a grey image"
        colour(self, "warning" if self._oddity else "hint")

    def _update_layer(self) -> None:
        place = self.currentIndex()
        layer = None if place < 0 else self._offered[place]
        if layer is not self._layer:
            self._layer = layer
            self.chosen.emit()


def images_like_labels(layers: Iterable[Layer]) -> list[Image]:
    """List the images among layers that look like labels."""
    images = (layer for layer in layers if isinstance(layer, Image))
    return [image for image in images if looks_like_labels(image)]


def title_as_labels(image: Image) -> str:
    """Name an image where labels are chosen."""
    return f"{image.name} (an image: use as labels)"
