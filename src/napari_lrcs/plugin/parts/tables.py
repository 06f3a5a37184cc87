"""Tables to be read."""

from collections.abc import Iterable, Sequence

from qtpy.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QObject,
    Qt,
    Signal,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableView,
    QTableWidget,
    QTableWidgetItem,
)

from napari_lrcs.plugin.parts.widgets import number_cell, swatch

_COLUMNS, _LETTERS = 6, 50
"""Most columns and letters of a table's header that fits a narrow dock."""

_WIDEST_NAME = 160
"""Pixels that a first column may claim: a dock stays narrower than the image."""

_DENSE_ROW = 22
"""Height of a row, in pixels: the fractions of three phases fit a small window."""

_ROW = 24
"""Height of a row that is selected as a whole, in pixels."""

_MEASURED = 20
"""Rows whose texts decide how wide the columns are, besides those in sight."""


class Table(QTableWidget):
    """A table to be read, as high as its rows.

    Parameters
    ----------
    header : sequence of str
    most_rows : int, optional
        Beyond which it scrolls; none by default.
    """

    def __init__(
        self, header: Sequence[str] = (), *, most_rows: int | None = None
    ) -> None:
        super().__init__()
        self._most_rows = most_rows
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        if most_rows is None:
            self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        side = self.verticalHeader()
        top = self.horizontalHeader()
        assert side is not None
        assert top is not None
        side.setVisible(False)
        top.setMinimumSectionSize(30)
        self.set_header(header)

    def set_header(self, header: Sequence[str]) -> None:
        """Name the columns; many of them scroll."""
        self.setColumnCount(len(header))
        self.setHorizontalHeaderLabels(list(header))
        top = self.horizontalHeader()
        assert top is not None
        top.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self._is_wide = len(header) > _COLUMNS or len("".join(header)) > _LETTERS
        policy = Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        if self._is_wide:
            policy = Qt.ScrollBarPolicy.ScrollBarAlwaysOn
        elif header:
            top.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.setHorizontalScrollBarPolicy(policy)

    def fill(
        self,
        rows: Sequence[Sequence[object]],
        *,
        colours: Sequence[Sequence[str]] = (),
        tips: Sequence[str] = (),
    ) -> None:
        """Show rows; the first cells may have colours beside them, and tooltips."""
        self.clearContents()
        self.setRowCount(len(rows))
        for place, (first, *numbers) in enumerate(rows):
            item = QTableWidgetItem(str(first))
            item.setToolTip(tips[place] if tips else str(first))
            if colours and colours[place]:
                item.setIcon(swatch(*colours[place]))
            self.setItem(place, 0, item)
            for column, number in enumerate(numbers, start=1):
                self.setItem(place, column, number_cell(str(number)))
        self._fit()

    def show_names(self) -> None:
        """Be so wide that no name is cut off, unless it is very long."""
        top = self.horizontalHeader()
        assert top is not None
        widths = [
            max(self.sizeHintForColumn(i), top.sectionSizeHint(i))
            for i in range(self.columnCount())
        ]
        widths[0] = min(widths[0], _WIDEST_NAME)
        self.setMinimumWidth(sum(widths) + 2 * self.frameWidth())

    def _fit(self) -> None:
        top = self.horizontalHeader()
        assert top is not None
        bar = self.horizontalScrollBar()
        assert bar is not None
        rows = sum(map(self.rowHeight, range(self.rowCount())[: self._most_rows]))
        height = rows + top.sizeHint().height() + 2 * self.frameWidth()
        self.setFixedHeight(height + self._is_wide * bar.sizeHint().height())


def make_dense(table: Table) -> None:
    """Make the rows of a table as low as one line of text."""
    side = table.verticalHeader()
    assert side is not None
    side.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    side.setMinimumSectionSize(_DENSE_ROW)
    side.setDefaultSectionSize(_DENSE_ROW)
    table.setWordWrap(False)


class Rows(QTableView):
    """A table of any length, whose rows are selected as a whole.

    Parameters
    ----------
    several : bool
        Whether several rows can be selected together.
    """

    selected = Signal()
    """Emitted when other rows are selected."""

    def __init__(self, *, several: bool) -> None:
        super().__init__()
        self._cells = _Cells(self)
        self.setModel(self._cells)
        mode = QAbstractItemView.SelectionMode
        self.setSelectionMode(
            mode.ExtendedSelection if several else mode.SingleSelection
        )
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setMinimumHeight(140)
        header, rows = self.horizontalHeader(), self.verticalHeader()
        assert header is not None
        assert rows is not None
        rows.setVisible(False)
        rows.setDefaultSectionSize(_ROW)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setResizeContentsPrecision(_MEASURED)
        header.setStretchLastSection(True)
        self._selection.selectionChanged.connect(lambda *_: self.selected.emit())

    def fill(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        tips: Sequence[str] = (),
    ) -> None:
        """Show rows, each perhaps with a tooltip; none is selected."""
        self._cells.show(columns, rows, tips)

    @property
    def selected_rows(self) -> list[int]:
        """Numbers of the selected rows, ascending."""
        return sorted(index.row() for index in self._selection.selectedRows())

    def select(self, rows: Iterable[int]) -> None:
        """Select rows, and no others."""
        chosen = QItemSelection()
        wanted, last = sorted(rows), self._cells.columnCount() - 1
        # One range for neighbours: Qt takes long with hundreds of them.
        starts = [row for row in wanted if row - 1 not in {*wanted}]
        ends = [row for row in wanted if row + 1 not in {*wanted}]
        for start, end in zip(starts, ends, strict=True):
            chosen.select(self._cells.index(start, 0), self._cells.index(end, last))
        flag = QItemSelectionModel.SelectionFlag
        self._selection.select(chosen, flag.ClearAndSelect)

    @property
    def _selection(self) -> QItemSelectionModel:
        model = self.selectionModel()
        assert model is not None
        return model


class _Cells(QAbstractTableModel):
    """Texts of a table."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._columns: Sequence[str] = ()
        self._rows: Sequence[Sequence[str]] = ()
        self._tips: Sequence[str] = ()

    def show(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        tips: Sequence[str],
    ) -> None:
        self.beginResetModel()
        self._columns, self._rows, self._tips = columns, rows, tips
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 Qt's
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:  # noqa: N802 Qt's
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    def data(self, index: QModelIndex, role: int = 0) -> str | None:
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self._rows[index.row()][index.column()]
            case Qt.ItemDataRole.ToolTipRole if self._tips:
                return self._tips[index.row()]
        return None

    def headerData(  # noqa: N802 Qt's name
        self, section: int, orientation: Qt.Orientation, role: int = 0
    ) -> str | None:
        is_title = orientation == Qt.Orientation.Horizontal
        if is_title and role == Qt.ItemDataRole.DisplayRole:
            return self._columns[section]
        return None
