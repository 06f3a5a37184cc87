"""The overlay of a training: the network's labels on the slice in view, as it learns.

The first one comes after a handful of steps. Then they follow one another so that they
take a small share of the time; but another slice in view is predicted at once.
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import zarr
from napari.layers import Image, Labels
from napari.viewer import Viewer

from napari_lrcs.arrays import Labels as LabelsArray
from napari_lrcs.config import Axis, PredictConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import create_in_memory
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layers.kinds import kind_of, marked
from napari_lrcs.plugin.parts.layers.layers import appearance, place_of, selection_kept
from napari_lrcs.plugin.parts.workers import EXPECTED, Events
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.progress import (
    EpochEnded,
    Notice,
    OverlayChosen,
    Resting,
    StepEnded,
    StrokesTaken,
    TrainingEnded,
)
from napari_lrcs.training.run.folder import RunFolder

if TYPE_CHECKING:  # loading torch takes seconds
    from napari_lrcs.models.checkpoint import Checkpoint

PREVIEW_NAME = "LRCS preview"

_OVERLAY_OPACITY = 0.5
"""Its colours are those of the phases: `_PALETTE` in `napari_lrcs/phases.py`."""

_MEMORY = 32
"""Memory for activations, in MiB: tiles are small, so that a stop acts at once."""

_FIRST, _PAUSE = 1.0, 3.0
"""Seconds of training from the first step, or a stroke, to the first preview, and
between two."""

_SHARE = 0.1
"""Largest share of the time that previews take."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlicePreview:
    """A slice as the network predicts it by now.

    Parameters
    ----------
    array : zarr.Array of uint8, the image layer's shape
        All previews of the training so far; 0 elsewhere.
    unwanted : Event
        To be set if nobody can see previews any more.
    """

    index: int
    axis: Axis
    array: zarr.Array[Any]
    unwanted: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """How long a training has worked by now, without previews and pauses."""

    seconds: float


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
    axis: Axis = "z"
    """That the slices lie across."""
    unwanted: Event = field(default_factory=Event)
    """Set to have no more previews."""


def with_previews(events: Events, *, run: Path, source: PreviewSource) -> Events:
    """Predict the slice in view whenever it is due; runs in the thread.

    Parameters
    ----------
    events : generator
        From `train`; closed with this one.
    run : Path
        Its run folder.

    Yields
    ------
    TrainEvent, PredictEvent, Worked or SlicePreview
        `Worked` comes before each `StepEnded`. A preview that fails is a `Notice`, and
        no harm to the training.
    """
    previews, worked = _Previews(run, source), 0.0
    with closing(events):
        for event, seconds in _timed(events):
            worked += seconds
            if isinstance(event, StepEnded):
                yield Worked(seconds=worked)
            yield event
            yield from previews.after(event, worked)


def _timed(events: Events) -> Iterator[tuple[Any, float]]:
    """Yield each event with the seconds that it took to make."""
    begun = time.monotonic()
    for event in events:
        yield event, time.monotonic() - begun
        begun = time.monotonic()


class _Previews:
    """Makes previews of a training, each when it is due."""

    def __init__(self, run: Path, source: PreviewSource) -> None:
        self._last, self._source = RunFolder(run).last, source
        self._array: zarr.Array[Any] | None = None
        self._shown_at: float | None = None
        self._cost = 0.0
        self._is_behind = False
        """Whether the network of the last epoch was not shown."""
        self._shown: int | None = None
        """Slice of the last preview."""
        self._forest: Callable[[int], LabelsArray] | None = None
        """What labels slices until the network is better."""

    def after(self, event: object, worked: float) -> Events:
        """Make a preview if one is due after an event and some seconds of training."""
        if self._source.unwanted.is_set():
            return
        load = self._network_due(event, worked)
        if load is not None:
            yield from self._show(load, worked)

    def _network_due(
        self, event: object, worked: float
    ) -> "Callable[[], Checkpoint] | None":
        """Return what gives the network of a preview that is due; None if none is."""
        match event:
            case OverlayChosen():
                self._forest = event.predict
                is_ready = self._forest is not None or self._last.is_file()
                return self._load_last if is_ready else None
            case StrokesTaken() if self._cost:  # answered soon, as the start is
                self._shown_at, self._cost = worked, 0.0
            case StepEnded() | Resting() if self._has_moved:
                return event.checkpoint
            case _ if self._forest is not None:
                return None
            case StepEnded():
                pause = _PAUSE if self._cost else _FIRST
                return event.checkpoint if self._is_due(worked, pause=pause) else None
        return self._last_due(event, worked)

    def _last_due(
        self, event: object, worked: float
    ) -> "Callable[[], Checkpoint] | None":
        match event:
            case EpochEnded():
                self._is_behind = not self._is_due(worked, pause=0.0)
                return None if self._is_behind else self._load_last
            case TrainingEnded() if self._is_behind:
                return self._load_last
        return None

    def _is_due(self, worked: float, *, pause: float) -> bool:
        if self._shown_at is None:
            self._shown_at = worked
        pause = max(pause, self._cost * (1 / _SHARE - 1))
        return worked - self._shown_at >= pause

    @property
    def _has_moved(self) -> bool:
        """Whether another slice is in view than that of the last preview."""
        source = self._source
        return self._shown is not None and source.in_view(source.axis) != self._shown

    def _load_last(self) -> "Checkpoint":
        from napari_lrcs.models.checkpoint import load_checkpoint

        return load_checkpoint(self._last)

    def _show(self, load: Callable[[], "Checkpoint"], worked: float) -> Events:
        self._shown_at, self._cost = worked, 0.0
        with closing(self._predict(load)) as events:
            for event, seconds in _timed(events):
                self._cost += seconds
                yield event

    def _predict(self, load: Callable[[], "Checkpoint"]) -> Events:
        source = self._source
        index = source.in_view(source.axis)
        try:
            labels = yield from self._labels_of(index, load)
        except EXPECTED as error:
            yield Notice(kind="advice", text=f"no preview: {error}")
            return
        across = len(source.shape) - 3 + AXES[source.axis]
        if self._array is None:
            self._array = create_in_memory(source.shape, across=across)
        # Here rather than on the GUI thread: a large slice takes tens of milliseconds.
        _write_slice(self._array, across, index, labels)
        self._shown = index
        yield SlicePreview(
            index=index, axis=source.axis, array=self._array, unwanted=source.unwanted
        )

    def _labels_of(
        self, index: int, load: Callable[[], "Checkpoint"]
    ) -> Generator[Any, None, LabelsArray]:
        from napari_lrcs.inference.predict import predict_slice

        if self._forest is not None:
            return self._forest(index)
        checkpoint = load()
        trained = checkpoint.config
        labels = yield from predict_slice(
            self._source.volume,
            checkpoint,
            index,
            config=PredictConfig(
                device=trained.device, precision=trained.precision, memory=_MEMORY
            ),
            mask=self._source.mask,
        )
        return labels


def _write_slice(
    array: zarr.Array[Any], across: int, index: int, labels: LabelsArray
) -> None:
    # An image of two axes has no axis z: its one slice is all of it.
    region = tuple(index if i == across else slice(None) for i in range(array.ndim))
    shape = tuple(n for i, n in enumerate(array.shape) if i != across)
    array[region] = labels.reshape(shape)


class PreviewLayer:
    """The layer of a training's previews: beside the painting, never the painting.

    Once it is removed, by its user or by `remove`, it does not come back.

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
        self._is_removed = False

    def show(self, preview: SlicePreview) -> None:
        """Show a preview, in a layer that the first one adds."""
        layers = self._viewer.layers
        is_gone = self._layer is not None and self._layer not in layers
        if self._is_removed or is_gone or self._image not in layers:
            preview.unwanted.set()
        elif self._layer is None:
            self._layer = self._begun_layer(preview.array)
        else:
            self._layer.refresh(thumbnail=False, highlight=False, extent=False)

    def remove(self) -> None:
        """Take the layer out of the viewer."""
        self._is_removed = True
        if self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)

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
            opacity=_OVERLAY_OPACITY,
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
