"""The choice of what computes: this process, others of this computer, or a cluster."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QLineEdit, QWidget

from napari_lrcs.plugin.parts.computing.cluster import LOCAL, Cluster
from napari_lrcs.plugin.parts.forms import Fold
from napari_lrcs.plugin.parts.layers.layers import DATASET_KEY, file_opened
from napari_lrcs.plugin.parts.widgets import path_row, vbox

_HERE, _DASK = "here", "dask"
_TITLES = (
    ("This computer", _HERE),
    ("This computer, one process per core", LOCAL),
    ("A dask cluster", _DASK),
)
_TIP = (
    "One process per core: without a GPU, faster if one network or one slice does not "
    "keep all cores busy. A dask cluster: other computers that see the same files; "
    "see “On a cluster” in the documentation"
)
_ADDRESS = "tcp://host:8786, or scheduler.json"
_ADDRESS_TIP = "Address of the scheduler, or the file that it has written"
_MISSING = (
    "Other processes and clusters need dask.distributed, which is not installed: pip "
    'install "napari-lrcs[cluster]"'
)


class ComputeOn(QWidget):
    """A collapsible choice of what computes, with the address of a cluster."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.where, self.address = QComboBox(), QLineEdit()
        for title, key in _TITLES:
            self.where.addItem(title, key)
        self.where.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.where.setToolTip(_TIP)
        self.address.setPlaceholderText(_ADDRESS)
        self.address.setToolTip(_ADDRESS_TIP)
        self._place = path_row(self.address, "Choose the file", self._ask_for_file)
        self._missing = QLabel(_MISSING)
        self._missing.setWordWrap(True)
        self._content = QWidget()
        vbox(self._content, self.where, self._place, self._missing)
        self._fold = Fold("Compute on", self._content)
        vbox(self, self._fold)
        is_installed = find_spec("distributed") is not None
        self.where.setEnabled(is_installed)
        self._missing.setVisible(not is_installed)
        self.where.currentIndexChanged.connect(self._follow)
        self._follow()

    @property
    def is_elsewhere(self) -> bool:
        """Whether other processes compute, which write their results to files."""
        return bool(self.where.currentData() != _HERE)

    def cluster(self, image: Layer, mask: Layer | None = None) -> Cluster | None:
        """Return what computes; None for this process.

        Raises
        ------
        ValueError
            If no address is given, or the image is not opened from a file.
        """
        if not self.is_elsewhere:
            return None
        address = self.where.currentData()
        if address == _DASK:
            address = self.address.text().strip()
        if not address:
            raise ValueError(
                "Compute on: no address is given; name the scheduler of the cluster, "
                "as in tcp://host:8786, or its file"
            )
        file = _file_of(image)
        if file is None:
            raise ValueError(
                f"{image.name} is in memory, where other processes cannot read it; "
                "save it (File > Save Selected Layers…) and open the file, or choose "
                "This computer under Compute on"
            )
        return Cluster(
            address=address, image=file, mask=None if mask is None else _file_of(mask)
        )

    def set_busy(self, is_busy: bool) -> None:  # noqa: FBT001 as Qt's setters
        """Disable the choice while the dock is busy."""
        self._content.setEnabled(not is_busy)

    def _follow(self) -> None:
        self._place.setVisible(self.where.currentData() == _DASK)
        self.changed.emit()

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "File of the scheduler", "", "JSON (*.json);;All files (*)"
        )
        if path:
            self.address.setText(path)

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return what to remember."""
        return {"where": self.where.currentData(), "address": self.address.text()}

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Restore what was remembered; *This computer* without dask.distributed."""
        self.address.setText(str(settings.get("address", "")))
        if self.where.isEnabled():
            place = self.where.findData(settings.get("where"))
            self.where.setCurrentIndex(max(place, 0))
        if self.is_elsewhere:
            self._fold.unfold()


def _file_of(layer: Layer) -> str | None:
    """Return the file of a layer as `open_volume` takes it."""
    file, dataset = file_opened(layer), layer.metadata.get(DATASET_KEY)
    return file if file is None or dataset is None else f"{file}:{dataset}"
