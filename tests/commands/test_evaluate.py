from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import Run, call, printed_object
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.phases import PhaseTable

pytestmark = pytest.mark.usefixtures("one_thread")


def test_scores_that_are_undefined_are_null(run: Run) -> None:
    target = np.array([[[1, 2], [1, 2]]], np.uint8)
    write_labels_tiff(
        Path("target.tif"), [target], shape=(1, 2, 2), phases=PhaseTable.numbered(3)
    )
    tifffile.imwrite("predicted.tif", np.array([[[1, 2], [1, 1]]], np.uint8))

    scores = printed_object(run("evaluate predicted.tif target.tif --json"))

    assert [phase["iou"] for phase in scores["phases"]] == [2 / 3, 1 / 2, None]
    assert scores["mean_iou"] == pytest.approx(7 / 12, abs=1e-15)
    assert scores["accuracy"] == 3 / 4
    assert scores["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_evaluate_names_the_phases_that_are_never_predicted(run: Run) -> None:
    tifffile.imwrite("target.tif", np.array([[[1, 2], [3, 2]]], np.uint8))
    tifffile.imwrite("predicted.tif", np.array([[[1, 1], [3, 3]]], np.uint8))

    scores = printed_object(run("evaluate predicted.tif target.tif --json"))

    assert scores["never_predicted"] == ["phase 2"]


def test_evaluate_prints_a_table(run: Run) -> None:
    printed = run("evaluate labels.tif labels.tif")

    assert "100.0%" in printed
    assert "phase 2" in printed


def test_evaluate_counts_the_slices_that_are_named(run: Run) -> None:
    scores = printed_object(run("evaluate labels.tif labels.tif --z 1,3:5 --json"))

    assert np.sum(scores["confusion"]) == 3 * 24 * 24


@pytest.mark.usefixtures("place")
def test_evaluate_warns_of_phases_with_other_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, phases in (("target", ("pore", "NMC")), ("predicted", ("pores", "AM"))):
        write_labels_tiff(
            Path(f"{name}.tif"),
            [np.array([[[1, 2]]], np.uint8)],
            shape=(1, 1, 2),
            phases=PhaseTable.named(*phases),
        )

    assert call("evaluate predicted.tif target.tif --json") == 0

    assert "predicted.tif has 2 phases (pores, AM)" in capsys.readouterr().err


# ---- confidence ----


@pytest.fixture
def confident(place: Path) -> None:
    """Write a prediction of four voxels, one of them wrong, and its confidence."""
    files = {
        "target.tif": [[1, 1], [2, 2]],
        "predicted.tif": [[1, 2], [2, 2]],
        "confidence.tif": [[204, 204], [255, 255]],
    }
    for name, values in files.items():
        tifffile.imwrite(place / name, np.array([values], np.uint8))


EVALUATE = "evaluate predicted.tif target.tif --confidence confidence.tif"


@pytest.mark.usefixtures("confident")
def test_evaluate_tells_how_often_a_confidence_is_right(run: Run) -> None:
    scores = printed_object(run(f"{EVALUATE} --json"))

    # Two voxels claim .8, one of them is right; two claim 1 and are.
    assert scores["calibration"]["ece"] == pytest.approx(0.3 / 2)
    bins = {round(b["high"] * 15): b for b in scores["calibration"]["bins"]}
    assert {m: b["n"] for m, b in bins.items() if b["n"]} == {12: 2, 15: 2}
    assert (bins[12]["confidence"], bins[12]["accuracy"]) == (0.8, 0.5)
    assert bins[1] == {
        "low": 0,
        "high": 1 / 15,
        "n": 0,
        "confidence": None,
        "accuracy": None,
    }
    assert "calibration" not in printed_object(
        run("evaluate predicted.tif target.tif --json")
    )


@pytest.mark.usefixtures("confident")
def test_evaluate_prints_the_bins_that_hold_voxels(run: Run) -> None:
    printed = run(EVALUATE)

    assert "73.3% to 80.0%" in printed
    assert "expected calibration error 15.00%" in printed
    assert "0.0% to 6.7%" not in printed
