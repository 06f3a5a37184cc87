"""What listens to a viewer or a layer, and how it is disconnected."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol
from weakref import ref

from napari.components import LayerList
from napari.layers import Labels, Layer


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


class LayerChanges:
    """Calls a function whenever the data of a layer change.

    Labels are painted on, or a stroke is undone or redone; any layer gets other data.

    Parameters
    ----------
    layer : Layer
        Only a weak reference to it is kept.
    on_change : callable
        Called after each change.
    """

    def __init__(self, layer: Layer, on_change: Callable[[], None]) -> None:
        own = getattr(layer, "__wrapped__", layer)  # napari gives plugins proxies
        self._layer, self._told = ref(own), on_change
        self._strokes = _strokes_of(own)
        pairs = [(own.events.data, self._on_change)]
        if isinstance(own, Labels):
            pairs.append((own.events.paint, self._on_change))
            pairs.append((own.events.set_data, self._on_set_data))
        self._connections = Connections(*pairs)

    def disconnect_events(self) -> None:
        """Stop watching."""
        self._connections.disconnect_events()

    def _on_change(self, event: object = None) -> None:
        del event
        self._strokes = _strokes_of(self._layer())
        self._told()

    def _on_set_data(self, event: object = None) -> None:
        """Notice undo and redo, which emit nothing else; so does scrolling."""
        del event
        former, self._strokes = self._strokes, _strokes_of(self._layer())
        # napari forgets all strokes without changing the labels, too.
        if any(self._strokes) and self._strokes != former:
            self._told()


class Outdated:
    """Tells when labels are no longer those that a result was computed from.

    They change, as `LayerChanges` notices, or another layer takes their name, as a new
    prediction does. Labels that are merely removed leave their result as it is.

    Parameters
    ----------
    layers : LayerList
        Layers of the viewer.
    on_outdated : callable
        Called once for each result.
    """

    def __init__(self, layers: LayerList, on_outdated: Callable[[], None]) -> None:
        self._layers, self._on_outdated = layers, on_outdated
        self.name = ""
        """Name of labels that have changed since the last result was begun."""
        self._used: dict[str, ref[Labels]] = {}
        self._changes: list[Disconnectable] = []

    def follow(self, used: Sequence[Labels]) -> None:
        """Watch the labels that a new result is computed from."""
        self.disconnect_events()
        self.name = ""
        self._used = {layer.name: ref(layer) for layer in used}
        layers = self._layers.events
        self._changes = [
            *(LayerChanges(layer, partial(self._tell, layer.name)) for layer in used),
            Connections(
                *((e, self._on_layers) for e in (layers.inserted, layers.renamed))
            ),
        ]

    def warning(self, done: str, *, remedy: str) -> str:
        """Say what has changed since it was "measured", and what to do about it."""
        return f"{self.name} has changed since it was {done}; {remedy}"

    def disconnect_events(self) -> None:
        """Stop watching."""
        self._used = {}
        for changes in self._changes:
            changes.disconnect_events()
        self._changes = []

    def _on_layers(self, event: object = None) -> None:
        del event
        others = (
            name
            for name, used in self._used.items()
            if name in self._layers and self._layers[name] != used()
        )
        if (name := next(others, None)) is not None:
            self._tell(name)

    def _tell(self, name: str) -> None:
        self.disconnect_events()
        self.name = name
        self._on_outdated()


def _strokes_of(layer: Layer | None) -> tuple[int, int]:
    """Count the strokes that can be undone and redone."""
    if not isinstance(layer, Labels):
        return 0, 0
    return len(layer._undo_history), len(layer._redo_history)
