"""The layers of a prediction, which fill up while it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
from napari.components import LayerList
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer
from superqt.utils import qthrottled

from napari_lrcs.config import Axis
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layers.kinds import Kind, kind_of, marked
from napari_lrcs.plugin.parts.layers.layers import (
    PROVENANCE_KEY,
    add_result,
    appearance,
    layer_shape,
    match_ndim,
    place_of,
    selection_kept,
)
from napari_lrcs.preprocessing.slices import AXES

_PATH_KEY = "napari_lrcs_result"
"""Key of a layer's metadata for the file that it shows."""

_ORIGIN_KEY = "napari_lrcs_origin"
"""Key of a layer's metadata for its image, the words after its name, and its region."""

_NETWORK_KEY = "napari_lrcs_network"
"""Key of a layer's metadata for the checkpoint that has predicted it."""

_NAME_KEY = "napari_lrcs_name"
"""Key of a layer's metadata for the name that it was given, while nobody edits it."""

_COMPLETE_KEY = "napari_lrcs_complete"
"""Key of a layer's metadata that tells that all of its region is predicted."""

_OF_BOTH = (_PATH_KEY, _ORIGIN_KEY, _NETWORK_KEY)
"""Keys of metadata that the labels and the confidence of a prediction share."""

_PAUSE_MS = 100
"""Time between two refreshes, which keeps the window responsive."""

_KEPT = ("name", "visible", "opacity", "blending")
"""Attributes of a replaced layer that the user may have changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The slices that are predicted.

    Parameters
    ----------
    axis : {"z", "y", "x"}
        That slabs are predicted across.
    slices : frozenset of int, optional
        By default all.
    """

    axis: Axis
    slices: frozenset[int] | None = None

    def is_within(self, other: "Region") -> bool:
        """Tell whether another region has all of these slices."""
        if other.slices is None or self.slices is None:
            return other.slices is None
        return self.axis == other.axis and self.slices <= other.slices


class PredictedLayers:
    """A labels layer with the phases, and an image layer of the confidence if wanted.

    Parameters
    ----------
    viewer : Viewer
    image : Image
        Gives the place in the world; it may be removed later.
    phases : PhaseTable
    region : Region
        What is predicted.
    path : Path, optional
        Of the result, if it goes to disk.
    what : str
        What follows the image's name in the layer's.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Image,
        *,
        phases: PhaseTable,
        region: Region,
        path: Path | None,
        what: str = "prediction",
    ) -> None:
        self._viewer, self._phases, self._region = viewer, phases, region
        self._path = path
        self._provenance: Provenance | None = None
        self.network: Path | None = None
        """The checkpoint that predicts, where it is known."""
        self._name = f"{image.name} {what}"
        self._image, self._what = ref(image), what
        self._place = place_of(image)
        self._n_axes = len(layer_shape(image))
        self._layers: dict[str, Layer] = {}
        self._redraw_soon = qthrottled(self.redraw, timeout=_PAUSE_MS, leading=False)

    @property
    def labels(self) -> Labels | None:
        """The labels layer, while it is in the viewer."""
        return self._layer("labels")

    @property
    def confidence(self) -> Image | None:
        """The layer of the confidence, while it is in the viewer."""
        return self._layer("confidence")

    @property
    def is_removed(self) -> bool:
        """Whether the user has removed the labels layer."""
        return "labels" in self._layers and self.labels is None

    def set_provenance(self, provenance: Provenance | None) -> None:
        """Tell what the labels are of, and what was learnt from."""
        self._provenance = provenance
        if self.labels is not None:
            self.labels.metadata[PROVENANCE_KEY] = provenance

    def show(self, labels: Any, confidence: Any = None) -> None:
        """Show arrays, in the layers that are there or in new ones.

        Parameters
        ----------
        labels, confidence : array of uint8, shape (z, y, x), or a list, a pyramid
            In memory, Zarr or dask; what is written to them later is seen after
            `refresh`. No confidence is no layer of it.
        """
        for name, array in (("labels", labels), ("confidence", confidence)):
            # A layer that the user has removed does not come back.
            if array is None or (name in self._layers and self._layer(name) is None):
                continue
            self._show(name, match_ndim(array, self._n_axes))

    def refresh(self, start: int, stop: int) -> None:
        """Redraw soon, if slices `start` to `stop` (excluded) are in view."""
        labels = self.labels
        if labels is None:
            return
        if _is_in_view(self._viewer, labels, self._region.axis, start, stop):
            self._redraw_soon()

    def redraw(self) -> None:
        """Redraw what is in view now."""
        for layer in self._layers.values():
            if layer in self._viewer.layers and layer.visible:
                layer.refresh(thumbnail=False, highlight=False, extent=False)

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        for name in tuple(self._layers):
            layer = self._layer(name)
            if layer is not None:
                self._viewer.layers.remove(layer)

    def replace_former(self) -> bool:
        """Take the place of an earlier result, now that this one is complete.

        That is one that was in the same file, and one of the same image and slices,
        unless its user has renamed or edited it.

        Returns
        -------
        bool
            Whether one of the same image was replaced that was not in the same file.
        """
        has_replaced = False
        for layer in self._layers.values():
            layer.metadata[_COMPLETE_KEY] = True
        for layer in reversed(tuple(self._viewer.layers)):  # the lowest gives its name
            if layer in self._layers.values():
                continue
            if self._path is None or not is_result_at(layer, self._path):
                if not self._is_former(layer):
                    continue
                has_replaced = True
            heir = self.labels if isinstance(layer, Labels) else self.confidence
            heirs = {} if heir is None else {layer: heir}
            with selection_kept(self._viewer.layers, heirs=heirs):
                self._viewer.layers.remove(layer)
            if heir is not None and not _is_kept(heir):
                heir.name = layer.name
                heir.metadata[_NAME_KEY] = layer.metadata.get(_NAME_KEY)
        return has_replaced

    def _is_former(self, layer: Layer) -> bool:
        if _ORIGIN_KEY not in layer.metadata or _is_kept(layer):
            return False
        image, what, region = layer.metadata[_ORIGIN_KEY]
        is_same = (image, what) == (self._image, self._what)
        return is_same and bool(region.is_within(self._region))

    def disconnect_events(self) -> None:
        """Stop redrawing."""
        self._redraw_soon.cancel()

    def _layer(self, name: str) -> Any:
        layer = self._layers.get(name)
        return layer if layer is not None and layer in self._viewer.layers else None

    def _show(self, name: str, data: Any) -> None:
        former = self._layer(name)
        is_pyramid = isinstance(data, list)
        if former is not None and not is_pyramid and not former.multiscale:
            former.data = data
            return
        layer = self._layers[name] = self._made(name, data)
        if former is None:
            add_result(self._viewer.layers, layer, above=self._image())
            layer.metadata[_NAME_KEY] = layer.name  # with a number, if it was taken
        else:
            self._put_in_place_of(former, layer)
        if isinstance(layer, Labels):
            layer.events.paint.connect(_keep)

    def _put_in_place_of(self, former: Layer, layer: Layer) -> None:
        layers = self._viewer.layers
        place = layers.index(former)
        layer.metadata[_NAME_KEY] = former.metadata.get(_NAME_KEY)
        for attribute in _KEPT:
            setattr(layer, attribute, getattr(former, attribute))
        with selection_kept(layers, heirs={former: layer}):
            layers.remove(former)
            layers.insert(place, layer)

    def _made(self, name: str, data: Any) -> Layer:
        kind: Kind = "prediction" if name == "labels" else "confidence map"
        common: dict[str, Any] = self._place | {
            "name": self._name if name == "labels" else f"{self._name} confidence",
            "metadata": marked(kind)
            | {
                _PATH_KEY: self._path,
                _NETWORK_KEY: self.network,
                PROVENANCE_KEY: self._provenance,
                _ORIGIN_KEY: (self._image, self._what, self._region),
            },
            "multiscale": isinstance(data, list),
            "cache": False,  # what is not yet predicted must not be remembered
        }
        if name == "labels":
            return Labels(data, **common, **appearance(self._phases))
        return Image(
            data,
            **common,
            colormap="viridis",
            contrast_limits=(0, 255),
            visible=False,
        )


def _is_in_view(
    viewer: Viewer, layer: Layer, axis: Axis, start: int, stop: int
) -> bool:
    dims = viewer.dims
    if dims.ndisplay == 3:
        return False  # drawing a volume anew takes too long; it is done at the end
    across = layer.ndim - 3 + AXES[axis]
    if across < 0 or across + dims.ndim - layer.ndim in dims.displayed:
        return True
    return start <= round(float(layer.world_to_data(dims.point)[across])) < stop


def _keep(event: Any) -> None:
    """Let a layer stay that is edited by hand."""
    event.source.metadata.pop(_NAME_KEY, None)


def _is_kept(layer: Layer) -> bool:
    """Tell whether a user has renamed or edited a layer."""
    return bool(layer.metadata.get(_NAME_KEY) != layer.name)


def network_of(layer: Layer) -> Path | None:
    """Return the checkpoint that has predicted a layer; None if that is not known."""
    network: Path | None = layer.metadata.get(_NETWORK_KEY)
    return network


def file_of(layer: Layer) -> Path | None:
    """Return the file of a prediction; None for one in memory, and for other layers."""
    if kind_of(layer) != "prediction":
        return None
    path = layer.metadata.get(_PATH_KEY) or layer.source.path
    return None if path is None else Path(path).absolute()


def image_predicted(layer: Layer) -> Image | None:
    """Return the image that a result is of; None if that is gone, or not known."""
    image: Image | None = layer.metadata.get(_ORIGIN_KEY, (lambda: None,))[0]()
    return image


def confidence_of(labels: Labels, layers: LayerList) -> Image | None:
    """Find the layer with the confidence of a prediction, also if opened again."""
    images = (layer for layer in reversed(layers) if isinstance(layer, Image))
    return next((image for image in images if _is_confidence_of(labels, image)), None)


def _is_confidence_of(labels: Labels, image: Image) -> bool:
    is_alike = layer_shape(image) == layer_shape(labels) and image.dtype == np.uint8
    if not is_alike or image.rgb:
        return False
    if kind_of(image) == "confidence map":
        return all(image.metadata[k] == labels.metadata.get(k) for k in _OF_BOTH)
    file, path = file_of(labels), image.source.path
    if file is None or path is None:
        return False
    return Path(path).absolute() == confidence_beside(file)


def confidence_beside(path: Path) -> Path:
    """Return where the confidence of a result in a file goes.

    Examples
    --------
    >>> confidence_beside(Path("segmentation-1.tif")).name
    'segmentation-1-confidence.tif'
    """
    return path.with_name(f"{path.stem}-confidence{path.suffix}")


def is_in_memory_alone(layer: Layer, image: Image) -> bool:
    """Tell whether a layer is the prediction of all of an image, and in no file."""
    of, _, region = layer.metadata.get(_ORIGIN_KEY, (lambda: None, "", None))
    is_whole = of() == image and region is not None and region.slices is None
    is_complete = bool(is_whole and layer.metadata.get(_COMPLETE_KEY))
    return is_complete and isinstance(layer, Labels) and file_of(layer) is None


def is_result_at(layer: Layer, path: Path) -> bool:
    """Tell whether a layer shows a prediction that lies in a file."""
    return bool(layer.metadata.get(_PATH_KEY) == path)
