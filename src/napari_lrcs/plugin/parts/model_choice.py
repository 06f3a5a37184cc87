"""Which network predicts: the best one of a run, or a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QVBoxLayout, QWidget

from napari_lrcs.errors import LrcsError
from napari_lrcs.models.header import ModelSummary, read_summary
from napari_lrcs.plugin.parts.dock import colour
from napari_lrcs.plugin.parts.layers import RUN_KEY, volume_of, workspace_for
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Job, Work, start_job
from napari_lrcs.training.run_folder import list_runs
from napari_lrcs.training.run_summary import RunSummary, rank_runs

_FILE = "Choose a file…"
_NONE = "No trained network yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    folder: Path
    runs: Sequence[RunSummary]


class ModelChoice(QWidget):
    """The networks that were trained on an image, the best first, and any file."""

    changed = Signal()
    failed = Signal(str)
    """A file cannot be used; the reason."""

    def __init__(self) -> None:
        super().__init__()
        self.model: ModelSummary | None = None
        """What is chosen."""
        self._path: Path | None = None
        self._file: Path | None = None
        self._runs: Sequence[RunSummary] = ()
        self._image: Image | None = None
        self._folder: Path | None = None
        self._jobs: list[Job] = []
        self._box = _Opening()
        self._box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._box.setMinimumContentsLength(12)
        self._line = QLabel()
        self._line.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        layout.addWidget(self._line)
        self._box.opened.connect(self.look)
        self._box.activated.connect(self._take)
        self._show_items()

    @property
    def path(self) -> Path | None:
        """The run folder or file that is chosen."""
        return self._path

    @property
    def texts(self) -> tuple[str, ...]:
        """What is offered."""
        return tuple(self._box.itemText(i) for i in range(self._box.count()))

    @property
    def text(self) -> str:
        """What is told about the network."""
        return str(self._line.text())

    def choose(self, path: Path) -> None:
        """Choose a run folder or a checkpoint, whatever else is offered.

        Raises
        ------
        CheckpointError
            If it is no checkpoint, or a damaged one.
        """
        self._set(path, read_summary(path))
        self._file = path
        self._show_items()

    def follow(self, image: Image | None) -> None:
        """Offer the networks that were trained on an image."""
        self._leave_image()
        self._image = image
        if image is not None:
            image.events.metadata.connect(self.look)
        self._folder = None if image is None else workspace_for(image).path
        self._runs = ()
        self.look()
        self._tell()

    def look(self, event: object = None) -> None:
        """List the runs anew, in a thread."""
        del event
        folder = self._folder
        if folder is None:
            self._show_items()
            return

        def listing() -> Events:
            yield _Listed(folder=folder, runs=list_runs(folder))

        job = start_job(
            Work("Listing runs", listing), connect={"yielded": self._take_listed}
        )
        self._jobs = [*(j for j in self._jobs if j.is_running), job]

    def follow_no_more(self) -> None:
        """Take no notice of the image, nor of what is still listed."""
        self._leave_image()
        self._folder = None
        for job in self._jobs:
            job.quit()

    def _leave_image(self) -> None:
        if self._image is not None:
            self._image.events.metadata.disconnect(self.look)
            self._image = None

    def _take_listed(self, listed: _Listed) -> None:
        if listed.folder != self._folder:
            return
        runs = rank_runs(listed.runs)
        paths = [run.path for run in runs]
        asked = None if self._image is None else self._image.metadata.get(RUN_KEY)
        if runs == self._runs and asked in (None, self._path):
            return  # the list may be open
        self._runs = runs
        if self._path is None or self._path != self._file:
            best = next(iter(paths), None)
            self._try(asked if asked in paths else best)
        self._show_items()

    def _show_items(self) -> None:
        with QSignalBlocker(self._box):
            self._box.clear()
            for run in self._runs:
                self._box.addItem(run.title, run.path)
            if self._file is not None and self._box.findData(self._file) < 0:
                self._box.addItem(self._file.name, self._file)
            if not self._box.count():
                self._box.addItem(_NONE, None)
            self._box.addItem(_FILE, _FILE)
            self._box.setCurrentIndex(max(0, self._box.findData(self._path)))

    def _take(self, index: int) -> None:
        chosen = self._box.itemData(index)
        if chosen != _FILE:
            self._try(chosen)
            self._remember(chosen)
            return
        self._show_items()
        name, _ = QFileDialog.getOpenFileName(
            self, "Predict with a network", "", "Networks (*.safetensors)"
        )
        if name:
            self._file = Path(name)
            self._try(self._file)
            self._show_items()

    def _try(self, path: Path | None) -> None:
        try:
            self._set(path, None if path is None else read_summary(path))
        except EXPECTED as error:
            self._file = None if path == self._file else self._file
            self.failed.emit(str(error))

    def _remember(self, path: Path | None) -> None:
        """Let other docks, too, prefer the run that the user has chosen."""
        if self._image is not None and path not in (None, self._file):
            self._image.metadata[RUN_KEY] = path

    def _set(self, path: Path | None, model: ModelSummary | None) -> None:
        self._path, self.model = path, model
        self._tell()
        self.changed.emit()

    def _tell(self) -> None:
        model = self.model
        if model is None:
            text = "Train one in the dock Train LRCS-Net, or choose a file."
            self._line.setText(text)
            return
        warning = self._warning(model)
        colour(self._line, "warning" if warning else "hint")
        self._line.setText(f"{model}{warning}")

    def _warning(self, model: ModelSummary) -> str:
        if self._image is None:
            return ""
        try:
            volume = volume_of(self._image)
        except LrcsError:
            return ""
        return model.warn_of_voxel_size(volume)


class _Opening(QComboBox):
    opened = Signal()

    def showPopup(self) -> None:  # noqa: N802 Qt's name
        self.opened.emit()
        super().showPopup()
