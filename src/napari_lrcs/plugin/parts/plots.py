"""Plots in docks: in the colours of napari's theme, drawn no oftener than need be."""

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtGui import QResizeEvent, QShowEvent
from qtpy.QtWidgets import QSizePolicy
from superqt.utils import qthrottled

_PAUSE_MS = 500
"""Between two drawings: each holds the GUI thread for some tens of milliseconds."""

_MARGIN = {"left": 46, "right": 10, "bottom": 36, "top": 20}
"""Around the axes, in pixels; on the left at least."""

_LABEL = 22
"""Pixels that the name of the y axis takes."""


class Plot(FigureCanvasQTAgg):
    """Axes in a dock.

    Parameters
    ----------
    viewer : Viewer
        Its theme gives the colours.
    n_axes : int
        One above the other.
    height : int
        Of the whole, in pixels.
    """

    def __init__(self, viewer: Viewer, *, n_axes: int = 1, height: int = 240) -> None:
        figure = Figure(figsize=(3.2, height / 100), dpi=100)
        super().__init__(figure)
        self.axes: list[Axes] = list(figure.subplots(n_axes, 1, squeeze=False)[:, 0])
        self._viewer = viewer
        self._left = _MARGIN["left"]
        self._animated: list[Artist] = []
        self._background: Any = None
        self.mpl_connect("draw_event", self._save_background)
        self._draw_later = qthrottled(
            self._draw_now, timeout=_PAUSE_MS, leading=False, parent=self
        )
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("background: transparent")
        viewer.events.theme.connect(self.restyle)
        self.restyle()

    def draw_soon(self) -> None:
        """Draw within half a second, once for all that is asked meanwhile."""
        self._background = None
        self.blit_soon()

    def blit_soon(self) -> None:
        """Draw, within half a second too, what moves: nothing else has changed."""
        self._draw_later()

    def animate(self, artists: Sequence[Artist]) -> None:
        """Draw these apart from all else, so that moving them costs little."""
        self._animated = list(artists)
        for artist in self._animated:
            artist.set_animated(True)
        self.draw_soon()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802 Qt's
        """Keep the margins as wide as the labels are."""
        self._fit()
        super().resizeEvent(event)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 Qt's
        """Catch up with what was asked for while the plot was hidden."""
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
        widest = max(map(_label_width, self.figure.axes), default=0.0)
        self._left = max(
            _MARGIN["left"], round(widest / self.device_pixel_ratio) + _LABEL
        )
        self._fit()
        self.draw_soon()

    def disconnect_events(self) -> None:
        """Stop listening to the viewer, before Qt deletes the widget."""
        self._viewer.events.theme.disconnect(self.restyle)

    def _fit(self) -> None:
        width, height = max(self.width(), 100), max(self.height(), 100)
        self.figure.subplots_adjust(
            left=min(self._left / width, 0.6),
            right=1 - _MARGIN["right"] / width,
            bottom=_MARGIN["bottom"] / height,
            top=1 - _MARGIN["top"] / height,
        )

    def _draw_now(self) -> None:
        if not self.isVisible():
            return
        if self._background is None:
            self.draw()
            return
        self.restore_region(self._background)
        self._draw_animated()
        self.update()

    def _save_background(self, event: object) -> None:
        """Keep the picture of what does not move, each time it is drawn."""
        del event
        self._background = self.copy_from_bbox(self.figure.bbox)
        self._draw_animated()

    def _draw_animated(self) -> None:
        for artist in self._animated:
            self.figure.draw_artist(artist)


def _restyle(ax: Axes, *, ink: str, paper: str) -> None:
    ax.set_facecolor(paper)
    ax.tick_params(colors=ink, which="both", labelsize=8)
    for spine in ax.spines.values():
        spine.set_edgecolor(ink)
    for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
        text.set_color(ink)
        text.set_fontsize(8)
    legend = ax.get_legend()
    if legend is not None:
        legend.get_frame().set(facecolor=paper, edgecolor=ink, alpha=0.7)
        for text in legend.get_texts():
            text.set(color=ink, fontsize=8)


def _label_width(ax: Axes) -> float:
    """Measure the longest tick label of the y axis, in pixels."""
    labels = ax.get_yticklabels()
    return max((label.get_window_extent().width for label in labels), default=0.0)
