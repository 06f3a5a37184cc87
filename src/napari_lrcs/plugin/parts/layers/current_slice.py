"""The slice that a viewer shows of a layer, and how to show another one."""

import numpy as np
from napari.layers import Layer
from napari.viewer import Viewer

from napari_lrcs.config import Axis
from napari_lrcs.plugin.parts.layers.layers import n_slices_of
from napari_lrcs.preprocessing.slices import AXES

Place = tuple[float, float, float]


def place_in_view(viewer: Viewer, layer: Layer) -> Place:
    """Return where in a layer the viewer's sliders stand: z, y and x, from 0."""
    z, y, x = (0.0, *layer.world_to_data(viewer.dims.point))[-3:]
    return float(z), float(y), float(x)


def nearest_slice(layer: Layer, place: Place, axis: Axis) -> int:
    """Return the slice across an axis that lies nearest to a place."""
    return int(np.clip(round(place[AXES[axis]]), 0, n_slices_of(layer, axis) - 1))


def slice_in_view(viewer: Viewer, layer: Layer, axis: Axis) -> int | None:
    """Return the slice in view; None if the view does not show slices, or lies beside.

    Parameters
    ----------
    layer : Layer
        2D or 3D; its place in the world counts.
    axis : {"z", "y", "x"}
        That the slices lie across.
    """
    if layer.ndim == 2:
        return 0
    if _axis_of(viewer, layer, axis) in viewer.dims.displayed:
        return None
    index = round(place_in_view(viewer, layer)[AXES[axis]])
    return index if 0 <= index < n_slices_of(layer, axis) else None


def go_to(viewer: Viewer, layer: Layer, axis: Axis, index: int) -> None:
    """Show a slice of a layer."""
    if layer.ndim == 2:
        return
    show_across(viewer, layer, axis)
    place = list(place_in_view(viewer, layer))
    place[AXES[axis]] = index
    axes = range(viewer.dims.ndim - layer.ndim, viewer.dims.ndim)
    viewer.dims.set_point(list(axes), list(layer.data_to_world(place)))


def show_across(viewer: Viewer, layer: Layer, axis: Axis) -> None:
    """Let the viewer show slices across an axis of a layer."""
    if layer.ndim == 2:
        return
    viewer.dims.ndisplay = 2
    across = _axis_of(viewer, layer, axis)
    if across in viewer.dims.displayed:
        others = [other for other in range(viewer.dims.ndim) if other != across]
        viewer.dims.order = (*others[:-2], across, *others[-2:])


class SliceInView:
    """Which slice of a layer a viewer shows; asked from any thread."""

    def __init__(self, viewer: Viewer, layer: Layer) -> None:
        self._viewer, self._layer = viewer, layer
        viewer.dims.events.point.connect(self._update)
        self._update()

    def __call__(self, axis: Axis) -> int:
        """Tell the slice across an axis, counted from 0."""
        return nearest_slice(self._layer, self._place, axis)

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.dims.events.point.disconnect(self._update)

    def _update(self, event: object = None) -> None:
        del event
        self._place = place_in_view(self._viewer, self._layer)


def _axis_of(viewer: Viewer, layer: Layer, axis: Axis) -> int:
    across: int = viewer.dims.ndim - layer.ndim + AXES[axis]
    return across
