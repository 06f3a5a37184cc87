"""What docks remember from session to session."""

import json
from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import QSettings

from napari_lrcs.io.records import parse_json


def remember(dock: str, values: Mapping[str, Any]) -> None:
    """Keep a dock's settings, which must be JSON values."""
    _store().setValue(dock, json.dumps(dict(values)))


def recall(dock: str) -> dict[str, Any]:
    """Return what `remember` kept; empty for a dock that is new, or damaged text."""
    try:
        return parse_json(str(_store().value(dock, "{}")), dict[str, Any])
    except ValueError:
        return {}


def _store() -> QSettings:
    # A file on all systems, so that a test or a user can move it away.
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-lrcs", "docks"
    )
