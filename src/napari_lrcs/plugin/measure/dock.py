"""The dock "Measure phases": all that can be measured of labels, layer beside layer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.viewer import Viewer

from napari_lrcs.comparison.figures import write_measures_figure
from napari_lrcs.comparison.measure_tables import (
    as_text_table,
    write_measures_csv,
    write_measures_json,
)
from napari_lrcs.comparison.measures import Measures, Measuring
from napari_lrcs.comparison.profiles import MeasuredProfile
from napari_lrcs.plugin.measure.form import MeasureForm, TransportFound
from napari_lrcs.plugin.measure.line import LineProfilePart
from napari_lrcs.plugin.measure.results import MeasuresResults
from napari_lrcs.plugin.parts.connections import Outdated
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.forms import Fold
from napari_lrcs.plugin.parts.widgets import button, hbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Saved, save_files
from napari_lrcs.progress import Notice

Write = Callable[[Path, Sequence[Measures]], None]


class MeasureDock(Dock):
    """Measure fractions, surfaces, particles and tortuosity of labels layers.

    Parameters
    ----------
    viewer : Viewer
    """

    key = "measure"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self._measured: dict[str, Measures] = {}
        self._outdated = Outdated(viewer.layers, self._warn_if_changed)
        self.form = MeasureForm(viewer)
        self.results = MeasuresResults(viewer)
        self.line = LineProfilePart(viewer)
        self.line.work_requested.connect(self._begin)
        self.line.copy_requested.connect(self.copy_table)
        self.line.save_requested.connect(self.ask_where_to_save)
        self._build()
        self.form.restore(self.recall())
        self.results.setVisible(False)
        self.update_buttons()
        self.connections += [
            *self.form.connections,
            self.results.plot,
            *self.line.connections,
            self._outdated,
        ]

    def _build(self) -> None:
        self.measure_button = button(
            "Measure",
            "Measure volume, interfaces, surfaces and particles of the checked layers",
            self.measure,
        )
        self.tortuosity_button = button(
            "Tortuosity",
            "Solve for diffusion along z, y and x; takes from seconds to many minutes",
            self.measure_tortuosity,
        )
        self.stop_button = button(
            "Stop",
            "Stop measuring; the results so far are kept",
            self.stop,
        )
        self.copy_button = button(
            "Copy table", "Copy all numbers, to paste into a spreadsheet", self.copy
        )
        self.csv_button = button(
            "CSV…", "Save all numbers as a table", self._ask_for_csv
        )
        self.json_button = button(
            "JSON…",
            "Save all numbers as measure --json prints them",
            self._ask_for_json,
        )
        self.figure_button = button(
            "Figure…",
            "Save fractions and particle sizes as a figure",
            self._ask_for_figure,
        )
        self.line_fold = Fold("Line profile", self.line)
        for part in (self.form, self.results, self.line_fold):
            self.body.addWidget(part)
        self.body.addStretch()
        self.results.add_buttons(
            self.copy_button, self.csv_button, self.json_button, self.figure_button
        )
        self.footer.addLayout(
            hbox(
                self.measure_button,
                self.tortuosity_button,
                self.stop_button,
                stretch=(2, 1, 1),
            )
        )

    @property
    def measured(self) -> tuple[Measures, ...]:
        """What is shown, a column each."""
        return tuple(self._measured.values())

    @property
    def is_current(self) -> bool:
        """Whether something is shown, and measured on labels as they are now."""
        return bool(self._measured) and bool(self.results.isEnabled())

    # ---- measuring ----

    def measure(self) -> None:
        """Measure the checked layers, or say why they cannot be."""
        try:
            request = self.form.request()
        except EXPECTED as error:
            self.show_error(error)
            return
        self._measured.clear()
        self._outdated.follow(self.form.layers.layers)
        self.results.setVisible(False)
        self.results.setEnabled(True)
        self._begin("Measure phases", request.events)

    def measure_tortuosity(self) -> None:
        """Solve for diffusion through a phase of the checked layers."""
        try:
            request = self.form.request()
        except EXPECTED as error:
            self.show_error(error)
            return
        names = [labels.name for labels in request.labels if self.is_current]
        self._measured = {n: m for n, m in self._measured.items() if n in names}
        self._outdated.follow(self.form.layers.layers)
        self._show()  # without what has changed since, also if this is stopped
        self.results.setEnabled(True)
        known = tuple(self._measured)
        self._begin("Measure tortuosity", lambda: request.transport_events(known))

    def _begin(self, name: str, events: Callable[[], Events]) -> None:
        if not self.is_busy:
            self.begin(name, events)
            self.progress.begin(f"{name} …")

    def handle(self, event: Any) -> None:
        """Show how far the work is, what is measured, or files as saved."""
        match event:
            case Measuring():
                self.progress.show_share(event.share, event.text)
            case Measures():
                self._measured[event.name] = event
                self._show()
            case TransportFound():
                former = self._measured[event.name]
                self._measured[event.name] = former.with_transport(event.through)
                self._show()
                self.results.show_tab("Tortuosity")
            case MeasuredProfile():
                self.line.show_profile(event)
            case Notice():
                self.show_message(event.text, "warning")
            case Saved():
                self.show_message(str(event), "done")

    def finish(self, outcome: Outcome) -> None:
        """Say so if the work was stopped."""
        if outcome == "stopped":
            self.show_message("Stopped; the results so far are shown")
            self._warn_if_changed()

    def update_buttons(self) -> None:
        """Enable the buttons that make sense now."""
        for begins in (self.measure_button, self.tortuosity_button):
            begins.setEnabled(not self.is_busy)
        self.stop_button.setEnabled(self.is_busy and not self.is_stopping)
        is_there = self.is_current and not self.is_busy
        for made in (
            self.copy_button,
            self.csv_button,
            self.json_button,
            self.figure_button,
        ):
            made.setEnabled(is_there)
        self.line.update_buttons(is_busy=self.is_busy)

    def _warn_if_changed(self) -> None:
        if self._outdated.name and self._measured:
            self.results.setEnabled(False)
            remedy = "press Measure for its numbers as they are now"
            self.show_message(
                self._outdated.warning("measured", remedy=remedy), "warning"
            )
            self.update_buttons()
            self.job_changed.emit()

    def _show(self) -> None:
        if self._measured:
            self.results.show_measures(self.measured)
        self.results.setVisible(bool(self._measured))
        self._warn_if_changed()

    # ---- what can be taken along ----

    def copy(self) -> None:
        """Copy all numbers as a table with tabs."""
        self.copy_table(as_text_table(self.measured))

    def save_csv(self, path: Path) -> None:
        """Write all numbers as a table to `path`."""
        self._save(path, write_measures_csv)

    def save_json(self, path: Path) -> None:
        """Write all numbers to `path` as ``measure --json`` prints them."""
        self._save(path, write_measures_json)

    def save_figure(self, path: Path) -> None:
        """Write the fractions and the sizes of particles as a figure."""
        self._save(path, write_measures_figure)

    def _save(self, path: Path, write: Write) -> None:
        measured = self.measured
        self._begin(
            "Save the measures",
            lambda: save_files({path: lambda place: write(place, measured)}),
        )

    def _ask_for_csv(self) -> None:
        self.ask_where_to_save("measures.csv", "Tables (*.csv)", self.save_csv)

    def _ask_for_json(self) -> None:
        self.ask_where_to_save("measures.json", "JSON (*.json)", self.save_json)

    def _ask_for_figure(self) -> None:
        kinds = "Figures (*.png *.pdf *.svg)"
        self.ask_where_to_save("measures.png", kinds, self.save_figure)

    # ---- the rest ----

    def settings(self) -> dict[str, Any]:
        """Return the neighbourhood, the field of view and the phases."""
        return self.form.settings()
