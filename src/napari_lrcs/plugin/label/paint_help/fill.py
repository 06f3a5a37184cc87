"""Choose how a slice is filled, or all of them segmented, perhaps by a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_lrcs.classical.baselines import Method
from napari_lrcs.inference.painting.fill import (
    SliceToFill,
    fill_by_baseline,
    fill_by_network,
)
from napari_lrcs.inference.segment import BaselineTask
from napari_lrcs.plugin.parts.keys import without_focus
from napari_lrcs.plugin.parts.model_choice import ModelChoice

_NETWORK = "network"
_TITLES = {
    "otsu": "Otsu",
    "fractions": "Volume fractions",
    "k_means": "k-means (grey and edge)",
    "forest": "Random forest",
    _NETWORK: "Network",
}
_TOOLTIPS = {
    "otsu": "Thresholds that separate the grey levels best",
    "fractions": "Thresholds that give known fractions of the phases",
    "k_means": "Clusters of voxels with similar grey levels and edges",
    "forest": "Learns from the painted slices that are not for validation or test",
    _NETWORK: "A network that was trained on this image, or a file",
}


class FillPanel(QWidget):
    """Form for how to fill the slice in view."""

    def __init__(self) -> None:
        super().__init__()
        self._segment: QPushButton | None = None
        self._method = _combo(_TITLES, "How to separate the phases")
        for i, tooltip in enumerate(_TOOLTIPS.values()):
            self._method.setItemData(i, tooltip, Qt.ItemDataRole.ToolTipRole)
        self._fractions = QLineEdit()
        self._fractions.setPlaceholderText("from dark to bright: 40, 10, 50")
        self._fractions.setToolTip(
            "Share of each phase in %, from the darkest to the brightest"
        )
        self.networks = ModelChoice("Choose a network")
        self.networks.setToolTip(_TOOLTIPS[_NETWORK])
        self.networks.leave_keys_alone()
        self._only_unpainted = QCheckBox("Keep what is painted")
        self._only_unpainted.setToolTip("Fill only the unpainted part of the slice")
        self._only_unpainted.setChecked(True)
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        for name, widget in (
            ("Fill by", self._method),
            ("Shares (%)", self._fractions),
            ("Network", self.networks),
            ("", self._only_unpainted),
        ):
            label = QLabel(name)
            label.setToolTip(widget.toolTip())
            self._rows.addRow(label, widget)
        self._method.currentIndexChanged.connect(self._show_rows)
        self._show_rows()

    def add_buttons(self, fill: QPushButton, segment: QPushButton) -> None:
        """Add the buttons below; `segment` is hidden while a network is chosen."""
        self._rows.addRow(fill)
        self._rows.addRow(segment)
        self._segment = segment
        self._show_rows()

    def choose(
        self, method: str, *, fractions: str = "", keep_painted: bool = True
    ) -> None:
        """Fill in the form: a method of `BaselineTask`, or "network"."""
        self._method.setCurrentIndex(list(_TITLES).index(method))
        self._fractions.setText(fractions)
        self._only_unpainted.setChecked(keep_painted)

    @property
    def method(self) -> str:
        """The chosen method."""
        return list(_TITLES)[self._method.currentIndex()]

    @property
    def title(self) -> str:
        """Name of the chosen method, as it is shown."""
        return _TITLES[self.method]

    @property
    def only_unpainted(self) -> bool:
        """Whether painted voxels keep their label."""
        return bool(self._only_unpainted.isChecked())

    def events(self, target: SliceToFill) -> Iterator[Any]:
        """Return the generator that fills a slice, to be run in a thread.

        Raises
        ------
        ValueError
            If the shares cannot be read, nothing is painted that could be learned, or
            there is no network.
        """
        if self.method == _NETWORK:
            return fill_by_network(target, model=self._network())
        return fill_by_baseline(target, self.task(target))

    def task(self, target: SliceToFill) -> BaselineTask:
        """Return how to segment the image without a network; raises as `events`."""
        fractions = self._read_fractions() if self.method == "fractions" else None
        return target.task(cast(Method, self.method), fractions)

    def _network(self) -> Path:
        path = self.networks.path
        if path is None:
            raise ValueError("there is no network yet; train one, or choose a file")
        return path

    def _read_fractions(self) -> list[float]:
        text = self._fractions.text()
        try:
            return [float(part) / 100 for part in text.replace(";", ",").split(",")]
        except ValueError:
            raise ValueError(
                f"the shares must look like 40, 10, 50, one per phase; got {text!r}"
            ) from None

    def _show_rows(self, index: int = 0) -> None:
        del index
        self._rows.setRowVisible(self._fractions, self.method == "fractions")
        self._rows.setRowVisible(self.networks, self.method == _NETWORK)
        if self.method == _NETWORK:
            self.networks.refresh()  # one may have been trained meanwhile
        if self._segment is not None:
            self._segment.setVisible(self.method != _NETWORK)


def _combo(titles: dict[str, str], tooltip: str) -> QComboBox:
    combo = without_focus(QComboBox())
    combo.addItems(list(titles.values()))
    combo.setToolTip(tooltip)
    return combo
