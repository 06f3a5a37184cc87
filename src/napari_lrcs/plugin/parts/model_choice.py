"""Which network predicts: the best one of a run, or a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QVBoxLayout, QWidget

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.units import METRES, SYMBOLS
from napari_lrcs.io.volume import VoxelSize
from napari_lrcs.models.header import read_header
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.dock import colour
from napari_lrcs.plugin.parts.layers import RUN_KEY, volume_of, workspace_for
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Job, Work, start_job
from napari_lrcs.training.run_summary import RunSummary, list_runs, networks_of

_FILE = "Choose a file…"
_NONE = "No trained network yet"

_TOLERANCE = 0.1
"""Of the voxel size: a network knows structures by their size in voxels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """What a checkpoint says about itself.

    Parameters
    ----------
    path : Path
        The ``.safetensors`` file.
    phases : PhaseTable
    config : TrainConfig
    voxel_size : tuple of three floats, optional
        z, y, x of the training volume, in `unit`.
    unit : str, optional
    """

    path: Path
    phases: PhaseTable
    config: TrainConfig
    voxel_size: VoxelSize | None
    unit: str | None

    def __str__(self) -> str:
        n = self.config.context_slices
        parts = [
            ", ".join(self.phases.names),
            f"slices across {self.config.axis}"
            + (f" with {n} neighbour{'s' * (n > 1)} on either side" if n else ""),
        ]
        if self.voxel_size is not None:
            parts.append(f"trained at {_size_text(self.voxel_size, self.unit)}")
        return "; ".join(parts)


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
        self._set(path, read_model(path))
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
        runs = networks_of(listed.runs)
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
            self._set(path, None if path is None else read_model(path))
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
        here, there = volume.voxel_size, model.voxel_size
        if here is None or there is None:
            return ""
        if (volume.unit is None) != (model.unit is None):
            return ""
        ratio = np.array(here) / np.array(there)
        ratio *= _metres(volume.unit) / _metres(model.unit)
        if np.all(abs(ratio - 1) <= _TOLERANCE):
            return ""
        return (
            f", but this image has {_size_text(here, volume.unit)}: resample it, or "
            "train on it"
        )


class _Opening(QComboBox):
    opened = Signal()

    def showPopup(self) -> None:  # noqa: N802 Qt's name
        self.opened.emit()
        super().showPopup()


def read_model(path: Path) -> ModelSummary:
    """Read what the checkpoint of a run folder, or a file, says about itself.

    Raises
    ------
    CheckpointError
        If it is no checkpoint, or a damaged one.
    """
    file = path / "best.safetensors" if path.is_dir() else path
    header = read_header(file)
    return ModelSummary(
        path=file,
        phases=header.phases,
        config=header.config,
        voxel_size=header.voxel_size,
        unit=header.unit,
    )


def _metres(unit: str | None) -> float:
    return 1.0 if unit is None else METRES[unit]


def _size_text(size: VoxelSize, unit: str | None) -> str:
    lengths = size[:1] if len(set(size)) == 1 else size
    symbol = "" if unit is None else f" {SYMBOLS[unit]}"
    return f"{' × '.join(f'{length:.3g}' for length in lengths)}{symbol} voxels"
