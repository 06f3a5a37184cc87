"""Where the labels of a prediction go."""

from pathlib import Path

from napari.layers import Image
from qtpy.QtWidgets import QFileDialog, QLineEdit, QWidget

from napari_lrcs.inference.results.partial import last_unfinished
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.parts.widgets import button, choice, hbox

MEMORY, ZARR, TIFF = "In memory", "OME-Zarr file", "TIFF file"

_SUFFIXES = {ZARR: ".zarr", TIFF: ".tif"}
_KNOWN = (*_SUFFIXES.values(), ".tiff")


class ResultPlace(QWidget):
    """The file for the labels, which is named by itself unless the user names it.

    `where` is to be put beside it: memory, or the type of the file; and `unfinished`,
    the button to continue what an earlier session has not finished.
    """

    def __init__(self) -> None:
        super().__init__()
        self.where = choice(MEMORY, ZARR, TIFF)
        self.file = QLineEdit()
        self.unfinished = button(
            "",
            "Choose the same file again, to continue where the prediction stopped; "
            "with a different model, image or settings, it starts from the beginning",
            self._choose_unfinished,
        )
        self._image: Image | None = None
        self._own_file = False
        self.setLayout(
            hbox(self.file, button("…", "Choose the file", self._ask_for_file))
        )
        self.file.textEdited.connect(self._note_own_file)
        self.where.currentTextChanged.connect(lambda _text: self.new_file())

    @property
    def path(self) -> Path | None:
        """File for the labels; None if they stay in memory."""
        if self.where.currentText() == MEMORY:
            return None
        return Path(self.file.text().strip())

    @property
    def suffix(self) -> str:
        """Return the file type of volumes that go to disk in any case."""
        return _SUFFIXES.get(self.where.currentText(), ".zarr")

    @property
    def has_own_file(self) -> bool:
        """Whether the user has named the file."""
        return self._own_file

    def follow(self, image: Image | None) -> None:
        """Name files after another image from now on."""
        self._image, self._own_file = image, False

    def new_file(self) -> None:
        """Name a file that is not there, unless the user has named one."""
        suffix = _SUFFIXES.get(self.where.currentText())
        if suffix is None or self._image is None:
            return
        if self._own_file:
            self.file.setText(_renamed(self.file.text(), suffix))
            return
        self.file.setText(str(workspace_for(self._image).new_result(suffix)))

    def choose_file(self, path: Path) -> None:
        """Let the labels go to a file."""
        self.where.setCurrentText(TIFF if path.suffix.startswith(".tif") else ZARR)
        self._own_file = True
        self.file.setText(str(path))

    def offer_unfinished(self) -> None:
        """Show or hide the button to continue."""
        path = self._last_unfinished()
        is_offered = path is not None and str(path) != self.file.text()
        self.unfinished.setVisible(is_offered)
        if path is not None:
            self.unfinished.setText(f"Continue {path.name}")

    def _choose_unfinished(self) -> None:
        path = self._last_unfinished()
        if path is not None:
            self.choose_file(path)
            self.offer_unfinished()

    def _last_unfinished(self) -> Path | None:
        suffix = _SUFFIXES.get(self.where.currentText())
        if self._image is None or suffix is None:
            return None
        return last_unfinished(workspace_for(self._image).path, suffix)

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Labels",
            self.file.text(),
            "OME-Zarr (*.zarr);;TIFF (*.tif *.tiff)",
            options=QFileDialog.Option.DontConfirmOverwrite,
        )
        if path:
            self.choose_file(Path(path))

    def _note_own_file(self, text: str) -> None:
        self._own_file = bool(text.strip())


def _renamed(text: str, suffix: str) -> str:
    """Give a file another suffix; what follows a point in a name like 0.5um stays."""
    path = Path(text)
    stem = path.stem if path.suffix.lower() in _KNOWN else path.name
    return str(path.parent / f"{stem}{suffix}")
