import io
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.commands.parts.progress import busy, follow
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.progress import (
    EpochEnded,
    Notice,
    PredictEvent,
    PredictionEnded,
    PredictionStarted,
    SlabPredicted,
    StepEnded,
    TilePredicted,
    TrainEvent,
    TrainingEnded,
    TrainingStarted,
)

CONFUSION = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])

STARTED = TrainingStarted(
    device="cpu",
    precision="float32",
    rounds_alike=True,
    n_parameters=2_847_395,
    n_epochs=5,
    steps_per_epoch=100,
    first_epoch=3,
)
STEP = StepEnded(epoch=3, step=50, steps_per_epoch=100, loss=0.25, checkpoint=dict)
EPOCH = EpochEnded(
    epoch=3,
    n_epochs=5,
    step=300,
    learning_rate=1e-4,
    loss=0.1234,
    training=CONFUSION,
    validation_loss=0.2,
    validation=CONFUSION,
    is_best=True,
    seconds=71.4,
)
ENDED = TrainingEnded(
    best=Path("run/best.safetensors"),
    epochs=5,
    seconds=100.0,
    device="cpu",
    validation=CONFUSION,
    test=None,
)


def told(
    event: TrainEvent | PredictEvent, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """Follow one event and give the lines on standard error."""
    follow([event], phases=ELECTRODE)
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.splitlines()


# ---- progress ----


def test_the_last_event_is_returned() -> None:
    events: list[TrainEvent] = [STARTED, STEP, EPOCH, ENDED]

    assert follow(iter(events), phases=ELECTRODE) is ENDED


def test_the_start_says_what_is_trained_and_where(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(STARTED, capsys) == [
        "training 2,847,395 parameters on cpu in float32: 5 epochs of 100 steps"
    ]
    short = replace(STARTED, n_epochs=1, steps_per_epoch=1)
    assert told(short, capsys)[0].endswith(": 1 epoch of 1 step")
    on_a_gpu = replace(STARTED, device="cuda", precision="bf16", rounds_alike=False)
    assert " on cuda in bf16, not deterministic: " in told(on_a_gpu, capsys)[0]


def test_an_epoch_is_one_line_however_long_its_phases(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(EPOCH, capsys) == [
        "epoch   3/5  loss 0.123  1:11  mean IoU 77.5%  pore 75.0%  CBD 80.0%  "
        "NMC –  best"
    ]


def test_an_epoch_without_validation_shows_no_score(
    capsys: pytest.CaptureFixture[str],
) -> None:
    epoch = EpochEnded(
        epoch=1,
        n_epochs=1,
        step=1,
        learning_rate=1e-4,
        loss=1.0,
        training=CONFUSION,
        validation_loss=math.nan,
        validation=None,
        is_best=True,
        seconds=0.0,
    )

    assert told(epoch, capsys) == ["epoch   1/1  loss 1.000  0:00  "]


def test_steps_and_tiles_leave_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    tile = TilePredicted(n_done=0.5, n_slices=2)
    slab = SlabPredicted(start=0, stop=1, n_done=1, n_slices=2)

    assert [told(event, capsys) for event in (STEP, tile, slab)] == [[], [], []]


def test_a_notice_stands_out_and_is_taken_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    notice = Notice(kind="advice", text="[/] file[1].tif is half unpainted")

    assert told(notice, capsys) == ["! [/] file[1].tif is half unpainted"]


def test_prediction_tells_its_start_and_its_speed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = PredictionStarted(
        device="cuda", precision="bf16", n_slices=9, n_done=4, n_tiles=6
    )
    ended = PredictionEnded(
        out=Path("seg.tif"),
        shape=(9, 1000, 1000),
        n_voxels=5_000_000,
        seconds=2.0,
        device="cuda",
    )

    assert told(started, capsys) == [
        "predicting 9 slices in 6 tiles each on cuda in bf16; 4 were finished before"
    ]
    assert told(ended, capsys) == [
        "5,000,000 voxels in 2.0 s (2.5 million a second): seg.tif"
    ]
    assert told(replace(ended, n_voxels=50_000), capsys) == [
        "50,000 voxels in 2.0 s (0.025 million a second): seg.tif"
    ]


def test_a_bar_is_drawn_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    slab = SlabPredicted(start=0, stop=1, n_done=1, n_slices=2)
    started = PredictionStarted(
        device="cpu", precision="float32", n_slices=2, n_done=0, n_tiles=1
    )

    follow([STARTED, STEP, EPOCH, started, slab], phases=ELECTRODE)

    printed = capsys.readouterr()
    assert printed.out == ""
    assert "predicting" in printed.err
    assert "50%" in printed.err
    assert "left" in printed.err


def test_events_are_drawn_one_by_one() -> None:
    drawn: list[int] = []

    def events() -> Iterator[TrainEvent]:
        for i in range(3):
            drawn.append(i)
            yield STEP
        raise ValueError("the third is the last")

    with pytest.raises(ValueError, match="the third is the last"):
        follow(events(), phases=ELECTRODE)
    assert drawn == [0, 1, 2]


# ---- names from outside ----

ODD = "[/b] \x1b[31m:smile:\n\u202e"
SHOWN = "[/b] \\x1b[31m:smile:\\n\\u202e"


def test_names_are_shown_as_they_are_in_an_epochs_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    follow([EPOCH], phases=PhaseTable.named(ODD, "b", "c"))

    (line,) = capsys.readouterr().err.splitlines()
    assert f"{SHOWN} 75.0%" in line


@pytest.mark.parametrize("notice", [True, False])
def test_names_are_shown_as_they_are_in_lines(
    notice: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    event: TrainEvent = Notice(kind="advice", text=ODD)
    if not notice:
        event = replace(ENDED, best=Path(ODD))

    follow([event], phases=ELECTRODE)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(SHOWN)


def test_work_on_a_phase_of_any_name_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    output.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", output)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    with busy(f"separating {ODD}"):
        pass

    assert f"separating {SHOWN}" in output.getvalue()
