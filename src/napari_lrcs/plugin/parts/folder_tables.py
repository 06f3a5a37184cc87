"""A table of folders, and what can be done with each."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from qtpy.QtCore import QFile, Signal
from qtpy.QtWidgets import (
    QGridLayout,
    QInputDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_lrcs.annotation.workspace import check_idle, rename_folder
from napari_lrcs.plugin.parts.tables import Rows
from napari_lrcs.plugin.parts.widgets import button, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, BackgroundReader, Pausing

_MOST_NAMES = 5
"""Most folders that a question describes."""


class _Listed(Protocol):
    @property
    def path(self) -> Path:
        """The folder."""


Item = TypeVar("Item", bound=_Listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action(Generic[Item]):
    """A button, and when it can be pressed."""

    button: QPushButton
    allow: Callable[[Item], bool]
    while_busy: bool
    several: bool

    def update_for(self, items: Sequence[Item], *, is_busy: bool) -> None:
        """Enable or disable the button for the selected items."""
        is_number_right = len(items) == 1 or (self.several and len(items) > 1)
        is_free = self.while_busy or not is_busy
        self.button.setEnabled(
            is_free and is_number_right and all(map(self.allow, items))
        )


class FolderTable(QWidget, Generic[Item]):
    """One row per folder, with buttons for the selected one; reads them in a thread.

    Parameters
    ----------
    columns : sequence of str
        Titles of the columns.
    list_items : callable
        Reads what lies in a folder; called in a thread, see `BackgroundReader`.
    row : callable
        Returns the texts of an item's row; its tooltip is ``str(item)``.
    hint : str
        Shown while there is no item.
    several : bool
        Whether several rows can be selected together.
    select_first : bool
        Whether to select the first row where none is selected.
    """

    buttons_per_row: ClassVar[int] = 2

    listed = Signal()
    """Emitted when `items` has changed."""

    selection_changed = Signal()
    """Emitted when other rows are selected, by a click or since some are gone."""

    moved = Signal(object, object)
    """A folder's former path, and its path now; None where it was deleted."""

    reported = Signal(str, str)
    """What was done with a folder, or why not, and the kind of this message."""

    _rename_requested = Signal(object)

    def __init__(
        self,
        columns: Sequence[str],
        *,
        list_items: Callable[[Path], Sequence[Item] | Pausing[Sequence[Item]]],
        row: Callable[[Item], Sequence[str]],
        hint: str,
        several: bool = False,
        select_first: bool = False,
    ) -> None:
        super().__init__()
        self.items: Sequence[Item] = ()
        """Items in the order of the rows."""
        self.folder: Path | None = None
        """The folder that is listed."""
        self._list_items, self._row = list_items, row
        self._select_first, self._is_busy = select_first, False
        self._actions: list[_Action[Item]] = []
        self._renamed: dict[Path, Path | None] = {}
        self._reader = BackgroundReader("Listing folders", self)
        self._reader.answered.connect(self._show)
        self._reader.failed.connect(self._show_error)
        self._columns, self._hint = columns, QLabel(hint)
        self._hint.setWordWrap(True)
        self.rows = Rows(several=several)
        self.rows.fill(columns, ())
        self.rows.selected.connect(self._on_selection)
        self._grid = QGridLayout()
        layout = vbox(self, self._hint, top=4)
        layout.addWidget(self.rows, stretch=1)
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

        return self._add(button(text, tooltip, emit), allow, while_busy=while_busy)

    def _add(
        self,
        made: QPushButton,
        allow: Callable[[Item], bool],
        *,
        while_busy: bool,
        several: bool = False,
    ) -> QPushButton:
        self._actions.append(
            _Action(button=made, allow=allow, while_busy=while_busy, several=several)
        )
        self._grid.addWidget(made, *divmod(self._grid.count(), self.buttons_per_row))
        made.setEnabled(False)
        return made

    def add_folder_buttons(
        self,
        content: Callable[[Item], str],
        *,
        allow: Callable[[Item], bool] = lambda _item: True,
    ) -> None:
        """Add buttons that rename and delete; `content` says what is then lost."""
        self._rename_requested.connect(self._ask_for_name)
        self.add_button(
            "Rename…",
            "Give the folder another name",
            self._rename_requested,
            allow=allow,
            while_busy=True,
        )
        delete = button(
            "Delete…",
            "Move what is selected to the trash",
            lambda: self._ask_to_delete(content),
        )
        self._add(delete, allow, while_busy=True, several=True)

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

    def _ask_to_delete(self, content: Callable[[Item], str]) -> None:
        items = self.all_selected
        if _may_delete(self, [item.path.name for item in items], map(content, items)):
            for path in [item.path for item in items]:
                self._do(path, partial(self.delete, path), f"{path.name} was deleted")

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

    def _on_selection(self) -> None:
        self._update_buttons()
        self.selection_changed.emit()

    def _update_buttons(self) -> None:
        items = self.all_selected
        for action in self._actions:
            action.update_for(items, is_busy=self._is_busy)

    # ---- reading ----

    @property
    def is_reading(self) -> bool:
        """Whether folders are being listed."""
        return self._reader.is_reading

    def refresh(self, folder: Path | None) -> None:
        """List what lies in a folder, in a thread; nothing where there is none."""
        self.folder = folder
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

    @hint.setter
    def hint(self, text: str) -> None:
        self._hint.setText(text)

    @property
    def selected(self) -> Item | None:
        """The item whose row is selected; None if there are several."""
        chosen = self.all_selected
        return chosen[0] if len(chosen) == 1 else None

    @property
    def all_selected(self) -> list[Item]:
        """The items whose rows are selected, in their order."""
        return [self.items[row] for row in self.rows.selected_rows]

    def select(self, *rows: int) -> None:
        """Select rows, and no others, as clicks do."""
        self.rows.select(rows)

    def arrange(self, items: Sequence[Item]) -> Sequence[Item]:
        """Choose and sort what is shown of the items that were read."""
        return items

    def _show(self, items: Sequence[Item]) -> None:
        before = {self._renamed.pop(x.path, x.path) for x in self.all_selected}
        self.items = self.arrange(items)
        self._hint.setVisible(not self.items)
        paths = [item.path for item in self.items]
        with signals_blocked(self.rows):
            texts = [*map(self._row, self.items)]
            self.rows.fill(self._columns, texts, [*map(str, self.items)])
            chosen = [row for row, path in enumerate(paths) if path in before]
            if self._select_first and paths and not chosen:
                chosen = [0]
            self.rows.select(chosen)
        self._update_buttons()
        self.listed.emit()
        if {item.path for item in self.all_selected} != before:
            self.selection_changed.emit()

    def _show_error(self, text: str) -> None:
        self._hint.setText(text)
        self._hint.setVisible(True)


def _may_delete(parent: QWidget, names: Sequence[str], contents: Iterable[str]) -> bool:
    n_more = len(names) - _MOST_NAMES
    more = (f"{n_more} more",) if n_more > 0 else ()
    lost = "; ".join((*islice(contents, _MOST_NAMES), *more))
    none = "if there is no trash,"
    one = f"The folder {names[0]} goes to the trash; {none} it is deleted for good"
    all_of_them = f"The folders go to the trash; {none} they are deleted for good"
    answer = QMessageBox.question(
        parent,
        f"Delete {names[0] if len(names) == 1 else f'{len(names)} folders'}?",
        f"This deletes {lost}. {one if len(names) == 1 else all_of_them}.",
        QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
        QMessageBox.StandardButton.No,
    )
    return bool(answer == QMessageBox.StandardButton.Yes)


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
