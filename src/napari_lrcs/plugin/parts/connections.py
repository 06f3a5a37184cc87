"""What listens to a viewer or a layer, and how it is disconnected."""

from collections.abc import Callable
from typing import Protocol


class Disconnectable(Protocol):
    """Something that listens to a viewer or a layer."""

    # Not `disconnect`, which PySide6 calls on a widget to disconnect its signals.
    def disconnect_events(self) -> None:
        """Stop listening, even if Qt has deleted the widgets."""


class Emitter(Protocol):
    """A signal of psygnal, or an event of napari."""

    def connect(self, slot: Callable[..., None]) -> object:
        """Call a function at each emission."""

    def disconnect(self, slot: Callable[..., None]) -> object:
        """Stop calling a function."""


class Connections:
    """Callbacks that are connected until `disconnect_events`.

    Parameters
    ----------
    *pairs : tuple of Emitter and callable
        Signals, each with the function that it calls.
    """

    def __init__(self, *pairs: tuple[Emitter, Callable[..., None]]) -> None:
        self._pairs = pairs
        for emitter, slot in pairs:
            emitter.connect(slot)

    def disconnect_events(self) -> None:
        """Disconnect."""
        for emitter, slot in self._pairs:
            emitter.disconnect(slot)
        self._pairs = ()


class Replaceable:
    """Keeps one thing connected, in place of the one before."""

    def __init__(self) -> None:
        self._current: Disconnectable | None = None

    def replace(self, current: Disconnectable | None) -> None:
        """Disconnect what is kept, and keep something else, or nothing."""
        if self._current is not None:
            self._current.disconnect_events()
        self._current = current

    def disconnect_events(self) -> None:
        """Disconnect."""
        self.replace(None)
