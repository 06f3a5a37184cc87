"""Predict by other processes, each of which writes its own slabs to disk."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.config import PredictConfig
from napari_lrcs.inference.elsewhere import (
    compute_slabs_elsewhere,
    left_of,
    writing_to,
)
from napari_lrcs.inference.foreign import PredictedPhases
from napari_lrcs.inference.geometry import Slab
from napari_lrcs.inference.predict import predict_volume, run_prediction
from napari_lrcs.inference.predictor import Predictor
from napari_lrcs.inference.results.disk import DiskResult
from napari_lrcs.inference.results.outputs import Output
from napari_lrcs.inference.results.result import Result, Sink
from napari_lrcs.inference.results.sharing import Session
from napari_lrcs.inference.slabs import compute_slabs
from napari_lrcs.inference.task import PredictTask
from napari_lrcs.io.elsewhere import Elsewhere, PackedVolumes
from napari_lrcs.models.checkpoint import load_checkpoint, save_checkpoint
from napari_lrcs.progress import Notice, PredictEvent


def predict_task(
    task: PredictTask, *, result: Result, others: Elsewhere | None
) -> Iterator[PredictEvent]:
    """Predict in this process, or by others; see `predict_volume_spread`."""
    if others is not None:
        assert isinstance(result, DiskResult)
        return predict_volume_spread(task, result=result, others=others)
    return predict_volume(
        task.volume,
        task.checkpoint,
        result=result,
        config=task.config,
        slices=task.slices,
        mask=task.mask,
    )


def predict_volume_spread(
    task: PredictTask, *, result: DiskResult, others: Elsewhere
) -> Iterator[PredictEvent]:
    """Predict the phases of a volume by other processes.

    The labels are those of `predict_volume`, bit for bit, if the processes compute
    alike. A prediction that was interrupted is continued by either function.

    Parameters
    ----------
    task : PredictTask
        Its volume, and the file of its mask, come from `open_to_share`.
    result : DiskResult
        On a disk that all processes share, as the volume is.
    others : Elsewhere
        The processes.

    Yields
    ------
    PredictEvent
        As from `predict_volume`; `SlabPredicted` once a process has ended its part.

    Raises
    ------
    LrcsError
        If a process does not see the disk, or the executor fails.
    ValueError
        If the volume is in memory, or as `predict_volume` does.
    InUseError, VolumeError, OSError
        As `predict_volume` does, here or in another process.
    """
    computing = _Elsewhere(
        others=others,
        volumes=PackedVolumes.of(task.volume, task.mask),
    )
    yield from run_prediction(task, result=result, computing=computing)


# ---- in the process that has the result ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elsewhere:
    """Computes in other processes."""

    others: Elsewhere
    volumes: PackedVolumes
    precision = ""
    n_tiles = 0

    @property
    def device(self) -> str:
        return self.others.device

    def run(
        self,
        task: PredictTask,
        slabs: Sequence[Slab],
        *,
        result: Result,
        sink: Sink,
        phases: PredictedPhases,
    ) -> Iterator[PredictEvent]:
        assert isinstance(result, DiskResult)
        del sink  # the others write
        if not slabs:
            return
        save_checkpoint(_network_in(result.partial), task.checkpoint)
        job = _Job(
            session=Session.begin(result.partial),
            volumes=self.volumes,
            config=task.config,
            outputs=result.wanted,
        )
        told: set[Notice] = set()

        def take(part: _Predicted) -> Iterator[Notice]:
            phases.counts += part.counts
            yield from (n for n in part.notices if n not in told)
            told.update(part.notices)

        yield from compute_slabs_elsewhere(
            partial(_predict_part, job),
            slabs,
            others=self.others,
            take=take,
            depth=task.geometry.depth,
            n_slices=len(task.wanted),
        )


# ---- in the other processes ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all parts of a prediction have in common; can be pickled."""

    session: Session
    volumes: PackedVolumes
    config: PredictConfig
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predicted:
    """What became of a part."""

    notices: tuple[Notice, ...]
    counts: NDArray[np.int64]


def _predict_part(job: _Job, slabs: Sequence[Slab]) -> _Predicted:
    """Predict the slabs that are not written yet, and write them."""
    job.session.check()
    task = _opened(job)  # before others may have to wait for us
    phases = PredictedPhases(task.checkpoint)
    predictor = Predictor(task.checkpoint, task.config, task.reader.slice_shape)
    with closing(predictor), job.session.writing() as writer:
        events = compute_slabs(
            task,
            left_of(slabs, job.session),
            predictor=predictor,
            outputs=job.outputs,
            write=writing_to(
                job.session,
                geometry=task.geometry,
                outputs=job.outputs,
                writer=writer,
            ),
            phases=phases,
        )
        with closing(events):  # its threads end before we are no writer any more
            notices = tuple(_notices(events, job.session))
    return _Predicted(notices=notices, counts=phases.counts)


def _notices(events: Iterable[PredictEvent], session: Session) -> Iterator[Notice]:
    for event in events:
        session.check()
        if isinstance(event, Notice):
            yield event


@lru_cache(maxsize=1)  # a process gets many parts of one prediction
def _opened(job: _Job) -> PredictTask:
    """Open what a job reads, and check that it is what the job is about."""
    volume, mask = job.volumes.open()
    return PredictTask(
        volume=volume,
        checkpoint=load_checkpoint(_network_in(job.session.path)),
        config=job.config,
        mask=mask,
    )


def _network_in(folder: Path) -> Path:
    return folder / "network.safetensors"
