"""Separate the particles of a volume of labels, and write what is found."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import numpy as np

from napari_lrcs.arrays import Labels
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.tables import write_csv
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.structure import (
    PARTICLE_COLUMNS,
    Particles,
    Separation,
    Step,
    separation_steps,
)

_PAUSE = 0.2
"""Seconds between two events, and at most until a stop."""


def read_whole(labels: Volume, *, mask: Volume | None = None) -> Labels:
    """Read all labels into memory.

    Parameters
    ----------
    mask : Volume of bool, optional
        Voxels outside become unpainted.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
    """
    n_slices = labels.shape[0]
    whole: Labels = labels.slab(0, n_slices)
    if mask is not None:
        whole *= mask.slab(0, n_slices)
    return whole


def particles_of_volume(
    labels: Volume, *, phase: int, mask: Volume | None = None
) -> Generator[float, None, Particles]:
    """Separate the particles of a phase, in the volume's unit of length.

    The work is done in a thread, so that this generator can be closed at any time. What
    the thread does just then, it completes for nothing.

    Parameters
    ----------
    labels : Volume
        A single slice is measured in 2D.
    phase : int
        Label of the phase.
    mask : Volume of bool, optional
        Voxels outside count as unpainted.

    Yields
    ------
    float
        Several times a second: share of the work that is done, 0 to 1.

    Raises
    ------
    ValueError
        If the phase is 0.
    """
    steps = _steps(labels, phase, mask)
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        step = next(steps)
        while True:
            result = thread.submit(step.work)
            while not wait([result], timeout=_PAUSE).done:
                yield step.share
            step = steps.send(result.result())
    except StopIteration as end:
        particles: Particles = end.value
        return particles
    finally:
        thread.shutdown(wait=False, cancel_futures=True)


def _steps(labels: Volume, phase: int, mask: Volume | None) -> Separation:
    size = labels.voxel_size
    whole: Labels = yield Step(0, partial(read_whole, labels, mask=mask))
    if len(whole) > 1:
        steps = separation_steps(whole, phase=phase, voxel_size=size)
    else:
        steps = separation_steps(whole[0], phase=phase, voxel_size=size and size[1:])
    particles = yield from steps
    return particles


def write_particles_csv(path: Path, particles: Particles) -> None:
    """Write `Particles.rows`; the file is replaced only when complete."""
    write_csv(path, particles.rows(), columns=PARTICLE_COLUMNS)


def write_particles_tiff(path: Path, particles: Particles, *, like: Volume) -> None:
    """Write the particles' numbers as an OME-TIFF of int32, placed as `like` is."""
    write_labels_tiff(
        path,
        [particles.labels.reshape(like.shape)],
        shape=like.shape,
        dtype=np.int32,
        voxel_size=like.voxel_size,
        unit=like.unit,
    )
