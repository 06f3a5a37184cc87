"""What a viewer shows of a check patch: its slice, dimmed around it, and enlarged."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from napari.layers import Image, Shapes
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from napari_lrcs.annotation.check_patches import CheckDesign, Region
from napari_lrcs.arrays import Mask
from napari_lrcs.plugin.check.patches import CheckPatches
from napari_lrcs.plugin.parts.layers.camera import (
    Box,
    camera_of,
    corners_in_slice,
    shorter_side,
    zoom_to,
)
from napari_lrcs.plugin.parts.layers.current_slice import go_to
from napari_lrcs.plugin.parts.layers.hidden import HiddenLayers
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import place_of, selection_kept
from napari_lrcs.preprocessing.slices import AXES

_SHARE = 1 / 3
"""Share of the canvas, along its shorter side, that a patch fills."""

_DIM, _CLEAR = "#000000a0", "#00000000"
_PATCH_EDGE, _MARGIN_EDGE, _MISSING_EDGE = "#ffd60a", "#ffd60a90", "#ff3b30"
_PATCH_WIDTH, _MARGIN_WIDTH, _MISSING_WIDTH = 0.35, 0.15, 0.35
"""Width of the outlines, in voxels."""

_MOST_BOXES = 300
"""Dimmed boxes outside the field of view beyond which none are drawn: each costs time.
What is painted there does not count anyway."""


class PatchView:
    """Shows a check patch, and restores the view once it is closed.

    Parameters
    ----------
    image : Image
        The image below the patch; results above it are hidden meanwhile.
    dock : QWidget
        A widget in the window, whose canvas it fills.
    """

    def __init__(
        self,
        viewer: Viewer,
        patches: CheckPatches,
        image: Image,
        *,
        dock: QWidget,
    ) -> None:
        self._viewer, self._patches, self._dock = viewer, patches, dock
        camera = camera_of(viewer)
        self._before = (camera.center, camera.zoom, viewer.dims.point)
        self._selected = viewer.layers.selection.active
        self._hidden = HiddenLayers(viewer.layers)
        self._hidden.hide_above(image)
        self._is_marked = False
        self._frame = Shapes(
            name=f"{image.name} check patch, frame",
            ndim=image.ndim,
            metadata=marked("check patch"),
            **place_of(image),
        )
        viewer.layers.append(patches.layer)
        with selection_kept(viewer.layers):
            viewer.layers.append(self._frame)
        self.show()

    def show(self) -> None:
        """Show the patch as it is now, in the middle of the canvas."""
        patches = self._patches
        design, patch = patches.check.design, patches.patch
        across = AXES[design.axis]
        own = design.slice_of(patch)
        go_to(
            self._viewer, patches.layer, design.axis, own - patches.region[across].start
        )
        self._draw_frame()
        self._zoom()
        self._viewer.layers.selection.active = patches.layer

    def mark(self, place: Sequence[int]) -> None:
        """Show where in the layer a voxel is unpainted, until `unmark` or `show`."""
        self.unmark()
        patches = self._patches
        axis = patches.check.design.axis
        start = np.array([part.start for part in patches.region])
        place = start + np.array([0, 0, 0, *place])[-3:]
        local = int(place[AXES[axis]] - patches.region[AXES[axis]].start)
        go_to(self._viewer, patches.layer, axis, local)
        row, column = (int(place[AXES[name]]) for name in AXES if name != axis)
        box = (row - 1, row + 2, column - 1, column + 2)
        self._frame.add_rectangles(
            [self._corners(box, int(place[AXES[axis]]))],
            face_color=_CLEAR,
            edge_color=_MISSING_EDGE,
            edge_width=_MISSING_WIDTH,
        )
        self._frame.selected_data = set()
        self._is_marked = True

    def unmark(self) -> None:
        """Show no unpainted voxel any more."""
        if self._is_marked:
            self._is_marked = False
            self._frame.selected_data = {self._frame.nshapes - 1}
            self._frame.remove_selected()

    def close(self) -> None:
        """Remove what was added, and show what was there before."""
        layers = self._viewer.layers
        for layer in (self._frame, self._patches.layer):
            if layer in layers:
                layers.remove(layer)
        self._hidden.show()
        if self._selected in layers:
            layers.selection.active = self._selected
        center, zoom, point = self._before
        camera = camera_of(self._viewer)
        camera.center, camera.zoom = center, zoom
        dims = self._viewer.dims
        n = min(len(point), dims.ndim)  # layers with other axes may have come or gone
        dims.set_point(range(dims.ndim - n, dims.ndim), point[len(point) - n :])

    # ---- the frame ----

    def _draw_frame(self) -> None:
        design, frame = self._patches.check.design, self._frame
        painted = self._patches.region
        own = design.region(self._patches.patch, painted=False)
        rows, columns = (painted[AXES[name]] for name in AXES if name != design.axis)
        margin = _box_of(painted, design)
        dimmed = [*_around(margin, _shape_of_slice(design))]
        frame.data, self._is_marked = [], False
        across = painted[AXES[design.axis]]
        for index in range(across.start, across.stop):
            outside = [*self._outside(index - across.start, rows, columns)]
            boxes = [*dimmed, *outside, _box_of(own, design), margin]
            n_dim = len(boxes) - 2
            frame.add_rectangles(
                [self._corners(box, index) for box in boxes],
                face_color=[_DIM] * n_dim + [_CLEAR] * 2,
                edge_color=[_CLEAR] * n_dim + [_PATCH_EDGE, _MARGIN_EDGE],
                edge_width=[0.0] * n_dim + [_PATCH_WIDTH, _MARGIN_WIDTH],
            )
        frame.selected_data = set()

    def _outside(self, place: int, rows: slice, columns: slice) -> Iterator[Box]:
        """List boxes of the painted region that lie outside the field of view."""
        inside = self._patches.inside
        if inside is None:
            return
        plane = inside
        if inside.ndim == 3:
            plane = np.take(inside, place, AXES[self._patches.check.design.axis])
        boxes = [*_runs(~plane)]
        if len(boxes) <= _MOST_BOXES:
            for top, bottom, left, right in boxes:
                yield (
                    rows.start + top,
                    rows.start + bottom,
                    columns.start + left,
                    columns.start + right,
                )

    def _corners(self, box: Box, index: int) -> NDArray[np.float64]:
        axis = self._patches.check.design.axis
        return corners_in_slice(box, index, axis=axis, ndim=self._frame.ndim)

    # ---- the camera ----

    def _zoom(self) -> None:
        """Let a patch of full size fill a third of the canvas."""
        layer, size = self._patches.layer, self._patches.check.design.size
        middle = (np.array(layer.data.shape) - 1) / 2
        pixels = _SHARE * shorter_side(self._dock)
        zoom_to(self._viewer, layer, middle, size=size, pixels=pixels)


def _shape_of_slice(design: CheckDesign) -> tuple[int, int]:
    rows, columns = (design.shape[AXES[name]] for name in AXES if name != design.axis)
    return rows, columns


def _box_of(region: Region, design: CheckDesign) -> Box:
    rows, columns = (region[AXES[name]] for name in AXES if name != design.axis)
    return rows.start, rows.stop, columns.start, columns.stop


def _around(box: Box, shape: tuple[int, int]) -> Iterator[Box]:
    """Cut what is around a box in a slice into boxes."""
    top, bottom, left, right = box
    n_rows, n_columns = shape
    boxes = (
        (0, top, 0, n_columns),
        (bottom, n_rows, 0, n_columns),
        (top, bottom, 0, left),
        (top, bottom, right, n_columns),
    )
    return (b for b in boxes if b[0] < b[1] and b[2] < b[3])


def _runs(outside: Mask) -> Iterator[Box]:
    """Cut what is true in a slice into boxes, one for each run of equal rows.

    Examples
    --------
    >>> [*_runs(np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0]], np.bool_))]
    [(0, 2, 0, 1), (2, 3, 0, 2)]
    """
    changes = np.flatnonzero((outside[1:] != outside[:-1]).any(axis=1)) + 1
    edges = [0, *changes.tolist(), len(outside)]
    for top, bottom in pairwise(edges):
        row = np.concatenate([[0], outside[top].astype(np.int8), [0]])
        (turns,) = np.nonzero(np.diff(row))
        for left, right in turns.reshape(-1, 2).tolist():
            yield top, bottom, left, right
