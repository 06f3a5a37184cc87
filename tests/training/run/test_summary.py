import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.header import read_header
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.run.folder import RunFolder, list_runs
from napari_lrcs.training.run.summary import RunSummary, expected_seconds, rank_runs
from run_folders import leave_run, row

pytestmark = pytest.mark.usefixtures("one_thread")

MakeRun = Callable[..., RunFolder]


@pytest.fixture
def make_run(
    tmp_path: Path,
    tiny_config: TrainConfig,
    striped_annotation: Callable[..., Annotation],
    make_checkpoint: Callable[..., Checkpoint],
) -> MakeRun:
    """Build runs that a training has left after some epochs, one of them the best."""

    def build(
        name: str = "run", *, ious: tuple[float | None, ...] = (), best: int = 1
    ) -> RunFolder:
        config = tiny_config.with_changes(n_epochs=4, patience=2)
        phases = PhaseTable.named("pore", "solid")
        checkpoint = replace(make_checkpoint(config, n_phases=2), phases=phases)
        run = RunFolder(tmp_path / name)
        leave_run(run, striped_annotation(), checkpoint, ious=ious, best=best)
        return run

    return build


def test_a_run_tells_how_far_it_has_come(make_run: MakeRun) -> None:
    run = make_run(ious=(0.25, 0.75, 0.5), best=2)

    summary = run.summarise()

    assert (summary.name, summary.path) == ("run", run.path)
    assert summary.model == "lrcsnet, 2 filters, 3×3"
    assert (summary.n_epochs, summary.n_done) == (4, 3)
    assert (summary.best_epoch, summary.best_mean_iou) == (2, 0.75)
    assert summary.phases == ("pore", "solid")
    assert summary.best_ious == (0.75, None)
    assert (summary.is_finished, summary.can_resume) == (False, True)
    assert summary.damaged == ""
    assert summary.started <= summary.modified
    assert summary.started.tzinfo is not None


def test_a_run_is_described_line_by_line(make_run: MakeRun) -> None:
    run = make_run(ious=(0.25, 0.75, 0.5), best=2)

    assert str(run.summarise()).splitlines() == [
        str(run.path),
        "lrcsnet, 2 filters, 3×3",
        "best epoch: 2",
        "pore 75.0%",
        "can be continued",
    ]


def test_the_best_runs_come_first_and_those_without_a_network_not_at_all(
    make_run: MakeRun, tmp_path: Path
) -> None:
    scores = {"good": (0.5,), "better": (0.75,), "unscored": (None,), "empty": ()}
    for name, ious in scores.items():
        make_run(name, ious=ious)

    ranked = rank_runs(list_runs(tmp_path))

    assert [run.title for run in ranked] == [
        "better · mean IoU 75.0%",
        "good · mean IoU 50.0%",
        "unscored",
    ]


def test_a_run_before_its_first_epoch_has_no_best(make_run: MakeRun) -> None:
    summary = make_run().summarise()

    assert (summary.n_done, summary.best_epoch, summary.phases) == (0, None, ())
    assert summary.can_resume


def test_a_run_that_was_stopped_within_its_first_epoch_has_no_score(
    make_run: MakeRun, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    run = make_run()
    run.write_epoch(make_checkpoint(), epoch=0, is_best=True)

    summary = run.summarise()

    assert (summary.best_epoch, summary.best_mean_iou) == (None, None)
    assert summary.best_ious == (None, None, None)


def test_a_run_without_validation_has_no_score(make_run: MakeRun) -> None:
    summary = make_run(ious=(None,)).summarise()

    assert (summary.best_epoch, summary.best_mean_iou) == (1, None)


@pytest.mark.parametrize(
    ("ious", "best", "is_finished"),
    [
        ((0.1, 0.2, 0.3, 0.4), 4, True),  # all epochs
        ((0.4, 0.3, 0.2), 1, True),  # two epochs without a better one
        ((0.3, 0.4, 0.2), 2, False),
    ],
)
def test_a_finished_run_is_not_resumed(
    ious: tuple[float, ...], best: int, is_finished: bool, make_run: MakeRun
) -> None:
    summary = make_run(ious=ious, best=best).summarise()

    assert summary.is_finished == is_finished
    assert summary.can_resume != is_finished


def test_a_run_without_its_state_is_not_resumed(make_run: MakeRun) -> None:
    run = make_run()
    (run.path / "resume.pt").unlink()

    assert not run.summarise().can_resume


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no run in .*; choose"):
        RunFolder(tmp_path).summarise()


def test_the_history_comes_back_as_numbers(make_run: MakeRun) -> None:
    run = make_run(ious=(None, 0.1))

    assert run.read_history() == [row(1), row(2, iou=0.1)]


def test_there_is_no_history_before_the_first_epoch(make_run: MakeRun) -> None:
    assert make_run().read_history() == []


@pytest.mark.parametrize(
    "text", ["", "epoch,loss\n1", "epoch\n1,2", "epoch\none", 'epoch\n"1', "\udcff"]
)
def test_a_damaged_history_is_refused(text: str, make_run: MakeRun) -> None:
    run = make_run()
    data = text.encode("utf-8", "surrogateescape")
    (run.path / "history.csv").write_bytes(data)

    with pytest.raises(CheckpointError, match=r"history\.csv in .* is damaged"):
        run.read_history()


def test_runs_are_listed_with_the_newest_first(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for name, time in (("old", 1000), ("new", 3000), ("middle", 2000)):
        for file in make_run(name, ious=(0.5,)).path.iterdir():
            os.utime(file, (time, time))
    (tmp_path / "something else").mkdir()
    (tmp_path / "file").touch()

    runs = list_runs(tmp_path)

    assert [run.name for run in runs] == ["new", "middle", "old"]
    assert [run.modified.timestamp() for run in runs] == [3000, 2000, 1000]


def test_run_begun_last_comes_first(tmp_path: Path) -> None:
    for name, at in (("run-9", 1000), ("run-10", 3000), ("run-of-mine", 2000)):
        config = tmp_path / name / "config.json"
        config.parent.mkdir()
        config.write_text("{}")
        os.utime(config, (at, at))
    (tmp_path / "run-11").mkdir()

    runs = list_runs(tmp_path)

    assert [run.name for run in runs] == ["run-10", "run-of-mine", "run-9"]


@pytest.mark.parametrize("name", ["config.json", "history.csv", "best.safetensors"])
def test_a_damaged_run_is_listed_with_the_reason(
    name: str, make_run: MakeRun, tmp_path: Path
) -> None:
    make_run("sound", ious=(0.5,))
    (make_run("torn", ious=(0.5,)).path / name).write_bytes(b"\xff{")

    runs = {run.name: run for run in list_runs(tmp_path)}

    assert name in runs["torn"].damaged
    assert "\n" not in runs["torn"].damaged
    assert not runs["torn"].can_resume
    assert runs["sound"].damaged == ""


def test_a_folder_that_is_not_there_holds_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "nowhere") == []


def test_listing_runs_needs_no_torch(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(ious=(0.5,))
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from napari_lrcs.training.run.folder import list_runs\n"
        "(run,) = list_runs(Path(sys.argv[1]))\n"
        "assert run.best_mean_iou == 0.5\n"
        "assert 'torch' not in sys.modules\n"
    )

    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)

    assert run.returncode == 0


def test_a_header_is_read_without_the_tensors(make_run: MakeRun) -> None:
    header = read_header(make_run(ious=(0.5,)).best)

    assert header.phases == PhaseTable.named("pore", "solid")
    assert header.history == (row(1, iou=0.5),)


def test_a_training_is_expected_to_take_as_long_per_voxel_as_one_of_its_network(
    tmp_path: Path,
) -> None:
    quick = PRESETS["quick"].with_changes(
        n_epochs=10, patches_per_epoch=100, patch_size=32
    )
    now = datetime.now().astimezone()
    run = RunSummary(
        path=tmp_path, started=now, modified=now, config=quick, n_done=5, seconds=20.0
    )
    untrained = replace(run, n_done=0, seconds=0.0)
    other = replace(run, config=quick.with_changes(n_filters=3))
    longer = quick.with_changes(n_epochs=30, patches_per_epoch=50, patch_size=64)

    assert expected_seconds(longer, [untrained, other, run]) == 4 * 30 * 2
    assert expected_seconds(longer, [untrained, other]) is None
