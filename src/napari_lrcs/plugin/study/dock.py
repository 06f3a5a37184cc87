"""The dock "Uncertainty study": many networks, and how far their results differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from napari.viewer import Viewer

from napari_lrcs.io.tables import as_text
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.widgets import Kind, Tabs, button, clock, hbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Saved
from napari_lrcs.plugin.project.training_layers import may_train_on
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
from napari_lrcs.plugin.study.studies import StudiesTable
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.perturbation.suggestion import Suggestion
from napari_lrcs.uncertainty.study.events import StudyEnded, StudyStarted
from napari_lrcs.uncertainty.study.folder import StudyFindings
from napari_lrcs.uncertainty.study.summary import summary_rows

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
        self.studies = StudiesTable()
        self.steps = StudyProgress(self.progress)
        self._out: Path | None = None
        self._layers: StudyLayers | None = None
        self._end_text = ""
        self._end_kind: Kind = "done"
        self._build()
        self._connect()
        self.setup.restore(self.recall())
        self.connections += [self.setup, self.results.plot, self.studies]
        self._list_studies()
        self.update_buttons()

    def _build(self) -> None:
        self.run_button = button(
            "Run", "Train all networks of a new study, one after another", self.run
        )
        self.continue_button = button(
            "Continue",
            "Continue the study that was stopped last; others are under Studies",
            self.continue_last,
        )
        self.stop_button = button(
            "Stop",
            "Stop the study; everything is kept, and can be continued",
            self.stop_and_keep,
        )
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
        self.tabs.addTab(self.studies, "Studies")
        self.body.addWidget(self.tabs)
        buttons = (self.run_button, self.continue_button, self.stop_button)
        self.footer.addLayout(hbox(*buttons))
        self.footer.addWidget(self.steps)

    def _connect(self) -> None:
        self.setup.folder_changed.connect(self._list_studies)
        self.setup.suggest_requested.connect(self.suggest)
        self.studies.listed.connect(self._offer_to_continue)
        self.studies.open_requested.connect(self.open_study)
        self.studies.resume_requested.connect(self.continue_study)

    # ---- what the buttons do ----

    def run(self) -> None:
        """Begin a study with what the setup says."""
        self._begin(self.setup.new_study)

    def continue_last(self) -> None:
        """Go on with the study that was stopped last."""
        study = self.studies.unfinished
        if study is not None:
            self.continue_study(study.path)

    def continue_study(self, out: Path) -> None:
        """Go on with a study that was stopped, or whose networks failed."""
        self._begin(lambda: self.setup.resumed_study(out))

    def open_study(self, out: Path) -> None:
        """Show what a study has found, and its layers over the chosen image."""
        if self.is_busy:
            return
        self._keep_place()
        self.results.clear()
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

    def stop_and_keep(self) -> None:
        """End the study; what is done is kept, and can be continued."""
        if self.job is None:
            return
        self._end_text = "Stopped." if self._out is None else self.steps.kept
        self._end_kind = "hint"
        self.stop()

    def update_buttons(self) -> None:
        """Show the buttons that make sense now."""
        self.run_button.setVisible(not self.is_busy)
        self.stop_button.setVisible(self.is_busy)
        self.stop_button.setEnabled(not self.is_stopping)
        self.studies.set_busy(self.is_busy)
        self.setup.suggest.setEnabled(not self.is_busy)
        self._offer_to_continue()

    # ---- beginning and ending ----

    def _begin(self, make: Callable[[], StudyJob]) -> None:
        if self.is_busy or not may_train_on(self.setup.labels_choice.layer, self):
            return
        try:
            study = make()
        except EXPECTED as error:
            self.show_error(error)
            return
        self._keep_place()
        self._out = study.out
        self.results.clear()
        self.remember()
        self.begin(
            f"Studying {study.out.name}",
            study.events,
            kept=(
                "The networks trained so far are kept: Continue, in the dock "
                "Uncertainty study, trains the others."
            ),
        )
        self.steps.begin()

    def _keep_place(self) -> None:
        """Keep where layers are to go: the image may be removed meanwhile."""
        image = self.setup.image_choice.layer
        self._layers = None if image is None else StudyLayers(self.viewer, image)

    def finish(self, outcome: Outcome) -> None:
        """Say how the study ended, and list it."""
        self.steps.end()
        if self._out is not None:
            self.setup.new_folder()  # lists the studies, too
        if self._end_text and outcome != "failed":
            self.show_message(self._end_text, self._end_kind)
        self._out, self._end_text, self._end_kind = None, "", "done"

    def settings(self) -> dict[str, Any]:
        """Return what to remember."""
        return self.setup.settings()

    # ---- events ----

    def handle(self, event: Any) -> None:
        """Show an event of the study, or files as saved."""
        self.results.handle(event)
        self.steps.handle(event)
        match event:
            case StudyStarted():
                self.tabs.setCurrentIndex(_RESULTS)
            case StudyFindings() if self._out is None:  # the study was opened
                self.tabs.setCurrentIndex(_RESULTS)
            case StudyEnded():
                self._end_text = _end_text(event)
            case Notice(kind="not_learnt"):
                self._end_kind = "warning"
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
            self._end_text = (
                "Choose its image in Setup and open it again, to see its layers: "
                f"{event.out.name} is of a volume of {finest.shape}."
            )
            return
        self._layers.show(event.volumes, phases=event.phases, out=event.out)
        self._end_text = self._end_text or _opened_text(self.results.found)

    def _use_suggestion(self, suggestion: Suggestion) -> None:
        self.setup.perturb.config = suggestion.config
        self._end_text = (
            f"Set: this kernel and fraction change {suggestion.share:.1%} of the "
            "painted voxels."
        )

    # ---- studies ----

    def _list_studies(self) -> None:
        text = self.setup.folder.text().strip()
        self.studies.refresh(Path(text).parent if text else None)

    def _offer_to_continue(self) -> None:
        study = self.studies.unfinished
        self.continue_button.setVisible(study is not None and not self.is_busy)
        if study is not None:
            self.continue_button.setText(f"Continue {study.path.name}")

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
