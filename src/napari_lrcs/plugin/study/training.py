"""How each network of a study is trained: a preset, its settings and the device."""

from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.plugin.parts.devices import DeviceLine, Devices
from napari_lrcs.plugin.parts.forms import ConfigForm
from napari_lrcs.plugin.parts.presets import PresetChoice

_NETWORKS = ("lrcsnet", "unet")


class StudyTraining(QWidget):
    """The settings of `TrainConfig`; in sight are the preset and the device."""

    def __init__(self) -> None:
        super().__init__()
        self.form = ConfigForm(
            PRESETS["quick"],
            main=("device",),
            choices={"device": ("auto", "cpu"), "model": _NETWORKS},
        )
        self.preset = PresetChoice(self.form)
        self.device_line = DeviceLine()
        self._build()
        self.device_line.found.connect(self._offer_devices)
        self.device_line.look()

    def _build(self) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        label = QLabel("Preset")
        for part in (label, self.preset):
            part.setToolTip(
                "quick: a minute or two a network, on a CPU too; paper: the published "
                "network and schedule, for a GPU"
            )
        rows.addRow(label, self.preset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(rows)
        layout.addWidget(self.form)
        layout.addWidget(self.device_line)

    @property
    def config(self) -> TrainConfig:
        """What the form says; ValueError if a field cannot be read."""
        return self.form.config

    @config.setter
    def config(self, config: TrainConfig) -> None:
        # Its GPU is offered, if it is there, when devices were looked for.
        self.form.offer("device", ("auto", "cpu", config.device))
        self.form.config = config

    def _offer_devices(self, devices: Devices) -> None:
        self.form.offer("device", devices.names)

    def follow_no_more(self) -> None:
        """Take no notice of devices that are still found."""
        self.device_line.follow_no_more()
