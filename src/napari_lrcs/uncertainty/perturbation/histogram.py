"""How often each voxel lies on an interface, and how wide that makes interfaces."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import PerturbConfig
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.uncertainty.perturbation.perturb import (
    Dimensions,
    Perturbation,
    changed_share,
)

MAX_SIMULATIONS = 65535
"""Counts are uint16."""

_PAUSE = 0.1
"""Seconds between two events."""

_FWHM_IN_SD = math.sqrt(8 * math.log(2))

_BEYOND = 5.0
"""Voxels by which a profile reaches beyond the farthest that an interface moves."""

_NORMAL_REACH, _NORMAL_SD = 6, 3.0
"""Voxels that the normal of an interface is found from: how far away they may lie, and
the standard deviation of their weights."""

_ATTEMPTS = 4
"""Places on interfaces tried for each one that is wanted."""


def usual_simulations(dimensions: Dimensions) -> int:
    """Return how many simulations the paper takes: 1000 in 2D, 100 in 3D."""
    return 1000 if dimensions == 2 else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationEnded:
    """Some simulations are done; yielded several times a second."""

    n_done: int
    n_simulations: int
    changed_share: float
    """Share of the painted voxels that the last simulation changed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InterfaceHistogram:
    """All simulations are done."""

    counts: NDArray[np.uint16]
    """In how many simulations each voxel lay on an interface; shape of the labels."""
    n_simulations: int
    changed_shares: NDArray[np.float64]
    """Share of the painted voxels that each simulation changed."""
    config: PerturbConfig
    dimensions: Dimensions
    """Whether slices were perturbed each on its own or together."""


def interface_histogram(
    labels: Labels,
    *,
    config: PerturbConfig = PerturbConfig(),  # noqa: B008 frozen
    n_simulations: int,
    seed: int,
    dimensions: Dimensions | None = None,
) -> Iterator[SimulationEnded | InterfaceHistogram]:
    """Perturb labels many times and count where their interfaces come to lie.

    Parameters
    ----------
    labels, config, dimensions
        As of `Perturbation`.
    n_simulations : int
        1 to 65535; the paper takes 1000 in 2D and 100 in 3D.
    seed : int
        Simulation m is member m of the set with this seed.

    Yields
    ------
    SimulationEnded
        Several times a second.
    InterfaceHistogram
        Last.

    Raises
    ------
    ValueError
        If the number of simulations is out of its range, or as `Perturbation` does.
    """
    if not 1 <= n_simulations <= MAX_SIMULATIONS:
        raise ValueError(
            f"the number of simulations must be 1 to {MAX_SIMULATIONS}, got "
            f"{n_simulations}"
        )
    perturbation = Perturbation(labels, config, dimensions=dimensions)
    counts = np.zeros(labels.shape, np.uint16)
    shares = np.zeros(n_simulations)
    reported_at = time.monotonic()
    for member in range(n_simulations):
        rng = np.random.default_rng((seed, member))
        perturbed, interface = perturbation.draw_with_interface(rng)
        counts += interface
        shares[member] = changed_share(labels, perturbed)
        if time.monotonic() - reported_at > _PAUSE:
            reported_at = time.monotonic()
            yield SimulationEnded(
                n_done=member + 1,
                n_simulations=n_simulations,
                changed_share=float(shares[member]),
            )
    yield InterfaceHistogram(
        counts=counts,
        n_simulations=n_simulations,
        changed_shares=shares,
        config=config,
        dimensions=perturbation.dimensions,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianFit:
    """A Gaussian fitted to counts across an interface; all NaN where none fits."""

    centre: float
    """In the unit of the profile's distances, as the width is."""
    fwhm: float
    """Full width at half maximum."""
    amplitude: float
    """In the unit of the counts, as the residual is."""
    residual: float
    """Root mean square of the differences between counts and fit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InterfaceWidths:
    """Gaussians fitted across interfaces, in voxels; NaN where none fits."""

    fwhm: NDArray[np.float64]
    """Full width at half maximum, shape (n_places,)."""
    shift: NDArray[np.float64]
    """How far the centre lies from the painted interface, towards the phase with the
    higher label, shape (n_places,)."""
    distance: NDArray[np.float64]
    """Distances of the samples from the painted interface, shape (n_samples,)."""
    profiles: NDArray[np.float64]
    """Counts along the normals, shape (n_places, n_samples)."""

    @property
    def median_profile(self) -> NDArray[np.float64]:
        """Medians of the counts over all places, shape (n_samples,); NaN without any.

        They are at `distance` from the painted interface.
        """
        if not len(self.profiles):
            return np.full(len(self.distance), np.nan)
        median: NDArray[np.float64] = np.median(self.profiles, axis=0)
        return median

    @property
    def median_fwhm(self) -> float:
        """Median width of the fits; NaN without any, as where all phases are thin."""
        return float(np.median(self._fitted(self.fwhm))) if self.n_fitted else math.nan

    @property
    def mean_shift(self) -> float:
        """Mean shift of the fits; NaN without any."""
        return float(np.mean(self._fitted(self.shift))) if self.n_fitted else math.nan

    @property
    def n_fitted(self) -> int:
        """Number of places where a Gaussian fits."""
        return len(self._fitted(self.fwhm))

    @property
    def n_failed(self) -> int:
        """Number of places where none fits."""
        return len(self.fwhm) - self.n_fitted

    def _fitted(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[np.isfinite(values)]


def fit_gaussian(
    distance: NDArray[np.floating], counts: NDArray[np.number]
) -> GaussianFit:
    """Fit a Gaussian without an offset by least squares.

    Parameters
    ----------
    distance, counts : ndarray, shape (n,)

    Returns
    -------
    GaussianFit
        All NaN where there are fewer than four samples or none above 0, where one is
        not finite, or where the fit's centre or width is beyond the profile.

    Examples
    --------
    >>> distance = np.arange(21.0)
    >>> fit = fit_gaussian(distance, 50 * np.exp(-((distance - 9) ** 2) / 8))
    >>> round(fit.centre, 3), round(fit.fwhm, 3), round(fit.amplitude, 3)
    (9.0, 4.71, 50.0)
    """
    nothing = GaussianFit(
        centre=math.nan, fwhm=math.nan, amplitude=math.nan, residual=math.nan
    )
    highest = float(counts.max(initial=0))
    if len(counts) < 4 or not (0 < highest < math.inf) or not np.isfinite(counts).all():
        return nothing
    weights = np.clip(counts, 0, None) / highest
    centre = np.average(distance, weights=weights)
    sd = math.sqrt(np.average((distance - centre) ** 2, weights=weights))
    start = (centre, max(sd, 0.5), 1.0)
    fit = least_squares(_misfit, start, method="lm", args=(distance, counts / highest))
    centre, sd, amplitude = fit.x
    fwhm = abs(sd) * _FWHM_IN_SD
    if (
        not (distance.min() <= centre <= distance.max())
        or fwhm > np.ptp(distance)
        or amplitude <= 0
    ):
        return nothing
    return GaussianFit(
        centre=float(centre),
        fwhm=float(fwhm),
        amplitude=float(amplitude * highest),
        residual=float(np.sqrt(np.mean(fit.fun**2)) * highest),
    )


def interface_widths(
    histogram: InterfaceHistogram, labels: Labels, *, n_places: int = 200, seed: int = 0
) -> InterfaceWidths:
    """Fit Gaussians along the normals of painted interfaces.

    The normal is that of the labels' Gaussian-weighted surroundings. A place counts if
    its normal meets one phase on either side, as far as interfaces move and five voxels
    beyond; so there are none where phases are thin.

    Parameters
    ----------
    labels : ndarray of uint8, shape (y, x) or (z, y, x)
        As painted.
    n_places : int
        How many random places are fitted, if there are so many.
    seed : int
        Seed of the random places.

    Returns
    -------
    InterfaceWidths
        Widths at no more than `n_places` places.
    """
    volume = labels if labels.ndim == 3 else labels[np.newaxis]
    rng = np.random.default_rng(seed)
    places = _faces(volume, histogram.dimensions)
    places = rng.permutation(places)[: _ATTEMPTS * n_places]
    normals = _normals(volume, places, histogram.dimensions)
    # Half-way between voxels lies the interface, so samples lie on their centres.
    half = math.ceil(histogram.config.max_distance + _BEYOND)
    distance = np.arange(-half + 0.5, half)
    lines = places[..., np.newaxis] + normals[..., np.newaxis] * distance
    usable = _is_one_interface(volume, lines, distance)
    lines = np.moveaxis(lines[usable][:n_places], 1, 0)
    profiles = _interpolate(histogram.counts.reshape(volume.shape), lines)
    fits = [fit_gaussian(distance, profile) for profile in profiles]
    return InterfaceWidths(
        fwhm=np.array([fit.fwhm for fit in fits]),
        shift=np.array([fit.centre for fit in fits]),
        distance=distance,
        profiles=profiles,
    )


def _misfit(
    parameters: NDArray[np.float64],
    distance: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> NDArray[np.float64]:
    centre, sd, amplitude = parameters
    misfit: NDArray[np.float64] = -counts
    misfit += amplitude * np.exp(-(((distance - centre) / sd) ** 2) / 2)
    return misfit


def _interpolate(
    counts: NDArray[np.number], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    values: NDArray[np.float64] = map_coordinates(
        counts, places, output=np.float64, order=1, mode="nearest"
    )
    return values


def _faces(volume: Labels, dimensions: Dimensions) -> NDArray[np.float64]:
    """List the middles (z, y, x) of the faces between voxels of two phases."""
    faces = []
    for axis in range(3 - dimensions, 3):
        label = np.moveaxis(volume, axis, 0)
        differ = label[:-1] != label[1:]
        differ &= (label[:-1] != UNPAINTED) & (label[1:] != UNPAINTED)
        middles = np.argwhere(np.moveaxis(differ, 0, axis)).astype(np.float64)
        middles[:, axis] += 0.5
        faces.append(middles)
    return np.concatenate(faces)


def _normals(
    volume: Labels, places: NDArray[np.float64], dimensions: Dimensions
) -> NDArray[np.float64]:
    """Point from the lower to the higher label: shape (n, 3), of length 1 or NaN."""
    steps = range(-_NORMAL_REACH, _NORMAL_REACH + 1)
    around = product(steps if dimensions == 3 else (0,), steps, steps)
    offsets = np.array(list(around))
    voxels = np.floor(places).astype(np.intp)
    below = _labels_at(volume, voxels)
    above = _labels_at(volume, np.ceil(places).astype(np.intp))
    low, high = np.minimum(below, above), np.maximum(below, above)
    normals = np.zeros(places.shape)
    for offset in offsets:
        found = _labels_at(volume, voxels + offset)
        side = (found == high).astype(np.float64) - (found == low)
        away = voxels + offset - places
        squared = (away**2).sum(axis=1)
        # As far to one side as to the other, or normals would tilt at borders.
        is_near = squared <= _NORMAL_REACH**2
        weight = is_near * np.exp(-squared / (2 * _NORMAL_SD**2))
        normals += (side * weight)[:, np.newaxis] * away
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length == 0, np.nan, length)


def _labels_at(volume: Labels, voxels: NDArray[np.intp]) -> Labels:
    """Look up voxels (…, 3); those beyond the border are unpainted."""
    inside = np.all((voxels >= 0) & (voxels < volume.shape), axis=-1)
    found = volume[
        tuple(np.moveaxis(np.where(inside[..., np.newaxis], voxels, 0), -1, 0))
    ]
    return np.where(inside, found, np.uint8(UNPAINTED))


def _is_one_interface(
    volume: Labels, lines: NDArray[np.float64], distance: NDArray[np.float64]
) -> Mask:
    """Tell of lines, shape (n, 3, n_samples), whether each meets two phases once."""
    rounded = np.rint(np.nan_to_num(lines, nan=-1.0)).astype(np.intp)
    found = _labels_at(volume, np.moveaxis(rounded, 1, 2))
    # Voxels are steps: next to an oblique interface either phase may be met.
    before, after = found[:, distance < -1], found[:, distance > 1]
    first, last = before[:, :1], after[:, -1:]
    is_painted = (first != UNPAINTED) & (last != UNPAINTED) & (first != last)
    is_one: Mask = np.all((before == first) & is_painted, axis=1)
    is_one &= np.all(after == last, axis=1)
    return is_one
