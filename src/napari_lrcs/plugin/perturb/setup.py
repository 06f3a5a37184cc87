"""What to perturb, how far, and where the result goes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QMessageBox,
    QSpinBox,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.config import Axis, PerturbConfig
from napari_lrcs.io.volume import SLICE_EXAMPLES, Volume, parse_slices
from napari_lrcs.plugin.painting.distant_slices import DistantSlicesLine
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.painting.role_fields import HOW
from napari_lrcs.plugin.parts.dock import restore_forms, settings_of
from napari_lrcs.plugin.parts.forms import KERNELS, ConfigForm, form_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.current_slice import slice_in_view
from napari_lrcs.plugin.parts.layers.layers import labels_of, n_slices_of, workspace_for
from napari_lrcs.plugin.parts.widgets import choice, path_row, vbox
from napari_lrcs.plugin.project.project import project_of

PAINTED, RANGE, THIS = "All that are painted", "Some slices", "Slice in view"
LAYERS, FILES = "Label layers", "TIFF files in a folder"

_FEW_LAYERS = 5
"""Layers that are added without a question."""

_N_SAMPLED = 10
"""Slices in the middle that a first suggestion is made from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerturbRequest:
    """What is to be perturbed, and how.

    Parameters
    ----------
    labels : Volume
        What it shows.
    axis : {"z", "y", "x"}
        That the slices lie across.
    slices : tuple of int or None
        None for all: those that are not painted are found when they are read.
    """

    layer: Labels
    labels: Volume
    axis: Axis
    slices: tuple[int, ...] | None
    config: PerturbConfig
    seed: int


class PerturbSetup(QWidget):
    """The form of the dock."""

    changed = Signal()
    """Emitted when something changes that the preview depends on."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._project = project = project_of(viewer.layers)
        self.labels: LayerChoice[Labels] = LayerChoice(
            viewer.layers,
            Labels,
            without=("perturbed preview",),
            propose=lambda labels: project.painting(labels, None),
            anew=project.changed,
        )
        self.region = choice(PAINTED, RANGE, THIS)
        self.range = QLineEdit()
        self.range.setPlaceholderText(SLICE_EXAMPLES)
        self.form = ConfigForm(
            PerturbConfig(),
            main=("kernel", "picked_fraction"),
            choices={"kernel": KERNELS},
        )
        self._rows = form_rows(
            ("Labels", self.labels, "A painting or any labels; only what is painted"),
            ("Slices", self.region, "Slices to perturb; the others stay empty"),
            ("", self.range, HOW),
        )
        layout = vbox(self, top=4)
        layout.addLayout(self._rows)
        layout.addWidget(self.form)
        self.distant = DistantSlicesLine(
            "perturb one slice at a time, since painted slices side by side are "
            "perturbed together, in 3D."
        )
        layout.addWidget(self.distant)
        self._update()
        self.labels.chosen.connect(self._on_labels)
        self.region.currentTextChanged.connect(self._on_region)
        self.range.textChanged.connect(self.changed.emit)
        self.form.changed.connect(self.changed.emit)

    # ---- what is chosen ----

    def request(self, *, seed: int) -> PerturbRequest:
        """Return what is to be perturbed.

        Raises
        ------
        ValueError, VolumeError
            If there is no labels layer, it holds no labels, or a text cannot be read.
        """
        layer = self.labels.layer
        if layer is None:
            raise ValueError("choose labels: paint some in Label phases, or open some")
        return PerturbRequest(
            layer=layer,
            labels=labels_of(layer),
            axis=self.axis,
            slices=self._slices(layer),
            config=self.form.config,
            seed=seed,
        )

    def sample_request(self, *, seed: int) -> PerturbRequest:
        """Return a request like `request`, but of a few slices, which are soon read."""
        request = self.request(seed=seed)
        slices, axis = request.slices, request.axis
        if slices is None:
            slices = tuple(range(n_slices_of(request.layer, axis)))
        first = max(0, (len(slices) - _N_SAMPLED) // 2)
        sample = {*slices[first : first + _N_SAMPLED]}
        in_view = slice_in_view(self._viewer, request.layer, axis)
        if in_view in slices:
            sample.add(in_view)
        return replace(request, slices=tuple(sorted(sample)))

    @property
    def axis(self) -> Axis:
        """Axis that the slices of the chosen layer lie across."""
        painting = painting_of(self.labels.layer)
        return "z" if painting is None else painting.axis

    def _slices(self, layer: Labels) -> tuple[int, ...] | None:
        region = self.region.currentText()
        if region == RANGE:
            n_slices = n_slices_of(layer, self.axis)
            return parse_slices(self.range.text(), n_slices=n_slices)
        if region == THIS:
            index = slice_in_view(self._viewer, layer, self.axis)
            if index is None:
                raise ValueError(
                    f"the view shows no slice of {layer.name} across {self.axis}; "
                    "move the slider, or choose other slices"
                )
            return (index,)
        painting = painting_of(layer)
        return None if painting is None else tuple(painting.painted())

    # ---- following ----

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        self.labels.disconnect_events()
        self.distant.disconnect_events()

    def _on_labels(self) -> None:
        self._update()
        self.changed.emit()

    def _on_region(self, text: str) -> None:
        del text
        self._update()
        self.changed.emit()

    def _update(self) -> None:
        layer = self.labels.layer
        has_slices = layer is not None and n_slices_of(layer, self.axis) > 1
        is_range = self.region.currentText() == RANGE
        self._rows.setRowVisible(self.region, has_slices)
        self._rows.setRowVisible(self.range, has_slices and is_range)
        image = None if layer is None else self._project.image_of(layer)
        self.distant.follow(image, self.axis)

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return what to remember; nothing while a field cannot be read."""
        return settings_of(config=self.form)

    def restore(self, settings: Mapping[str, Any]) -> bool:
        """Restore remembered settings; False if another version wrote them."""
        return restore_forms(settings, config=self.form)


class MembersPart(QWidget):
    """How many members a set has, and where they go."""

    def __init__(self) -> None:
        super().__init__()
        self.n_members = _number(15, low=1, high=1000)
        self.seed = _number(0, low=0, high=2**31 - 1)
        self.where = choice(LAYERS, FILES)
        self._folder = QLineEdit()
        folder_row = path_row(self._folder, "Choose the folder", self._choose_folder)
        self._folder_row = folder_row
        self._own_folder = False
        self._rows = form_rows(
            ("Members", self.n_members, "Sets of perturbed labels to make (paper: 15)"),
            ("Seed", self.seed, "The same seed gives the same labels"),
            ("Result", self.where, "Layers are only in memory; files are kept"),
            ("Folder", folder_row, "For member-000.tif, member-001.tif, …"),
        )
        self.setLayout(self._rows)
        self._folder.textEdited.connect(self._note_own_folder)
        self.where.currentTextChanged.connect(self._on_where)
        self._on_where(LAYERS)

    @property
    def folder(self) -> Path | None:
        """Folder for the files; None if the members become layers.

        Raises
        ------
        ValueError
            If none is named.
        """
        if self.where.currentText() == LAYERS:
            return None
        text = self._folder.text().strip()
        if not text:
            raise ValueError("no folder is named; choose one for the files")
        return Path(text)

    def may_begin(self) -> bool:
        """Ask before many layers are added; the answer may be to write files."""
        n = self.n_members.value()
        if self.where.currentText() != LAYERS or n <= _FEW_LAYERS:
            return True
        box = QMessageBox(self)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Add many layers?")
        box.setText(
            f"This adds {n} layers to the viewer, in memory only. If they are written "
            "to files instead, the members are kept beside the image, and no layer is "
            "added."
        )
        box.addButton(f"Add {n} layers", QMessageBox.ButtonRole.AcceptRole)
        files = box.addButton("Write files", QMessageBox.ButtonRole.ActionRole)
        cancel = box.addButton(QMessageBox.StandardButton.Cancel)
        box.setDefaultButton(files)
        box.exec()
        if box.clickedButton() == files:
            self.where.setCurrentText(FILES)
        return bool(box.clickedButton() != cancel)

    def choose_folder(self, path: Path) -> None:
        """Let the members go to files."""
        self.where.setCurrentText(FILES)
        self._own_folder = True
        self._folder.setText(str(path))

    def propose_folder(self, layer: Labels | None) -> None:
        """Name a folder that is not there, unless the user has named one."""
        if layer is not None and not self._own_folder:
            with signals_blocked(self._folder):
                self._folder.setText(str(_workspace(layer).new_perturbed()))

    def _choose_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder", self._folder.text())
        if path:
            self.choose_folder(Path(path))

    def _note_own_folder(self, text: str) -> None:
        self._own_folder = bool(text.strip())

    def _on_where(self, text: str) -> None:
        self._rows.setRowVisible(self._folder_row, text == FILES)


def _workspace(layer: Labels) -> Workspace:
    painting = painting_of(layer)
    if painting is None:
        return workspace_for(layer)
    return Workspace(painting.folder.path.parent)


def _number(value: int, *, low: int, high: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setValue(value)
    return box
