"""Which network is used: the best one of a run, a file, or none."""

from collections.abc import Sequence
from pathlib import Path

from napari.layers import Image, Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QWidget
from superqt.utils import signals_blocked

from napari_lrcs.errors import LrcsError
from napari_lrcs.models.header import ModelSummary, checkpoint_file, read_summary
from napari_lrcs.plugin.parts.layers.choice import NameBox
from napari_lrcs.plugin.parts.layers.layers import (
    RUN_KEY,
    prefer_run,
    volume_of,
    workspace_for,
)
from napari_lrcs.plugin.parts.widgets import colour, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, BackgroundReader
from napari_lrcs.training.run.folder import list_runs
from napari_lrcs.training.run.summary import RunSummary, rank_runs

_FILE = "Choose a file…"
_NONE = "none yet"
_HINT = "Train one in the dock Train LRCS-Net, or choose a file."


class ModelChoice(QWidget):
    """The networks that were trained on an image, the best first, and any file.

    Parameters
    ----------
    purpose : str
        Title of the dialog that asks for a file.
    none : str
        First entry, which chooses no network and is chosen at first. By default there
        is none: the best run, or the one that the user has chosen for this image in any
        dock, is chosen.
    in_one_line : bool
        Whether to show the description of the network as a tooltip only.
    layers : sequence of Layer
        Of the viewer: the networks of its other images are offered, too.
    """

    changed = Signal()
    """Emitted when another network is chosen, or none."""
    failed = Signal(str)
    """Emitted with the reason when a file cannot be used."""
    listed = Signal()
    """Emitted when the runs of the image are listed."""

    def __init__(
        self,
        purpose: str = "Predict with a network",
        *,
        none: str = "",
        in_one_line: bool = False,
        layers: Sequence[Layer] = (),
    ) -> None:
        super().__init__()
        self.model: ModelSummary | None = None
        """Summary of the network that is chosen."""
        self._purpose, self._none, self._is_one_line = purpose, none, in_one_line
        self._path: Path | None = None
        self._file: Path | None = None
        self._layers = layers
        self._runs: Sequence[RunSummary] = ()
        """Of the image, the best first; `_others` are those of other images."""
        self._others: Sequence[RunSummary] = ()
        self._image: Image | None = None
        self._folder: Path | None = None
        self._reader = BackgroundReader("Listing runs", self)
        self._reader.answered.connect(self._show_runs)
        self._reader.failed.connect(self.failed.emit)
        for ended in (self._reader.answered, self._reader.failed):
            ended.connect(lambda _answer: self.listed.emit())
        self._box = _Box()
        self._line = QLabel()
        self._line.setWordWrap(True)
        vbox(self, self._box, self._line)
        self._box.opened.connect(self.refresh)
        self._box.activated.connect(self._handle_choice)
        self._show_items()
        self._describe()

    @property
    def path(self) -> Path | None:
        """The run folder or file that is chosen."""
        return self._path

    @property
    def is_awaited(self) -> bool:
        """Whether there may be a network: the runs of the image are being listed."""
        return self.model is None and self._reader.is_reading

    @property
    def texts(self) -> tuple[str, ...]:
        """Entries of the list."""
        return tuple(self._box.itemText(i) for i in range(self._box.count()))

    @property
    def text(self) -> str:
        """Description of the network."""
        return str(self._line.text())

    def leave_keys_alone(self) -> None:
        """Take no keyboard focus, so that keys go to the canvas."""
        self._box.setFocusPolicy(Qt.FocusPolicy.NoFocus)

    # ---- choosing ----

    def choose(self, path: Path) -> None:
        """Choose a run folder or a checkpoint, whatever else is offered.

        Raises
        ------
        CheckpointError
            If it is not a checkpoint, or a damaged one.
        """
        self._set(path, read_summary(path))
        self._file = path
        self._show_items()

    def clear(self) -> None:
        """Choose no network."""
        self._set(None, None)
        self._show_items()

    def follow_run(self, former: Path, place: Path | None) -> None:
        """Keep to a run that was renamed; choose none in place of a deleted one."""
        if self._path == former and place is not None:
            self.choose(place)
        elif self._path == former:
            self.clear()

    def _handle_choice(self, index: int) -> None:
        chosen = self._box.itemData(index)
        if chosen != _FILE:
            self._try(chosen)
            self._remember(chosen)
            return
        self._show_items()
        name, _ = QFileDialog.getOpenFileName(
            self, self._purpose, "", "Networks (*.safetensors)"
        )
        if name:
            self._file = Path(name)
            self._try(self._file)
            self._show_items()
            self._remember(self._path)

    def _try(self, path: Path | None) -> None:
        try:
            self._set(path, None if path is None else self._summary(path))
        except EXPECTED as error:
            self._file = None if path == self._file else self._file
            self.failed.emit(str(error))

    def _summary(self, path: Path) -> ModelSummary:
        runs = (*self._runs, *self._others)
        known = (run.network for run in runs if run.path == path)
        return next(known, None) or read_summary(path)

    def _remember(self, path: Path | None) -> None:
        """Let other docks, too, prefer the run that the user has chosen."""
        if path is not None and self._image is not None and not self._none:
            prefer_run(self._image, path)

    def _set(self, path: Path | None, model: ModelSummary | None) -> None:
        self._path, self.model = path, model
        self._describe()
        self.changed.emit()

    # ---- what an image offers ----

    def follow(self, image: Image | None) -> None:
        """Offer the networks that were trained on an image."""
        self._disconnect_image()
        self._image = image
        if image is not None:
            image.events.metadata.connect(self.refresh)
        self._folder = None if image is None else workspace_for(image).path
        self._runs = self._others = ()
        self.refresh()
        self._describe()

    def refresh(self, event: object = None) -> None:
        """List the runs, in a thread."""
        del event
        folder = self._folder
        if folder is None:
            self._show_items()
        else:
            images = [x for x in self._layers if isinstance(x, Image)]
            others = {workspace_for(image).path for image in images} - {folder}
            self._reader.read(lambda: _ranked(folder, *sorted(others)))

    def disconnect_events(self) -> None:
        """Ignore the image, and what is still listed."""
        self._disconnect_image()
        self._folder = None

    def _disconnect_image(self) -> None:
        self._reader.cancel()
        if self._image is not None:
            self._image.events.metadata.disconnect(self.refresh)
            self._image = None

    def _show_runs(self, listed: Sequence[Sequence[RunSummary]]) -> None:
        runs, *folders = listed
        others = [run for folder in folders for run in folder]
        preferred = self._preferred([*runs, *others])
        is_known = (runs, others) == (self._runs, self._others)
        if is_known and preferred in (None, self._path):
            return  # the list may be open
        self._runs, self._others = runs, others
        is_file = self._path is not None and self._path == self._file
        if not self._none and (preferred is not None or not is_file):
            best = next((run.path for run in runs), None)
            self._try(preferred or best)
        self._show_items()

    def _preferred(self, runs: Sequence[RunSummary]) -> Path | None:
        """Return what the user has chosen for the image, if it is there."""
        if self._image is None or self._none:
            return None
        chosen: Path | None = self._image.metadata.get(RUN_KEY)
        if chosen is None or chosen in [run.path for run in runs]:
            return chosen
        is_elsewhere = chosen.parent != self._folder or chosen.is_file()
        if is_elsewhere and checkpoint_file(chosen).is_file():
            self._file = chosen
            return chosen
        return None

    def _show_items(self) -> None:
        with signals_blocked(self._box):
            self._box.clear()
            if self._none:
                self._box.addItem(self._none, None)
            for run in self._runs:
                self._box.addItem(run.title, run.path)
            for run in self._others:
                self._box.addItem(f"{run.path.parent.stem}: {run.title}", run.path)
            if self._file is not None and self._box.place_of(self._file) < 0:
                self._box.addItem(self._name(self._file), self._file)
            if not self._box.count():
                self._box.addItem(_NONE, None)
            self._box.addItem(_FILE, _FILE)
            self._box.setCurrentIndex(max(0, self._box.place_of(self._path)))

    def _name(self, path: Path) -> str:
        """Name a file, or a run, which may be a part of a study of the image."""
        if self._folder is not None and path.is_relative_to(self._folder):
            return path.relative_to(self._folder).as_posix()
        return path.name

    def _describe(self) -> None:
        """Describe the network, and warn where it does not fit the image."""
        if self.model is None:
            self._line.setText("" if self._none else _HINT)
        else:
            warning = self._warning(self.model)
            colour(self._line, "warning" if warning else "hint")
            self._line.setText(f"{self.model}{warning}")
        self._line.setVisible(bool(self._line.text()) and not self._is_one_line)
        if self._is_one_line:
            self._box.setToolTip(self._line.text())

    def _warning(self, model: ModelSummary) -> str:
        if self._image is None or self._none:
            return ""
        try:
            return model.warn_of_voxel_size(volume_of(self._image))
        except LrcsError:
            return ""


def _ranked(*folders: Path) -> list[list[RunSummary]]:
    return [rank_runs(list_runs(folder)) for folder in folders]


class _Box(NameBox):
    opened = Signal()

    def place_of(self, path: Path | None) -> int:
        """Return the place of an entry; -1 if it is not there."""
        # Not findData, which may tell equal paths apart.
        entries = [self.itemData(i) for i in range(self.count())]
        return entries.index(path) if path in entries else -1

    def showPopup(self) -> None:  # noqa: N802 Qt's name
        self.opened.emit()
        super().showPopup()
