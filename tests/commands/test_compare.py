from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import Run, printed_object
from napari_lrcs.io.opening import open_labels

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def experimenters(place: Path) -> str:
    """Write a copy of the labels, and one whose border is two voxels farther right."""
    labels = tifffile.imread(place / "labels.tif")
    tifffile.imwrite(place / "copy.tif", labels)
    labels[:, :, 12:14] = 1
    tifffile.imwrite(place / "moved.tif", labels)
    return "labels.tif moved.tif copy.tif"


def test_compare_gives_pairs_and_scores(run: Run, experimenters: str) -> None:
    found = printed_object(
        run(f"compare {experimenters} --target moved.tif --near 0 --json")
    )

    assert found["experimenters"] == experimenters.split()
    assert found["disagreement"][1] == [pytest.approx(1 / 12), 0, pytest.approx(1 / 12)]
    first, same, _ = found["pairs"]
    assert [phase["iou"] for phase in first["phases"]] == [12 / 14, 10 / 12]
    assert first["near_interfaces"] == [{"distance": 0, "share": 1}]
    assert same["near_interfaces"] == [{"distance": 0, "share": None}]
    assert found["target"]["name"] == "moved.tif"
    accuracies = [scored["accuracy"] for scored in found["target"]["experimenters"]]
    assert accuracies == [11 / 12, 1, 11 / 12]


def test_compare_writes_what_they_agree_on(run: Run, experimenters: str) -> None:
    printed = run(
        f"compare {experimenters} --z 2:4 --majority vote.tif --agreement a.zarr "
        "--csv table.csv"
    )

    vote, agreement = open_labels("vote.tif"), open_labels("a.zarr").slab(0, 6)
    expected = tifffile.imread("labels.tif")
    expected[[0, 1, 4, 5]] = 0
    np.testing.assert_array_equal(vote.slab(0, 6), expected)
    assert agreement[2, 0, 11:15].tolist() == [255, 170, 170, 255]
    assert not agreement[[0, 1, 4, 5]].any()
    header, *rows = Path("table.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("first,second,voxels,disagreement,mean iou,iou phase 1")
    assert [row.split(",")[2] for row in rows] == [str(2 * 24 * 24)] * 3
    assert "8.3%" in printed
    assert "1 – 2" in printed
