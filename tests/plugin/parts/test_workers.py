import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec

import pytest
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication

from napari_lrcs.errors import LrcsError, VolumeError
from napari_lrcs.plugin.parts.workers import Events, Job, Work, load_torch, start_job

pytestmark = pytest.mark.gui


class Watch:
    """What a job's signals told, in order, and on which thread."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.on_gui_thread: list[bool] = []

    def begin(self, events: Callable[[], Events]) -> Job:
        return start_job(
            Work("Counting", events),
            connect={
                "yielded": self.take,
                "returned": lambda _value: self.take("returned"),
                "aborted": lambda: self.take("aborted"),
                "errored": self.take,
                "finished": lambda: self.take("finished"),
            },
        )

    def take(self, what: object) -> None:
        self.told.append(what)
        app = QApplication.instance()
        assert app is not None
        self.on_gui_thread.append(QThread.currentThread() == app.thread())


def test_events_arrive_in_order_on_the_gui_thread(qtbot: QtBot) -> None:
    watch = Watch()

    watch.begin(lambda: (n for n in (1, 2, 3)))

    qtbot.waitUntil(lambda: "finished" in watch.told)
    assert watch.told == [1, 2, 3, "returned", "finished"]
    assert all(watch.on_gui_thread)


def test_what_is_slow_runs_in_the_thread(qtbot: QtBot) -> None:
    threads: list[int] = []

    def events() -> Events:
        threads.append(threading.get_ident())
        yield 1

    watch = Watch()
    watch.begin(events)

    qtbot.waitUntil(lambda: "finished" in watch.told)
    assert threads != [threading.get_ident()]


def test_quit_closes_the_generator_in_its_thread(qtbot: QtBot) -> None:
    closed_by: list[int] = []
    watch = Watch()
    job = watch.begin(lambda: _counting(closed_by))
    qtbot.waitUntil(lambda: len(watch.told) > 2)

    job.quit()

    qtbot.waitUntil(lambda: "finished" in watch.told, timeout=2000)
    assert watch.told[-2:] == ["aborted", "finished"]
    assert len(closed_by) == 1
    assert closed_by != [threading.get_ident()]


def test_pause_holds_the_events_until_resumed(qtbot: QtBot) -> None:
    watch = Watch()
    job = watch.begin(lambda: _counting([]))
    qtbot.waitUntil(lambda: len(watch.told) > 2)

    job.pause()
    qtbot.wait(200)  # the event that was being made
    held = len(watch.told)
    qtbot.wait(300)
    at_the_end = len(watch.told)
    job.resume()

    assert held == at_the_end
    qtbot.waitUntil(lambda: len(watch.told) > held)
    job.quit()
    qtbot.waitUntil(lambda: "finished" in watch.told)


def test_quit_ends_a_job_that_is_paused(qtbot: QtBot) -> None:
    watch = Watch()
    job = watch.begin(lambda: _counting([]))
    job.pause()
    qtbot.waitUntil(lambda: bool(watch.told))

    job.quit()

    qtbot.waitUntil(lambda: "finished" in watch.told, timeout=2000)


@pytest.mark.parametrize(
    ("error", "n_notifications"),
    [(VolumeError("no voxel"), 0), (RuntimeError("CUDA error"), 1)],
)
def test_errors_reach_the_dock_and_unexpected_ones_the_notifications(
    qtbot: QtBot, error: Exception, n_notifications: int
) -> None:
    shown: list[object] = []
    notification_manager.notification_ready.connect(shown.append)

    def failing() -> Events:
        yield 1
        raise error

    watch = Watch()
    watch.begin(failing)

    qtbot.waitUntil(lambda: "finished" in watch.told)
    notification_manager.notification_ready.disconnect(shown.append)
    assert watch.told == [1, error, "finished"]
    assert len(shown) == n_notifications


class _Refuses:
    """Lets the import of torch fail as a broken installation does."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        del path, target
        if name == "torch":
            raise self._error
        return None


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            OSError("[WinError 1114] A dynamic link library (DLL) failed, c10.dll"),
            'python -c "import torch, napari',
        ),
        (ModuleNotFoundError("No module named 'torch'"), "pip install torch"),
        (ImportError("DLL load failed"), "reinstall it"),
    ],
)
def test_pytorch_that_does_not_load_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(sys, "meta_path", [_Refuses(error), *sys.meta_path])

    with pytest.raises(LrcsError, match="PyTorch") as caught:
        load_torch()

    assert advice in str(caught.value)


def _counting(closed_by: list[int]) -> Events:
    """Count until closed; tells the thread that closes it."""
    try:
        yield from _forever()
    finally:
        closed_by.append(threading.get_ident())


def _forever() -> Iterator[int]:
    n = 0
    while True:
        threading.Event().wait(0.02)
        yield n
        n += 1
