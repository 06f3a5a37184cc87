"""Boxes in a slice of a layer: their outlines, and a camera that shows them."""

from typing import Any

import numpy as np
from napari.layers import Layer
from napari.viewer import Viewer
from numpy.typing import ArrayLike, NDArray
from qtpy.QtWidgets import QMainWindow, QWidget

from napari_lrcs.config import Axis
from napari_lrcs.preprocessing.slices import AXES

Box = tuple[int, int, int, int]
"""First row, end of the rows, first column, end of the columns."""

_USUAL_SIDE = 600
"""Side of the canvas for a dock that is in no window, in pixels."""


def corners_in_slice(
    box: Box, index: int, *, axis: Axis, ndim: int
) -> NDArray[np.float64]:
    """Return the corners of a box in a slice; voxels reach half a step further.

    Parameters
    ----------
    index : int
        Place of the slice along `axis`.
    ndim : int
        Axes of the layer, 2 or 3.

    Returns
    -------
    ndarray of float64, shape (4, ndim)
    """
    top, bottom, left, right = np.subtract(box, 0.5)
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    placed: NDArray[np.float64] = np.insert(corners, AXES[axis], index, axis=1)
    return placed[:, -ndim:]


def zoom_to(
    viewer: Viewer, layer: Layer, middle: ArrayLike, *, size: float, pixels: float
) -> None:
    """Let a square of the slice in view fill so many pixels of the canvas.

    Parameters
    ----------
    middle : array-like of float, shape (layer.ndim,)
        Of the square, in voxels of the layer.
    size : float
        Its side in voxels.
    pixels : float
        Its side on the canvas.
    """
    displayed = [*viewer.dims.displayed][-2:]
    offset = viewer.dims.ndim - layer.ndim
    axes = [axis - offset for axis in displayed]
    sides = np.zeros((4, layer.ndim))
    sides[0, axes[0]] = sides[1, axes[1]] = size
    sides[2, axes] = (size, size)
    world = np.array([layer.data_to_world(corner) for corner in sides])[:, axes]
    extent = float(np.ptp(world, axis=0).max())
    center = layer.data_to_world(np.asarray(middle))
    camera = camera_of(viewer)
    camera.center = (0.0, *(float(center[axis]) for axis in axes))
    camera.zoom = pixels / extent


def shorter_side(dock: QWidget) -> int:
    """Measure the canvas of the window that a dock is in, in pixels."""
    window: QWidget | None = dock
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    canvas = None if window is None else window.centralWidget()
    return _USUAL_SIDE if canvas is None else min(canvas.width(), canvas.height())


def camera_of(viewer: Viewer) -> Any:
    """Return the camera; napari 0.9 has moved it."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera
