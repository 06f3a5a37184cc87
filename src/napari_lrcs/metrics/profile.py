"""Grey levels along a line across an interface, and how wide their slope is."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import erf
from skimage.measure import profile_line

_WIDTH_IN_SD = 2.5631031310892007
"""From the 10th to the 90th percentile of a normal distribution."""

_N_PARAMETERS = 4

_LARGEST_RESIDUAL = 0.25
"""Of the step's height; a ridge, or two interfaces in one profile, leave more."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """Values along a line.

    Parameters
    ----------
    distance : ndarray of float64, shape (n,)
        From the start, in pixels.
    values : ndarray of float64, shape (n,)
        Means across the line's width.
    """

    distance: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlopeFit:
    """An error function fitted to the values across one interface.

    Parameters
    ----------
    centre : float
        Where the values are half-way, in the unit of the profile's distances.
    width : float
        From 10% to 90% of the step, in that unit. One that is below the distance of
        two samples says no more than that.
    low, high : float
        Levels on the darker and on the brighter side.
    residual : float
        Root mean square of what the fit leaves, in the unit of the values.
    falls : bool
        Whether the brighter side comes first.
    """

    centre: float
    width: float
    low: float
    high: float
    residual: float
    falls: bool

    @property
    def sd(self) -> float:
        """Standard deviation of the slope's derivative, a Gaussian."""
        return self.width / _WIDTH_IN_SD

    @property
    def steepest(self) -> float:
        """Change of the values in the middle of the interface, per unit of distance."""
        return (self.high - self.low) / (self.sd * math.sqrt(2 * math.pi))

    def at(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values of the fitted curve."""
        first, last = self.low, self.high
        if self.falls:
            first, last = last, first
        return _step(distance, self.centre, self.sd, first, last)


def line_profile(
    image: NDArray[np.number],
    *,
    start: tuple[float, float],
    stop: tuple[float, float],
    width: int = 1,
) -> Profile:
    """Sample an image along a line, linearly interpolated.

    Parameters
    ----------
    image : ndarray of integers or reals, shape (y, x)
    start, stop : tuple of float
        Ends of the line (y, x), in pixels, both included.
    width : int
        Pixels across the line that are averaged, at least 1; beyond the image its
        edge is repeated.

    Returns
    -------
    Profile
        Of samples at most one pixel apart.

    Raises
    ------
    ValueError
        If the image is not 2D, an end lies outside of it, both ends are one place, or
        the width is below 1.

    Examples
    --------
    >>> image = np.array([[0, 0, 8, 8]])
    >>> line_profile(image, start=(0, 0), stop=(0, 3)).values.tolist()
    [0.0, 0.0, 8.0, 8.0]
    """
    if image.ndim != 2:
        raise ValueError(f"a profile needs one slice (y, x), got shape {image.shape}")
    for end in (start, stop):
        if not all(0 <= c <= n - 1 for c, n in zip(end, image.shape, strict=True)):
            place = ", ".join(f"{c:.4g}" for c in end)
            raise ValueError(
                f"the line's end ({place}) lies outside the image of {image.shape} "
                "pixels"
            )
    if start == stop:
        raise ValueError(f"the line starts and ends at {start}; choose two places")
    if width < 1:
        raise ValueError(f"a line is at least 1 pixel wide, got {width}")
    values = profile_line(  # type: ignore[no-untyped-call]
        image.astype(np.float64), start, stop, linewidth=width, order=1, mode="nearest"
    )
    length = np.hypot(stop[0] - start[0], stop[1] - start[1])
    return Profile(distance=np.linspace(0, length, values.size), values=values)


def fit_slope(profile: Profile) -> SlopeFit:
    """Fit an error function to the values across one interface.

    Parameters
    ----------
    profile : Profile
        At least five samples, of an interface with a piece of either phase.

    Returns
    -------
    SlopeFit

    Raises
    ------
    ValueError
        If there are too few samples, one is NaN or infinite, or no single slope is
        found: the values are flat, rise and fall again, or are still rising at an end.

    Examples
    --------
    >>> distance = np.arange(21.0)
    >>> values = 100 + 25 * (1 + erf((distance - 9.5) / (2 * np.sqrt(2))))
    >>> fit = fit_slope(Profile(distance=distance, values=values))
    >>> round(fit.centre, 3), round(fit.low), round(fit.high), round(fit.width, 3)
    (9.5, 100, 150, 5.126)
    """
    distance, values = profile.distance, profile.values
    _check_samples(values)
    scale = float(np.ptp(values)) or 1.0
    scaled = (values - values.min()) / scale
    n_end = values.size // _N_PARAMETERS
    first, last = scaled[:n_end].mean(), scaled[-n_end:].mean()
    length = distance[-1] - distance[0]
    middle = distance[np.abs(scaled - (first + last) / 2).argmin()]
    sharpest = 1e-3 * length / values.size

    def left(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(_step(distance, *parameters) - scaled)

    fit = least_squares(
        left,
        x0=(middle, length / 8, first, last),
        bounds=([-np.inf, sharpest, -np.inf, -np.inf], np.inf),
        x_scale="jac",
    )
    centre, sd, first, last = fit.x
    slope = SlopeFit(
        centre=float(centre),
        width=float(_WIDTH_IN_SD * sd),
        low=float(min(first, last) * scale + values.min()),
        high=float(max(first, last) * scale + values.min()),
        residual=float(np.sqrt(np.mean(fit.fun**2)) * scale),
        falls=bool(last < first),
    )
    is_inside = distance[0] < slope.centre < distance[-1] and slope.width < length
    step = slope.high - slope.low
    if not (fit.success and is_inside and slope.residual < _LARGEST_RESIDUAL * step):
        raise ValueError(
            f"no single slope is found in a profile of {length:.3g} pixels: it must "
            "cross one interface and reach into both phases; draw another line, or "
            "average over more voxels across it"
        )
    return slope


def _step(
    distance: NDArray[np.float64], centre: float, sd: float, first: float, last: float
) -> NDArray[np.float64]:
    share: NDArray[np.float64] = (1 + erf((distance - centre) / (np.sqrt(2) * sd))) / 2
    return first + (last - first) * share


def _check_samples(values: NDArray[np.float64]) -> None:
    if values.size <= _N_PARAMETERS:
        raise ValueError(
            f"a slope needs at least {_N_PARAMETERS + 1} samples, got {values.size}; "
            "draw a longer line"
        )
    if not np.isfinite(values).all():
        raise ValueError("the profile holds NaN or infinity; draw it elsewhere")
