"""Forms made from configs."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, cast, get_args

from magicgui.widgets import ComboBox, FloatSpinBox, LineEdit, create_widget
from magicgui.widgets.bases import ValueWidget
from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.settings import Config, Setting

AnyConfig = TypeVar("AnyConfig", bound=Config)
Choices = Sequence[str] | Sequence[tuple[str, str]]


_LARGEST = 2**31 - 1
"""Largest value that Qt's spin boxes can hold."""


_LAYOUT_MS = 50
"""Time until what has become visible is laid out."""

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
    if not isinstance(value, float):
        return value
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


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
        several = "" if setting.type is float else ", or several separated by commas"
        raise ValueError(
            f"{setting.title} must be a number{several}; got {text!r}"
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
        if shown:
            scroll_to(self._content)


def scroll_to(widget: QWidget) -> None:
    """Scroll a visible widget into sight, once it is laid out."""

    def scroll() -> None:
        area = widget if isalive(widget) else None
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        if area is not None:
            area.ensureWidgetVisible(widget)

    if widget.isVisible():
        QTimer.singleShot(_LAYOUT_MS, scroll)
