"""Set up before any test; needs neither napari nor Qt."""

import os
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# Where napari is missing the core is tested, and nothing but the plugin imports napari.
collect_ignore = [] if find_spec("napari") else ["plugin"]

# napari's own viewer fixture fails a test that leaves a window of napari open.
os.environ.setdefault("NAPARI_STRICT_QT", "raise")


@pytest.fixture(autouse=True)
def _no_window_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a window of its own open."""
    if "gui" not in request.keywords:
        yield
        return
    app = request.getfixturevalue("qapp")
    before = set(app.topLevelWidgets())
    yield
    app.processEvents()
    left = [widget for widget in app.topLevelWidgets() if widget not in before]
    assert not left, f"windows left open: {left}"
