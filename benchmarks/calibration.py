"""Measure how far the confidence of a network is right, before and after calibration.

Each volume is learnt from one slice, with the preset quick unless flags say otherwise;
another slice validates, and gives the calibration. The expected calibration error (15
bins) is that of the test slices, without the calibration, with the temperature alone
and with the curve of the confidence too.
``python benchmarks/calibration.py --out calibration.csv`` prints the table.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from cases import CASES, DATA, Case, learn, predict

from napari_lrcs.arrays import Labels
from napari_lrcs.commands.parts import flags
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.tables import Row, write_csv
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.calibration import UNCALIBRATED, Reliability, count_reliability
from napari_lrcs.models.checkpoint import Checkpoint

DATA_SETS = ("nmc-electrode", "soc-nickel-ysz", "nmc-real-a", "isbi-membrane")


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
    print("| data | temperature | error before | with it | and curve | accuracy | s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for case in CASES:
        if case.name in DATA_SETS and arguments.only in case.title:
            rows.append(measured(case, data=arguments.data, config=config))
            print(f"| {' | '.join(map(str, rows[-1].values()))} |", flush=True)
            if arguments.out is not None:
                write_csv(arguments.out, rows)


def measured(case: Case, *, data: Path, config: TrainConfig) -> Row:
    """Train on a volume, and measure the calibration on its test slices."""
    image, labels = case.open(data)
    started = time.monotonic()
    checkpoint = learn(case, image, labels, config=config)
    seconds = time.monotonic() - started
    straight = replace(checkpoint, confidence_curve=UNCALIBRATED)
    before, plain = judged(case, image, labels, replace(straight, temperature=1.0))
    between, _ = judged(case, image, labels, straight)
    after, calibrated = judged(case, image, labels, checkpoint)
    assert np.array_equal(plain, calibrated), "calibration has changed a label"
    return {
        "data": case.title,
        "temperature": checkpoint.temperature,
        "before": round(before.expected_calibration_error, 4),
        "temperature alone": round(between.expected_calibration_error, 4),
        "after": round(after.expected_calibration_error, 4),
        "accuracy": round(float(after.n_right.sum() / after.n_voxels.sum()), 4),
        "seconds": round(seconds, 1),
    }


def judged(
    case: Case, image: Volume, labels: Volume, checkpoint: Checkpoint
) -> tuple[Reliability, Labels]:
    """Predict the test slices, and count how often which confidence is right."""
    result = MemoryResult(
        labels=np.zeros(image.shape, np.uint8),
        confidence=np.zeros(image.shape, np.uint8),
    )
    assert result.confidence is not None
    predict(image, checkpoint, result=result, slices=case.test)
    test = list(case.test)
    target = labels.slab(0, image.shape[0])[test]
    predicted, confidence = result.labels[test], result.confidence[test]
    return count_reliability(target, predicted, confidence), predicted


if __name__ == "__main__":
    main()
