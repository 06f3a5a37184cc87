"""The dock of all runs in a folder: compared, used, and thrown away."""

from pathlib import Path
from typing import Any, ClassVar

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog, QLineEdit, QWidget
from superqt.utils import qdebounced

from napari_lrcs.errors import LrcsError
from napari_lrcs.export.events import Exported, Exporting
from napari_lrcs.plugin.parts.connections import Connections, Replaceable
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.forms import form_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.layers import (
    named_by_file,
    prefer_run,
    workspace_for,
)
from napari_lrcs.plugin.parts.widgets import button, hbox, path_row
from napari_lrcs.plugin.parts.workers import BackgroundReader, Saved, save_files
from napari_lrcs.plugin.project.docks import TrainsFromRuns, show_dock
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.plugin.runs.comparison import RunComparison
from napari_lrcs.plugin.runs.export import KINDS, export_run
from napari_lrcs.plugin.runs.labels import RunLabels, read_run_labels, show_run_labels
from napari_lrcs.plugin.runs.table import RunsTable
from napari_lrcs.runs.table import write_runs

_PAUSE_MS = 200
"""Time in which several changes lead to one reading."""


class RunsDock(Dock):
    """Compare the runs in a folder, and predict or train with them."""

    key: ClassVar[str] = "runs"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self._project = project_of(viewer.layers)
        self.image_choice: LayerChoice[Image] = LayerChoice(
            viewer.layers,
            Image,
            propose=self._project.image,
            anew=self._project.changed,
        )
        self.folder, self.filter = QLineEdit(), QLineEdit()
        self.table = RunsTable()
        self.comparison = RunComparison(viewer)
        self._image_followed = Replaceable()
        self._labels = BackgroundReader("Reading the labels of a run", self)
        self._refresh_soon = qdebounced(self.refresh, timeout=_PAUSE_MS, parent=self)
        self._announce_soon = qdebounced(self._announce, timeout=_PAUSE_MS, parent=self)
        self._build()
        self._connect()
        self.connections += [
            *(self.image_choice, self.table, self.comparison, self._image_followed)
        ]
        self._follow_image()

    def _build(self) -> None:
        self.filter.setPlaceholderText("Filter, e.g. unet batch_size=8")
        self.filter.setClearButtonEnabled(True)
        self.filter.setToolTip(
            "Words that a run must have in any column, in any order; a setting and its "
            "value as learning_rate=0.001"
        )
        self.csv_button = button(
            "Export CSV…", "Save the runs in the table", self.export
        )
        self.stop_button = button("Stop", "Stop; no file is written", self.stop)
        place = path_row(self.folder, "Choose another folder", self.choose_folder)
        self.body.addLayout(
            form_rows(
                ("Image", self.image_choice, "Its runs are listed, and predict it"),
                ("Folder", place, "All runs in it and in the folders below are listed"),
            )
        )
        filters = QWidget()
        filters.setLayout(hbox(self.filter, self.csv_button))
        self.body.addWidget(filters)
        self.body.addWidget(self.table, stretch=1)
        self.body.addWidget(self.comparison)
        self.footer.addWidget(self.stop_button)
        self.update_buttons()

    def _connect(self) -> None:
        self.image_choice.chosen.connect(self._follow_image)
        self.folder.editingFinished.connect(self._refresh_soon)
        self.filter.textChanged.connect(self.table.search)
        self.table.selection_changed.connect(self._show_selected)
        self.table.listed.connect(self._show_selected)
        self.table.predict_requested.connect(self.predict_with)
        self.table.start_requested.connect(self.start_from)
        self.table.resume_requested.connect(self.resume)
        self.table.labels_requested.connect(self.show_labels)
        self.table.export_requested.connect(self.export_network)
        self.table.moved.connect(self._on_moved)
        self.table.reported.connect(self.show_message)
        self._labels.answered.connect(self._lay_over_image)
        self._labels.failed.connect(lambda text: self.show_message(text, "error"))
        self.in_front_changed.connect(self._on_front)

    # ---- what is listed ----

    def choose_folder(self) -> None:
        """Ask for the folder whose runs are listed."""
        path = QFileDialog.getExistingDirectory(
            self, "Folder with runs", self.folder.text()
        )
        if path:
            self.folder.setText(path)
            self.refresh()

    def refresh(self) -> None:
        """Read the runs again, in a thread."""
        text = self.folder.text().strip()
        folder = Path(text).expanduser().absolute() if text else None
        is_missing = folder is not None and not folder.is_dir()
        if is_missing and folder != self._workspace:
            self.show_message(f"{folder} is not a folder; choose another one", "error")
        self.table.refresh(folder)

    @property
    def _workspace(self) -> Path | None:
        image = self.image_choice.layer
        return None if image is None else workspace_for(image).path

    def _follow_image(self) -> None:
        image = self.image_choice.layer
        self._image_followed.replace(
            None
            if image is None
            else Connections((image.events.metadata, self._on_metadata))
        )
        self.folder.setText(str(self._workspace or ""))
        self.refresh()

    def _on_metadata(self, event: object = None) -> None:
        """Read again: a training of the image has begun or ended."""
        del event
        self._refresh_soon()

    def _on_front(self, is_in_front: bool) -> None:  # noqa: FBT001 a Qt slot
        if is_in_front and not self._is_closed:
            self._refresh_soon()

    def _show_selected(self) -> None:
        chosen = self.table.all_selected
        self.comparison.show_runs(chosen)
        run = self.table.selected
        if run is not None and run.summary.damaged:
            self.show_message(run.summary.damaged, "error")

    # ---- what is done with a run ----

    def predict_with(self, run: Path) -> None:
        """Make a run's network that of the image, and show *Predict volume*."""
        image = self._needed_image()
        if image is not None:
            prefer_run(image, run)
            show_dock(self.viewer, "Predict volume")
            self.show_message(f"{image.name} is predicted with {run.name}.", "done")

    def start_from(self, run: Path) -> None:
        """Let the next training start from a run, and show *Train LRCS-Net*."""
        train = show_dock(self.viewer, "Train LRCS-Net")
        if isinstance(train, TrainsFromRuns):
            train.start_from(run)

    def resume(self, run: Path) -> None:
        """Continue a run in *Train LRCS-Net*."""
        if run.parent != self._workspace:
            self.show_message(
                f"{run.name} is not a run of the image that is chosen: choose its "
                "image above, to continue it",
                "error",
            )
            return
        train = show_dock(self.viewer, "Train LRCS-Net")
        if isinstance(train, TrainsFromRuns):
            train.continue_run(run)

    def show_labels(self, path: Path) -> None:
        """Lay the slices that a run was trained on over the image."""
        image = self._needed_image()
        run = next((run for run in self.table.items if run.path == path), None)
        if image is None or run is None:
            return
        try:
            volume = named_by_file(image)
        except LrcsError as error:
            self.show_error(error)
            return
        self._labels.read(lambda: read_run_labels(run, volume))

    def _lay_over_image(self, labels: RunLabels) -> None:
        image = self.image_choice.layer
        if image is not None:
            show_run_labels(self.viewer, image, labels)
            self.show_message(str(labels), "done")

    def _needed_image(self) -> Image | None:
        image = self.image_choice.layer
        if image is None:
            self.show_message("choose an image: open one, or File > Open Sample")
        return image

    def _on_moved(self, former: Path, place: Path | None) -> None:
        self._project.move_run(former, place)
        self._announce_soon()

    def _announce(self) -> None:
        """Let docks list the runs anew, once for all that were moved."""
        for layer in self.viewer.layers:
            if isinstance(layer, Image):
                layer.events.metadata()
        self.refresh()

    # ---- saving ----

    def export(self) -> None:
        """Ask where to save the runs that are shown, as CSV."""
        self.ask_where_to_save("runs.csv", "Tables (*.csv)", self.save_csv)

    def save_csv(self, path: Path) -> None:
        """Save the runs that are shown, in their order."""
        runs = tuple(self.table.items)
        self.begin(
            "Saving the table of runs",
            lambda: save_files({path: lambda place: write_runs(place, runs)}),
        )

    def export_network(self, run: Path) -> None:
        """Ask where to write a run's network, for other programs."""
        self.ask_where_to_save(run.name, KINDS, lambda out: self.save_network(run, out))

    def save_network(self, run: Path, out: Path) -> None:
        """Write a run's network in the format of the file's suffix."""
        self.begin(f"Exporting {run.name}", lambda: export_run(run, out))
        self.progress.begin(f"Exporting {run.name}…")

    def handle(self, event: Any) -> None:
        """Show how far an export is, and say what was saved."""
        match event:
            case Exporting():
                self.progress.show_share(event.share, "Exporting and testing")
            case Exported():
                self.show_message(_describe(event), "done")
            case Saved():
                self.show_message(str(event), "done")

    def finish(self, outcome: Outcome) -> None:
        """Say so if an export was stopped."""
        if outcome == "stopped":
            self.show_message("Stopped; nothing was written")

    def update_buttons(self) -> None:
        """Enable or disable what starts or stops a job."""
        self.table.set_busy(self.is_busy)
        self.csv_button.setEnabled(not self.is_busy)
        self.stop_button.setVisible(self.is_busy)
        self.stop_button.setEnabled(not self.is_stopping)

    def shut_down(self) -> None:
        """Stop reading."""
        self._refresh_soon.cancel()
        self._announce_soon.cancel()
        self._labels.cancel()
        super().shut_down()


def _describe(exported: Exported) -> str:
    advice = "".join(f"; note that {text}" for text in exported.advice)
    return f"Exported and tested {exported.out.name}{advice}"
