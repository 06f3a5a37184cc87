"""Measure what a local cluster costs and gains: predictions by 0, 1 and 2 workers.

``python benchmarks/cluster.py`` prints a table for ``benchmarks/RESULTS.md``: the same
volume, Zarr to Zarr, in this process with one thread, by one worker of one thread, and
by two, one after the other in each turn. Nothing else should run. ``--shape 1000 1000
1000 --turns 1 --only 2 --timeline`` predicts a billion voxels, and prints when how many
slices were done.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

# Before PyTorch is loaded: workers have one thread each, too.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import zarr

from napari_lrcs.config import PRESETS
from napari_lrcs.distributed import LOCAL, ClusterExecutor, connect
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.spread import predict_volume_spread
from napari_lrcs.inference.task import PredictTask
from napari_lrcs.io.elsewhere import Elsewhere
from napari_lrcs.io.opening import open_labels, open_to_share
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.registry import create_model
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.preprocessing.normalisation import Normalisation
from napari_lrcs.progress import (
    PredictEvent,
    PredictionEnded,
    Publishing,
    SlabPredicted,
)

WARM_UP = (32, 256, 256)
"""Each worker loads PyTorch and computes once before anything is measured."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(256, 768, 768))
    parser.add_argument("--n-filters", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--timeline", action="store_true")
    arguments = parser.parse_args()
    checkpoint = network(arguments.n_filters)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        task = prepare(folder / "volume.zarr", arguments.shape, checkpoint)
        warm_up = prepare(folder / "small.zarr", WARM_UP, checkpoint)
        executors: dict[int, ClusterExecutor | None] = {}
        for n in arguments.only:
            started = time.perf_counter()
            executors[n] = (
                stack.enter_context(connect(LOCAL, n_workers=n)) if n else None
            )
            list(predict(warm_up, folder / f"small-{n}.zarr", executors[n]))
            print(f"{n} workers ready after {time.perf_counter() - started:.1f} s")
        seconds: dict[int, list[float]] = {n: [] for n in executors}
        for _ in range(arguments.turns):
            for n, executor in executors.items():
                events = predict(task, folder / f"out-{n}.zarr", executor)
                seconds[n].append(run(events, timeline=arguments.timeline))
        report(arguments.shape, seconds)
        compare([folder / f"out-{n}.zarr" for n in executors])


def network(n_filters: int) -> Checkpoint:
    """Make a network of random weights."""
    config = PRESETS["quick"].with_changes(n_filters=n_filters, context_slices=0)
    return Checkpoint(
        config=config,
        phases=ELECTRODE,
        normalisation=Normalisation(low=0, high=255, mean=128, sd=50),
        state=create_model(config.network, n_phases=len(ELECTRODE)).state_dict(),
    )


def prepare(path: Path, shape: Sequence[int], checkpoint: Checkpoint) -> PredictTask:
    """Write a volume of noise."""
    rng = np.random.default_rng(0)
    array = zarr.create_array(
        path, shape=tuple(shape), chunks=(16, 256, 256), dtype="u1"
    )
    for start in range(0, shape[0], 16):
        size = (min(16, shape[0] - start), *shape[1:])
        array[start : start + 16] = rng.integers(0, 255, size, np.uint8)
    return PredictTask(volume=open_to_share(path), checkpoint=checkpoint)


def predict(
    task: PredictTask, out: Path, executor: ClusterExecutor | None
) -> Iterator[PredictEvent]:
    """Predict in this process, or by workers."""
    result = DiskResult(labels=out)
    if executor is None:
        return predict_volume(task.volume, task.checkpoint, result=result)
    others = Elsewhere(executor=executor, n_workers=executor.n_workers)
    return predict_volume_spread(task, result=result, others=others)


def run(events: Iterator[PredictEvent], *, timeline: bool) -> float:
    """Return the seconds of a prediction; print when which part was done."""
    started, told = time.perf_counter(), -1
    for event in events:
        if isinstance(event, PredictionEnded):
            return event.seconds
        text, tenth = "", told
        if isinstance(event, SlabPredicted):
            tenth = 10 * event.n_done // event.n_slices
            text = f"{event.n_done} of {event.n_slices} slices"
        elif isinstance(event, Publishing):
            tenth, text = 11, "writing the coarser levels"
        if timeline and tenth > told:
            told = tenth
            print(f"| {time.perf_counter() - started:.0f} s | {text} |", flush=True)
    raise AssertionError("a prediction ends with PredictionEnded")


def report(shape: Sequence[int], seconds: dict[int, list[float]]) -> None:
    """Print the medians, and how they compare."""
    n_voxels = np.prod(shape)
    print("\n| workers | seconds, median (each) | million voxels/s |\n|---|---|---|")
    medians = {n: statistics.median(each) for n, each in seconds.items()}
    for n, median in medians.items():
        each = ", ".join(f"{s:.1f}" for s in seconds[n])
        name = n or "none, in this process"
        print(f"| {name} | {median:.1f} ({each}) | {n_voxels / median / 1e6:.2f} |")
    if {0, 1} <= medians.keys():
        overhead = medians[1] / medians[0] - 1
        print(f"\noverhead of one worker: {overhead:.1%} (goal: under 5%)")
    if {1, 2} <= medians.keys():
        gain = medians[1] / medians[2]
        print(f"two workers against one: {gain:.2f} × (goal: at least 1.7)")


def compare(paths: Sequence[Path]) -> None:
    """Check that all results are the same, bit for bit."""
    first, *others = [open_labels(path) for path in paths]
    for start in range(0, first.shape[0], 16):
        stop = min(start + 16, first.shape[0])
        for other in others:
            if not np.array_equal(first.slab(start, stop), other.slab(start, stop)):
                raise SystemExit(f"slices {start} to {stop} differ")
    print("all labels are the same")


if __name__ == "__main__":
    main()
