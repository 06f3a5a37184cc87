"""The layer of maps, which lies on the slice that they were computed from."""

from typing import Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_lrcs.inspection.findings import Maps
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import add_result
from napari_lrcs.preprocessing.slices import AXES

CHANNEL = "map"
"""Name of the axis, and of its slider, along which the maps lie."""


class MapsLayer:
    """One image layer, whose maps are replaced by the next ones.

    Its first axis has a slider of its own; the others are those of the image, so that
    the maps are in sight where their slice is.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.layer: Image | None = None
        """The maps, while they are in the viewer."""

    def show(self, image: Image, maps: Maps) -> None:
        """Show maps on an image, in place of the last ones."""
        options = {
            "name": f"{image.name} {maps.layer.name}",
            "contrast_limits": maps.contrast_limits,
            **_place_on(image, maps),
        }
        data = _with_axes_of(image, maps)
        layer = self.layer
        if layer is None or layer not in self._viewer.layers or layer.ndim != data.ndim:
            self._add(Image(data, metadata=marked("stack of maps"), **options), image)
            return
        layer.data = data
        layer.reset_contrast_limits_range()
        for name, value in options.items():
            setattr(layer, name, value)
        layer.visible = True

    def _add(self, layer: Image, image: Image) -> None:
        if self.layer is not None and self.layer in self._viewer.layers:
            self._viewer.layers.remove(self.layer)
        self.layer = layer
        camera = getattr(self._viewer, "scene", self._viewer).camera  # napari 0.9
        zoom, centre = camera.zoom, camera.center
        add_result(self._viewer.layers, layer, above=image)
        camera.zoom, camera.center = zoom, centre  # napari fits an axis more into view
        first = self._viewer.dims.ndim - layer.ndim
        self._viewer.dims.set_current_step(first, 0)


def _with_axes_of(image: Image, maps: Maps) -> NDArray[np.float32]:
    """Give maps, (n, rows, columns), an axis per axis of the image."""
    if image.ndim == 2:
        return maps.values
    own = np.expand_dims(maps.values, 1 + AXES[maps.axis])
    return own[(slice(None), *(np.newaxis,) * (image.ndim - 3))]


def _place_on(image: Image, maps: Maps) -> dict[str, Any]:
    """Return the place of the maps in the world, as arguments of a layer."""
    scale = np.array(image.scale, float)
    steps, offsets = _on_axes(image, maps)
    to_world = np.eye(image.ndim + 2)
    to_world[1:, 1:] = _data_to_world(image) @ np.diag([*1 / scale, 1])
    return {
        "scale": (1, *steps * scale),
        "translate": (0, *offsets * scale),
        "affine": to_world,
        "units": ("pixel", *image.units),
        "axis_labels": (CHANNEL, *image.axis_labels),
    }


def _on_axes(
    image: Image, maps: Maps
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the side of a map's pixel and its first centre, in pixels of the image."""
    steps, offsets = np.ones(max(3, image.ndim)), np.zeros(max(3, image.ndim))
    steps[-3:], offsets[-3:] = maps.layer.step, maps.layer.offset
    across = AXES[maps.axis] - 3
    steps[across], offsets[across] = 1, maps.index
    return steps[-image.ndim :], offsets[-image.ndim :]


def _data_to_world(image: Image) -> NDArray[np.floating]:
    """Return the matrix from pixels of an image to the world."""
    origin = np.array(image.data_to_world(np.zeros(image.ndim)))
    matrix = np.eye(image.ndim + 1)
    for axis, unit in enumerate(np.eye(image.ndim)):
        matrix[:-1, axis] = np.array(image.data_to_world(unit)) - origin
    matrix[:-1, -1] = origin
    return matrix
