"""The dock "Uncertainty study": many networks, and how far their results differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from napari.viewer import Viewer

from napari_lrcs.io.tables import as_text
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.widgets import Tabs, button, clock
from napari_lrcs.plugin.parts.workers import EXPECTED, Saved
from napari_lrcs.plugin.project.docks import show_dock
from napari_lrcs.plugin.resumable import ResumableTable, ResumableWork
from napari_lrcs.plugin.study.budget import StudyBudget
from napari_lrcs.plugin.study.job import (
    Mapped,
    StudyJob,
    read_study,
    save_figure,
    save_tables,
    suggest,
)
from napari_lrcs.plugin.study.layers import StudyLayers
from napari_lrcs.plugin.study.progress import StudyProgress
from napari_lrcs.plugin.study.results import StudyResults
from napari_lrcs.plugin.study.setup import StudySetup
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.perturbation.suggestion import Suggestion
from napari_lrcs.uncertainty.study.events import StudyEnded, StudyStarted
from napari_lrcs.uncertainty.study.folder import StudyFindings, list_studies
from napari_lrcs.uncertainty.study.tables import summary_rows

_RESULTS = 1
"""Index of the tab with the results."""

_WHERE = (
    "The networks differ where the layer “disagreement” is red, and most where it is "
    "yellow."
)


class StudyDock(Dock):
    """Train networks on perturbed labels; watch means and deviations come in."""

    key: ClassVar[str] = "study"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.setup = StudySetup(viewer)
        self.results = StudyResults(viewer)
        self.budget = StudyBudget()
        self.studies = ResumableTable(
            "Studies",
            ("Study", "Networks", "When"),
            list_studies,
            open_tip="Show the tables and plots of this study, and its layers over the "
            "image",
            continue_tip="Continue this study, with its own settings and slices; "
            "networks that failed are tried again",
        )
        self.steps = StudyProgress(self.progress)
        self.work = ResumableWork(
            self,
            self.studies,
            self.steps,
            run=button(
                "Run",
                "Train all networks of a new study, one after another",
                self.run,
            ),
        )
        self._layers: StudyLayers | None = None
        self._build()
        self._connect()
        self.setup.restore(self.recall())
        self.connections += [self.setup, self.results.plot, self.studies]
        self._list_studies()
        self.update_buttons()

    def _build(self) -> None:
        copy = button("Copy table", "Copy all numbers, for a spreadsheet", self.copy)
        csv = button(
            "Save CSV…",
            "Save means and deviations, and the numbers of each network beside them in "
            "…-networks.csv",
            self._ask_for_csv,
        )
        figure = button(
            "Save figure…",
            "Save the visible plot as PNG, SVG or PDF",
            self._ask_for_figure,
        )
        self.results.add_buttons((copy, csv), (figure,))
        self.tabs = Tabs()
        self.tabs.addTab(self.setup, "Setup")
        self.tabs.addTab(self.results, "Results")
        self.tabs.addTab(self.budget, "Error budget")
        self.tabs.addTab(self.studies, self.studies.title)
        self.body.addWidget(self.tabs)
        self.footer.addWidget(self.work)

    def _connect(self) -> None:
        self.setup.folder_changed.connect(self._list_studies)
        self.setup.suggest_requested.connect(self.suggest)
        self.budget.check_requested.connect(
            lambda: show_dock(self.viewer, "Check segmentation")
        )
        self.studies.open_requested.connect(self.open_study)
        self.studies.resume_requested.connect(self.continue_study)

    # ---- what the buttons do ----

    def run(self) -> None:
        """Begin a study with what the setup says."""
        self._begin(self.setup.new_study)

    def continue_study(self, out: Path) -> None:
        """Go on with a study that was stopped, or whose networks failed."""
        self._begin(lambda: self.setup.resumed_study(out))

    def open_study(self, out: Path) -> None:
        """Show what a study has found, and its layers over the chosen image."""
        if self.is_busy:
            return
        self._keep_place()
        self.results.clear()
        self.budget.clear()
        self.begin(f"Opening {out.name}", lambda: read_study(out))

    def suggest(self) -> None:
        """Look for a perturbation that changes a tenth of the painted voxels."""
        try:
            task = self.setup.task()
        except EXPECTED as error:
            self.show_error(error)
            return
        self.begin("Looking for a perturbation", lambda: suggest(task))
        self.show_message("Trying perturbations…")

    def _begin(self, make: Callable[[], StudyJob]) -> None:
        kept = (
            "The networks trained so far are kept: Continue, in the dock Uncertainty "
            "study, trains the others."
        )
        if self.work.begin(make, self.setup.labels_choice.layer, kept=kept):
            self._keep_place()
            self.results.clear()
            self.budget.clear()

    def _keep_place(self) -> None:
        """Keep where layers are to go: the image may be removed meanwhile."""
        image = self.setup.image_choice.layer
        self._layers = None if image is None else StudyLayers(self.viewer, image)

    # ---- the contract of docks ----

    def update_buttons(self) -> None:
        """Show the buttons that make sense now."""
        self.setup.suggest.setEnabled(not self.is_busy)
        self.setup.compute_on.set_busy(self.is_busy)

    def finish(self, outcome: Outcome) -> None:
        """Say how the study ended, and list it."""
        if self.work.out is not None:
            self.setup.new_folder()  # lists the studies, too
        self.work.finish(outcome)

    def settings(self) -> dict[str, Any]:
        """Return what to remember."""
        return self.setup.settings()

    def handle(self, event: Any) -> None:
        """Show an event of the study, or files as saved."""
        self.results.handle(event)
        self.budget.handle(event)
        self.steps.handle(event)
        match event:
            case StudyStarted():
                self.tabs.setCurrentIndex(_RESULTS)
            case StudyFindings() if self.work.out is None:  # the study was opened
                self.tabs.setCurrentIndex(_RESULTS)
            case StudyEnded():
                self.work.end_text = _end_text(event)
            case Notice(kind="not_learnt"):
                self.work.end_kind = "warning"
            case Mapped():
                self._show_layers(event)
            case Suggestion():
                self._use_suggestion(event)
            case Saved():
                self.show_message(str(event), "done")

    def _show_layers(self, event: Mapped) -> None:
        majority = event.volumes["majority"]
        finest = majority[0] if isinstance(majority, list) else majority
        if self._layers is None or finest.shape != self._layers.shape:
            self.work.end_text = (
                "Choose its image in Setup and open it again, to see its layers: "
                f"{event.out.name} is of a volume of {finest.shape}."
            )
            return
        self._layers.show(event)
        self.work.end_text = self.work.end_text or _opened_text(self.results.found)

    def _use_suggestion(self, suggestion: Suggestion) -> None:
        self.setup.perturb.config = suggestion.config
        self.work.end_text = (
            f"Set: this kernel and fraction change {suggestion.share:.1%} of the "
            "painted voxels."
        )

    # ---- studies ----

    def _list_studies(self) -> None:
        text = self.setup.folder.text().strip()
        self.studies.refresh(Path(text).parent if text else None)

    # ---- what can be taken along ----

    def copy(self) -> None:
        """Copy all numbers as a table with tabs."""
        found = self.results.found
        if found is not None:
            self.copy_table(as_text(summary_rows(found.summary)))

    def save_csv(self, path: Path) -> None:
        """Write means and deviations to `path`, the networks' numbers beside it."""
        found = self.results.found
        if found is not None:
            self.begin_beside("Saving", lambda: save_tables(path, found))

    def save_figure(self, path: Path) -> None:
        """Write the plot in sight."""
        found, draw = self.results.found, self.results.figure.draw
        if found is not None:
            self.begin_beside("Saving", lambda: save_figure(path, draw, found))

    def _ask_for_csv(self) -> None:
        self.ask_where_to_save("uncertainty.csv", "Tables (*.csv)", self.save_csv)

    def _ask_for_figure(self) -> None:
        self.ask_where_to_save(
            f"{self.results.figure.file}.png",
            "Figures (*.png *.svg *.pdf)",
            self.save_figure,
        )


def _opened_text(found: StudyFindings | None) -> str:
    but = "" if found is None else found.summary.shortcoming
    return f"{but}. {_WHERE}" if but else _WHERE


def _end_text(event: StudyEnded) -> str:
    text, but = f"Done in {clock(event.seconds)}", event.summary.shortcoming
    return f"{text}, but {but}. {_WHERE}" if but else f"{text}. {_WHERE}"
