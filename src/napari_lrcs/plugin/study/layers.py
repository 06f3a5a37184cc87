"""The layers of a study: where its networks disagree, and what most of them say."""

from collections.abc import Mapping
from typing import Any
from weakref import ref

from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import Colormap
from napari.viewer import Viewer

from napari_lrcs.plugin.parts.layers.kinds import Kind, marked
from napari_lrcs.plugin.parts.layers.layers import (
    PROVENANCE_KEY,
    add_result,
    appearance,
    layer_shape,
    match_ndim,
    place_of,
    volume_of,
)
from napari_lrcs.plugin.study.job import Mapped
from napari_lrcs.uncertainty.study.summary import ENSEMBLE

STUDY_KEY = "napari_lrcs_study"
"""Key of a layer's metadata for the study's folder."""

NAMES: Mapping[str, str] = {
    ENSEMBLE: "ensemble",
    "majority": "majority vote",
    "agreement": "agreement",
    "entropy": "disagreement",
}
"""What follows the image's name in a layer's, by volume; the last lies on top."""

_KINDS: Mapping[str, Kind] = {
    ENSEMBLE: "mean prediction of networks",
    "majority": "majority vote of networks",
    "agreement": "agreement of networks",
    "entropy": "agreement of networks",
}

_DISAGREEMENT = Colormap(
    [[0.9, 0.0, 0.0, 0.0], [0.9, 0.1, 0.0, 0.9], [1.0, 0.9, 0.0, 1.0]],
    controls=[0.0, 0.5, 1.0],
    name="disagreement",
)
"""Transparent where all agree, then red to yellow: visible on any grey level."""


class StudyLayers:
    """Shows the volumes of studies over their image.

    Parameters
    ----------
    image : Image
        Gives name and place in the world; it may be removed later.
    """

    def __init__(self, viewer: Viewer, image: Image) -> None:
        self._viewer = viewer
        self._image, self._name = ref(image), image.name
        self._place = place_of(image)
        self._n_axes = len(layer_shape(image))
        self.shape = volume_of(image).shape
        """Shape of the volumes that can be shown."""

    def show(self, found: Mapped) -> None:
        """Add the volumes of a study, in place of those that it had before.

        The disagreement is in sight, the others are hidden.
        """
        layers = self._viewer.layers
        for layer in tuple(layers):
            if layer.metadata.get(STUDY_KEY) == found.out:
                layers.remove(layer)
        for name in (name for name in NAMES if name in found.volumes):
            layer = self._made(name, found)
            add_result(layers, layer, above=self._image())

    def _made(self, name: str, found: Mapped) -> Layer:
        data = match_ndim(found.volumes[name], self._n_axes)
        common: dict[str, Any] = self._place | {
            "name": f"{self._name} {NAMES[name]}",
            "metadata": marked(_KINDS[name]) | {STUDY_KEY: found.out},
            "multiscale": isinstance(data, list),
            "visible": name == "entropy",
        }
        if name in ("majority", ENSEMBLE):
            layer = Labels(data, **common, **appearance(found.phases))
            layer.metadata[PROVENANCE_KEY] = found.provenance
            layer.editable = False  # painting would change the file
            return layer
        colormap = _DISAGREEMENT if name == "entropy" else "viridis"
        return Image(data, **common, colormap=colormap, contrast_limits=(0, 255))
