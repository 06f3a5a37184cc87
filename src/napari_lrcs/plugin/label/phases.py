"""A table to edit phases in."""

from collections.abc import Mapping

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QColorDialog,
    QHBoxLayout,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_lrcs.phases import ELECTRODE, Phase, PhaseTable
from napari_lrcs.plugin.parts.keys import (
    PHASE_ACTIONS,
    canvas_button,
    keys_of,
    without_focus,
)
from napari_lrcs.plugin.parts.widgets import fit_height

_COLOUR, _NAME, _KEY = range(3)
_VISIBLE_ROWS = 8


class PhaseEditor(QWidget):
    """A table of phases, with buttons to add, remove and reorder them.

    It shows `phases`. What the user changes is requested by `edit_requested`, and shown
    once `phases` is set to it.

    Parameters
    ----------
    phases : PhaseTable
        What the table shows at first.
    """

    edit_requested = Signal(object, object)
    """The new phases, and new labels by old ones where they change (0: removed)."""

    refused = Signal(str)
    """The user wants something that is not possible; why."""

    selected = Signal(int)
    """The label of the phase whose row was clicked."""

    def __init__(self, phases: PhaseTable) -> None:
        super().__init__()
        self._phases = phases
        self._table = self._make_table()
        buttons = QHBoxLayout()
        for text, tooltip, action in (
            ("+", "Add a phase", self.add),
            ("−", "Remove the selected phase", self.remove),
            ("▲", "Move the selected phase up", lambda: self.move_by(-1)),
            ("▼", "Move the selected phase down", lambda: self.move_by(1)),
            (
                "Electrode",
                f"Use the phases of a battery electrode: {', '.join(ELECTRODE.names)}",
                self.use_electrode,
            ),
        ):
            made = canvas_button(text, tooltip, action)
            made.setMaximumWidth(90 if len(text) > 1 else 34)
            buttons.addWidget(made)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        layout.addLayout(buttons)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._show()

    def _make_table(self) -> QTableWidget:
        table = without_focus(QTableWidget(0, 3))
        table.setHorizontalHeaderLabels(["", "Phase", "Key"])
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setIconSize(QSize(18, 18))
        header = table.horizontalHeader()
        assert header is not None
        header.setSectionResizeMode(_COLOUR, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(_KEY, QHeaderView.ResizeMode.Fixed)
        table.setColumnWidth(_COLOUR, 34)
        table.setColumnWidth(_KEY, 44)
        table.itemChanged.connect(self._on_item)
        table.cellDoubleClicked.connect(self._on_double_click)
        table.cellClicked.connect(lambda row, _column: self.selected.emit(row + 1))
        return table

    @property
    def phases(self) -> PhaseTable:
        """The phases that are shown."""
        return self._phases

    @phases.setter
    def phases(self, phases: PhaseTable) -> None:
        self._phases = phases
        self._show()

    def show_keys(self) -> None:
        """Show the keys, which have changed."""
        self._show()

    def select(self, label: int) -> None:
        """Highlight a phase; none if no phase has the label."""
        if 1 <= label <= len(self._phases):
            self._table.selectRow(label - 1)
        else:
            self._table.clearSelection()

    # ---- requests of the user ----

    def add(self) -> None:
        """Request one more phase."""
        names, colours = set(self._phases.names), {p.colour for p in self._phases}
        label = len(self._phases) + 1
        offered = PhaseTable.numbered(2 * label)
        name = next(p.name for p in offered.phases[label - 1 :] if p.name not in names)
        free = (p.colour for p in offered if p.colour not in colours)
        colour = next(free, offered.phases[label - 1].colour)
        self._request([*self._phases, Phase(label=label, name=name, colour=colour)])

    def remove(self) -> None:
        """Request the phases without the selected one."""
        label = self._label
        if label is None:
            self.refused.emit("Click the phase to be removed first")
            return
        kept = [phase for phase in self._phases if phase.label != label]
        self._request(kept, mapping={label: 0})

    def move_by(self, step: int) -> None:
        """Request that the selected phase and a neighbour change places."""
        label = self._label
        if label is None or not 1 <= label + step <= len(self._phases):
            return
        rows = list(self._phases)
        rows[label - 1], rows[label - 1 + step] = (
            rows[label - 1 + step],
            rows[label - 1],
        )
        self._request(rows)
        self.select(label + step)

    def use_electrode(self) -> None:
        """Request the phases of an electrode."""
        further = range(len(ELECTRODE) + 1, len(self._phases) + 1)
        self.edit_requested.emit(ELECTRODE, dict.fromkeys(further, 0))

    def change(
        self, label: int, *, name: str | None = None, colour: str | None = None
    ) -> None:
        """Request another name or colour of a phase."""
        rows = list(self._phases)
        former = rows[label - 1]
        try:
            rows[label - 1] = Phase(
                label=label,
                name=former.name if name is None else name.strip(),
                colour=colour or former.colour,
            )
        except ValueError as error:
            self._refuse(error)
            return
        self._request(rows)

    def _request(
        self, rows: list[Phase], mapping: Mapping[int, int] | None = None
    ) -> None:
        moved = {old.label: new for new, old in enumerate(rows, 1) if old.label != new}
        try:
            phases = PhaseTable(
                tuple(
                    Phase(label=label, name=phase.name, colour=phase.colour)
                    for label, phase in enumerate(rows, start=1)
                )
            )
        except ValueError as error:
            self._refuse(error)
            return
        self.edit_requested.emit(phases, {**moved, **(mapping or {})})

    def _refuse(self, error: ValueError) -> None:
        self.refused.emit(str(error))
        self._show()

    # ---- the table ----

    @property
    def _label(self) -> int | None:
        row = self._table.currentRow()
        is_chosen = bool(self._table.selectedItems()) and row >= 0
        return row + 1 if is_chosen else None

    def _show(self) -> None:
        row = self._table.currentRow()
        with signals_blocked(self._table):
            self._table.setRowCount(len(self._phases))
            for phase in self._phases:
                self._show_row(phase)
        self._table.selectRow(min(max(row, 0), len(self._phases) - 1))
        fit_height(self._table, most_rows=_VISIBLE_ROWS)

    def _show_row(self, phase: Phase) -> None:
        row = phase.label - 1
        swatch = QPixmap(18, 18)
        swatch.fill(QColor(phase.colour))
        colour = QTableWidgetItem(QIcon(swatch), "")
        name = QTableWidgetItem(phase.name)
        keys = keys_of(PHASE_ACTIONS[row]) if row < len(PHASE_ACTIONS) else ""
        key = QTableWidgetItem(keys)
        key.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
        press = f" or press {keys}" if keys else ""
        for column, item in enumerate((colour, name, key)):
            item.setToolTip(
                f"Click{press} to paint {phase.name}; double-click its name or colour "
                "to change it"
            )
            if column != _NAME:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self._table.setItem(row, column, item)
        self._table.setVerticalHeaderItem(row, QTableWidgetItem(str(phase.label)))

    def _on_item(self, item: QTableWidgetItem) -> None:
        if item.column() == _NAME:
            self.change(item.row() + 1, name=item.text())

    def _on_double_click(self, row: int, column: int) -> None:
        if column == _COLOUR:
            former = QColor(self._phases.phases[row].colour)
            colour = QColorDialog.getColor(former, self, "Colour of the phase")
            if colour.isValid():
                self.change(row + 1, colour=colour.name())
