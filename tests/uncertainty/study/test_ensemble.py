import csv
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_lrcs.comparison import agreement
from napari_lrcs.comparison.agreement import find_agreement, write_agreement
from napari_lrcs.comparison.evaluate import evaluate_volume
from napari_lrcs.config import (
    AlsoMeasureConfig,
    PerturbConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.errors import InUseError, LrcsError, ResultExistsError, VolumeError
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.io.opening import open_labels, open_to_share
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.metrics.overlap import accuracy, iou_per_phase
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.progress import Notice, StepEnded, TilePredicted
from napari_lrcs.uncertainty.perturbation.perturb import Perturbation
from napari_lrcs.uncertainty.study.ensemble import run_study
from napari_lrcs.uncertainty.study.events import (
    Combining,
    MemberEnded,
    MemberFailed,
    MemberProgress,
    MemberStarted,
    StudyEnded,
    StudyEvent,
    StudyStarted,
)
from napari_lrcs.uncertainty.study.folder import StudyFolder
from napari_lrcs.uncertainty.study.member import MemberTask, watched
from napari_lrcs.uncertainty.study.summary import Member
from napari_lrcs.uncertainty.study.task import StudyTask
from scripts import quick_context

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (8, 24, 24)
LABELS = np.ones(SHAPE, np.uint8)
LABELS[:, :, 12:] = 2
NOISE = np.random.default_rng(0).normal(0, 20, SHAPE)
IMAGE = (500.0 * LABELS + NOISE).astype(np.float32)
CONFIG = TrainConfig().with_changes(
    n_filters=2,
    context_slices=0,
    n_epochs=1,
    patches_per_epoch=4,
    batch_size=2,
    patch_size=16,
    seed=7,
    pitfall_restarts=0,
    device="cpu",
    precision="float32",
)
TASK = StudyTask(
    image=as_volume(IMAGE, name="image"),
    labels=as_labels(as_volume(LABELS, name="labels")),
    train=(1, 2, 3),
    test=(6,),
    config=CONFIG,
    perturb=PerturbConfig(kernel="cross", picked_fraction=0.2),
    study=StudyConfig(n_members=2, n_repeats=1),
)
NAMES = ("perturbed-000", "perturbed-001", "repeat-000")


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[StudyEvent]]:
    """Run a study that nothing interrupts."""
    out = tmp_path_factory.mktemp("study") / "out"
    return out, list(run_study(TASK, out=out))


def found(out: Path) -> dict[str, Any]:
    """Read what does not depend on how long it took."""
    members = StudyFolder(out).read_findings().members
    results: dict[str, Any] = {m.name: replace(m, seconds=0.0) for m in members}
    for name in ("majority", "agreement", "entropy", "ensemble"):
        results[name] = open_labels(out / f"{name}.zarr").slab(0, SHAPE[0]).tolist()
    assert not list(out.glob("members/*/probabilities.zarr"))
    return results


def of_type(events: Sequence[StudyEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# ---- a whole study ----


def test_a_study_tells_its_way_and_leaves_all_files(
    study: tuple[Path, list[StudyEvent]],
) -> None:
    out, events = study

    told = [type(e) for e in events if not isinstance(e, MemberProgress | Combining)]
    notices = of_type(events, Notice)
    assert told[len(notices) :] == [
        StudyStarted,
        *[MemberStarted, MemberEnded] * 3,
        StudyEnded,
    ]
    assert "slices 3 of the training slices are used for validation" in notices[0].text
    assert "train and validation" not in " ".join(n.text for n in notices)
    assert of_type(events, StudyStarted)[0].names == NAMES
    shares = [e.share for e in of_type(events, MemberProgress) if e.name == NAMES[0]]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert {file.name for file in out.iterdir()} == {
        "study.json",
        "members.csv",
        "members",
        "majority.zarr",
        "agreement.zarr",
        "entropy.zarr",
        "ensemble.zarr",
        "probability-sums.zarr",
        "iou.png",
        "surface-volume.png",
        "interfaces.png",
    }
    assert json.loads((out / "study.json").read_text())["state"] == "complete"


def test_members_are_trained_on_their_own_labels_and_seeds(
    study: tuple[Path, list[StudyEvent]],
) -> None:
    out, events = study
    perturbation = Perturbation(LABELS[1:4], TASK.perturb)

    for number in (0, 1):
        labels = tifffile.imread(out / "members" / NAMES[number] / "labels.tif")
        rng = np.random.default_rng((CONFIG.seed, number))
        np.testing.assert_array_equal(labels, perturbation.draw(rng))
    repeated = tifffile.imread(out / "members" / NAMES[2] / "labels.tif")
    np.testing.assert_array_equal(repeated, LABELS[1:4])
    members = [event.member for event in of_type(events, MemberEnded)]
    assert [m.seed for m in members] == [7, 8, 7]
    assert members[0].changed_share > 0
    assert members[2].changed_share == 0


def test_members_are_scored_on_the_test_slice_and_measured_whole(
    study: tuple[Path, list[StudyEvent]],
) -> None:
    out, events = study
    member: Member = of_type(events, MemberEnded)[1].member
    segmentation = open_labels(out / "members" / member.name / "segmentation.zarr")
    phases = of_type(events, StudyStarted)[0].phases

    confusion = evaluate_volume(segmentation, TASK.labels, phases=phases, slices=[6])

    assert member.accuracy == accuracy(confusion)
    assert member.iou == tuple(iou_per_phase(confusion))
    assert member.measures is not None
    pore = member.measures["phases"][0]["volume_fraction"]
    assert pore == np.mean(segmentation.slab(0, SHAPE[0]) == 1)


def test_volumes_say_where_the_perturbed_members_agree(
    study: tuple[Path, list[StudyEvent]],
) -> None:
    out, _ = study
    whole = slice(0, SHAPE[0])
    first, second = (
        open_labels(out / "members" / name / "segmentation.zarr").slab(0, SHAPE[0])
        for name in NAMES[:2]
    )

    expected = find_agreement([first, second], n_members=2, n_phases=2)

    for name in ("majority", "agreement", "entropy"):
        volume = open_labels(out / f"{name}.zarr")
        part = volume.slab(whole.start, whole.stop)
        np.testing.assert_array_equal(part, getattr(expected, name))
    assert (expected.agreement[first == second] == 255).all()
    assert (expected.entropy[first != second] == 255).all()


def test_the_ensemble_is_the_phase_with_the_highest_mean_probability(
    study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    out, events = study
    mean, steps = np.zeros((2, 2, *SHAPE))
    for name in NAMES:
        own = DiskResult(
            labels=tmp_path / f"{name}.zarr", probabilities=tmp_path / f"{name}-p.zarr"
        )
        network = load_checkpoint(out / "members" / name / "run")
        list(predict_volume(TASK.image, network, result=own))
        probabilities: Any = zarr.open_array(tmp_path / f"{name}-p.zarr" / "0")[:]
        mean += probabilities.astype(float) / len(NAMES)
        steps += np.rint(255 * probabilities.astype(float))

    segmentation = open_labels(out / "ensemble.zarr")

    labels = segmentation.slab(0, SHAPE[0])
    np.testing.assert_array_equal(labels, steps.argmax(0) + 1)
    is_clear = abs(mean[0] - mean[1]) > 1 / 255  # the steps in which they are added
    assert is_clear.any()
    np.testing.assert_array_equal(labels[is_clear], (mean.argmax(0) + 1)[is_clear])
    ensemble = StudyFolder(out).read_findings().ensemble
    assert ensemble is not None
    phases = of_type(events, StudyStarted)[0].phases
    confusion = evaluate_volume(segmentation, TASK.labels, phases=phases, slices=[6])
    assert ensemble.iou == tuple(iou_per_phase(confusion))
    assert ensemble.measures is not None
    assert ensemble.measures["phases"][0]["volume_fraction"] == np.mean(labels == 1)
    summary = of_type(events, StudyEnded)[0].summary
    assert summary.ensemble.of_kind("accuracy")[0].values == (ensemble.accuracy,)


def test_members_have_a_row_each(study: tuple[Path, list[StudyEvent]]) -> None:
    out, _ = study

    with (out / "members.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))

    assert tuple(row["name"] for row in rows) == NAMES


# ---- stopping and going on ----


@pytest.mark.parametrize("stop_at", [StepEnded, TilePredicted, MemberEnded])
def test_a_study_that_was_stopped_goes_on_to_the_same_result(
    stop_at: type[Any], study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    events = run_study(TASK, out=out)
    for event in events:
        is_second = isinstance(event, MemberProgress) and event.name == NAMES[1]
        inner = (
            event.event if isinstance(event, MemberProgress) and is_second else event
        )
        if isinstance(inner, stop_at):
            break
    events.close()
    state = json.loads((out / "study.json").read_text())["state"]

    resumed = list(run_study(TASK, out=out, resume=True))

    assert state == "stopped"
    started = of_type(resumed, StudyStarted)[0]
    assert started.n_done == 1
    names = [event.name for event in of_type(resumed, MemberStarted)]
    assert names == [*NAMES[1:]]
    assert found(out) == found(study[0])


def test_a_member_that_was_not_added_to_the_ensemble_is_added_later(
    study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    events = run_study(TASK, out=out)
    for event in events:
        if isinstance(event, MemberProgress) and event.text.startswith("adding"):
            break
    events.close()
    left = [place.parent.name for place in out.glob("members/*/probabilities.zarr")]

    resumed = list(run_study(TASK, out=out, resume=True))

    assert left == [NAMES[0]]
    assert of_type(resumed, StudyStarted)[0].n_done == 1
    assert found(out) == found(study[0])


def test_a_study_that_kept_no_probabilities_has_no_ensemble(
    study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(study[0], out)
    shutil.rmtree(out / "probability-sums.zarr")  # as an older version leaves it
    fewer = tmp_path / "fewer"
    shutil.copytree(study[0], fewer)

    again = list(run_study(TASK, out=out, resume=True))
    less = replace(TASK, study=StudyConfig(n_members=2, n_repeats=0))
    shrunk = list(run_study(less, out=fewer, resume=True))

    (told,) = [n for n in of_type(again, Notice) if "no ensemble" in n.text]
    assert f"{', '.join(NAMES)} were not kept" in told.text
    assert any("it had more networks" in n.text for n in of_type(shrunk, Notice))
    for place, events in ((out, again), (fewer, shrunk)):
        assert not of_type(events, MemberStarted)
        assert StudyFolder(place).read_findings().ensemble is None
        assert not (place / "ensemble.zarr").exists()


def test_an_ensemble_that_does_not_fit_on_the_disk_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = SimpleNamespace(free=2 * SHAPE[0] * SHAPE[1] * SHAPE[2])
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    events = run_study(TASK, out=tmp_path / "out")
    told = []
    while not isinstance(event := next(events), MemberStarted):
        told.append(event)
    events.close()

    (notice,) = [n for n in of_type(told, Notice) if "no ensemble" in n.text]
    assert "it takes up to 58.5 KiB, but the disk has 9.0 KiB" in notice.text
    # Of 4608 voxels: two sums and one member's probabilities of two phases, and labels.
    assert of_type(told, StudyStarted)[0].n_bytes == 4608 * (3 + 3 + 12 + 1)


def test_a_complete_study_takes_more_members(
    study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(study[0], out)
    more = replace(TASK, study=StudyConfig(n_members=3, n_repeats=1))

    events = list(run_study(more, out=out, resume=True))

    started = of_type(events, MemberStarted)
    assert [event.name for event in started] == ["perturbed-002"]
    assert of_type(events, StudyEnded)[0].summary.groups["perturbed"].n == 3
    assert found(out)[NAMES[1]] == found(study[0])[NAMES[1]]
    saved: Any = zarr.open_group(out / "probability-sums.zarr").attrs["napari_lrcs_sum"]
    assert set(saved["members"]) == {*NAMES, "perturbed-002"}


def test_another_task_is_not_gone_on_with(
    study: tuple[Path, list[StudyEvent]],
) -> None:
    out, _ = study
    before = found(out)
    seed = replace(TASK, config=CONFIG.with_changes(seed=8))
    painted = LABELS.copy()
    painted[2, 5, 5] = 2
    labels = replace(TASK, labels=as_labels(as_volume(painted)))
    area = replace(TASK, also_measure=AlsoMeasureConfig(surface_area=True))

    with pytest.raises(
        VolumeError, match=r"started with other settings \(seed: 7, now 8\)"
    ):
        list(run_study(seed, out=out, resume=True))
    with pytest.raises(VolumeError, match=r"started with other settings \(labels: "):
        list(run_study(labels, out=out, resume=True))
    with pytest.raises(VolumeError, match=r"\(surface_area: None, now True\)"):
        list(run_study(area, out=out, resume=True))

    assert found(out) == before


def test_a_study_is_replaced_only_when_asked(
    study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "members" / "perturbed-007").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")

    with pytest.raises(ResultExistsError, match="is not a study"):
        list(run_study(TASK, out=out, overwrite=True))
    (out / "study.json").write_text("{}")  # somebody else's
    with pytest.raises(VolumeError, match=r"study\.json in .* is damaged"):
        list(run_study(TASK, out=out, overwrite=True))
    assert (out / "members" / "perturbed-007").exists()
    shutil.copy(study[0] / "study.json", out)
    with pytest.raises(ResultExistsError, match="holds a study already"):
        list(run_study(TASK, out=out))
    list(run_study(TASK, out=out, overwrite=True))

    assert len(StudyFolder(out).read_findings().members) == 3
    assert not (out / "members" / "perturbed-007").exists()
    assert (out / "notes.txt").read_text() == "mine"


def test_two_studies_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run_study(TASK, out=out)
    while not isinstance(next(first), MemberStarted):
        pass

    with pytest.raises(InUseError, match=f"is being written by process {os.getpid()}"):
        list(run_study(TASK, out=out, resume=True))

    first.close()


# ---- failures ----


def test_a_failed_member_is_told_and_tried_again(
    study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    task = replace(TASK, study=StudyConfig(n_members=3, n_repeats=0))
    blocked = out / "members" / NAMES[1]
    events = []

    for event in run_study(task, out=out):
        if isinstance(event, StudyStarted):
            blocked.parent.mkdir()
            blocked.write_text("in the way")
        events.append(event)
    blocked.unlink()
    again = list(run_study(task, out=out, resume=True))

    failure = of_type(events, MemberFailed)[0]
    assert failure.name == NAMES[1]
    assert "File exists" in failure.error
    group = of_type(events, StudyEnded)[0].summary.groups["perturbed"]
    assert (group.n, group.n_failed) == (2, 1)
    assert [event.name for event in of_type(again, MemberStarted)] == [NAMES[1]]
    assert found(out)[NAMES[1]] == found(study[0])[NAMES[1]]


@pytest.mark.parametrize(
    "changes",
    [
        ({"measures": {}}, {"measures": []}),
        ({"iou": [0.5]}, {"accuracy": "good"}),
        ({"group": 5}, None),
    ],
)
def test_damaged_members_are_made_again(
    changes: tuple[dict[str, Any] | None, ...],
    study: tuple[Path, list[StudyEvent]],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    shutil.copytree(study[0], out)
    damaged = NAMES[: len(changes)]
    for name, change in zip(damaged, changes, strict=True):
        place = out / "members" / name / "member.json"
        saved = json.loads(place.read_text())
        text = json.dumps(saved | {"member": saved["member"] | (change or {})})
        place.write_text(text if change else "[" * 100_000)

    events = list(run_study(TASK, out=out, resume=True))

    assert tuple(e.name for e in of_type(events, MemberStarted)) == damaged
    assert found(out) == found(study[0])


def test_too_few_members_are_no_study(tmp_path: Path) -> None:
    out = tmp_path / "out"
    events = run_study(TASK, out=out)
    while not isinstance(next(events), StudyStarted):
        pass
    (out / "members").mkdir()
    (out / "members" / NAMES[1]).write_text("in the way")

    with pytest.raises(LrcsError, match=r"1 of 2 networks .*perturbed-001: .*exists"):
        list(events)

    members = StudyFolder(out).read_findings().members
    assert [member.error is None for member in members] == [True, False, True]
    assert json.loads((out / "study.json").read_text())["state"] == "stopped"


# ---- side by side ----


@pytest.mark.slow
def test_members_in_other_processes_give_the_same(
    study: tuple[Path, list[StudyEvent]], tmp_path: Path
) -> None:
    np.save(tmp_path / "image.npy", IMAGE)
    shared = replace(open_to_share(tmp_path / "image.npy"), name="image")
    task = replace(TASK, image=shared)
    out = tmp_path / "out"

    with ProcessPoolExecutor(2, quick_context(), torch.set_num_threads, (1,)) as pool:
        events = run_study(task, out=out, executor=pool, devices=["cpu", "cpu"])
        told = list(events)

    assert of_type(told, MemberStarted)[0].name == NAMES[0]
    assert {e.member.name for e in of_type(told, MemberEnded)} == set(NAMES)
    assert found(out) == found(study[0])


class Queue(Executor):
    """Takes members and never comes to them."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        self.futures.append(Future())
        return self.futures[-1]


@pytest.mark.parametrize(("devices", "n_at_once"), [([], 3), (["cpu", "cpu"], 2)])
def test_members_that_wait_are_cancelled_when_the_study_is_stopped(
    devices: list[str], n_at_once: int, tmp_path: Path
) -> None:
    queue = Queue()
    events = run_study(TASK, out=tmp_path / "out", executor=queue, devices=devices)
    while not isinstance(next(events), MemberProgress):
        pass

    events.close()

    assert [future.cancelled() for future in queue.futures] == [True] * n_at_once


def test_members_elsewhere_tell_by_their_folders_how_far_they_are(
    tmp_path: Path,
) -> None:
    task = replace(TASK, config=CONFIG.with_changes(n_epochs=4))
    member = MemberTask(
        task=task, task_hash="", group="perturbed", number=0, folder=tmp_path
    )
    seen = [watched(member)]
    member.run.path.mkdir(parents=True)
    seen.append(watched(member))
    (member.run.path / "config.json").touch()
    member.run.write_history([{"epoch": 1}, {"epoch": 2}])
    seen.append(watched(member))
    (member.place / "segmentation.zarr.partial").mkdir()
    seen.append(watched(member))
    member.segmentation.mkdir()
    seen.append(watched(member))

    assert [(round(event.share, 3), event.text) for event in seen] == [
        (0, "waiting for a free process"),
        (0, "preparing"),
        (0.35, "training, 2 of 4 epochs"),
        (0.7, "predicting"),
        (0.95, "measuring"),
    ]


# ---- slices ----


def test_neighbouring_slices_are_perturbed_together_and_others_alone() -> None:
    assert TASK.packed().dimensions == 3
    assert replace(TASK, train=(1, 3)).packed().dimensions == 2
    assert replace(TASK, train=(1,)).packed().dimensions == 2


@pytest.mark.parametrize(
    ("train", "validation"),
    [((4,), ()), ((4, 2), (4,)), (tuple(range(20, 10, -1)), (19, 20))],
)
def test_the_last_fifth_of_the_training_slices_is_for_validation(
    train: tuple[int, ...], validation: tuple[int, ...]
) -> None:
    assert replace(TASK, train=train).validation == validation


def test_labels_of_other_slices_are_zeros_that_take_no_memory() -> None:
    task = replace(TASK, train=(3, 5), config=CONFIG.with_changes(axis="y"), test=(1,))
    training = np.full((2, 8, 24), 2, np.uint8)
    training[1, 4, 6] = 1

    volume = task.with_painting(training)

    expected = np.zeros(SHAPE, np.uint8)
    expected[:, 1] = LABELS[:, 1]
    expected[:, [3, 5]] = 2
    expected[4, 5, 6] = 1
    np.testing.assert_array_equal(volume.slab(0, 8), expected)
    np.testing.assert_array_equal(volume.slab(4, 6, axis="y")[1], expected[:, 5])
    np.testing.assert_array_equal(volume.array[2:6, 5:7, 3:9], expected[2:6, 5:7, 3:9])


# ---- agreement ----


def test_ties_go_to_the_lowest_label_and_gaps_stay() -> None:
    members = np.array([[1, 3, 2, 0], [1, 2, 2, 0], [1, 1, 3, 0], [1, 3, 2, 0]])

    found = find_agreement(members.astype(np.uint8), n_members=4, n_phases=3)

    assert found.majority.tolist() == [1, 3, 2, 0]
    assert found.agreement.tolist() == [255, 128, 191, 0]
    mixed = -(2 * 0.25 * np.log(0.25) + 0.5 * np.log(0.5)) / np.log(3)
    split = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75)) / np.log(3)
    assert found.entropy.tolist() == [0, round(255 * mixed), round(255 * split), 0]
    tie = find_agreement(np.array([[2], [1]], np.uint8), n_members=2, n_phases=2)
    assert (tie.majority.tolist(), tie.entropy.tolist()) == ([1], [255])


def test_agreement_does_not_depend_on_the_regions(
    study: tuple[Path, list[StudyEvent]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, events = study
    paths = [out / "members" / name / "segmentation.zarr" for name in NAMES[:2]]
    phases = of_type(events, StudyStarted)[0].phases
    monkeypatch.setattr(agreement, "_REGION", (3, 10, 7))

    shares = list(write_agreement(paths, out=tmp_path, phases=phases))

    assert shares == sorted(shares)
    for name in ("majority", "agreement", "entropy"):
        whole, parts = (
            open_labels(place / f"{name}.zarr").slab(0, SHAPE[0])
            for place in (out, tmp_path)
        )
        np.testing.assert_array_equal(parts, whole)
