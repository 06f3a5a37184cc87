"""Run the trainings of a comparison of transfer learning."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.io.locks import only_writer
from napari_lrcs.io.paths import check_outputs, follow_link
from napari_lrcs.io.volume import sources_of
from napari_lrcs.io.writing import check_new
from napari_lrcs.models.device import resolve_device
from napari_lrcs.models.registry import create_model
from napari_lrcs.progress import Notice, StepEnded
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import Origin
from napari_lrcs.transfer.figures import write_figure
from napari_lrcs.transfer.folder import TransferFolder
from napari_lrcs.transfer.plan import Start, TransferTask
from napari_lrcs.transfer.results import (
    StartResult,
    TransferFindings,
    has_ended,
    read_result,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStarted:
    """A comparison is about to start or to continue."""

    starts: tuple[Start, ...]
    n_trainings: int
    n_done: int
    """Trainings that had ended before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProgress:
    """A training has made progress; yielded several times a second."""

    start: Start
    repeat: int
    share: float
    """Share of the whole comparison that is done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTrained:
    """Another training has ended."""

    result: StartResult
    """All trainings from its start so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferEnded:
    """All trainings have ended, and the figure is drawn."""

    findings: TransferFindings
    seconds: float
    """Duration of this call, without earlier sessions of a continued comparison."""


TransferEvent: TypeAlias = (
    Notice | TransferStarted | TransferProgress | StartTrained | TransferEnded
)


def compare_starts(
    task: TransferTask,
    *,
    out: Path,
    resume: bool = False,
    overwrite: bool = False,
) -> Generator[TransferEvent, None, None]:
    """Train from each moment of an earlier training, at each rate, and from scratch.

    Repeat after repeat, so that a comparison that is stopped early covers all starts.

    Parameters
    ----------
    task : TransferTask
        Volumes, the earlier training, and how many new ones.
    out : Path
        Folder for ``transfer.json``, ``transfer.csv``, the figure and the run folders.
    resume : bool
        Continue the comparison in the folder: everything must be the same.
    overwrite : bool
        Replace the comparison in the folder, after all other checks have passed.

    Yields
    ------
    TransferEvent
        `Notice` for what starts fresh, `TransferStarted`, `TransferProgress` and
        `StartTrained` for each training, and finally `TransferEnded`. If the generator
        is closed, the comparison can be continued.

    Raises
    ------
    ValueError
        If labels, slices or settings are not valid; nothing is written then.
    CheckpointError
        If the earlier network does not fit.
    ResultExistsError
        If the folder holds something that is to be neither continued nor replaced.
    InUseError
        If another process runs the comparison.
    OSError
        If something cannot be written.
    """
    begun, out = time.monotonic(), follow_link(out)
    volumes = task.volumes
    read = sources_of(*(v for a in volumes for v in (a.image, a.labels, a.mask)))
    check_outputs([out], inputs=[*read, task.source.path])
    if not resume:
        check_new(out, overwrite=True)
    folder = TransferFolder(out)
    folder.record.check_place(resume=resume, overwrite=overwrite)
    if resume:
        task = replace(task, begun_at=folder.record.read_begun_at())
    resolve_device(task.config.device)
    annotation = task.annotate()
    task.config_of(task.starts[0], task.transfer.n_repeats - 1)  # its seed
    notices = list(_check_origins(task, annotation))
    description = task.to_dict(annotation)
    if resume:
        folder.record.check_same(description)
    with only_writer(out):
        # Checked again: another process may have begun a comparison.
        folder.record.check_place(resume=resume, overwrite=overwrite)
        if not resume:
            folder.begin(description, task)
        yield from notices
        yield from _run(task, folder, annotation)
        findings = folder.read_findings()
        folder.write_table(findings)
        write_figure(out, findings)
    yield TransferEnded(findings=findings, seconds=time.monotonic() - begun)


def _check_origins(task: TransferTask, annotation: Annotation) -> Iterator[Notice]:
    """Refuse networks that do not fit, and say what starts fresh."""
    texts: dict[str, None] = dict.fromkeys(annotation.advice)
    model = create_model(task.config.network, n_phases=len(annotation.phases))
    origins = map(task.origin_of, task.starts)
    for origin in {o.path: o for o in origins if o is not None}.values():
        texts[origin.fill(model, task.config.network, annotation.phases)] = None
    yield from (Notice(kind="advice", text=text) for text in texts if text)


def _run(
    task: TransferTask, folder: TransferFolder, annotation: Annotation
) -> Iterator[TransferEvent]:
    """Run the trainings that have not ended."""
    planned = [(s, r) for r in range(task.transfer.n_repeats) for s in task.starts]
    left = [(s, r) for s, r in planned if not has_ended(folder.run_of(s, r))]
    n_done = len(planned) - len(left)
    yield TransferStarted(starts=task.starts, n_trainings=len(planned), n_done=n_done)
    for n_before, (start, repeat) in enumerate(left, start=n_done):
        run = folder.run_of(start, repeat)
        run.path.parent.mkdir(exist_ok=True)
        config = task.config_of(start, repeat)
        origin = None if run.is_run else task.origin_of(start)
        for done in _train(run, annotation, config, origin):
            yield TransferProgress(
                start=start, repeat=repeat, share=(n_before + done) / len(planned)
            )
        yield StartTrained(result=read_result(start, run.path.parent))


def _train(
    run: RunFolder, annotation: Annotation, config: TrainConfig, origin: Origin | None
) -> Iterator[float]:
    """Run a training, or continue it; yields the share that is done."""
    events = train(
        annotation, config=config, run=run.path, resume=run.is_run, origin=origin
    )
    assert isinstance(events, Generator)
    with closing(events):
        for event in events:
            if isinstance(event, StepEnded):
                done = event.epoch - 1 + event.step / event.steps_per_epoch
                yield done / config.optimisation.n_epochs
    run.keep_best()  # the rest would fill disks
