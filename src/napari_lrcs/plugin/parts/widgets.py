"""Small widgets that docks share, and how they are laid out."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Literal

from napari import current_viewer
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qthrottled

from napari_lrcs.progress import Notice, NoticeKind

_ROW = 26
_HEADER = 24
_TABLE_FRAME = 4
_SCROLL_BAR = 14

_PAGE_FRAME = 6
"""Width of the frame around a page, in pixels."""

_PROGRESS_MS = 250
"""Time between two moves of a bar: each makes Qt repaint napari's canvas, too."""

_BELIEVABLE = 2.0
"""Seconds of work after which it can be told how much time is left."""

Kind = Literal["hint", "done", "warning", "error"]
"""Kind of a message; it gives the colour."""

COLOURS: Mapping[Kind, str] = {
    "hint": "",  # as napari's theme has it
    "done": "#2e9e5b",
    "warning": "#c87f0a",
    "error": "#e0443e",
}
"""Colours of messages, legible on napari's dark background."""

_ON_LIGHT: Mapping[Kind, str] = {
    "hint": "",
    "done": "#1b6b3a",
    "warning": "#874f00",
    "error": "#b3261e",
}

_KIND = "message_kind"
"""Property of a widget for the kind of message whose colour its text has."""

WARNING = "theme-warning"
"""Stands for the colour of warnings in HTML that a `RichText` shows."""


# ---- words and buttons ----


def colour(label: QWidget, kind: Kind) -> None:
    """Give a widget's text the colour of its kind of message, in whatever theme."""
    label.setProperty(_KIND, kind)
    _colour_text(label, kind, theme=_current_theme())


def recolour(parent: QWidget, *, theme: str) -> None:
    """Colour the messages in a widget for another theme of napari."""
    for widget in parent.findChildren(QWidget):
        if isinstance(widget, RichText):
            widget.recolour(theme)
        elif widget.property(_KIND) is not None:
            _colour_text(widget, widget.property(_KIND), theme=theme)


def _colour_text(label: QWidget, kind: Kind, *, theme: str | None) -> None:
    found = _colour_of(kind, theme)
    sheet = f"color: {found}" if found else ""
    if sheet != label.styleSheet():
        label.setStyleSheet(sheet)


def _colour_of(kind: Kind, theme: str | None) -> str:
    paper = None if theme is None else get_theme(theme).background.as_hex()
    is_light = paper is not None and QColor(paper).lightness() > 127
    return (_ON_LIGHT if is_light else COLOURS)[kind]


def _current_theme() -> str | None:
    viewer = current_viewer()
    return None if viewer is None else str(viewer.theme)


def clock(seconds: float) -> str:
    """Write a duration as people read it.

    Examples
    --------
    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def button(text: str, tooltip: str, on_click: Callable[[], None]) -> QPushButton:
    """Make a push button."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.clicked.connect(lambda _checked=False: on_click())
    return made


def choice(*texts: str) -> QComboBox:
    """Make a box to choose among texts."""
    box = QComboBox()
    box.addItems(texts)
    return box


def swatch(*colours: str) -> QIcon:
    """Make an icon of one colour, or of several beside each other, for a table."""
    square = QPixmap(12, 12)
    with QPainter(square) as painter:
        for place, colour in enumerate(colours):
            painter.fillRect(place * 12 // len(colours), 0, 12, 12, QColor(colour))
    return QIcon(square)


def number_cell(text: str) -> QTableWidgetItem:
    """Make a cell of a table that holds a number."""
    item = QTableWidgetItem(text)
    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item


def percent(share: str | float | None) -> str:
    """Write a share in percent, without the sign; a dash where it is undefined."""
    if not isinstance(share, float) or math.isnan(share):
        return "–"
    return f"{100 * share:.1f}"


# ---- layouts ----


def hbox(*parts: QWidget, stretch: Sequence[int] = ()) -> QHBoxLayout:
    """Lay widgets out beside each other, without a margin.

    Parameters
    ----------
    *parts : QWidget
        Widgets, from the left to the right.
    stretch : sequence of int
        How wide they become, in parts of the whole; by default as they need.
    """
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
    for place, share in enumerate(stretch):
        layout.setStretch(place, share)
    return layout


def vbox(parent: QWidget, *parts: QWidget, top: int = 0) -> QVBoxLayout:
    """Lay widgets out below each other in a parent, with no margin but the one on top.

    Parameters
    ----------
    parent : QWidget
        Widget that the layout is for.
    *parts : QWidget
        Widgets, from the top to the bottom; more can be added to the layout.
    top : int
        Margin on top, in pixels.
    """
    layout = QVBoxLayout(parent)
    layout.setContentsMargins(0, top, 0, 0)
    for part in parts:
        layout.addWidget(part)
    return layout


def path_row(field: QWidget, tooltip: str, on_click: Callable[[], None]) -> QWidget:
    """Put a button that opens a dialog beside the field of a path."""
    part = QWidget()
    part.setLayout(hbox(field, button("…", tooltip, on_click)))
    return part


# ---- sizes, and how far a job is ----


def fit_height(table: QTableWidget, *, most_rows: int) -> None:
    """Make a table as high as its rows; beyond `most_rows` it scrolls."""
    rows, columns = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None
    assert columns is not None
    rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    rows.setMinimumSectionSize(_ROW)
    rows.setDefaultSectionSize(_ROW)
    columns.setFixedHeight(_HEADER)
    viewport = table.viewport()
    assert viewport is not None
    is_wide = columns.length() > viewport.width()
    bar = _SCROLL_BAR if is_wide else 0
    n = min(table.rowCount(), most_rows)
    table.setFixedHeight(_HEADER + n * _ROW + _TABLE_FRAME + bar)


class Tabs(QTabWidget):
    """Tabs in a dock whose body scrolls no further than the page in sight is long."""

    def __init__(self) -> None:
        super().__init__()
        self.currentChanged.connect(self._fit)

    def heightForWidth(self, width: int) -> int:  # noqa: N802 Qt's name
        """Ask the page in sight alone; Qt's own asks all of them."""
        page, bar = self.currentWidget(), self.tabBar()
        if page is None or bar is None:
            return int(super().heightForWidth(width))
        height = page.heightForWidth(width - _PAGE_FRAME)
        if height < 0:
            height = page.sizeHint().height()
        return int(height + bar.sizeHint().height() + _PAGE_FRAME)

    def _fit(self, shown: int) -> None:
        for i in range(self.count()):
            page = self.widget(i)
            assert page is not None
            size = QSizePolicy.Policy.Preferred
            page.setSizePolicy(size, size if i == shown else QSizePolicy.Policy.Ignored)
        self.updateGeometry()


class Progress(QWidget):
    """A bar with a line of text and the time that is left.

    Parameters
    ----------
    tells_time : bool
        Whether to show how much time is left.
    """

    drawn = Signal(float)
    """Emitted with the share of the work that the bar shows."""

    def __init__(self, *, tells_time: bool = True) -> None:
        super().__init__()
        self._tells_time = tells_time
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(8)
        self._text = QLabel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._text)
        layout.addWidget(self._bar)
        self._begun = (0.0, 0.0)
        self._share, self._line = 0.0, ""
        self._draw_soon = qthrottled(
            self._draw, timeout=_PROGRESS_MS, leading=False, parent=self
        )
        self.setVisible(False)

    def begin(self, text: str, *, share: float = 0.0) -> None:
        """Show the bar; an earlier session may have done a share of the work."""
        self._begun = (time.monotonic(), share)
        self._share, self._line = share, text
        self._draw()
        self.setVisible(True)

    def show_share(
        self, share: float, text: str, *, seconds: float | None = None
    ) -> None:
        """Move the bar soon.

        Parameters
        ----------
        share : float
            Share of the work that is done, 0 to 1.
        text : str
            Line of text, to which the time that is left is added.
        seconds : float, optional
            Time that was worked since `begin`; by default all of it.
        """
        if seconds is None:
            seconds = time.monotonic() - self._begun[0]
        self._share, self._line = share, f"{text}{self._time_left(share, seconds)}"
        self._draw_soon()

    def end(self) -> None:
        """Hide the bar."""
        self._draw_soon.cancel()
        self.setVisible(False)

    @property
    def text(self) -> str:
        """The line of text."""
        return self._line

    def _draw(self) -> None:
        self._text.setText(self._line)
        self._bar.setValue(round(1000 * self._share))
        self.drawn.emit(self._share)

    def _time_left(self, share: float, seconds: float) -> str:
        done = share - self._begun[1]
        if not self._tells_time or done <= 0 or seconds < _BELIEVABLE:
            return ""
        return f" · {clock(seconds * (1 - share) / done)} left"


# ---- messages ----


_IS_WARNING: frozenset[NoticeKind] = frozenset(
    {"pitfall", "not_learnt", "foreign", "out_of_memory"}
)


class RichText(QLabel):
    """HTML to read and to copy; its colour `WARNING` follows napari's theme."""

    def __init__(self) -> None:
        super().__init__()
        self._html = ""
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def show_html(self, html: str) -> None:
        """Show some HTML."""
        self._html = html
        self.recolour(_current_theme())

    def recolour(self, theme: str | None) -> None:
        """Give warnings their colour in a theme."""
        self.setText(self._html.replace(WARNING, _colour_of("warning", theme)))


class Notices(RichText):
    """A list of notices; those that need something done are in colour."""

    def __init__(self) -> None:
        super().__init__()
        self._notices: list[Notice] = []
        self.clear()

    def clear(self) -> None:
        """Remove all notices."""
        self._show([])

    def add(self, notice: Notice) -> None:
        """Show a notice above the others, unless it is shown already."""
        if notice.text not in self.texts:
            self._show([*self._notices, notice])

    def remove(self, kind: NoticeKind) -> None:
        """Remove the notices of a kind, which no longer hold."""
        self._show([notice for notice in self._notices if notice.kind != kind])

    @property
    def texts(self) -> tuple[str, ...]:
        """The sentences, the oldest first."""
        return tuple(notice.text for notice in self._notices)

    def _show(self, notices: list[Notice]) -> None:
        self._notices = notices
        self.show_html("".join(map(_as_html, reversed(notices))))
        self.setVisible(bool(notices))


def _as_html(notice: Notice) -> str:
    text = escape(notice.text[:1].upper() + notice.text[1:])
    if notice.kind in _IS_WARNING:
        text = f'<b style="color: {WARNING}">{text}</b>'
    return f"<p style='margin: 3px 0'>{text}</p>"
