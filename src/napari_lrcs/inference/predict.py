"""Predict a volume slab by slab, or one slice: generators of events."""

import json
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import Any

from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.classical.specks import remove_specks
from napari_lrcs.config import PredictConfig
from napari_lrcs.inference.foreign import (
    PredictedPhases,
    warn_of_grey_levels,
    warn_of_voxel_size,
)
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.outputs import LABELS, Arrays, Output
from napari_lrcs.inference.predictor import Predictor
from napari_lrcs.inference.results import Result, Sink
from napari_lrcs.io.paths import check_outputs
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.io.volume import Volume, sources_of
from napari_lrcs.metrics.calibration import UNCALIBRATED
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.preprocessing.normalisation import Normalisation
from napari_lrcs.preprocessing.slices import SliceReader
from napari_lrcs.progress import (
    Notice,
    PredictEvent,
    PredictionEnded,
    PredictionStarted,
    Publishing,
    SlabPredicted,
    TilePredicted,
)

_N_SAMPLES = 5
"""Slices by which one volume is told from another."""


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
    started = time.monotonic()
    config = config or PredictConfig()
    reader = SliceReader.for_config(volume, checkpoint.config, mask=mask)
    wanted = _checked_slices(slices, reader)
    geometry = Geometry.of(reader, checkpoint.phases)
    phases = PredictedPhases(checkpoint)
    check_outputs(result.places, inputs=sources_of(volume, mask))
    with (
        closing(Predictor(checkpoint, config, reader.slice_shape)) as predictor,
        result.open(
            replace(geometry, provenance=_provenance(volume, checkpoint)),
            _identity(reader, checkpoint, wanted, config),
            min_size=config.min_size,
        ) as sink,
    ):
        left = [slab for slab in geometry.slabs(wanted) if slab.start not in sink.done]
        n_left = sum(map(len, left))
        yield _started(predictor, len(wanted), n_done=len(wanted) - n_left)
        foreign = [
            *warn_of_voxel_size(volume, checkpoint),
            *warn_of_grey_levels(volume, checkpoint, slices=wanted, mask=mask),
        ]
        yield from foreign
        yield from _predict_slabs(
            left,
            read=partial(_read, reader, normalisation=checkpoint.normalisation),
            predictor=predictor,
            outputs=result.wanted,
            write=partial(_write, sink, phases),
            n_slices=len(wanted),
        )
        yield from (Publishing(share=share) for share in sink.publish())
    unexpected = phases.warn_after(volume.name)
    yield from unexpected
    yield PredictionEnded(
        out=result.path,
        shape=volume.shape,
        n_voxels=n_left * math.prod(reader.slice_shape),
        seconds=time.monotonic() - started,
        device=str(predictor.device),
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
    config = config or PredictConfig()
    reader = SliceReader.for_config(volume, checkpoint.config, mask=mask)
    _checked_slices([index], reader)
    with closing(Predictor(checkpoint, config, reader.slice_shape)) as predictor:
        yield _started(predictor, 1)
        slab = Slab(start=index, stop=index + 1)
        image, inside = _read(reader, slab, checkpoint.normalisation)
        arrays = predictor.empty_arrays([LABELS], 1)
        for share in predictor.predict(arrays, image, 1):
            yield _tile_event(share, Slab(start=0, stop=1), n_done=0, n_slices=1)
    labels = arrays[LABELS] if inside is None else arrays[LABELS] * inside
    cleaned: Labels = remove_specks(labels, min_size=config.min_size)[0]
    return cleaned


def _started(
    predictor: Predictor, n_slices: int, *, n_done: int = 0
) -> PredictionStarted:
    return PredictionStarted(
        device=str(predictor.device),
        precision=predictor.network.precision,
        n_slices=n_slices,
        n_done=n_done,
        n_tiles=len(predictor.network.tiles),
    )


def _predict_slabs(
    slabs: Sequence[Slab],
    *,
    read: Callable[[Slab], "_Read"],
    predictor: Predictor,
    outputs: Sequence[Output],
    write: Callable[..., SlabPredicted],
    n_slices: int,
) -> Iterator[PredictEvent]:
    n_done = n_slices - sum(map(len, slabs))
    # One thread reads ahead, one writes behind; leaving the block waits for both.
    with (
        ThreadPoolExecutor(1, "read-ahead") as ahead,
        ThreadPoolExecutor(1, "write-behind") as behind,
    ):
        reading: Future[_Read] | None = None
        writing: Future[SlabPredicted] | None = None
        for slab, following in pairwise([*slabs, None]):
            assert slab is not None
            image, inside = reading.result() if reading else read(slab)
            reading = ahead.submit(read, following) if following else None
            arrays = predictor.empty_arrays(outputs, len(slab))
            for share in predictor.predict(arrays, image, len(slab)):
                yield _tile_event(share, slab, n_done=n_done, n_slices=n_slices)
            n_done += len(slab)
            if writing:
                yield writing.result()
            event = SlabPredicted(
                start=slab.start, stop=slab.stop, n_done=n_done, n_slices=n_slices
            )
            writing = behind.submit(write, slab, arrays, inside, event)
        if writing:
            yield writing.result()


def _tile_event(
    share: float | Notice, slab: Slab, *, n_done: int, n_slices: int
) -> Notice | TilePredicted:
    if isinstance(share, Notice):
        return share
    return TilePredicted(n_done=n_done + share * len(slab), n_slices=n_slices)


def _checked_slices(slices: Sequence[int] | None, reader: SliceReader) -> list[int]:
    if slices is None:
        return list(range(reader.n_slices))
    wanted = sorted(set(slices))
    if not wanted or wanted[0] < 0 or wanted[-1] >= reader.n_slices:
        raise ValueError(
            f"slices must lie between 0 and {reader.n_slices - 1} along {reader.axis}, "
            f"got {wanted[:1] + wanted[-1:]}"
        )
    return wanted


def fingerprint(checkpoint: Checkpoint) -> str:
    """Tell one network from another, by all that its predictions depend on."""
    weights = sha256(json.dumps(checkpoint.config.identity()).encode())
    for name, tensor in sorted(checkpoint.state.items()):
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    weights.update(json.dumps(checkpoint.normalisation.to_dict()).encode())
    if checkpoint.temperature != 1:  # so that those of older networks stay the same
        weights.update(json.dumps(checkpoint.temperature).encode())
    if checkpoint.confidence_curve != UNCALIBRATED:
        weights.update(json.dumps(asdict(checkpoint.confidence_curve)).encode())
    return weights.hexdigest()


def _provenance(volume: Volume, checkpoint: Checkpoint) -> Provenance:
    return Provenance(
        image=volume.name, fingerprint=volume.fingerprint(), learnt=checkpoint.learnt
    )


def _identity(
    reader: SliceReader,
    checkpoint: Checkpoint,
    wanted: list[int],
    config: PredictConfig,
) -> dict[str, Any]:
    """Tell one prediction from another: it is continued only if all of this agrees."""
    # Across other axes, too, slices along z are sampled: files are read fastest so.
    places = wanted if reader.axis == "z" else range(reader.volume.shape[0])
    last = len(places) - 1
    samples = sorted({places[i * last // (_N_SAMPLES - 1)] for i in range(_N_SAMPLES)})
    mask = reader.mask
    # Only where it is asked for, so that what was interrupted before can go on.
    turns = {"average_turns": True} if config.average_turns else {}
    return {
        **turns,
        "checkpoint": fingerprint(checkpoint),
        "volume": reader.volume.name,
        "shape": reader.volume.shape,
        "samples": _digest(reader.volume, samples),
        "slices": wanted,
        "mask": None if mask is None else _digest(mask, samples),
    }


def _digest(volume: Volume, places: Sequence[int]) -> str:
    digest = sha256(str(volume.dtype).encode())
    for z in places:
        digest.update(volume.slab(z, z + 1).tobytes())
    return digest.hexdigest()


_Read = tuple[GreyImage, Mask | None]


def _read(reader: SliceReader, slab: Slab, normalisation: Normalisation) -> _Read:
    return (
        normalisation(reader.read(slab.start, slab.stop)),
        reader.inside(slab.start, slab.stop),
    )


def _write(
    sink: Sink,
    phases: PredictedPhases,
    slab: Slab,
    arrays: Arrays,
    inside: Mask | None,
    event: SlabPredicted,
) -> SlabPredicted:
    phases.count(arrays[LABELS], inside)
    if inside is not None:
        arrays = {output: array * inside for output, array in arrays.items()}
    sink.write(slab, arrays)
    return event
