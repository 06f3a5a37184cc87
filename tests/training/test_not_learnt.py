"""Phases that are painted, but not learnt."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.arrays import Confusion
from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import (
    EpochEnded,
    Notice,
    NotLearnt,
    TrainEvent,
    TrainingEnded,
)
from napari_lrcs.training import scoring
from napari_lrcs.training.loop import train
from napari_lrcs.training.not_learnt import (
    TRAINING_PATCHES,
    advice,
    find_not_learnt,
)
from napari_lrcs.training.scoring import SliceScore

Annotate = Callable[..., Annotation]
PHASES = PhaseTable.named("pore", "crack")
NEVER = np.array([[80, 0], [20, 0]])
POOR = np.array([[70, 10], [19, 1]])  # IoU of crack 1/30
GOOD = np.array([[78, 2], [2, 18]])
NO_CRACK = np.array([[80, 0], [0, 0]])


def clauses(found: dict[NotLearnt, str]) -> list[str]:
    return [f"{phase} {where}" for phase, where in found.items()]


def test_each_phase_is_named_where_it_is_seen_first() -> None:
    found = find_not_learnt(
        {"in validation": POOR, "in the test": NEVER, TRAINING_PATCHES: NEVER}, PHASES
    )

    assert clauses(found) == ["crack has an IoU of only 3.3% in validation"]


@pytest.mark.parametrize("validation", [None, NO_CRACK], ids=["none", "no crack"])
def test_a_phase_without_validation_is_judged_by_the_training_patches(
    validation: Confusion | None,
) -> None:
    found = find_not_learnt(
        {"in validation": validation, TRAINING_PATCHES: NEVER}, PHASES
    )

    assert clauses(found) == [
        "crack is never predicted where it is painted in the training patches"
    ]


def test_a_phase_that_is_validated_is_not_judged_by_the_training_patches() -> None:
    found = find_not_learnt({"in validation": GOOD, TRAINING_PATCHES: NEVER}, PHASES)

    assert found == {}


def test_balance_is_advised_until_it_was_tried(tiny_config: TrainConfig) -> None:
    balanced = tiny_config.with_changes(balance=0.5)

    texts = [
        advice(config.optimisation, balance="--balance")
        for config in (tiny_config, balanced)
    ]

    assert texts[0].startswith("balance the patches between the phases (--balance 0.5)")
    assert texts[1].startswith("give it a higher phase weight")


@pytest.fixture
def scored(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[TrainEvent]]:
    """Train for as many epochs as there are confusions; the last is of the best."""

    def run(*confusions: Confusion) -> list[TrainEvent]:
        left = iter(confusions)

        def score(*_: object, **__: object) -> Iterator[SliceScore]:
            found = next(left)
            predicted = found.sum(axis=0)
            yield SliceScore(loss=0.0, confusion=found, predicted=predicted)

        monkeypatch.setattr(scoring, "evaluate_slice", score)
        config = tiny_config.with_changes(
            n_epochs=len(confusions) - 1, patches_per_epoch=1, batch_size=1
        )
        return list(train(striped_annotation(), config=config, run=tmp_path / "run"))

    return run


def told_after(events: list[TrainEvent]) -> list[int]:
    """List how many epochs had ended before each notice of a phase not learnt."""
    found, n_ended = [], 0
    for event in events:
        n_ended += isinstance(event, EpochEnded)
        if isinstance(event, Notice) and event.kind == "not_learnt":
            found.append(n_ended)
    return found


def test_a_phase_not_learnt_is_told_once_after_half_of_the_training(
    scored: Callable[..., list[TrainEvent]],
) -> None:
    events = scored(POOR, POOR, POOR, POOR, POOR)

    assert told_after(events) == [2]
    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.text == (
        "after epoch 2, phase 2 has an IoU of only 3.3% on the validation slices; "
        "balance the patches between the phases (balance 0.5), give it a higher phase "
        "weight, paint more of it, or train longer"
    )
    assert isinstance(events[-1], TrainingEnded)
    assert events[-1].not_learnt == (NotLearnt(label=2, name="phase 2", iou=1 / 30),)


def test_a_phase_that_is_learnt_late_is_not_named_at_the_end(
    scored: Callable[..., list[TrainEvent]],
) -> None:
    events = scored(POOR, POOR, GOOD, GOOD, GOOD)

    assert told_after(events) == [2]
    assert isinstance(events[-1], TrainingEnded)
    assert events[-1].not_learnt == ()


def test_nothing_is_told_of_the_first_half(
    scored: Callable[..., list[TrainEvent]],
) -> None:
    assert told_after(scored(POOR, GOOD, GOOD, GOOD, GOOD)) == []


def test_in_a_pitfall_what_is_not_learnt_is_told_at_the_end_alone(
    scored: Callable[..., list[TrainEvent]],
) -> None:
    events = scored(NEVER, NEVER, NEVER, NEVER, NEVER)

    kinds = [event.kind for event in events if isinstance(event, Notice)]
    assert kinds == ["pitfall", "not_learnt"]
    assert told_after(events) == [4]
