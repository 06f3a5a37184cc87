import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QFile, QObject, Signal
from qtpy.QtWidgets import QInputDialog, QMessageBox, QPushButton

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.locks import only_writer
from napari_lrcs.plugin.parts.folder_tables import FolderTable
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


def test_selected_rows_stay_when_others_come(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> None:
    table = make_table(several=True)
    changes: list[list[str]] = []
    table.selection_changed.connect(
        lambda: changes.append([item.path.name for item in table.all_selected])
    )
    for name in "bdf":
        (tmp_path / name).mkdir()
    _refresh(table, tmp_path, qtbot)
    table.select(0, 2)

    (tmp_path / "a").mkdir()
    _refresh(table, tmp_path, qtbot)
    several = table.selected, [item.path.name for item in table.all_selected]
    (tmp_path / "f").rmdir()
    _refresh(table, tmp_path, qtbot)

    assert _names(table) == ["a", "b", "d"]
    assert several == (None, ["b", "f"])
    assert table.selected == table.items[1]
    assert changes == [["b", "f"], ["b"]]


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


# ---- folders are renamed and deleted ----


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a user answers; "question" becomes what is asked."""
    answers: dict[str, Any] = {"name": "", "delete": True}

    def ask(_parent: object, _title: str, question: str, *_: object) -> Any:
        answers["question"] = question
        buttons = QMessageBox.StandardButton
        return buttons.Yes if answers["delete"] else buttons.No

    def name(*_: object, text: str) -> tuple[str, bool]:
        return answers["name"] or text, True

    monkeypatch.setattr(QMessageBox, "question", ask)
    monkeypatch.setattr(QInputDialog, "getText", name)
    return answers


@pytest.fixture
def managed(
    make_table: Callable[..., Table], tmp_path: Path, qtbot: QtBot
) -> tuple[Table, list[tuple[object, ...]]]:
    """A table of two runs, the first selected, and what it reports."""
    for name in ("run-1", "run-2"):
        (tmp_path / "work" / name).mkdir(parents=True)
    told: list[tuple[object, ...]] = []
    table = make_table()
    table.add_folder_buttons(lambda item: f"the network of {item.path.name}")
    table.moved.connect(lambda *moved: told.append(moved))
    table.reported.connect(lambda *report: told.append(report))
    _refresh(table, tmp_path / "work", qtbot)
    table.select(0)
    return table, told


def _press(table: Table, text: str) -> None:
    (made,) = [b for b in table.findChildren(QPushButton) if b.text() == text]
    assert made.isEnabled()
    made.click()


def test_folder_is_renamed(
    managed: tuple[Table, list[tuple[object, ...]]], answer: dict[str, Any]
) -> None:
    table, told = managed
    former = table.items[0].path
    answer["name"] = " first try "

    _press(table, "Rename…")

    place = former.with_name("first try")
    assert place.is_dir()
    assert told == [(former, place), ("run-1 is now first try", "done")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("run-2", "run-2 exists already; choose another name"),
        ("a/b", "'a/b' is not a valid name"),
        ("other", "run-1 is being written to; wait until that has ended"),
    ],
)
def test_name_that_cannot_be_is_explained(
    managed: tuple[Table, list[tuple[object, ...]]],
    answer: dict[str, Any],
    name: str,
    reason: str,
) -> None:
    table, told = managed
    answer["name"] = name

    with only_writer(table.items[0].path):
        _press(table, "Rename…")

    ((text, kind),) = told
    assert str(text).startswith(reason)
    assert kind == "error"
    assert table.items[0].path.is_dir()


@pytest.mark.parametrize("has_trash", [True, False])
def test_folder_is_deleted_once_that_is_confirmed(
    managed: tuple[Table, list[tuple[object, ...]]],
    answer: dict[str, Any],
    has_trash: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, told = managed
    run = table.items[0].path
    (run / "file").touch()
    if not has_trash:
        monkeypatch.setattr(QFile, "moveToTrash", lambda _file: False)

    answer["delete"] = False
    _press(table, "Delete…")
    kept = run.is_dir(), list(told)
    answer["delete"] = True
    with only_writer(run):
        _press(table, "Delete…")
    locked = run.is_dir(), told.pop()
    _press(table, "Delete…")

    assert kept == (True, [])
    assert locked[0]
    assert "is being written to" in str(locked[1][0])
    assert answer["question"].startswith(
        "This deletes the network of run-1. The folder"
    )
    assert not run.exists()
    assert told == [(run, None), ("run-1 was deleted", "done")]


def test_several_folders_are_deleted_together_but_not_renamed(
    make_table: Callable[..., Table],
    answer: dict[str, Any],
    tmp_path: Path,
    qtbot: QtBot,
) -> None:
    for number in range(7):
        (tmp_path / f"run-{number}").mkdir()
    table = make_table(several=True)
    table.add_folder_buttons(
        lambda item: item.path.name, allow=lambda item: item.path.name != "run-6"
    )
    _refresh(table, tmp_path, qtbot)
    rename, delete = table.findChildren(QPushButton)

    table.select(*range(7))
    refused = delete.isEnabled()
    table.select(*range(6))
    _press(table, "Delete…")

    assert not refused
    assert not rename.isEnabled()
    assert answer["question"].startswith(
        "This deletes run-0; run-1; run-2; run-3; run-4; 1 more. The folders go"
    )
    assert [path.name for path in tmp_path.glob("run-*")] == ["run-6"]


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
    has_begun, may_go_on = threading.Event(), threading.Event()

    def slow() -> str:
        has_begun.set()
        may_go_on.wait(timeout=5)
        return "first"

    reader.read(slow)
    qtbot.waitUntil(has_begun.is_set, timeout=SOON)
    reader.read(lambda: "second")
    qtbot.waitUntil(lambda: answers == ["second"], timeout=SOON)
    may_go_on.set()
    qtbot.wait(200)

    assert answers == ["second"]


def test_requests_of_one_change_are_read_once(qtbot: QtBot) -> None:
    parent = QObject()
    calls: list[int] = []
    reader = BackgroundReader("Reading", parent)

    for i in range(3):
        reader.read(partial(calls.append, i))
    assert reader.is_reading
    qtbot.waitUntil(lambda: not reader.is_reading, timeout=SOON)

    assert calls == [2]


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
