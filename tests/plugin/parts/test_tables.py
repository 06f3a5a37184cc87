import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QObject, Signal

from napari_lrcs.errors import VolumeError
from napari_lrcs.plugin.parts.tables import FolderTable
from napari_lrcs.plugin.parts.workers import BackgroundReader

pytestmark = pytest.mark.gui

SOON = 2000
"""Milliseconds in which a thread has read."""


@dataclass(frozen=True)
class Item:
    path: Path
    is_open: bool = True


class Table(FolderTable[Item]):
    requested = Signal(object)


@pytest.fixture
def make_table(qtbot: QtBot) -> Iterator[Callable[..., Table]]:
    """Build tables of the folders in a folder; the names of closed ones end in x."""
    tables = []

    def build(**options: bool) -> Table:
        table = Table(
            ("Name", "Letters"),
            list_items=_list_items,
            row=lambda item: (item.path.name, str(len(item.path.name))),
            hint="Nothing yet.",
            **options,
        )
        tables.append(table)
        return table

    yield build
    for table in tables:
        table.deleteLater()
    qtbot.wait(10)  # Qt deletes them from its event loop


def _list_items(folder: Path) -> list[Item]:
    if not folder.is_dir():
        raise VolumeError(f"{folder.name} cannot be read")
    return [
        Item(path=path, is_open=not path.name.endswith("x"))
        for path in sorted(folder.iterdir())
    ]


def _refresh(table: Table, folder: Path, qtbot: QtBot) -> None:
    with qtbot.waitSignal(table.listed, timeout=SOON):
        table.refresh(folder)


def _names(table: Table) -> list[str]:
    return [item.path.name for item in table.items]


def test_selected_and_ticked_rows_stay_when_others_come(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> None:
    table = make_table(can_tick=True)
    (tmp_path / "b").mkdir()
    _refresh(table, tmp_path, qtbot)
    table.select(0, tick=True)

    (tmp_path / "a").mkdir()
    _refresh(table, tmp_path, qtbot)

    assert _names(table) == ["a", "b"]
    assert table.selected == table.items[1]
    assert table.ticked == [table.items[1]]


def test_first_row_is_selected_where_that_is_wanted(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> None:
    (tmp_path / "a").mkdir()
    tables = [make_table(select_first=is_wanted) for is_wanted in (True, False)]

    for table in tables:
        _refresh(table, tmp_path, qtbot)

    assert [table.selected is not None for table in tables] == [True, False]


def test_row_that_is_gone_is_selected_no_more(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> None:
    table = make_table()
    for name in "ab":
        (tmp_path / name).mkdir()
    _refresh(table, tmp_path, qtbot)
    table.select(0)

    (tmp_path / "a").rmdir()
    _refresh(table, tmp_path, qtbot)

    assert table.selected is None


def test_buttons_follow_the_selected_row_and_the_dock(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> None:
    table = make_table()
    begin, show = (
        table.add_button(
            text,
            "",
            table.requested,
            allow=lambda item: item.is_open,
            while_busy=text == "Show",
        )
        for text in ("Begin", "Show")
    )
    for name in ("a", "ax"):
        (tmp_path / name).mkdir()
    _refresh(table, tmp_path, qtbot)
    enabled = [(begin.isEnabled(), show.isEnabled())]

    for row, is_busy in ((0, False), (1, False), (0, True)):
        table.select(row)
        table.set_busy(is_busy)
        enabled.append((begin.isEnabled(), show.isEnabled()))

    assert enabled == [(False, False), (True, True), (False, False), (False, True)]
    with qtbot.waitSignal(table.requested) as requested:
        show.click()
    assert requested.args == [tmp_path / "a"]


def test_table_of_no_folder_is_empty(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> None:
    table = make_table()
    (tmp_path / "a").mkdir()
    _refresh(table, tmp_path, qtbot)

    table.refresh(None)

    assert table.items == ()


def test_folder_that_cannot_be_read_is_told(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> None:
    table = make_table()

    table.refresh(tmp_path / "gone")

    qtbot.waitUntil(lambda: table.hint == "gone cannot be read", timeout=SOON)


# ---- reading in a thread ----


def test_only_the_answer_to_the_last_request_counts(qtbot: QtBot) -> None:
    parent = QObject()
    answers: list[str] = []
    reader = BackgroundReader("Reading", parent)
    reader.answered.connect(answers.append)
    may_go_on = threading.Event()

    def slow() -> str:
        may_go_on.wait(timeout=5)
        return "first"

    reader.read(slow)
    reader.read(lambda: "second")
    qtbot.waitUntil(lambda: answers == ["second"], timeout=SOON)
    may_go_on.set()
    qtbot.wait(200)

    assert answers == ["second"]


def test_answer_to_a_request_that_was_cancelled_is_dropped(qtbot: QtBot) -> None:
    parent = QObject()
    answers: list[str] = []
    reader = BackgroundReader("Reading", parent)
    reader.answered.connect(answers.append)

    reader.read(lambda: "answer")
    reader.cancel()
    qtbot.wait(200)

    assert answers == []


def test_error_is_told_in_words(qtbot: QtBot) -> None:
    parent = QObject()
    reasons: list[str] = []
    reader = BackgroundReader("Reading", parent)
    reader.failed.connect(reasons.append)

    reader.read(lambda: _list_items(Path("nowhere")))

    qtbot.waitUntil(lambda: reasons == ["nowhere cannot be read"], timeout=SOON)
