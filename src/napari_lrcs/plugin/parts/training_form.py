"""How networks are trained: the settings of `TrainConfig`, a preset and the device."""

from collections.abc import Sequence

from qtpy.QtWidgets import QComboBox, QWidget

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.plugin.parts.devices import DeviceLine, Devices
from napari_lrcs.plugin.parts.forms import ConfigForm
from napari_lrcs.plugin.parts.widgets import vbox

_NETWORKS = ("lrcsnet", "segnet", "unet", "xlearn")
_OWN = "own settings"
_FREE = {"axis", "device"}
"""Fields that a preset leaves as they are."""


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


class PresetChoice(QComboBox):
    """Fills a form with a preset, and shows which one the form agrees with.

    Parameters
    ----------
    form : ConfigForm of TrainConfig
    """

    def __init__(self, form: ConfigForm[TrainConfig]) -> None:
        super().__init__()
        self._form = form
        self.addItems([*PRESETS, _OWN])
        self.activated.connect(lambda _index: self._fill())
        form.changed.connect(self._name)
        self._name()

    def choose(self, name: str) -> None:
        """Fill the form with a preset, as a choice in the list does."""
        self.setCurrentText(name)
        self._fill()

    def _fill(self) -> None:
        preset = PRESETS.get(self.currentText())
        if preset is not None:
            kept = {name: self._form[name].value for name in _FREE}
            self._form.config = preset.with_changes(**kept)

    def _name(self) -> None:
        try:
            own = self._form.config
        except ValueError:  # being typed
            return
        kept = {n: value for n, value in own.to_dict().items() if n in _FREE}
        names = (name for name, p in PRESETS.items() if p.with_changes(**kept) == own)
        self.setCurrentText(next(names, _OWN))
