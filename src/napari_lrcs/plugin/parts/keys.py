"""Keys for painting: one for each phase, and those to go between slices and patches.

napari lists them among the shortcuts in its preferences, where they can be changed.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from napari.layers import Labels
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.key_bindings import KeymapProvider
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QWidget

from napari_lrcs.plugin.parts.widgets import button

Widget = TypeVar("Widget", bound=QWidget)

_PHASE_KEYS = "QWGHJKU"
"""Keys of phases 1 to 7. napari uses none of them, nor those below, but D in shapes."""

PHASE_ACTIONS = tuple(
    f"napari-lrcs:paint_phase_{label}" for label in range(1, len(_PHASE_KEYS) + 1)
)
NEXT = "napari-lrcs:next_slice"
PREVIOUS = "napari-lrcs:previous_slice"
DONE = "napari-lrcs:patch_done"
NEXT_SPOT = "napari-lrcs:next_spot"

_ACTIONS: Mapping[str, tuple[str, str]] = {
    NEXT: ("N", "Go to the next painted slice, or patch (LRCS-Net)"),
    PREVIOUS: (
        "Shift-N",
        "Go to the previous painted slice, or patch (LRCS-Net)",
    ),
    NEXT_SPOT: ("Shift-S", "Suggest where to paint next (LRCS-Net)"),
    DONE: ("D", "Mark the check patch as done (LRCS-Net)"),
    **{
        action: (key, f"Paint phase {label} (LRCS-Net)")
        for label, (action, key) in enumerate(
            zip(PHASE_ACTIONS, _PHASE_KEYS, strict=True), start=1
        )
    },
}
"""Key of each action, unless the user has chosen another, and what it does."""


@cache
def _provider_of(action: str) -> type[KeymapProvider]:
    """Register an action with napari, which keeps its keys in the class returned.

    No viewer uses that class: `Keys` binds its keys where a dock is open.
    """
    key, description = _ACTIONS[action]
    provider = type("PaintingKeys", (KeymapProvider,), {})
    action_manager.register_action(action, _act_in_the_dock, description, provider)
    if action not in get_settings().shortcuts.shortcuts:
        action_manager.bind_shortcut(action, key)
    return provider


def _act_in_the_dock() -> None:
    """Do nothing: without a dock there is nothing to do."""


def keys_of(action: str) -> str:
    """Write the keys of an action as people read them; empty if it has none.

    Examples
    --------
    >>> keys_of(PREVIOUS)
    'Shift+N'
    """
    return " or ".join(map(str, _provider_of(action).class_keymap))


def with_keys(text: str, action: str) -> str:
    """Add the keys of an action, if it has any, to what a tooltip says.

    Examples
    --------
    >>> with_keys("Next slice", NEXT)
    'Next slice (N)'
    """
    keys = keys_of(action)
    return f"{text} ({keys})" if keys else text


def keys_hint(n_phases: int, *, n_slices: int) -> str:
    """Explain the keys of a painting in a sentence.

    Examples
    --------
    >>> keys_hint(2, n_slices=1)
    'Keys: Q W paint a phase, Shift+S suggests where.'
    """
    keys = " ".join(map(keys_of, PHASE_ACTIONS[:n_phases]))
    steps = f", {keys_of(NEXT)} and {keys_of(PREVIOUS)} go between slices"
    return (
        f"Keys: {keys} paint a phase, {keys_of(NEXT_SPOT)} suggests where"
        f"{steps if n_slices > 1 else ''}."
    )


def patch_keys_hint(n_phases: int) -> str:
    """Explain the keys of check patches in a sentence.

    Examples
    --------
    >>> patch_keys_hint(2)
    'Keys: Q W paint a phase, D is Done, N and Shift+N go between patches.'
    """
    keys = " ".join(map(keys_of, PHASE_ACTIONS[:n_phases]))
    steps = f"{keys_of(NEXT)} and {keys_of(PREVIOUS)} go between patches"
    return f"Keys: {keys} paint a phase, {keys_of(DONE)} is Done, {steps}."


def without_focus(widget: Widget) -> Widget:
    """Let a widget be clicked without taking the keys away from the canvas."""
    widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return widget


def canvas_button(text: str, tooltip: str, on_click: Callable[[], None]) -> QPushButton:
    """Make a push button that leaves the keys to the canvas."""
    return without_focus(button(text, tooltip, on_click))


class Keys:
    """Keys that act in a viewer, or while a layer is selected there.

    A key that is already bound there keeps its meaning; what is bound to the selected
    layer comes before what is bound to the viewer.

    Parameters
    ----------
    place : Viewer or Labels
        Where the keys act.
    actions : mapping of str to callable
        What to do, by the name of the action.
    on_change : callable
        Called when the user has chosen other keys.
    """

    def __init__(
        self,
        place: Viewer | Labels,
        actions: Mapping[str, Callable[[], None]],
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._place, self._actions, self._on_change = place, actions, on_change
        self._bound: list[Any] = []
        self._bind()
        action_manager.events.shortcut_changed.connect(self._on_shortcut)

    def disconnect_events(self) -> None:
        """Unbind the keys."""
        action_manager.events.shortcut_changed.disconnect(self._on_shortcut)
        self._unbind()

    def _on_shortcut(self, event: Any) -> None:
        if event.name in self._actions:
            self._unbind()
            self._bind()
            self._on_change()

    def _bind(self) -> None:
        taken = {
            key
            for kind in type(self._place).__mro__
            for key in getattr(kind, "class_keymap", ())
        } | {*self._place.keymap}
        for name, action in self._actions.items():
            for key in {*_provider_of(name).class_keymap} - taken:
                self._place.bind_key(key, _ignoring_place(action))
                self._bound.append(key)
            taken |= {*self._bound}

    def _unbind(self) -> None:
        for key in self._bound:
            self._place.bind_key(key, None)
        self._bound.clear()


def _ignoring_place(action: Callable[[], None]) -> Callable[[object], None]:
    def act(place: object) -> None:
        del place
        action()

    return act
