"""Label slabs of a volume by a fitted baseline, in this process or in others.

Importing this module loads no torch.
"""

import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from napari_lrcs.arrays import GreyImage, Labels
from napari_lrcs.classical.baselines import Baseline
from napari_lrcs.inference.elsewhere import (
    compute_slabs_elsewhere,
    left_of,
    writing_to,
)
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.results.outputs import LABELS, Arrays
from napari_lrcs.inference.results.sharing import Session
from napari_lrcs.io.elsewhere import Elsewhere, PackedVolumes
from napari_lrcs.preprocessing.slices import SliceReader
from napari_lrcs.progress import Notice, SlabPredicted, TilePredicted

_N_THREADS = 2
"""Slices that are labelled at once; napari's window needs some of the processor."""


def label_slabs(
    reader: SliceReader,
    slabs: Sequence[Slab],
    *,
    baseline: Baseline,
    write: Callable[[Slab, Arrays], None],
    n_threads: int = _N_THREADS,
) -> Generator[TilePredicted | SlabPredicted]:
    """Label slabs one after another.

    Parameters
    ----------
    reader : SliceReader
        Labels outside its field of view are 0.
    write : callable
        Writes the labels of a slab to the result.
    n_threads : int
        Slices that are labelled at once.

    Raises
    ------
    VolumeError
        If the volume holds NaN or infinity.
    """
    n_slices = reader.n_slices
    n_before = n_slices - sum(map(len, slabs))
    with ThreadPoolExecutor(n_threads, "label") as pool:
        for slab in slabs:
            image = reader.read(slab.start, slab.stop)
            labels = np.empty(image.shape, np.uint8)
            for n_done in _label(image, labels, baseline, pool, n_threads):
                yield TilePredicted(n_done=n_before + n_done, n_slices=n_slices)
            n_before += len(slab)
            inside = reader.inside(slab.start, slab.stop)
            if inside is not None:
                labels *= inside
            write(slab, {LABELS: labels})
            yield SlabPredicted(
                start=slab.start, stop=slab.stop, n_done=n_before, n_slices=n_slices
            )


def _label(
    image: GreyImage,
    labels: Labels,
    baseline: Baseline,
    pool: ThreadPoolExecutor,
    n_threads: int,
) -> Iterator[int]:
    """Label slices, several at once; yield how many are done."""
    for start in range(0, len(image), n_threads):
        some = slice(start, start + n_threads)
        for z, plane in enumerate(pool.map(baseline.predict, image[some]), start):
            labels[z] = plane
            yield z + 1


def label_slabs_elsewhere(
    reader: SliceReader,
    slabs: Sequence[Slab],
    *,
    baseline: Baseline,
    others: Elsewhere,
    folder: Path,
    geometry: Geometry,
) -> Iterator[Notice | TilePredicted | SlabPredicted]:
    """Have slabs labelled by other processes, each of which writes its own.

    Parameters
    ----------
    reader : SliceReader
        Its volume, and the file of its mask, come from `open_to_share`.
    folder : Path
        Folder of an open `DiskResult`, on a disk that all processes share.

    Raises
    ------
    ValueError
        If the volume is in memory.
    LrcsError, VolumeError, OSError
        As `compute_slabs_elsewhere` and `label_slabs` do.
    """
    _given_in(folder).write_bytes(
        pickle.dumps((baseline, geometry, reader.preprocessing))
    )
    job = _Job(
        session=Session.begin(folder),
        volumes=PackedVolumes.of(reader.volume, reader.mask),
    )
    yield from compute_slabs_elsewhere(
        partial(_label_part, job),
        slabs,
        others=others,
        take=lambda _: (),
        depth=geometry.depth,
        n_slices=reader.n_slices,
    )


# ---- in the other processes ----


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What all parts of a segmentation have in common; can be pickled."""

    session: Session
    volumes: PackedVolumes


def _label_part(job: _Job, slabs: Sequence[Slab]) -> None:
    """Label the slabs that are not written yet, and write them."""
    job.session.check()
    reader, baseline, geometry = _opened(job)
    with job.session.writing() as writer:
        write = writing_to(
            job.session, geometry=geometry, outputs=[LABELS], writer=writer
        )
        left = left_of(slabs, job.session)
        events = label_slabs(reader, left, baseline=baseline, write=write, n_threads=1)
        with closing(events):
            for _ in events:
                job.session.check()


@lru_cache(maxsize=1)  # a process gets many parts of one segmentation
def _opened(job: _Job) -> tuple[SliceReader, Baseline, Geometry]:
    volume, mask = job.volumes.open()
    given = _given_in(job.session.path).read_bytes()
    baseline, geometry, preprocessing = pickle.loads(given)  # noqa: S301 also our own
    reader = SliceReader(volume=volume, preprocessing=preprocessing, mask=mask)
    return reader, baseline, geometry


def _given_in(folder: Path) -> Path:
    """Return the file with what all parts need; a forest is too large to send often."""
    return folder / "baseline.pickle"
