"""Segment all slices without a network, into a layer of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image
from napari.viewer import Viewer

from napari_lrcs.inference.estimate import fits_memory, memory_needed
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.segment import BaselineTask, segment_volume
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.plugin.files.reader import read_layers
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.parts.layers.predicted import PredictedLayers, Region
from napari_lrcs.plugin.parts.workers import Events


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Segmented:
    """All slices are segmented.

    Parameters
    ----------
    labels : array of uint8, shape (z, y, x), or a list of them
        The result; a list is a pyramid.
    layers : PredictedLayers
        Shows the result.
    provenance : Provenance, optional
        Of the result.
    """

    labels: Any
    layers: PredictedLayers
    provenance: Provenance | None

    def show(self) -> str:
        """Add a labels layer, on the GUI thread; returns its name."""
        self.layers.show(self.labels)
        self.layers.set_provenance(self.provenance)
        self.layers.replace_former()
        layer = self.layers.labels
        assert layer is not None
        return str(layer.name)


class WholeVolume:
    """A segmentation to be run, into memory or, if that is too small, to disk.

    Parameters
    ----------
    image : Image
        Gives the place in the world; it may be removed later.
    task : BaselineTask
        What to segment, and how.
    name : str
        Name of the method, for the layer.

    Raises
    ------
    OSError
        If the result must go to disk, and its folder cannot be made.
    """

    def __init__(
        self, viewer: Viewer, image: Image, task: BaselineTask, *, name: str
    ) -> None:
        self._task = task
        shape = task.image.shape
        path: Path | None = None
        if not fits_memory(memory_needed(shape)):
            workspace = workspace_for(image)
            workspace.make()
            path = workspace.new_result(".zarr")
        self._result: MemoryResult | DiskResult = (
            MemoryResult(labels=np.zeros(shape, np.uint8))
            if path is None
            else DiskResult(labels=path)
        )
        self._layers = PredictedLayers(
            viewer,
            image,
            phases=task.phases,
            region=Region(axis=task.axis),
            path=path,
            what=name,
        )

    def events(self) -> Events:
        """Segment, in a thread; yields `Segmented` last."""
        yield from segment_volume(self._task, result=self._result)
        if isinstance(self._result, MemoryResult):
            labels, provenance = self._result.labels, self._result.provenance
        else:
            path = self._result.labels
            ((labels, *_),) = read_layers(str(path))
            provenance = open_volume(path).provenance
        yield Segmented(labels=labels, layers=self._layers, provenance=provenance)
