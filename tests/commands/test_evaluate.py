from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import Run, printed_object
from napari_lrcs.io.tiff import write_labels_tiff
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
