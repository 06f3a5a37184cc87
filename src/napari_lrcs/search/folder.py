"""The search folder: the files of a search; needs neither torch nor Optuna."""

import math
import re
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from napari_lrcs.config import SearchConfig, TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.locks import (
    check_not_in_use,
    is_in_use,
    one_at_a_time,
    only_writer,
)
from napari_lrcs.io.paths import lock_of
from napari_lrcs.io.records import (
    FolderState,
    Record,
    convert,
    newest_first,
    read_json,
    write_json,
)
from napari_lrcs.io.tables import write_csv
from napari_lrcs.search.figures import FIGURES
from napari_lrcs.search.results import SearchFindings, TrialResult, trial_name
from napari_lrcs.search.space import SearchSpace

_RECORD = "search.json"
_TABLE = "trials.csv"
_RESULT = "trial.json"
_WORKER = "worker"
"""Name of a worker's lock in the folder of a trial."""

_PAUSE = 1.0
"""Seconds between checks whether another worker still computes a trial."""

_TRIAL = re.compile("trial-[0-9]{3,}")


class SearchRecord(TypedDict):
    """What is read of ``search.json``."""

    task: dict[str, Any]
    search: dict[str, Any]
    n_trials: int
    importances: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchState(FolderState):
    """The progress of a search; trials that were pruned are done, too.

    Parameters
    ----------
    best : float
        Score of the best trial, 0 to 1; NaN without one.
    is_grid : bool
        Whether it tries all combinations of some values.
    """

    best: float = math.nan
    is_grid: bool = False

    @property
    def can_extend(self) -> bool:
        """Whether it can try more settings than were planned."""
        return not self.damaged and not self.is_grid


@dataclass(frozen=True, slots=True)
class SearchFolder:
    """The files of a search.

    Several processes may run the trials of one search. What they share is changed
    while `changing` is held; a trial belongs to the process that holds `running`.

    Parameters
    ----------
    path : Path
        The folder; it need not exist yet.
    """

    path: Path

    # ---- its files ----

    @property
    def journal(self) -> Path:
        """File in which Optuna keeps which trials wait, run and have ended."""
        return self.path / "journal.log"

    @property
    def trials(self) -> Path:
        """Folder of the trials' own folders."""
        return self.path / "trials"

    def trial(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.trials / trial_name(number)

    @property
    def record(self) -> Record[SearchRecord]:
        """File that makes the folder a search: the task and its budget."""
        return Record(path=self.path / _RECORD, kind=SearchRecord, what="search")

    @property
    def is_search(self) -> bool:
        """Whether the folder holds a search."""
        return self.record.exists

    def check_place(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that a search may not be written to, as `Record` does.

        Raises
        ------
        InUseError
            If a process is running the search that is to be replaced.
        """
        self.record.check_place(resume=resume, overwrite=overwrite)
        if self.is_search and not resume:
            for place in self.trials.glob("*"):
                check_not_in_use(place)

    # ---- sharing it ----

    def changing(self) -> AbstractContextManager[None]:
        """Wait until no other process changes what all of them share."""
        return one_at_a_time(lock_of(self.trials))

    @contextmanager
    def running(self, number: int) -> Iterator[None]:
        """Be the only one to run a trial until the block ends.

        Raises
        ------
        InUseError
            If another process runs it.
        """
        self.trial(number).mkdir(parents=True, exist_ok=True)
        with only_writer(self.trial(number)):
            yield

    def working(self, number: int) -> AbstractContextManager[None]:
        """Wait until no worker computes a trial, and hold its lock in the block.

        Workers in other processes need a lock besides `running`, which ends with the
        search that has sent them the trial.
        """
        return one_at_a_time(lock_of(self.trial(number) / _WORKER), pause=_PAUSE)

    def is_running(self, number: int) -> bool:
        """Whether a process runs a trial, or `is_left_running`."""
        return is_in_use(self.trial(number)) or self.is_left_running(number)

    def is_left_running(self, number: int) -> bool:
        """Whether a worker computes a trial whose search was killed or has lost it."""
        place = self.trial(number)
        if is_in_use(place):
            return False
        return any(map(is_in_use, (place / _WORKER, *place.glob("repeat-*"))))

    # ---- reading and writing ----

    def read_settings(self) -> tuple[TrainConfig, SearchConfig, SearchSpace]:
        """Read the settings that the search was started with, to continue it."""
        record = self.record.read()
        try:
            return (
                TrainConfig.from_dict(record["task"]["config"]),
                SearchConfig.from_dict(record["search"]),
                SearchSpace.parse(convert(record["task"]["space"], list[str])),
            )
        except (KeyError, ValueError) as error:
            raise self._damaged(_RECORD, error) from error

    def read_findings(self) -> SearchFindings:
        """Read the results so far; the search may still be running."""
        record = self.record.read()
        config, _, space = self.read_settings()
        return SearchFindings(
            out=self.path,
            config=config,
            space=space,
            n_trials=record["n_trials"],
            trials=tuple(self.read_results()),
            importances=record["importances"],
        )

    def read_state(self) -> SearchState:
        """Read the progress; a search that cannot be read has its reason in it."""
        time = self.record.modified
        try:
            found, (_, search, _) = self.read_findings(), self.read_settings()
        except (OSError, ValueError) as error:
            return SearchState(path=self.path, modified=time, damaged=str(error))
        n_done = sum(trial.state != "failed" for trial in found.trials)
        return SearchState(
            path=self.path,
            modified=time,
            n_done=n_done,
            n_planned=found.n_trials,
            is_complete=n_done >= found.n_trials,
            best=math.nan if found.best is None else found.best.score,
            is_grid=search.sampler == "grid",
        )

    def read_results(self) -> list[TrialResult]:
        """Read the trials that have ended, by number."""
        files = [
            place / _RESULT
            for place in self.trials.glob("trial-*")
            if _TRIAL.fullmatch(place.name)
        ]
        found = [self.read_result(file.parent) for file in files]
        return sorted((f for f in found if f is not None), key=lambda f: f.number)

    def read_result(self, place: Path) -> TrialResult | None:
        """Read a trial; None if it has not ended."""
        try:
            return read_json(place / _RESULT, TrialResult)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self._damaged(f"{place.name}/{_RESULT}", error) from error

    def write_result(self, result: TrialResult) -> None:
        """Write a trial that has ended."""
        write_json(self.trial(result.number) / _RESULT, asdict(result))

    def forget_result(self, number: int) -> None:
        """Remove the result of a trial that is to be tried again."""
        (self.trial(number) / _RESULT).unlink(missing_ok=True)

    def write_table(self) -> None:
        """Write ``trials.csv``, one row per trial that has ended."""
        write_csv(self.path / _TABLE, [r.to_row() for r in self.read_results()])

    def remove(self) -> None:
        """Remove the files of the search, and nothing else."""
        for place in self.trials.glob("trial-*"):
            if _TRIAL.fullmatch(place.name):
                shutil.rmtree(place, ignore_errors=True)
        with suppress(OSError):  # it may hold other files, or be missing
            self.trials.rmdir()
        # `_RECORD` comes last: it marks the folder as a search.
        for name in (self.journal.name, _TABLE, *FIGURES, _RECORD):
            (self.path / name).unlink(missing_ok=True)

    def _damaged(self, name: str, error: Exception) -> VolumeError:
        return VolumeError(f"{name} in {self.path} is damaged: {error}")


def list_searches(folder: Path) -> list[SearchState]:
    """Read the progress of all searches in a folder, the latest one first.

    Parameters
    ----------
    folder : Path
        Folder that may hold search folders; it need not exist.
    """
    return newest_first(
        SearchFolder(file.parent).read_state()
        for file in folder.glob(f"search-*/{_RECORD}")
    )
