"""The dock "Compare segmentations": scores, shares and differences of two layers."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from napari.viewer import Viewer
from qtpy.QtWidgets import QTabBar, QWidget

from napari_lrcs.annotation.painting.slices import SlicesRead
from napari_lrcs.comparison.compare import (
    SliceCompared,
    as_text_table,
    write_comparison_csv,
    write_slices_csv,
)
from napari_lrcs.comparison.experimenter_tables import write_experimenters_csv
from napari_lrcs.comparison.experimenters import Comparing
from napari_lrcs.figures import write_comparison_figure
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.compare.differences import DifferencesPart
from napari_lrcs.plugin.compare.experimenters import ExperimentersPart
from napari_lrcs.plugin.compare.experimenters_form import Voted
from napari_lrcs.plugin.compare.form import ComparedLayers, ComparisonForm
from napari_lrcs.plugin.compare.results import ComparisonResults, note_of, title_of
from napari_lrcs.plugin.parts.connections import Outdated
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.widgets import button, hbox, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Saved, save_files

_KINDS = {
    "Two layers": "Score a segmentation against a target, and show where they differ",
    "Several experimenters": "How far people who painted the same slices agree",
}


Found = TypeVar("Found")


class CompareDock(Dock):
    """Score a segmentation against a target, or compare several experimenters.

    Parameters
    ----------
    viewer : Viewer
    """

    key = "compare"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.comparison: Comparison | None = None
        """What is shown."""
        self._comparing: ComparedLayers | None = None
        self._outdated = Outdated(viewer.layers, self._warn_if_changed)
        self.form = ComparisonForm(viewer)
        self.results = ComparisonResults(viewer)
        self.differences = DifferencesPart(viewer)
        self.differences.shown.connect(self.show_message)
        self.results.slice_requested.connect(self.differences.go_to_slice)
        self.several = ExperimentersPart(viewer)
        self.several.compare_requested.connect(self._compare_several)
        self.several.outdated.connect(self._warn_if_changed)
        self.several.copy_requested.connect(self.copy_table)
        self.several.csv_requested.connect(self._ask_for_their_csv)
        self._build()
        self.form.restore(self.recall())
        self.results.setVisible(False)
        self.update_buttons()
        self.connections += [
            *self.form.connections,
            *self.results.plots,
            *self.several.connections,
            self.differences,
            self._outdated,
        ]

    def _build(self) -> None:
        self.compare_button = button(
            "Compare", "Score the predicted labels against the target", self.compare
        )
        self.stop_button = button("Stop", "Stop comparing; nothing is kept", self.stop)
        self.copy_button = button(
            "Copy table", "Copy all numbers, to paste into a spreadsheet", self.copy
        )
        self.csv_button = button(
            "Save CSV…",
            "Save all numbers, and those of each slice beside them in …-slices.csv",
            self._ask_for_csv,
        )
        self.figure_button = button(
            "Save figure…", "Save the plots as one figure", self._ask_for_figure
        )
        self._two = QWidget()
        vbox(self._two, self.form, self.results)
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        for name, tooltip in _KINDS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tooltip)
        self.tabs.currentChanged.connect(self._show_page)
        for part in (self.tabs, self._two, self.several):
            self.body.addWidget(part)
        self.body.addStretch()
        self.results.add_buttons(self.differences)
        self.results.add_buttons(self.copy_button, self.csv_button)
        self.results.add_buttons(self.figure_button)
        buttons = hbox(self.compare_button, self.stop_button, stretch=(2, 1))
        self.footer.addLayout(buttons)
        self._show_page(0)

    def _show_page(self, place: int) -> None:
        self._two.setVisible(place == 0)
        self.several.setVisible(place == 1)
        self.show_message("")
        self._warn_if_changed()

    # ---- comparing ----

    def compare(self) -> None:
        """Compare the chosen layers, or say why they cannot be."""
        try:
            if self.tabs.currentIndex() == 1:
                self.several.compare()
                return
            self._comparing = self.form.request()
        except EXPECTED as error:
            self.show_error(error)
            return
        self.comparison = None
        self.differences.clear()
        self._outdated.follow((self._comparing.predicted, self._comparing.target))
        self.results.clear()
        self.results.setVisible(False)
        self.results.setEnabled(True)
        self.begin("Compare segmentations", self._comparing.request.events)
        self.progress.begin("Looking for phases …")

    def _compare_several(self, events: Callable[[], Events]) -> None:
        self.begin("Compare experimenters", events)
        self.progress.begin("Comparing …")

    def handle(self, event: Any) -> None:
        """Show the phases, a slice or the end of a comparison, or files as saved."""
        match event:
            case PhaseTable():
                self.results.phases = event
            case SlicesRead():
                self.progress.show_share(event.share, "Looking for predicted slices")
            case SliceCompared():
                share = event.n_done / event.n_slices
                text = f"Slice {event.n_done} of {event.n_slices}"
                self.progress.show_share(share, text)
                self.results.add(event.index, event.confusion)
            case Comparison():
                self._show(event)
            case Comparing():
                self.progress.show_share(event.share, "Comparing")
            case Voted():
                self.several.show_voted(event)
                self.show_message(". ".join(event.compared.notes), "warning")
                self._warn_if_changed()
            case Saved():
                self.show_message(str(event), "done")

    def finish(self, outcome: Outcome) -> None:
        """Show nothing of a comparison without a result."""
        self._comparing = None
        if self.comparison is None:
            self.results.clear()
            self.results.setVisible(False)
        if outcome == "stopped":
            self.show_message("Stopped")

    def update_buttons(self) -> None:
        """Enable the buttons that make sense now."""
        self.compare_button.setEnabled(not self.is_busy)
        self.stop_button.setEnabled(self.is_busy and not self.is_stopping)
        for made in (self.copy_button, self.csv_button, self.figure_button):
            made.setEnabled(not self.is_busy and self._is_current)
        self.differences.update_buttons()
        self.differences.setEnabled(not self.is_busy)
        self.several.update_buttons(is_busy=self.is_busy)

    def _show(self, comparison: Comparison) -> None:
        compared = self._comparing
        assert compared is not None
        self.comparison = comparison
        self.results.show_comparison(comparison, title=title_of(compared, comparison))
        self.results.setVisible(True)
        self.show_message(note_of(compared, comparison), "warning")
        self.differences.follow(compared, comparison)
        self._warn_if_changed()

    # ---- what has changed since ----

    @property
    def _is_current(self) -> bool:
        """Whether scores are shown, and of labels as they are now."""
        return self.comparison is not None and bool(self.results.isEnabled())

    def _warn_if_changed(self) -> None:
        """Grey outdated scores, and warn of those on the page that is shown."""
        two = ""
        if self._outdated.name and self.comparison is not None:
            self.results.setEnabled(False)
            remedy = "press Compare for its scores as they are now"
            two = self._outdated.warning("compared", remedy=remedy)
        if text := (two, self.several.warning)[self.tabs.currentIndex()]:
            self.show_message(text, "warning")
        self.update_buttons()

    # ---- what can be taken along ----

    def copy(self) -> None:
        """Copy all numbers as a table with tabs."""
        if self.comparison is not None:
            self.copy_table(as_text_table(self.comparison))

    def save_csv(self, path: Path) -> None:
        """Write all numbers to `path`, those of each slice beside it."""
        slices = path.with_name(f"{path.stem}-slices{path.suffix}")
        self._save(
            self.comparison, {path: write_comparison_csv, slices: write_slices_csv}
        )

    def save_figure(self, path: Path) -> None:
        """Write the plots as a figure."""
        self._save(self.comparison, {path: write_comparison_figure})

    def save_their_csv(self, path: Path) -> None:
        """Write all numbers of several experimenters to `path`."""
        self._save(self.several.compared, {path: write_experimenters_csv})

    def _save(
        self, found: Found | None, writers: Mapping[Path, Callable[[Path, Found], None]]
    ) -> None:
        if found is not None:
            saves = {path: _writing(write, found) for path, write in writers.items()}
            self.begin("Save the comparison", lambda: save_files(saves))

    def _ask_for_csv(self) -> None:
        self.ask_where_to_save("comparison.csv", "Tables (*.csv)", self.save_csv)

    def _ask_for_their_csv(self) -> None:
        self.ask_where_to_save(
            "experimenters.csv", "Tables (*.csv)", self.save_their_csv
        )

    def _ask_for_figure(self) -> None:
        kinds = "Figures (*.png *.pdf *.svg)"
        self.ask_where_to_save("comparison.png", kinds, self.save_figure)

    # ---- the rest ----

    def settings(self) -> dict[str, Any]:
        """Return the neighbourhood and the field of view."""
        return self.form.settings()


def _writing(
    write: Callable[[Path, Found], None], found: Found
) -> Callable[[Path], None]:
    return lambda path: write(path, found)
