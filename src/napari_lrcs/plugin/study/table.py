"""The table of a study: what was measured, over both groups of networks."""

from collections.abc import Sequence

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
)

from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.widgets import fit_height, number_cell, swatch
from napari_lrcs.uncertainty.study.summary import (
    GROUPS,
    KINDS,
    Group,
    Quantity,
    StudySummary,
    in_percent,
)

_FIRST = "In %"
_HEADERS: dict[Group, str] = {"perturbed": "Perturbed", "same_labels": "As painted"}
_MOST_ROWS = 40


class StudyTable(QTableWidget):
    """Mean ± standard deviation of each quantity; a selection is copied with tabs."""

    def __init__(self) -> None:
        super().__init__(0, 1 + len(GROUPS))
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        side, top = self.verticalHeader(), self.horizontalHeader()
        assert side is not None
        assert top is not None
        side.setVisible(False)
        top.setMinimumSectionSize(30)
        top.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        top.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.clear_rows()

    def clear_rows(self) -> None:
        """Show nothing."""
        self.setRowCount(0)
        self.setHorizontalHeaderLabels([_FIRST, *_HEADERS.values()])
        fit_height(self, most_rows=_MOST_ROWS)

    def show_summary(self, summary: StudySummary) -> None:
        """Show one row per quantity."""
        columns = [summary.groups.get(group) for group in GROUPS]
        rows = next((c.quantities for c in columns if c is not None), ())
        self.setRowCount(len(rows))
        for row, quantity in enumerate(rows):
            self.setItem(row, 0, _name(quantity, summary.phases))
            for column, found in enumerate(columns, start=1):
                shown = None if found is None else found.quantities[row]
                self.setItem(row, column, _cell(shown))
        self._name_columns(summary)
        fit_height(self, most_rows=_MOST_ROWS)

    def _name_columns(self, summary: StudySummary) -> None:
        for column, group in enumerate(GROUPS, start=1):
            found = summary.groups.get(group)
            self.setColumnHidden(column, found is None)
            header = QTableWidgetItem(_HEADERS[group])
            header.setToolTip(
                f"Mean ± standard deviation of {0 if found is None else found.n} "
                f"networks: {GROUPS[group]}"
            )
            self.setHorizontalHeaderItem(column, header)

    @property
    def texts(self) -> list[list[str]]:
        """What is shown, row by row, without the header."""
        return [
            [self._text(row, column) for column in range(self.columnCount())]
            for row in range(self.rowCount())
        ]

    def _text(self, row: int, column: int) -> str:
        item = self.item(row, column)
        return "" if item is None else str(item.text())

    def event(self, event: QEvent | None) -> bool:
        """Keep the key for copying from napari, which has a use of its own for it."""
        if (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.ShortcutOverride
            and event.matches(QKeySequence.StandardKey.Copy)
        ):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:  # noqa: N802 Qt's name
        """Copy what is selected."""
        if event is not None and event.matches(QKeySequence.StandardKey.Copy):
            self._copy()
            return
        super().keyPressEvent(event)

    def _copy(self) -> None:
        clipboard = QApplication.clipboard()
        places = sorted((i.row(), i.column()) for i in self.selectedIndexes())
        rows = sorted({row for row, _ in places})
        lines = [_line([self._text(*p) for p in places if p[0] == row]) for row in rows]
        if clipboard is not None and lines:
            clipboard.setText("\n".join(lines))


def _line(cells: Sequence[str]) -> str:
    return "\t".join(cells)


def _name(quantity: Quantity, phases: PhaseTable) -> QTableWidgetItem:
    kind = KINDS[quantity.kind]
    text = f"{kind} {quantity.name}"
    if quantity.kind == "accuracy":
        text = kind
    elif quantity.kind == "interface_fraction":
        text = quantity.name
    item = QTableWidgetItem(text)
    item.setToolTip(f"{kind}: {quantity.name}")
    if len(quantity.labels) == 1:
        item.setIcon(swatch(phases.phases[quantity.labels[0] - 1].colour))
    return item


def _cell(quantity: Quantity | None) -> QTableWidgetItem:
    text = "–" if quantity is None else in_percent(quantity).removesuffix("%")
    item = number_cell(text)
    if quantity is not None and quantity.n_missing:
        item.setToolTip(
            f"Undefined for {quantity.n_missing} networks, which are left out"
        )
    return item
