import csv
import gc
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_lrcs.annotation.annotation import (
    AnnotatedSlice,
    Annotation,
    Role,
    read_annotation,
)
from napari_lrcs.annotation.project import open_annotated
from napari_lrcs.arrays import Confusion
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import (
    CheckpointError,
    PaintingChangedError,
    ResultExistsError,
)
from napari_lrcs.inference.predict import predict_slice
from napari_lrcs.io.volume import as_volume
from napari_lrcs.metrics.calibration import (
    UNCALIBRATED,
    fit_confidence_curve,
    fit_temperature,
)
from napari_lrcs.metrics.overlap import accuracy
from napari_lrcs.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.registry import MODELS
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import (
    EpochEnded,
    Notice,
    Scoring,
    StepEnded,
    TrainEvent,
    TrainingEnded,
    TrainingStarted,
)
from napari_lrcs.training import loop, scoring
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.scoring import SliceScore
from napari_lrcs.training.session import TrainingSession
from napari_lrcs.training.transfer import Origin
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")

Annotate = Callable[..., Annotation]
FinishedRun = Callable[[TrainConfig], Path]
Event = TypeVar("Event")

RANDOM: dict[str, Any] = {
    "flip": True,
    "rotation": 30.0,
    "elastic": 1.0,
    "gain": 0.2,
    "noise": 0.3,
}
"""Augmentation that draws all kinds of random numbers."""


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell of every step, however fast they are."""
    monkeypatch.setattr(loop, "_EVENT_SECONDS", 0.0)


def of_kind(events: list[TrainEvent], kind: type[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


def notices(events: list[TrainEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.text) for event in of_kind(events, Notice)]


def stop_after(events: Iterator[TrainEvent], kind: type[Event], n: int = 1) -> None:
    """Close a training at its n-th event of a kind."""
    with closing(events):  # type: ignore[type-var]  # generators close
        matching = (event for event in events if isinstance(event, kind))
        assert len(list(islice(matching, n))) == n


def states_of(run: Path) -> dict[str, dict[str, Tensor]]:
    return {
        path.name: dict(load_checkpoint(path).state)
        for path in sorted(run.glob("*.safetensors"))
    }


def temperatures_of(run: Path) -> dict[str, float]:
    return {
        path.name: load_checkpoint(path).temperature
        for path in sorted(run.glob("*.safetensors"))
    }


def history_of(run: Path) -> list[dict[str, str]]:
    """Read the history but for the time that it took."""
    rows = csv.DictReader((run / "history.csv").read_text("utf-8").splitlines())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def assert_same_run(run: Path, expected: Path) -> None:
    states, expected_states = states_of(run), states_of(expected)
    assert states.keys() == expected_states.keys()
    for file, state in states.items():
        for name, tensor in state.items():
            assert torch.equal(tensor, expected_states[file][name]), (file, name)
    assert history_of(run) == history_of(expected)
    assert temperatures_of(run) == temperatures_of(expected)


# ---- the way through ----


@pytest.mark.usefixtures("every_step")
def test_events_come_in_order(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    events = list(train(striped_annotation(), config=tiny_config, run=tmp_path))

    assert [type(event) for event in events] == [
        TrainingStarted,
        *(StepEnded, StepEnded, Scoring, EpochEnded) * 2,
        Scoring,
        TrainingEnded,
    ]
    steps = of_kind(events, StepEnded)
    assert [(s.epoch, s.step, s.steps_per_epoch) for s in steps] == [
        (1, 1, 2),
        (1, 2, 2),
        (2, 1, 2),
        (2, 2, 2),
    ]
    epochs = of_kind(events, EpochEnded)
    assert [(e.epoch, e.n_epochs, e.step) for e in epochs] == [(1, 2, 2), (2, 2, 4)]
    (started,), (ended,) = (
        of_kind(events, TrainingStarted),
        of_kind(events, TrainingEnded),
    )
    assert (started.first_epoch, started.steps_per_epoch) == (1, 2)
    assert (ended.epochs, ended.device) == (2, "cpu")
    # Patches of the epoch as trained on, and all voxels of the validation slice.
    assert epochs[0].training.sum() == 8 * 16 * 16
    assert epochs[0].validation is not None
    assert epochs[0].validation.sum() == 32 * 40


def test_training_leaves_a_run_folder(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    run = tmp_path / "new" / "run"

    *_, ended = train(striped_annotation(), config=tiny_config, run=run)

    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "history.csv",
        "labels.tif",
        "resume.pt",
        "best.safetensors",
        "last.safetensors",
        "epoch-0001.safetensors",
        "epoch-0002.safetensors",
    }
    assert isinstance(ended, TrainingEnded)
    assert ended.best == run / "best.safetensors"
    best = load_checkpoint(run)
    assert best.config == tiny_config
    assert best.labels_hash == striped_annotation().labels_hash
    assert len(history_of(run)) == 2


def test_separable_phases_are_learnt(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation = striped_annotation(("train", "validation", "test"), n_phases=3)
    config = tiny_config.with_changes(
        n_filters=4, n_epochs=3, patches_per_epoch=160, patch_size=32, noise=0.05
    )

    *_, ended = train(annotation, config=config, run=tmp_path)

    assert isinstance(ended, TrainingEnded)
    assert ended.validation is not None
    assert ended.test is not None
    assert accuracy(ended.validation) > 0.95
    assert accuracy(ended.test) > 0.95


def test_few_painted_pixels_are_enough_to_learn_from(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    full = striped_annotation(("train", "validation"))
    scribbled, validation = full.slices
    is_painted = np.random.default_rng(0).random(scribbled.labels.shape) < 0.05
    scribbles = AnnotatedSlice(
        read=scribbled.read,
        labels=np.where(is_painted, scribbled.labels, 0).astype(np.uint8),
        role="train",
        index=0,
    )
    annotation = Annotation(slices=(scribbles, validation), phases=full.phases)
    config = tiny_config.with_changes(
        n_filters=4, n_epochs=3, patches_per_epoch=200, patch_size=32
    )

    *_, ended = train(annotation, config=config, run=tmp_path)

    assert isinstance(ended, TrainingEnded)
    assert ended.validation is not None
    assert accuracy(ended.validation) > 0.95


def test_learning_rate_follows_the_schedule(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(schedule="step", decay_ratio=0.5, n_epochs=3)

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    rates = [event.learning_rate for event in of_kind(events, EpochEnded)]
    assert rates == pytest.approx([1e-2, 5e-3, 2.5e-3])


def test_averaging_changes_the_network_that_is_kept_and_not_the_steps(
    tiny_config: TrainConfig, finished_run: Callable[[TrainConfig], Path]
) -> None:
    config = tiny_config.with_changes(weight_averaging=0.0)
    runs = [RunFolder(finished_run(c)) for c in (tiny_config, config)]

    averaged, plain = (run.read_resume() for run in runs)

    assert all(torch.equal(plain.model[name], t) for name, t in averaged.model.items())
    assert not plain.averaged
    kept = load_checkpoint(runs[0].path / "last.safetensors").state
    assert all(torch.equal(averaged.averaged[name], t) for name, t in kept.items())
    assert not all(torch.equal(averaged.model[name], t) for name, t in kept.items())


def test_last_batch_of_an_epoch_is_whole(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(patches_per_epoch=9)

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    assert of_kind(events, EpochEnded)[0].step == 3


def _score_of(confusion: Confusion, *, loss: float = 0.0) -> SliceScore:
    return SliceScore(loss=loss, confusion=confusion, predicted=confusion.sum(axis=0))


def test_best_is_the_epoch_with_the_highest_validation_score(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rights = iter([5, 9, 7, 9, 9])  # the last is for the end, of the best

    def score(*_: object, **__: object) -> Iterator[SliceScore]:
        right = next(rights)
        counts = np.array([[right, 10 - right], [10 - right, right]])
        yield _score_of(counts)

    monkeypatch.setattr(scoring, "evaluate_slice", score)
    config = tiny_config.with_changes(n_epochs=4)

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    assert [e.is_best for e in of_kind(events, EpochEnded)] == [
        True,
        True,
        False,
        False,
    ]
    assert len(load_checkpoint(tmp_path).history) == 2
    assert len(load_checkpoint(tmp_path / "last.safetensors").history) == 4


def test_best_network_has_the_calibration_of_its_own_validation(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation = striped_annotation(shape=(40, 80))
    stop_after(
        train(annotation, config=tiny_config, run=tmp_path), EpochEnded
    )  # stopped, and yet calibrated

    best = load_checkpoint(tmp_path)
    (validation,) = annotation.with_role("validation")
    with torch.no_grad():
        image = torch.from_numpy(best.normalisation(validation.image))[None]
        logits = best.build()(image)[0].flatten(1).T.numpy()
    labels = validation.labels.ravel()
    assert best.temperature != 1
    assert best.temperature == pytest.approx(fit_temperature(logits, labels), rel=1e-3)
    curve = fit_confidence_curve(logits, labels, temperature=best.temperature)
    assert best.confidence_curve != UNCALIBRATED
    assert best.confidence_curve.falling == pytest.approx(curve.falling, abs=0.01)


def test_without_validation_nothing_is_calibrated(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    list(train(striped_annotation(("train",)), config=tiny_config, run=tmp_path))

    assert load_checkpoint(tmp_path).temperature == 1
    assert load_checkpoint(tmp_path).confidence_curve == UNCALIBRATED


def test_pitfall_after_better_epochs_costs_no_model(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good, fallen = np.array([[8, 2], [2, 8]]), np.array([[10, 0], [10, 0]])
    confusions = iter([good, fallen, fallen, fallen, good])

    def score(*_: object, **__: object) -> Iterator[SliceScore]:
        yield _score_of(next(confusions))

    monkeypatch.setattr(scoring, "evaluate_slice", score)
    config = tiny_config.with_changes(n_epochs=4, pitfall_restarts=1)

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    assert [kind for kind, _ in notices(events)] == ["pitfall"]
    assert len(load_checkpoint(tmp_path).history) == 1


def test_state_of_something_else_is_not_resumed(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    annotation = striped_annotation()
    shutil.copytree(finished_run(tiny_config), tmp_path, dirs_exist_ok=True)
    torch.save({"labels_hash": annotation.labels_hash}, tmp_path / "resume.pt")

    with pytest.raises(
        CheckpointError, match=r"resume\.pt in .* does not belong to this run"
    ):
        next(train(annotation, config=tiny_config, run=tmp_path, resume=True))


def test_of_equal_scores_the_one_with_the_lower_loss_is_the_best(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = iter([0.5, 0.2, 0.3, 0.2])  # the last is for the end, of the best

    def score(*_: object, **__: object) -> Iterator[SliceScore]:
        yield _score_of(np.array([[8, 0], [0, 8]]), loss=next(losses))

    monkeypatch.setattr(scoring, "evaluate_slice", score)
    config = tiny_config.with_changes(n_epochs=3)

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    bests = [e.is_best for e in of_kind(events, EpochEnded)]
    assert bests == [True, True, False]


def test_patience_ends_a_training_that_gets_no_better(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = _score_of(np.array([[6, 4], [4, 6]]))
    monkeypatch.setattr(scoring, "evaluate_slice", lambda *_, **__: iter([same]))
    config = tiny_config.with_changes(n_epochs=10, patience=2)

    *_, ended = train(striped_annotation(), config=config, run=tmp_path)

    assert isinstance(ended, TrainingEnded)
    assert ended.epochs == 3  # the first is the best, two more are no better


def test_four_checkpoints_are_kept_for_transfer(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(n_epochs=8, patches_per_epoch=4)

    list(train(striped_annotation(), config=config, run=tmp_path))

    kept = sorted(path.stem for path in tmp_path.glob("epoch-*.safetensors"))
    assert kept == ["epoch-0002", "epoch-0004", "epoch-0006", "epoch-0008"]
    epochs = [len(load_checkpoint(tmp_path / f"{k}.safetensors").history) for k in kept]
    assert epochs == [2, 4, 6, 8]


# ---- what is said ----


def test_advice_of_the_annotation_is_passed_on(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    plain = striped_annotation()
    annotation = Annotation(
        slices=plain.slices, phases=plain.phases, advice=("paint more",)
    )

    first = next(train(annotation, config=tiny_config, run=tmp_path))

    assert first == Notice(kind="advice", text="paint more")


def test_patch_larger_than_the_slice_is_cut_and_this_is_said(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(patch_size=512)

    events = list(
        train(striped_annotation(shape=(37, 90)), config=config, run=tmp_path)
    )

    ((kind, text),) = notices(events)
    assert kind == "patch_cut"
    assert "patches are 32 px, not 512" in text
    assert of_kind(events, EpochEnded)[0].training.sum() == 8 * 32 * 32


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("shape", [(1, 12), (9, 7)])
def test_slice_of_some_pixels_is_trained_on(
    model: str,
    shape: tuple[int, int],
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
) -> None:
    config = tiny_config.with_changes(model=model, patch_size=64)

    events = list(train(striped_annotation(shape=shape), config=config, run=tmp_path))

    assert isinstance(events[-1], TrainingEnded)


def test_validation_that_is_missing_is_not_made_up(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    events = list(
        train(striped_annotation(("train",)), config=tiny_config, run=tmp_path)
    )

    for event in of_kind(events, EpochEnded):
        assert event.validation is None
        assert np.isnan(event.validation_loss)
        assert event.is_best  # the last one is the one to use
    ended = events[-1]
    assert isinstance(ended, TrainingEnded)
    assert (ended.validation, ended.test) == (None, None)
    assert {row["validation_mean_iou"] for row in history_of(tmp_path)} == {""}


def test_blocks_of_the_painting_are_held_out_and_this_is_said(
    tiny_config: TrainConfig, tmp_path: Path
) -> None:
    labels = np.tile(np.arange(64) // 4 % 2 + 1, (1, 64, 1)).astype(np.uint8)
    np.save(tmp_path / "image.npy", labels * np.float32(100))
    np.save(tmp_path / "labels.npy", labels)
    volume = open_annotated(
        tmp_path / "image.npy", tmp_path / "labels.npy", slices={"train": "0"}
    )

    events = list(
        train(
            read_annotation([volume], config=tiny_config),
            config=tiny_config,
            run=tmp_path / "run",
        )
    )

    assert any("held out" in text for _, text in notices(events))
    ended = events[-1]
    assert isinstance(ended, TrainingEnded)
    assert ended.validation is not None
    assert 0.15 * 64 * 64 < ended.validation.sum() < 0.3 * 64 * 64


# ---- the major-class pitfall ----


@pytest.fixture
def hopeless(tiny_config: TrainConfig) -> TrainConfig:
    """Reward the first phase alone."""
    return tiny_config.with_changes(
        phase_weights=(1.0, 0.0),
        loss="cross_entropy",
        learning_rate=0.1,
        schedule="constant",
        weight_averaging=0.0,
        n_epochs=4,
        patches_per_epoch=40,
    )


def test_pitfall_is_told_with_advice(
    hopeless: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    events = list(train(striped_annotation(), config=hopeless, run=tmp_path))

    (_, text), *_ = notices(events)
    # Once two epochs in a row have shown it, and then no more.
    assert [kind for kind, _ in notices(events)] == ["pitfall", "not_learnt"]
    assert "only phase 1 is predicted" in text
    assert "50.0%" in text  # its share of the painted voxels
    assert "try another seed" in text
    assert of_kind(events, TrainingEnded)[0].epochs == 4


@pytest.mark.parametrize(
    ("roles", "where"),
    [
        (("train", "validation", "test"), "on the validation slices"),
        (("train",), "in the training patches"),
    ],
)
def test_a_phase_that_is_never_predicted_is_named_once(
    roles: tuple[Role, ...],
    where: str,
    hopeless: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
) -> None:
    annotation = striped_annotation(roles)

    events = list(train(annotation, config=hopeless, run=tmp_path))

    ended = events[-1]
    assert isinstance(ended, TrainingEnded)
    assert [(found.label, found.iou) for found in ended.not_learnt] == [(2, 0.0)]
    (told,) = [text for kind, text in notices(events) if kind == "not_learnt"]
    assert told.removeprefix("after epoch 2, ") == (
        f"phase 2 is never predicted where it is painted {where}; balance the patches "
        "between the phases (balance 0.5), give it a higher phase weight, paint more "
        "of it, or train longer"
    )


def test_nothing_is_said_of_phases_that_are_predicted(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(n_epochs=4, patches_per_epoch=40)

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    assert notices(events) == []


def test_pitfall_is_answered_by_a_restart_with_another_seed(
    hopeless: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = hopeless.with_changes(pitfall_restarts=1, seed=7)

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    kinds = [kind for kind, _ in notices(events) if kind != "not_learnt"]
    assert kinds[:3] == ["pitfall", "restart", "pitfall"]
    assert kinds.count("restart") == 1
    assert notices(events)[1] == ("restart", f"started again with seed {7 + 2**20}")
    restart = [type(e) for e in events].index(Notice) + 1
    epochs = [
        [event.epoch for event in of_kind(part, EpochEnded)]
        for part in (events[:restart], events[restart:])
    ]
    assert epochs == [[*range(1, 1 + len(epochs[0]))], [1, 2, 3, 4]]
    assert len(history_of(tmp_path)) == 4


@pytest.mark.parametrize("start", ["parent", "origin"])
def test_weights_of_another_network_are_not_given_up_for_random_ones(
    start: str, hopeless: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    first, second = tmp_path / "run-1", tmp_path / "run-2"
    annotation = striped_annotation()
    stop_after(train(annotation, config=hopeless, run=first), EpochEnded)
    config = hopeless.with_changes(pitfall_restarts=1)
    begun: dict[str, Any] = {
        "parent": {"parent": first},
        "origin": {"origin": Origin(path=first)},
    }

    stop_after(train(annotation, config=config, run=second, **begun[start]), EpochEnded)
    events = list(train(annotation, config=config, run=second, resume=True))

    kinds = [kind for kind, _ in notices(events)]
    assert "pitfall" in kinds
    assert "restart" not in kinds


def test_stopped_just_after_a_restart_it_can_be_resumed(
    hopeless: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    # The pitfall is seen in the last epoch.
    config = hopeless.with_changes(pitfall_restarts=1, n_epochs=2, seed=7)
    annotation = striped_annotation()

    events = train(annotation, config=config, run=tmp_path)
    while not (isinstance(e := next(events), Notice) and e.kind == "restart"):
        pass
    del events  # closes it

    summary = RunFolder(tmp_path).summarise()
    assert (summary.n_done, summary.is_finished, summary.can_resume) == (0, False, True)
    *_, ended = train(annotation, config=config, run=tmp_path, resume=True)
    assert isinstance(ended, TrainingEnded)
    assert ended.epochs == 2


def test_restart_is_as_a_training_with_that_seed(
    hopeless: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    restarted = hopeless.with_changes(pitfall_restarts=1, seed=7)
    other_seed = hopeless.with_changes(seed=7 + 2**20)

    for name, config in (("restarted", restarted), ("other_seed", other_seed)):
        list(train(striped_annotation(), config=config, run=tmp_path / name))

    assert_same_run(tmp_path / "restarted", tmp_path / "other_seed")


# ---- memory ----


def limit_batches(monkeypatch: pytest.MonkeyPatch, largest: int) -> list[int]:
    """Let the network run out of memory; return the sizes of its batches."""
    sizes: list[int] = []
    logits = LRCSNet.logits

    def limited(self: LRCSNet, x: Tensor) -> Tensor:
        if self.training:
            sizes.append(len(x))
            if len(x) > largest:
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return logits(self, x)

    monkeypatch.setattr(LRCSNet, "logits", limited)
    return sizes


@pytest.mark.parametrize(("largest", "told"), [(3, [2]), (1, [2, 1])])
def test_lack_of_memory_halves_the_parts_and_this_is_said(
    largest: int,
    told: list[int],
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = limit_batches(monkeypatch, largest)

    events = list(train(striped_annotation(), config=tiny_config, run=tmp_path))

    expected = [
        f"out of memory on cpu: each batch of 4 is now computed {n} patches at a time"
        for n in told
    ]
    assert notices(events) == [("out_of_memory", text) for text in expected]
    assert sizes.count(told[-1]) == 4 * 4 // told[-1]
    # All patches of the batch still count.
    assert of_kind(events, EpochEnded)[0].training.sum() == 8 * 16 * 16


def test_parts_give_the_gradient_of_the_whole_batch(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Without normalisation, which sees the batch, only rounding differs.
    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", lambda _, x: x)
    config = tiny_config.with_changes(loss="cross_entropy", patches_per_epoch=4)
    at_once = list(train(striped_annotation(), config=config, run=tmp_path / "whole"))

    limit_batches(monkeypatch, 2)
    in_parts = list(train(striped_annotation(), config=config, run=tmp_path / "parts"))

    losses = [[e.loss for e in of_kind(ev, EpochEnded)] for ev in (at_once, in_parts)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    whole, parts = (
        states_of(tmp_path / n)["last.safetensors"] for n in ("whole", "parts")
    )
    for name, tensor in whole.items():
        if "norm" not in name:
            torch.testing.assert_close(parts[name], tensor, rtol=1e-3, atol=1e-4)


def test_no_memory_for_a_single_patch_is_an_error(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit_batches(monkeypatch, 0)

    with pytest.raises(MemoryError):
        list(train(striped_annotation(), config=tiny_config, run=tmp_path))


def test_other_errors_are_not_taken_for_a_lack_of_memory(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: LRCSNet, x: Tensor) -> Tensor:
        raise RuntimeError(f"no kernel for {tuple(x.shape)}")

    monkeypatch.setattr(LRCSNet, "logits", fail)

    with pytest.raises(RuntimeError, match="no kernel for"):
        list(train(striped_annotation(), config=tiny_config, run=tmp_path))


# ---- stopping and resuming ----


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    ("kind", "n", "first_epoch"),
    [
        (TrainingStarted, 1, 1),
        (StepEnded, 1, 1),
        (StepEnded, 2, 1),  # trained, not validated
        (Scoring, 1, 1),
        (EpochEnded, 1, 2),
        (StepEnded, 5, 3),
        (EpochEnded, 3, 4),
        (Scoring, 4, 4),
    ],
)
def test_resumed_training_ends_with_the_same_bits(
    kind: type[TrainEvent],
    n: int,
    first_epoch: int,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    annotation = striped_annotation()
    config = tiny_config.with_changes(**RANDOM, n_epochs=3)
    whole = finished_run(config)
    run = tmp_path / "stopped"
    stop_after(train(annotation, config=config, run=run), kind, n)

    events = list(train(annotation, config=config, run=run, resume=True))

    assert [notice for notice, _ in notices(events)] == ["resumed"]
    assert of_kind(events, TrainingStarted)[0].first_epoch == first_epoch
    assert_same_run(run, whole)


@pytest.mark.usefixtures("every_step")
def test_stop_loses_no_step(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation, config = striped_annotation(), tiny_config
    stop_after(train(annotation, config=config, run=tmp_path), StepEnded, 3)

    events = list(train(annotation, config=config, run=tmp_path, resume=True))

    assert notices(events) == [("resumed", "resumed after step 3")]
    assert len(of_kind(events, StepEnded)) == 1


def test_lock_that_a_kill_has_left_is_removed_when_it_goes_on(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation, config = striped_annotation(), tiny_config
    stop_after(train(annotation, config=config, run=tmp_path), StepEnded, 1)
    (tmp_path / ".config.json.lrcs-lock").write_text("1")

    list(train(annotation, config=config, run=tmp_path, resume=True))

    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_crash_costs_what_was_not_saved_and_no_bit(
    n_steps: int,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TrainingSession, "save_seconds", 0.0)
    annotation, config = striped_annotation(), tiny_config.with_changes(**RANDOM)
    events = train(annotation, config=config, run=tmp_path / "crashed")
    steps = (event for event in events if isinstance(event, StepEnded))
    list(islice(steps, n_steps))
    shutil.copytree(tmp_path / "crashed", tmp_path / "left")  # as a kill leaves it

    list(train(annotation, config=config, run=tmp_path / "left", resume=True))

    assert_same_run(tmp_path / "left", finished_run(config))


@pytest.mark.usefixtures("every_step")
def test_training_stopped_after_every_step_ends_with_the_same_bits(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    annotation, config = striped_annotation(), tiny_config.with_changes(**RANDOM)
    run = tmp_path / "stopped"
    stop_after(train(annotation, config=config, run=run), StepEnded)

    for _ in range(3):
        stop_after(train(annotation, config=config, run=run, resume=True), StepEnded)
    list(train(annotation, config=config, run=run, resume=True))

    assert_same_run(run, finished_run(config))


def test_stop_keeps_the_best_model_and_the_state(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    stop_after(
        train(striped_annotation(), config=tiny_config, run=tmp_path), EpochEnded
    )

    assert len(load_checkpoint(tmp_path).history) == 1
    assert (tmp_path / "resume.pt").is_file()


@pytest.mark.usefixtures("every_step")
def test_stop_in_the_first_epoch_keeps_a_model(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    stop_after(train(striped_annotation(), config=tiny_config, run=tmp_path), StepEnded)

    assert load_checkpoint(tmp_path).build().n_phases == 2


@pytest.mark.usefixtures("every_step")
def test_stop_does_not_leave_the_best_model_of_an_earlier_run(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    shutil.copytree(finished_run(tiny_config), tmp_path, dirs_exist_ok=True)
    other = tiny_config.with_changes(seed=5)

    overwriting = train(
        striped_annotation(), config=other, run=tmp_path, overwrite=True
    )
    stop_after(overwriting, StepEnded)

    assert load_checkpoint(tmp_path).config.seed == 5


def test_finished_run_resumes_to_its_end(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation = striped_annotation()
    *_, ended = train(annotation, config=tiny_config, run=tmp_path)

    *_, again = train(annotation, config=tiny_config, run=tmp_path, resume=True)

    assert isinstance(ended, TrainingEnded)
    assert isinstance(again, TrainingEnded)
    assert ended.validation is not None
    assert again.validation is not None
    np.testing.assert_array_equal(again.validation, ended.validation)
    assert again.epochs == ended.epochs


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.5}, {"seed": 1}, {"n_epochs": 3}, {"loss": "dice"}]
)
def test_changed_config_is_refused_at_resuming(
    change: dict[str, Any],
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
) -> None:
    annotation = striped_annotation()
    stop_after(train(annotation, config=tiny_config, run=tmp_path), EpochEnded)
    before = (tmp_path / "resume.pt").read_bytes()
    ((name, value),) = change.items()

    with pytest.raises(
        CheckpointError, match=rf"started with {name} = .*, now it is {value}"
    ):
        next(
            train(
                annotation,
                config=tiny_config.with_changes(**change),
                run=tmp_path,
                resume=True,
            )
        )

    assert (tmp_path / "resume.pt").read_bytes() == before


def test_changed_labels_are_refused_at_resuming(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    stop_after(
        train(striped_annotation(), config=tiny_config, run=tmp_path), EpochEnded
    )
    repainted = striped_annotation()
    repainted.slices[1].labels.setflags(write=True)
    repainted.slices[1].labels[0, 0] = 2

    with pytest.raises(PaintingChangedError, match="the labels differ"):
        next(train(repainted, config=tiny_config, run=tmp_path, resume=True))


def test_run_is_continued_with_another_painting_as_a_new_one(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    first, second = tmp_path / "run-1", tmp_path / "run-2"
    stop_after(train(striped_annotation(), config=tiny_config, run=first), EpochEnded)
    saved = torch.load(first / "resume.pt", weights_only=True)
    repainted = striped_annotation()
    repainted.slices[1].labels.setflags(write=True)
    repainted.slices[1].labels[0, 0] = 2
    events = train(repainted, config=tiny_config, run=second, parent=first)

    stop_after(events, TrainingStarted)

    begun = torch.load(second / "resume.pt", weights_only=True)
    torch.testing.assert_close(begun["model"], saved["model"], rtol=0, atol=0)
    torch.testing.assert_close(
        begun["optimiser"]["state"], saved["optimiser"]["state"], rtol=0, atol=0
    )
    assert RunFolder(second).summarise().parent == "run-1"
    assert RunFolder(first).summarise().parent == ""
    *_, ended = train(repainted, config=tiny_config, run=second, resume=True)
    assert isinstance(ended, TrainingEnded)
    assert ended.epochs == tiny_config.optimisation.n_epochs


def test_run_of_another_network_is_no_parent(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation, run = striped_annotation(), tmp_path / "run-2"
    stop_after(train(annotation, config=tiny_config, run=tmp_path / "1"), EpochEnded)
    larger = tiny_config.with_changes(n_filters=4)

    with pytest.raises(CheckpointError, match="cannot be continued"):
        next(train(annotation, config=larger, run=run, parent=tmp_path / "1"))

    assert not run.exists()


def test_folder_without_a_run_is_not_resumed(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="there is no run in"):
        next(train(striped_annotation(), config=tiny_config, run=tmp_path, resume=True))

    assert not list(tmp_path.iterdir())


# ---- transfer learning ----


@pytest.fixture
def similar_sample(
    make_checkpoint: Callable[..., Checkpoint], tmp_path: Path
) -> Checkpoint:
    checkpoint = make_checkpoint(n_phases=2, seed=42)
    save_checkpoint(tmp_path / "similar.safetensors", checkpoint)
    return checkpoint


def test_transfer_starts_from_the_other_weights(
    similar_sample: Checkpoint,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    events = train(
        striped_annotation(),
        config=tiny_config,
        run=run,
        origin=Origin(path=tmp_path / "similar.safetensors"),
    )

    stop_after(events, TrainingStarted)

    state = torch.load(run / "resume.pt", weights_only=True)["model"]
    for name, tensor in similar_sample.state.items():
        assert torch.equal(state[name], tensor)


def test_transfer_that_is_interrupted_resumes_with_the_same_bits(
    similar_sample: Checkpoint,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
) -> None:
    assert similar_sample.config == tiny_config
    annotation = striped_annotation()
    for name in ("whole", "stopped"):
        events = train(
            annotation,
            config=tiny_config,
            run=tmp_path / name,
            origin=Origin(path=tmp_path / "similar.safetensors"),
        )
        if name == "whole":
            list(events)
        else:
            stop_after(events, TrainingStarted)

    list(train(annotation, config=tiny_config, run=tmp_path / "stopped", resume=True))

    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_slices": 1}, r"sees 1 slices at once, this training 3"),
        ({"n_filters": 3}, r"does not fit the network"),
        ({"model": "unet"}, r"does not fit the network"),
    ],
)
@pytest.mark.usefixtures("one_thread", "similar_sample")
def test_transfer_from_a_network_that_does_not_fit_is_refused(
    changes: dict[str, Any],
    message: str,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
) -> None:
    config = tiny_config.with_changes(**changes)
    annotation = striped_annotation(context_slices=config.network.context_slices)

    with pytest.raises(CheckpointError, match=message):
        next(
            train(
                annotation,
                config=config,
                run=tmp_path / "run",
                origin=Origin(path=tmp_path / "similar.safetensors"),
            )
        )

    assert not (tmp_path / "run").exists()


# ---- bad input ----


def test_run_that_is_there_is_not_replaced_unasked(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    shutil.copytree(finished_run(tiny_config), tmp_path, dirs_exist_ok=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(ResultExistsError, match="holds a run already"):
        next(train(striped_annotation(), config=tiny_config, run=tmp_path))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_constant_image_is_refused_and_an_earlier_run_stays(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    shutil.copytree(finished_run(tiny_config), tmp_path, dirs_exist_ok=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (varied,) = striped_annotation(("train",)).slices
    constant = replace(varied, read=np.full_like(varied.image, 7).copy)
    annotation = Annotation(slices=(constant,), phases=PhaseTable.numbered(2))

    with pytest.raises(ValueError, match=r"the image is constant \(7\)"):
        next(train(annotation, config=tiny_config, run=tmp_path, overwrite=True))

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "tpu"}, "device must be"),
        ({"model": "lrcs11"}, "no model is named"),
        ({"phase_weights": (1.0,)}, "phase_weights must be 2 numbers"),
    ],
)
def test_config_that_cannot_be_met_writes_nothing(
    changes: dict[str, Any],
    message: str,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
) -> None:
    config = tiny_config.with_changes(**changes)

    with pytest.raises(ValueError, match=message):
        next(train(striped_annotation(), config=config, run=tmp_path / "run"))

    assert not (tmp_path / "run").exists()


# ---- nothing is left behind ----


def test_global_random_numbers_are_untouched(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002

    list(
        train(
            striped_annotation(),
            config=tiny_config.with_changes(**RANDOM),
            run=tmp_path,
        )
    )

    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    after = np.random.get_state()  # noqa: NPY002
    np.testing.assert_equal(after, before[2])


def test_global_random_numbers_have_no_say(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    finished_run: FinishedRun,
    tmp_path: Path,
) -> None:
    config = tiny_config.with_changes(**RANDOM)
    first = finished_run(config)
    torch.rand(5)

    list(train(striped_annotation(), config=config, run=tmp_path))

    assert_same_run(tmp_path, first)


def test_another_seed_gives_another_network(
    tiny_config: TrainConfig, finished_run: FinishedRun
) -> None:
    runs = [finished_run(tiny_config.with_changes(seed=seed)) for seed in (0, 1)]

    first, second = (states_of(run)["last.safetensors"] for run in runs)
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])


def test_number_of_threads_is_that_of_the_run_and_restored_afterwards(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation = striped_annotation()
    torch.set_num_threads(2)
    stop_after(train(annotation, config=tiny_config, run=tmp_path), EpochEnded)
    torch.set_num_threads(1)

    seen = {
        torch.get_num_threads()
        for _ in train(annotation, config=tiny_config, run=tmp_path, resume=True)
    }

    assert seen == {2}
    assert torch.get_num_threads() == 1


@pytest.mark.usefixtures("every_step")
def test_arithmetic_of_the_consumer_is_untouched_between_events(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(precision="bf16")

    for _ in train(striped_annotation(), config=config, run=tmp_path):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.usefixtures("every_step")
def test_previews_of_the_network_change_no_bit(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    annotation = striped_annotation()
    config = tiny_config.with_changes(**RANDOM)
    list(train(annotation, config=config, run=tmp_path / "expected"))
    volume = as_volume(np.random.default_rng(0).normal(size=(4, 24, 24)))

    copies: list[Checkpoint] = []
    for event in train(annotation, config=config, run=tmp_path / "run"):
        if isinstance(event, StepEnded):
            copies.append(event.checkpoint())
            list(predict_slice(volume, copies[-1], 1))

    assert_same_run(tmp_path / "run", tmp_path / "expected")
    last = load_checkpoint(tmp_path / "run" / "last.safetensors").state
    is_last = [all(torch.equal(c.state[k], last[k]) for k in last) for c in copies]
    assert is_last == [False, False, False, True]


@pytest.mark.usefixtures("every_step")
def test_network_is_copied_only_where_it_is_kept_or_asked_for(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = TrainingSession.checkpoint
    copies: list[Checkpoint] = []

    def counted(session: TrainingSession) -> Checkpoint:
        copies.append(copy(session))
        return copies[-1]

    monkeypatch.setattr(TrainingSession, "checkpoint", counted)

    events = list(train(striped_annotation(), config=tiny_config, run=tmp_path))

    assert len(copies) == len(of_kind(events, EpochEnded))


def test_bf16_learns_too(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(
        precision="bf16", n_filters=4, n_epochs=3, patches_per_epoch=160, patch_size=32
    )

    events = list(train(striped_annotation(), config=config, run=tmp_path))

    ended = events[-1]
    assert of_kind(events, TrainingStarted)[0].precision == "bf16"
    assert isinstance(ended, TrainingEnded)
    assert ended.validation is not None
    assert accuracy(ended.validation) > 0.95


# ---- killed ----


_CHILD = """
import json
import sys
from pathlib import Path

import torch

from napari_lrcs.config import TrainConfig
from napari_lrcs.annotation.annotation import read_annotation
from napari_lrcs.annotation.project import open_annotated
from napari_lrcs.training import loop, scoring
from napari_lrcs.training.session import TrainingSession

torch.set_num_threads(1)
loop._EVENT_SECONDS = TrainingSession.save_seconds = 0.0  # tell and save at every step
folder = Path(sys.argv[1])
config = TrainConfig.from_dict(json.loads(sys.argv[2]))
volume = open_annotated(
    folder / "image.npy",
    folder / "labels.npy",
    slices={"train": "0", "validation": "1"},
)
annotation = read_annotation([volume], config=config)
for event in loop.train(annotation, config=config, run=Path(sys.argv[3])):
    print(type(event).__name__, flush=True)
"""


@pytest.fixture(scope="module")
def long_run(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Annotation, TrainConfig]:
    """Train ten epochs on files, without a break; give the folder of all of it."""
    folder = tmp_path_factory.mktemp("long")
    annotated = striped_annotation().slices
    np.save(folder / "image.npy", np.concatenate([s.image for s in annotated]))
    np.save(folder / "labels.npy", np.stack([s.labels for s in annotated]))
    volume = open_annotated(
        folder / "image.npy",
        folder / "labels.npy",
        slices={"train": "0", "validation": "1"},
    )
    config = tiny_config.with_changes(**RANDOM, n_epochs=10, patches_per_epoch=40)
    annotation = read_annotation([volume], config=config)
    list(train(annotation, config=config, run=folder / "whole"))
    return folder, annotation, config


@pytest.mark.slow
@pytest.mark.parametrize(
    "n_steps", [3, 35, 95], ids=["in the first epoch", "midway", "near the end"]
)
def test_killed_training_resumes_to_the_same_bits(
    n_steps: int, long_run: tuple[Path, Annotation, TrainConfig], tmp_path: Path
) -> None:
    folder, annotation, config = long_run
    killed = tmp_path / "killed"
    with Script(_CHILD, folder, json.dumps(config.to_dict()), killed) as child:
        steps = (line for line in child.stdout if line.startswith("StepEnded"))
        assert len(list(islice(steps, n_steps))) == n_steps
        child.kill()
        rest = child.stdout.read()
        code = child.wait()
    assert "TrainingEnded" not in rest

    events = list(train(annotation, config=config, run=killed, resume=True))

    assert code != 0
    assert "resumed" in dict(notices(events))
    assert_same_run(killed, folder / "whole")


# ---- on a GPU ----


@pytest.mark.parametrize("deterministic", [True, False])
def test_steps_take_the_kernels_that_were_asked_for(
    deterministic: bool,
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bool] = []  # on the way forward and back of each step

    def look_forward(self: LRCSNet, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            seen.append(torch.backends.cudnn.deterministic)
        return forward(self, x)

    def look_back(loss: Tensor) -> None:
        seen.append(torch.backends.cudnn.deterministic)
        backward(loss)

    forward, backward = LRCSNet.forward, torch.autograd.backward
    monkeypatch.setattr(LRCSNet, "forward", look_forward)
    monkeypatch.setattr(torch.autograd, "backward", look_back)
    config = tiny_config.with_changes(deterministic=deterministic)

    (started,) = (
        event
        for event in train(striped_annotation(), config=config, run=tmp_path)
        if isinstance(event, TrainingStarted)
    )

    assert len(seen) >= 2
    assert set(seen) == {deterministic}
    assert started.rounds_alike  # on a processor, whatever was asked for


needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device"
)


@pytest.mark.gpu
@needs_cuda
def test_two_trainings_on_cuda_end_with_the_same_bits(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(
        **RANDOM,
        device="cuda",
        precision="auto",
        deterministic=True,
        n_filters=8,
        patches_per_epoch=80,
    )
    before = torch.cuda.get_rng_state()

    for name in ("first", "second"):
        list(train(striped_annotation(), config=config, run=tmp_path / name))

    assert_same_run(tmp_path / "first", tmp_path / "second")
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.gpu
@needs_cuda
def test_memory_of_the_gpu_is_released(
    tiny_config: TrainConfig, striped_annotation: Annotate, tmp_path: Path
) -> None:
    config = tiny_config.with_changes(device="cuda", precision="auto")
    gc.collect()
    before = torch.cuda.memory_allocated()

    stop_after(train(striped_annotation(), config=config, run=tmp_path), EpochEnded)

    gc.collect()
    assert torch.cuda.memory_allocated() == before


@pytest.mark.gpu
@needs_cuda
def test_training_needs_only_deterministic_operations(
    tiny_config: TrainConfig,
    striped_annotation: Annotate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(os.environ, "CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    config = tiny_config.with_changes(
        **RANDOM, device="cuda", precision="auto", deterministic=True
    )

    torch.use_deterministic_algorithms(True)
    try:
        *_, ended = train(striped_annotation(), config=config, run=tmp_path)
    finally:
        torch.use_deterministic_algorithms(False)

    assert isinstance(ended, TrainingEnded)
