"""What docks remember from session to session."""

import json
from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QSettings


def remember(dock: str, values: Mapping[str, Any]) -> None:
    """Keep a dock's settings, which must be JSON values."""
    _store().setValue(dock, json.dumps(dict(values)))


def recall(dock: str) -> dict[str, Any]:
    """Return what `remember` kept; empty for a dock that is new, or damaged text."""
    try:
        values = json.loads(str(_store().value(dock, "{}")))
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _store() -> QSettings:
    # A file on all systems, so that a test or a user can move it away.
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-lrcs", "docks"
    )
