"""How networks are trained: the settings of `TrainConfig`, a preset and the device."""

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from napari_lrcs.config import FITTED_PRESETS, PRESETS, Axis, TrainConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.models import NETWORKS
from napari_lrcs.plugin.parts.computing.devices import DeviceLine, Devices
from napari_lrcs.plugin.parts.forms import ConfigForm
from napari_lrcs.plugin.parts.widgets import colour, vbox
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.preprocessing.neighbours import Resemblance, measure_resemblance
from napari_lrcs.presets import read_presets

_CUSTOM = "custom settings"
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
            choices={"device": ("auto", "cpu"), "model": NETWORKS},
        )
        self.preset = PresetChoice(self.form)
        """The choice of a preset, to be put where the dock wants it."""
        self.context = ContextChoice(self.form, self.preset)
        self.device_line = DeviceLine()
        self.device_line.found.connect(self._offer_devices)
        self.device_line.refresh()
        vbox(self, self.device_line, self.context, self.form)

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
        """Ignore what is still being looked for."""
        self.device_line.disconnect_events()
        self.context.disconnect_events()


class ContextChoice(QLabel):
    """Sets `context_slices` by whether slices resemble their neighbours; says why.

    Parameters
    ----------
    form : ConfigForm of TrainConfig
    preset : PresetChoice
        What is measured becomes a part of *quick* and *best*; another preset has its
        own value.
    """

    def __init__(self, form: ConfigForm[TrainConfig], preset: "PresetChoice") -> None:
        super().__init__()
        self._field, self._axis, self._preset = (
            form["context_slices"],
            form["axis"],
            preset,
        )
        self.is_fitted = True
        """Whether the field follows the image: the user has set no value."""
        self._found: Resemblance | None = None
        self._source: tuple[Volume | None, Sequence[int], Volume | None]
        self._source = (None, (), None)
        self._reader = BackgroundReader("Comparing slices", self)
        self._reader.answered.connect(self._show)
        self._reader.failed.connect(lambda _error: self._show(None))
        self.setWordWrap(True)
        self._field.changed.connect(self._on_value)
        self._axis.changed.connect(lambda _axis: self._measure())
        preset.filled.connect(self._on_preset)
        self._show(None)

    def follow(
        self, volume: Volume | None, painted: Sequence[int], mask: Volume | None
    ) -> None:
        """Measure another volume, in a thread; see `measure_resemblance`."""
        self._source = (volume, painted, mask)
        self._measure()

    def hold(self) -> None:
        """Keep the value, whatever is measured."""
        self.is_fitted = False

    def disconnect_events(self) -> None:
        """Ignore what is still being measured."""
        self._reader.cancel()
        self._source = (None, (), None)

    def remembered(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Leave a value out of what is remembered that the user has not set."""
        if settings and self.is_fitted:
            del settings["config"]["context_slices"]
        return settings

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Follow the image again, unless a value was remembered."""
        self.is_fitted = "context_slices" not in settings["config"]
        self._show(self._found)

    def _measure(self) -> None:
        volume, painted, mask = self._source
        axis: Axis = self._axis.value
        if volume is None:
            self._reader.cancel()
            self._show(None)
            return
        self._reader.read(
            lambda: measure_resemblance(volume, axis=axis, painted=painted, mask=mask)
        )

    def _show(self, found: Resemblance | None) -> None:
        self._found = found
        self._preset.fit(context_slices=self._suitable)
        if self.is_fitted:
            self._field.value = self._suitable
        self._describe()

    @property
    def _suitable(self) -> int:
        default = PRESETS["quick"].network.context_slices
        return default if self._found is None else self._found.context_slices

    def _on_value(self, value: int) -> None:
        self.is_fitted = value == self._suitable
        self._describe()

    def _on_preset(self, name: str) -> None:
        self.is_fitted = name in FITTED_PRESETS

    def _describe(self) -> None:
        n, found = self._field.value, self._found
        text = "" if found is None else found.describe_use(n)
        self.setText(text[:1].upper() + text[1:])
        self.setVisible(bool(text))
        is_misfit = found is not None and n > 0 and not found.is_alike
        colour(self, "warning" if is_misfit else "hint")


class PresetChoice(QComboBox):
    """Fills a form with a preset, and shows which one the form agrees with.

    Parameters
    ----------
    form : ConfigForm of TrainConfig
    """

    filled = Signal(str)
    """Emitted with the name of a preset that was chosen, once the form shows it."""

    def __init__(self, form: ConfigForm[TrainConfig]) -> None:
        super().__init__()
        self._form = form
        self._fitted = {name: PRESETS[name] for name in FITTED_PRESETS}
        self._presets: dict[str, TrainConfig] = {}
        self.refresh()
        self.activated.connect(lambda _index: self._fill())
        form.changed.connect(self._name)

    def refresh(self) -> None:
        """Offer the presets as they are now; one may have been saved meanwhile."""
        self._presets = {**read_presets(), **self._fitted}
        self.clear()
        self.addItems([*self._presets, _CUSTOM])
        self._name()

    def showPopup(self) -> None:  # noqa: N802 Qt's name
        """Open the list."""
        self.refresh()
        super().showPopup()

    def choose(self, name: str) -> None:
        """Fill the form with a preset, as a choice in the list does."""
        self.setCurrentText(name)
        self._fill()

    def fit(self, **settings: object) -> None:
        """Make settings that were measured a part of the presets that are fitted."""
        for name in FITTED_PRESETS:
            self._fitted[name] = PRESETS[name].with_changes(**settings)
        self._presets |= self._fitted
        self._name()

    def _fill(self) -> None:
        name = self.currentText()
        preset = self._presets.get(name)
        if preset is not None:
            kept = {name: self._form[name].value for name in _FREE}
            self._form.config = preset.with_changes(**kept)
            self.filled.emit(name)

    def _name(self) -> None:
        try:
            own = self._form.config
        except ValueError:  # being typed
            return
        kept = {n: value for n, value in own.to_dict().items() if n in _FREE}
        presets = self._presets.items()
        names = (name for name, p in presets if p.with_changes(**kept) == own)
        self.setCurrentText(next(names, _CUSTOM))
