import csv
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.locks import only_writer
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.runs.table import (
    RunRecord,
    differing_settings,
    list_runs_below,
    search_runs,
    sort_runs,
    write_runs,
)
from napari_lrcs.training.run.folder import RunFolder
from run_folders import leave_run

pytestmark = pytest.mark.usefixtures("one_thread")

MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint: Callable[..., Checkpoint]) -> Checkpoint:
    phases = PhaseTable.named("pore", "solid")
    return replace(make_checkpoint(n_phases=2), phases=phases)


@pytest.fixture
def make_run(
    tmp_path: Path,
    checkpoint: Checkpoint,
    striped_annotation: Callable[..., Annotation],
) -> MakeRun:
    """Build runs of one epoch, which may differ in settings and in their volume."""

    def build(
        name: str,
        *,
        iou: float | None = 0.5,
        volume: str = "scan.tif",
        **settings: object,
    ) -> Path:
        annotation = striped_annotation(("train", "train", "validation"))
        slices = tuple(replace(s, volume=volume) for s in annotation.slices)
        leave_run(
            RunFolder(tmp_path / name),
            replace(annotation, slices=slices),
            replace(checkpoint, config=checkpoint.config.with_changes(**settings)),
            ious=(iou,),
        )
        return tmp_path / name

    return build


def _names(records: Sequence[RunRecord]) -> list[str]:
    return [record.name for record in records]


def test_runs_are_found_wherever_they_lie_and_the_best_comes_first(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("run-1", iou=0.5)
    make_run("run-2", iou=None)
    make_run("study-1/members/perturbed-000/run", iou=0.75)
    make_run("search-1/trials/trial-003/repeat-0", iou=0.6)
    make_run("others/scan.lrcs/run-1", iou=0.25)
    make_run("labels.zarr/run-9")
    for kind in ("study", "search"):
        (tmp_path / f"{kind}-1" / f"{kind}.json").touch()
    another_programs = tmp_path / "others" / "config.json"
    another_programs.write_text("{}")

    records = list_runs_below(tmp_path)

    assert {record.name: record.is_part for record in records} == {
        "study-1/perturbed-000": True,
        "search-1/trial-003/repeat-0": True,
        "run-1": False,
        "others/scan.lrcs/run-1": False,
        "run-2": False,
    }
    assert [r.summary.best_mean_iou for r in records] == [0.75, 0.6, 0.5, 0.25, None]


def test_a_run_of_a_study_belongs_to_it_however_it_is_listed(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run("study-1/members/perturbed-000/run")
    (tmp_path / "study-1" / "study.json").touch()

    for folder, name in ((tmp_path / "study-1", "perturbed-000"), (run, "run")):
        (record,) = list_runs_below(folder)
        assert (record.name, record.is_part) == (name, True)


def test_nothing_is_found_where_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert list_runs_below(tmp_path) == []
    assert list_runs_below(tmp_path / "nowhere") == []
    assert list_runs_below(tmp_path / "file") == []


def test_states_are_told_and_a_broken_run_with_its_error(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("finished", n_epochs=1)
    make_run("stopped", n_epochs=2)
    running = make_run("running", n_epochs=2)
    (make_run("broken") / "history.csv").write_bytes(b"\xff")
    (make_run("no labels") / "labels.tif").write_bytes(b"no TIFF")

    with only_writer(running):
        records = {record.name: record for record in list_runs_below(tmp_path)}

    states = {name: record.state for name, record in records.items()}
    assert states == {
        "finished": "finished",
        "stopped": "stopped",
        "running": "running",
        "broken": "damaged",
        "no labels": "stopped",
    }
    assert "history.csv" in records["broken"].summary.damaged
    assert records["broken"].settings == {}
    assert records["no labels"].data == ""
    assert records["stopped"].data == "scan.tif"
    assert not any(tmp_path.glob(".*"))  # looking leaves no lock


def test_runs_are_sorted_by_any_column_and_those_without_a_value_come_last(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("a", iou=0.5, batch_size=16)
    make_run("b", iou=None, batch_size=2)
    broken = make_run("c")
    (broken / "config.json").write_text("{")
    records = list_runs_below(tmp_path)

    def order(column: str, *, descending: bool) -> str:
        return "".join(_names(sort_runs(records, column, descending=descending)))

    assert order("mean_iou", descending=True) == order("mean_iou", descending=False)
    assert order("batch_size", descending=False) == "bac"  # numbers, not texts
    assert order("batch_size", descending=True) == "abc"
    assert order("run", descending=True) == "cba"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {"small", "large"}),
        ("SCAN", {"small"}),
        ("batch_size=2", {"small"}),  # not 20
        ("pore large", {"large"}),
        ("other.h5 small", set()),
        ("60.0%", {"large"}),
    ],
)
def test_runs_that_have_all_words_are_found(
    text: str, found: set[str], make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("small", batch_size=2)
    make_run("large", batch_size=20, iou=0.6, volume="other.h5")

    assert set(_names(search_runs(list_runs_below(tmp_path), text))) == found


def test_settings_that_differ_are_told_and_damaged_runs_do_not_count(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("a", learning_rate=1e-3, phase_weights=(1.0, 2.0))
    make_run("b", learning_rate=1e-2)
    (make_run("c") / "config.json").write_text("[]")
    records = list_runs_below(tmp_path)

    assert differing_settings(records) == ["phase_weights", "learning_rate"]
    assert differing_settings(records[:1]) == []
    a = next(record for record in records if record.name == "a")
    assert (a.text("learning_rate"), a.text("phase_weights")) == ("0.001", "1, 2")


def test_table_has_a_row_for_each_run_with_all_settings(
    make_run: MakeRun, tmp_path: Path, tiny_config: TrainConfig
) -> None:
    make_run("run-1", learning_rate=3e-5)
    (make_run("run-2") / "best.safetensors").write_bytes(b"broken")

    write_runs(tmp_path / "runs.csv", list_runs_below(tmp_path))

    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        good, broken = csv.DictReader(file)
    assert (good["run"], good["mean_iou"], good["state"]) == ("run-1", "0.5", "stopped")
    assert (good["data"], good["train_slices"]) == ("scan.tif", "0,1")
    assert good["validation_slices"] == "2"
    assert float(good["learning_rate"]) == 3e-5
    assert set(tiny_config.to_dict()) <= set(good)
    assert (broken["state"], broken["learning_rate"]) == ("damaged", "")
    assert "best.safetensors" in broken["error"]


def test_newer_runs_come_first_among_equals(make_run: MakeRun, tmp_path: Path) -> None:
    for name, time in (("old", 1000), ("new", 2000)):
        for file in make_run(name).iterdir():
            os.utime(file, (time, time))

    assert _names(list_runs_below(tmp_path)) == ["new", "old"]


def test_listing_needs_neither_torch_nor_optuna(
    make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("run-1")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from napari_lrcs.runs.figures import read_histories\n"
        "from napari_lrcs.runs.table import list_runs_below\n"
        "(history,) = read_histories(list_runs_below(Path(sys.argv[1])))\n"
        "assert len(history.rows) == 1\n"
        "assert not {'torch', 'optuna', 'matplotlib.pyplot'} & set(sys.modules)\n"
    )

    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)

    assert run.returncode == 0
