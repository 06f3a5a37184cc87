import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from napari import Viewer
from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar
from napari.components import ViewerModel
from napari.utils import progress
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QPointF, Qt, QThread
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QFileDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QTabBar,
    QWidget,
)

from napari_lrcs.plugin.parts.closable import Closable
from napari_lrcs.plugin.parts.dock import Dock, Outcome, recall, remember
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.widgets import COLOURS, Notices, button, choice, clock
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.progress import Notice

pytestmark = pytest.mark.gui


class Endless:
    """A job that never ends by itself, and what became of it."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.closed_in: threading.Thread | None = None

    def __call__(self) -> Events:
        self.begun.set()
        try:
            while True:
                time.sleep(0.01)
                yield "event"
        finally:
            self.closed_in = threading.current_thread()


class PlainDock(Dock):
    """A dock that notes what it is told."""

    key = "plain"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.events: list[object] = []
        self.threads: set[bool] = set()
        self.busy: list[bool] = []
        self.outcomes: list[Outcome] = []
        self.word = "default"

    def handle(self, event: object) -> None:
        self.events.append(event)
        application = QApplication.instance()
        assert application is not None
        self.threads.add(QThread.currentThread() is application.thread())

    def finish(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def update_buttons(self) -> None:
        self.busy.append(self.is_busy)

    def settings(self) -> dict[str, Any]:
        return {"word": self.word}


class Listener:
    """What listens to a viewer, until it is told to stop."""

    listens = True

    def disconnect_events(self) -> None:
        self.listens = False


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    made: Viewer = make_napari_viewer(show=True)
    return made


def _open(viewer: Viewer) -> PlainDock:
    dock = PlainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Plain")
    QApplication.processEvents()
    return dock


def _begin_endless(dock: PlainDock, qtbot: Any, *, kept: str = "") -> Endless:
    endless = Endless()
    dock.begin("Endless", endless, kept=kept)
    qtbot.waitUntil(lambda: len(dock.events) > 1, timeout=2000)
    return endless


# ---- looks ----


def test_messages_take_the_colours_of_another_theme(viewer: Viewer) -> None:
    dock, notices = _open(viewer), Notices()
    dock.body.addWidget(notices)
    viewer.theme = "light"
    dock.show_message("It failed", "error")
    notices.add(Notice(kind="pitfall", text="nothing is learnt"))
    (message,) = (x for x in dock.findChildren(QLabel) if x.text() == "It failed")
    on_light = message.styleSheet(), notices.text()

    viewer.theme = "dark"

    assert message.styleSheet() == f"color: {COLOURS['error']}"
    assert COLOURS["warning"] in notices.text()
    viewer.theme = "light"
    assert (message.styleSheet(), notices.text()) == on_light
    assert COLOURS["error"] not in on_light[0]


def test_names_of_many_docks_in_one_place_stay_legible(qtbot: QtBot) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    canvas = QWidget()
    canvas.setMinimumWidth(500)
    window.setCentralWidget(canvas)
    window.resize(800, 200)
    window.show()
    for number in range(7):
        around = QDockWidget(f"Segment phases {number}", window)
        around.setWidget(Closable(ViewerModel()))
        window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, around)
        QApplication.processEvents()

    directly = Qt.FindChildOption.FindDirectChildrenOnly
    (tabs,) = window.findChildren(QTabBar, options=directly)

    letters = tabs.fontMetrics().horizontalAdvance("Segment")
    assert all(tabs.tabRect(i).width() > letters for i in range(7))
    assert tabs.width() < 300


# ---- jobs ----


def test_events_of_a_job_come_in_order_on_the_thread_of_the_window(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = _open(viewer)

    dock.begin("Count", lambda: (i for i in range(3)))

    assert dock.is_busy
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=2000)
    assert dock.events == [0, 1, 2]
    assert dock.threads == {True}
    assert dock.busy == [True, False]
    assert dock.outcomes == ["done"]


def test_job_runs_in_a_thread_of_its_own(viewer: Viewer, qtbot: Any) -> None:
    dock = _open(viewer)

    endless = _begin_endless(dock, qtbot)
    dock.stop()

    assert dock.is_stopping
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)
    assert endless.closed_in not in (None, threading.main_thread())
    assert dock.outcomes == ["stopped"]


def test_second_job_waits_for_no_one_and_is_not_begun(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = _open(viewer)
    _begin_endless(dock, qtbot)
    second = Endless()

    dock.begin("Second", second)
    dock.stop()
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)

    assert not second.begun.is_set()


def test_dock_can_begin_again_after_it_was_stopped(viewer: Viewer, qtbot: Any) -> None:
    dock = _open(viewer)
    _begin_endless(dock, qtbot)
    dock.stop()
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)

    dock.begin("Count", lambda: (i for i in "ab"))

    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)
    assert dock.events[-2:] == ["a", "b"]


def test_paused_job_makes_no_event_and_still_stops(viewer: Viewer, qtbot: Any) -> None:
    dock = _open(viewer)
    endless = _begin_endless(dock, qtbot)
    assert dock.job is not None
    dock.job.pause()
    qtbot.wait(200)
    n_events = len(dock.events)
    qtbot.wait(200)
    assert len(dock.events) == n_events

    dock.stop()

    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)
    assert endless.closed_in is not None


def test_what_the_user_did_wrong_is_told_in_a_sentence(
    viewer: Viewer, qtbot: Any
) -> None:
    def refuse() -> Iterator[object]:
        yield "event"
        raise ValueError("nothing is painted; paint a slice")

    dock = _open(viewer)
    dock.begin("Refuse", lambda: (event for event in refuse()))

    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)
    assert dock.message == "nothing is painted; paint a slice"
    assert dock.outcomes == ["failed"]


def test_our_own_mistakes_are_told_by_napari_too(viewer: Viewer, qtbot: Any) -> None:
    def fail() -> Iterator[object]:
        yield "event"
        raise RuntimeError("a bug")

    dock = _open(viewer)
    told: list[Any] = []
    notification_manager.notification_ready.connect(told.append)

    dock.begin("Fail", lambda: (event for event in fail()))
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)
    notification_manager.notification_ready.disconnect(told.append)

    assert dock.message == "RuntimeError('a bug')"
    assert ["a bug" in notification.message for notification in told] == [True]


def test_buttons_stay_in_place_when_a_sentence_comes(viewer: Viewer) -> None:
    dock = _open(viewer)
    button = QPushButton("Train")
    dock.footer.addWidget(button)
    QApplication.processEvents()
    before = button.mapTo(dock, button.rect().center())

    dock.show_message("Something takes two lines to be told. " * 4)
    dock.progress.begin("Training")
    QApplication.processEvents()

    assert button.mapTo(dock, button.rect().center()) == before


def test_next_job_takes_the_last_sentence_away(viewer: Viewer, qtbot: Any) -> None:
    dock = _open(viewer)
    dock.show_message("Something was wrong", "error")

    dock.begin("Count", lambda: (i for i in range(3)))

    assert dock.message == ""
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)


# ---- napari's activities ----


@pytest.fixture
def _activities_show_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lrcs.plugin.parts.workers._ACTIVITY_MS", 20)


def _activities(viewer: Viewer) -> dict[str, tuple[int, int]]:
    """Return value and maximum of the bars that napari shows, by their texts."""
    bars = viewer.window._qt_window._activity_dialog.findChildren(QtLabeledProgressBar)
    return {
        bar.description_label.text(): (
            bar.qt_progress_bar.value(),
            bar.qt_progress_bar.maximum(),
        )
        for bar in bars
    }


@pytest.mark.usefixtures("_activities_show_at_once")
@pytest.mark.parametrize("end", ["stopped", "failed", "closed"])
def test_napari_shows_a_long_job_until_it_ends(
    end: str, viewer: Viewer, qtbot: Any
) -> None:
    dock, fails = _open(viewer), threading.Event()

    def events() -> Iterator[object]:
        while not fails.wait(0.01):
            yield "event"
        raise ValueError("it failed")

    dock.begin("Endless", lambda: (event for event in events()))
    dock.progress.begin("Half of it", share=0.5)
    qtbot.waitUntil(lambda: _activities(viewer) == {"Endless: ": (50, 100)})
    labels = viewer.window._qt_window.statusBar().findChildren(QLabel)
    spinners = [movie for label in labels if (movie := label.movie())]
    # Each frame draws the whole window anew.
    assert [spinner.speed() for spinner in spinners] == [10]
    if end == "stopped":
        dock.stop()
    elif end == "failed":
        fails.set()
    else:
        viewer.window.remove_dock_widget(dock)

    qtbot.waitUntil(lambda: not _activities(viewer))


@pytest.mark.usefixtures("_activities_show_at_once")
def test_job_leaves_no_activity_when_its_window_is_closed(
    make_napari_viewer: Callable[..., Viewer], qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    other = make_napari_viewer(show=True)
    endless = _begin_endless(_open(other), qtbot)
    qtbot.waitUntil(lambda: len(_activities(other)) == 1)

    other.close()

    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)
    qtbot.waitUntil(lambda: not _activities(viewer))


def test_quick_job_is_no_activity(viewer: Viewer, qtbot: Any) -> None:
    dock, shown = _open(viewer), list[object]()
    progress._all_instances.events.changed.connect(shown.append)

    dock.begin("Count", lambda: (i for i in range(3)))
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=1000)
    qtbot.wait(100)
    progress._all_instances.events.changed.disconnect(shown.append)

    assert not shown


# ---- layout ----


def test_dock_widens_with_its_content(viewer: Viewer, qtbot: Any) -> None:
    dock, content = PlainDock(viewer), QWidget()
    dock.body.addWidget(content)
    viewer.window.add_dock_widget(dock)
    qtbot.wait(100)

    content.setFixedWidth(400)

    qtbot.waitUntil(lambda: dock.width() > 400, timeout=1000)


# ---- closing ----


def test_closed_dock_stops_its_job_within_a_second(viewer: Viewer, qtbot: Any) -> None:
    dock = _open(viewer)
    listener = Listener()
    dock.connections.append(listener)
    endless = _begin_endless(dock, qtbot)

    viewer.window.remove_dock_widget(dock)

    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)
    assert endless.closed_in is not threading.main_thread()
    assert not listener.listens


@pytest.fixture
def _much_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_lrcs.plugin.parts.dock.WORTH_ASKING", 0.0)


def _answer(viewer: Viewer, word: str) -> str:
    """Press the button of the only question that has this text; return what it asks."""
    (box,) = viewer.window._qt_window.findChildren(QMessageBox)
    text = str(box.text())
    next(made for made in box.buttons() if made.text() == word).click()
    return text


@pytest.mark.usefixtures("_much_is_lost")
def test_closing_a_dock_says_what_is_lost_and_goes_on_if_that_is_not_wanted(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = _open(viewer)
    endless = _begin_endless(dock, qtbot, kept="The first half is kept.")

    viewer.window.remove_dock_widget(dock)
    text = _answer(viewer, "Keep it open")
    QApplication.processEvents()

    assert text == (
        "Endless has not finished. The first half is kept. Stop it and close the dock?"
    )
    assert viewer.window.dock_widgets["Plain"] is dock
    assert dock.isVisible()
    assert endless.closed_in is None
    n_events = len(dock.events)
    qtbot.waitUntil(lambda: len(dock.events) > n_events, timeout=1000)
    dock.stop()
    qtbot.waitUntil(lambda: dock.outcomes == ["stopped"], timeout=1000)


@pytest.mark.usefixtures("_much_is_lost")
def test_closed_dock_stops_its_job_if_that_is_wanted(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = _open(viewer)
    endless = _begin_endless(dock, qtbot)

    viewer.window.remove_dock_widget(dock)
    assert endless.closed_in is None
    assert "Nothing will be kept." in _answer(viewer, "Stop and close")

    qtbot.waitUntil(lambda: not isalive(dock), timeout=2000)
    assert endless.closed_in is not None


@pytest.mark.usefixtures("_much_is_lost")
def test_window_that_is_closed_says_what_is_kept(viewer: Viewer, qtbot: Any) -> None:
    dock = _open(viewer)
    endless = _begin_endless(dock, qtbot, kept="The first half is kept.")

    # What napari shows when it asks whether to close its window.
    (line,) = viewer.window._task_status_manager.get_status()
    assert line.endswith("Executing Endless. The first half is kept.")

    viewer.window.remove_dock_widget(dock)  # the question goes with the window
    viewer.close()
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)


@pytest.mark.parametrize("closed", ["dock", "window"])
def test_dock_closed_in_mid_work_gets_no_event(
    closed: str, viewer: Viewer, qtbot: Any
) -> None:
    dock, calls = _open(viewer), list[int]()

    class Counter:
        def disconnect_events(self) -> None:
            calls.append(len(dock.events))

    dock.connections.append(Counter())
    endless = _begin_endless(dock, qtbot)
    dock.busy.clear()
    time.sleep(0.1)  # some events wait for the window

    if closed == "dock":
        viewer.window.remove_dock_widget(dock)
    else:
        viewer.close()

    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)
    qtbot.wait(100)
    assert calls == [len(dock.events)]
    assert not dock.outcomes
    assert not dock.busy


def test_error_after_the_dock_was_closed_is_not_shown(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    goes_on, dock = threading.Event(), _open(viewer)

    def refuse() -> Iterator[object]:
        yield "event"
        goes_on.wait()
        raise ValueError("too late")

    dock.begin("Refuse", lambda: (event for event in refuse()))
    shown: list[Exception] = []
    monkeypatch.setattr(dock, "show_error", shown.append)
    viewer.window.remove_dock_widget(dock)
    goes_on.set()

    qtbot.waitUntil(lambda: not isalive(dock), timeout=1000)
    assert not shown


def test_closed_dock_is_deleted(viewer: Viewer, qtbot: Any) -> None:
    dock = _open(viewer)

    viewer.window.remove_dock_widget(dock)

    qtbot.waitUntil(lambda: not isalive(dock), timeout=1000)


def test_closed_dock_is_deleted_only_after_the_end_of_its_job(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = _open(viewer)
    endless = _begin_endless(dock, qtbot)
    ended_first: list[bool] = []
    dock.destroyed.connect(lambda: ended_first.append(endless.closed_in is not None))

    viewer.window.remove_dock_widget(dock)

    qtbot.waitUntil(lambda: ended_first == [True], timeout=1000)


def test_dock_that_its_own_button_closes_stops_its_job(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = PlainDock(viewer)
    wrapper = viewer.window.add_dock_widget(dock, name="Plain")
    listener = Listener()
    dock.connections.append(listener)
    endless = _begin_endless(dock, qtbot)

    wrapper.destroyOnClose()  # what the title bar's cross does

    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)
    assert not listener.listens


def test_closed_window_stops_the_job_within_a_second(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = _open(viewer)
    listener = Listener()
    dock.connections.append(listener)
    endless = _begin_endless(dock, qtbot)

    viewer.close()

    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)
    qtbot.waitUntil(lambda: not listener.listens, timeout=1000)


def test_docks_of_two_viewers_do_not_meet(
    make_napari_viewer: Callable[..., Viewer], qtbot: Any
) -> None:
    # napari takes a job for one of the window that was made or clicked last.
    first = _open(make_napari_viewer(show=True))
    endless = _begin_endless(first, qtbot)
    second = _open(make_napari_viewer(show=True))
    _begin_endless(second, qtbot)

    second.viewer.close()

    qtbot.wait(300)
    assert first.is_busy
    assert endless.closed_in is None
    first.stop()
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)


def test_dock_that_floats_and_comes_back_keeps_its_job(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = PlainDock(viewer)
    wrapper = viewer.window.add_dock_widget(dock, name="Plain")
    endless = _begin_endless(dock, qtbot)

    wrapper.setFloating(True)
    qtbot.wait(100)
    wrapper.setFloating(False)
    qtbot.wait(100)

    assert endless.closed_in is None
    viewer.close()
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)


def test_hidden_dock_keeps_its_job(viewer: Viewer, qtbot: Any) -> None:
    dock = PlainDock(viewer)
    wrapper = viewer.window.add_dock_widget(dock, name="Plain")
    endless = _begin_endless(dock, qtbot)

    wrapper.hide()
    qtbot.wait(200)

    assert endless.closed_in is None
    wrapper.show()
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: endless.closed_in is not None, timeout=1000)


# ---- settings ----


@pytest.mark.parametrize(
    ("typed", "saved"),
    [
        ("cell_0.5um", "cell_0.5um.png"),
        ("cell_0.5um.png", "cell_0.5um.png"),
        ("cell.PDF", "cell.PDF"),
        ("cell", "cell.png"),
        ("cell.csv", "cell.csv"),
    ],
)
def test_only_the_end_of_a_kind_of_file_is_a_suffix(
    typed: str,
    saved: str,
    viewer: Viewer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = "Figures (*.png *.pdf);;Tables (*.csv)"
    answer = str(tmp_path / typed), "Figures (*.png *.pdf)"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: answer)
    paths: list[Path] = []

    _open(viewer).ask_where_to_save("cell.png", kinds, paths.append)

    assert paths == [tmp_path / saved]


def test_settings_are_remembered_when_the_dock_is_closed(viewer: Viewer) -> None:
    dock = _open(viewer)
    dock.word = "chosen"

    viewer.window.remove_dock_widget(dock)

    assert recall("plain") == {"word": "chosen"}


def test_settings_are_remembered_when_the_window_is_closed(viewer: Viewer) -> None:
    dock = _open(viewer)
    dock.word = "chosen"

    viewer.close()

    assert PlainDock.recall(dock) == {"word": "chosen"}


def test_settings_of_one_dock_are_not_those_of_another() -> None:
    remember("one", {"n": 1, "name": "ä, =;\n"})
    remember("two", {"n": 2.5})

    assert recall("one") == {"n": 1, "name": "ä, =;\n"}
    assert recall("two") == {"n": 2.5}
    assert recall("three") == {}


# ---- words ----


def test_progress_tells_how_long_it_takes(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = _open(viewer)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    dock.progress.begin("Slice 0 of 10", share=0.5)
    now = 110.0

    dock.progress.show_share(0.6, "Slice 6 of 10")

    # A tenth took 10 s, and four are left.
    assert dock.progress.text == "Slice 6 of 10 · 0:40 left"


def test_button_calls_without_an_argument(qtbot: Any) -> None:
    clicks: list[str] = []
    made = button("Go", "Goes", lambda: clicks.append("went"))
    qtbot.addWidget(made)

    made.click()

    assert clicks == ["went"]
    assert made.toolTip() == "Goes"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00")]
)
def test_clock_carries_what_it_rounds(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_wheel_scrolls_and_changes_nothing_that_it_passes(
    viewer: Viewer, qtbot: Any
) -> None:
    dock = PlainDock(viewer)
    number, text, plot = QSpinBox(), choice("one", "two"), Plot(viewer, height=2000)
    number.setValue(5)
    for part in (number, text, plot):
        dock.body.addWidget(part)
    viewer.window.add_dock_widget(dock)
    area = dock.findChild(QScrollArea)
    assert area is not None
    bar = area.verticalScrollBar()
    assert bar is not None
    qtbot.waitUntil(lambda: dock.isVisible() and bar.maximum() > 0)

    # Qt offers a wheel that a widget has not taken to those around it, which scroll.
    parts: list[QWidget] = [number, text, plot, bar]
    taken = [_takes_wheel(part) for part in parts]

    assert taken == [False, False, False, True]
    assert (number.value(), text.currentText()) == (5, "one")
    assert bar.value() > 0
    plot.disconnect_events()


def _takes_wheel(widget: QWidget) -> bool:
    place = widget.rect().center()
    event = QWheelEvent(
        QPointF(place),
        QPointF(widget.mapToGlobal(place)),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)
    return bool(event.isAccepted())
