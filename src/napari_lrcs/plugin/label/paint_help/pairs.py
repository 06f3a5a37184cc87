"""Import and export of pairs of a slice and its painting."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from napari_lrcs.annotation.pairs import export_pairs, find_pairs, read_pair_labels
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.parts.keys import without_focus
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.preprocessing.slices import AXES


@dataclass(frozen=True, slots=True)
class Exported:
    """Pairs have been written: their folder and number."""

    folder: Path
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """The labels of a slice have been read."""

    index: int
    labels: Labels


class PairsPanel(QWidget):
    """Buttons to import or export a folder of pairs."""

    export_requested = Signal(object)
    """The folder to write."""

    import_requested = Signal(object, int)
    """The folder to read, and the label of the first phase in it."""

    def __init__(self) -> None:
        super().__init__()
        self._from_0 = without_focus(QCheckBox("Phases count from 0 (SegmentPy)"))
        self._from_0.setToolTip(
            "In SegmentPy's files 0 is the first phase; here it means unpainted"
        )
        buttons = QHBoxLayout()
        for text, tooltip, action in (
            (
                "Import…",
                "Read files such as 100_label.tif into slice 100; painted voxels stay",
                self.choose_import,
            ),
            (
                "Export…",
                "Write the painted slices as 100.tif and 100_label.tif",
                self.choose_export,
            ),
        ):
            buttons.addWidget(button(text, tooltip, action))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._from_0)
        layout.addLayout(buttons)

    @property
    def first_label(self) -> int:
        """Label of the first phase in files to import."""
        return 0 if self._from_0.isChecked() else 1

    def choose_import(self) -> None:
        """Let the user choose the folder to read."""
        if folder := QFileDialog.getExistingDirectory(self, "Folder of pairs"):
            self.import_requested.emit(Path(folder), self.first_label)

    def choose_export(self) -> None:
        """Let the user choose the folder to write."""
        if folder := QFileDialog.getExistingDirectory(self, "Folder for the pairs"):
            self.export_requested.emit(Path(folder))


def write_pairs(
    folder: Path, image: Volume, labels: Volume, *, indices: list[int], axis: Axis
) -> Iterator[Exported]:
    """Write pairs, in a thread."""
    export_pairs(folder, image, labels, indices=indices, axis=axis)
    yield Exported(folder, len(indices))


def read_pairs(
    folder: Path, *, shape: tuple[int, int, int], axis: Axis, first_label: int
) -> Iterator[Imported]:
    """Read the labels of pairs, in a thread."""
    n_slices = shape[AXES[axis]]
    rows, columns = (n for i, n in enumerate(shape) if i != AXES[axis])
    pairs = find_pairs(folder)
    if (last := max(pairs)) >= n_slices:
        raise ValueError(
            f"{pairs[last].labels.name} is for slice {last}, but there are {n_slices} "
            f"across {axis}, 0 to {n_slices - 1}; choose the image that it belongs to"
        )
    for index, pair in pairs.items():
        labels = read_pair_labels(pair, shape=(rows, columns), first_label=first_label)
        yield Imported(index, labels)
