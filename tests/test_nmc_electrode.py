"""The main case, from one command to the next, with the preset of the dock."""

import json
from pathlib import Path

import pytest

from napari_lrcs.__main__ import main

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here"),
]


@pytest.mark.timeout(1800)  # on a machine that may be busy
def test_part_of_the_quick_preset_segments_the_electrode_from_one_slice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, labels = (str(DATA / f"nmc-electrode-{n}.tif") for n in ("raw", "labels"))
    run, result = str(tmp_path / "run"), str(tmp_path / "segmentation.tif")
    # Four of the ten epochs, on patches of a quarter of the area: minutes less, and the
    # same bounds hold.
    flags = ["--train-z", "10", "--validation-z", "30", "--n-epochs", "4"]
    flags += ["--patch-size", "64"]

    assert main(["train", image, labels, *flags, "--out", run]) == 0
    assert main(["predict", image, run, "--out", result, "--z", "50:100"]) == 0
    capsys.readouterr()
    assert main(["evaluate", result, labels, "--z", "50:100", "--json"]) == 0

    scores = json.loads(capsys.readouterr().out)
    assert scores["mean_iou"] >= 0.73
    assert scores["phases"][1]["iou"] >= 0.40
