"""Plots in the colours of napari's theme, drawn no more often than needed."""

from collections.abc import Callable, Iterator, Sequence
from operator import methodcaller
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import DrawEvent
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import QTimer
from qtpy.QtGui import QResizeEvent, QShowEvent, QWheelEvent
from qtpy.QtWidgets import QSizePolicy
from superqt.utils import qthrottled

_PAUSE_MS = 500
"""Time between two drawings: of each, an axes takes some fifty milliseconds."""

_MARGIN = {"left": 46, "right": 10, "bottom": 42, "top": 20}
"""Margins around the axes, in pixels; the left one is a minimum."""

_LEGEND_ROW = 13
"""Height of a row of a legend above axes, in pixels."""

_LEGEND_LETTERS = 30
"""Letters that a row of such a legend holds, beside the title; a handle takes 4."""

_TICK = 14
"""Width of the ticks of the y axis and a little room, in pixels."""

_LABEL = 30
"""Width of the name of the y axis and of the ticks, in pixels."""


class Plot(FigureCanvasQTAgg):
    """Axes in a dock.

    Parameters
    ----------
    n_axes : int
        Number of axes, which lie one above the other.
    height : int
        Height of the plot, in pixels.
    """

    def __init__(self, viewer: Viewer, *, n_axes: int = 1, height: int = 240) -> None:
        figure = Figure(figsize=(3.2, height / 100), dpi=100)
        super().__init__(figure)
        self.axes: list[Axes] = list(figure.subplots(n_axes, 1, squeeze=False)[:, 0])
        self._viewer = viewer
        self._left = _MARGIN["left"]
        self._height = height
        self._extra_rows = 0
        self._animated: list[Artist] = []
        self._background: Any = None
        self._parts: Iterator[None] = iter(())
        self._next_part = QTimer(self)
        self._next_part.timeout.connect(self._draw_part)
        self.mpl_connect("draw_event", self._save_background)
        self._draw_later = qthrottled(
            self._draw_now, timeout=_PAUSE_MS, leading=False, parent=self
        )
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("background: transparent")
        viewer.events.theme.connect(self.restyle)
        self.restyle()

    def draw_figure(self, draw: Callable[[Figure], None]) -> None:
        """Let a function draw the whole figure anew, with axes of its own."""
        self.figure.clear()
        self._animated = []
        draw(self.figure)
        self.axes = list(self.figure.axes)
        for ax in self.axes:
            ax.xaxis.labelpad = 1
        self.place_legends_above()

    def place_legends_above(self) -> None:
        """Move the legends of all axes above them, where they cover no curve."""
        rows = [_place_legend_above(ax) for ax in self.axes]
        self._extra_rows = max(0, *(n - 1 for n in rows))
        extra = self._extra_rows * _LEGEND_ROW * len(self.axes)
        self.setMinimumHeight(self._height + extra)
        self.restyle()

    def draw_soon(self) -> None:
        """Draw within half a second, once for all that is asked meanwhile."""
        self._background = None
        self.blit_soon()

    def blit_soon(self) -> None:
        """Draw within half a second only the artists that `animate` was given."""
        self._draw_later()

    def animate(self, artists: Sequence[Artist]) -> None:
        """Draw some artists separately, so that moving them is cheap."""
        self._animated = list(artists)
        for artist in self._animated:
            artist.set_animated(True)
        self.draw_soon()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 Qt's
        """Keep the margins as wide as the labels are."""
        self._fit()
        super().resizeEvent(event)

    def wheelEvent(self, event: QWheelEvent | None) -> None:  # noqa: N802 Qt's name
        """Let the dock scroll, as beside the plot."""
        if event is not None:
            event.ignore()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 Qt's
        """Draw what has changed while the plot was hidden."""
        super().showEvent(event)
        self.draw_idle()

    def restyle(self, event: object = None) -> None:
        """Take the colours of the theme; call it too after axes were drawn anew."""
        del event
        theme = get_theme(self._viewer.theme)
        ink, paper = theme.text.as_hex(), theme.background.as_hex()
        self.figure.set_facecolor(paper)
        for ax in self.figure.axes:
            _restyle(ax, ink=ink, paper=paper)
        ratio = self.device_pixel_ratio
        rooms = (
            round(_label_width(ax) / ratio) + (_LABEL if ax.get_ylabel() else _TICK)
            for ax in self.figure.axes
        )
        self._left = max(_MARGIN["left"], *rooms)
        self._fit()
        self.draw_soon()

    def disconnect_events(self) -> None:
        """Stop listening to the viewer, before Qt deletes the widget."""
        self._viewer.events.theme.disconnect(self.restyle)

    def _fit(self) -> None:
        width, height = max(self.width(), 100), max(self.height(), 100)
        top, n = _MARGIN["top"] + self._extra_rows * _LEGEND_ROW, len(self.axes)
        inside = (height - n * top - _MARGIN["bottom"]) / n  # height of an axes
        self.figure.subplots_adjust(
            left=min(self._left / width, 0.6),
            right=1 - _MARGIN["right"] / width,
            bottom=_MARGIN["bottom"] / height,
            top=1 - top / height,
            hspace=top / max(inside, 10),
        )

    def _draw_now(self) -> None:
        if not self.isVisible():
            return
        if self._background is None:
            self._parts = self._draw_in_parts()
            self._next_part.start(0)
            return
        self.restore_region(self._background)
        self._draw_animated()
        self.update()

    def _draw_in_parts(self) -> Iterator[None]:
        """Draw one artist at a time, so that the window answers its user in between."""
        renderer = self.get_renderer()
        renderer.clear()
        for artist in _artists_in(self.figure):
            if artist.get_figure() is not None:  # removed meanwhile
                self.figure.draw_artist(artist)
                yield
        self.callbacks.process("draw_event", DrawEvent("draw_event", self, renderer))
        self.update()

    def _draw_part(self) -> None:
        if next(self._parts, self) is self:
            self._next_part.stop()

    def _save_background(self, event: object) -> None:
        """Keep a picture of everything else, each time it is drawn."""
        del event
        self._next_part.stop()  # what Qt had drawn as a whole needs no parts any more
        self._background = self.copy_from_bbox(self.figure.bbox)
        self._draw_animated()

    def _draw_animated(self) -> None:
        for artist in self._animated:
            self.figure.draw_artist(artist)


def _artists_in(parent: Figure | Axes) -> Iterator[Artist]:
    """List what makes up a figure or axes, in the order in which matplotlib draws."""
    above = (a for a in parent.get_children() if a is not parent.patch)
    for artist in (parent.patch, *sorted(above, key=methodcaller("get_zorder"))):
        if artist.get_animated():
            continue
        if isinstance(artist, Axes) and _is_sum_of_its_artists(artist):
            artist.get_xlim(), artist.get_ylim()  # which fits them to the data
            yield from _artists_in(artist)
        else:
            yield artist


def _is_sum_of_its_artists(ax: Axes) -> bool:
    """Whether drawing axes means to draw all that is in them, and nothing else."""
    return ax.get_visible() and ax.axison and ax.get_frame_on() and not ax.images


def _place_legend_above(ax: Axes) -> int:
    """Move a legend above the right end of its axes; return its number of rows."""
    legend = ax.get_legend()
    labels = [] if legend is None else [text.get_text() for text in legend.get_texts()]
    if legend is None or not labels:
        return 1
    widest = max(map(len, labels)) + 4
    n_columns = max(1, min(len(labels), _LEGEND_LETTERS // widest))
    ax.legend(
        [handle for handle in legend.legend_handles if handle is not None],
        labels,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=n_columns,
        fontsize=7,
        frameon=False,
        handlelength=1.6,
        labelspacing=0.2,
        columnspacing=1,
        borderpad=0.1,
        borderaxespad=0.1,
    )
    return -(-len(labels) // n_columns)


def _restyle(ax: Axes, *, ink: str, paper: str) -> None:
    ax.set_facecolor(paper)
    ax.tick_params(colors=ink, which="both", labelsize=8)
    for spine in ax.spines.values():
        spine.set_edgecolor(ink)
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set_color(ink)
        text.set_fontsize(8)
    left = ax.get_title(loc="left")
    ax.set_title(left, loc="left", color=ink, fontsize=8, pad=3)
    legend = ax.get_legend()
    if legend is not None:
        legend.get_frame().set(facecolor=paper, edgecolor=ink, alpha=0.7)
        for text in legend.get_texts():
            text.set(color=ink, fontsize=8)


def _label_width(ax: Axes) -> float:
    """Measure the longest tick label of the y axis, in pixels."""
    labels = ax.get_yticklabels()
    return max((label.get_window_extent().width for label in labels), default=0.0)
