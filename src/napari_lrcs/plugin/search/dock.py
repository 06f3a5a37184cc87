"""The dock "Search for settings": many trainings, and which settings score best."""

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from napari.viewer import Viewer
from qtpy.QtWidgets import QInputDialog

from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.widgets import Tabs, button, clock, percent
from napari_lrcs.plugin.parts.workers import EXPECTED
from napari_lrcs.plugin.project.docks import open_dock
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.plugin.resumable import ResumableWork
from napari_lrcs.plugin.search.job import Estimated, SearchJob, read_search
from napari_lrcs.plugin.search.progress import SearchProgress
from napari_lrcs.plugin.search.results import SearchResults, in_words
from napari_lrcs.plugin.search.searches import SearchesTable
from napari_lrcs.plugin.search.setup import SearchSetup, estimate_text
from napari_lrcs.presets import check_preset_name, save_preset
from napari_lrcs.search.events import SearchEnded, SearchStarted
from napari_lrcs.search.results import SearchFindings

_RESULTS = 1
"""Index of the tab with the results."""

_NO_OPTUNA = 'A search needs Optuna; install it: pip install "napari-lrcs[search]"'

_N_MORE = 20
"""Settings that are proposed to be tried besides those that were planned."""


class SearchDock(Dock):
    """Try settings of a training; watch which score best, and use them."""

    key: ClassVar[str] = "search"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.setup = SearchSetup(viewer)
        self.results = SearchResults(viewer)
        self.searches = SearchesTable()
        self.steps = SearchProgress(self.progress)
        self.work = ResumableWork(
            self,
            self.searches,
            self.steps,
            run=button(
                "Search",
                "Try settings, one after another, in a new search",
                self.search,
            ),
        )
        self._build()
        self._connect()
        self.setup.restore(self.recall())
        self.connections += [self.setup, self.results.plot, self.searches]
        self._list_searches()
        self.update_buttons()
        if find_spec("optuna") is None:
            self.show_message(_NO_OPTUNA, "warning")

    def _build(self) -> None:
        self.tabs = Tabs()
        self.tabs.addTab(self.setup, "Setup")
        self.tabs.addTab(self.results, "Results")
        self.tabs.addTab(self.searches, self.searches.title)
        self.body.addWidget(self.tabs)
        self.footer.addWidget(self.work)

    def _connect(self) -> None:
        self.setup.image_choice.chosen.connect(self._list_searches)
        self.setup.estimate_requested.connect(self.estimate)
        self.results.use_requested.connect(self.use_best)
        self.results.save_requested.connect(self._ask_for_preset)
        self.searches.open_requested.connect(self.open_search)
        self.searches.resume_requested.connect(self.continue_search)
        self.searches.more_requested.connect(self._ask_how_many_more)

    # ---- what the buttons do ----

    def search(self) -> None:
        """Begin a search of what the setup says."""
        self._begin(self.setup.new_search)

    def continue_search(self, out: Path) -> None:
        """Continue a search that was stopped, or whose trials failed."""
        self._begin(lambda: self.setup.resumed_search(out))

    def try_more(self, out: Path, n_more: int) -> None:
        """Continue a search with more settings than were planned."""
        self._begin(lambda: replace(self.setup.resumed_search(out), n_more=n_more))

    def open_search(self, out: Path) -> None:
        """Show what a search has found."""
        if self.is_busy:
            return
        self.results.clear()
        self.begin(f"Opening {out.name}", lambda: read_search(out))
        self.tabs.setCurrentIndex(_RESULTS)

    def estimate(self) -> None:
        """Say how long the search would take, and how much memory."""
        try:
            search = self.setup.job()
        except EXPECTED as error:
            self.show_error(error)
            return
        self.begin("Estimating a search", search.estimate)
        self.progress.begin("Timing a few steps")

    def _begin(self, make: Callable[[], SearchJob]) -> None:
        kept = (
            "The settings tried so far are kept: Continue, in the dock Search for "
            "settings, tries the others."
        )
        if self.work.begin(make, self.setup.labels_choice.layer, kept=kept):
            self.results.clear()

    # ---- the contract of docks ----

    def update_buttons(self) -> None:
        """Show the buttons that make sense now."""
        self.setup.estimate_button.setEnabled(not self.is_busy)
        self.setup.compute_on.set_busy(self.is_busy)

    def finish(self, outcome: Outcome) -> None:
        """Say how the search ended, and list it."""
        self.work.finish(outcome)
        self._list_searches()

    def settings(self) -> dict[str, Any]:
        """Return what to remember."""
        return self.setup.settings()

    def handle(self, event: Any) -> None:
        """Show an event of the search."""
        self.results.handle(event)
        self.steps.handle(event)
        match event:
            case Estimated():
                self.setup.show_estimate(event)
            case SearchStarted():
                self.show_message(estimate_text(event))
                self.tabs.setCurrentIndex(_RESULTS)
            case SearchEnded():
                self.work.end_text = _end_text(event)
                if event.findings.best is None:
                    self.work.end_kind = "warning"

    # ---- searches ----

    def _list_searches(self) -> None:
        self.searches.refresh(self.setup.folder)

    def _ask_how_many_more(self, out: Path) -> None:
        n_more, is_given = QInputDialog.getInt(
            self, "Try more settings", f"Settings to add to {out.name}", _N_MORE, 1
        )
        if is_given:
            self.try_more(out, n_more)

    # ---- the best setting ----

    def use_best(self) -> None:
        """Show the best setting in the forms of all trainings of this viewer."""
        found = self.results.found
        if found is None or found.best is None:
            return
        project = project_of(self.viewer.layers)
        if not len(project.settings_found):
            open_dock(self.viewer, "Train LRCS-Net")
        project.settings_found.emit(found.best_config)
        self.show_message(
            f"Train LRCS-Net now has {in_words(found.best.settings)}. Press Train "
            "there.",
            "done",
        )

    def save_best(self, name: str) -> None:
        """Save the best setting as a preset, which must be a new one."""
        found = self.results.found
        if found is None or found.best is None:
            return
        try:
            check_preset_name(name, overwrite=False)
            save_preset(name, found.best_config)
        except EXPECTED as error:
            self.show_error(error)
            return
        self.show_message(f"Saved: all forms offer the preset {name}.", "done")

    def _ask_for_preset(self) -> None:
        text, is_given = QInputDialog.getText(
            self, "Save as preset", "Name of the preset"
        )
        if is_given and text.strip():
            self.save_best(text.strip())


def _end_text(event: SearchEnded) -> str:
    found = event.findings
    n, best = len(found.trials), found.best
    text = f"Done in {clock(event.seconds)}"
    if n < found.n_trials:
        text = f"The time is over: {n} of {found.n_trials} settings have been tried"
    return f"{text}. {_best_text(found)}" if best else f"{text}; none is complete."


def _best_text(found: SearchFindings) -> str:
    best = found.best
    assert best is not None
    score = f"{percent(best.score)}%"
    if len(best.scores) > 1:
        score = f"{percent(best.score)} ± {percent(best.sd)}%"
    return f"Best mean IoU: {score}, with {in_words(best.settings)}."
