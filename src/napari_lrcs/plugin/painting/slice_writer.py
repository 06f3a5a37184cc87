"""Write whole slices into a labels layer while its window stays responsive."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_lrcs.annotation.painting.labels import slice_key
from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.config import Axis
from napari_lrcs.preprocessing.slices import AXES

Plane = LabelArray | Callable[[LabelArray], LabelArray]
"""New labels of a slice, or a function that makes them of those that are there."""

_STROKE_MS = 50
_BAND_VOXELS = 100_000
"""What napari replaces in about 25 ms, undo history included."""
_END = object()


class SliceWriter:
    """Replaces slices in bands of rows; meanwhile nothing can be painted.

    Parameters
    ----------
    layer : Labels
        The layer that is written into.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    """

    def __init__(self, layer: Labels, axis: Axis) -> None:
        self._layer, self._axis = layer, axis
        self._waiting: deque[Mapping[int, Plane]] = deque()
        self._steps: Iterator[None] | None = None

    def write(self, planes: Mapping[int, Plane]) -> None:
        """Replace the labels of slices, as one step of the layer's undo history.

        Parameters
        ----------
        planes : mapping of int to ndarray of uint8, shape (rows, columns), or callable
            The new labels by the place of their slice along the axis, from 0. A
            function is given those that are there once the slice is written: a
            stroke in progress ends before.
        """
        self._waiting.append(planes)
        if self._steps is None:
            self._steps = self._write_all()
            self._write_some()

    def finish(self) -> None:
        """Write everything that waits now."""
        for _ in self._steps or ():
            pass
        self._steps = None

    def _write_some(self) -> None:
        if self._steps is None:  # finished meanwhile
            return
        # napari's strokes and ours must not overlap: each opens and closes the history.
        is_drawing = QApplication.mouseButtons() != Qt.MouseButton.NoButton
        if is_drawing or next(self._steps, _END) is not _END:
            QTimer.singleShot(_STROKE_MS if is_drawing else 0, self._write_some)
        else:
            self._steps = None

    def _write_all(self) -> Iterator[None]:
        while self._waiting:
            planes = self._waiting.popleft()
            with self._without_brush(), self._layer.block_history():
                for i, (index, start, labels) in enumerate(self._bands(planes)):
                    if i:
                        yield
                    self._write_band(index, start, labels)
            if self._waiting:
                yield

    def _bands(
        self, planes: Mapping[int, Plane]
    ) -> Iterator[tuple[int, int, LabelArray]]:
        """Cut slices into bands; yields slice, first row and labels of each."""
        for index, plane in planes.items():
            labels = plane(self._plane(index)) if callable(plane) else plane
            height = max(1, _BAND_VOXELS // labels.shape[1])
            for start in range(0, len(labels), height):
                yield index, start, labels[start : start + height]

    def _plane(self, index: int) -> LabelArray:
        is_2d = self._layer.ndim == 2
        key = ... if is_2d else slice_key(self._axis, index)
        return np.array(self._layer.data[key], np.uint8)

    def _write_band(self, index: int, start: int, labels: LabelArray) -> None:
        rows, columns = np.indices(labels.shape, np.int32)
        indices = [(rows + start).ravel(), columns.ravel()]
        if self._layer.ndim == 3:
            across = np.full(labels.size, index, np.int32)
            indices.insert(AXES[self._axis], across)
        self._layer.data_setitem(tuple(indices), labels.ravel())

    @contextmanager
    def _without_brush(self) -> Iterator[None]:
        mode = self._layer.mode
        self._layer.mode = "pan_zoom"
        try:
            yield
        finally:
            if self._layer.mode == "pan_zoom":
                self._layer.mode = mode
