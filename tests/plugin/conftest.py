"""What tests with a window share; needs napari."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from npe2 import PluginManager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QSettings, QThreadPool


class PatientQtBot(QtBot):
    """Waits as long as a busy machine needs, where a test does not say how long."""

    def waitUntil(  # noqa: N802 Qt's
        self, callback: Callable[[], bool | None], *, timeout: int = 120_000
    ) -> None:
        super().waitUntil(callback, timeout=timeout)


@pytest.fixture(scope="session", autouse=True)
def _plugins_are_found_once() -> Iterator[None]:
    """Do not read the manifests of all that is installed again for each window."""
    PluginManager.instance().discover(include_npe1=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManager, "discover", lambda *_, **__: 0)
        yield


@pytest.fixture(autouse=True)
def _garbage_is_searched_for_among_what_is_new() -> None:
    """Spare what lives on: napari collects garbage after each layer it removes.

    Each window leaves thousands of objects in napari's registers, besides modules.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def qtbot(request: pytest.FixtureRequest) -> QtBot:
    request.getfixturevalue("qapp")
    return PatientQtBot(request)


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's settings and data folder out of the tests, and the other way."""
    QSettings.setPath(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "config")
    )
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def scheduler() -> Iterator[str]:
    """Start a cluster in threads of this process; gives its address."""
    from clusters import in_threads

    with in_threads() as cluster:
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def _new_threads() -> None:
    """Let no thread live on: it would keep the number of threads that torch had."""
    pool = QThreadPool.globalInstance()
    assert pool is not None
    pool.setExpiryTimeout(0)


@pytest.fixture(autouse=True)
def _docks_close_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Close docks as if their jobs had just begun, however slow the machine is."""
    monkeypatch.setattr("napari_lrcs.plugin.parts.dock.WORTH_ASKING", float("inf"))
