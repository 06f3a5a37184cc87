"""Measure how far the confidence of a network is right, before and after calibration.

Each volume is learnt from one slice, with the preset quick unless flags say otherwise;
another slice validates, and gives the temperature. The expected calibration error (15
bins) is that of the test slices, with a temperature of 1 and with the fitted one.
``python benchmarks/calibration.py --out calibration.csv`` prints the table.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from baselines import DATA, ELECTRODE, FUEL_CELL, Case

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.arrays import Labels
from napari_lrcs.commands.parts import flags
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results import MemoryResult
from napari_lrcs.io.tables import Row, write_csv
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.calibration import Reliability, count_reliability
from napari_lrcs.models.checkpoint import Checkpoint, load_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.loop import train


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A volume, and its slices for training, validation and test."""

    case: Case
    train: int
    validation: int
    test: Sequence[int]
    context_slices: int | None = None
    """As the preset chooses, unless the slices have no neighbours."""


TASKS = (
    Task(
        case=Case("nmc-electrode", ELECTRODE),
        train=10,
        validation=30,
        test=range(50, 100),
    ),
    Task(
        case=Case("nmc-real-a", ELECTRODE),
        train=0,
        validation=1,
        test=(2, 3, 4),
        context_slices=0,
    ),
    Task(
        case=Case("soc-nickel-ysz", FUEL_CELL, 4000),
        train=10,
        validation=30,
        test=range(50, 96),
    ),
    Task(
        case=Case("isbi-membrane", ("membrane", "cell")),
        train=0,
        validation=4,
        test=(8, 9, 10, 11),
        context_slices=0,
    ),
)


def main() -> None:
    """Print the table, and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="CSV file")
    parser.add_argument(
        "--only", metavar="TEXT", default="", help="data whose title holds this text"
    )
    flags.add_config(parser, TrainConfig)
    arguments = parser.parse_args()
    config = PRESETS["quick"].with_changes(**flags.given(arguments, TrainConfig))
    print("| data | temperature | error before | error after | accuracy | seconds |")
    print("|---|---|---|---|---|---|", flush=True)
    rows = []
    for task in TASKS:
        if arguments.only in task.case.title:
            rows.append(measured(task, data=arguments.data, config=config))
            print(f"| {' | '.join(map(str, rows[-1].values()))} |", flush=True)
            if arguments.out is not None:
                write_csv(arguments.out, rows)


def measured(task: Task, *, data: Path, config: TrainConfig) -> Row:
    """Train on a volume, and measure the calibration on its test slices."""
    image, labels = task.case.open(data)
    started = time.monotonic()
    checkpoint = trained(task, image, labels, config=config)
    seconds = time.monotonic() - started
    before, plain = judged(task, image, labels, replace(checkpoint, temperature=1.0))
    after, calibrated = judged(task, image, labels, checkpoint)
    assert np.array_equal(plain, calibrated), "calibration has changed a label"
    return {
        "data": task.case.title,
        "temperature": checkpoint.temperature,
        "before": round(before.expected_calibration_error, 4),
        "after": round(after.expected_calibration_error, 4),
        "accuracy": round(float(after.n_right.sum() / after.n_voxels.sum()), 4),
        "seconds": round(seconds, 1),
    }


def trained(
    task: Task, image: Volume, labels: Volume, *, config: TrainConfig
) -> Checkpoint:
    """Train on one slice."""
    if task.context_slices is not None:
        config = config.with_changes(context_slices=task.context_slices)
    volume = AnnotatedVolume(
        image=image,
        labels=labels,
        roles={"train": (task.train,), "validation": (task.validation,)},
    )
    phases = PhaseTable.named(*task.case.phases)
    annotation = read_annotation([volume], config=config, phases=phases)
    with tempfile.TemporaryDirectory() as folder:
        for _ in train(annotation, config=config, run=Path(folder) / "run"):
            pass
        return load_checkpoint(Path(folder) / "run")


def judged(
    task: Task, image: Volume, labels: Volume, checkpoint: Checkpoint
) -> tuple[Reliability, Labels]:
    """Predict the test slices, and count how often which confidence is right."""
    result = MemoryResult(
        labels=np.zeros(image.shape, np.uint8),
        confidence=np.zeros(image.shape, np.uint8),
    )
    assert result.confidence is not None
    for _ in predict_volume(image, checkpoint, result=result, slices=task.test):
        pass
    test = list(task.test)
    target = labels.slab(0, image.shape[0])[test]
    predicted, confidence = result.labels[test], result.confidence[test]
    return count_reliability(target, predicted, confidence), predicted


if __name__ == "__main__":
    main()
