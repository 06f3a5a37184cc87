"""The layers of a prediction, which fill up while it runs."""

from pathlib import Path
from typing import Any

from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer
from superqt.utils import qthrottled

from napari_lrcs.config import Axis
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layer_kinds import Kind, marked
from napari_lrcs.plugin.parts.layers import (
    appearance,
    layer_shape,
    match_ndim,
    place_of,
    selection_kept,
)
from napari_lrcs.preprocessing.slices import AXES

_PATH_KEY = "napari_lrcs_result"
"""Key of a layer's metadata for the file that it shows."""

_PAUSE_MS = 100
"""Time between two refreshes, which keeps the window responsive."""

_KEPT = ("name", "visible", "opacity", "blending")
"""Attributes of a replaced layer that the user may have changed."""


class PredictedLayers:
    """A labels layer with the phases, and an image layer of the confidence if wanted.

    Parameters
    ----------
    viewer : Viewer
    image : Image
        Gives the place in the world; it may be removed later.
    phases : PhaseTable
    axis : {"z", "y", "x"}
        That slabs are predicted across.
    path : Path, optional
        Of the result, if it goes to disk.
    """

    def __init__(
        self,
        viewer: Viewer,
        image: Image,
        *,
        phases: PhaseTable,
        axis: Axis,
        path: Path | None,
    ) -> None:
        self._viewer, self._phases, self._axis = viewer, phases, axis
        self._path = path
        self._name = f"{image.name} prediction"
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
        if _is_in_view(self._viewer, labels, self._axis, start, stop):
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

    def remove_others(self) -> None:
        """Remove layers of an earlier result that lay in the same file."""
        for layer in tuple(self._viewer.layers):
            is_own = layer in self._layers.values()
            if not self._path or is_own or not is_result_at(layer, self._path):
                continue
            self._viewer.layers.remove(layer)
            heir = self.labels if isinstance(layer, Labels) else self.confidence
            if heir is not None:
                heir.name = layer.name

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
        layer = self._made(name, data)
        layers = self._viewer.layers
        self._layers[name] = layer
        with selection_kept(layers, heirs={former: layer}):
            place = len(layers)
            if former is not None:
                place = layers.index(former)
                for attribute in _KEPT:
                    setattr(layer, attribute, getattr(former, attribute))
                layers.remove(former)
            layers.insert(place, layer)

    def _made(self, name: str, data: Any) -> Layer:
        kind: Kind = "prediction" if name == "labels" else "confidence map"
        common: dict[str, Any] = self._place | {
            "name": self._name if name == "labels" else f"{self._name} confidence",
            "metadata": marked(kind) | {_PATH_KEY: self._path},
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


def is_result_at(layer: Layer, path: Path) -> bool:
    """Tell whether a layer shows a prediction that lies in a file."""
    return bool(layer.metadata.get(_PATH_KEY) == path)
