"""Run the trials of a search, and say which setting is the best."""

import math
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.errors import ClusterError, LrcsError, one_line
from napari_lrcs.io.paths import check_outputs, follow_link
from napari_lrcs.io.volume import sources_of
from napari_lrcs.io.writing import check_new
from napari_lrcs.progress import Notice
from napari_lrcs.search.estimate import Estimate, estimate
from napari_lrcs.search.events import (
    Drawing,
    SearchEnded,
    SearchEvent,
    SearchStarted,
    TrialEnded,
    TrialProgress,
    TrialStarted,
)
from napari_lrcs.search.figures import write_search_figures
from napari_lrcs.search.folder import SearchFolder
from napari_lrcs.search.results import SearchFindings, TrialResult
from napari_lrcs.search.task import SearchTask
from napari_lrcs.search.trial import TrialTask, run_trial, trial_events
from napari_lrcs.search.trial_queue import Entry, TrialQueue

_FAILURES = (LrcsError, OSError, ValueError, MemoryError, RuntimeError)
"""Errors that fail one trial but not the search; torch raises RuntimeError."""

_POLL_SECONDS = 0.5
"""Seconds between checks of other processes: closing the generator waits no longer."""


def run_search(
    task: SearchTask,
    *,
    out: Path,
    resume: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    devices: Sequence[str] = (),
) -> Generator[SearchEvent, None, None]:
    """Try settings, each in several trainings, and rank them.

    Trial n of a random search draws its settings with
    ``np.random.default_rng((config.seed, n))``, and repeat r of every trial is trained
    with the seed ``config.seed + r``.

    Parameters
    ----------
    task : SearchTask
        Volumes, what is varied, and the budget.
    out : Path
        Folder for ``search.json``, Optuna's journal, ``trials.csv``, the trials' run
        folders and the figures.
    resume : bool
        Continue the search in the folder, or help a process that is running it: ended
        trials are kept, interrupted ones are continued, and failed ones are tried
        again. Everything but the budget and the device must be the same.
    overwrite : bool
        Replace the search in the folder, after all other checks have passed.
    executor : concurrent.futures.Executor, optional
        Runs trials in parallel; by default they run one after another in this process.
    devices : sequence of str, optional
        Devices for the executor, one trial on each at a time. By default as many trials
        at a time as the executor has workers (``executor.n_workers``), or one if it has
        no such attribute, on the config's device; they are estimated there, too.

    Yields
    ------
    SearchEvent
        `Estimating`, `Notice`, `SearchStarted`, `TrialEnded` for each trial that has
        ended before, then for each other trial `TrialStarted`, `TrialProgress` and
        `TrialEnded`; then `Drawing` and finally `SearchEnded`. If the generator is
        closed, the search can be continued; other processes finish the trials that they
        have begun, and who continues it waits for them.

    Raises
    ------
    ValueError
        If labels, slices or settings are not valid; nothing is written then.
    MemoryError
        If settings do not fit into memory; nothing is written then.
    ResultExistsError
        If the folder holds something that is to be neither continued nor replaced.
    InUseError
        If a process is running the search that is to be replaced.
    ClusterError
        If the executor is a cluster that is lost.
    LrcsError
        If every trial has failed.
    OSError
        If the search itself cannot be written.
    """
    started = time.monotonic()
    out = follow_link(out)
    read = sources_of(*(v for a in task.volumes for v in (a.image, a.labels, a.mask)))
    check_outputs([out], inputs=read)
    if not resume:  # others may be running it, or join it now
        check_new(out, overwrite=True)
    folder = SearchFolder(out)
    folder.check_place(resume=resume, overwrite=overwrite)
    if resume:
        task = replace(task, begun_at=folder.record.read_begun_at())
    annotation = task.annotate(task.config_of(task.space.middle))
    task.config_of({}, repeat=task.search.n_repeats - 1)  # its seed may be too large
    if resume:
        folder.record.check_same(task.to_dict(annotation))
    cost = yield from estimate(
        task,
        annotation,
        is_timed=not (resume and _is_complete(folder, task)),
        executor=None if devices else executor,
    )
    search = _Search(task, folder, annotation)
    search.begin(resume=resume, overwrite=overwrite)
    yield from [Notice(kind="advice", text=text) for text in annotation.advice]
    yield search.started(cost, n_at_once=len(search.devices(executor, devices)))
    yield from [TrialEnded(trial=trial) for trial in folder.read_results()]
    if executor is None:
        yield from search.one_after_another(started)
    else:
        yield from search.side_by_side(started, executor, devices)
    yield from search.end(started)


def _is_complete(folder: SearchFolder, task: SearchTask) -> bool:
    done = [trial for trial in folder.read_results() if trial.state != "failed"]
    return len(done) >= max(task.n_trials, folder.record.read()["n_trials"])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Claim:
    """A trial that this process runs until `lock` is closed."""

    entry: Entry
    task: TrialTask
    lock: ExitStack


class _Search:
    """A running search, which other processes may be running too."""

    def __init__(
        self, task: SearchTask, folder: SearchFolder, annotation: Annotation
    ) -> None:
        self._task = task
        self._folder = folder
        self._description = task.to_dict(annotation)
        self._n_trials = task.n_trials

    # ---- the beginning ----

    def begin(self, *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or put failed and interrupted trials back into the queue."""
        self._folder.path.mkdir(exist_ok=True)
        with self._folder.changing():
            # Checked again: another process may have begun a search.
            self._folder.check_place(resume=resume, overwrite=overwrite)
            if resume:
                self._folder.record.check_same(self._description)
                begun = self._folder.record.read()["n_trials"]
                self._n_trials = max(begun, self._n_trials)
            elif overwrite:
                self._folder.remove()
            self._write_record({})
            self._open_queue()
            self._put_back_interrupted()
            if resume:
                self._put_back_failed()
            for number in range(self._queue.n_known, self._n_trials):
                self._queue.add(number, self._task.settings_of(number))

    def _open_queue(self) -> None:
        self._folder.trials.mkdir(exist_ok=True)
        self._queue = TrialQueue(
            self._folder.journal,
            space=self._task.space,
            sampler=self._task.search.sampler,
            seed=self._task.config.seed,
        )

    def _write_record(self, importances: dict[str, float]) -> None:
        self._folder.record.write(
            {
                "task": self._description,
                "search": self._task.search.to_dict(),
                "n_trials": self._n_trials,
                "begun_at": self._task.begun_at.isoformat(),
                "importances": importances,
            }
        )

    def _put_back_failed(self) -> None:
        for trial in self._folder.read_results():
            is_failed = trial.state == "failed"
            if is_failed and not self._folder.is_running(trial.number):
                self._folder.forget_result(trial.number)
                self._queue.add(trial.number, trial.settings)

    def _put_back_interrupted(self) -> None:
        """Let trials wait again whose process was stopped or killed."""
        for entry in self._queue.started():
            if self._folder.is_running(entry.number):
                continue
            result = self._folder.read_result(self._folder.trial(entry.number))
            if result is None:
                self._queue.put_back(entry)
            else:  # killed after its end, before it was recorded
                self._queue.end(entry, result)

    def started(self, cost: Estimate, *, n_at_once: int) -> SearchStarted:
        """Say how much there is to do."""
        n_rounds = math.ceil(self._queue.n_waiting / n_at_once)
        n_repeats = self._task.search.n_repeats
        seconds = n_rounds * n_repeats * cost.repeat_seconds
        return SearchStarted(
            out=self._folder.path,
            n_trials=self._n_trials,
            n_repeats=n_repeats,
            n_done=len(self._folder.read_results()),
            seconds=min(seconds, 60 * self._task.search.minutes or math.inf),
            memory=cost.memory,
        )

    # ---- the trials ----

    def one_after_another(self, started: float) -> Iterator[SearchEvent]:
        """Run the trials that wait, in this process."""
        while (claim := (yield from self._next(started))) is not None:
            with claim.lock:
                yield _started(claim)
                try:
                    result = yield from trial_events(claim.task)
                except _FAILURES as error:
                    result = self._failed(claim, error)
                self._record(claim, result)
            yield TrialEnded(trial=result)

    def side_by_side(
        self, started: float, executor: Executor, devices: Sequence[str]
    ) -> Iterator[SearchEvent]:
        """Run the trials that wait in other processes, one per device."""
        running: dict[Future[TrialResult], tuple[_Claim, str]] = {}
        try:
            while True:
                every = Counter(self.devices(executor, devices))
                taken = Counter(device for _, device in running.values())
                for device in (every - taken).elements():
                    claim = (
                        self._claim(started)
                        if running
                        else (yield from self._next(started))
                    )
                    if claim is None:
                        break
                    running[_submit(executor, claim.task.on(device))] = claim, device
                    yield _started(claim)
                if not running:
                    return
                done, _ = wait(
                    running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED
                )
                for future in done:
                    claim, _ = running.pop(future)
                    yield TrialEnded(trial=self._result(claim, future))
                yield from [_elsewhere(claim.entry) for claim, _ in running.values()]
        finally:
            for future, (claim, _) in running.items():
                future.cancel()
                claim.lock.close()

    def devices(self, executor: Executor | None, given: Sequence[str]) -> Sequence[str]:
        """Return the device of each trial that may run at once."""
        if given:
            return given
        n_workers = getattr(executor, "n_workers", 1)  # a worker may yet come
        return (self._task.config.device,) * max(n_workers, 1)

    def _next(self, started: float) -> Generator[TrialProgress, None, _Claim | None]:
        """Claim a trial; if none waits, wait for those that workers still compute.

        The search that started them was killed, or has lost its cluster.
        """
        while True:
            left = self._left_running()  # first: what ends now can be claimed
            claim = self._claim(started)
            if claim is not None or not left:
                return claim
            yield from [_elsewhere(entry) for entry in left]
            time.sleep(_POLL_SECONDS)

    def _left_running(self) -> list[Entry]:
        with self._folder.changing():
            return [
                entry
                for entry in self._queue.started()
                if self._folder.is_left_running(entry.number)
            ]

    def _claim(self, started: float) -> _Claim | None:
        """Start the next trial, unless none waits or the time is over."""
        minutes = self._task.search.minutes
        if minutes and time.monotonic() - started >= 60 * minutes:
            return None
        with self._folder.changing():
            self._put_back_interrupted()
            entry = self._queue.start()
            if entry is None:
                return None
            lock = ExitStack()
            lock.enter_context(self._folder.running(entry.number))
        task = TrialTask(
            task=self._task,
            folder=self._folder,
            number=entry.number,
            settings=entry.settings,
        )
        return _Claim(entry=entry, task=task, lock=lock)

    def _result(self, claim: _Claim, future: Future[TrialResult]) -> TrialResult:
        with claim.lock:
            try:
                result = future.result()
            except ClusterError:  # of all trials
                raise
            except _FAILURES as error:
                result = self._failed(claim, error)
            self._record(claim, result)
        return result

    def _failed(self, claim: _Claim, error: BaseException) -> TrialResult:
        result = claim.task.failed(one_line(error))
        self._folder.write_result(result)
        return result

    def _record(self, claim: _Claim, result: TrialResult) -> None:
        with self._folder.changing():
            self._queue.end(claim.entry, result)
            self._folder.write_table()

    # ---- the end ----

    def end(self, started: float) -> Iterator[SearchEvent]:
        """Draw the figures, and say what was found."""
        with self._folder.changing():
            self._put_back_interrupted()
            is_last = not self._queue.started()
            self._write_record(self._queue.importances())
            findings = self._folder.read_findings()
        _check_any_succeeded(findings)
        if is_last and findings.trials:  # otherwise another process draws them
            for share in write_search_figures(self._folder.path, findings):
                yield Drawing(share=share)
        yield SearchEnded(findings=findings, seconds=time.monotonic() - started)


def _check_any_succeeded(findings: SearchFindings) -> None:
    failed = [trial for trial in findings.trials if trial.state == "failed"]
    if failed and len(failed) == len(findings.trials):
        reasons = "; ".join(dict.fromkeys(trial.reason for trial in failed))
        raise LrcsError(
            f"all {len(failed)} trials failed; fix the cause and resume ({reasons})"
        )


def _started(claim: _Claim) -> TrialStarted:
    return TrialStarted(number=claim.entry.number, settings=claim.entry.settings)


def _submit(executor: Executor, task: TrialTask) -> Future[TrialResult]:
    try:
        return executor.submit(run_trial, task)
    except RuntimeError as error:  # a broken pool accepts no more work
        future: Future[TrialResult] = Future()
        future.set_exception(error)
        return future


def _elsewhere(entry: Entry) -> TrialProgress:
    return TrialProgress(
        number=entry.number, share=0.0, text="in another process", event=None
    )
