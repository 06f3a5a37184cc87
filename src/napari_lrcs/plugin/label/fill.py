"""Help to paint: fill a slice, or segment all of them, with or without a network."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from napari_lrcs.annotation.painting import relabelled
from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.arrays import Labels
from napari_lrcs.classical.baselines import Method
from napari_lrcs.config import Axis
from napari_lrcs.inference.segment import BaselineTask, label_slice
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.training.runs import list_runs, networks_of

_NETWORK = "network"
_TITLES = {
    "otsu": "Otsu",
    "fractions": "Volume fractions",
    "k_means": "k-means (grey and edge)",
    "forest": "Random forest",
    _NETWORK: "Network",
}
_TOOLTIPS = {
    "otsu": "Thresholds that part the grey levels best",
    "fractions": "Thresholds that give known shares of the phases",
    "k_means": "Clusters of voxels with like grey levels and edges",
    "forest": "Learns from the painted slices that are not for validation or test",
    _NETWORK: "A network that was trained on this image, or a file",
}
_FILE = "From a file…"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filled:
    """New labels of a slice.

    Parameters
    ----------
    index : int
    former, labels : ndarray of uint8, shape (rows, columns)
        Those that were there, and those to be there.
    """

    index: int
    former: Labels
    labels: Labels

    def merged(self, current: Labels) -> Labels:
        """Return the new labels, but what was painted meanwhile."""
        return np.where(current == self.former, self.labels, current)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """The slice that is to be filled."""

    image: Volume
    axis: Axis
    index: int
    labels: Labels
    phases: PhaseTable
    mask: Volume | None
    only_unpainted: bool
    painting: Volume
    """Labels of all slices."""
    learnt: tuple[int, ...]
    """Painted slices that are neither for validation nor for test."""

    def filled(self, labels: Labels) -> Filled:
        """Take new labels, where they are wanted."""
        is_wanted = labels != UNPAINTED
        if self.only_unpainted:
            is_wanted &= self.labels == UNPAINTED
        new = np.where(is_wanted, labels, self.labels)
        return Filled(index=self.index, former=self.labels, labels=new)

    def task(self, method: Method, fractions: Sequence[float] | None) -> BaselineTask:
        """Segment the image without a network.

        Raises
        ------
        ValueError
            If fractions do not fit, or a forest has nothing to learn from.
        """
        if method == "forest" and not self.learnt:
            raise ValueError(
                "a random forest learns from what you paint: paint some of each phase, "
                "in a slice that is not for validation or test"
            )
        return BaselineTask(
            image=self.image,
            method=method,
            phases=self.phases,
            fractions=None if fractions is None else tuple(fractions),
            labels=self.painting if self.learnt else None,
            train=self.learnt,
            axis=self.axis,
            mask=self.mask,
        )


def fill_by_baseline(target: Target, task: BaselineTask) -> Iterator[Filled]:
    """Fill a slice without a network, in a thread."""
    labels = label_slice(
        task, target.index, target.labels, only_unpainted=target.only_unpainted
    )
    yield Filled(index=target.index, former=target.labels, labels=labels)


def fill_by_network(target: Target, *, model: Path) -> Iterator[Any]:
    """Fill a slice by a network, in a thread; yields the prediction's events, too."""
    from napari_lrcs.inference.predict import predict_slice
    from napari_lrcs.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(model)
    if checkpoint.config.axis != target.axis:
        raise ValueError(
            f"the network was trained on slices across {checkpoint.config.axis}, the "
            f"painting's lie across {target.axis}; choose another network"
        )
    mapping = _own_labels(checkpoint.phases, target.phases)
    labels = yield from predict_slice(
        target.image, checkpoint, target.index, mask=target.mask
    )
    yield target.filled(relabelled(labels, mapping))


def _own_labels(network: PhaseTable, own: PhaseTable) -> dict[int, int]:
    """Find the painting's label of each phase that the network knows, by name."""
    labels = {phase.name: phase.label for phase in own}
    unknown = [name for name in network.names if name not in labels]
    if unknown:
        raise ValueError(
            f"the network predicts {', '.join(network.names)}; the painting has no "
            f"{', no '.join(unknown)}: add or rename phases, or choose another network"
        )
    return {phase.label: labels[phase.name] for phase in network}


class FillPanel(QWidget):
    """How the slice in view is to be filled."""

    def __init__(self) -> None:
        super().__init__()
        self.workspace: Workspace | None = None
        """Whose runs are offered as networks."""
        self._file: Path | None = None
        self._chosen: str | None = None
        """Model that the user has chosen, if any."""
        self._segment: QPushButton | None = None
        self._method = _combo(_TITLES, "How phases are told apart")
        for i, tooltip in enumerate(_TOOLTIPS.values()):
            self._method.setItemData(i, tooltip, Qt.ItemDataRole.ToolTipRole)
        self._fractions = QLineEdit()
        self._fractions.setPlaceholderText("from dark to bright: 40, 10, 50")
        self._fractions.setToolTip(
            "Share of each phase in %, from the darkest to the brightest"
        )
        self._network = _NetworkChoice(self)
        self._only_unpainted = QCheckBox("Keep what is painted")
        self._only_unpainted.setToolTip("Fill only what is unpainted of the slice")
        self._only_unpainted.setChecked(True)
        self._rows = QFormLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        for name, widget in (
            ("Fill by", self._method),
            ("Shares (%)", self._fractions),
            ("Network", self._network),
            ("", self._only_unpainted),
        ):
            label = QLabel(name)
            label.setToolTip(widget.toolTip())
            self._rows.addRow(label, widget)
        self._method.currentIndexChanged.connect(self._show_rows)
        self._show_rows()

    def add_buttons(self, fill: QPushButton, segment: QPushButton) -> None:
        """Put the buttons below; the second is for what needs no network."""
        self._rows.addRow(fill)
        self._rows.addRow(segment)
        self._segment = segment
        self._show_rows()

    def choose(
        self, method: str, *, fractions: str = "", keep_painted: bool = True
    ) -> None:
        """Set the panel: a method of `BaselineTask`, or "network"."""
        self._method.setCurrentIndex(list(_TITLES).index(method))
        self._fractions.setText(fractions)
        self._only_unpainted.setChecked(keep_painted)

    @property
    def method(self) -> str:
        """How to fill."""
        return list(_TITLES)[self._method.currentIndex()]

    @property
    def title(self) -> str:
        """How to fill, for people."""
        return _TITLES[self.method]

    @property
    def only_unpainted(self) -> bool:
        """Whether painted voxels keep their label."""
        return bool(self._only_unpainted.isChecked())

    def events(self, target: Target) -> Iterator[Any]:
        """Begin to fill a slice; what is made here runs in a thread.

        Raises
        ------
        ValueError
            If the fractions cannot be read, nothing is painted that could be learnt, or
            there is no network.
        """
        if self.method == _NETWORK:
            return fill_by_network(target, model=self.network())
        return fill_by_baseline(target, self.task(target))

    def task(self, target: Target) -> BaselineTask:
        """Say how the image is segmented without a network; errors as of `events`."""
        fractions = self._read_fractions() if self.method == "fractions" else None
        return target.task(cast(Method, self.method), fractions)

    def network(self) -> Path:
        """Return the chosen model.

        Raises
        ------
        ValueError
            If there is none.
        """
        chosen = self._network.currentData()
        if self._network.currentText() == _FILE or chosen is None:
            chosen = self._file
        if chosen is None:
            raise ValueError("there is no network yet; train one, or choose a file")
        return Path(chosen)

    def take_file(self, file: Path) -> None:
        """Use a model from a file."""
        self._file, self._chosen = file, str(file)
        self.offer_networks()

    def offer_networks(self) -> None:
        """List the networks of the workspace, the best first."""
        self._network.clear()
        runs = [] if self.workspace is None else list_runs(self.workspace.path)
        for run in networks_of(runs):
            self._network.addItem(run.title, str(run.path / "best.safetensors"))
        if self._file is not None:
            self._network.addItem(self._file.name, str(self._file))
        self._network.addItem(_FILE)
        place = -1 if self._chosen is None else self._network.findData(self._chosen)
        self._network.setCurrentIndex(max(0, place))

    def choose_network(self, index: int) -> None:
        """Keep a network that the user has chosen, or ask for a file."""
        if self._network.itemText(index) == _FILE:
            self.ask_for_file()
        else:
            self._chosen = self._network.itemData(index)

    def ask_for_file(self) -> None:
        """Let the user choose a model."""
        name, _ = QFileDialog.getOpenFileName(
            self, "Choose a network", "", "Networks (*.safetensors)"
        )
        if name:
            self.take_file(Path(name))

    def _read_fractions(self) -> list[float]:
        text = self._fractions.text()
        try:
            return [float(part) / 100 for part in text.replace(";", ",").split(",")]
        except ValueError:
            raise ValueError(
                f"the shares must read like 40, 10, 50, one a phase; got {text!r}"
            ) from None

    def _show_rows(self, index: int = 0) -> None:
        del index
        self._rows.setRowVisible(self._fractions, self.method == "fractions")
        self._rows.setRowVisible(self._network, self.method == _NETWORK)
        if self._segment is not None:
            self._segment.setVisible(self.method != _NETWORK)
        if self.method == _NETWORK:
            self.offer_networks()


class _NetworkChoice(QComboBox):
    def __init__(self, panel: FillPanel) -> None:
        super().__init__()
        self._panel = panel
        self.setToolTip("A network that was trained on this image, or a file")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.activated.connect(panel.choose_network)

    def showPopup(self) -> None:  # noqa: N802 Qt's name
        """List what has been trained by now."""
        self._panel.offer_networks()
        super().showPopup()


def _combo(titles: dict[str, str], tooltip: str) -> QComboBox:
    combo = QComboBox()
    combo.addItems(list(titles.values()))
    combo.setToolTip(tooltip)
    combo.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return combo
