"""Predict a volume slab by slab, or one slice: generators of events."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.specks import remove_specks
from napari_lrcs.config import PredictConfig
from napari_lrcs.inference.foreign import PredictedPhases
from napari_lrcs.inference.geometry import Slab
from napari_lrcs.inference.predictor import Predictor
from napari_lrcs.inference.results.outputs import LABELS
from napari_lrcs.inference.results.result import Result, Sink
from napari_lrcs.inference.slabs import compute_slabs, tile_event
from napari_lrcs.inference.task import PredictTask
from napari_lrcs.io.paths import check_outputs
from napari_lrcs.io.volume import Volume, sources_of
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.progress import (
    PredictEvent,
    PredictionEnded,
    PredictionStarted,
    Publishing,
)


def predict_volume(
    volume: Volume,
    checkpoint: Checkpoint,
    *,
    result: Result,
    config: PredictConfig | None = None,
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
) -> Iterator[PredictEvent]:
    """Predict the phases of a volume.

    While a slab is computed, the next one is read and filtered, and the last one is
    written. A prediction to disk that was interrupted is continued by calling this
    again with the same arguments: slabs that are there are not computed again.

    Parameters
    ----------
    volume : Volume
        Any size; grey levels as in the training volume.
    checkpoint : Checkpoint
        Its filters, normalisation, axis and context are applied.
    result : Result
        A `MemoryResult` or `DiskResult`, where labels and the like go.
    slices : sequence of int, optional
        Slices to predict, along the checkpoint's axis; the others stay 0.
    mask : Volume of bool, optional
        Field of view; labels outside stay 0.

    Yields
    ------
    PredictEvent
        `PredictionStarted` first, `TilePredicted` several times a second,
        `SlabPredicted`, `Notice` where the user should know something, such as that the
        volume is foreign to the network, `Publishing` while the complete result is
        brought into its form, `PredictionEnded` last.

    Raises
    ------
    ValueError
        If a slice is out of range, the device is absent, or the result would replace
        the volume or the mask.
    InUseError
        If another one writes to the result's place.
    VolumeError
        If the volume holds NaN or infinity.
    OSError
        If the disk is full, or the like; what is written can be continued from.
    """
    task = PredictTask(
        volume=volume,
        checkpoint=checkpoint,
        config=config or PredictConfig(),
        slices=slices,
        mask=mask,
    )
    predictor = Predictor(checkpoint, task.config, task.reader.slice_shape)
    with closing(predictor):
        yield from run_prediction(task, result=result, computing=_Here(predictor))


class Computing(Protocol):
    """Where a prediction is computed: in this process, or in others."""

    @property
    def device(self) -> str:
        """What computes, for the user."""

    @property
    def precision(self) -> str:
        """Arithmetic of the convolutions; empty if it may differ among processes."""

    @property
    def n_tiles(self) -> int:
        """Tiles per slice; 0 if it may differ among processes."""

    def run(
        self,
        task: PredictTask,
        slabs: Sequence[Slab],
        *,
        result: Result,
        sink: Sink,
        phases: PredictedPhases,
    ) -> Iterator[PredictEvent]:
        """Predict what is left into a result that is open."""


@dataclass(frozen=True, slots=True)
class _Here:
    """Computes in this process."""

    predictor: Predictor

    @property
    def device(self) -> str:
        return str(self.predictor.device)

    @property
    def precision(self) -> str:
        return self.predictor.network.precision

    @property
    def n_tiles(self) -> int:
        return len(self.predictor.network.tiles)

    def run(
        self,
        task: PredictTask,
        slabs: Sequence[Slab],
        *,
        result: Result,
        sink: Sink,
        phases: PredictedPhases,
    ) -> Iterator[PredictEvent]:
        return compute_slabs(
            task,
            slabs,
            predictor=self.predictor,
            outputs=result.wanted,
            write=sink.write,
            phases=phases,
        )


def run_prediction(
    task: PredictTask, *, result: Result, computing: Computing
) -> Iterator[PredictEvent]:
    """Predict a volume wherever it is computed; see `predict_volume`."""
    started = time.monotonic()
    n_slices = len(task.wanted)
    phases = PredictedPhases(task.checkpoint)
    check_outputs(result.places, inputs=sources_of(task.volume, task.mask))
    geometry = replace(task.geometry, provenance=task.provenance())
    with result.open(geometry, task.identity(), min_size=task.config.min_size) as sink:
        slabs = geometry.slabs(task.wanted)
        left = [slab for slab in slabs if slab.start not in sink.done]
        n_left = sum(map(len, left))
        yield _started(computing, n_slices, n_done=n_slices - n_left)
        foreign = list(task.warnings())
        yield from foreign
        yield from computing.run(task, left, result=result, sink=sink, phases=phases)
        yield from (Publishing(share=share) for share in sink.publish())
    unexpected = phases.warn_after(task.volume.name)
    yield from unexpected
    yield PredictionEnded(
        out=result.path,
        shape=task.volume.shape,
        n_voxels=n_left * math.prod(task.reader.slice_shape),
        seconds=time.monotonic() - started,
        device=computing.device,
        foreign=tuple(notice.text for notice in (*foreign, *unexpected)),
    )


def predict_slice(
    volume: Volume,
    checkpoint: Checkpoint,
    index: int,
    *,
    config: PredictConfig | None = None,
    mask: Volume | None = None,
) -> Generator[PredictEvent, None, Labels]:
    """Predict one slice of a volume, whose size costs no memory.

    Parameters
    ----------
    volume, checkpoint, config, mask
        As of `predict_volume`.
    index : int
        Place of the slice along the checkpoint's axis.

    Yields
    ------
    PredictEvent
        `PredictionStarted`, `TilePredicted` after each tile, and `Notice`.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        Its labels.

    Raises
    ------
    ValueError, VolumeError
        As `predict_volume` does.
    """
    task = PredictTask(
        volume=volume,
        checkpoint=checkpoint,
        config=config or PredictConfig(),
        slices=[index],
        mask=mask,
    )
    predictor = Predictor(checkpoint, task.config, task.reader.slice_shape)
    with closing(predictor):
        yield _started(_Here(predictor), 1)
        image, inside = task.read(Slab(start=index, stop=index + 1))
        arrays = predictor.empty_arrays([LABELS], 1)
        for share in predictor.predict(arrays, image, 1):
            yield tile_event(share, Slab(start=0, stop=1), n_done=0, n_slices=1)
    labels = arrays[LABELS] if inside is None else arrays[LABELS] * inside
    cleaned: Labels = remove_specks(labels, min_size=task.config.min_size)[0]
    return cleaned


def _started(
    computing: Computing, n_slices: int, *, n_done: int = 0
) -> PredictionStarted:
    return PredictionStarted(
        device=computing.device,
        precision=computing.precision,
        n_slices=n_slices,
        n_done=n_done,
        n_tiles=computing.n_tiles,
    )
