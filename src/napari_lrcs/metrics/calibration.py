"""Calibration: how often predictions of a given confidence are right.

`Reliability` counts it, and its counts add up over slabs. `fit_temperature` finds the
one number that the logits of a network are divided by so that its probabilities are
about right on average, and `fit_confidence_curve` the curve that turns the largest of
them into a confidence. Neither changes which phase is the most probable one.
"""

import math
from dataclasses import dataclass
from typing import Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.phases import UNPAINTED

N_BINS = 15
"""Bins of equal width, as in Guo et al. 2017 (arXiv:1706.04599)."""

TEMPERATURES = (0.05, 20.0)
"""Smallest and largest temperature that is fitted."""

FEWEST_VOXELS = 1000
FEWEST_WRONG = 10
"""Painted voxels, and wrong ones among them, that a temperature is fitted to.

The relative standard error of the temperature is about one over the square root of the
wrong voxels. If none is wrong, the likelihood has no maximum.
"""

FEWEST_WRONG_FOR_CURVE = 100
"""Likewise for the confidence curve, which has three numbers."""

CLOSEST = 1e-6
"""How close to 0 or 1 a probability may come before its logarithm is taken."""

_FULL = 255
"""Confidence of 1 in a file of uint8."""

_VALUES_PER_BIN = _FULL // N_BINS


class BinDict(TypedDict):
    """A bin as it stands in JSON; NaN where it has no voxel."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class CalibrationDict(TypedDict):
    """What ``evaluate --confidence --json`` adds."""

    ece: float
    bins: list[BinDict]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceCurve:
    """How often a phase that is predicted with the probability p is right.

    ``1 / (1 + exp(-(rising * log(p) - falling * log(1 - p) + shift)))``, the beta
    calibration of Kull, Silva Filho & Flach 2017 (Proc. AISTATS, PMLR 54:623-631). The
    defaults give p itself.

    Parameters
    ----------
    rising, falling : float
        At least 0, so that what is more probable is never less certain.
    shift : float

    Raises
    ------
    ValueError
        If a number is negative that must not be, or is not finite.
    """

    rising: float = 1.0
    falling: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        slopes = self.rising, self.falling
        if not all(map(math.isfinite, (*slopes, self.shift))) or min(slopes) < 0:
            raise ValueError(
                "expected a confidence curve of three finite numbers, rising and "
                f"falling at least 0, got {self}"
            )


UNCALIBRATED = ConfidenceCurve()
"""The curve that changes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reliability:
    """Painted voxels by their confidence, and how many of them are right.

    Parameters
    ----------
    n_voxels, n_right : ndarray of int64, shape (256,)
        Painted voxels of each confidence up to 255, and those predicted right.
    """

    n_voxels: NDArray[np.int64]
    n_right: NDArray[np.int64]

    def __add__(self, other: Self) -> Self:
        """Add the counts of another slab."""
        return type(self)(
            n_voxels=self.n_voxels + other.n_voxels,
            n_right=self.n_right + other.n_right,
        )

    @property
    def n(self) -> NDArray[np.int64]:
        """Voxels in each bin, shape (N_BINS,).

        Bin m holds the confidences above m / N_BINS up to (m + 1) / N_BINS.
        """
        return _binned(self.n_voxels)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Mean confidence in each bin, 0 to 1; NaN in an empty one."""
        return _ratio(_binned(self.n_voxels * np.arange(_FULL + 1)) / _FULL, self.n)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of each bin that is predicted right, 0 to 1; NaN in an empty one."""
        return _ratio(_binned(self.n_right), self.n)

    @property
    def expected_calibration_error(self) -> float:
        """Mean over the voxels of the distance of confidence and accuracy of their bin.

        0 to 1; NaN without a voxel. See Guo et al. 2017 (arXiv:1706.04599).
        """
        n = self.n
        if not n.any():
            return math.nan
        distances = np.nan_to_num(np.abs(self.confidence - self.accuracy))
        return float(n @ distances / n.sum())

    def to_dict(self) -> CalibrationDict:
        """Return the error and the bins as JSON values."""
        columns = (self.n.tolist(), self.confidence.tolist(), self.accuracy.tolist())
        rows = zip(*columns, strict=True)
        return CalibrationDict(
            ece=self.expected_calibration_error,
            bins=[
                BinDict(
                    low=i / N_BINS,
                    high=(i + 1) / N_BINS,
                    n=n,
                    confidence=confidence,
                    accuracy=accuracy,
                )
                for i, (n, confidence, accuracy) in enumerate(rows)
            ],
        )


def count_reliability(
    target: Labels, predicted: Labels, confidence: NDArray[np.uint8]
) -> Reliability:
    """Count how often voxels of each confidence are predicted right.

    Parameters
    ----------
    target, predicted : ndarray of uint8, any shape
        Labels; voxels that are `UNPAINTED` in the target do not count.
    confidence : ndarray of uint8, the same shape
        1 to 255 for probabilities up to 1 of the predicted phase; 0 where none is
        known, which does not count: that of a predicted phase is at least 1 / 255.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> target = np.array([1, 1, 2, 2], np.uint8)
    >>> predicted = np.array([1, 2, 2, UNPAINTED], np.uint8)
    >>> counts = count_reliability(target, predicted, np.full(4, 255, np.uint8))
    >>> counts.expected_calibration_error
    0.5
    """
    if not target.shape == predicted.shape == confidence.shape:
        raise ValueError(
            f"target has the shape {target.shape}, predicted {predicted.shape} and "
            f"confidence {confidence.shape}; all must cover the same voxels"
        )
    counted = (target != UNPAINTED) & (confidence != 0)
    is_right = (target == predicted)[counted]
    values = confidence[counted]
    return Reliability(
        n_voxels=np.bincount(values, minlength=_FULL + 1),
        n_right=np.bincount(values[is_right], minlength=_FULL + 1),
    )


def _binned(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up counts of 256 confidences; 255 = 15 × 17, so that no bin edge is cut."""
    binned: NDArray[np.int64] = counts[1:].reshape(N_BINS, _VALUES_PER_BIN).sum(axis=1)
    return binned


def _ratio(
    part: NDArray[np.int64] | NDArray[np.float64], whole: NDArray[np.int64]
) -> NDArray[np.float64]:
    undefined = np.full(whole.shape, np.nan)
    ratio: NDArray[np.float64] = np.divide(part, whole, out=undefined, where=whole > 0)
    return ratio


def fit_temperature(logits: NDArray[np.floating], labels: Labels) -> float:
    """Find the temperature T for which soft-max(logits / T) is calibrated best.

    Parameters
    ----------
    logits : ndarray of float, shape (n, n_phases)
        Of painted voxels that the network has not learnt from.
    labels : ndarray of uint8, shape (n,)
        Their painted phases, from 1.

    Returns
    -------
    float
        Within `TEMPERATURES`; 1, which changes nothing, for fewer than `FEWEST_VOXELS`
        voxels, if fewer than `FEWEST_WRONG` of them are predicted wrong, or if a logit
        is not finite.

    Notes
    -----
    T minimises the mean negative log-likelihood, in which 1 / T is convex, so that
    there is one minimum. Above 1 it makes a network less sure.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger, On Calibration of Modern Neural Networks, ICML 2017,
    arXiv:1706.04599.

    Examples
    --------
    >>> logits = np.tile([[1.0, 0.0]], (4000, 1))
    >>> labels = np.array([1, 1, 1, 2] * 1000, np.uint8)  # right three times in four
    >>> round(1 / fit_temperature(logits, labels), 3)  # log(3)
    1.099
    """
    if not _tells_enough(logits, labels, fewest_wrong=FEWEST_WRONG):
        return 1.0
    chosen = np.arange(len(labels)), labels.astype(np.intp) - 1
    double = logits.astype(np.float64)
    double -= double.max(axis=1, keepdims=True)  # no exponential overflows
    right = double[chosen].mean()

    def loss(log_temperature: float) -> float:
        scale = math.exp(-log_temperature)
        sums = np.exp(scale * double).sum(axis=1)
        return float(np.log(sums).mean() - scale * right)

    from scipy.optimize import minimize_scalar  # slow, and not needed to evaluate

    low, high = map(math.log, TEMPERATURES)
    fit = minimize_scalar(loss, bounds=(low, high), method="bounded")
    # Few digits: they are more than the voxels can tell.
    return round(math.exp(float(fit.x)), 4)


def fit_confidence_curve(
    logits: NDArray[np.floating], labels: Labels, *, temperature: float
) -> ConfidenceCurve:
    """Find how often the most probable phase is right, by its probability.

    Parameters
    ----------
    logits, labels
        As of `fit_temperature`.
    temperature : float
        What the logits are divided by.

    Returns
    -------
    ConfidenceCurve
        The one of the greatest likelihood; that which changes nothing for fewer than
        `FEWEST_VOXELS` voxels, if fewer than `FEWEST_WRONG_FOR_CURVE` of them are
        predicted wrong, or if a logit is not finite.

    Examples
    --------
    >>> logits = np.repeat([[1.0, 0.0], [3.0, 0.0]], 2000, axis=0)
    >>> right_half_the_time = np.array([1, 2] * 2000, np.uint8)
    >>> fit_confidence_curve(logits, right_half_the_time, temperature=1.0)
    ConfidenceCurve(rising=0.0, falling=0.0, shift=0.0)
    """
    if not _tells_enough(logits, labels, fewest_wrong=FEWEST_WRONG_FOR_CURVE):
        return UNCALIBRATED
    from scipy.optimize import minimize
    from scipy.special import expit, softmax

    p = softmax(logits.astype(np.float64) / temperature, axis=1).max(axis=1)
    p = p.clip(CLOSEST, 1 - CLOSEST)
    terms = np.stack([np.log(p), -np.log1p(-p), np.ones_like(p)])
    is_right = logits.argmax(axis=1) == labels.astype(np.intp) - 1

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = weights @ terms
        slope = terms @ (expit(score) - is_right) / len(p)
        return float((np.logaddexp(0, score) - is_right * score).mean()), slope

    fit = minimize(loss, (1, 1, 0), jac=True, bounds=[(0, None)] * 2 + [(None, None)])
    rising, falling, shift = (round(float(x), 4) + 0.0 for x in fit.x)  # no -0.0
    return ConfidenceCurve(rising=rising, falling=falling, shift=shift)


def _tells_enough(
    logits: NDArray[np.floating], labels: Labels, *, fewest_wrong: int
) -> bool:
    if len(labels) < FEWEST_VOXELS or not np.isfinite(logits).all():
        return False
    n_wrong = np.count_nonzero(logits.argmax(axis=1) + 1 != labels)
    return bool(n_wrong >= fewest_wrong)
