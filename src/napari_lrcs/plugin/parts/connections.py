"""What listens to a viewer or a layer, and how it is disconnected."""

from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import ref

from napari.components import LayerList
from napari.layers import Labels


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


class Outdated:
    """Tells when labels are no longer those that a result was computed from.

    They are painted on, a stroke is undone or redone, they get other data, or another
    layer takes their name, as a new prediction does. Labels that are merely removed
    leave their result as it is.

    Parameters
    ----------
    layers : LayerList
        Layers of the viewer.
    on_outdated : callable
        Takes the name of the labels; called once.
    """

    def __init__(self, layers: LayerList, on_outdated: Callable[[str], None]) -> None:
        self._layers, self._on_outdated = layers, on_outdated
        self._used: dict[str, ref[Labels]] = {}
        self._strokes: dict[str, tuple[int, int]] = {}
        self._connections = Replaceable()

    def follow(self, used: Sequence[Labels]) -> None:
        """Watch the labels that a new result is computed from."""
        self._used = {layer.name: ref(layer) for layer in used}
        self._strokes = {layer.name: _strokes_of(layer) for layer in used}
        changes = (e for x in used for e in (x.events.paint, x.events.data))
        layers = self._layers.events
        self._connections.replace(
            Connections(
                *((event, self._on_change) for event in changes),
                *((x.events.set_data, self._on_set_data) for x in used),
                *((e, self._on_layers) for e in (layers.inserted, layers.renamed)),
            )
        )

    def disconnect_events(self) -> None:
        """Stop watching."""
        self._used = {}
        self._connections.disconnect_events()

    def _on_change(self, event: object = None) -> None:
        changed = getattr(event, "source", None)
        names = (name for name, used in self._used.items() if used() is changed)
        self._tell(next(names, None))

    def _on_set_data(self, event: object = None) -> None:
        """Notice undo and redo, which emit nothing else; so does scrolling."""
        del event
        for name, used in tuple(self._used.items()):
            layer = used()
            strokes = (0, 0) if layer is None else _strokes_of(layer)
            # napari forgets all strokes without changing the labels, too.
            if any(strokes) and strokes != self._strokes[name]:
                self._tell(name)
                return

    def _on_layers(self, event: object = None) -> None:
        del event
        others = (
            name
            for name, used in self._used.items()
            if name in self._layers and self._layers[name] != used()
        )
        self._tell(next(others, None))

    def _tell(self, name: str | None) -> None:
        if name is not None:
            self.disconnect_events()
            self._on_outdated(name)


def _strokes_of(layer: Labels) -> tuple[int, int]:
    """Count the strokes that can be undone and redone."""
    own = getattr(layer, "__wrapped__", layer)  # napari gives plugins proxies
    return len(own._undo_history), len(own._redo_history)
