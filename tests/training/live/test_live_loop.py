"""A training while somebody paints: the one who paints is the test."""

import json
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch

from napari_lrcs.annotation.annotation import AnnotatedVolume, Role
from napari_lrcs.annotation.painting.live import LivePainting
from napari_lrcs.arrays import Labels
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.models.header import read_header
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import (
    EpochEnded,
    Finishing,
    OverlayChosen,
    Resting,
    StepEnded,
    StrokesTaken,
    TrainEvent,
    TrainingEnded,
    TrainingStarted,
    WaitingForStrokes,
)
from napari_lrcs.training import loop
from napari_lrcs.training.live import first_overlay
from napari_lrcs.training.live import loop as live_loop
from napari_lrcs.training.live.loop import train_live
from napari_lrcs.training.live.run import LiveRunFolder, StrokeRow
from napari_lrcs.training.live.sampling import LiveSampler
from napari_lrcs.training.live.session import LiveSession, live_config
from napari_lrcs.training.run.folder import RunFolder, list_runs
from napari_lrcs.training.sampling import Patches
from napari_lrcs.training.schedule import learning_rate_at
from napari_lrcs.training.transfer import Origin
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")

Event = TypeVar("Event")
SHAPE = (4, 32, 40)
PHASES = PhaseTable.numbered(3)


class Painter:
    """Paints stripes whose grey level is their label; slice 3 is for validation."""

    def __init__(self, run: Path, config: TrainConfig) -> None:
        self.run, self.config = run, config
        stripes = np.arange(SHAPE[2]) // 5 % 3 + 1
        self.truth = np.broadcast_to(stripes, SHAPE).astype(np.uint8)
        noise = np.random.default_rng(0).standard_normal(SHAPE)
        self.grey = (self.truth + 0.1 * noise).astype(np.float32)
        self.labels = np.zeros(SHAPE, np.uint8)
        self.roles: dict[Role, tuple[int, ...]] = {"validation": (3,)}
        self.painting = LivePainting(self.read)

    def read(self) -> AnnotatedVolume:
        return AnnotatedVolume(
            image=as_volume(self.grey, name="scan"),
            labels=as_labels(as_volume(self.labels, name="painting")),
            roles=self.roles,
        )

    def paint(
        self, index: int, rows: slice, labels: Labels | int | None = None
    ) -> None:
        truth = self.truth[index, rows]
        self.labels[index, rows] = truth if labels is None else labels
        self.painting.mark_changed([index])

    def train(self, **arguments: Any) -> Generator[TrainEvent, None, None]:
        return train_live(
            self.painting,
            config=self.config,
            phases=PHASES,
            run=self.run,
            **arguments,
        )


@pytest.fixture
def painter(tmp_path: Path, tiny_config: TrainConfig) -> Painter:
    return Painter(tmp_path / "run-1", tiny_config)


@pytest.fixture(autouse=True)
def _every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_EVENT_SECONDS", 0.0)
    monkeypatch.setattr(live_loop, "_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(first_overlay, "ThreadPoolExecutor", Never)


def next_of(
    events: Iterator[TrainEvent], kind: type[Event], *, most: int = 200
) -> Event:
    for _ in range(most):
        event = next(events)
        if isinstance(event, kind):
            return event
    raise AssertionError(f"no {kind.__name__} among {most} events")


def test_training_begins_once_two_phases_are_painted(painter: Painter) -> None:
    with closing(painter.train()) as events:
        first = next(events)
        painter.paint(0, slice(0, 16), 1)
        second = next(events), next(events)
        painter.paint(1, slice(0, 16), 2)
        started = next_of(events, TrainingStarted)

    assert isinstance(first, WaitingForStrokes)
    assert {type(event) for event in second} == {WaitingForStrokes}
    assert started.first_epoch == 1
    assert RunFolder(painter.run).read_roles() == {
        "train": (0, 1),
        "validation": (),
        "test": (),
    }


def test_finished_while_it_waits_it_leaves_nothing(painter: Painter) -> None:
    events = painter.train()
    next(events)
    painter.painting.finish()

    assert list(events) == []
    assert not painter.run.exists()


def test_stroke_is_drawn_at_the_next_step(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Patches] = []
    sample = LiveSampler.sample

    def spy(sampler: LiveSampler, n: int, *, generator: torch.Generator) -> Patches:
        drawn.append(sample(sampler, 64, generator=generator))
        return sample(sampler, n, generator=generator)

    monkeypatch.setattr(LiveSampler, "sample", spy)
    painter.paint(0, slice(0, 16), np.where(painter.truth[0, :16] == 3, 0, 1))
    painter.paint(0, slice(16, 20), 2)
    with closing(painter.train()) as events:
        next_of(events, StepEnded)
        drawn.clear()
        painter.paint(1, slice(10, 12), 3)  # another slice, a new phase
        taken = next_of(events, StrokesTaken)
        painter.paint(1, slice(12, 14), 3)  # a slice that is known
        again = next_of(events, StrokesTaken)

    assert (taken.slices, taken.n_voxels, taken.step) == ((1,), 80, 1)
    assert (again.slices, again.n_voxels, again.step) == ((1,), 80, 2)
    first = drawn[0].labels
    # Half of the patches are centred on the stroke, and some of the others.
    share = float((first[:, 8, 8] == 3).float().mean())
    assert 0.35 < share < 0.75
    rows = LiveRunFolder(painter.run).read_strokes()
    assert [(r.step, r.slice, r.voxels) for r in rows] == [(1, 1, 80), (2, 1, 80)]
    assert 0 < rows[0].seconds <= rows[1].seconds


def test_strokes_in_a_slice_that_is_not_for_training_meanwhile_are_learnt_later(
    painter: Painter,
) -> None:
    painter.paint(0, slice(0, 16))
    painter.paint(3, slice(0, 32))
    with closing(painter.train()) as events:
        next_of(events, StepEnded)
        painter.roles = {"validation": (0, 3)}  # by mistake
        painter.paint(0, slice(16, 24))
        next_of(events, EpochEnded)
        painter.roles = {"validation": (3,)}
        painter.painting.mark_changed([0])
        taken = next_of(events, StrokesTaken)

    assert (taken.slices, taken.n_voxels) == ((0,), 320)
    painted = RunFolder(painter.run).read_labels().items()
    assert {p.role: int((v != 0).sum()) for p, v in painted} == {
        "train": 960,
        "validation": 1280,
    }


def test_finished_it_is_a_run_as_any_other(painter: Painter) -> None:
    painter.paint(0, slice(0, 32))
    painter.paint(3, slice(0, 32))
    events = painter.train()
    next_of(events, EpochEnded)
    painter.paint(1, slice(4, 20))
    next_of(events, StrokesTaken)
    painter.painting.finish()
    rest = list(events)

    (ended,) = [e for e in rest if isinstance(e, TrainingEnded)]
    finishing = next(e for e in rest if isinstance(e, Finishing))
    (summary,) = list_runs(painter.run.parent)
    history = RunFolder(painter.run).read_history()
    header = read_header(ended.best)
    assert ended.validation is not None
    assert int(ended.validation.sum()) == 32 * 40
    assert finishing.n_epochs == ended.epochs == len(history) == 4
    assert summary.is_finished
    assert not summary.can_resume
    rates = [row["learning_rate"] or 0.0 for row in history]
    assert rates[3] < rates[2]  # it had just begun
    learnt = [(s.index, s.rows) for s in header.learnt.slices if s.rows != (0, 32)]
    assert learnt == [(1, (4, 20))]
    painted = RunFolder(painter.run).read_labels()
    assert {p.index: int((v != 0).sum()) for p, v in painted.items()} == {
        0: 1280,
        1: 640,
        3: 1280,
    }


def test_it_rests_when_nothing_is_gained_and_goes_on_at_the_next_stroke(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_loop, "_SCORE_GAIN", 1.0)
    painter.paint(0, slice(0, 32))
    painter.paint(3, slice(0, 32))
    with closing(painter.train()) as events:
        rests = next_of(events, Resting)
        step = rests.checkpoint().history[-1]["step"]
        others = {type(next(events)) for _ in range(20)}
        painter.paint(0, slice(0, 2), 1)
        taken = next_of(events, StrokesTaken)

    assert others == {Resting}
    assert step == taken.step == 10  # five epochs of two steps


def test_stopped_it_goes_on_with_the_painting_as_it_is_by_then(
    painter: Painter,
) -> None:
    painter.roles = {}
    painter.paint(0, slice(0, 32))
    with closing(painter.train()) as events:
        next_of(events, EpochEnded)
        next_of(events, StepEnded)
        painter.paint(1, slice(0, 3))
        next_of(events, StrokesTaken)
    held_out = _validation(painter.run)
    normalisation = read_header(RunFolder(painter.run).last).normalisation

    painter.paint(2, slice(0, 8))
    painter.painting = LivePainting(painter.read, painted=[0, 1, 2])
    painter.config = RunFolder(painter.run).read_config()
    events = painter.train(resume=True)
    started = next_of(events, TrainingStarted)
    painter.painting.finish()
    rest = list(events)

    assert started.first_epoch == 2
    assert isinstance(rest[-1], TrainingEnded)
    known = [0, 1]
    assert {z: _validation(painter.run)[z] for z in held_out if z in known} == held_out
    assert read_header(RunFolder(painter.run).last).normalisation == normalisation
    assert RunFolder(painter.run).read_roles()["train"] == (0, 1, 2)
    assert [r.slice for r in LiveRunFolder(painter.run).read_strokes()] == [1]


def _validation(run: Path) -> dict[int, list[int]]:
    painted = RunFolder(run).read_labels().items()
    return {
        p.index: np.flatnonzero(labels).tolist()
        for p, labels in painted
        if p.role == "validation"
    }


def test_forest_labels_slices_until_the_network_is_better(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([1.0, 0.0])
    monkeypatch.setattr(first_overlay, "ThreadPoolExecutor", AtOnce)
    monkeypatch.setattr(first_overlay, "mean_iou", lambda _: 0.5)
    fit = first_overlay._fit
    monkeypatch.setattr(
        first_overlay, "_fit", lambda painted: (fit(painted)[0], next(scores))
    )
    painter.paint(0, slice(0, 32))
    painter.paint(3, slice(0, 32))
    with closing(painter.train()) as events:
        at_first = next_of(events, OverlayChosen)
        forest = next_of(events, OverlayChosen)
        assert forest.predict is not None
        right = float((forest.predict(2) == painter.truth[2]).mean())
        next_of(events, EpochEnded)  # .5, which is less than 1
        painter.paint(0, slice(0, 4), 1)
        again = next_of(events, OverlayChosen)
        last = next_of(events, OverlayChosen)  # .5, which is more than 0

    assert right > 0.9
    order = [chosen.by for chosen in (at_first, forest, again, last)]
    assert order == ["network", "forest", "forest", "network"]


def test_network_takes_over_from_a_forest_that_is_fitted_while_it_rests(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting: Future[Any] = Future()

    class Slow(Never):
        def submit(self, *_: Any) -> Future[Any]:
            return fitting

    monkeypatch.setattr(first_overlay, "ThreadPoolExecutor", Slow)
    monkeypatch.setattr(live_loop, "_SCORE_GAIN", 1.0)
    painter.paint(0, slice(0, 32))
    painter.paint(3, slice(0, 32))
    with closing(painter.train()) as events:
        next_of(events, OverlayChosen)
        next_of(events, Resting)
        fitting.set_result((None, 0.0))
        chosen = [e.by for e in islice(events, 9) if isinstance(e, OverlayChosen)]

    assert chosen == ["forest", "network"]


class Never:
    """Calls nothing that is submitted to it: forests take seconds."""

    def __init__(self, *_: object) -> None: ...

    def submit(self, function: Callable[..., Any], *values: Any) -> Future[Any]:
        del function, values
        return Future()

    def shutdown(self, **_: object) -> None: ...


class AtOnce(Never):
    """Calls what is submitted to it at once."""

    def submit(self, function: Callable[..., Any], *values: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*values))
        return future


def test_weights_of_another_run_need_no_forest(
    painter: Painter,
    finished_run: Callable[[TrainConfig], Path],
    tiny_config: TrainConfig,
) -> None:
    origin = Origin(path=finished_run(tiny_config))
    painter.paint(0, slice(0, 32))
    with closing(painter.train(origin=origin)) as events:
        chosen = [e for e in islice(events, 30) if isinstance(e, OverlayChosen)]

    assert [c.by for c in chosen] == ["network"]


def test_it_is_not_validated_on_what_the_network_it_starts_from_has_learnt(
    painter: Painter,
) -> None:
    painter.roles = {}
    painter.paint(0, slice(0, 32))
    with closing(painter.train()) as events:
        next_of(events, EpochEnded)
    former = RunFolder(painter.run)
    painter.paint(0, slice(0, 8), 0)  # erased
    painter.run = painter.run.with_name("run-2")
    painter.painting = LivePainting(painter.read, painted=[0])

    with closing(painter.train(origin=Origin(path=former.path))) as events:
        next_of(events, EpochEnded)

    (before,), (now,) = (
        run.read_splits("z").values() for run in (former, RunFolder(painter.run))
    )
    assert now.held_out.any()
    assert not (now.held_out & before.trained).any()


def test_what_was_learnt_of_another_image_of_the_same_name_may_be_held_out(
    painter: Painter,
) -> None:
    painter.paint(0, slice(0, 32))
    painter.paint(3, slice(0, 32))
    with closing(painter.train()) as events:
        next_of(events, EpochEnded)
    origin = Origin(path=painter.run)
    painter.grey = painter.grey[:, ::-1].copy()
    painter.roles, painter.run = {}, painter.run.with_name("run-2")
    painter.painting = LivePainting(painter.read, painted=[0])

    with closing(painter.train(origin=origin)) as events:
        next_of(events, EpochEnded)

    (split,) = RunFolder(painter.run).read_splits("z").values()
    assert split.held_out.any()


def test_learning_rate_is_constant_until_the_end_is_planned(
    tiny_config: TrainConfig,
) -> None:
    config = live_config(tiny_config.with_changes(patches_per_epoch=80, batch_size=4))
    going_on = config.with_changes(n_epochs=6).optimisation  # in epoch 3 of any number
    ending = config.with_changes(n_epochs=5).optimisation

    rates = [
        learning_rate_at(s, config=c, steps_per_epoch=20)
        for c, s in ((going_on, 0), (going_on, 59), (ending, 40), (ending, 99))
    ]

    np.testing.assert_allclose(rates, [0.01 / 20, 0.01, 0.01 * 60 / 61, 0.01 / 61])


def test_strokes_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = [StrokeRow(seconds=1.5, step=3, slice=0, voxels=12)]
    LiveRunFolder(tmp_path).write_strokes(rows)

    assert (tmp_path / "strokes.csv").read_text() == (
        "seconds,step,slice,voxels\n1.5,3,0,12\n"
    )
    assert LiveRunFolder(tmp_path).read_strokes() == rows


@pytest.mark.slow
def test_killed_it_goes_on_from_what_was_saved_last(
    painter: Painter, tmp_path: Path
) -> None:
    np.save(tmp_path / "grey.npy", painter.grey)
    np.save(tmp_path / "labels.npy", painter.truth)
    config = json.dumps(painter.config.to_dict())
    with Script(_CHILD, tmp_path, config, painter.run) as child:
        steps = [int(line) for line in islice(child.stdout, 7)]
        child.kill()
        child.wait()
    saved = RunFolder(painter.run).read_resume().state.step
    rows = LiveRunFolder(painter.run).read_strokes()

    painter.labels[0] = painter.truth[0]
    painter.painting = LivePainting(painter.read, painted=[0])
    painter.config = RunFolder(painter.run).read_config()
    with closing(painter.train(resume=True)) as events:
        next_of(events, StepEnded)
    again = RunFolder(painter.run).read_resume().state.step

    assert LiveSession.save_seconds <= 10
    assert saved >= steps[-1] - 1  # the child saves after each step
    assert [row.slice for row in rows] == [1]
    assert again >= saved + 1


_CHILD = """
import json
import sys
from pathlib import Path

import numpy as np
import torch

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.annotation.painting.live import LivePainting
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import StepEnded
from napari_lrcs.training import loop
from napari_lrcs.training.live.loop import train_live
from napari_lrcs.training.live.session import LiveSession

torch.set_num_threads(1)
loop._EVENT_SECONDS = LiveSession.save_seconds = 0.0  # tell and save at every step
folder = Path(sys.argv[1])
grey, truth = (np.load(folder / f"{name}.npy") for name in ("grey", "labels"))
labels = np.zeros_like(truth)
labels[0] = truth[0]


def read():
    return AnnotatedVolume(
        image=as_volume(grey, name="scan"),
        labels=as_labels(as_volume(labels, name="painting")),
        roles={},
    )


painting = LivePainting(read, painted=[0])
n_steps = 0
for event in train_live(
    painting,
    config=TrainConfig.from_dict(json.loads(sys.argv[2])),
    phases=PhaseTable.numbered(3),
    run=Path(sys.argv[3]),
):
    if isinstance(event, StepEnded):
        n_steps += 1
        print(n_steps, flush=True)
        if n_steps == 3:
            labels[1, :4] = truth[1, :4]
            painting.mark_changed([1])
"""
