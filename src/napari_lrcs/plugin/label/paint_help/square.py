"""The square that should be painted next, outlined in the viewer."""

import numpy as np
from napari.layers import Shapes
from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget

from napari_lrcs.annotation.spots import Spot
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.layers.camera import (
    corners_in_slice,
    shorter_side,
    zoom_to,
)
from napari_lrcs.plugin.parts.layers.current_slice import go_to
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import place_of, selection_kept
from napari_lrcs.preprocessing.slices import AXES

_SHARE = 1 / 4
"""Share of the canvas, along its shorter side, that a square fills: what lies around
it tells what is in it."""

_EDGE = "#ffd60a"
_WIDTH = 0.5
"""Width of the outline, in voxels."""

_PAINTED = 0.9
"""Painted share of a square from which it counts as painted."""


class Square:
    """The outline of a square in a layer of its own, until it is painted or removed.

    Parameters
    ----------
    beside : QWidget
        A widget in the window of the viewer.
    """

    def __init__(
        self, viewer: Viewer, painting: Painting, spot: Spot, *, beside: QWidget
    ) -> None:
        self._viewer, self.painting, self.spot = viewer, painting, spot
        layer, axis = painting.layer, painting.axis
        self._frame = Shapes(
            name="Where to paint next",
            ndim=layer.ndim,
            metadata=marked("suggested square"),
            **place_of(layer),
        )
        box = (spot.rows.start, spot.rows.stop, spot.columns.start, spot.columns.stop)
        corners = corners_in_slice(box, spot.index, axis=axis, ndim=layer.ndim)
        self._frame.add_rectangles(
            [corners], face_color="#00000000", edge_color=_EDGE, edge_width=_WIDTH
        )
        self._frame.selected_data = set()
        self._frame.editable = False
        with selection_kept(viewer.layers):
            viewer.layers.append(self._frame)
        self._go_there(shorter_side(beside))

    def _go_there(self, side: int) -> None:
        layer, spot = self.painting.layer, self.spot
        go_to(self._viewer, layer, self.painting.axis, spot.index)
        middle = [spot.row + (spot.height - 1) / 2, spot.column + (spot.width - 1) / 2]
        middle.insert(AXES[self.painting.axis], spot.index)
        zoom_to(
            self._viewer,
            layer,
            middle[-layer.ndim :],
            size=max(spot.height, spot.width),
            pixels=_SHARE * side,
        )

    @property
    def is_needed(self) -> bool:
        """Whether its user still sees it, and it is not painted."""
        layers = self._viewer.layers
        if self._frame not in layers or self.painting.layer not in layers:
            return False
        plane = self.painting.plane(self.spot.index)
        painted = plane[self.spot.rows, self.spot.columns] != UNPAINTED
        return bool(np.mean(painted) < _PAINTED)

    def remove(self) -> None:
        """Take the outline out of the viewer."""
        if self._frame in self._viewer.layers:
            with selection_kept(self._viewer.layers):
                self._viewer.layers.remove(self._frame)
