"""The study folder: what a study leaves, and what it goes on from; needs no torch."""

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from napari_lrcs.comparison.agreement import VOLUMES
from napari_lrcs.config import PerturbConfig, StudyConfig, TrainConfig
from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.records import convert, read_json
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import Phase, PhaseTable
from napari_lrcs.uncertainty.study.figures import FIGURES
from napari_lrcs.uncertainty.study.summary import (
    Member,
    MemberDict,
    StudySummary,
    summarise,
    write_members_csv,
)
from napari_lrcs.uncertainty.study.task import StudyTask, hash_of

FORMAT_VERSION = 1
"""Of ``study.json``."""

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
    },
)
"""The part of a study's task that is needed to go on with it."""


class StudyRecord(TypedDict):
    """What ``study.json`` holds."""

    state: str
    task: dict[str, Any]
    study: dict[str, int]
    phases: tuple[Phase, ...]
    members: list[MemberDict]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySettings:
    """The settings of a study, without its volumes.

    Parameters
    ----------
    config : TrainConfig
        Of all trainings, without the device that they were begun on.
    perturb : PerturbConfig
        How labels are perturbed.
    study : StudyConfig
        How many members it has.
    phases : PhaseTable, optional
        None before a study has begun.
    train, test : tuple of int
        Slices that members are trained and scored on.
    min_size : int
        Voxels of the smallest particle that predictions keep.
    """

    config: TrainConfig = field(default_factory=TrainConfig)
    perturb: PerturbConfig = field(default_factory=PerturbConfig)
    study: StudyConfig = field(default_factory=StudyConfig)
    phases: PhaseTable | None = None
    train: tuple[int, ...] = ()
    test: tuple[int, ...] = ()
    min_size: int = 0

    def for_task(self, task: StudyTask) -> StudyTask:
        """Put these slices and settings into a task, which keeps its own device."""
        return replace(
            task,
            train=self.train,
            test=self.test,
            config=self.config.with_changes(device=task.config.device),
            perturb=self.perturb,
            study=self.study,
            predict=task.predict.with_changes(min_size=self.min_size),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFindings:
    """What a study has found so far.

    Parameters
    ----------
    out : Path
        The study's folder.
    members : tuple of Member
        Those that ended, in their order, failed ones too.
    phases : PhaseTable
        Of all members.
    """

    out: Path
    members: tuple[Member, ...]
    phases: PhaseTable

    @property
    def summary(self) -> StudySummary:
        """Means and deviations of each group."""
        return summarise(self.members, self.phases)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyState:
    """How far a study has come.

    Parameters
    ----------
    path : Path
        Its folder.
    modified : datetime
        When it last wrote, in the local time zone.
    n_done, n_members : int
        Networks that are there, and that are planned.
    is_complete : bool
        Whether it has come to its end; some networks may have failed.
    damaged : str
        Why nothing else is known of it; empty for a sound one.
    """

    path: Path
    modified: datetime
    n_done: int = 0
    n_members: int = 0
    is_complete: bool = False
    damaged: str = ""

    def __str__(self) -> str:
        """Tell where it is, or why it cannot be read, as tooltips do."""
        return self.damaged or str(self.path)

    @property
    def can_resume(self) -> bool:
        """Whether it is unfinished, or has networks that failed."""
        return not self.damaged and (
            not self.is_complete or self.n_done < self.n_members
        )


@dataclass(frozen=True, slots=True)
class StudyFolder:
    """The files of a study.

    Parameters
    ----------
    path : Path
        The folder; it need not exist yet.
    """

    path: Path

    # ---- what is there ----

    @property
    def members(self) -> Path:
        """Folder of the members' own folders."""
        return self.path / "members"

    @property
    def volumes(self) -> Mapping[str, Path]:
        """Files of majority, agreement and entropy, by these names."""
        return {name: self.path / f"{name}.zarr" for name in VOLUMES}

    @property
    def is_study(self) -> bool:
        """Whether a study has begun here."""
        return (self.path / _RECORD).is_file()

    @property
    def has_members(self) -> bool:
        """Whether a member has ended."""
        return (self.path / _TABLE).exists()

    @property
    def is_vacant(self) -> bool:
        """Whether there is a folder that holds nothing but hidden files."""
        path = self.path
        return path.is_dir() and all(f.name.startswith(".") for f in path.iterdir())

    def check_place(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that a study may not take.

        Raises
        ------
        ResultExistsError
            If it holds a study that is neither to be resumed nor replaced, or
            something else.
        VolumeError
            If it holds no study to resume, or one to replace is damaged.
        """
        if self.is_study and overwrite:
            self.read_record()  # somebody else's file of that name is not removed
        if resume:
            if not self.is_study:
                raise VolumeError(
                    f"there is no study in {self.path} to resume; start one without "
                    "resuming"
                )
        elif self.is_study and not overwrite:
            raise ResultExistsError(
                f"{self.path} holds a study already; resume it, overwrite it or choose "
                "another folder"
            )
        elif self.path.exists() and not (self.is_study or self.is_vacant):
            raise ResultExistsError(
                f"{self.path} exists and is not a study; choose another place"
            )

    def check_same(self, task: Mapping[str, Any]) -> None:
        """Refuse another task (from `StudyTask.to_dict`) than the one that was begun.

        Raises
        ------
        VolumeError
            If anything that results depend on has changed.
        """
        begun = _flat(self.read_record()["task"])
        for name, now in _flat(task).items():
            if begun.get(name) != now:
                raise VolumeError(
                    f"the study in {self.path} was begun with other {name} "
                    f"({begun.get(name)}, now {now}); resume without changes, or "
                    "choose another folder"
                )

    # ---- reading and writing ----

    def read_record(self) -> StudyRecord:
        """Read ``study.json``: its task, its phases, its members and its state.

        Raises
        ------
        VolumeError
            If there is none, or it is damaged.
        """
        if not self.is_study:
            raise VolumeError(f"there is no study in {self.path}; run one there first")
        try:
            values = read_json(self.path / _RECORD, dict[str, Any])
            version = convert(values.get("format_version"), int)
            if version == FORMAT_VERSION:
                return convert(values, StudyRecord)
        except ValueError as error:
            raise self._damaged(error) from error
        raise VolumeError(
            f"{_RECORD} in {self.path} has the format {version}, this version reads "
            f"{FORMAT_VERSION}; open it with the version that wrote it"
        )

    def read_settings(self) -> StudySettings:
        """Read the settings that the study was begun with, to go on with it.

        Raises
        ------
        VolumeError
            If the folder holds no study, or a damaged one.
        """
        record = self.read_record()
        try:
            task = convert(record["task"], _TaskDict)
            return StudySettings(
                config=TrainConfig.from_dict(task["config"]),
                perturb=PerturbConfig.from_dict(task["perturb"]),
                study=StudyConfig.from_dict(record["study"]),
                phases=PhaseTable(record["phases"]),
                train=task["training slices"],
                test=task["test slices"],
                min_size=task["min_size"],
            )
        except ValueError as error:
            raise self._damaged(error) from error

    def read_findings(self) -> StudyFindings:
        """Read what the study has found so far; it may still be running.

        Raises
        ------
        VolumeError
            If the folder holds no study, or a damaged one.
        """
        record = self.read_record()
        try:
            phases = PhaseTable(record["phases"])
            members = tuple(
                Member.from_dict(values, n_phases=len(phases))
                for values in record["members"]
            )
        except ValueError as error:
            raise self._damaged(error) from error
        return StudyFindings(out=self.path, members=members, phases=phases)

    def read_state(self) -> StudyState:
        """Read how far the study has come, or why it cannot be read."""
        changed = (self.path / _RECORD).stat().st_mtime
        modified = datetime.fromtimestamp(changed, UTC).astimezone()
        try:
            record = self.read_record()
        except VolumeError as error:
            return StudyState(path=self.path, modified=modified, damaged=str(error))
        return StudyState(
            path=self.path,
            modified=modified,
            n_done=sum(member["error"] is None for member in record["members"]),
            n_members=sum(record["study"].values()),
            is_complete=record["state"] == "complete",
        )

    def write(
        self,
        findings: StudyFindings,
        *,
        state: str,
        task: Mapping[str, Any],
        study: StudyConfig,
    ) -> None:
        """Write what is known so far: ``members.csv`` and ``study.json``.

        The state is "begun", "running", "stopped" or "complete", and the task comes
        from `StudyTask.to_dict`.
        """
        members, phases = findings.members, findings.phases
        if members:
            write_members_csv(self.path / _TABLE, members, phases)
        record = {
            "format_version": FORMAT_VERSION,
            "state": state,
            "task": task,
            "task_hash": hash_of(task),
            "study": study.to_dict(),
            "members": [member.to_dict() for member in members],
            **findings.summary.to_dict(),
        }
        with replacing(self.path / _RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def remove(self) -> None:
        """Remove the files of the study, and nothing else."""
        places = self.members.glob("*")
        members = [place for place in places if _MEMBER.fullmatch(place.name)]
        for folder in (*members, *self.volumes.values()):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it may hold something else, or be missing
            self.members.rmdir()
        # Last the file by which the folder is known as a study.
        for name in (_TABLE, *FIGURES, _RECORD):
            (self.path / name).unlink(missing_ok=True)

    def _damaged(self, error: ValueError) -> VolumeError:
        return VolumeError(f"{_RECORD} in {self.path} is damaged: {error}")


def list_studies(folder: Path) -> list[StudyState]:
    """Read how far the studies in a folder have come, the last one first.

    Parameters
    ----------
    folder : Path
        Holds study folders, and perhaps other things; it need not exist.
    """
    studies = [
        StudyFolder(file.parent).read_state()
        for file in folder.glob(f"study-*/{_RECORD}")
    ]
    return sorted(studies, key=lambda study: study.modified, reverse=True)


def _flat(task: Mapping[str, Any]) -> dict[str, Any]:
    """Put the fields of a task's configs among its own."""
    flat: dict[str, Any] = {}
    for name, value in task.items():
        flat |= value if isinstance(value, dict) else {name: value}
    return flat
