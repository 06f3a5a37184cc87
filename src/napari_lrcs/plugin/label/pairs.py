"""Import and export of pairs of a slice and its painting."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from napari_lrcs.annotation.pairs import export_pairs, find_pairs, read_pair_labels
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.preprocessing.slices import AXES


@dataclass(frozen=True, slots=True)
class Exported:
    """Pairs are written."""

    folder: Path
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """The painting of a slice is read."""

    index: int
    labels: Labels


class PairsPanel(QWidget):
    """Buttons that ask for a folder of pairs."""

    export_wanted = Signal(object)
    """The folder."""

    import_wanted = Signal(object, int)
    """The folder, and what the first phase is called in it."""

    def __init__(self) -> None:
        super().__init__()
        self._from_0 = QCheckBox("Phases count from 0 (SegmentPy)")
        self._from_0.setToolTip(
            "In SegmentPy's files 0 is the first phase; here it means unpainted"
        )
        self._from_0.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        buttons = QHBoxLayout()
        for text, tooltip, action in (
            (
                "Import…",
                "Read 100_label.tif and the like into slice 100; what is painted stays",
                self.ask_import,
            ),
            (
                "Export…",
                "Write the painted slices as 100.tif and 100_label.tif",
                self.ask_export,
            ),
        ):
            buttons.addWidget(button(text, tooltip, action))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._from_0)
        layout.addLayout(buttons)

    @property
    def first_label(self) -> int:
        """What the first phase is called in files to import."""
        return 0 if self._from_0.isChecked() else 1

    def ask_import(self) -> None:
        """Let the user choose the folder to read."""
        if folder := QFileDialog.getExistingDirectory(self, "Folder of pairs"):
            self.import_wanted.emit(Path(folder), self.first_label)

    def ask_export(self) -> None:
        """Let the user choose the folder to write."""
        if folder := QFileDialog.getExistingDirectory(self, "Folder for the pairs"):
            self.export_wanted.emit(Path(folder))


def write_pairs(
    folder: Path, image: Volume, labels: Volume, *, indices: list[int], axis: Axis
) -> Iterator[Exported]:
    """Write pairs, in a thread."""
    export_pairs(folder, image, labels, indices=indices, axis=axis)
    yield Exported(folder, len(indices))


def read_pairs(
    folder: Path, *, shape: tuple[int, int, int], axis: Axis, first_label: int
) -> Iterator[Imported]:
    """Read the painting of pairs, in a thread."""
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
