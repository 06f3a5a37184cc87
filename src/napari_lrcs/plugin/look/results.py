"""What the dock "Look inside the network" shows below the layers: four figures."""

from collections.abc import Callable
from pathlib import Path

from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QTabBar, QWidget

from napari_lrcs.inspection.figures import (
    draw_gradients,
    draw_kernels,
    draw_way_in_rows,
    draw_weights,
    n_rows_of,
    write_gradients_figure,
    write_kernels_figure,
    write_way_figure,
    write_weights_figure,
)
from napari_lrcs.inspection.findings import Distribution, Gradients, Kernels, Way
from napari_lrcs.plugin.look.job import Inside
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.widgets import button, hbox, vbox

_TABS = {
    "Kernels": "Kernels of the first convolution",
    "Weights": "Distribution of the weights of each convolution",
    "Gradients": "Sizes of the gradients of one batch of the painted slice",
    "Way": "Way of the slice through the network, as one figure",
}

_HEIGHT, _MARGINS, _ROW, _PICTURE = 290, 60, 17, 118
"""Heights of a plot, of its margins, of a row of distributions and of a row of
pictures, in pixels."""

_N_COLUMNS = 3
"""Pictures side by side on the way of a slice."""

Write = Callable[[Path], None]


class LookResults(QWidget):
    """Kernels, weights, gradients and the way of a slice, a tab each.

    Parameters
    ----------
    viewer : Viewer
        Its theme gives the colours of the plots.
    """

    compute_requested = Signal(str)
    """Emitted with the name of the tab that is to be filled."""
    save_requested = Signal(str, object)
    """Emitted with the name of a figure, and the function that writes it."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.plots = {name: Plot(viewer, height=_HEIGHT) for name in _TABS}
        self._writers: dict[str, Write] = {}
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        self.tabs.setUsesScrollButtons(False)
        for name, tooltip in _TABS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tooltip)
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.compute_button = button("", "", self._compute)
        self.save_button = button(
            "Save figure…", "Save the figure of this tab", self._save
        )
        layout = vbox(self, self.tabs, self.text, top=4)
        layout.addLayout(hbox(self.compute_button, self.save_button))
        for plot in self.plots.values():
            layout.addWidget(plot)
        self._is_busy = False
        self.tabs.currentChanged.connect(lambda _place: self._update())
        self._update()

    @property
    def tab(self) -> str:
        """Name of the tab in sight."""
        return list(_TABS)[self.tabs.currentIndex()]

    def show_tab(self, name: str) -> None:
        """Show the tab of this name."""
        self.tabs.setCurrentIndex(list(_TABS).index(name))

    def set_busy(self, busy: bool) -> None:  # noqa: FBT001 as Qt's setters
        """Tell whether a job runs, so that nothing else can begin."""
        self._is_busy = busy
        self._update()

    # ---- showing ----

    def show_inside(self, inside: Inside | None) -> None:
        """Show the kernels and weights of another network, or of none."""
        self._writers.clear()
        if inside is not None:
            self._show_kernels(inside.kernels)
            self._show_weights(inside.weights)
        self._update()

    def _show_kernels(self, kernels: Kernels) -> None:
        self._draw(
            "Kernels",
            lambda ax: draw_kernels(ax, kernels),
            lambda path: write_kernels_figure(path, kernels),
        )

    def _show_weights(self, weights: tuple[Distribution, ...]) -> None:
        self._fit("Weights", _ROW * len(weights))
        self._draw(
            "Weights",
            lambda ax: draw_weights(ax, weights),
            lambda path: write_weights_figure(path, weights),
        )

    def show_gradients(self, gradients: Gradients) -> None:
        """Show gradients, and their tab."""
        found = gradients.distributions
        self._fit("Gradients", _ROW * len(found))
        self._draw(
            "Gradients",
            lambda ax: draw_gradients(ax, found),
            lambda path: write_gradients_figure(path, found),
        )

    def show_way(self, way: Way) -> None:
        """Show the way of a slice, and its tab."""
        self._fit("Way", _PICTURE * n_rows_of(way, _N_COLUMNS))
        self._draw(
            "Way",
            lambda ax: draw_way_in_rows(ax, way, n_columns=_N_COLUMNS),
            lambda path: write_way_figure(path, way),
        )

    def _fit(self, name: str, height: int) -> None:
        self.plots[name].setMinimumHeight(max(_HEIGHT, _MARGINS + height))

    def _draw(self, name: str, draw: Callable[..., None], write: Write) -> None:
        plot = self.plots[name]
        (ax,) = plot.axes
        ax.clear()
        draw(ax)
        plot.restyle()
        self._writers[name] = write
        self._update()

    def _update(self) -> None:
        """Show the tab in sight and the buttons that make sense there."""
        name = self.tab
        is_there = name in self._writers
        for other, plot in self.plots.items():
            plot.setVisible(other == name and is_there)
        self.text.setText("" if is_there else _MISSING[name])
        self.text.setVisible(not is_there)
        self.save_button.setEnabled(is_there and not self._is_busy)
        text, tooltip = _COMPUTE.get(name, ("", ""))
        self.compute_button.setText(text)
        self.compute_button.setToolTip(tooltip)
        self.compute_button.setVisible(bool(text))
        self.compute_button.setEnabled(not self._is_busy)

    def _compute(self) -> None:
        self.compute_requested.emit(self.tab)

    def _save(self) -> None:
        name = self.tab
        self.save_requested.emit(name.lower(), self._writers[name])


_MISSING = {
    "Kernels": "Choose a model to see its kernels.",
    "Weights": "Choose a model to see its weights.",
    "Gradients": "Where would training change this network? Go to a painted slice.",
    "Way": "What does the network make of the slice in view, step by step?",
}

_COMPUTE = {
    "Gradients": (
        "Compute gradients",
        "Draw a batch from the painted slice in view, as the training did, and compute "
        "the gradients of its loss",
    ),
    "Way": (
        "Draw the way",
        "Compute all layers for the slice in view, at most its middle 512 × 512 pixels",
    ),
}
