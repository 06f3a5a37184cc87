"""Keys of a viewer for painting: one a phase, and two to go between slices."""

from collections.abc import Callable, Mapping

from napari.viewer import Viewer

PHASE_KEYS = ("Q", "W", "G", "H", "J", "K", "U")
"""For phases 1 to 7. None of them, nor those below, is napari's in any layer."""

NEXT_KEY = "N"
PREVIOUS_KEY = "Shift-N"


def shown(key: str) -> str:
    """Write a key as people read it.

    Examples
    --------
    >>> shown("Shift-N")
    'Shift+N'
    """
    return key.replace("-", "+")


class Keys:
    """Keys that act in a viewer, whichever layer is selected there.

    A key that is bound in the viewer already stays what it is.

    Parameters
    ----------
    viewer : Viewer
    actions : mapping of str to callable
        What to do, by key.
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
        """Give the keys back."""
        for key in self._bound:
            self._viewer.bind_key(key, None)
        self._bound.clear()


def _ignoring_viewer(action: Callable[[], None]) -> Callable[[Viewer], None]:
    def act(viewer: Viewer) -> None:
        del viewer
        action()

    return act
