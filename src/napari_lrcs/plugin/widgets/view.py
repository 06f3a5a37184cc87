"""The slice of a painting that a viewer shows."""

from napari.viewer import Viewer

from napari_lrcs.data.slices import AXES
from napari_lrcs.plugin.painting import Painting


def slice_in_view(viewer: Viewer, painting: Painting) -> int | None:
    """Return the slice in view; None if the view does not show slices, or lies beside.

    Parameters
    ----------
    viewer : Viewer
    painting : Painting
        Its layer's place in the world counts.
    """
    layer = painting.layer
    if layer.ndim == 2:
        return 0
    if _axis_of(viewer, painting) in viewer.dims.displayed:
        return None
    place = layer.world_to_data(viewer.dims.point)[AXES[painting.axis]]
    index = round(float(place))
    return index if 0 <= index < painting.n_slices else None


def go_to(viewer: Viewer, painting: Painting, index: int) -> None:
    """Show a slice of a painting."""
    layer = painting.layer
    if layer.ndim == 2:
        return
    show_across(viewer, painting)
    place = list(layer.world_to_data(viewer.dims.point))
    place[AXES[painting.axis]] = index
    first = viewer.dims.ndim - layer.ndim
    axes = range(first, viewer.dims.ndim)
    viewer.dims.set_point(list(axes), list(layer.data_to_world(place)))


def show_across(viewer: Viewer, painting: Painting) -> None:
    """Let the viewer show slices across the painting's axis."""
    if painting.layer.ndim == 2:
        return
    viewer.dims.ndisplay = 2
    axis = _axis_of(viewer, painting)
    if axis in viewer.dims.displayed:
        others = [other for other in range(viewer.dims.ndim) if other != axis]
        viewer.dims.order = (*others[:-2], axis, *others[-2:])


def _axis_of(viewer: Viewer, painting: Painting) -> int:
    across: int = viewer.dims.ndim - painting.layer.ndim + AXES[painting.axis]
    return across
