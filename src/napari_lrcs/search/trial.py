"""One trial of a search: train its setting several times."""

import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.progress import Notice, StepEnded, TrainEvent, result_of
from napari_lrcs.search.events import TrialProgress
from napari_lrcs.search.folder import SearchFolder
from napari_lrcs.search.results import TrialResult, find_hopeless
from napari_lrcs.search.space import Values
from napari_lrcs.search.task import SearchTask
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrialTask:
    """A trial of a search; can be sent to another process.

    Parameters
    ----------
    task : SearchTask
        Task of the whole search.
    folder : SearchFolder
        Where the search is kept.
    number : int
        Number of the trial, from 0.
    settings : dict
        Values of the settings that are searched.
    """

    task: SearchTask
    folder: SearchFolder
    number: int
    settings: Values

    def on(self, device: str) -> "TrialTask":
        """Return the same trial on another device."""
        config = self.task.config.with_changes(device=device)
        return replace(self, task=replace(self.task, config=config))

    def run_of(self, repeat: int) -> RunFolder:
        """Return the folder of one of its trainings."""
        return RunFolder(self.folder.trial(self.number) / f"repeat-{repeat}")

    def failed(self, reason: str) -> TrialResult:
        """Return what is recorded if it fails."""
        return TrialResult(
            number=self.number,
            settings=self.settings,
            state="failed",
            reason=reason,
            ended=time.time(),
        )


def run_trial(task: TrialTask) -> TrialResult:
    """Run a trial to its end without events, for use in other processes.

    If a worker of an interrupted search still computes it, wait for its result.

    Raises
    ------
    LrcsError, OSError, ValueError, MemoryError, RuntimeError
        If anything goes wrong.
    """
    with task.folder.working(task.number):
        found = task.folder.read_result(task.folder.trial(task.number))
        return found or result_of(trial_events(task))


def trial_events(task: TrialTask) -> Generator[TrialProgress, None, TrialResult]:
    """Train a setting several times; continue what is unfinished.

    Yields
    ------
    TrialProgress
        Several times a second.

    Returns
    -------
    TrialResult
        Also written to the trial's folder as the last step. It is pruned if a training
        falls into the major-class pitfall, or if the first one scores less than those
        of other trials.

    Raises
    ------
    LrcsError, OSError, ValueError, MemoryError, RuntimeError
        If anything goes wrong.
    """
    started = time.monotonic()
    search = task.task.search
    annotation = task.task.annotate(task.task.config_of(task.settings))
    trial = TrialResult(number=task.number, settings=task.settings, state="complete")
    for repeat in range(search.n_repeats):
        reason = yield from _train(task, annotation, repeat)
        trial = replace(trial, curves=(*trial.curves, _curve(task.run_of(repeat))))
        if not reason and repeat == 0 and search.prune and search.n_repeats > 1:
            reason = find_hopeless(trial, task.folder.read_results())
        if reason:
            trial = replace(trial, state="pruned", reason=reason)
            break
    trial = replace(trial, seconds=time.monotonic() - started, ended=time.time())
    task.folder.write_result(trial)
    for repeat in range(len(trial.curves)):  # the rest would fill disks
        task.run_of(repeat).keep_best()
    return trial


def _train(
    task: TrialTask, annotation: Annotation, repeat: int
) -> Generator[TrialProgress, None, str]:
    """Run a training, unless it is finished; return why the trial is to be pruned."""
    run = task.run_of(repeat)
    if run.is_run and run.summarise().is_finished:
        return ""
    events = train(
        annotation,
        config=task.task.config_of(task.settings, repeat=repeat),
        run=run.path,
        resume=run.is_run,
    )
    assert isinstance(events, Generator)
    share = repeat / task.task.search.n_repeats
    with closing(events):
        for event in events:
            if isinstance(event, Notice) and event.kind == "pitfall":
                return event.text.partition(";")[0]
            share = max(share, _share(task, repeat, event))
            yield TrialProgress(
                number=task.number,
                share=share,
                text=f"training {repeat + 1} of {task.task.search.n_repeats}",
                event=event,
            )
    return ""


def _share(task: TrialTask, repeat: int, event: TrainEvent) -> float:
    if not isinstance(event, StepEnded):
        return 0.0
    n_epochs = task.task.config_of(task.settings).optimisation.n_epochs
    done = (event.epoch - 1 + event.step / event.steps_per_epoch) / n_epochs
    return (repeat + done) / task.task.search.n_repeats


def _curve(run: RunFolder) -> tuple[float, ...]:
    """Read the validation score of each epoch, 0 to 1."""
    scores = (row["validation_mean_iou"] for row in run.read_history())
    return tuple(float(score) for score in scores if isinstance(score, float | int))
