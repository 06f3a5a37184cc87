"""What the commands say of phases that a network has not learnt."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from command_line import Run, call, printed_object
from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.run.folder import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_phase_that_is_not_learnt_is_told_with_the_flag_that_helps(
    place: Path,
    rare_crack: tuple[NDArray[np.float32], NDArray[np.uint8], PhaseTable],
    crack_config: TrainConfig,
    capsys: pytest.CaptureFixture[str],
) -> None:
    grey, labels, _ = rare_crack
    tifffile.imwrite("grey.tif", grey)
    tifffile.imwrite("painted.tif", labels)
    given = crack_config.to_dict().items()
    flags = " ".join(
        f"--{'' if value is not False else 'no-'}{name.replace('_', '-')}"
        + ("" if isinstance(value, bool) else f" {value}")
        for name, value in given
        if value != () and name != "balance"
    )
    command = (
        f"train grey.tif painted.tif --train-z 0 --validation-z 1 --json {flags} "
        "--phases pore solid crack"
    )

    assert call(f"{command} --out plain --balance 0") == 0
    plain = capsys.readouterr()
    assert call(f"{command} --out balanced --balance 0.5") == 0
    balanced = capsys.readouterr()

    found = printed_object(plain.out)
    (poor,) = found["not_learnt"]
    assert (poor["label"], poor["name"]) == (3, "crack")
    assert poor["iou"] < 0.1
    assert found["validation"]["not_learnt"] == found["not_learnt"]
    last = plain.err.splitlines()[-1]
    assert last.startswith("! crack is ")
    assert last.endswith(
        "; balance the patches between the phases (--balance 0.5), give it a higher "
        "phase weight, paint more of it, or train longer"
    )
    better = printed_object(balanced.out)["validation"]["phases"][2]["iou"]
    assert better > poor["iou"]
    assert RunFolder(place / "balanced").read_config().optimisation.balance == 0.5


def test_a_phase_that_an_experimenter_has_missed_is_told(run: Run) -> None:
    target = np.array([[[1] * 5 + [2] * 3] * 6], np.uint8)
    for name, painted in (("anna", target), ("ben", target * 0 + 1)):
        tifffile.imwrite(f"{name}.tif", painted)
    tifffile.imwrite("truth.tif", target)

    printed = run("compare anna.tif ben.tif --target truth.tif")
    found = printed_object(run("compare anna.tif ben.tif --target truth.tif --json"))

    assert printed.splitlines()[-1] == (
        "! ben.tif: phase 2 is never predicted where it is painted"
    )
    poor = [row["not_learnt"] for row in found["target"]["experimenters"]]
    assert poor == [[], [{"label": 2, "name": "phase 2", "iou": 0.0}]]
