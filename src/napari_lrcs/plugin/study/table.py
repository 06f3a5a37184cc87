"""The table of a study: what was measured, over both groups of networks."""

from collections.abc import Mapping, Sequence

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
from napari_lrcs.uncertainty.study.quantities import KINDS, Kind, Quantity
from napari_lrcs.uncertainty.study.summary import (
    CAVEAT,
    ENSEMBLE,
    GROUPS,
    GroupSummary,
    StudySummary,
)
from napari_lrcs.uncertainty.study.tables import mean_and_sd

SHORT: Mapping[Kind, str] = {"surface_area": "Area", "tortuosity": "τ"}
"""Names that leave room for all columns; `StudyTable` needs a legend for them."""

_FIRST = "Quantity"
_HEADERS: dict[str, str] = {
    "perturbed": "Perturbed",
    "same_labels": "As painted",
    ENSEMBLE: "Ensemble",
}
_ENSEMBLE = (
    "One more segmentation, by the mean of the probabilities of all networks that "
    "succeeded, of both columns"
)
_MOST_ROWS = 40


class StudyTable(QTableWidget):
    """Mean ± standard deviation of each quantity; a selection is copied with tabs."""

    def __init__(self) -> None:
        super().__init__(0, 1 + len(_HEADERS))
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
        columns = _columns(summary)
        self.setRowCount(len(summary.quantities))
        for row, quantity in enumerate(summary.quantities):
            self.setItem(row, 0, _name(quantity, summary.phases))
            for column, found in enumerate(columns.values(), start=1):
                shown = None if found is None else found.quantities[row]
                self.setItem(row, column, _cell(shown))
        self._name_columns(summary)
        fit_height(self, most_rows=_MOST_ROWS)

    def _name_columns(self, summary: StudySummary) -> None:
        for column, (name, found) in enumerate(_columns(summary).items(), start=1):
            self.setColumnHidden(column, found is None)
            header = QTableWidgetItem(_HEADERS[name])
            header.setToolTip(_ENSEMBLE if name == ENSEMBLE else _tip(name, found))
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


def _columns(summary: StudySummary) -> dict[str, GroupSummary | None]:
    columns: dict[str, GroupSummary | None] = {
        group: summary.groups.get(group) for group in GROUPS
    }
    return columns | {ENSEMBLE: summary.ensemble}


def _tip(name: str, found: GroupSummary | None) -> str:
    n = 0 if found is None else found.n
    group = next(text for group, text in GROUPS.items() if group == name)
    return (
        f"Mean ± standard deviation of {n} networks: {group}. {CAVEAT}: see the dock "
        "Check segmentation"
    )


def _line(cells: Sequence[str]) -> str:
    return "\t".join(cells)


def _name(quantity: Quantity, phases: PhaseTable) -> QTableWidgetItem:
    kind = KINDS[quantity.kind]
    text = f"{kind} {quantity.name}"
    if quantity.kind == "accuracy":
        text = kind
    elif quantity.kind == "interface_fraction":
        text = quantity.name
    elif quantity.kind in SHORT:
        text = f"{SHORT[quantity.kind]} {quantity.name.replace(' along ', ', ')}"
    item = QTableWidgetItem(text)
    item.setToolTip(quantity.title)
    if len(quantity.labels) == 1:
        item.setIcon(swatch(phases.phases[quantity.labels[0] - 1].colour))
    return item


def _cell(quantity: Quantity | None) -> QTableWidgetItem:
    item = number_cell("–" if quantity is None else mean_and_sd(quantity))
    if quantity is not None and quantity.unit:
        item.setToolTip(quantity.unit)
    if quantity is not None and quantity.n_missing:
        is_path = quantity.kind == "tortuosity"
        why = "No way through, or undefined," if is_path else "Undefined"
        item.setToolTip(f"{why} for {quantity.n_missing} networks, which are left out")
    return item
