"""Tables: of numbers, and of folders with what can be done with each."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from qtpy.QtCore import QFile, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QInputDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_lrcs.annotation.workspace import check_idle, rename_folder
from napari_lrcs.plugin.parts.widgets import button, number_cell, swatch, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, BackgroundReader

_COLUMNS, _LETTERS = 6, 50
"""Most columns and letters of a table's header that fits a narrow dock."""

_DENSE_ROW = 22
"""Height of a row, in pixels: the fractions of three phases fit a small window."""


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


class _Listed(Protocol):
    @property
    def path(self) -> Path:
        """The folder."""


Item = TypeVar("Item", bound=_Listed)


class FolderTable(QWidget, Generic[Item]):
    """One row per folder, with buttons for the selected one; reads them in a thread.

    Parameters
    ----------
    columns : sequence of str
        Titles of the columns.
    list_items : callable
        Reads what lies in a folder; called in a thread.
    row : callable
        Returns the texts of an item's row; its tooltip is ``str(item)``.
    hint : str
        Shown while there is no item.
    can_tick : bool
        Whether rows can be ticked.
    select_first : bool
        Whether to select the first row where none is selected.
    """

    listed = Signal()
    """Emitted when `items` has changed."""

    moved = Signal(object, object)
    """A folder's former path, and its path now; None where it was deleted."""

    reported = Signal(str, str)
    """What was done with a folder, or why not, and the kind of this message."""

    _rename_requested = Signal(object)
    _delete_requested = Signal(object)

    def __init__(
        self,
        columns: Sequence[str],
        *,
        list_items: Callable[[Path], Sequence[Item]],
        row: Callable[[Item], Sequence[str]],
        hint: str,
        can_tick: bool = False,
        select_first: bool = False,
    ) -> None:
        super().__init__()
        self.items: Sequence[Item] = ()
        """Items in the order of the rows."""
        self._list_items, self._row, self._can_tick = list_items, row, can_tick
        self._select_first, self._is_busy = select_first, False
        self._buttons: list[tuple[QPushButton, Callable[[Item], bool], bool]] = []
        self._renamed: dict[Path, Path | None] = {}
        self._reader = BackgroundReader("Listing folders", self)
        self._reader.answered.connect(self._show)
        self._reader.failed.connect(self._show_error)
        self._hint = QLabel(hint)
        self._hint.setWordWrap(True)
        self._table = _table(columns)
        self._table.itemSelectionChanged.connect(self._update_buttons)
        self._grid = QGridLayout()
        layout = vbox(self, self._hint, top=4)
        layout.addWidget(self._table, stretch=1)
        layout.addLayout(self._grid)

    # ---- buttons ----

    def add_button(
        self,
        text: str,
        tooltip: str,
        requested: Signal,
        *,
        allow: Callable[[Item], bool],
        while_busy: bool = False,
    ) -> QPushButton:
        """Add a button that emits the path of the selected folder.

        Parameters
        ----------
        text, tooltip : str
            Of the button.
        requested : Signal
            Carries the path.
        allow : callable
            Tells for which items the button can be pressed.
        while_busy : bool
            Whether it can be pressed while the dock is busy, too.
        """

        def emit() -> None:
            if self.selected is not None:
                requested.emit(self.selected.path)

        made = button(text, tooltip, emit)
        self._buttons.append((made, allow, while_busy))
        self.place_button(made)
        made.setEnabled(False)
        return made

    def place_button(self, made: QPushButton) -> None:
        """Put a button below the table."""
        n = self._grid.count()
        self._grid.addWidget(made, n // 2, n % 2)

    def add_folder_buttons(self, content: Callable[[Item], str]) -> None:
        """Add buttons that rename and delete the selected folder.

        Parameters
        ----------
        content : callable
            Returns what is lost with an item, to follow "This deletes".
        """
        self._rename_requested.connect(self._ask_for_name)
        self._delete_requested.connect(lambda path: self._ask_to_delete(path, content))
        for text, tooltip, requested in (
            ("Rename…", "Give the folder another name", self._rename_requested),
            ("Delete…", "Move the folder to the trash", self._delete_requested),
        ):
            self.add_button(
                text, tooltip, requested, allow=lambda _item: True, while_busy=True
            )

    def rename(self, path: Path, name: str) -> Path:
        """Rename a folder; return where it is now."""
        return rename_folder(path, name)

    def delete(self, path: Path) -> None:
        """Delete a folder."""
        discard_folder(path)

    def _ask_for_name(self, path: Path) -> None:
        text, is_given = QInputDialog.getText(
            self, f"Rename {path.name}", f"New name of {path.name}", text=path.name
        )
        name = text.strip()
        if is_given and name != path.name:
            done = f"{path.name} is now {name}"
            self._do(path, lambda: self.rename(path, name), done)

    def _ask_to_delete(self, path: Path, content: Callable[[Item], str]) -> None:
        item = self.selected
        if item is None:
            return
        answer = QMessageBox.question(
            self,
            f"Delete {path.name}?",
            f"This deletes {content(item)}. The folder {path.name} goes to the trash; "
            "if there is no trash, it is deleted for good.",
            QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
            QMessageBox.StandardButton.No,
        )
        if answer == QMessageBox.StandardButton.Yes:
            self._do(path, lambda: self.delete(path), f"{path.name} was deleted")

    def _do(self, path: Path, act: Callable[[], Path | None], done: str) -> None:
        try:
            place = act()
        except EXPECTED as error:
            self.reported.emit(str(error), "error")
            return
        self._renamed[path] = place
        self.moved.emit(path, place)
        self.reported.emit(done, "done")

    def set_busy(self, busy: bool) -> None:  # noqa: FBT001 as Qt's setters
        """Tell whether the dock is busy, so that nothing else can begin."""
        self._is_busy = busy
        self._update_buttons()

    def _update_buttons(self) -> None:
        item = self.selected
        for made, allow, while_busy in self._buttons:
            is_free = while_busy or not self._is_busy
            made.setEnabled(is_free and item is not None and allow(item))

    # ---- reading ----

    def refresh(self, folder: Path | None) -> None:
        """List what lies in a folder, in a thread; nothing where there is none."""
        if folder is None:
            self._reader.cancel()
            self._show(())
        else:
            self._reader.read(lambda: self._list_items(folder))

    def disconnect_events(self) -> None:
        """Ignore what is still read."""
        self._reader.cancel()

    # ---- showing ----

    @property
    def hint(self) -> str:
        """The sentence that is shown in place of rows."""
        return str(self._hint.text())

    @property
    def selected(self) -> Item | None:
        """The item whose row is selected."""
        rows = {index.row() for index in self._table.selectedIndexes()}
        return self.items[rows.pop()] if rows else None

    @property
    def ticked(self) -> list[Item]:
        """The items whose rows are ticked."""
        return [item for row, item in enumerate(self.items) if self._is_ticked(row)]

    def select(self, row: int, *, tick: bool = False) -> None:
        """Select a row, and perhaps tick it, as clicks do."""
        self._table.selectRow(row)
        cell = self._table.item(row, 0)
        assert cell is not None
        if tick:
            cell.setCheckState(Qt.CheckState.Checked)

    def _is_ticked(self, row: int) -> bool:
        cell = self._table.item(row, 0)
        return cell is not None and cell.checkState() == Qt.CheckState.Checked

    def _show(self, items: Sequence[Item]) -> None:
        selected, ticked = self.selected, {item.path for item in self.ticked}
        kept = None if selected is None else selected.path
        kept = self._renamed.pop(kept, kept) if kept is not None else None
        self.items = items
        self._hint.setVisible(not items)
        with signals_blocked(self._table):
            self._table.clearSelection()
            self._table.setRowCount(len(items))
            for row, item in enumerate(items):
                self._fill(row, item, is_ticked=item.path in ticked)
                if item.path == kept:
                    self._table.selectRow(row)
            if self._select_first and items and self.selected is None:
                self._table.selectRow(0)
        self._update_buttons()
        self.listed.emit()

    def _fill(self, row: int, item: Item, *, is_ticked: bool) -> None:
        for column, text in enumerate(self._row(item)):
            cell = QTableWidgetItem(text)
            cell.setToolTip(str(item))
            if self._can_tick and column == 0:
                state = Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked
                cell.setCheckState(state)
            self._table.setItem(row, column, cell)

    def _show_error(self, text: str) -> None:
        self._hint.setText(text)
        self._hint.setVisible(True)


def discard_folder(path: Path) -> None:
    """Move a run or a painting to the system's trash, or remove it.

    Raises
    ------
    InUseError
        If it is in use; see `check_idle`.
    OSError
        If it cannot be removed.
    """
    check_idle(path)
    if not QFile(str(path)).moveToTrash():
        shutil.rmtree(path)


def _table(columns: Sequence[str]) -> QTableWidget:
    table = QTableWidget(0, len(columns))
    table.setHorizontalHeaderLabels(list(columns))
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setMinimumHeight(140)
    header, rows = table.horizontalHeader(), table.verticalHeader()
    assert header is not None
    assert rows is not None
    rows.setVisible(False)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setStretchLastSection(True)
    return table
