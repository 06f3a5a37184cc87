"""Files that are predicted after the volume in the viewer."""

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QLabel,
    QLineEdit,
    QListWidget,
    QWidget,
)

from napari_lrcs.plugin.parts.widgets import button, hbox, vbox


class MoreVolumes(QWidget):
    """A list of volumes, and the folder for their results."""

    def __init__(self) -> None:
        super().__init__()
        self._list = QListWidget()
        self._list.setToolTip("Volumes to predict after this one, in this order")
        self._list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._list.setMaximumHeight(90)
        self._folder = QLineEdit()
        self._folder.setToolTip("Folder for their labels, one file each")
        self._folder.setPlaceholderText("beside the first one")
        layout = vbox(self, self._list)
        layout.addLayout(
            hbox(
                button("Add files…", "Volumes in files", self._choose_files),
                button(
                    "Add folder…", "A folder of slices, or a Zarr", self._choose_one
                ),
                button("Remove", "Remove the selected volumes", self._remove),
            )
        )
        layout.addLayout(
            hbox(
                QLabel("Results"),
                self._folder,
                button("…", "Choose the folder", self._choose_folder),
            )
        )

    @property
    def images(self) -> list[str]:
        """The files, in order."""
        items = (self._list.item(i) for i in range(self._list.count()))
        return [item.text() for item in items if item is not None]

    @property
    def folder(self) -> Path | None:
        """Folder for the results; None if it is left open."""
        text = self._folder.text().strip()
        return Path(text) if text else None

    @folder.setter
    def folder(self, folder: Path | None) -> None:
        self._folder.setText("" if folder is None else str(folder))

    def add(self, paths: Sequence[str]) -> None:
        """Append files; what is listed already is not repeated."""
        there = self.images
        self._list.addItems([path for path in paths if path not in there])

    def _remove(self) -> None:
        for item in self._list.selectedItems():
            self._list.takeItem(self._list.row(item))

    def _choose_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Volumes to predict")
        self.add(paths)

    def _choose_one(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Volume to predict")
        self.add([path] if path else [])

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if path:
            self.folder = Path(path)
