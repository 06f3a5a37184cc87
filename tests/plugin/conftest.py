"""What tests with a window share; needs napari."""

from pathlib import Path

import pytest
from qtpy.QtCore import QSettings, QThreadPool


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's settings and data folder out of the tests, and the other way."""
    QSettings.setPath(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "config")
    )
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture(autouse=True)
def _new_threads() -> None:
    """Let no thread live on: it would keep the number of threads that torch had."""
    pool = QThreadPool.globalInstance()
    assert pool is not None
    pool.setExpiryTimeout(0)
