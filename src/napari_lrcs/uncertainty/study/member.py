"""One member of a study: perturb, train, predict, score and measure."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TypedDict

import numpy as np

from napari_lrcs.arrays import Confusion
from napari_lrcs.comparison.evaluate import read_pair
from napari_lrcs.config import TrainConfig
from napari_lrcs.inference.disk import DiskResult
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.records import read_json
from napari_lrcs.io.tiff import write_labels_tiff
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.metrics.composition import Composition, measure_dict
from napari_lrcs.metrics.counting import compose_slabs
from napari_lrcs.metrics.overlap import accuracy, confusion_matrix, iou_per_phase
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.progress import (
    PredictEvent,
    Publishing,
    SlabPredicted,
    StepEnded,
    TilePredicted,
    TrainEvent,
)
from napari_lrcs.training.loop import train
from napari_lrcs.training.run_folder import RunFolder
from napari_lrcs.uncertainty.study.events import MemberProgress
from napari_lrcs.uncertainty.study.summary import Group, Member, MemberDict
from napari_lrcs.uncertainty.study.task import StudyTask

_TRAINED, _PREDICTED = 0.7, 0.95
"""Shares of a member's work, about, when it is trained and when it is predicted."""

_SLAB = 16


class _MemberFile(TypedDict):
    task_hash: str
    member: MemberDict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberTask:
    """One member of a study; may be sent to another process.

    Parameters
    ----------
    task : StudyTask
        With all phases.
    task_hash : str
    group : {"perturbed", "same_labels"}
    number : int
        Place in the group, from 0.
    folder : Path
        Of all members.
    """

    task: StudyTask
    task_hash: str
    group: Group
    number: int
    folder: Path

    @property
    def name(self) -> str:
        """Of its folder, such as ``perturbed-003``."""
        kind = "perturbed" if self.group == "perturbed" else "repeat"
        return f"{kind}-{self.number:03d}"

    @property
    def place(self) -> Path:
        """Its own folder."""
        return self.folder / self.name

    @property
    def run(self) -> RunFolder:
        """Its training."""
        return RunFolder(self.place / "run")

    @property
    def segmentation(self) -> Path:
        """The whole volume as it predicts it."""
        return self.place / "segmentation.zarr"

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.task.config.seed + self.number

    @property
    def config(self) -> TrainConfig:
        """Of its training."""
        return self.task.config.with_changes(seed=self.seed)

    @property
    def phases(self) -> PhaseTable:
        """All phases of the study."""
        assert self.task.phases is not None
        return self.task.phases

    def on(self, device: str) -> "MemberTask":
        """Move it to a device."""
        config = self.task.config.with_changes(device=device)
        predict = self.task.predict.with_changes(device=device)
        return replace(self, task=replace(self.task, config=config, predict=predict))

    def finished(self) -> Member | None:
        """Read the member if it has come to its end with the same task."""
        try:
            saved = read_json(self.place / "member.json", _MemberFile)
            member = Member.from_dict(saved["member"], n_phases=len(self.phases))
        except (OSError, ValueError):
            # Damaged is as good as missing: it is made again.
            return None
        return member if saved["task_hash"] == self.task_hash else None

    def failed(self, error: str) -> Member:
        """Make what is reported of the member if it fails."""
        return Member(
            name=self.name,
            group=self.group,
            number=self.number,
            seed=self.seed,
            error=error,
        )


def run_member(task: MemberTask) -> Member:
    """Bring a member to its end; for other processes, which tell nothing meanwhile.

    Raises
    ------
    LrcsError, OSError, ValueError, MemoryError, RuntimeError
        If anything goes wrong.
    """
    events = member_events(task)
    while True:
        try:
            next(events)
        except StopIteration as end:
            member: Member = end.value
            return member


def member_events(task: MemberTask) -> Generator[MemberProgress, None, Member]:
    """Perturb, train, predict, score and measure; go on with what is half done.

    Yields
    ------
    MemberProgress
        Several times a second.

    Returns
    -------
    Member
        Also written into its folder, last of all.

    Raises
    ------
    LrcsError, OSError, ValueError, MemoryError, RuntimeError
        If anything goes wrong.
    """
    started = time.monotonic()
    labels, changed_share = _labels_of(task)
    tell = _Teller(task.name, task.config.optimisation.n_epochs)
    yield from _telling(_train(task, labels), tell)
    yield from _telling(_predict(task), tell)
    segmentation = open_labels(task.segmentation)
    confusion = _score(task, segmentation)
    composition = yield from _measure(segmentation, task.phases, tell)
    member = Member(
        name=task.name,
        group=task.group,
        number=task.number,
        seed=task.seed,
        changed_share=changed_share,
        accuracy=accuracy(confusion),
        iou=tuple(iou_per_phase(confusion).tolist()),
        measures=measure_dict(composition, task.phases),
        seconds=time.monotonic() - started,
    )
    _write_member(task, member)
    return member


def _labels_of(task: MemberTask) -> tuple[Volume, float]:
    """Perturb and keep the labels; the share of painted voxels that changed with it."""
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
        result=DiskResult(labels=task.segmentation),
        config=task.task.predict,
        mask=task.task.mask,
    )


def _score(task: MemberTask, segmentation: Volume) -> Confusion:
    """Count painted against predicted phases on the test slices."""
    study = task.task
    total = np.zeros((len(task.phases),) * 2, np.int64)
    for i in study.test:
        painted, answer = read_pair(
            segmentation,
            study.labels,
            i,
            i + 1,
            mask=study.mask,
            axis=study.config.preprocessing.axis,
        )
        total += confusion_matrix(painted, answer, n_phases=len(task.phases))
    return total


def _telling(
    events: Iterator[TrainEvent] | Iterator[PredictEvent], tell: "_Teller"
) -> Iterator[MemberProgress]:
    assert isinstance(events, Generator)
    with closing(events):  # `yield from` would not close what `map` reads
        yield from map(tell, events)


def _measure(
    segmentation: Volume, phases: PhaseTable, tell: "_Teller"
) -> Generator[MemberProgress, None, Composition]:
    """Measure the whole segmentation, which is 0 outside the mask."""
    n_slices = segmentation.shape[0]
    parts = []
    for part in compose_slabs(
        segmentation.slab, n_slices=n_slices, n_phases=len(phases), slab=_SLAB
    ):
        parts.append(part)
        yield tell.measuring(min(1.0, len(parts) * _SLAB / n_slices))
    return reduce(add, parts)


def _write_member(task: MemberTask, member: Member) -> None:
    saved = {"task_hash": task.task_hash, "member": member.to_dict()}
    with replacing(task.place / "member.json") as temporary:
        temporary.write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


@dataclass(slots=True)
class _Teller:
    """Says how far a member is; what an event does not tell stays as it was."""

    name: str
    n_epochs: int
    share: float = 0.0
    text: str = "preparing"

    def __call__(self, event: TrainEvent | PredictEvent | None) -> MemberProgress:
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

    def measuring(self, done: float) -> MemberProgress:
        """Say how much of the measuring is done, 0 to 1."""
        self.share = _PREDICTED + (1 - _PREDICTED) * done
        self.text = "measuring"
        return self(None)
