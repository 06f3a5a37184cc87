"""What a search has found so far: a table of settings, and figures."""

import math
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QTabBar, QWidget
from superqt.utils import qthrottled

from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.tables import Table
from napari_lrcs.plugin.parts.widgets import Notices, button, hbox, percent, vbox
from napari_lrcs.progress import Notice
from napari_lrcs.search.events import SearchStarted
from napari_lrcs.search.figures import (
    draw_curves,
    draw_importances,
    draw_sorted_scores,
    draw_time,
)
from napari_lrcs.search.results import SearchFindings, TrialResult
from napari_lrcs.search.space import Values, describe, searchable
from napari_lrcs.setting_names import rename_settings

_PAUSE_MS = 500
"""Time between two drawings: a continued search brings many trials at once."""

_MOST_ROWS = 5
"""Rows in sight, so that the figures are, too."""


def _on_axes(
    draw: Callable[[Axes, SearchFindings], None],
) -> Callable[[Figure, SearchFindings], None]:
    def draw_figure(figure: Figure, found: SearchFindings) -> None:
        draw(figure.add_subplot(), found)

    return draw_figure


_FIGURES = (
    ("Curves", "Scores of the best settings over the epochs", _on_axes(draw_curves)),
    ("Sorted", "Scores in descending order, above the settings", draw_sorted_scores),
    (
        "Importance",
        "How much each setting decides; once the search has ended",
        _on_axes(draw_importances),
    ),
    ("Time", "Scores against the duration of a training", _on_axes(draw_time)),
)
"""Names of the figures, tooltips, and what draws them."""


class SearchResults(QWidget):
    """Shows what has been found; more may come."""

    use_requested = Signal()
    """Train with the best setting."""
    save_requested = Signal()
    """Save the best setting as a preset."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.found: SearchFindings | None = None
        """What is shown."""
        self.title = QLabel()
        self.title.setWordWrap(True)
        self.table = Table(most_rows=_MOST_ROWS)
        self.plot = Plot(viewer, height=270)
        self.notices = Notices()
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        for name, tooltip, _ in _FIGURES:
            self.tabs.setTabToolTip(self.tabs.addTab(name), tooltip)
        self.tabs.currentChanged.connect(lambda _place: self._draw_plot())
        self.use_button = button(
            "Use the best setting",
            "Show it in Train LRCS-Net, ready to train",
            self.use_requested.emit,
        )
        self.save_button = button(
            "Save as preset…",
            "Save the best setting under a name that all forms, and --preset, offer",
            self.save_requested.emit,
        )
        self._buttons = QWidget()
        self._buttons.setLayout(hbox(self.use_button, self.save_button))
        self._draw_soon = qthrottled(
            self._draw, timeout=_PAUSE_MS, leading=False, parent=self
        )
        self._parts: tuple[QWidget, ...] = (
            *(self.table, self._buttons, self.tabs, self.plot),
        )
        vbox(self, self.title, *self._parts, self.notices, top=4).addStretch()
        self.clear()

    def clear(self) -> None:
        """Forget the last search."""
        self._draw_soon.cancel()
        self.found = None
        self.title.setText("Nothing yet: press Search, or open a search in Searches.")
        self.notices.clear()
        for part in self._parts:
            part.setVisible(False)

    def handle(self, event: Any) -> None:
        """Show an event of a search; others are ignored."""
        match event:
            case Notice():
                self.notices.add(event)
            case SearchStarted():
                self.title.setText(f"{event.out.name}: no setting has been tried yet.")
            case SearchFindings():
                self.found = event
                self._draw_soon()

    # ---- showing ----

    def _draw(self) -> None:
        found = self.found
        if found is None or not found.trials:
            return
        self.title.setText(_title(found))
        self._fill(found)
        self.use_button.setEnabled(found.best is not None)
        self.save_button.setEnabled(found.best is not None)
        for part in self._parts:
            part.setVisible(True)
        self._draw_plot()

    def _fill(self, found: SearchFindings) -> None:
        names = list(found.space.fields)
        titles = [s.title for name in names for s in searchable() if s.name == name]
        ranked = found.ranked
        others = [trial for trial in found.trials if trial not in ranked]
        trials = [*ranked, *sorted(others, key=_from_best)]
        self.table.set_header(("Rank", "Mean IoU (%)", "State", *titles))
        self.table.fill(
            [
                _row(trial, rank if trial.state == "complete" else None, names)
                for rank, trial in enumerate(trials, start=1)
            ],
            tips=[trial.name for trial in trials],
        )
        for row, trial in enumerate(trials):
            cell = self.table.item(row, 2)
            if cell is not None:
                cell.setToolTip(trial.reason)

    def _draw_plot(self) -> None:
        found = self.found
        if found is None or not found.trials:
            return
        _, _, draw = _FIGURES[self.tabs.currentIndex()]
        self.plot.draw_figure(lambda figure: draw(figure, found))


def in_words(settings: Values) -> str:
    """Write the values of settings on a line, with the names of the forms.

    Examples
    --------
    >>> in_words({"batch_size": 4, "learning_rate": 0.00123456})
    'batch size 4, learning rate 0.00123'
    """
    return rename_settings(describe(settings), lambda setting: setting.title.lower())


def _from_best(trial: TrialResult) -> float:
    return -trial.score if trial.scores else math.inf


def _title(found: SearchFindings) -> str:
    text = f"{found.out.name}: {len(found.trials)} of {found.n_trials} settings"
    states = [trial.state for trial in found.trials]
    for state in ("pruned", "failed"):
        if state in states:
            text += f", {states.count(state)} {state}"
    return text


def _row(trial: TrialResult, rank: int | None, names: list[str]) -> list[str]:
    score = percent(trial.score)
    if len(trial.scores) > 1:
        score = f"{score} ± {percent(trial.sd)}"
    values = (trial.settings[name] for name in names)
    return [
        "–" if rank is None else str(rank),
        score,
        trial.state,
        *(f"{v:.3g}" if isinstance(v, float) else str(v) for v in values),
    ]
