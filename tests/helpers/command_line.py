"""Run the command line in the process of the tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_lrcs.__main__ import main

SHAPE = (6, 24, 24)

TINY = (
    "--n-filters 2 --n-epochs 1 --patches-per-epoch 4 --patch-size 16 --batch-size 2 "
    "--context-slices 1 --device cpu --precision float32"
)

SLICES = "--train-z 1 --validation-z 4"

SCORES = {
    *("accuracy", "mean_iou", "phases", "confusion"),
    *("never_predicted", "not_learnt"),
}

Run = Callable[[str], str]


PROGRAM = """
import signal
import sys

import torch

from napari_lrcs.__main__ import main

# A shell that started us in the background made all of its children ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)
sys.exit(main())
"""


def write_sample(folder: Path) -> None:
    """Write a volume of two grey levels, dark left and bright right, with labels."""
    labels = np.ones(SHAPE, np.uint8)
    labels[:, :, 12:] = 2
    noise = np.random.default_rng(0).normal(0, 20, SHAPE)
    tifffile.imwrite(folder / "labels.tif", labels)
    tifffile.imwrite(folder / "image.tif", (500.0 * labels + noise).astype(np.uint16))


def call(arguments: str) -> int:
    """Run the command line as a shell would, without what a shell needs."""
    try:
        return main(arguments.split())
    except SystemExit as end:
        return int(end.code or 0)


def printed_object(printed: str) -> Any:
    """Read standard output that must be one JSON object on one line."""
    assert printed.count("\n") == 1
    assert "NaN" not in printed
    return json.loads(printed)
