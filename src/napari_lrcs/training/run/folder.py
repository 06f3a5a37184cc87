"""The run folder: what a training leaves, and what it resumes from.

| file | what is in it, and which module decides that |
|---|---|
| ``config.json`` | the `TrainConfig`, the run that it continues, when it began, and |
| | what it learns from: `training.run.task`; its fields: `config` |
| ``labels.tif`` | the painted slices, with their volumes and roles: |
| | `training.run.labels` |
| ``history.csv`` | a row for each epoch: here; its columns: `training.scoring` |
| ``best.safetensors``, ``last.safetensors``, ``epoch-N.safetensors`` | checkpoints: |
| | `models.header` and `models.checkpoint` |
| ``strokes.csv`` | of *Train as I paint*, a row for each stroke: `training.live.run` |
| ``resume.pt`` | the state to resume from: `TrainingState` and `ResumeState` of |
| | `training.run.resume`, filled by `training.session` |

A new file is also named in `remove`, and where they apply in `keep_best`, `is_vacant`,
`is_certain` and `_times`.

Listing and showing runs needs no torch: only checkpoints and the state to resume from,
when they are written or read, load it.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lrcs.annotation.annotation import Annotation, Role
from napari_lrcs.annotation.held_out import Place, Split
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis, TrainConfig
from napari_lrcs.errors import CheckpointError, ResultExistsError
from napari_lrcs.io.locks import is_in_use
from napari_lrcs.io.provenance import Learnt
from napari_lrcs.io.records import newest_first
from napari_lrcs.models.header import BEST_CHECKPOINT, Row, read_header, read_summary
from napari_lrcs.training.run.history import read_history, write_history
from napari_lrcs.training.run.labels import (
    LabelledSlice,
    read_labels,
    read_slices,
    roles_of,
    splits_of,
    write_labels,
)
from napari_lrcs.training.run.summary import RunSummary
from napari_lrcs.training.run.task import RunTask

if TYPE_CHECKING:
    from napari_lrcs.models.checkpoint import Checkpoint
    from napari_lrcs.training.run.resume import ResumeState

N_TRANSFER_CHECKPOINTS = 4
"""The paper saves a training at "four different advancements" for transfer learning."""

_CONFIG = "config.json"
_HISTORY = "history.csv"
_LABELS = "labels.tif"
_STATE = "resume.pt"
_STROKES = "strokes.csv"
_LAST_CHECKPOINT = "last.safetensors"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of a run, each replaced only when the new one is complete.

    Whatever reads raises a `CheckpointError` if what it needs is missing or damaged.

    Parameters
    ----------
    path : Path
        The folder; it need not exist yet.
    """

    path: Path

    # ---- what is there ----

    @property
    def best(self) -> Path:
        """Checkpoint with the best validation score."""
        return self.path / BEST_CHECKPOINT

    @property
    def last(self) -> Path:
        """Checkpoint of the last epoch."""
        return self.path / _LAST_CHECKPOINT

    @property
    def strokes(self) -> Path:
        """Strokes that a live training has taken in; there if it is one."""
        return self.path / _STROKES

    @property
    def moments(self) -> dict[int, Path]:
        """Checkpoints kept for transfer learning, by their epochs, ascending."""
        files = sorted(filter(_is_of_epoch, self.path.glob("epoch-*.safetensors")))
        return {int(file.stem.partition("-")[2]): file for file in files}

    @property
    def is_run(self) -> bool:
        """Whether a training has begun here."""
        return (self.path / _CONFIG).is_file()

    @property
    def is_certain(self) -> bool:
        """Whether this is a run, and not another program's ``config.json``."""
        names = (_LABELS, _HISTORY, _STATE, BEST_CHECKPOINT)
        return self.is_run and any((self.path / name).is_file() for name in names)

    @property
    def is_vacant(self) -> bool:
        """Whether a run may begin here: nothing is there, or what a start left."""
        if not self.path.exists():
            return True
        if not self.path.is_dir():
            return False
        names = {f.name for f in self.path.iterdir() if not f.name.startswith(".")}
        # In the order in which a start writes them.
        return names in (set(), {_STATE}, {_STATE, _LABELS})

    def check_place(self, *, overwrite: bool) -> None:
        """Refuse a folder that a new run may not take.

        Raises
        ------
        ResultExistsError
            If it holds a run that is not to be replaced, or something else.
        CheckpointError
            If it is to be replaced and its ``config.json`` is not that of a run.
        """
        if self.is_vacant:
            return
        if self.is_run and overwrite:
            self.read_config()
            return
        if self.is_run:
            raise ResultExistsError(
                f"{self.path} holds a run already; resume it, overwrite it or choose "
                "another folder"
            )
        raise ResultExistsError(
            f"{self.path} exists and is not a run folder; choose another folder"
        )

    # ---- what it was begun with ----

    def begin(self) -> None:
        """Make the folder, without the files of an earlier run."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.is_run:
            self.remove()

    def write_task(
        self,
        annotation: Annotation,
        config: TrainConfig,
        *,
        parent: "RunFolder | None" = None,
        learnt: Learnt | None = None,
    ) -> None:
        """Write labels and config; the config makes the folder a run that resumes.

        Parameters
        ----------
        learnt : Learnt, optional
            What its network learns from, and has before; by default the annotation's.
        """
        write_labels(self.path / _LABELS, annotation)
        task = RunTask(
            config=config,
            parent="" if parent is None else parent.path.name,
            begun_at=annotation.begun_at,
            learnt=learnt or annotation.learnt,
        )
        task.write(self.path / _CONFIG)

    def read_config(self) -> TrainConfig:
        """Read the config that the run was begun with."""
        return self.read_task().config

    def read_task(self) -> RunTask:
        """Read the config, when the run began and what its network learns from."""
        try:
            return RunTask.read(self.path / _CONFIG)
        except CheckpointError:
            raise
        except (ValueError, OSError) as error:
            raise self._damaged(_CONFIG, error) from error

    def read_roles(self) -> dict[Role, tuple[int, ...]]:
        """Read which slices the run was begun with, by role as `roles_of` says."""
        return roles_of(self.read_slices())

    def read_slices(self) -> tuple[LabelledSlice, ...]:
        """Read which slices of which volumes are labelled, but not their labels."""
        return read_slices(self.path / _LABELS)

    def read_labels(self) -> dict[LabelledSlice, Labels]:
        """Read the painted slices."""
        return read_labels(self.path / _LABELS)

    def read_splits(self, axis: Axis) -> dict[Place, Split]:
        """Read what its network has learnt and was validated on; {} of another axis."""
        if self.read_config().preprocessing.axis != axis:
            return {}
        return splits_of(self.read_labels())

    # ---- how far it has come ----

    def write_history(self, rows: Sequence[Row]) -> None:
        """Write one row per epoch; without any there is no file."""
        write_history(self.path / _HISTORY, rows)

    def read_history(self) -> list[Row]:
        """Read one row per epoch: numbers, and None where a cell is empty."""
        try:
            return read_history(self.path / _HISTORY)
        except (csv.Error, ValueError) as error:
            raise self._damaged(_HISTORY, error) from error

    def write_epoch(
        self, checkpoint: "Checkpoint", *, epoch: int, is_best: bool
    ) -> None:
        """Write the checkpoints that an epoch leaves."""
        from napari_lrcs.models.checkpoint import save_checkpoint

        save_checkpoint(self.last, checkpoint)
        if is_best:
            save_checkpoint(self.best, checkpoint)
        if epoch in transfer_epochs(checkpoint.config.optimisation.n_epochs):
            save_checkpoint(self.path / f"epoch-{epoch:04d}.safetensors", checkpoint)

    def summarise(self) -> RunSummary:
        """Read what the folder says about its training."""
        if not (self.path / _CONFIG).exists():
            raise CheckpointError(
                f"there is no run in {self.path}; choose a run folder"
            )
        task, history = self.read_task(), self.read_history()
        n_done, last = len(history), history[-1] if history else {}
        network = read_summary(self.best) if self.best.is_file() else None
        best_epoch = None if network is None else network.epoch
        is_finished = task.config.optimisation.is_over(
            n_done, best_epoch=best_epoch or 0
        )
        started, modified = _times(self.path)
        return RunSummary(
            path=self.path,
            started=started,
            modified=modified,
            config=task.config,
            parent=task.parent,
            n_done=n_done,
            seconds=last.get("seconds") or 0.0,
            network=network,
            is_finished=is_finished,
            can_resume=not is_finished and (self.path / _STATE).is_file(),
            is_running=is_in_use(self.path),
        )

    def _damaged(self, name: str, error: Exception) -> CheckpointError:
        return CheckpointError(f"{name} in {self.path} is damaged: {error}")

    # ---- the state to resume from ----

    def write_resume(self, state: Mapping[str, Any]) -> None:
        """Write the state to resume from."""
        from napari_lrcs.training.run.resume import save_state

        save_state(self.path / _STATE, state)

    def read_resume(self) -> "ResumeState":
        """Read the state to resume from."""
        from napari_lrcs.training.run.resume import load_state

        return load_state(self.path / _STATE)

    # ---- removing ----

    def remove(self) -> None:
        """Remove the files of the run, and nothing else."""
        self.keep_best()
        for name in (BEST_CHECKPOINT, _HISTORY, _STROKES, _LABELS, _CONFIG):
            (self.path / name).unlink(missing_ok=True)

    def keep_best(self) -> None:
        """Remove the state to resume from, and all networks but the best."""
        for file in (*self.moments.values(), self.last, self.path / _STATE):
            file.unlink(missing_ok=True)

    def clean_up(self, *, keep: bool) -> None:
        """Remove a run that was stopped, and an empty folder; not another's run.

        Parameters
        ----------
        keep : bool
            Whether to keep a run that has a network; one that has learnt nothing is
            removed in any case.
        """
        if is_in_use(self.path):
            return
        has_begun = (self.path / _STATE).exists()
        if has_begun and not (keep and self.best.exists()):
            self.remove()
        with suppress(OSError):  # it holds something else, or is missing
            self.path.rmdir()


def list_runs(folder: Path) -> list[RunSummary]:
    """Summarise the runs in a folder, the one that was modified last first.

    Parameters
    ----------
    folder : Path
        Holds run folders, and perhaps other things; it need not exist.

    Returns
    -------
    list of RunSummary
        Those of damaged runs say why in `damaged`.
    """
    return newest_first(
        summarise_run(file.parent) for file in folder.glob(f"*/{_CONFIG}")
    )


def summarise_run(path: Path) -> RunSummary:
    """Summarise a run; of a damaged one, only why it cannot be read."""
    try:
        return RunFolder(path).summarise()
    except (CheckpointError, OSError) as error:
        started, modified = _times(path)
        return RunSummary(
            path=path, started=started, modified=modified, damaged=str(error)
        )


def transfer_epochs(n_epochs: int) -> list[int]:
    """Choose the epochs after which a checkpoint is kept for transfer learning.

    Examples
    --------
    >>> transfer_epochs(20)
    [5, 10, 15, 20]
    >>> transfer_epochs(2)
    [1, 2]
    """
    quarters = range(1, N_TRANSFER_CHECKPOINTS + 1)
    return sorted({max(1, n_epochs * i // N_TRANSFER_CHECKPOINTS) for i in quarters})


def _is_of_epoch(file: Path) -> bool:
    """Tell our networks from files of the user's that are named alike."""
    if not re.fullmatch(r"epoch-[0-9]{4,}\.safetensors", file.name):
        return False
    try:
        read_header(file)
    except CheckpointError:
        return False
    return True


def _times(run: Path) -> tuple[datetime, datetime]:
    # The config is written once, when all else that a start writes is there.
    started = (run / _CONFIG).stat().st_mtime
    names = (_HISTORY, _STATE, BEST_CHECKPOINT, _LAST_CHECKPOINT)
    files = [file for name in names if (file := run / name).is_file()]
    modified = max([started, *(file.stat().st_mtime for file in files)])
    return _local(started), _local(modified)


def _local(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC).astimezone()
