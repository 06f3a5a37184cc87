"""Keys for painting: one for each phase, and two to go between slices."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QWidget

from napari_lrcs.plugin.parts.widgets import button

Widget = TypeVar("Widget", bound=QWidget)

PHASE_KEYS = ("Q", "W", "G", "H", "J", "K", "U")
"""Keys of phases 1 to 7. napari uses none of them, nor those below, in any layer."""

NEXT_KEY = "N"
PREVIOUS_KEY = "Shift-N"


def key_text(key: str) -> str:
    """Write a key as people read it.

    Examples
    --------
    >>> key_text("Shift-N")
    'Shift+N'
    """
    return key.replace("-", "+")


def keys_hint(n_phases: int, *, n_slices: int) -> str:
    """Explain the keys of a painting in a sentence.

    Examples
    --------
    >>> keys_hint(2, n_slices=1)
    'Keys: Q W paint a phase.'
    """
    keys = " ".join(PHASE_KEYS[:n_phases])
    steps = f", {NEXT_KEY} and {key_text(PREVIOUS_KEY)} go between slices"
    return f"Keys: {keys} paint a phase{steps if n_slices > 1 else ''}."


def without_focus(widget: Widget) -> Widget:
    """Let a widget be clicked without taking the keys away from the canvas."""
    widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return widget


def canvas_button(text: str, tooltip: str, on_click: Callable[[], None]) -> QPushButton:
    """Make a push button that leaves the keys to the canvas."""
    return without_focus(button(text, tooltip, on_click))


class Keys:
    """Keys that act in a viewer, whichever layer is selected there.

    A key that is already bound in the viewer keeps its meaning.

    Parameters
    ----------
    actions : mapping of str to callable
        What each key does.
    """

    def __init__(
        self, viewer: Viewer, actions: Mapping[str, Callable[[], None]]
    ) -> None:
        self._viewer = viewer
        self._bound: list[str] = []
        for key, action in actions.items():
            try:
                viewer.bind_key(key, _ignoring_viewer(action))
            except ValueError:  # the user's own, or those of another dock
                continue
            self._bound.append(key)

    def disconnect_events(self) -> None:
        """Unbind the keys."""
        for key in self._bound:
            self._viewer.bind_key(key, None)
        self._bound.clear()


def _ignoring_viewer(action: Callable[[], None]) -> Callable[[Viewer], None]:
    def act(viewer: Viewer) -> None:
        del viewer
        action()

    return act
