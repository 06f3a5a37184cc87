"""Real micrographs, from one command to the next, against thresholds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.filters import threshold_multiotsu

from napari_lrcs.__main__ import main
from napari_lrcs.arrays import Confusion
from napari_lrcs.metrics.overlap import (
    accuracy,
    confusion_matrix,
    iou_per_phase,
    mean_iou,
)

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
]

# Slices have no neighbours here; a fifth of the preset's steps, on patches of a quarter
# of its area, is a test's worth.
FLAGS = "--context-slices 0 --n-epochs 2 --patch-size 64"

Scores = Callable[..., dict[str, Any]]


def read(name: str) -> NDArray[Any]:
    array: NDArray[Any] = tifffile.imread(DATA / f"{name}.tif")
    return array


def otsu(image: NDArray[Any], target: NDArray[np.uint8], n_phases: int) -> Confusion:
    """Score Otsu's thresholds, their classes given to the phases in order of grey."""
    # As float: of integers, each grey level would be a bin.
    values = image.astype(np.float64)
    thresholds = threshold_multiotsu(values, n_phases)  # type: ignore[no-untyped-call]
    phases = range(1, n_phases + 1)
    by_grey = sorted(phases, key=lambda phase: float(image[target == phase].mean()))
    predicted = np.array(by_grey, np.uint8)[np.digitize(image, thresholds)]
    return confusion_matrix(target, predicted, n_phases=n_phases)


@pytest.fixture
def scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Scores:
    """Train on one image and its labels, and score the prediction of another one."""

    def run(
        trained: tuple[str, str], tested: tuple[str, str], *, slices: str, z: str = ""
    ) -> dict[str, Any]:
        files = [str(DATA / f"{name}.tif") for name in (*trained, *tested)]
        image, labels, other, target = files
        model, seg = str(tmp_path / "run"), str(tmp_path / "seg.tif")
        flags = [*FLAGS.split(), *slices.split()]
        assert main(["train", image, labels, *flags, "--out", model]) == 0
        assert main(["predict", other, model, *z.split(), "--out", seg]) == 0
        capsys.readouterr()
        assert main(["evaluate", seg, target, *z.split(), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def test_scribbles_on_one_percent_beat_thresholds_on_all(scores: Scores) -> None:
    image, dense = "scribbles-raw", "scribbles-dense-labels"

    found = scores(
        (image, "scribbles-sparse-labels"), (image, dense), slices="--train-z 0"
    )

    confusion = otsu(read(image), read(dense), 3)
    assert found["accuracy"] > accuracy(confusion) + 0.1
    assert found["mean_iou"] > mean_iou(confusion) + 0.1


def test_one_slice_with_rings_serves_for_another(scores: Scores) -> None:
    trained, tested = (
        (f"rings-{role}-raw", f"rings-{role}-labels") for role in ("train", "test")
    )

    found = scores(trained, tested, slices="--train-z 0")

    confusion = otsu(read(tested[0]), read(tested[1]), 4)
    assert found["mean_iou"] > mean_iou(confusion) + 0.3
    assert found["accuracy"] > 0.95  # the largest phase alone is .876


def test_membranes_are_told_by_their_texture(scores: Scores) -> None:
    image, labels = "isbi-membrane-raw", "isbi-membrane-labels"

    found = scores(
        (image, labels),
        (image, labels),
        slices="--train-z 0:3 --validation-z 5 --n-epochs 4",
        z="--z 7:12",
    )

    confusion = otsu(read(image)[7:], read(labels)[7:], 2)
    assert found["phases"][0]["iou"] > iou_per_phase(confusion)[0] + 0.1
