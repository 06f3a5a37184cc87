"""Callbacks that a dock connects, and disconnects when it leaves."""

from collections.abc import Callable
from typing import Protocol


class Emitter(Protocol):
    """A signal of psygnal, or an event of napari."""

    def connect(self, slot: Callable[..., None]) -> object:
        """Call it from now on."""

    def disconnect(self, slot: Callable[..., None]) -> object:
        """Call it no more."""


class Listening:
    """Callbacks that are connected until they are to follow no more."""

    def __init__(self, *pairs: tuple[Emitter, Callable[..., None]]) -> None:
        self._pairs = pairs
        for emitter, slot in pairs:
            emitter.connect(slot)

    def follow_no_more(self) -> None:
        """Disconnect."""
        for emitter, slot in self._pairs:
            emitter.disconnect(slot)
        self._pairs = ()
