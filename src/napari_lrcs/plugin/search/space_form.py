"""Which settings a search varies: a tick and a text of values each."""

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLineEdit, QWidget
from superqt.utils import signals_blocked

from napari_lrcs.config import TrainConfig
from napari_lrcs.models import NETWORKS
from napari_lrcs.plugin.parts.forms import label_of
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.search.space import SearchSpace, searchable, suggest_values
from napari_lrcs.settings import Setting

_HOW = (
    "Some values, as 2,4,8, or a range, as 0.1:0.5, or one on a logarithmic scale, as "
    "1e-4:1e-2:log"
)
_ADD = "Add another setting…"


class SpaceForm(QWidget):
    """A row per setting that may be varied, and a list to add others.

    Values that the user has not changed stay around those of the config.

    Parameters
    ----------
    config : TrainConfig
        Values are suggested around its own.
    """

    changed = Signal()

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self._config = config
        self._settings = {setting.name: setting for setting in searchable()}
        self._rows: dict[str, tuple[QCheckBox, QLineEdit]] = {}
        self._suggested: dict[str, str] = {}
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)
        self.others = QComboBox()
        self.others.setToolTip("Vary another setting, too")
        self.others.activated.connect(self._add_chosen)
        layout = vbox(self)
        layout.addLayout(self._grid)
        layout.addWidget(self.others)
        for name in self._defaults():
            self.add(name)

    # ---- rows ----

    def add(self, name: str, values: str = "") -> None:
        """Add a row that is ticked, or tick the row that is there.

        Parameters
        ----------
        name : str
            Name of a setting.
        values : str
            Its values; by default those that are suggested.
        """
        if name not in self._rows:
            self._add_row(self._settings[name])
        tick, text = self._rows[name]
        tick.setChecked(True)
        if values:
            text.setText(values)
        self.changed.emit()

    def _add_row(self, setting: Setting) -> None:
        tick = QCheckBox(label_of(setting))
        self._suggested[setting.name] = self._suggest(setting)
        text = QLineEdit(self._suggested[setting.name])
        tick.setToolTip(setting.tooltip)
        text.setToolTip(f"{setting.tooltip}. {_HOW}")
        tick.toggled.connect(text.setEnabled)
        tick.toggled.connect(self._on_edited)
        text.textChanged.connect(self._on_edited)
        row = len(self._rows)
        self._grid.addWidget(tick, row, 0)
        self._grid.addWidget(text, row, 1)
        self._rows[setting.name] = tick, text
        self._offer_others()

    def _on_edited(self, _value: object) -> None:
        self.changed.emit()

    def _add_chosen(self, _index: int) -> None:
        name = self.others.currentData()
        if name is not None:
            self.add(name)
            self._rows[name][1].setFocus()

    def _offer_others(self) -> None:
        self.others.clear()
        self.others.addItem(_ADD)
        for name, setting in self._settings.items():
            if name not in self._rows:
                self.others.addItem(label_of(setting), name)

    # ---- values ----

    def _defaults(self) -> dict[str, str]:
        fields = SearchSpace.default_for(self._config).fields
        return {name: str(field) for name, field in fields.items()}

    def _suggest(self, setting: Setting) -> str:
        if setting.name == "model":
            return ",".join(NETWORKS)
        around = suggest_values(setting, self._config)
        return self._defaults().get(setting.name, around)

    def follow(self, config: TrainConfig) -> None:
        """Suggest values around another config; what was typed stays."""
        self._config = config
        with signals_blocked(self):
            for name, (_, text) in self._rows.items():
                suggested = self._suggest(self._settings[name])
                if text.text() == self._suggested[name]:
                    text.setText(suggested)
                self._suggested[name] = suggested
        self.changed.emit()

    @property
    def space(self) -> SearchSpace:
        """The settings that are ticked.

        Raises
        ------
        ValueError
            If none is, or the values of one cannot be read.
        """
        texts = [
            f"{name}={text.text().strip()}"
            for name, (tick, text) in self._rows.items()
            if tick.isChecked()
        ]
        if not texts:
            raise ValueError("no setting to vary is ticked; tick at least one")
        return SearchSpace.parse(texts)

    def __getitem__(self, name: str) -> tuple[QCheckBox, QLineEdit]:
        return self._rows[name]

    # ---- settings ----

    def to_list(self) -> list[list[str]]:
        """Return what to remember: names of what is ticked, and values of one's own."""
        return [
            [name, "" if text.text() == self._suggested[name] else text.text()]
            for name, (tick, text) in self._rows.items()
            if tick.isChecked()
        ]

    def restore(self, rows: Sequence[Sequence[str]]) -> None:
        """Restore what `to_list` returned; settings that are unknown are left out."""
        for tick, _ in self._rows.values():
            tick.setChecked(False)
        for name, values in rows:
            if name in self._settings:
                self.add(name, values)
