"""Measure how a training shares its cores with a busy neighbour.

``python benchmarks/threads.py`` takes training steps of the preset quick with one
thread, with all threads waiting for each other as PyTorch has it, and as we have it
(``napari_lrcs/__init__.py``), on idle cores and with one core kept busy by another
process, in turn, and prints a table for ``benchmarks/RESULTS.md``.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cases import ELECTRODE, Phantom

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.config import PRESETS
from napari_lrcs.progress import StepEnded
from napari_lrcs.training.loop import train

OURS = "all threads"
WAYS: Mapping[str, Mapping[str, str]] = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "all threads, PyTorch's waiting": {"GOMP_SPINCOUNT": "300000"},  # libgomp's default
    OURS: {"GOMP_SPINCOUNT": os.environ["GOMP_SPINCOUNT"]},  # set by napari_lrcs
}
GOALS = {"idle": 1.1, "one core busy": 1.3}
WARM_UP = 3
"""Steps that do not count."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--train", action="store_true", help="take the steps, here")
    arguments = parser.parse_args()
    if arguments.train:
        print(seconds(arguments.steps))
        return
    print("| cores | " + " | ".join(WAYS) + " | ours against the better | goal |")
    print("|---|" + "---|" * (len(WAYS) + 2))
    for state, goal in GOALS.items():
        with neighbour(is_busy=state != "idle"):
            taken = [
                {way: in_process(way, arguments.steps) for way in WAYS}
                for _ in range(arguments.turns)
            ]
        ratios = [t[OURS] / min(t[way] for way in WAYS if way != OURS) for t in taken]
        cells = [f"{statistics.median(t[way] for t in taken):.2f} s" for way in WAYS]
        row = [state, *cells, f"{statistics.median(ratios):.2f} ×", f"≤ {goal} ×"]
        print(f"| {' | '.join(row)} |", flush=True)


@contextmanager
def neighbour(*, is_busy: bool) -> Iterator[None]:
    """Keep a core busy, or not."""
    if not is_busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def in_process(way: str, n_steps: int) -> float:
    """Return the seconds of a step where threads are chosen in a way."""
    command = [sys.executable, __file__, "--train", "--steps", str(n_steps)]
    chosen = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {k: v for k, v in os.environ.items() if k not in chosen}
    ended = subprocess.run(
        command, env=environment | WAYS[way], stdout=subprocess.PIPE, check=True
    )
    return float(ended.stdout)


def seconds(n_steps: int) -> float:
    """Take training steps, and return the seconds that one takes."""
    case = Phantom(
        "phantom", ELECTRODE, shape=(8, 256, 256), train=(2,), validation=(5,)
    )
    image, labels = case.open(Path())
    quick = PRESETS["quick"].with_changes(n_epochs=1, context_slices=0)
    n_patches = (WARM_UP + n_steps) * quick.optimisation.batch_size
    config = quick.with_changes(patches_per_epoch=n_patches)
    volume = AnnotatedVolume(
        image=image,
        labels=labels,
        roles={"train": case.train, "validation": case.validation},
    )
    annotation = read_annotation([volume], config=config, phases=case.table)
    with tempfile.TemporaryDirectory() as folder:
        training = train(annotation, config=config, run=Path(folder) / "run")
        ended = [
            (event.step, time.perf_counter())
            for event in training
            if isinstance(event, StepEnded) and event.step >= WARM_UP
        ]
    (first, started), (last, stopped) = ended[0], ended[-1]
    return (stopped - started) / (last - first)


if __name__ == "__main__":
    main()
