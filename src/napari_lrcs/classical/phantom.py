"""The built-in sample: a simulated nano-CT of a battery electrode, with its truth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.phases import ELECTRODE

_PORE, _BINDER, _PARTICLE = (phase.label for phase in ELECTRODE)

# Those of NREL's measured cathode (MATBOX example) are .50 and .10.
_PARTICLE_FRACTION = 0.48
_BINDER_FRACTION = 0.11

# In voxels: at a quarter of a micrometer, particles of 2 to 10 micrometer.
_MEAN_RADIUS = 10.0
_RADII = (4.0, 19.0)
_VOXEL_SIZE = (0.25, 0.25, 0.25)

_GREY_LEVELS = np.array([0, 400, 550, 780], np.float32)
"""Of nothing, pore, binder and particle: the binder is close to the pores.

With blur, noise, rings and drift, Otsu's thresholds find as much of each phase as they
do in a measured cathode whose grey levels are simulated (IoU .81, .34 and .83).
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Phantom:
    """A simulated volume and its true labels.

    Parameters
    ----------
    volume : ndarray of uint16, shape (z, y, x)
        Grey levels with blur, noise, rings and drift.
    labels : ndarray of uint8, shape (z, y, x)
        The phases of `phases.ELECTRODE`: 1 pore, 2 CBD, 3 NMC.
    voxel_size : tuple of three floats
        Along z, y and x, in micrometer.
    """

    volume: NDArray[np.uint16]
    labels: Labels
    voxel_size: tuple[float, float, float]


def electrode_phantom(
    *,
    shape: tuple[int, int, int] = (64, 256, 256),
    seed: int = 0,
    binder_fraction: float = _BINDER_FRACTION,
) -> Phantom:
    """Simulate the tomogram of a cathode: packed particles, thin binder and pores.

    The binder fills the necks between particles and covers parts of their surface; its
    grey level is so close to that of the pores that a threshold finds little of it.

    Parameters
    ----------
    shape : tuple of int
        Slices, rows and columns, at least (8, 32, 32).
    seed : int
        The same seed, shape and fraction give the same phantom.
    binder_fraction : float
        Share of the voxels that are binder, 0 to 0.5.

    Raises
    ------
    ValueError
        If the shape is smaller.
    """
    if any(n < least for n, least in zip(shape, (8, 32, 32), strict=True)):
        raise ValueError(
            f"a phantom needs a shape of at least (8, 32, 32), got {shape}"
        )
    rng = np.random.default_rng(seed)
    particles = _grow_particles(shape, rng)
    labels = np.where(particles, np.uint8(_PARTICLE), np.uint8(_PORE))
    labels[_deposit_binder(particles, rng, binder_fraction)] = _BINDER
    return Phantom(volume=_scan(labels, rng), labels=labels, voxel_size=_VOXEL_SIZE)


def _grow_particles(shape: tuple[int, int, int], rng: np.random.Generator) -> Mask:
    """Pack rough ellipsoids and take the level at which they fill their share."""
    depth = np.full(shape, -_RADII[1], np.float32)
    for centre, radius in _pack(shape, rng):
        _raise_particle(depth, centre, radius, rng)
    depth += 0.5 * _smooth_noise(shape, 1.5, rng)
    depth += 1.4 * _smooth_noise(shape, 4.0, rng)
    return depth > np.quantile(depth, 1 - _PARTICLE_FRACTION)


def _pack(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> list[tuple[NDArray[np.float64], float]]:
    """Place spheres, large ones first, where they touch the others most closely."""
    room = np.array(shape) + 2 * _MEAN_RADIUS
    mean_volume = 4 / 3 * np.pi * _MEAN_RADIUS**3
    n_particles = int(np.ceil(_PARTICLE_FRACTION * room.prod() / mean_volume))
    # The median of -0.15 makes up for the long tail of a lognormal distribution.
    radii = _MEAN_RADIUS * rng.lognormal(-0.15, 0.4, n_particles)
    radii = np.sort(radii.clip(*_RADII))[::-1]
    centres = np.empty((n_particles, 3))
    for i, radius in enumerate(radii):
        candidates = rng.random((30, 3)) * room - _MEAN_RADIUS
        distances = np.linalg.norm(candidates[:, np.newaxis] - centres[:i], axis=2)
        gaps = (distances - radii[:i]).min(axis=1, initial=np.inf) - radius
        centres[i] = candidates[np.abs(gaps).argmin()]
    return list(zip(centres, radii.tolist(), strict=True))


def _raise_particle(
    depth: GreyImage,
    centre: NDArray[np.float64],
    radius: float,
    rng: np.random.Generator,
) -> None:
    """Raise `depth` to how many voxels deep in the particle a voxel lies."""
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    stretch = rng.uniform(0.8, 1.25, 3)
    reach = 1.5 * radius
    low = np.floor(centre - reach).clip(0, depth.shape).astype(int)
    high = np.ceil(centre + reach).clip(0, depth.shape).astype(int)
    box = tuple(slice(*ends) for ends in zip(low, high, strict=True))
    offsets = np.moveaxis(np.mgrid[box], 0, -1) - centre
    distance = np.linalg.norm(offsets @ turn / stretch, axis=-1)
    depth[box] = np.maximum(depth[box], radius - distance)


def _deposit_binder(particles: Mask, rng: np.random.Generator, fraction: float) -> Mask:
    """Fill where many particles are near, as a drying binder does, in patches."""
    solid = particles.astype(np.float32)
    affinity = ndimage.gaussian_filter(solid, 4.0)
    affinity += 0.09 * _smooth_noise(particles.shape, 2.0, rng)
    affinity += 0.09 * _smooth_noise(particles.shape, 8.0, rng)
    affinity[particles] = -np.inf
    return affinity > np.quantile(affinity, 1 - fraction)


def _scan(labels: Labels, rng: np.random.Generator) -> NDArray[np.uint16]:
    image = ndimage.gaussian_filter(_GREY_LEVELS[labels], 1.0)
    image += 46 * _smooth_noise(labels.shape, 0.7, rng)
    image += 22 * _smooth_noise(labels.shape, 1.5, rng)
    image += _rings(labels.shape, rng)
    image += _drift(labels.shape)
    return image.round().clip(0, 1023).astype(np.uint16)


def _rings(shape: tuple[int, ...], rng: np.random.Generator) -> GreyImage:
    """Make rings about the axis along z, a few of them strong, that change slowly."""
    n_slices, n_rows, n_columns = shape
    y, x = np.ogrid[:n_rows, :n_columns]
    radius = np.hypot(y - (n_rows - 1) / 2, x - (n_columns - 1) / 2)
    rings = np.arange(radius.max() + 1)
    noise = ndimage.gaussian_filter1d(
        rng.standard_normal((n_slices, rings.size)), 6, axis=0
    )
    strength = 5 * (noise / noise.std()) ** 3
    slices = [np.interp(radius, rings, row) for row in strength]
    return np.stack(slices, dtype=np.float32, casting="same_kind")


def _drift(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Make the beam wander along z, light one corner, and cup the slices."""
    z, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    drift: NDArray[np.float64] = 18 * np.sin(2 * z) + 14 * (x + y) - 16 * (x**2 + y**2)
    return drift


def _smooth_noise(
    shape: tuple[int, ...], sigma: float, rng: np.random.Generator
) -> GreyImage:
    """Gaussian noise of unit variance, correlated over `sigma` voxels."""
    noise: GreyImage = rng.standard_normal(shape, np.float32)
    noise = ndimage.gaussian_filter(noise, sigma)
    noise /= noise.std()
    return noise
