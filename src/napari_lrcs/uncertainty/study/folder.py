"""The study folder: the files that a study writes and resumes from; needs no torch."""

import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from napari_lrcs.comparison.agreement import VOLUMES
from napari_lrcs.config import (
    AlsoMeasureConfig,
    PerturbConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.records import FolderState, Record, convert, newest_first
from napari_lrcs.phases import Phase, PhaseTable
from napari_lrcs.uncertainty.study.figures import FIGURES
from napari_lrcs.uncertainty.study.results import Results, ResultsDict, read_results
from napari_lrcs.uncertainty.study.summary import (
    ENSEMBLE,
    Member,
    MemberDict,
    StudySummary,
    summarise,
)
from napari_lrcs.uncertainty.study.tables import write_members_csv
from napari_lrcs.uncertainty.study.task import StudyTask, hash_of

_RECORD = "study.json"
_TABLE = "members.csv"
_MEMBER = re.compile(r"(perturbed|repeat)-[0-9]{3,}")
"""Names of the members' folders."""


_TaskDict = TypedDict(
    "_TaskDict",
    {
        "training slices": tuple[int, ...],
        "test slices": tuple[int, ...],
        "config": dict[str, Any],
        "perturb": dict[str, Any],
        "min_size": int,
        "also measure": NotRequired[dict[str, Any]],
    },
)
"""The part of a study's task that is needed to resume it."""


class StudyRecord(TypedDict):
    """What is read of ``study.json``; `StudyFolder.write` adds more to show."""

    state: str
    task: dict[str, Any]
    study: dict[str, int]
    phases: tuple[Phase, ...]
    members: list[MemberDict]
    combined: NotRequired[ResultsDict | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """The settings of a study, without its volumes.

    Parameters
    ----------
    config : TrainConfig
        Settings of all trainings; the device is not saved.
    perturb : PerturbConfig
        How labels are perturbed.
    study : StudyConfig
        How many members it has.
    also_measure : AlsoMeasureConfig
        What members measure besides scores and fractions.
    phases : PhaseTable, optional
        Phases of the labels; None before a study has started.
    train, test : tuple of int
        Slices that members are trained and scored on.
    min_size : int
        Size in voxels of the smallest speck that predictions keep.
    """

    config: TrainConfig = field(default_factory=TrainConfig)
    perturb: PerturbConfig = field(default_factory=PerturbConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    also_measure: AlsoMeasureConfig = field(default_factory=AlsoMeasureConfig)
    phases: PhaseTable | None = None
    train: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    min_size: int = 0

    def for_task(self, task: StudyTask) -> StudyTask:
        """Return a task with these slices and settings, on its own device."""
        return replace(
            task,
            train=self.train,
            test=self.test,
            config=self.config.with_changes(device=task.config.device),
            perturb=self.perturb,
            study=self.study,
            also_measure=self.also_measure,
            predict=task.predict.with_changes(min_size=self.min_size),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFindings:
    """The results of a study so far.

    Parameters
    ----------
    out : Path
        The study's folder.
    members : tuple of Member
        Finished and failed members, in the study's order.
    phases : PhaseTable
        Phases that all members predict.
    ensemble : Results, optional
        Those of the segmentation by the mean of all members' probabilities.
    """

    out: Path
    members: tuple[Member, ...]
    phases: PhaseTable
    ensemble: Results | None = None

    @property
    def summary(self) -> StudySummary:
        """Means and deviations of each group, and the ensemble."""
        return summarise(self.members, self.phases, ensemble=self.ensemble)


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The files of a study.

    Whatever reads raises a `VolumeError` if there is no study, or it is damaged.

    Parameters
    ----------
    path : Path
        The folder; it need not exist yet.
    """

    path: Path

    # ---- contents ----

    @property
    def members(self) -> Path:
        """Folder of the members' own folders."""
        return self.path / "members"

    @property
    def volumes(self) -> Mapping[str, Path]:
        """Paths of the volumes, by the names majority, agreement and entropy."""
        return {name: self.path / f"{name}.zarr" for name in VOLUMES}

    @property
    def ensemble(self) -> Path:
        """Path of the ensemble's labels, which not every study has."""
        return self.path / f"{ENSEMBLE}.zarr"

    @property
    def probability_sums(self) -> Path:
        """Path of the sum of the members' probabilities."""
        return self.path / "probability-sums.zarr"

    @property
    def record(self) -> Record[StudyRecord]:
        """File that makes the folder a study: task, phases, members and state."""
        return Record(path=self.path / _RECORD, kind=StudyRecord, what="study")

    @property
    def is_study(self) -> bool:
        """Whether the folder holds a study."""
        return self.record.exists

    # ---- reading and writing ----

    def read_settings(self) -> StudySettings:
        """Read the settings that the study was started with, to resume it."""
        record = self.record.read()
        try:
            task = convert(record["task"], _TaskDict)
            return StudySettings(
                config=TrainConfig.from_dict(task["config"]),
                perturb=PerturbConfig.from_dict(task["perturb"]),
                study=StudyConfig.from_dict(record["study"]),
                also_measure=AlsoMeasureConfig.from_dict(task.get("also measure", {})),
                phases=PhaseTable(record["phases"]),
                train=task["training slices"],
                test=task["test slices"],
                min_size=task["min_size"],
            )
        except ValueError as error:
            raise self._damaged(error) from error

    def read_findings(self) -> StudyFindings:
        """Read the results so far; the study may still be running."""
        record = self.record.read()
        try:
            phases = PhaseTable(record["phases"])
            n = len(phases)
            members = tuple(Member.from_dict(m, n_phases=n) for m in record["members"])
            own = record.get("combined")
            combined = own and Results(**read_results(own, n_phases=n, name=ENSEMBLE))
        except ValueError as error:
            raise self._damaged(error) from error
        return StudyFindings(
            out=self.path, members=members, phases=phases, ensemble=combined or None
        )

    def read_state(self) -> FolderState:
        """Read the progress of the study, or find out why it cannot be read."""
        modified = self.record.modified
        try:
            record = self.record.read()
        except VolumeError as error:
            return FolderState(path=self.path, modified=modified, damaged=str(error))
        return FolderState(
            path=self.path,
            modified=modified,
            n_done=sum(member["error"] is None for member in record["members"]),
            n_planned=sum(record["study"].values()),
            is_complete=record["state"] == "complete",
        )

    def write(
        self,
        findings: StudyFindings,
        *,
        state: str,
        task: Mapping[str, Any],
        study: StudyConfig,
        begun_at: datetime,
    ) -> None:
        """Write the results so far to ``members.csv`` and ``study.json``.

        `state` is "begun", "running", "stopped" or "complete", and `task` comes from
        `StudyTask.to_dict`.
        """
        members, phases = findings.members, findings.phases
        if members:
            write_members_csv(self.path / _TABLE, members, phases)
        record = {
            "state": state,
            "task": task,
            "task_hash": hash_of(task),
            "study": study.to_dict(),
            "begun_at": begun_at.isoformat(),
            "members": [member.to_dict() for member in members],
            "combined": findings.ensemble and findings.ensemble.results_dict(),
            **findings.summary.to_dict(),
        }
        self.record.write(record)

    def remove(self) -> None:
        """Remove the files of the study, and nothing else."""
        places = self.members.glob("*")
        members = [place for place in places if _MEMBER.fullmatch(place.name)]
        volumes = (*self.volumes.values(), self.ensemble, self.probability_sums)
        for folder in (*members, *volumes):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it may hold other files, or be missing
            self.members.rmdir()
        # `_RECORD` comes last: it marks the folder as a study.
        for name in (_TABLE, *FIGURES, _RECORD):
            (self.path / name).unlink(missing_ok=True)

    def _damaged(self, error: ValueError) -> VolumeError:
        return VolumeError(f"{_RECORD} in {self.path} is damaged: {error}")


def list_studies(folder: Path) -> list[FolderState]:
    """Read the progress of all studies in a folder, the latest one first.

    Parameters
    ----------
    folder : Path
        Folder that may hold study folders; it need not exist.
    """
    return newest_first(
        StudyFolder(file.parent).read_state()
        for file in folder.glob(f"study-*/{_RECORD}")
    )
