from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import Run, printed_object
from napari_lrcs.config import PerturbConfig
from napari_lrcs.uncertainty.perturbation.perturb import perturb_labels

pytestmark = pytest.mark.usefixtures("one_thread")


def test_perturb_writes_members_and_says_what_changed(run: Run) -> None:
    command = "perturb labels.tif --out new --n-members 3 --n-simulations 4 --seed 5"

    made = printed_object(run(f"{command} --z 1:5 --json"))

    assert {path.name for path in Path("new").iterdir()} == {
        *(Path(file).name for file in made["files"]),
        "interface-histogram.tif",
    }
    labels, member = (tifffile.imread(f) for f in ("labels.tif", made["files"][2]))
    labels[[0, 5]] = 0
    np.testing.assert_array_equal(member, perturb_labels(labels, seed=(5, 2)))
    assert made["changed_shares"][2] == (member != labels).sum() / (labels > 0).sum()
    assert made["dimensions"] == 3
    assert made["interfaces"]["n_simulations"] == 4
    assert [phase["name"] for phase in made["phases"]] == ["phase 1", "phase 2"]
    assert "painted slices: 4; the paper" in made["advice"][-1]


def test_perturb_has_a_flag_for_every_setting(run: Run) -> None:
    flags = "--kernel cross --picked-fraction 0.2 --n-iterations 2 --max-distance 4"

    made = printed_object(
        run(
            f"perturb labels.tif --out new --n-members 1 --n-simulations 0 {flags} "
            "--growing 1 --dimensions 2 --json"
        )
    )

    asked = PerturbConfig(
        kernel="cross",
        picked_fraction=0.2,
        n_iterations=2,
        max_distance=4.0,
        growing=(1,),
    )
    assert PerturbConfig.from_dict(made["config"]) == asked
    assert made["dimensions"] == 2
    assert made["interfaces"] is None


def test_perturb_finds_the_strength_for_a_share_and_prints_a_table(run: Run) -> None:
    command = "perturb labels.tif --out new --n-members 2 --n-simulations 2"

    printed = run(f"{command} --wanted-share 0.02")
    again = run(f"{command} --overwrite")

    assert "kernel c" in printed
    assert "! painted slices: 6; the paper" in printed
    assert "phase 2" in printed
    assert "kernel ball_5, 10.0% of the interface voxels in each of 5" in again
    assert "2 members in new" in again
