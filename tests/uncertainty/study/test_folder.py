import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_lrcs.config import PerturbConfig, PredictConfig, StudyConfig, TrainConfig
from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.metrics.counting import compose
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.folder import (
    StudyFindings,
    StudyFolder,
    list_studies,
)
from napari_lrcs.uncertainty.study.summary import Member, summarise
from napari_lrcs.uncertainty.study.task import StudyTask

PHASES = PhaseTable.named("pore", "solid")


_ROW = np.array([[1, 1, 2, 2, 2]], np.uint8)
GOOD = Member(
    name="perturbed-0",
    group="perturbed",
    number=0,
    seed=7,
    changed_share=0.1,
    accuracy=0.8,
    iou=(math.nan, 0.5),
    measures=measure_dict(compose(_ROW, n_phases=2), PHASES),
    seconds=1.5,
)
BAD = Member(name="bad", group="perturbed", number=1, seed=8, error="no disk")


def test_a_study_is_read_as_it_was_written(tmp_path: Path) -> None:
    members = (GOOD, BAD)
    summary = summarise(members, PHASES)
    record = {
        "format_version": 1,
        "state": "complete",
        "task": {},
        "study": {"n_members": 2, "n_repeats": 0},
        "members": [m.to_dict() for m in members],
        **summary.to_dict(),
    }
    text = json.dumps(record, allow_nan=False)
    (tmp_path / "study.json").write_text(text, encoding="utf-8")

    found = StudyFolder(tmp_path).read_findings()

    # NaN equals nothing, but reads the same.
    assert repr(found.members) == repr(members)
    assert found.phases == PHASES
    assert repr(found.summary) == repr(summary)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no study in"),
        ("{", "is damaged"),
        ('{"format_version": 1}', "is damaged"),
        ('{"format_version": 9}', "has format 9, but this version reads 1"),
    ],
)
def test_what_is_not_a_study_is_refused(
    text: str | None, says: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "study.json").write_text(text, encoding="utf-8")

    with pytest.raises(VolumeError, match=says):
        StudyFolder(tmp_path).read_findings()
    with pytest.raises(VolumeError, match=says):
        StudyFolder(tmp_path).read_settings()


STUDY: dict[str, Any] = {
    "format_version": 1,
    "state": "complete",
    "task": {
        "training slices": [1],
        "test slices": [2],
        "min_size": 0,
        "config": {},
        "perturb": {},
    },
    "study": {"n_members": 2},
    "phases": PHASES.to_dicts(),
    "members": [GOOD.to_dict()],
}
MEMBER: dict[str, Any] = STUDY["members"][0]
MEASURES = MEMBER["measures"]


@pytest.mark.parametrize(
    "change",
    [
        {"phases": [{"label": 1, "name": 5, "colour": "#ffffff"}] * 2},
        {"phases": 5},
        {"study": []},
        {"task": []},
        {"members": {}},
        {"members": [5]},
        {"state": None},
    ],
)
def test_a_damaged_study_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps(STUDY | change), encoding="utf-8")

    folder = StudyFolder(tmp_path)
    for read in (folder.read_findings, folder.read_settings):
        with pytest.raises(VolumeError, match=r"study\.json in .* is damaged: "):
            read()


@pytest.mark.parametrize(
    "change",
    [
        {"config": []},
        {"config": None},
        {"config": {"n_filters": "many"}},
        {"perturb": 5},
        {"test slices": ["a"]},
    ],
)
def test_damaged_settings_of_a_study_are_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    damaged = STUDY | {"task": STUDY["task"] | change}
    (tmp_path / "study.json").write_text(json.dumps(damaged), encoding="utf-8")

    with pytest.raises(VolumeError, match=r"study\.json in .* is damaged: "):
        StudyFolder(tmp_path).read_settings()


@pytest.mark.parametrize(
    "change",
    [
        {"measures": {}},
        {"measures": []},
        {"measures": MEASURES | {"phases": []}},
        {"measures": MEASURES | {"interfaces": []}},
        {"measures": MEASURES | {"interfaces": [5]}},
        {"iou": [0.5]},
        {"iou": [0.5, "x"]},
        {"iou": 5},
        {"accuracy": "good"},
        {"accuracy": 1e999},
        {"seconds": 1e999},
        {"group": "third"},
        {"error": 5},
        {"name": None},
    ],
)
def test_a_damaged_member_of_a_study_is_refused(
    change: dict[str, Any], tmp_path: Path
) -> None:
    damaged = STUDY | {"members": [MEMBER | change]}
    (tmp_path / "study.json").write_text(json.dumps(damaged), encoding="utf-8")

    with pytest.raises(VolumeError, match=r"study\.json in .* is damaged: "):
        StudyFolder(tmp_path).read_findings()


def test_a_study_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("[" * 100_000, encoding="utf-8")

    with pytest.raises(VolumeError, match="is damaged: it is nested too deeply"):
        StudyFolder(tmp_path).read_findings()


def test_another_process_goes_on_with_the_settings_of_a_study(tmp_path: Path) -> None:
    volume = as_volume(np.zeros((3, 4, 5)))
    begun = StudyTask(
        image=volume,
        labels=as_labels(as_volume(np.ones((3, 4, 5), np.uint8))),
        train=(0, 2),
        test=(1,),
        config=TrainConfig().with_changes(n_filters=3, device="cuda"),
        perturb=PerturbConfig(n_iterations=2),
        study=StudyConfig(n_members=2, n_repeats=0),
        predict=PredictConfig(min_size=7),
    )
    StudyFolder(tmp_path).write(
        StudyFindings(out=tmp_path, members=(), phases=PHASES),
        state="running",
        task=begun.to_dict(),
        study=begun.study,
        begun_at=begun.begun_at,
    )
    other = replace(
        begun,
        train=(),
        test=(),
        config=TrainConfig(device="cpu"),
        perturb=PerturbConfig(),
        study=StudyConfig(),
        predict=PredictConfig(device="cpu"),
    )

    settings = StudyFolder(tmp_path).read_settings()

    resumed = settings.for_task(other)
    assert (resumed.train, resumed.test) == (begun.train, begun.test)
    assert (resumed.perturb, resumed.study) == (begun.perturb, begun.study)
    assert resumed.config == TrainConfig().with_changes(n_filters=3, device="cpu")
    assert resumed.predict == PredictConfig(device="cpu", min_size=7)
    assert resumed.to_dict() == begun.to_dict()


def test_studies_are_listed_with_the_last_one_first(tmp_path: Path) -> None:
    for number, at in ((1, 2000), (2, 1000)):
        study = tmp_path / f"study-{number}" / "study.json"
        study.parent.mkdir()
        study.write_text(json.dumps(STUDY) if number == 1 else "{}")
        os.utime(study, (at, at))
    (tmp_path / "study-3").mkdir()

    first, second = list_studies(tmp_path)

    assert (first.path.name, second.path.name) == ("study-1", "study-2")
    assert first.modified.timestamp() == 2000
    assert (first.n_done, first.n_planned, first.is_complete) == (1, 2, True)
    assert first.can_resume  # a network is missing
    assert str(first) == str(tmp_path / "study-1")
    assert "is damaged" in second.damaged
    assert str(second) == second.damaged
    assert not second.can_resume


def test_a_folder_that_is_not_there_holds_no_studies(tmp_path: Path) -> None:
    assert list_studies(tmp_path / "nowhere") == []


@pytest.mark.parametrize("name", ["study.json", "notes.txt"])
def test_a_folder_of_something_else_takes_no_study(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")

    with pytest.raises((ResultExistsError, VolumeError)):
        StudyFolder(tmp_path).record.check_place(
            resume=False, overwrite=name == "study.json"
        )


def test_a_study_is_removed_and_nothing_else(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    for name in ("members/perturbed-000", "members/mine", "entropy.zarr", "mine.zarr"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("study.json", "members.csv", "iou.png", "notes.txt"):
        (tmp_path / name).touch()

    folder.remove()

    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"members", "members/mine", "mine.zarr", "notes.txt"}
