"""The command check: from a segmentation to corrected numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_line import SHAPE, Run, call, printed_object
from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.annotation.project import read_checks
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.summary import summarise

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def painted(run: Run, place: Path) -> CheckFolder:
    """Draw patches in a segmentation with a shifted border, and paint them."""
    labels = tifffile.imread(place / "labels.tif")
    wrong = labels.copy()
    wrong[:, ::2, 12:14] = 1
    tifffile.imwrite(place / "wrong.tif", wrong)
    run("check draw wrong.tif --out check --n-patches 40 --size 8 --seed 1")
    folder = CheckFolder(place / "check")
    folder.painting.labels.array[:] = labels
    return folder


def test_patches_are_listed_with_where_to_paint_them(run: Run, place: Path) -> None:
    printed = run("check draw labels.tif --out check --n-patches 3 --size 8")

    assert "3 patches to paint" in printed
    assert "check/painting/labels.zarr" in printed
    content = json.loads((place / "check/check.json").read_text())
    assert len(content["patches"]) == 3
    assert set(content["patches"][0]) == {"z", "y", "x", "height", "width", "done"}
    assert content["shape"] == [*SHAPE]
    assert (content["size"], content["margin"], content["blind"]) == (8, 1, True)


def test_patches_beside_the_image_are_left_out_of_trainings(
    run: Run, place: Path
) -> None:
    run("check draw labels.tif --out scan.lrcs/check --n-patches 3 --size 8")

    (check,) = read_checks(place / "scan.tif", shape=SHAPE)

    assert len(check.patches) == 3


def test_a_report_corrects_the_prediction(run: Run, painted: CheckFolder) -> None:
    found = printed_object(run(f"check report wrong.tif {painted.path} --json"))

    pore = found["quantities"][0]
    assert (pore["kind"], pore["name"]) == ("volume_fraction", "phase 1")
    assert pore["predicted"] == pytest.approx(13 / 24)
    assert pore["low"] <= 0.5 <= pore["high"]
    assert pore["value"] == pytest.approx(pore["predicted"] + pore["correction"])
    accuracy = next(q for q in found["quantities"] if q["kind"] == "accuracy")
    assert accuracy["predicted"] is None
    assert accuracy["low"] <= 23 / 24 <= accuracy["high"]


def test_a_report_is_a_table(run: Run, painted: CheckFolder, place: Path) -> None:
    printed = run(
        f"check report wrong.tif {painted.path} --half-width 0.01 "
        "--csv report.csv --figure report.png"
    )

    assert "wrong.tif by 40 check patches" in printed
    assert "54.2%" in printed
    assert "Patches needed" in printed
    assert (place / "report.csv").read_text().startswith("segmentation,kind,name")
    assert (place / "report.png").stat().st_size > 1000


def test_two_segmentations_are_compared(run: Run, painted: CheckFolder) -> None:
    command = f"check report labels.tif wrong.tif {painted.path}"
    found = printed_object(run(f"{command} --json"))

    assert found["comparisons"][0]["better"] == "labels.tif"
    assert "labels.tif has the higher mean IoU" in run(command)


def test_patches_three_slices_thick_show_all_neighbours(run: Run, place: Path) -> None:
    run(
        "check draw labels.tif --out check --n-patches 8 --size 8 --thickness 3 "
        "--from-prediction --axis y"
    )
    folder = CheckFolder(place / "check")
    for number in range(8):
        folder.mark_done(number)

    found = printed_object(run("check report labels.tif check --json"))

    assert found["blind"] is False
    measured = printed_object(run("measure labels.tif --json"))
    interface = next(
        q for q in found["quantities"] if q["kind"] == "interface_fraction"
    )
    assert interface["predicted"] == measured["interfaces"][0]["fraction"]
    assert np.isclose(interface["value"], interface["predicted"])


def test_the_error_budget_adds_the_finite_volume(
    run: Run, painted: CheckFolder, place: Path
) -> None:
    command = f"check report wrong.tif {painted.path} --budget"

    found = printed_object(run(f"{command} --json"))
    printed = run(f"{command} --figure budget.png")

    first = found["budget"][0]
    assert (first["kind"], first["name"]) == ("volume_fraction", "phase 1")
    assert first["this_volume"] == pytest.approx(first["correction_half_width"])
    assert first["label_scatter"] is None
    assert first["resolution"][0] == pytest.approx(first["predicted"])
    assert "Error budget" in printed
    assert "…" not in printed
    assert max(map(len, printed.partition("±")[0].splitlines())) <= 80
    for quantity in found["budget"]:
        assert quantity["name"] in printed
    assert "placed by stratified random sampling" in printed
    assert (place / "budget.png").stat().st_size > 1000


def test_a_study_of_other_phases_is_refused(
    painted: CheckFolder, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "study").mkdir()
    record = {
        "format_version": 1,
        "state": "complete",
        "task": {},
        "study": {"n_members": 2, "n_repeats": 0},
        "members": [],
        **summarise([], PhaseTable.named("foo", "bar")).to_dict(),
    }
    (place / "study" / "study.json").write_text(json.dumps(record))

    assert call(f"check report wrong.tif {painted.path} --study study") != 0

    assert "study is of foo, bar, the patches are of phase 1" in capsys.readouterr().err
