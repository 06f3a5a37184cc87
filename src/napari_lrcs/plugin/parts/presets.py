"""The choice of a preset, in step with the form that it fills."""

from qtpy.QtWidgets import QComboBox

from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.plugin.parts.forms import ConfigForm

_OWN = "own settings"
_FREE = {"axis", "device"}
"""Fields that a preset leaves as they are."""


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
