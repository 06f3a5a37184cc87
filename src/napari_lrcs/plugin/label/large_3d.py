"""Keep large layers out of the 3D view, where reading them would block the window."""

import math
from collections.abc import Callable

import numpy as np
from napari.layers import Image, Labels
from napari.utils.events import EventEmitter
from napari.viewer import Viewer

from napari_lrcs.plugin.parts.layers.layers import layer_shape

_MOST_VOXELS = 200_000_000
"""Voxels of labels; for 1000³ of them napari blocks the window for about 14 s."""

_MOST_BYTES = 2**31
"""Size of an image that is not in memory: napari reads all of it, even if it does not
fit."""


class LargeIn3D:
    """Hides large layers while the viewer shows 3D, before they are read.

    Parameters
    ----------
    warn : callable
        Shows a sentence that says which layers are hidden.
    """

    def __init__(self, viewer: Viewer, warn: Callable[[str], None]) -> None:
        self._viewer, self._warn = viewer, warn
        self._hidden: list[Image | Labels] = []
        # napari calls its own callbacks before those of plugins, whatever the position
        # asked for; one of its own emitters passes for napari's.
        self._before = EventEmitter(source=self, type_name="before_ndisplay")
        self._before.connect(self._hide)
        viewer.dims.events.ndisplay.connect(self._before, position="first")
        viewer.dims.events.ndisplay.connect(self._show)

    def disconnect_events(self) -> None:
        """Stop watching."""
        event = self._viewer.dims.events.ndisplay
        event.disconnect(self._before)
        event.disconnect(self._show)

    def _hide(self, event: object) -> None:
        del event
        if self._viewer.dims.ndisplay == 2:
            return
        self._hidden = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image | Labels) and _is_large(layer)
        ]
        for layer in self._hidden:
            layer.visible = False
        if self._hidden:
            names = ", ".join(layer.name for layer in self._hidden)
            self._warn(
                f"The 3D view would have to load all of {names}, which can take "
                "minutes: it is hidden until you go back to 2D. Click its eye icon to "
                "show it anyway."
            )

    def _show(self, event: object) -> None:
        """Show them again, now that their layer shows 2D."""
        del event
        if self._viewer.dims.ndisplay == 2:
            for layer in self._hidden:
                layer.visible = True
            self._hidden.clear()


def _is_large(layer: Image | Labels) -> bool:
    if layer.multiscale or not layer.visible:
        return False
    n_voxels = math.prod(layer_shape(layer)[-3:])
    if isinstance(layer, Labels):
        return n_voxels > _MOST_VOXELS
    is_in_memory = isinstance(layer.data, np.ndarray)
    return not is_in_memory and n_voxels * layer.dtype.itemsize > _MOST_BYTES
