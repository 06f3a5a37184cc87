"""When previews of a training are due, by a clock that only the test moves."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_lrcs.io.volume import as_volume
from napari_lrcs.plugin.train import preview
from napari_lrcs.plugin.train.preview import PreviewSource, Worked, with_previews
from napari_lrcs.progress import (
    EpochEnded,
    OverlayChosen,
    Resting,
    StepEnded,
    StrokesTaken,
    TrainingEnded,
)

pytestmark = pytest.mark.gui

CONFUSION = np.eye(2, dtype=np.int64)
EPOCH = EpochEnded(
    epoch=1,
    n_epochs=2,
    step=1,
    learning_rate=1e-3,
    loss=0.5,
    training=CONFUSION,
    validation_loss=0.5,
    validation=CONFUSION,
    is_best=True,
    seconds=1.0,
)
ENDED = TrainingEnded(
    best=Path("best"), epochs=2, seconds=1.0, device="cpu", validation=None, test=None
)
STEP = StepEnded(epoch=1, step=1, steps_per_epoch=100, loss=0.5, checkpoint=dict)
RESTING = Resting(checkpoint=dict)
PREVIEW = "preview"


class Training:
    """A training whose steps and previews take times of their own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cost: float) -> None:
        self.now, self.in_view = 0.0, 0
        self.source = PreviewSource(
            volume=as_volume(np.zeros((2, 8, 8), np.float32)),
            mask=None,
            shape=(2, 8, 8),
            in_view=lambda _axis: self.in_view,
        )

        def predict(previews: Any, load: Any) -> Iterator[str]:
            del load
            previews._shown = self.in_view
            self.now += cost
            yield PREVIEW

        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(preview._Previews, "_predict", predict)

    def run(self, *events: tuple[object, float]) -> Iterator[Any]:
        """Yield events, each of which takes some seconds to make."""

        def timed() -> Any:
            for event, seconds in events:
                self.now += seconds
                yield event

        return with_previews(timed(), run=Path("run"), source=self.source)


def places(events: Iterator[Any]) -> list[int]:
    """Return the numbers of the steps, from 0, after which previews came."""
    n_steps, found = 0, []
    for event in events:
        n_steps += isinstance(event, StepEnded)
        if event == PREVIEW:
            found.append(n_steps - 1)
    return found


def test_first_preview_comes_after_a_handful_of_steps_then_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(monkeypatch, cost=0.1)

    found = places(training.run((STEP, 9.0), *[(STEP, 0.5)] * 20))

    # Half a second each: one, then three seconds later.
    assert found == [2, 8, 14, 20]


def test_previews_that_are_slow_take_a_tenth_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(monkeypatch, cost=2.0)

    found = places(training.run(*[(STEP, 1.0)] * 100))

    assert found == [1, 19, 37, 55, 73, 91]


def test_each_epoch_is_shown_unless_that_takes_too_long_and_the_last_always(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    epochs = [(STEP, 1.0), (EPOCH, 0.1)] * 3

    fast = places(Training(monkeypatch, cost=0.05).run(*epochs, (ENDED, 0.1)))
    slow = places(Training(monkeypatch, cost=5.0).run(*epochs, (ENDED, 0.1)))

    assert fast == [0, 1, 2]
    assert slow == [0, 2]


def test_previews_that_nobody_wants_are_not_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(monkeypatch, cost=0.1)
    training.source.unwanted.set()

    found = places(training.run(*[(STEP, 1.0)] * 10, (EPOCH, 1.0), (ENDED, 1.0)))

    assert found == []


def test_neither_previews_nor_pauses_count_as_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(monkeypatch, cost=0.5)
    worked = []
    for event in training.run((STEP, 9.0), *[(STEP, 1.0)] * 3):
        if isinstance(event, Worked):
            worked.append(event.seconds)
        training.now += 100.0

    assert worked == [9.0, 10.0, 11.0, 12.0]


def test_another_slice_in_view_is_shown_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(monkeypatch, cost=0.1)
    found = []
    for event in training.run(*[(STEP, 0.5)] * 5, *[(RESTING, 0.5)] * 9):
        found.append(event)
        training.in_view = int(len(found) > 8) + int(len(found) > 15)

    shown = [i for i, event in enumerate(found) if event == PREVIEW]
    before = [type(found[i - 1]).__name__ for i in shown]
    assert before == ["StepEnded", "StepEnded", "Resting"]


def test_forest_is_shown_when_it_is_fitted_and_where_the_view_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(monkeypatch, cost=0.1)
    forest = OverlayChosen(by="forest", predict=lambda _: np.zeros((8, 8), np.uint8))
    found = []
    for event in training.run((STEP, 0.1), (forest, 0.1), *[(STEP, 5.0)] * 4):
        found.append(event)
        training.in_view = int(len(found) > 7)

    kinds = [type(event).__name__ for event in found if not isinstance(event, Worked)]
    steps = ["StepEnded"] * 2
    assert kinds == ["StepEnded", "OverlayChosen", "str", *steps, "str", *steps]


def test_stroke_is_answered_after_a_second_of_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stroke = StrokesTaken(slices=(0,), n_voxels=5, step=1)
    training = Training(monkeypatch, cost=1.0)
    before, after = [(STEP, 1.0)] * 3, [(STEP, 0.5)] * 19

    found = places(training.run(*before, (stroke, 0.0), *after))

    # The first, one a second after the stroke, and the next after nine seconds.
    assert found == [1, 4]
