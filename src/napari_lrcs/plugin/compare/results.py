"""What a comparison shows: tables and plots."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from matplotlib.backend_bases import Event, MouseEvent
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QTabBar, QWidget
from superqt.utils import qthrottled

from napari_lrcs.arrays import Confusion
from napari_lrcs.comparison.compare import comparison_rows
from napari_lrcs.comparison.evaluate import named_phases
from napari_lrcs.figures import (
    draw_composition,
    draw_confusion,
    draw_reliability,
    draw_slice_scores,
)
from napari_lrcs.metrics.calibration import Reliability
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.metrics.overlap import not_learnt
from napari_lrcs.phases import PhaseTable, naming_notes
from napari_lrcs.plugin.compare.form import ComparedLayers
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.tables import Table
from napari_lrcs.plugin.parts.widgets import hbox, percent, vbox

_TABS = {
    "Confusion": "How often each phase was predicted as each phase",
    "Slices": "IoU of each phase over the slices",
    "Shares": "Volume, surface and interfaces of both",
    "Confidence": "How often voxels of each confidence are predicted right: below the "
    "diagonal, the network is too sure",
}

_SCORES = ("iou", "dice", "precision", "recall")

_PAUSE_MS = 500
"""Time between two drawings of the scores so far."""

_MOST_RUNS = 4
"""Most runs of slices that are listed one by one."""


class ComparisonResults(QWidget):
    """Tables and plots of a comparison.

    Parameters
    ----------
    viewer : Viewer
        Its theme gives the colours of the plots.
    """

    slice_requested = Signal(int)
    """Emitted with the slice that was clicked in the plot."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.phases: PhaseTable | None = None
        """Phases of the running comparison."""
        self._per_slice: list[tuple[int, Confusion]] = []
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.scores = Table(("In %", "IoU", "Dice", "Precision", "Recall"))
        self.shares = Table(("Share (%)", "Predicted", "Target"))
        self.plots = tuple(Plot(viewer, height=h) for h in (270, 240, 330, 240))
        self.confusion_plot, self.slices_plot, self.shares_plot, *_ = self.plots
        self.reliability_plot = self.plots[-1]
        self.slices_plot.setToolTip("Click to show a slice")
        self.slices_plot.mpl_connect("button_press_event", self._on_click)
        self._draw_soon = qthrottled(
            self._draw_slices, timeout=_PAUSE_MS, leading=False, parent=self
        )
        self._build()

    def _build(self) -> None:
        shares = QWidget()
        vbox(shares, self.shares_plot, self.shares)
        self._pages: tuple[QWidget, ...] = (
            self.confusion_plot,
            self.slices_plot,
            shares,
            self.reliability_plot,
        )
        # Not a QTabBar, in which all pages are as high as the highest.
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        for name, tooltip in _TABS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tooltip)
        self.tabs.currentChanged.connect(self._show_page)
        parts = (self.title, self.scores, self.tabs, *self._pages)
        self._column = vbox(self, *parts, top=6)
        self._show_page(0)

    def _show_page(self, place: int) -> None:
        for i, page in enumerate(self._pages):
            page.setVisible(i == place)

    def add_buttons(self, *buttons: QWidget) -> None:
        """Put buttons in a row under the plots."""
        self._column.addLayout(hbox(*buttons))

    def clear(self) -> None:
        """Forget the last comparison, and draw none of it that is still to come."""
        self._draw_soon.cancel()
        self._per_slice = []
        self.title.clear()
        for table in (self.scores, self.shares):
            table.fill([])
        for plot in self.plots:
            plot.axes[0].clear()
            plot.restyle()

    def add(self, index: int, confusion: Confusion) -> None:
        """Add a slice of a running comparison; it is drawn soon."""
        if confusion.any():
            self._per_slice.append((index, confusion))
        self._draw_soon()

    def show_comparison(self, comparison: Comparison, *, title: str) -> None:
        """Show the numbers and plots of a comparison."""
        self._draw_soon.cancel()
        self.title.setText(title)
        phases = comparison.phases
        rows = comparison_rows(comparison)
        self.scores.fill(
            [
                [row["phase"], *(percent(row[name]) for name in _SCORES)]
                for row in rows[: len(phases)]
            ],
            colours=[(phase.colour,) for phase in phases],
        )
        self.shares.fill(_share_rows(rows))
        confusion, _, shares, _ = (plot.axes[0] for plot in self.plots)
        draw_confusion(confusion, comparison.confusion, phases)
        draw_composition(shares, comparison.predicted, comparison.target, phases)
        self.phases, self._per_slice = phases, list(comparison.per_slice)
        self._draw_slices()
        self.confusion_plot.restyle()
        self.shares_plot.place_legends_above()
        self._show_reliability(comparison.reliability)

    def _show_reliability(self, reliability: Reliability | None) -> None:
        place = list(_TABS).index("Confidence")
        if reliability is None and self.tabs.currentIndex() == place:
            self.tabs.setCurrentIndex(0)
        self.tabs.setTabVisible(place, reliability is not None)
        if reliability is not None:
            (ax,) = self.reliability_plot.axes
            ax.clear()
            draw_reliability(ax, reliability)
            self.reliability_plot.place_legends_above()

    def _draw_slices(self) -> None:
        if not self._per_slice or self.phases is None:
            return
        (ax,) = self.slices_plot.axes
        ax.clear()
        draw_slice_scores(ax, self._per_slice, self.phases)
        self.slices_plot.place_legends_above()
        if not self.isVisible():  # the comparison takes long: show how it goes
            self.tabs.setCurrentIndex(list(_TABS).index("Slices"))
            self.setVisible(True)

    def _on_click(self, event: Event) -> None:
        assert isinstance(event, MouseEvent)
        clicked = event.xdata
        if clicked is not None and self._per_slice:
            places = [index for index, _ in self._per_slice]
            self.slice_requested.emit(min(places, key=lambda z: abs(z - clicked)))


def _share_rows(rows: Sequence[Mapping[str, str | float | None]]) -> list[list[str]]:
    """Make one row per share: all volumes, then surfaces, then interfaces."""
    kinds = {"volume": ", volume", "surface": ", surface", "interface": ""}
    return [
        [
            f"{row['phase']}{suffix}",
            *(
                percent(row[f"{side}_{kind}_fraction"])
                for side in ("predicted", "target")
            ),
        ]
        for kind, suffix in kinds.items()
        for row in rows
        if row[f"target_{kind}_fraction"] is not None
    ]


def title_of(compared: ComparedLayers, comparison: Comparison) -> str:
    """Sum up a comparison: what was compared, its scores, and on which slices."""
    request = compared.request
    scores = (
        f"Accuracy {percent(comparison.accuracy)}%, "
        f"mean IoU {percent(comparison.mean_iou)}%"
    )
    lines = [f"{request.predicted.name} against {request.target.name}", scores]
    if comparison.reliability is not None:
        error = comparison.reliability.expected_calibration_error
        lines.append(f"Expected calibration error {percent(error)}%")
    if request.target.shape[0] > 1:
        lines.append(_slices_text([index for index, _ in comparison.per_slice]))
    return "\n".join(lines)


def _slices_text(slices: Sequence[int]) -> str:
    """List slices, in runs.

    Examples
    --------
    >>> _slices_text([3, 4, 5, 9])
    'Slices 3–5, 9'
    """
    ends = [i for i, (a, b) in enumerate(pairwise(slices)) if b > a + 1]
    starts = [0, *(i + 1 for i in ends)]
    runs = [
        str(slices[i]) if i == j else f"{slices[i]}–{slices[j]}"
        for i, j in zip(starts, [*ends, len(slices) - 1], strict=True)
    ]
    if len(runs) > _MOST_RUNS:
        return f"{len(slices)} slices from {slices[0]} to {slices[-1]}"
    return f"Slice{'s' if len(slices) > 1 else ''} {', '.join(runs)}"


def note_of(compared: ComparedLayers, comparison: Comparison) -> str:
    """Warn of phases that are not the same, or hardly ever predicted."""
    request = compared.request
    poor = map(str, not_learnt(comparison.confusion, comparison.phases))
    named = naming_notes(*named_phases(request.predicted, request.target))
    return ". ".join([*named, *poor])
