"""What the selected runs have learnt, and how they differ."""

from collections.abc import Sequence

from napari.viewer import Viewer
from qtpy.QtWidgets import QLabel, QStackedWidget, QTabBar, QWidget

from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.tables import Rows
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.runs.figures import SCORES, RunHistory, draw_runs, read_histories
from napari_lrcs.runs.table import RunRecord, describe_runs

_MOST_CURVES, _MOST_COLUMNS = 20, 12
"""Most runs that are drawn, and whose settings are shown beside each other."""


class RunComparison(QWidget):
    """Curves and settings of the selected runs."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.plot = Plot(viewer, height=200)
        self.table = Rows(several=True)
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        for title in (*SCORES.values(), "Settings"):
            self.tabs.addTab(title)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.plot)
        self._stack.addWidget(self.table)
        vbox(self, self._hint, self.tabs, self._stack, top=4)
        self._histories: Sequence[RunHistory] = ()
        self._reader = BackgroundReader("Reading histories", self)
        self._reader.answered.connect(self._show_histories)
        self.tabs.currentChanged.connect(lambda _place: self._draw())
        self.setVisible(False)

    def show_runs(self, runs: Sequence[RunRecord]) -> None:
        """Show some runs, in place of those before."""
        self.setVisible(bool(runs))
        self._hint.setText(_hint_for(len(runs)))
        self._hint.setVisible(bool(self._hint.text()))
        drawn, shown = tuple(runs[:_MOST_CURVES]), runs[:_MOST_COLUMNS]
        self._reader.read(lambda: read_histories(drawn))
        rows = [[title, *texts] for title, texts in describe_runs(shown).items()]
        self.table.fill(["Setting", *(run.name for run in shown)], rows)

    def _show_histories(self, histories: Sequence[RunHistory]) -> None:
        self._histories = histories
        self._draw()

    def _draw(self) -> None:
        place = self.tabs.currentIndex()
        self._stack.setCurrentIndex(place // len(SCORES))
        if place < len(SCORES):
            (ax,) = self.plot.axes
            ax.clear()
            draw_runs(ax, self._histories, [*SCORES][place])
            ax.set_title("", loc="left")  # the tab has it
            ax.xaxis.labelpad = 1
            self.plot.place_legends_above()

    def disconnect_events(self) -> None:
        """Stop listening to the viewer, and ignore what is still read."""
        self._reader.cancel()
        self.plot.disconnect_events()


def _hint_for(n_runs: int) -> str:
    if n_runs == 1:
        return "To compare runs, select several with Ctrl or Shift."
    if n_runs <= _MOST_COLUMNS:
        return ""
    return (
        f"Of {n_runs} runs, at most {_MOST_CURVES} are drawn, and {_MOST_COLUMNS} are "
        "compared."
    )
