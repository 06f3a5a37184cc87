"""Forms made from configs, and choices of layers that follow the viewer."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, get_args

from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit, create_widget
from magicgui.widgets.bases import ValueWidget
from napari.components import LayerList
from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QPushButton,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_lrcs.plugin.parts.connections import Emitter
from napari_lrcs.plugin.parts.layer_kinds import Kind, kind_of
from napari_lrcs.plugin.parts.widgets import colour, vbox
from napari_lrcs.settings import Config, Setting

AnyConfig = TypeVar("AnyConfig", bound=Config)
LayerKind = TypeVar("LayerKind", bound=Layer)
Choices = Sequence[str] | Sequence[tuple[str, str]]


_LARGEST = 2**31 - 1
"""Largest value that Qt's spin boxes can hold."""


KERNELS = (
    ("Automatic", "auto"),
    ("Cross: nearest voxels", "cross"),
    ("3 × 3 (× 3)", "cube_3"),
    ("5 × 5 (× 5)", "cube_5"),
    ("7 × 7 (× 7)", "cube_7"),
    ("Ball of radius √2", "ball_2"),
    ("Ball of radius √3", "ball_3"),
    ("Ball of radius √5", "ball_5"),
)
"""Titles of the kernels in `napari_lrcs.config.Kernel`."""


class ConfigForm(QWidget, Generic[AnyConfig]):
    """A form of the settings of a config: some in sight, the others folded.

    Parameters
    ----------
    config : Config
        What the form shows at first.
    main : sequence of str
        Names of the settings in sight, in this order.
    left_out : sequence of str
        Names of settings that the form does not show; they keep their values.
    choices : mapping of str to sequence of str, or of pairs of str
        Known values of settings that are text; of a pair, the first is shown.
    """

    changed = Signal()

    def __init__(
        self,
        config: AnyConfig,
        *,
        main: Sequence[str] = (),
        left_out: Sequence[str] = (),
        choices: Mapping[str, Choices] | None = None,
    ) -> None:
        super().__init__()
        self._config = config
        self._settings = {
            s.name: s for s in config.settings() if s.name not in left_out
        }
        values = config.to_dict()
        self._widgets: dict[str, ValueWidget[Any]] = {
            name: _widget_of(s, values[name], (choices or {}).get(name))
            for name, s in self._settings.items()
        }
        layout = vbox(self)
        if main:
            layout.addWidget(self._rows([self._settings[name] for name in main]))
        groups: dict[str, list[Setting]] = {}
        for name, s in self._settings.items():
            if name not in main:
                groups.setdefault(s.group, []).append(s)
        for group, members in groups.items():
            layout.addWidget(Fold(group.capitalize(), self._rows(members)))
        for widget in self._widgets.values():
            widget.changed.connect(self.changed.emit)

    def _rows(self, members: Sequence[Setting]) -> QWidget:
        part = QWidget()
        widgets = ((label_of(s), self._widgets[s.name]) for s in members)
        part.setLayout(form_rows(*((n, w.native, w.tooltip or "") for n, w in widgets)))
        return part

    @property
    def config(self) -> AnyConfig:
        """The config that the form shows.

        Raises
        ------
        ValueError
            If a text cannot be read, or values do not go together.
        """
        values = {
            name: _value_of(s, self._widgets[name])
            for name, s in self._settings.items()
        }
        return self._config.with_changes(**values)

    @config.setter
    def config(self, config: AnyConfig) -> None:
        self._config, values = config, config.to_dict()
        with signals_blocked(self):
            for name, widget in self._widgets.items():
                widget.value = _shown(values[name], widget)
        self.changed.emit()

    def offer(self, name: str, choices: Sequence[str]) -> None:
        """Change the known values of a text field; what is chosen stays, if known."""
        widget = self._widgets[name]
        assert isinstance(widget, ComboBox)
        chosen = widget.value
        with signals_blocked(self):
            widget.choices = choices
            if chosen in choices:
                widget.value = chosen

    def __getitem__(self, name: str) -> ValueWidget[Any]:
        return self._widgets[name]


def label_of(setting: Setting) -> str:
    """Name a setting for people: ``n_epochs`` is "Epochs", with the unit if it has one.

    Examples
    --------
    >>> from napari_lrcs.config import OptimisationConfig
    >>> settings = {s.name: s for s in OptimisationConfig.settings()}
    >>> label_of(settings["n_epochs"]), label_of(settings["patch_size"])
    ('Epochs', 'Patch size (px)')
    """
    name, unit = setting.title, setting.unit
    return f"{name} ({unit})" if unit and unit != name.lower() else name


def _widget_of(
    setting: Setting, value: Any, choices: Choices | None
) -> ValueWidget[Any]:
    low, high = setting.low, setting.high
    widget: ValueWidget[Any]
    if choices is not None:
        widget = ComboBox(choices=choices, value=value)
    elif setting.type is float and not _is_logarithmic(setting):
        assert low is not None
        assert high is not None
        widget = FloatSpinBox(value=value, min=low, max=high, step=0.05)
    elif setting.type is float or isinstance(value, tuple):
        widget = LineEdit()
        widget.value = _shown(value, widget)
    else:
        bounds = {"min": low, "max": _LARGEST if high is None else min(high, _LARGEST)}
        options = bounds if setting.type is int else {}
        widget = cast(
            ValueWidget[Any],
            create_widget(value=value, annotation=setting.type, options=options),
        )
    widget.name = setting.name
    widget.tooltip = _with_range(setting.tooltip, low, high)
    return widget


def _is_logarithmic(setting: Setting) -> bool:
    """Tell whether a number spans orders of magnitude, which no step fits."""
    return 0 < (setting.low or 0) < 1e-2


def _with_range(tooltip: str, low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return tooltip
    if high is None:
        return f"{tooltip}. From {low:g}."
    return f"{tooltip}. {low:g} to {high:g}."


def _shown(value: Any, widget: ValueWidget[Any]) -> Any:
    if not isinstance(widget, LineEdit):
        return value
    if isinstance(value, tuple):
        return ", ".join(f"{item:g}" for item in value)
    return f"{value:g}" if isinstance(value, float) else value


def _value_of(setting: Setting, widget: ValueWidget[Any]) -> object:
    if setting.type in (int, bool, str) or not isinstance(widget, LineEdit):
        return widget.value
    text = widget.value
    try:
        if setting.type is float:
            return float(text)
        item = get_args(setting.type)[0]
        return tuple(item(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            f"{setting.title} must be a number"
            f"{'' if setting.type is float else ', or several with commas'}; "
            f"got {text!r}"
        ) from None


def form_rows(*fields: tuple[str, QWidget, str]) -> QFormLayout:
    """Lay fields out below each other, with their names on the left, without a margin.

    Parameters
    ----------
    *fields : tuple of str, QWidget and str
        Name, field, and the tooltip of both.
    """
    rows = QFormLayout()
    rows.setContentsMargins(0, 0, 0, 0)
    rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for name, field, tooltip in fields:
        label = QLabel(name)
        for part in (label, field):
            part.setToolTip(tooltip)
        rows.addRow(label, field)
    return rows


def hide_rows(rows: QFormLayout, *fields: QWidget) -> None:
    """Hide fields of a form, and their names."""
    for field in fields:
        rows.setRowVisible(field, False)  # noqa: FBT003 Qt's


class Fold(QWidget):
    """A part of a form that is folded away until its title is clicked."""

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        self._title = title
        self._content = content
        self._button = QPushButton()
        self._button.setCheckable(True)
        self._button.setFlat(True)
        self._button.setStyleSheet("text-align: left; padding: 2px 4px")
        self._button.toggled.connect(self.unfold)
        vbox(self, self._button, content)
        self.unfold(shown=False)

    def unfold(self, shown: bool = True) -> None:  # noqa: FBT001, FBT002 a Qt slot
        """Show the content, or fold it away."""
        self._button.setText(f"{'▾' if shown else '▸'} {self._title}")
        self._button.setChecked(shown)
        self._content.setVisible(shown)


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
