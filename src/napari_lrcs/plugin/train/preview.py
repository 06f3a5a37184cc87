"""The overlay of a training: the network's labels on the slice in view, each epoch."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from napari.layers import Image, Labels
from napari.viewer import Viewer

from napari_lrcs.arrays import Labels as LabelsArray
from napari_lrcs.config import Axis, PredictConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import create_in_memory
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layer_kinds import kind_of, marked
from napari_lrcs.plugin.parts.layers import appearance, place_of, selection_kept
from napari_lrcs.plugin.parts.workers import EXPECTED, Events
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.progress import EpochEnded, Notice
from napari_lrcs.training.run_folder import RunFolder

PREVIEW_NAME = "LRCS preview"

_OPACITY = 0.5
"""Of the overlay; its colours are those of the phases, by default of `phases`."""

_MEMORY = 32
"""Memory for activations, in MiB: tiles are small, so that a stop acts at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlicePreview:
    """A slice as the network of the last epoch predicts it.

    Parameters
    ----------
    array : zarr.Array of uint8, the image layer's shape
        All previews of the training so far; 0 elsewhere.
    """

    index: int
    axis: Axis
    array: zarr.Array[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreviewSource:
    """What to predict a preview of, in the thread.

    Parameters
    ----------
    shape : tuple of int
        Of the image layer: of two axes, or of more than three, it is not the volume's.
    in_view : callable
        Tells the slice across an axis.
    """

    volume: Volume
    mask: Volume | None
    shape: tuple[int, ...]
    in_view: Callable[[Axis], int]


def with_previews(events: Events, *, run: Path, source: PreviewSource) -> Events:
    """Predict the slice in view after each epoch; runs in the thread.

    Parameters
    ----------
    events : generator
        From `train`; closed with this one.
    run : Path
        Its run folder.

    Yields
    ------
    TrainEvent, PredictEvent or SlicePreview
        A preview that fails is a `Notice`, and no harm to the training.
    """
    array = None
    with closing(events):
        for event in events:
            yield event
            if isinstance(event, EpochEnded):
                array = yield from _preview(run, source, array)


def _preview(
    run: Path, source: PreviewSource, array: zarr.Array[Any] | None
) -> Generator[Any, None, zarr.Array[Any] | None]:
    from napari_lrcs.inference.predict import predict_slice
    from napari_lrcs.models.checkpoint import load_checkpoint

    try:
        checkpoint = load_checkpoint(RunFolder(run).last)
        trained = checkpoint.config
        index = source.in_view(trained.preprocessing.axis)
        labels = yield from predict_slice(
            source.volume,
            checkpoint,
            index,
            config=PredictConfig(
                device=trained.device, precision=trained.precision, memory=_MEMORY
            ),
            mask=source.mask,
        )
    except EXPECTED as error:
        yield Notice(kind="advice", text=f"no preview: {error}")
        return array
    across = len(source.shape) - 3 + AXES[trained.preprocessing.axis]
    if array is None:
        array = create_in_memory(source.shape, across=across)
    # Here rather than on the GUI thread: a large slice takes tens of milliseconds.
    _write_slice(array, across, index, labels)
    yield SlicePreview(index=index, axis=trained.preprocessing.axis, array=array)
    return array


def _write_slice(
    array: zarr.Array[Any], across: int, index: int, labels: LabelsArray
) -> None:
    # An image of two axes has no axis z: its one slice is all of it.
    region = tuple(index if i == across else slice(None) for i in range(array.ndim))
    shape = tuple(n for i, n in enumerate(array.shape) if i != across)
    array[region] = labels.reshape(shape)


class PreviewLayer:
    """The layer of a training's previews: beside the painting, never the painting.

    Parameters
    ----------
    image : Image
        Gives the place in the world.
    below : Labels
        The painting, under which the layer is put if it is still there.
    """

    def __init__(
        self, viewer: Viewer, image: Image, *, phases: PhaseTable, below: Labels
    ) -> None:
        self._viewer, self._image, self._painting = viewer, image, below
        self._phases = phases
        self._layer: Labels | None = None

    def show(self, preview: SlicePreview) -> None:
        """Show a preview, in a layer that is made anew if it is not there."""
        if self._image not in self._viewer.layers:
            return
        if self._layer is None or self._layer not in self._viewer.layers:
            self._layer = self._begun_layer(preview.array)
        else:
            self._layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _begun_layer(self, array: zarr.Array[Any]) -> Labels:
        """Add a layer, in place of that of an earlier training."""
        former = [
            layer
            for layer in self._viewer.layers
            if kind_of(layer) == "training preview" and layer is not self._painting
        ]
        for layer in former:
            self._viewer.layers.remove(layer)
        layer = Labels(
            array,
            name=PREVIEW_NAME,
            opacity=_OPACITY,
            metadata=marked("training preview"),
            **appearance(self._phases),
            **place_of(self._image),
        )
        layers = self._viewer.layers
        on_top = self._painting not in layers
        with selection_kept(layers):
            place = len(layers) if on_top else layers.index(self._painting)
            layers.insert(place, layer)
        return layer
