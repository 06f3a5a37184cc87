"""Particles (or inclusions) of a phase, separated by a watershed, and their sizes."""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.phases import UNPAINTED, Phase


class SizesDict(TypedDict):
    """Sizes of particles as they stand in JSON; NaN where there is no particle."""

    mean: float
    median: float
    min: float
    max: float


class ParticlesDict(TypedDict):
    """What ``measure --particles PHASE --json`` adds."""

    phase: int
    name: str
    count: int
    at_border: int
    equivalent_diameter: SizesDict
    volume: SizesDict
    unit: str | None
    n_axes: int


ParticleRow = dict[str, int | float]
"""One particle in a table."""

PARTICLE_COLUMNS = (
    *("particle", "n_voxels", "volume", "equivalent_diameter"),
    *("z", "y", "x", "at_border"),
)
"""Columns of `Particles.rows`, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Particles:
    """The particles of one phase, numbered from 1.

    Parameters
    ----------
    labels : ndarray of int32, shape (z, y, x) or (y, x)
        Number of the particle of each voxel; 0 outside the phase.
    n_voxels : ndarray of int64, shape (n,)
    centroid : ndarray of float64, shape (n, 3) or (n, 2)
        Along each axis, in voxels, counted from 0.
    at_border : ndarray of bool, shape (n,)
        True for a particle that touches the border of the volume or an unpainted
        voxel: it may be cut off, and is as large or larger.
    voxel_size : tuple of float
        Along each axis.
    """

    labels: NDArray[np.int32]
    n_voxels: NDArray[np.int64]
    centroid: NDArray[np.float64]
    at_border: Mask
    voxel_size: tuple[float, ...]

    @property
    def volume(self) -> NDArray[np.float64]:
        """Volume of each, in the cube of the unit of `voxel_size` (2D: area)."""
        return self.n_voxels * np.float64(math.prod(self.voxel_size))

    @property
    def equivalent_diameter(self) -> NDArray[np.float64]:
        """Diameter of the ball (2D: circle) of the same volume, shape (n,)."""
        n_axes = self.labels.ndim
        unit_ball = {2: math.pi / 4, 3: math.pi / 6}[n_axes]
        return (self.volume / unit_ball) ** (1 / n_axes)

    def rows(self) -> list[ParticleRow]:
        """Make a row per particle, unrounded, with the columns `PARTICLE_COLUMNS`.

        The centroid is in voxels, 0 along z for a slice; ``at_border`` is 0 or 1.
        """
        centroid = np.zeros((self.n_voxels.size, 3))
        centroid[:, 3 - self.labels.ndim :] = self.centroid
        columns = (
            range(1, self.n_voxels.size + 1),
            self.n_voxels.tolist(),
            self.volume.tolist(),
            self.equivalent_diameter.tolist(),
            *centroid.T.tolist(),
            self.at_border.astype(int).tolist(),
        )
        return [
            dict(zip(PARTICLE_COLUMNS, row, strict=True))
            for row in zip(*columns, strict=True)
        ]


class Step(NamedTuple):
    """A step of a separation, which cannot be interrupted."""

    share: float
    """Share of the separation that is done before, 0 to 1."""
    work: Callable[[], Any]
    """Call it in any thread, and send the result to the generator of the steps."""


Separation = Generator[Step, Any, "Particles"]


def separate_particles(
    labels: Labels,
    *,
    phase: int,
    voxel_size: tuple[float, ...] | None = None,
    min_depth: float = 1.0,
) -> Particles:
    """Separate the particles of a phase where they touch, by a watershed.

    The distance to the nearest voxel of another phase is largest in the middle of a
    particle and has a saddle in the neck between two. Voxels are neighbours where they
    share a corner. Nothing lies beyond the border of the volume.

    Parameters
    ----------
    labels : ndarray of uint8, shape (z, y, x) or (y, x)
        All in memory; the work takes about 80 bytes more a voxel.
    phase : int
        Label of the phase.
    voxel_size : tuple of float, optional
        Along each axis; all 1 by default.
    min_depth : float
        How much shallower than the two middles a neck must be to part them, in sides
        of the smallest voxel. A digital surface makes distances wobble by less than
        one voxel, so less than 1 cuts particles at random; more keeps necks whole.

    Returns
    -------
    Particles
        None of them where the phase is absent. Each voxel of the phase is in one.

    Raises
    ------
    ValueError
        If the phase is 0, the voxel size does not fit the axes, or a size or depth is
        not positive.

    Examples
    --------
    >>> labels = np.array([[2, 2, 1, 2], [2, 2, 1, 1]], np.uint8)
    >>> particles = separate_particles(labels, phase=2)
    >>> particles.labels.tolist()
    [[1, 1, 0, 2], [1, 1, 0, 0]]
    >>> particles.n_voxels.tolist(), particles.centroid.tolist()
    ([4, 1], [[0.5, 0.5], [0.0, 3.0]])
    """
    steps = separation_steps(
        labels, phase=phase, voxel_size=voxel_size, min_depth=min_depth
    )
    step = next(steps)
    while True:
        try:
            step = steps.send(step.work())
        except StopIteration as end:
            particles: Particles = end.value
            return particles


def separation_steps(
    labels: Labels,
    *,
    phase: int,
    voxel_size: tuple[float, ...] | None = None,
    min_depth: float = 1.0,
) -> Separation:
    """Separate as `separate_particles` does, step by step.

    Flooding from the middles of the particles has no smaller steps: where the water of
    one ends depends on all the others. All steps release Python's lock.

    Yields
    ------
    Step
        Expects the result of its work.
    """
    size = (1.0,) * labels.ndim if voxel_size is None else voxel_size
    if phase == UNPAINTED:
        raise ValueError("0 is not a phase: it marks unpainted voxels; name one from 1")
    if len(size) != labels.ndim or min(size) <= 0:
        raise ValueError(
            f"the voxel size {size} does not fit labels of shape {labels.shape}; "
            "expected one positive length per axis"
        )
    if not min_depth > 0:
        raise ValueError(f"min_depth must be above 0, got {min_depth}")
    sampling = np.divide(size, min(size))
    particles = yield from _separate(labels == phase, sampling, min_depth)
    found: Particles = yield Step(0.95, partial(_measure, particles, labels, size))
    return found


def _separate(
    inside: Mask, sampling: NDArray[np.float64], min_depth: float
) -> Generator[Step, Any, NDArray[np.int32]]:
    if inside.all():  # no voxel to be distant from
        return np.ones(inside.shape, np.int32)
    corners = np.ones((3,) * inside.ndim)
    depth = yield Step(0, partial(_depths, inside, sampling, min_depth))
    # Not scikit-image's h_maxima, which parts maxima of one height by any neck.
    lowered = depth - np.float32(min_depth)
    cut = yield Step(0.1, partial(reconstruction, lowered, depth, footprint=corners))
    maxima = yield Step(0.6, partial(local_maxima, cut, corners))
    middles, _ = ndimage.label(maxima & inside, corners)
    flood = partial(watershed, -depth, middles, mask=inside, connectivity=corners)
    particles: NDArray[np.int32] = yield Step(0.65, flood)
    return particles


def _depths(
    inside: Mask, sampling: NDArray[np.float64], min_depth: float
) -> NDArray[np.float32]:
    depth = ndimage.distance_transform_edt(inside, sampling=sampling)
    depths: NDArray[np.float32] = depth.astype(np.float32)
    # Far enough below every maximum that the smallest speck keeps its own.
    depths[~inside] = -min_depth
    return depths


def _measure(
    particles: NDArray[np.int32], labels: Labels, size: tuple[float, ...]
) -> Particles:
    n_voxels = _sum_by_particle(particles, np.ones(len(particles), np.int64))
    return Particles(
        labels=particles,
        n_voxels=n_voxels,
        centroid=_centroids(particles, n_voxels),
        at_border=_at_border(particles, labels, n_particles=n_voxels.size),
        voxel_size=size,
    )


def _centroids(
    particles: NDArray[np.int32], n_voxels: NDArray[np.int64]
) -> NDArray[np.float64]:
    sums = [
        _sum_by_particle(np.moveaxis(particles, axis, 0), np.arange(length))
        for axis, length in enumerate(particles.shape)
    ]
    return np.stack(sums, axis=1) / n_voxels[:, np.newaxis]


def _sum_by_particle(
    particles: NDArray[np.int32], value_of_slice: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Add up, over each particle's voxels, the value of their slice."""
    sums = np.zeros(int(particles.max(initial=0)) + 1, np.int64)
    for value, voxels in zip(value_of_slice, particles, strict=True):
        sums += value * np.bincount(voxels.ravel(), minlength=sums.size)
    return sums[1:]


def _at_border(
    particles: NDArray[np.int32], labels: Labels, *, n_particles: int
) -> Mask:
    faces = ndimage.generate_binary_structure(labels.ndim, 1)
    beyond = ndimage.binary_dilation(labels == UNPAINTED, faces, border_value=1)
    found = np.zeros(n_particles + 1, np.bool_)
    found[particles[beyond]] = True
    return found[1:]


def particles_dict(
    particles: Particles, phase: Phase, *, unit: str | None = None
) -> ParticlesDict:
    """Gather count and sizes for JSON, unrounded.

    Parameters
    ----------
    phase : Phase
        The one that they are of.
    unit : str, optional
        Of the voxel size; volumes are in its cube, in 2D in its square.
    """
    return ParticlesDict(
        phase=phase.label,
        name=phase.name,
        count=particles.n_voxels.size,
        at_border=int(particles.at_border.sum()),
        equivalent_diameter=_sizes(particles.equivalent_diameter),
        volume=_sizes(particles.volume),
        unit=unit,
        n_axes=particles.labels.ndim,
    )


def _sizes(values: NDArray[np.float64]) -> SizesDict:
    if not values.size:
        return SizesDict(mean=math.nan, median=math.nan, min=math.nan, max=math.nan)
    return SizesDict(
        mean=float(values.mean()),
        median=float(np.median(values)),
        min=float(values.min()),
        max=float(values.max()),
    )
