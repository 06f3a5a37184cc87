"""How networks are trained: the settings of `TrainConfig`, a preset and the device."""

from collections.abc import Sequence

from qtpy.QtWidgets import QWidget

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.plugin.parts.devices import DeviceLine, Devices
from napari_lrcs.plugin.parts.forms import ConfigForm
from napari_lrcs.plugin.parts.presets import PresetChoice
from napari_lrcs.plugin.parts.widgets import vbox

_NETWORKS = ("lrcsnet", "unet")


class TrainingForm(QWidget):
    """The settings of a training, below a line that describes the devices.

    Parameters
    ----------
    main : sequence of str
        Names of the settings in sight, in this order.
    """

    def __init__(self, main: Sequence[str]) -> None:
        super().__init__()
        self.form = ConfigForm(
            PRESETS["quick"],
            main=main,
            choices={"device": ("auto", "cpu"), "model": _NETWORKS},
        )
        self.preset = PresetChoice(self.form)
        """The choice of a preset, to be put where the dock wants it."""
        self.device_line = DeviceLine()
        self.device_line.found.connect(self._offer_devices)
        self.device_line.refresh()
        vbox(self, self.device_line, self.form)

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

    def disconnect_events(self) -> None:
        """Ignore devices that are still being looked for."""
        self.device_line.disconnect_events()
