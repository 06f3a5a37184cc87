"""Separate the particles of a volume of labels, and write what is found."""

from pathlib import Path

import numpy as np

from napari_lrcs.arrays import Labels
from napari_lrcs.io.tables import write_csv
from napari_lrcs.io.tiff import write_labels_tiff
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.structure import (
    PARTICLE_COLUMNS,
    Particles,
    separate_particles,
)


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
) -> Particles:
    """Separate the particles of a phase, in the volume's unit of length.

    Parameters
    ----------
    labels : Volume
        A single slice is measured in 2D.
    phase : int
        Label of the phase.
    mask : Volume of bool, optional
        Voxels outside count as unpainted.

    Raises
    ------
    ValueError
        If the phase is 0.
    """
    whole, size = read_whole(labels, mask=mask), labels.voxel_size
    if len(whole) > 1:
        return separate_particles(whole, phase=phase, voxel_size=size)
    return separate_particles(whole[0], phase=phase, voxel_size=size and size[1:])


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
