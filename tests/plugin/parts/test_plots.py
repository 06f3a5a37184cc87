import time
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from napari import Viewer
from napari.utils.theme import get_theme
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QTabWidget, QWidget

from napari_lrcs.plugin.parts.plots import Plot

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    made: Viewer = make_napari_viewer(show=True)
    return made


def _background(plot: Plot) -> str:
    return str(to_hex(plot.figure.get_facecolor()))


def _colour_of(name: str, theme: str) -> str:
    return str(to_hex(getattr(get_theme(theme), name).as_hex()))


def test_plot_follows_the_theme(viewer: Viewer) -> None:
    viewer.theme = "dark"
    plot = Plot(viewer)
    viewer.window.add_dock_widget(plot)
    assert _background(plot) == _colour_of("background", "dark")

    viewer.theme = "light"

    assert _background(plot) == _colour_of("background", "light")
    (ax,) = plot.axes
    assert to_hex(ax.xaxis.label.get_color()) == _colour_of("text", "light")
    plot.disconnect_events()


def test_plot_that_follows_no_more_keeps_its_colours(viewer: Viewer) -> None:
    viewer.theme = "dark"
    plot = Plot(viewer)
    viewer.window.add_dock_widget(plot)

    plot.disconnect_events()
    viewer.theme = "light"

    assert _background(plot) == _colour_of("background", "dark")


def test_axes_that_are_drawn_anew_take_the_colours_of_the_theme(
    viewer: Viewer,
) -> None:
    plot = Plot(viewer)
    viewer.window.add_dock_widget(plot)
    (ax,) = plot.axes
    ax.plot([0, 1], [0, 1], label="iou")
    ax.legend()
    ax.set_xlabel("Slice")

    plot.restyle()

    ink = _colour_of("text", viewer.theme)
    legend = ax.get_legend()
    assert legend is not None
    (text,) = legend.get_texts()
    assert to_hex(text.get_color()) == to_hex(ax.xaxis.label.get_color()) == ink
    plot.disconnect_events()


@pytest.mark.parametrize("n_curves", [3, 11])
def test_legends_cover_no_curve(n_curves: int, viewer: Viewer, qtbot: Any) -> None:
    plot = Plot(viewer, n_axes=2, height=330)
    viewer.window.add_dock_widget(plot)
    for ax in plot.axes:
        ax.set_title("IoU in %", loc="left")
        for number in range(n_curves):
            ax.plot([0, 1], [0, 1], label=f"phase {number}")
        ax.legend()

    plot.place_legends_above()
    qtbot.wait(50)
    plot.draw()

    upper, lower = (ax.get_window_extent() for ax in plot.axes)
    legends = filter(None, (ax.get_legend() for ax in plot.axes))
    boxes = [legend.get_window_extent() for legend in legends]
    assert boxes[0].y0 >= upper.y1
    assert boxes[0].y1 <= plot.figure.bbox.y1
    assert upper.y0 >= boxes[1].y1 > boxes[1].y0 >= lower.y1
    plot.disconnect_events()


def test_plot_is_drawn_at_most_twice_a_second(viewer: Viewer, qtbot: Any) -> None:
    plot = Plot(viewer)
    viewer.window.add_dock_widget(plot)
    qtbot.wait(800)  # until the window has settled
    n_drawn = _count_drawings(plot)

    begun = time.monotonic()
    for _ in range(60):
        plot.draw_soon()
        qtbot.wait(20)
    seconds = time.monotonic() - begun

    # 60 × 20 ms are 1.2 s or more: one after 0.5 s, one after 1 s, and so on.
    assert 1 <= len(n_drawn) <= 2 * seconds + 2
    plot.disconnect_events()


def test_window_answers_between_two_axes(viewer: Viewer, qtbot: Any) -> None:
    plot = Plot(viewer, n_axes=2)
    viewer.window.add_dock_widget(plot)
    qtbot.wait(800)
    happened: list[str] = []
    for name, ax in zip(("first", "second"), plot.axes, strict=True):
        ax.add_artist(_Told(partial(happened.append, name)))
    plot.mpl_connect("draw_event", lambda _: happened.append("whole"))
    ticks = QTimer(plot)
    ticks.timeout.connect(lambda: happened.append("answered"))
    ticks.start(0)

    plot.draw_soon()
    qtbot.waitUntil(lambda: "whole" in happened, timeout=5000)
    ticks.stop()

    drawn = happened[happened.index("first") : happened.index("whole") + 1]
    assert [name for name, _ in groupby(drawn) if name != "answered"] == [
        "first",
        "second",
        "whole",
    ]
    assert "answered" in drawn[: drawn.index("second")]
    plot.disconnect_events()


def test_window_answers_between_two_curves(viewer: Viewer, qtbot: Any) -> None:
    """A first drawing of axes, with ticks, title and legend, takes 0.2 seconds."""
    plot = Plot(viewer)
    viewer.window.add_dock_widget(plot)
    qtbot.wait(800)
    happened: list[str] = []
    (ax,) = plot.axes
    for name in ("first", "second"):
        ax.add_artist(_Told(partial(happened.append, name)))
    ticks = QTimer(plot)
    ticks.timeout.connect(lambda: happened.append("answered"))
    ticks.start(0)

    plot.draw_soon()
    qtbot.waitUntil(lambda: "second" in happened, timeout=5000)
    ticks.stop()

    begun = happened.index("first")
    assert "answered" in happened[begun : happened.index("second", begun)]
    plot.disconnect_events()


def test_curve_removed_between_two_parts_is_not_drawn(
    viewer: Viewer, qtbot: Any
) -> None:
    plot = Plot(viewer)
    viewer.window.add_dock_widget(plot)
    qtbot.wait(800)
    drawn: list[str] = []
    (ax,) = plot.axes
    second = _Told(partial(drawn.append, "second"))

    def remove_second() -> None:
        drawn.append("first")
        if second.get_figure() is not None:
            second.remove()

    ax.add_artist(_Told(remove_second))
    ax.add_artist(second)
    plot.mpl_connect("draw_event", lambda _: drawn.append("whole"))

    plot.draw_soon()
    qtbot.waitUntil(lambda: "whole" in drawn, timeout=5000)

    assert drawn == ["first", "whole"]
    plot.disconnect_events()


def test_plot_in_parts_is_the_plot_as_a_whole(viewer: Viewer, qtbot: Any) -> None:
    plot = Plot(viewer, n_axes=2)
    viewer.window.add_dock_widget(plot)
    for ax in plot.axes:
        ax.set_title("IoU", loc="left")
        ax.grid()
        ax.plot([0, 1], [0, 7], label="iou")
        ax.fill_between([0, 1], [1, 2], [2, 3])
        ax.text(0.3, 2, "best")
        ax.legend()
    plot.axes[1].imshow([[0, 1], [2, 3]], aspect="auto")
    (moving,) = plot.axes[0].plot([0, 1], [1, 0])
    plot.animate([moving])
    plot.place_legends_above()
    qtbot.wait(800)
    n_drawn = _count_drawings(plot)

    plot.draw_soon()
    qtbot.waitUntil(lambda: len(n_drawn) > 0, timeout=5000)
    in_parts = np.array(plot.buffer_rgba())
    plot.draw()

    assert np.array_equal(in_parts, np.asarray(plot.buffer_rgba()))
    assert len(np.unique(in_parts)) > 10
    plot.disconnect_events()


def test_plot_that_was_hidden_is_drawn_when_it_is_shown(
    viewer: Viewer, qtbot: Any
) -> None:
    plot, tabs = Plot(viewer), QTabWidget()
    tabs.addTab(plot, "plot")
    tabs.addTab(QWidget(), "other")
    viewer.window.add_dock_widget(tabs)
    qtbot.wait(800)
    tabs.setCurrentIndex(1)
    (ax,) = plot.axes
    ax.axhspan(-1, 2, color="red")
    plot.draw_soon()
    qtbot.wait(700)
    assert not _shows_red(plot)

    tabs.setCurrentIndex(0)

    qtbot.waitUntil(lambda: _shows_red(plot), timeout=2000)
    plot.disconnect_events()


def test_long_tick_labels_are_not_cut_off(viewer: Viewer) -> None:
    plot = Plot(viewer)
    viewer.window.add_dock_widget(plot)
    (ax,) = plot.axes
    ax.set_yticks([0, 1], ["carbon-binder domain", "NMC"])

    plot.restyle()
    plot.draw()

    left = min(label.get_window_extent().x0 for label in ax.get_yticklabels())
    assert left >= 0
    plot.disconnect_events()


class _Told(Artist):
    """Tells when it is drawn."""

    def __init__(self, tell: Callable[[], None]) -> None:
        super().__init__()
        self._tell = tell

    def draw(self, renderer: object) -> None:
        """Draw nothing."""
        del renderer
        self._tell()


def _count_drawings(plot: Plot) -> list[object]:
    drawn: list[object] = []
    plot.mpl_connect("draw_event", drawn.append)
    return drawn


def _shows_red(plot: Plot) -> bool:
    if not hasattr(plot, "renderer"):
        return False
    pixels = np.asarray(plot.buffer_rgba())
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 50) & (pixels[..., 2] < 50)
    return bool(red.sum() > 100)
