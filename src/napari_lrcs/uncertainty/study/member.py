"""One member of a study: perturb, train, predict, score and measure."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np

from napari_lrcs.comparison.measures import Measuring
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.partial import PartialFolder
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.locks import one_at_a_time
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.paths import lock_of
from napari_lrcs.io.records import read_json, write_json
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.overlap import not_learnt
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.progress import (
    PredictEvent,
    Publishing,
    SlabPredicted,
    StepEnded,
    TilePredicted,
    TrainEvent,
    changed,
    result_of,
)
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.uncertainty.study.events import MemberProgress
from napari_lrcs.uncertainty.study.measuring import measure, score
from napari_lrcs.uncertainty.study.summary import Group, Member, MemberDict
from napari_lrcs.uncertainty.study.task import StudyTask

_PAUSE = 1.0
"""Seconds between looks at whether another process still runs a member."""

_TRAINED, _PREDICTED = 0.7, 0.95
"""Approximate shares of a member's work that are done after training and prediction."""


class _MemberFile(TypedDict):
    task_hash: str
    member: MemberDict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberTask:
    """One member of a study; can be sent to another process.

    Parameters
    ----------
    task : StudyTask
        Task of the whole study, with its phases.
    task_hash : str
        Hash of the task, by which a finished member is recognised.
    group : {"perturbed", "same_labels"}
        Whether it is trained on perturbed labels or on the labels as painted.
    number : int
        Position in the group, from 0.
    folder : Path
        Folder that holds the folders of all members.
    keeps_probabilities : bool
        Whether its prediction also writes probabilities, for the ensemble.
    """

    task: StudyTask
    task_hash: str
    group: Group
    number: int
    folder: Path
    keeps_probabilities: bool = False

    @property
    def name(self) -> str:
        """Name of its folder, such as ``perturbed-003``."""
        kind = "perturbed" if self.group == "perturbed" else "repeat"
        return f"{kind}-{self.number:03d}"

    @property
    def place(self) -> Path:
        """Folder of this member."""
        return self.folder / self.name

    @property
    def run(self) -> RunFolder:
        """Folder of its training."""
        return RunFolder(self.place / "run")

    @property
    def segmentation(self) -> Path:
        """Path of its prediction of the whole volume."""
        return self.place / "segmentation.zarr"

    @property
    def probabilities(self) -> Path:
        """Path of its probabilities, until they are in the sum of all members."""
        return self.place / "probabilities.zarr"

    @property
    def seed(self) -> int:
        """Seed of its training."""
        return self.task.config.seed + self.number

    @property
    def config(self) -> TrainConfig:
        """Settings of its training."""
        return self.task.config.with_changes(seed=self.seed)

    @property
    def phases(self) -> PhaseTable:
        """All phases of the study."""
        assert self.task.phases is not None
        return self.task.phases

    def on(self, device: str) -> "MemberTask":
        """Return the same task on another device."""
        config = self.task.config.with_changes(device=device)
        predict = self.task.predict.with_changes(device=device)
        return replace(self, task=replace(self.task, config=config, predict=predict))

    def finished(self) -> Member | None:
        """Read the member if it is finished, with the same task; None otherwise."""
        try:
            saved = read_json(self.place / "member.json", _MemberFile)
            member = Member.from_dict(saved["member"], n_phases=len(self.phases))
        except (OSError, ValueError):
            # A damaged member is treated like a missing one: it is computed again.
            return None
        return member if saved["task_hash"] == self.task_hash else None

    def failed(self, error: str) -> Member:
        """Return the member that is recorded if it fails."""
        return Member(
            name=self.name,
            group=self.group,
            number=self.number,
            seed=self.seed,
            error=error,
        )


def run_member(task: MemberTask) -> Member:
    """Run a member to its end without events, for use in other processes.

    If another process is running it, whose study was killed, its result is awaited.

    Raises
    ------
    LrcsError, OSError, ValueError, MemoryError, RuntimeError
        If anything goes wrong.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(lock_of(task.place), pause=_PAUSE):
        member = task.finished()
        if member and (not task.keeps_probabilities or task.probabilities.exists()):
            return member
        return result_of(member_events(task))


def watched(task: MemberTask) -> MemberProgress:
    """Read from the folder of a member how far another process has come with it."""
    n_epochs, n_done = task.config.optimisation.n_epochs, 0
    share, text = 0.0, "waiting for a free process"
    if task.segmentation.exists():
        share, text = _PREDICTED, "measuring"
    elif PartialFolder.beside(task.segmentation).path.exists():
        share, text = _TRAINED, "predicting"
    elif task.run.is_run:
        with suppress(LrcsError, OSError):  # it is just being written
            n_done = len(task.run.read_history())
        share = _TRAINED * n_done / n_epochs
        text = f"training, {n_done} of {n_epochs} epochs"
    elif task.place.exists():
        text = "preparing"
    return MemberProgress(name=task.name, share=share, text=text, event=None)


def member_events(task: MemberTask) -> Generator[MemberProgress, None, Member]:
    """Perturb, train, predict, score and measure; continue what is unfinished.

    Yields
    ------
    MemberProgress
        Several times a second.

    Returns
    -------
    Member
        The finished member, which is also written to its folder as the last step.

    Raises
    ------
    LrcsError, OSError, ValueError, MemoryError, RuntimeError
        If anything goes wrong.
    """
    started = time.monotonic()
    labels, changed_share = _labels_of(task)
    progress = _Progress(task.name, task.config.optimisation.n_epochs)
    yield from _reported(_train(task, labels), progress)
    yield from _reported(_predict(task), progress)
    segmentation = open_labels(task.segmentation)
    confusion = score(segmentation, task.task, task.phases)
    results = yield from changed(
        measure(segmentation, task.task, confusion), progress.while_measuring
    )
    member = Member(
        **results.fields(),
        name=task.name,
        group=task.group,
        number=task.number,
        seed=task.seed,
        changed_share=changed_share,
        seconds=time.monotonic() - started,
        not_learnt=tuple(f.label for f in not_learnt(confusion, task.phases)),
    )
    _write_member(task, member)
    return member


def _labels_of(task: MemberTask) -> tuple[Volume, float]:
    """Perturb and save the labels; return them with the share of voxels changed."""
    study = task.task
    original = study.read_labels(study.painted)
    labels = original
    if task.group == "perturbed":
        labels = study.perturbed(task.number)
    task.place.mkdir(parents=True, exist_ok=True)
    write_labels_tiff(
        task.place / "labels.tif", [labels], shape=labels.shape, phases=task.phases
    )
    n_changed = np.count_nonzero(labels != original)
    share = n_changed / np.count_nonzero(original != UNPAINTED)
    return study.with_painting(labels), float(share)


def _train(task: MemberTask, labels: Volume) -> Iterator[TrainEvent]:
    return train(
        task.task.annotate(labels),
        config=task.config,
        run=task.run.path,
        resume=task.run.is_run,
    )


def _predict(task: MemberTask) -> Iterator[PredictEvent]:
    return predict_volume(
        task.task.image,
        load_checkpoint(task.run.best),
        result=DiskResult(
            labels=task.segmentation,
            probabilities=task.probabilities if task.keeps_probabilities else None,
        ),
        config=task.task.predict,
        mask=task.task.mask,
    )


def _reported(
    events: Iterator[TrainEvent] | Iterator[PredictEvent], progress: "_Progress"
) -> Iterator[MemberProgress]:
    assert isinstance(events, Generator)
    with closing(events):  # `yield from` would not close what `map` reads
        yield from map(progress.after, events)


def _write_member(task: MemberTask, member: Member) -> None:
    saved = {"task_hash": task.task_hash, "member": member.to_dict()}
    write_json(task.place / "member.json", saved)


@dataclass(slots=True)
class _Progress:
    """Turns the events of training and prediction into the progress of a member."""

    name: str
    n_epochs: int
    share: float = 0.0
    text: str = "preparing"

    def after(self, event: TrainEvent | PredictEvent | None) -> MemberProgress:
        match event:
            case StepEnded():
                done = event.epoch - 1 + event.step / event.steps_per_epoch
                self.share = _TRAINED * done / self.n_epochs
                self.text = f"training, epoch {event.epoch} of {self.n_epochs}"
            case TilePredicted() | SlabPredicted():
                done = event.n_done / event.n_slices
                self.share = _TRAINED + (_PREDICTED - _TRAINED) * done
                self.text = f"predicting, {event.n_done:.0f} of {event.n_slices} slices"
            case Publishing():
                self.share, self.text = _PREDICTED, "writing"
        return MemberProgress(
            name=self.name, share=self.share, text=self.text, event=event
        )

    def while_measuring(self, event: Measuring) -> MemberProgress:
        self.share = _PREDICTED + (1 - _PREDICTED) * event.share
        self.text = f"measuring: {event.text}"
        return self.after(None)
