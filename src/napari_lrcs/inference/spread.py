"""Predict a volume by other processes, each of which writes its own slabs to disk."""

import pickle
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.config import PredictConfig
from napari_lrcs.errors import LrcsError, VolumeError
from napari_lrcs.inference.disk import DiskResult
from napari_lrcs.inference.foreign import PredictedPhases
from napari_lrcs.inference.geometry import Slab
from napari_lrcs.inference.outputs import Arrays, Output
from napari_lrcs.inference.predict import run_prediction
from napari_lrcs.inference.predictor import Predictor
from napari_lrcs.inference.results import Result, Sink
from napari_lrcs.inference.sharing import Session
from napari_lrcs.inference.slabs import compute_slabs
from napari_lrcs.inference.task import PredictTask
from napari_lrcs.io.writing import naming
from napari_lrcs.models.checkpoint import load_checkpoint, save_checkpoint
from napari_lrcs.progress import (
    Notice,
    PredictEvent,
    SlabPredicted,
    TilePredicted,
)

_MOST_SLABS = 8
"""Slabs of a part: nothing is computed while its first is read or its last written."""

_PARTS_PER_WORKER = 4
"""So that workers of unequal speed end at about the same time."""

_FEW_WORKERS = 4
"""Parts are made for at least as many: more may come."""

_MOST_BYTES = 2**20
"""How much of the volume and the mask may be sent: their paths, not their voxels."""

_POLL_SECONDS = 0.5
"""Seconds between events while others compute."""


def predict_volume_spread(
    task: PredictTask, *, result: DiskResult, executor: Executor, n_workers: int
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
    executor : Executor
        Whose processes compute.
    n_workers : int
        Number of processes, about: it decides how large the parts are that each of
        them gets at once.

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
    inputs = pickle.dumps((task.volume, task.mask))
    if len(inputs) > _MOST_BYTES:
        raise ValueError(
            f"{task.volume.name} or its mask is in memory, where other processes "
            "cannot read it; save it, and open the file"
        )
    computing = _Elsewhere(executor=executor, n_workers=n_workers, inputs=inputs)
    yield from run_prediction(task, result=result, computing=computing)


# ---- in the process that has the result ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elsewhere:
    """Computes in other processes."""

    executor: Executor
    n_workers: int
    inputs: bytes
    precision = ""
    n_tiles = 0

    @property
    def device(self) -> str:
        return f"{self.n_workers} worker{'' if self.n_workers == 1 else 's'}"

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
            inputs=self.inputs,
            fingerprint=task.volume.fingerprint(),
            config=task.config,
            outputs=result.wanted,
        )
        depth = task.geometry.depth
        parts = _parts(slabs, depth=depth, n_workers=self.n_workers)
        futures = {self.executor.submit(_predict_part, job, p): p for p in parts}
        yield from _results(futures, phases, n_slices=len(task.wanted))


def _parts(
    slabs: Sequence[Slab], *, depth: int, n_workers: int
) -> list[tuple[Slab, ...]]:
    """Group slabs, all of a chunk together: no two processes write to one chunk."""
    chunks = [tuple(own) for _, own in groupby(slabs, lambda s: s.start // depth)]
    n_parts = _PARTS_PER_WORKER * max(n_workers, _FEW_WORKERS)
    n = int(np.clip(len(chunks) // n_parts, 1, _MOST_SLABS))
    return [
        tuple(slab for chunk in chunks[i : i + n] for slab in chunk)
        for i in range(0, len(chunks), n)
    ]


def _results(
    waiting: dict[Future["_Predicted"], tuple[Slab, ...]],
    phases: PredictedPhases,
    *,
    n_slices: int,
) -> Iterator[PredictEvent]:
    """Wait for parts, and tell which are there."""
    n_done = n_slices - sum(len(slab) for slabs in waiting.values() for slab in slabs)
    told: set[Notice] = set()
    try:
        while waiting:
            done, _ = wait(waiting, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                slabs, part = waiting.pop(future), future.result()
                phases.counts += part.counts
                yield from (n for n in part.notices if n not in told)
                told.update(part.notices)
                for slab in slabs:
                    n_done += len(slab)
                    yield SlabPredicted(
                        start=slab.start,
                        stop=slab.stop,
                        n_done=n_done,
                        n_slices=n_slices,
                    )
            yield TilePredicted(n_done=n_done, n_slices=n_slices)
    finally:
        for future in waiting:
            future.cancel()


# ---- in the other processes ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all parts of a prediction have in common; can be pickled."""

    session: Session
    inputs: bytes
    fingerprint: str
    config: PredictConfig
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Predicted:
    """What became of a part."""

    notices: tuple[Notice, ...]
    counts: NDArray[np.int64]


def _predict_part(job: _Job, slabs: Sequence[Slab]) -> _Predicted:
    """Predict some slabs and write them, but those that are there.

    A process may have been killed after it had written some.
    """
    job.session.check()
    task = _opened(job)  # before others may have to wait for us
    phases = PredictedPhases(task.checkpoint)
    predictor = Predictor(task.checkpoint, task.config, task.reader.slice_shape)
    with closing(predictor), job.session.writing() as writer:
        done = job.session.folder.read_done()
        events = compute_slabs(
            task,
            [slab for slab in slabs if slab.start not in done],
            predictor=predictor,
            outputs=job.outputs,
            write=_writing(job, task, writer),
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


def _writing(
    job: _Job, task: PredictTask, writer: str
) -> Callable[[Slab, Arrays], None]:
    folder, geometry = job.session.folder, task.geometry
    arrays = {output: folder.array(output, mode="r+") for output in job.outputs}

    def write(slab: Slab, values: Arrays) -> None:
        with naming(folder.path):
            for output, array in arrays.items():
                geometry.put(array, slab, values[output])
        folder.note_done(slab, writer=writer)

    return write


@lru_cache(maxsize=1)  # a process gets many parts of one prediction
def _opened(job: _Job) -> PredictTask:
    """Open what a job reads, and check that it is what the job is about."""
    host = socket.gethostname()
    try:
        volume, mask = pickle.loads(job.inputs)  # noqa: S301 our own process sent it
    except VolumeError as error:
        raise LrcsError(
            f"the worker on {host} cannot read the image or its mask: {error}; they "
            "must be on a disk that all workers share, under the same names"
        ) from error
    if volume.fingerprint() != job.fingerprint:
        raise LrcsError(
            f"the worker on {host} reads another {volume.name}: all workers must see "
            "the same file under this name"
        )
    return PredictTask(
        volume=volume,
        checkpoint=load_checkpoint(_network_in(job.session.path)),
        config=job.config,
        mask=mask,
    )


def _network_in(folder: Path) -> Path:
    return folder / "network.safetensors"
