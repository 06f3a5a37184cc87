"""The layers of perturbed labels; the labels themselves are never touched."""

from typing import Any

import zarr
from napari.layers import Image, Labels
from napari.viewer import Viewer

from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import appearance, place_of, selection_kept
from napari_lrcs.plugin.perturb.job import Counted, MemberMade
from napari_lrcs.uncertainty.perturbation.perturbed_slices import PerturbedSlice

PREVIEW_NAME = "Perturbed preview"


class PerturbedLayers:
    """Layers of the members and of the histogram, in the place of their labels.

    Parameters
    ----------
    labels : Labels
        May be removed later.
    """

    def __init__(self, viewer: Viewer, labels: Labels) -> None:
        self._layers = viewer.layers
        self._name, self._place = labels.name, place_of(labels)
        self.n_members = 0
        """Number of layers that were added for members."""

    def add_member(self, made: MemberMade) -> None:
        """Add a layer; of many, the first is visible."""
        layer = Labels(
            made.array,
            name=f"{self._name} perturbed-{made.number:03d}",
            visible=made.number == 0,
            metadata=marked("perturbed copy"),
            **appearance(made.phases),
            **self._place,
        )
        with selection_kept(self._layers):
            self._layers.append(layer)
        self.n_members += 1

    def add_counts(self, counted: Counted) -> None:
        """Add a layer of how often each voxel lies on an interface."""
        layer = Image(
            counted.array,
            name=f"{self._name} interface histogram",
            colormap="magma",
            opacity=0.8,
            contrast_limits=(0, counted.highest),
            metadata=marked("interface histogram"),
            **self._place,
        )
        with selection_kept(self._layers):
            self._layers.append(layer)


class PreviewLayer:
    """The layer of the preview, above the labels that it is of."""

    def __init__(self, viewer: Viewer) -> None:
        self._layers = viewer.layers
        self.layer: Labels | None = None
        """The preview, while it is in the viewer."""
        self._is_in_front = True

    def show(
        self, labels: Labels, preview: PerturbedSlice, array: zarr.Array[Any]
    ) -> None:
        """Show an array in place of the last one."""
        if labels not in self._layers:
            return
        if self.layer is not None:
            self.layer.data = array
            return
        self.layer = Labels(
            array,
            name=PREVIEW_NAME,
            opacity=1,
            metadata=marked("perturbed preview"),
            **appearance(preview.phases),
            **place_of(labels),
        )
        self.layer.editable = False
        self.layer.visible = self._is_in_front
        with selection_kept(self._layers):
            self._layers.insert(self._layers.index(labels) + 1, self.layer)

    def set_in_front(self, is_in_front: bool) -> None:  # noqa: FBT001 a Qt slot
        """Hide the layer while another dock is in front: it covers the painting."""
        self._is_in_front = is_in_front
        if self.layer is not None:
            self.layer.visible = is_in_front

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._layers:
            self._layers.remove(layer)
