"""Keep large labels out of the 3D view, where reading them would block the window."""

from collections.abc import Callable

from napari.layers import Labels
from napari.utils.events import EventEmitter
from napari.viewer import Viewer

from napari_lrcs.plugin.layers import layer_shape

_MOST_VOXELS = 200_000_000
"""napari takes about 14 s for the labels of 1000³ voxels, and blocks meanwhile."""


class LargeIn3D:
    """Hides large labels while the viewer shows 3D, before they are read.

    Parameters
    ----------
    viewer : Viewer
    warn : callable
        Takes the sentence that says so.
    """

    def __init__(self, viewer: Viewer, warn: Callable[[str], None]) -> None:
        self._viewer, self._warn = viewer, warn
        self._hidden: list[Labels] = []
        # napari calls its own callbacks before those of plugins, whatever the position
        # asked for; one of its own emitters passes for napari's.
        self._before = EventEmitter(source=self, type_name="before_ndisplay")
        self._before.connect(self._hide)
        viewer.dims.events.ndisplay.connect(self._before, position="first")
        viewer.dims.events.ndisplay.connect(self._show)

    def follow_no_more(self) -> None:
        """Stop watching."""
        event = self._viewer.dims.events.ndisplay
        event.disconnect(self._before)
        event.disconnect(self._show)

    def _hide(self, event: object) -> None:
        del event
        if self._viewer.dims.ndisplay == 2:
            return
        self._hidden = [layer for layer in self._viewer.layers if _is_large(layer)]
        for layer in self._hidden:
            layer.visible = False
        if self._hidden:
            names = ", ".join(layer.name for layer in self._hidden)
            self._warn(
                f"{names} would have to be read whole for the 3D view, which can take "
                "minutes: hidden until you go back to 2D. Click its eye to see it "
                "nevertheless."
            )

    def _show(self, event: object) -> None:
        """Show them again, now that their layer shows 2D."""
        del event
        if self._viewer.dims.ndisplay == 2:
            for layer in self._hidden:
                layer.visible = True
            self._hidden.clear()


def _is_large(layer: object) -> bool:
    if not isinstance(layer, Labels) or layer.multiscale or not layer.visible:
        return False
    z, y, x = (1, 1, *layer_shape(layer))[-3:]
    return z * y * x > _MOST_VOXELS
