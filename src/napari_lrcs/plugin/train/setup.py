"""What to train, from what, and how."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QVBoxLayout, QWidget

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.painting.role_fields import RoleFields
from napari_lrcs.plugin.painting.training_layers import TrainingLayers
from napari_lrcs.plugin.parts.devices import DeviceLine, Devices
from napari_lrcs.plugin.parts.forms import ConfigForm, add_row
from napari_lrcs.plugin.parts.model_choice import ModelChoice
from napari_lrcs.plugin.parts.presets import PresetChoice

_MAIN = (
    "n_epochs",
    "patches_per_epoch",
    "patch_size",
    "batch_size",
    "learning_rate",
    "n_filters",
    "device",
)
_NETWORKS = ("lrcsnet", "unet")


class TrainSetup(QWidget):
    """Layers, roles, preset, settings and device of a training.

    Parameters
    ----------
    viewer : Viewer
    """

    failed = Signal(str)
    """Something that was chosen cannot be used; the reason."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.layers = TrainingLayers(viewer.layers)
        self.image_choice, self.labels_choice = self.layers.image, self.layers.labels
        self.roles = RoleFields()
        self.start = ModelChoice("Start from a network", none="random weights")
        self.form = ConfigForm(
            PRESETS["quick"],
            main=_MAIN,
            choices={"device": ("auto", "cpu"), "model": _NETWORKS},
        )
        self.preset = PresetChoice(self.form)
        self.device_line = DeviceLine()
        self._build()
        self.labels_choice.chosen.connect(self._follow_painting)
        self.image_choice.chosen.connect(self._follow_image)
        self.start.changed.connect(self._take_network)
        self.start.failed.connect(self.failed.emit)
        self.device_line.found.connect(self._offer_devices)
        self._follow_painting()
        self._follow_image()
        self.device_line.look()

    def _build(self) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        add_row(rows, "Image", self.image_choice, "Grey volume or image to learn from")
        add_row(rows, "Labels", self.labels_choice, "Layer with the painted phases")
        for role, field in self.roles.fields.items():
            add_row(rows, f"{role.capitalize()} slices", field, field.toolTip())
        add_row(
            rows,
            "Preset",
            self.preset,
            "quick: a good overlay within minutes, on a CPU too; paper: the published "
            "network and schedule, for a GPU",
        )
        add_row(
            rows,
            "Start from",
            self.start,
            "Begin with the weights of an earlier network (transfer learning)",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(rows)
        layout.addWidget(self.device_line)
        layout.addWidget(self.form)
        layout.addStretch()

    # ---- transfer ----

    @property
    def initial_weights(self) -> Path | None:
        """Where the next training starts from; None for random weights."""
        return self.start.path

    def start_from(self, path: Path) -> None:
        """Begin the next training with a network's weights, and with its shape.

        Parameters
        ----------
        path : Path
            A checkpoint or a run folder.

        Raises
        ------
        CheckpointError
            If it is not a checkpoint, or a damaged one.
        """
        self.start.choose(path)

    def _take_network(self) -> None:
        """Give the form the shape of the network that the weights are of."""
        if self.start.model is None:
            return
        try:
            own = self.form.config
        except ValueError as error:
            self.start.clear()
            self.failed.emit(str(error))
        else:
            self.form.config = replace(own, network=self.start.model.config.network)

    # ---- presets and settings ----

    def settings(self) -> dict[str, Any]:
        """Return what to remember; nothing while a field cannot be read."""
        try:
            return {"config": self.form.config.to_dict()}
        except ValueError:
            return {}

    def recall(self, settings: Mapping[str, Any]) -> None:
        """Take what was remembered, unless another version wrote it."""
        try:
            config = TrainConfig.from_dict(settings["config"])
            # Its GPU is offered, if it is there, when devices were looked for.
            self.form.offer("device", ("auto", "cpu", config.device))
            self.form.config = config
        except (KeyError, TypeError, ValueError):
            return
        self._follow_painting()

    # ---- following ----

    def follow_no_more(self) -> None:
        """Stop listening to the viewer."""
        for part in (
            self.image_choice,
            self.labels_choice,
            self.roles,
            self.start,
            self.device_line,
        ):
            part.follow_no_more()

    def _follow_image(self) -> None:
        self.start.follow(self.image_choice.layer)

    def _follow_painting(self) -> None:
        painting = painting_of(self.labels_choice.layer)
        self.roles.follow(painting)
        if painting is not None:
            self.form["axis"].value = painting.axis

    def _offer_devices(self, devices: Devices) -> None:
        self.form.offer("device", devices.names)
