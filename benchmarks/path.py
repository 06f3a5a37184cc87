"""Measure the path of a voxel, from a Zarr on disk through the network to another one.

``python benchmarks/path.py`` predicts a volume whole and prints, for each stage, its
seconds, its share of the whole and the thread it is in, and what the whole is of the
speed of the network alone, which is timed right before and after on the same slabs.
Nothing else should run.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from napari_lrcs.config import PRESETS
from napari_lrcs.inference.geometry import Geometry
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.predictor import Predictor
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.outputs import LABELS
from napari_lrcs.inference.task import PredictTask
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.registry import create_model
from napari_lrcs.models.tiles import TiledNetwork
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.preprocessing import slices
from napari_lrcs.preprocessing.normalisation import Normalisation
from napari_lrcs.progress import PredictionEnded, SlabPredicted

CHUNKS = (16, 512, 512)
N_SLABS = 2
"""Slabs on which the network alone is timed, before and after."""


class Stages:
    """Adds up what each stage takes, in whichever thread it runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.threads: dict[str, str] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Count some time for a stage."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.threads[stage] = threading.current_thread().name.split("_")[0]

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose time is counted."""

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.add(stage, time.perf_counter() - started)

        return wrapped

    def timed_parts(
        self, stage: str, function: Callable[..., Iterator[Any]]
    ) -> Callable[..., Iterator[Any]]:
        """Return the generator function, whose time between values is counted."""

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Iterator[Any]:
            values = function(*args, **kwargs)
            step = self.timed(stage, lambda: next(values, values))
            while (value := step()) is not values:
                yield value

        return wrapped

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count the stages of predictions in this block."""
        functions = [
            ("reading", Volume, "slab"),
            ("normalising", Normalisation, "__call__"),
            ("converting and filtering", slices, "apply_filters"),
            ("network", SegmentationNetwork, "logits"),
            ("compressing and writing", Geometry, "put"),
        ]
        reduce = LABELS.reduce
        with ExitStack() as stack:
            for stage, owner, name in functions:
                timed = self.timed(stage, getattr(owner, name))
                stack.enter_context(patch.object(owner, name, timed))
            parts = self.timed_parts("tiles", TiledNetwork.fill)
            stack.enter_context(patch.object(TiledNetwork, "fill", parts))
            try:
                # A frozen record: it has no other way in.
                object.__setattr__(LABELS, "reduce", self.timed("reduction", reduce))
                yield
            finally:
                object.__setattr__(LABELS, "reduce", reduce)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(96, 1024, 1024))
    parser.add_argument("--preset", choices=PRESETS, default="quick")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        volume = prepare(Path(name) / "volume.zarr", tuple(arguments.shape))
        checkpoint = network(arguments.preset)
        task = PredictTask(volume=volume, checkpoint=checkpoint)
        predictor = Predictor(checkpoint, task.config, task.reader.slice_shape)
        precision = predictor.network.precision
        n_tiles = len(predictor.network.tiles)
        print(f"{arguments.preset}, {precision}, {n_tiles} tiles a slice", flush=True)
        alone(task, predictor)  # the first time, memory is asked for
        before = alone(task, predictor)
        stages, ended = Stages(), 0.0
        with stages.watched():
            for event in predict_volume(
                volume, checkpoint, result=DiskResult(labels=Path(name) / "out.zarr")
            ):
                now = time.perf_counter()
                if isinstance(event, SlabPredicted):
                    ended = now
                elif isinstance(event, PredictionEnded):
                    stages.add("coarser levels, at the end", now - ended)
                    whole = event.seconds
        after = alone(task, predictor)
    report(stages, whole, n_voxels=int(np.prod(arguments.shape)))
    expected = (before + after) / 2 * len(task.wanted)
    print(f"\nnetwork alone: {expected:.1f} s ({before:.3f} and {after:.3f} s a slice)")
    print(f"the whole has {expected / whole:.1%} of its speed (goal: at least 90%)")


def alone(task: PredictTask, predictor: Predictor) -> float:
    """Return the seconds that the network takes a slice, its input in memory."""
    slabs = list(task.geometry.slabs(task.wanted))[:N_SLABS]
    seconds = 0.0
    for slab in slabs:
        image, _ = task.read(slab)
        windows = torch.from_numpy(image).unfold(0, len(image) - len(slab) + 1, 1)
        started = time.perf_counter()
        for _ in predictor.network.fill([], windows.movedim(-1, 1)):
            pass
        seconds += time.perf_counter() - started
    return seconds / sum(map(len, slabs))


def report(stages: Stages, whole: float, *, n_voxels: int) -> None:
    """Print what each stage takes."""
    found = stages.seconds
    found["copying tiles"] = found.pop("tiles") - found["network"] - found["reduction"]
    stages.threads["copying tiles"] = stages.threads["network"]
    print("\n| stage | thread | seconds | share of the whole |\n|---|---|---|---|")
    for stage, seconds in sorted(found.items(), key=lambda item: -item[1]):
        thread = stages.threads[stage]
        print(f"| {stage} | {thread} | {seconds:.2f} | {seconds / whole:.1%} |")
    speed = n_voxels / whole / 1e6
    print(f"| the whole | | {whole:.2f} | {speed:.2f} million voxels a second |")


def network(preset: str) -> Checkpoint:
    """Make a network of random weights."""
    config = PRESETS[preset]
    return Checkpoint(
        config=config,
        phases=ELECTRODE,
        normalisation=Normalisation(low=0, high=255, mean=128, sd=50),
        state=create_model(config.network, n_phases=len(ELECTRODE)).state_dict(),
    )


def prepare(path: Path, shape: tuple[int, int, int]) -> Volume:
    """Write a volume of noise on three grey levels, which compresses like a scan."""
    array = create_ome_zarr(
        path, shape=shape, chunks=CHUNKS, voxel_size=(1.0,) * 3, unit="um", name="scan"
    )
    rng = np.random.default_rng(0)
    for start in range(0, shape[0], CHUNKS[0]):
        size = (min(CHUNKS[0], shape[0] - start), *shape[1:])
        grey = rng.integers(1, 4, size) * 60 + rng.integers(-20, 21, size)
        array[start : start + CHUNKS[0]] = grey.astype(np.uint8)
    return open_volume(path)


if __name__ == "__main__":
    main()
