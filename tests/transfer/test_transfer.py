import csv
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch

from napari_lrcs.annotation.annotation import read_annotation
from napari_lrcs.errors import CheckpointError, ResultExistsError, VolumeError
from napari_lrcs.io.records import read_json, write_json
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import Notice
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import Origin
from napari_lrcs.transfer.config import TransferConfig
from napari_lrcs.transfer.folder import TransferFolder, newest_transfer
from napari_lrcs.transfer.plan import Start, TransferTask
from napari_lrcs.transfer.results import StartResult, TransferFindings
from napari_lrcs.transfer.transfer import (
    StartTrained,
    TransferEnded,
    TransferEvent,
    TransferProgress,
    TransferStarted,
    compare_starts,
)
from searches import CONFIG, VOLUME

pytestmark = pytest.mark.usefixtures("one_thread")

STARTS = (0, 1e-3), (1, 1e-3), (1, 3e-4), (2, 1e-3), (2, 3e-4), (2, 9e-5)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Train on a similar sample, which is the same one here."""
    run = RunFolder(tmp_path_factory.mktemp("source") / "run")
    list(train(read_annotation([VOLUME], config=CONFIG), config=CONFIG, run=run.path))
    return run


def task_from(source: RunFolder) -> TransferTask:
    return TransferTask(
        volumes=(VOLUME,),
        source=source,
        config=CONFIG.with_changes(learning_rate=1e-3, decay_ratio=0.3),
        transfer=TransferConfig(n_moments=2, n_repeats=2),
    )


@pytest.fixture(scope="module")
def compared(
    source: RunFolder, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[TransferEvent]]:
    """Stop a comparison in its fifth training, and continue it to its end."""
    out = tmp_path_factory.mktemp("transfer") / "out"
    events: list[TransferEvent] = []
    stopped = compare_starts(task_from(source), out=out)
    for event in stopped:
        events.append(event)
        if sum(isinstance(e, StartTrained) for e in events) == 4:
            break
    stopped.close()
    events += compare_starts(task_from(source), out=out, resume=True)
    return out, events


# ---- what is compared ----


@pytest.mark.parametrize(
    ("schedule", "powers"), [("step", (0, 3, 4)), ("one_cycle", (0, 1, 2))]
)
def test_the_rates_are_those_of_the_paper(
    schedule: str, powers: tuple[int, ...], source: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    config = CONFIG.with_changes(n_epochs=4, schedule=schedule)
    run.path.mkdir()
    write_json(run.path / "config.json", config.to_dict())
    for epoch in (2, 4):
        shutil.copy(source.moments[1], run.path / f"epoch-{epoch:04d}.safetensors")
    task = replace(task_from(run), transfer=TransferConfig(n_moments=1, n_repeats=1))

    scratch, *starts = task.starts

    assert scratch == Start(epoch=0, learning_rate=1e-3)
    assert {start.epoch for start in starts} == {4}
    rates = [start.learning_rate for start in starts]
    assert rates == pytest.approx([1e-3 * 0.3**power for power in powers])
    assert len({start.name for start in starts}) == len(starts)


def test_a_run_without_saved_moments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has saved no moments to start from"):
        task_from(RunFolder(tmp_path))


# ---- a whole comparison ----


def test_every_start_is_trained_as_often_as_asked(
    compared: tuple[Path, list[TransferEvent]],
) -> None:
    findings = TransferFolder(compared[0]).read_findings()

    starts = [result.start for result in findings.results]
    assert [start.epoch for start in starts] == [epoch for epoch, _ in STARTS]
    rates = [rate for _, rate in STARTS]
    assert [start.learning_rate for start in starts] == pytest.approx(rates)
    for result in findings.results:
        assert [len(curve) for curve in result.mean_iou] == [2, 2]
        assert [len(curve) for curve in result.accuracy] == [2, 2]


def test_a_stopped_comparison_trains_nothing_twice(
    compared: tuple[Path, list[TransferEvent]],
) -> None:
    events = compared[1]

    first, second = (e for e in events if isinstance(e, TransferStarted))
    assert (first.n_trainings, first.n_done, second.n_done) == (12, 0, 4)
    assert sum(isinstance(e, StartTrained) for e in events) == 12
    shares = [e.share for e in events if isinstance(e, TransferProgress)]
    assert shares == sorted(shares)
    assert isinstance(events[-1], TransferEnded)


def test_trainings_begin_with_the_weights_of_their_moment(
    source: RunFolder, tmp_path: Path
) -> None:
    task = task_from(source)
    *_, last = task.starts
    still = replace(
        task,
        config=task.config.with_changes(learning_rate=1e-8, n_epochs=1),
        transfer=TransferConfig(n_moments=1, n_repeats=1),
    )

    list(compare_starts(still, out=tmp_path / "out"))

    expected = _weights(source.moments[last.epoch])
    folder = TransferFolder(tmp_path / "out")
    # One start, since no lower rate is allowed.
    other, weights = (_weights(folder.run_of(s, 0).best) for s in still.starts)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-6)
    assert not torch.allclose(other["encoder.0.weight"], expected["encoder.0.weight"])


def _weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(checkpoint).state
    return {name: t for name, t in state.items() if name.endswith("weight")}


def test_table_and_figure_are_left(compared: tuple[Path, list[TransferEvent]]) -> None:
    out = compared[0]

    with (out / "transfer.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    picture = matplotlib.image.imread(out / "transfer.png")

    assert [int(row["epoch"]) for row in rows] == [epoch for epoch, _ in STARTS]
    assert float(rows[0]["gain"]) == 0
    assert picture.std() > 0.01
    kept = {path.name for path in out.glob("scratch/repeat-0/*.safetensors")}
    assert kept == {"best.safetensors"}


def test_new_phases_are_said_once(tmp_path: Path) -> None:
    known = RunFolder(tmp_path / "named")
    named = read_annotation(
        [VOLUME], config=CONFIG, phases=PhaseTable.named("pore", "solid")
    )
    list(train(named, config=CONFIG, run=known.path))
    task = replace(
        task_from(known),
        phases=PhaseTable.named("pore", "nickel"),
        transfer=TransferConfig(n_repeats=1),
    )

    events = list(compare_starts(task, out=tmp_path / "out"))

    texts = [event.text for event in events if isinstance(event, Notice)]
    assert len(texts) == len(set(texts))
    assert any("nickel starts fresh" in text for text in texts)


# ---- what is refused ----


def test_a_comparison_is_neither_replaced_nor_changed_unasked(
    source: RunFolder, compared: tuple[Path, list[TransferEvent]]
) -> None:
    task = task_from(source)
    other = replace(task, config=task.config.with_changes(gain=0.2))

    with pytest.raises(ResultExistsError, match="holds a transfer already"):
        next(compare_starts(task, out=compared[0]))
    with pytest.raises(VolumeError, match=r"other settings \(gain: 0.1, now 0.2\)"):
        next(compare_starts(other, out=compared[0], resume=True))


def test_a_comparison_is_not_continued_from_another_network(
    source: RunFolder, tmp_path: Path
) -> None:
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(source.path, copy.path)
    task = task_from(copy)
    events = compare_starts(task, out=tmp_path / "out")
    next(events)
    events.close()
    first, second = copy.moments.values()
    shutil.copy(second, first)

    with pytest.raises(VolumeError, match="other settings \\(weights"):
        next(compare_starts(task, out=tmp_path / "out", resume=True))


def test_starts_with_close_rates_have_folders_of_their_own(source: RunFolder) -> None:
    task = task_from(source)
    close = replace(task, config=task.config.with_changes(decay_ratio=0.999))

    names = [start.name for start in close.starts]

    assert len(set(names)) == len(names) == 6


def test_a_network_that_does_not_fit_is_refused_before_anything_is_trained(
    source: RunFolder, tmp_path: Path
) -> None:
    task = task_from(source)
    wider = replace(task, config=task.config.with_changes(n_filters=3))

    with pytest.raises(CheckpointError, match="does not fit the network"):
        next(compare_starts(wider, out=tmp_path / "out"))

    assert not (tmp_path / "out").exists()


# ---- what is found ----


def test_gain_and_speed_are_measured_against_scratch() -> None:
    def result(epoch: int, *curves: tuple[float, ...]) -> StartResult:
        start = Start(epoch=epoch, learning_rate=1e-3)
        return StartResult(start=start, accuracy=curves, mean_iou=curves)

    findings = TransferFindings(
        source="run",
        results=(
            result(0, (0.2, 0.5, 0.6), (0.4, 0.5, 0.4)),
            result(4, (0.5, 0.7, 0.6), (0.5, 0.7, 0.8)),
            result(5, (0.1, 0.2, 0.3)),
        ),
    )

    scratch, helped, failed = findings.rows
    # Best of each training, then their mean: (0.6 + 0.5) / 2 and (0.7 + 0.8) / 2.
    assert scratch["mean_iou"] == pytest.approx(0.55)
    assert helped["mean_iou"] == pytest.approx(0.75)
    assert helped["gain"] == pytest.approx(0.2)
    # The mean from scratch is 0.3, 0.5, 0.5; that with transfer is 0.5 at once.
    assert (scratch["epochs"], helped["epochs"], failed["epochs"]) == (2, 1, None)
    assert helped["accuracy"] == pytest.approx(0.7)


# ---- its folder ----


def test_the_newest_comparison_is_found_with_where_it_starts_from(
    source: RunFolder, compared: tuple[Path, list[TransferEvent]], tmp_path: Path
) -> None:
    for number, n_trained in ((1, 12), (2, 0)):
        place = tmp_path / f"transfer-{number}"
        shutil.copytree(compared[0], place)
        os.utime(place / "transfer.json", (number, number))
        if not n_trained:
            shutil.rmtree(place / "scratch")

    newest = newest_transfer(tmp_path)

    assert newest == TransferFolder(tmp_path / "transfer-2")
    assert newest.read_origin() == Origin(path=source.path, kept="all")
    assert not newest.is_complete
    assert TransferFolder(tmp_path / "transfer-1").is_complete
    assert newest_transfer(tmp_path / "elsewhere") is None


def test_a_comparison_of_an_earlier_version_does_not_say_where_it_starts_from(
    compared: tuple[Path, list[TransferEvent]], tmp_path: Path
) -> None:
    record = read_json(compared[0] / "transfer.json", dict[str, Any])
    del record["source"]
    write_json(tmp_path / "transfer.json", record)

    with pytest.raises(VolumeError, match="continue it on the command line"):
        TransferFolder(tmp_path).read_origin()
