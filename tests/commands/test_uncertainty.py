import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import PROGRAM, TINY, Run, call, printed_object
from napari_lrcs.__main__ import INTERRUPTED
from napari_lrcs.commands.uncertainty import StudyDisplay
from napari_lrcs.config import PRESETS, AlsoMeasureConfig, PerturbConfig, StudyConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import TrainEvent
from napari_lrcs.uncertainty.perturbation.perturb import changed_share
from napari_lrcs.uncertainty.study.events import MemberEnded, StudyEvent
from napari_lrcs.uncertainty.study.folder import StudyFolder
from napari_lrcs.uncertainty.study.task import StudyTask
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")


STUDY = (
    "uncertainty image.tif labels.tif --train-z 1:4 --test-z 5 --out study "
    "--n-members 2 --n-repeats 1 --kernel cross --phases dark bright"
)


def results_of(study: Path) -> list[tuple[Any, ...]]:
    """Read what the members found."""
    members = StudyFolder(study).read_findings().members
    return [(m.name, m.accuracy, m.iou, m.measures) for m in members]


def test_uncertainty_prints_the_summary_of_both_groups(run: Run) -> None:
    printed = printed_object(run(f"{STUDY} {TINY} --json"))

    assert set(printed) == {
        "phases",
        "groups",
        "not_learnt",
        "ensemble",
        "seconds",
    }
    groups = printed["groups"]
    assert {name: group["n"] for name, group in groups.items()} == {
        "perturbed": 2,
        "same_labels": 1,
    }
    values = {(q["kind"], q["name"]): q for q in groups["perturbed"]["quantities"]}
    dark = values["iou", "dark"]
    assert dark["mean"] == pytest.approx(np.mean(dark["values"]))
    assert dark["sd"] == pytest.approx(np.std(dark["values"], ddof=1))
    assert [q["sd"] for q in groups["same_labels"]["quantities"]] == [None] * 8


@pytest.mark.usefixtures("place")
def test_flags_reach_all_settings_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[StudyTask] = []

    def capture(task: StudyTask, **_: object) -> Iterator[TrainEvent]:
        tasks.append(task)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.uncertainty.study.ensemble.run_study", capture)

    call(
        f"{STUDY} --preset paper --seed 7 --n-iterations 3 --growing 2 1 --device cpu "
        "--mask cylinder --surface-area --tortuosity bright --tortuosity 1"
    )

    (task,) = tasks
    assert task.config == PRESETS["paper"].with_changes(seed=7, device="cpu")
    assert task.perturb == PerturbConfig(kernel="cross", n_iterations=3, growing=(2, 1))
    assert task.study == StudyConfig(n_members=2, n_repeats=1)
    assert task.also_measure == AlsoMeasureConfig(
        surface_area=True, tortuosity=("bright", "1")
    )
    assert task.predict.device == "cpu"
    assert task.phases == PhaseTable.named("dark", "bright")
    assert (task.train, task.test) == ((1, 2, 3), (5,))
    assert task.mask is not None


@pytest.mark.usefixtures("place")
def test_study_takes_the_perturbation_that_changes_a_wanted_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks: list[StudyTask] = []

    def capture(task: StudyTask, **_: object) -> Iterator[TrainEvent]:
        tasks.append(task)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.uncertainty.study.ensemble.run_study", capture)
    wanted = STUDY.replace("--kernel cross", "--wanted-share 0.05 --n-iterations 1")

    call(f"{wanted} --device cpu")

    (task,) = tasks
    assert task.perturb == task.suggest(wanted_share=0.05).config
    assert task.perturb.n_iterations == 1
    changed = changed_share(task.read_labels(task.painted), task.perturbed(0))
    assert 0.02 < changed < 0.1


def test_a_study_that_was_interrupted_goes_on_with_its_settings(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: StudyDisplay, event: StudyEvent) -> None:
        if isinstance(event, MemberEnded):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudyDisplay, "show", interrupt)
        assert call(f"{STUDY} {TINY} --seed 7") == INTERRUPTED
    assert json.loads((place / "study/study.json").read_text())["state"] == "stopped"

    table = run(
        "uncertainty image.tif labels.tif --train-z 1:4 --test-z 5 --out study --resume"
    )

    assert "IoU, bright" in table
    assert "perturbed labels (2)" in table
    assert "ensemble" in table
    assert "not how far they are from the truth" in " ".join(table.split())
    assert "check draw" in " ".join(table.split())
    members = StudyFolder(place / "study").read_findings().members
    assert [member.seed for member in members] == [7, 8, 7]


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_to_the_same_result(
    place: Path, run: Run
) -> None:
    run(f"{STUDY} {TINY}")
    expected = results_of(place / "study")
    killed = f"{STUDY} {TINY} --overwrite".replace("out study", "out killed")
    first = place / "killed" / "members" / "perturbed-000" / "member.json"

    with Script(PROGRAM, *killed.split()) as process:
        while not first.exists() and process.is_running:
            time.sleep(0.005)
        process.kill()
    record = json.loads((place / "killed" / "study.json").read_text())
    run(killed.replace("--overwrite", "--resume"))

    assert record["state"] == "running"
    assert len(record["members"]) < 3
    assert results_of(place / "killed") == expected
