"""What each network of a study also measures: a folded part of the setup."""

from importlib.util import find_spec

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QWidget
from superqt.utils import signals_blocked

from napari_lrcs.config import AlsoMeasureConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.forms import Fold, form_rows
from napari_lrcs.plugin.parts.layers.layers import phases_shown
from napari_lrcs.plugin.parts.widgets import vbox

_NO_PHASE, _EVERY_PHASE = "no phase", "every phase"
_AREA = "Area of each phase per volume, in the unit of the image"
_TORTUOSITY = (
    "Solve for diffusion through this phase along z, y and x, once per network: from "
    "seconds to many minutes each"
)
_MISSING = (
    "Tortuosity needs TauFactor, which is not installed: pip install "
    '"napari-lrcs[transport]"'
)


class AlsoMeasure(QWidget):
    """Surface area and tortuosity, which cost time and are off unless chosen."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.area, self.tortuosity = QCheckBox(), QComboBox()
        self._wanted: tuple[str, ...] = ()
        self._names: tuple[str, ...] = ()
        self.tortuosity.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        is_installed = find_spec("taufactor") is not None
        self.tortuosity.setEnabled(is_installed)
        content = QWidget()
        content.setLayout(
            form_rows(
                ("Surface area", self.area, _AREA),
                (
                    "Tortuosity of",
                    self.tortuosity,
                    _TORTUOSITY if is_installed else _MISSING,
                ),
            )
        )
        vbox(self, Fold("Also measure", content))
        self.follow(None)
        self.area.toggled.connect(self.changed)
        self.tortuosity.currentTextChanged.connect(self._on_phase)

    @property
    def config(self) -> AlsoMeasureConfig:
        """What is chosen."""
        return AlsoMeasureConfig(
            surface_area=self.area.isChecked(),
            tortuosity=self._wanted if self.tortuosity.isEnabled() else (),
        )

    @config.setter
    def config(self, config: AlsoMeasureConfig) -> None:
        self.area.setChecked(config.surface_area)
        self._wanted = config.tortuosity
        self._offer()

    def follow(self, labels: Labels | None) -> None:
        """Offer the phases of a labels layer; what is chosen stays, if it has it."""
        table = None if labels is None else phases_shown(labels)
        self._names = (table or PhaseTable.numbered(2)).names
        self._wanted = tuple(name for name in self._wanted if name in self._names)
        self._offer()

    def _offer(self) -> None:
        chosen = self._wanted[0] if len(self._wanted) == 1 else _NO_PHASE
        if len(self._wanted) > 1:
            chosen = _EVERY_PHASE
        with signals_blocked(self.tortuosity):
            self.tortuosity.clear()
            self.tortuosity.addItems([_NO_PHASE, *self._names, _EVERY_PHASE])
            self.tortuosity.setCurrentIndex(max(self.tortuosity.findText(chosen), 0))

    def _on_phase(self, text: str) -> None:
        every = self._names if text == _EVERY_PHASE else (text,)
        self._wanted = () if text == _NO_PHASE else every
        self.changed.emit()
