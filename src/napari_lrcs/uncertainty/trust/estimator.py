"""From the counts of check patches to estimates with intervals.

An estimate is kept with one number per patch, its influence: how much the estimate
would move if the patch counted a little more. Their scatter is the standard error, and
the influences of two estimates subtract where both come from the same patches.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from napari_lrcs.uncertainty.trust import CONFIDENCE_LEVEL

Counts: TypeAlias = NDArray[np.floating] | NDArray[np.integer]
"""A number for each patch, shape (n_patches,)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Estimate:
    """An estimate from check patches.

    Parameters
    ----------
    value : float
        NaN where undefined.
    influence : ndarray of float64, shape (n_patches,)
        Their mean is 0; the standard error is their standard deviation (n - 1) divided
        by the root of their number.
    """

    value: float
    influence: NDArray[np.float64]

    @property
    def standard_error(self) -> float:
        """Standard error of the value; NaN for fewer than two patches."""
        n = self.influence.size
        if n < 2:
            return math.nan
        return float(np.std(self.influence, ddof=1)) / math.sqrt(n)

    @property
    def _excess_kurtosis(self) -> float:
        """How much heavier than normal the tails of the influences are; at least 0."""
        squares = (self.influence - self.influence.mean()) ** 2
        if not squares.any():
            return 0.0
        return max(float(np.mean(squares**2) / np.mean(squares) ** 2) - 3, 0.0)

    def half_width(self, confidence_level: float = CONFIDENCE_LEVEL) -> float:
        """Half the width of the interval, by Student's t.

        What a network gets badly wrong is rare, a few patches often miss it, and the
        variance that they show is less certain than that of normal scatter. So the
        degrees of freedom are those whose variance is as uncertain: n - 1 for normal
        scatter, fewer for heavy tails.

        Parameters
        ----------
        confidence_level : float
            Share of such intervals that contain the truth, 0 to 1.

        References
        ----------
        Satterthwaite (1946), Biometrics Bulletin 2:110, doi 10.2307/3002019.
        """
        n = self.influence.size
        if n < 2:
            return math.nan
        return self._quantile(confidence_level, n) * self.standard_error

    def patches_needed(
        self, half_width: float, confidence_level: float = CONFIDENCE_LEVEL
    ) -> int | None:
        """Return how many patches would make the interval as narrow as wanted.

        Parameters
        ----------
        half_width : float
            Wanted half width, above 0.

        Returns
        -------
        int or None
            At least 3; None if the scatter is unknown.
        """
        scatter = self.standard_error * math.sqrt(self.influence.size)
        if math.isnan(scatter):
            return None

        def is_wide(n: int) -> bool:
            width = self._quantile(confidence_level, n) * scatter / math.sqrt(n)
            return width > half_width

        too_few, enough = 2, 3  # more patches always give a narrower interval
        while is_wide(enough):
            too_few, enough = enough, 2 * enough
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            if is_wide(middle):
                too_few = middle
            else:
                enough = middle
        return enough

    def _quantile(self, confidence_level: float, n: int) -> float:
        """Return Student's t for `n` patches that scatter like these."""
        # The relative variance of a variance: 2 / (n - 1) for normal scatter.
        uncertainty = self._excess_kurtosis / n + 2 / (n - 1)
        return float(student.ppf((1 + confidence_level) / 2, 2 / uncertainty))

    def __sub__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            value=self.value - other.value, influence=self.influence - other.influence
        )


def difference_estimate(
    painted: Counts, predicted: Counts, area: Counts, *, predicted_mean: float
) -> Estimate:
    """Correct a mean over the predicted volume by what painted patches show.

    Parameters
    ----------
    painted, predicted : ndarray, shape (n_patches,)
        Voxels of each patch that have a property, as painted and as predicted.
    area : ndarray, shape (n_patches,)
        Voxels of each patch that count.
    predicted_mean : float
        Share of the voxels of the whole volume that have the property as predicted.

    Returns
    -------
    Estimate
        Difference estimator with ratio weights; it may lie outside 0 to 1.

    References
    ----------
    Särndal, Swensson & Wretman (1992), Model Assisted Survey Sampling, chapters 6, 7.
    Angelopoulos et al. (2023), Science 382:669, doi 10.1126/science.adi6000.

    Examples
    --------
    >>> found = difference_estimate(
    ...     np.array([3, 1]), np.array([2, 2]), np.array([4, 4]), predicted_mean=0.5
    ... )
    >>> found.value, found.standard_error
    (0.5, 0.25)
    """
    correction = ratio_estimate(np.subtract(painted, predicted, dtype=float), area)
    return Estimate(
        value=predicted_mean + correction.value, influence=correction.influence
    )


def ratio_estimate(numerator: Counts, denominator: Counts) -> Estimate:
    """Divide two sums over the patches, such as the overlap and the union of a phase.

    The standard error is that of the residuals ``numerator - ratio * denominator``
    (Särndal et al. 1992, section 5.6).

    Parameters
    ----------
    numerator, denominator : ndarray, shape (n_patches,)

    Examples
    --------
    >>> ratio_estimate(np.array([1, 3]), np.array([4, 4])).value
    0.5
    """
    top, bottom = (
        np.asarray(counts, np.float64) for counts in (numerator, denominator)
    )
    total = bottom.sum()
    if total == 0:
        return Estimate(value=math.nan, influence=np.full(top.shape, np.nan))
    ratio = float(top.sum() / total)
    residuals = top - ratio * bottom
    return Estimate(value=ratio, influence=residuals * (top.size / total))


def mean_estimate(estimates: "list[Estimate]") -> Estimate:
    """Average estimates from the same patches, such as the IoU of all phases."""
    return Estimate(
        value=float(np.mean([e.value for e in estimates])),
        influence=np.mean([e.influence for e in estimates], axis=0),
    )
