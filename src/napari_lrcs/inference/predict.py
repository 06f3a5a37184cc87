"""Predict a volume slab by slab: a generator of events; memory stays as it is."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_lrcs.arrays import GreyImage, Mask
from napari_lrcs.config import PredictConfig
from napari_lrcs.inference.results import Geometry, Result, Slab
from napari_lrcs.io.paths import check_outputs
from napari_lrcs.io.volume import Volume, sources_of
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.device import (
    for_prediction,
    release_memory,
    resolve_device,
    resolve_precision,
)
from napari_lrcs.models.tiles import TiledNetwork
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

_MEBI = 2**20
_SLAB_BYTES = 32 * _MEBI
"""Grey levels of a slab in float32; a few slabs are under way at once."""

_SLAB_SLICES = 16

_CPU_MEMORY = 512 * _MEBI

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
    result : MemoryResult or DiskResult
        Where labels, confidence and probabilities go.
    config : PredictConfig, optional
    slices : sequence of int, optional
        Slices to predict, along the checkpoint's axis; the others stay 0.
    mask : Volume of bool, optional
        Field of view; labels outside stay 0.

    Yields
    ------
    PredictEvent
        `PredictionStarted` first, `TilePredicted` several times a second,
        `SlabPredicted`, `Notice` where the user should know something, `Publishing`
        while the complete result is brought into its form, `PredictionEnded` last.

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
    reader = SliceReader.for_config(volume, checkpoint.config, mask=mask)
    wanted = _checked_slices(slices, reader)
    geometry = _geometry(reader, checkpoint)
    config = config or PredictConfig()
    check_outputs(result.places, inputs=sources_of(volume, mask))
    predictor = _Predictor(checkpoint, config, reader.slice_shape)
    identity = _identity(reader, checkpoint, wanted)
    try:
        done = result.open(geometry, identity, min_size=config.min_size)
        left = [slab for slab in geometry.slabs(wanted) if slab.start not in done]
        n_left = sum(map(len, left))
        yield PredictionStarted(
            device=str(predictor.device),
            precision=predictor.network.precision,
            n_slices=len(wanted),
            n_done=len(wanted) - n_left,
            n_tiles=len(predictor.network.tiles),
        )
        yield from _predict_slabs(
            left,
            reader=reader,
            predictor=predictor,
            result=result,
            n_slices=len(wanted),
        )
        yield from (Publishing(share=share) for share in result.publish())
    finally:
        predictor.close()
        result.leave()
    yield PredictionEnded(
        out=result.path,
        shape=volume.shape,
        n_voxels=n_left * math.prod(reader.slice_shape),
        seconds=time.monotonic() - started,
        device=str(predictor.device),
    )


def _predict_slabs(
    slabs: Sequence[Slab],
    *,
    reader: SliceReader,
    predictor: "_Predictor",
    result: Result,
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
            image, inside = reading.result() if reading else _read(reader, slab)
            reading = ahead.submit(_read, reader, following) if following else None
            parts = predictor.empty_parts(result.wanted, len(slab))
            for share in predictor.fill(parts, image):
                if isinstance(share, Notice):
                    yield share
                    continue
                yield TilePredicted(
                    n_done=n_done + share * len(slab), n_slices=n_slices
                )
            n_done += len(slab)
            if writing:
                yield writing.result()
            event = SlabPredicted(
                start=slab.start, stop=slab.stop, n_done=n_done, n_slices=n_slices
            )
            writing = behind.submit(_write, result, slab, parts, inside, event)
        if writing:
            yield writing.result()


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


def _geometry(reader: SliceReader, checkpoint: Checkpoint) -> Geometry:
    rows, columns = reader.slice_shape
    depth = min(_SLAB_SLICES, reader.n_slices, _SLAB_BYTES // (4 * rows * columns))
    return Geometry(
        shape=reader.volume.shape,
        axis=reader.axis,
        depth=max(1, depth),
        voxel_size=reader.volume.voxel_size,
        unit=reader.volume.unit,
        phases=checkpoint.phases,
    )


def fingerprint(checkpoint: Checkpoint) -> str:
    """Tell one network from another, by all that its predictions depend on."""
    weights = sha256(json.dumps(checkpoint.config.to_dict()).encode())
    for name, tensor in sorted(checkpoint.state.items()):
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    weights.update(json.dumps(checkpoint.normalisation.to_dict()).encode())
    return weights.hexdigest()


def _identity(
    reader: SliceReader, checkpoint: Checkpoint, wanted: list[int]
) -> dict[str, Any]:
    """Tell one prediction from another: it is continued only if all of this agrees."""
    # Across other axes, too, slices along z are sampled: files are read fastest so.
    places = wanted if reader.axis == "z" else range(reader.volume.shape[0])
    last = len(places) - 1
    samples = sorted({places[i * last // (_N_SAMPLES - 1)] for i in range(_N_SAMPLES)})
    mask = reader.mask
    return {
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


def _read(reader: SliceReader, slab: Slab) -> _Read:
    return (
        reader.read(slab.start, slab.stop),
        reader.inside(slab.start, slab.stop),
    )


def _write(
    result: Result,
    slab: Slab,
    parts: dict[str, NDArray[Any]],
    inside: Mask | None,
    event: SlabPredicted,
) -> SlabPredicted:
    if inside is not None:
        parts = {name: part * inside for name, part in parts.items()}
    result.write(slab, parts)
    return event


class _Predictor:
    """A network on its device, which is the CPU once the GPU's memory is too small."""

    network: TiledNetwork

    def __init__(
        self, checkpoint: Checkpoint, config: PredictConfig, shape: tuple[int, int]
    ) -> None:
        self._checkpoint = checkpoint
        self._config = config
        self._shape = shape
        self._load(resolve_device(config.device))

    def _load(self, device: torch.device) -> None:
        self.device = device
        precision = resolve_precision(self._config.precision, device)
        self.network = TiledNetwork(
            for_prediction(self._checkpoint.build(), device, precision),
            self._shape,
            precision=precision,
            memory=self._config.memory * _MEBI or _free_memory(device),
            tile_size=self._config.tile_size,
        )

    def empty_parts(self, wanted: Sequence[str], n: int) -> dict[str, NDArray[Any]]:
        """Make room for the parts of a slab of `n` slices."""
        shape = (n, *self._shape)
        n_phases = len(self._checkpoint.phases)
        kinds: dict[str, tuple[tuple[int, ...], Any]] = {
            "labels": (shape, np.uint8),
            "confidence": (shape, np.uint8),
            "probabilities": ((n_phases, *shape), np.float16),
        }
        return {name: np.empty(*kinds[name]) for name in wanted}

    def fill(
        self, parts: dict[str, NDArray[Any]], image: GreyImage
    ) -> Iterator[float | Notice]:
        """Predict a slab; yields the share that is done after every tile."""
        n_channels = len(image) - parts["labels"].shape[0] + 1
        slab = torch.from_numpy(self._checkpoint.normalisation(image))
        windows = slab.unfold(0, n_channels, 1).movedim(-1, 1)  # (n, C, H, W)
        targets = [
            (torch.from_numpy(part), partial(_reduce, name))
            for name, part in parts.items()
        ]
        try:
            yield from self.network.fill(targets, windows)
            return
        except MemoryError:
            if self.device.type == "cpu":
                raise
        # After the exception, whose traceback holds on to the tensors.
        yield self._leave_gpu()
        yield from self.network.fill(targets, windows)

    def _leave_gpu(self) -> Notice:
        gpu = self.device
        self._load(torch.device("cpu"))
        release_memory(gpu)
        return Notice(
            kind="out_of_memory",
            text=f"memory ran out on {gpu}; goes on, more slowly, on the CPU",
        )

    def close(self) -> None:
        """Release the device."""
        del self.network
        release_memory(self.device)


def _reduce(name: str, logits: Tensor) -> Tensor:
    """Make one part of a result from logits, shape (B, n_phases, H, W)."""
    if name == "labels":
        return logits.argmax(dim=1).to(torch.uint8) + 1
    probabilities = logits.softmax(dim=1)
    if name == "probabilities":
        return probabilities.half().transpose(0, 1)
    return (probabilities.amax(dim=1) * 255).round().to(torch.uint8)


def _free_memory(device: torch.device) -> int:
    """Take half of what a GPU has free, and little of a CPU's."""
    if device.type == "cpu":
        return _CPU_MEMORY
    free, _ = torch.cuda.mem_get_info(device)
    return math.floor(free / 2)
