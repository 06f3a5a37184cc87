"""Thresholds between the grey levels of phases."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.phases import MAX_PHASES, UNPAINTED
from napari_lrcs.preprocessing.normalisation import constant

ThresholdMethod = Literal["otsu", "fractions"]

N_BINS = 256
"""Bins of a histogram along each of its axes."""
_TAIL = 0.5
"""Percentage of the grey levels at either end that does not set the histogram's
width: a single hot pixel would put all others into one bin."""
_FRACTIONS_TOLERANCE = 1e-3


def find_thresholds(
    grey_levels: NDArray[Any],
    *,
    method: ThresholdMethod,
    n_phases: int,
    fractions: Sequence[float] | None = None,
) -> NDArray[np.float64]:
    """Find the grey levels that part the phases.

    Parameters
    ----------
    grey_levels : ndarray of integers or reals, any shape
        In the field of view.
    method : {"otsu", "fractions"}
        ``"otsu"`` makes the phases' mean grey levels differ most (the best of all
        thresholds), ``"fractions"`` meets given volume fractions.
    n_phases : int
        2 to 255.
    fractions : sequence of float, optional
        Volume fractions from dark to bright, which add up to 1; for ``"fractions"``
        alone.

    Returns
    -------
    ndarray of float64, shape (n_phases - 1,)
        Ascending; a phase's grey levels begin at its threshold. Equal ones leave the
        phase between them out: a fraction may be smaller than a grey level's share.

    Raises
    ------
    ValueError
        If the grey levels are constant, too few for the phases, or not finite, or if
        the fractions are wrong.

    References
    ----------
    Liao, Chen and Chung 2001, "A fast algorithm for multilevel thresholding",
    10.6688/JISE.2001.17.5.1, for Otsu's criterion of many classes.

    Examples
    --------
    >>> find_thresholds(np.array([0, 0, 1, 8, 9, 9]), method="otsu", n_phases=2)
    array([4.5])
    """
    check_n_phases(n_phases)
    levels, counts = _histogram(grey_levels)
    if len(levels) < n_phases:
        raise too_few_levels(len(levels), n_phases=n_phases)
    if method == "fractions":
        shares = np.cumsum(checked_fractions(fractions, n_phases=n_phases))[:-1]
        return np.asarray(np.quantile(grey_levels, shares), np.float64)
    starts = _otsu(levels, counts, n_phases=n_phases)
    return (levels[starts - 1] + levels[starts]) / 2


def label_by_thresholds(
    image: NDArray[Any],
    thresholds: NDArray[np.float64],
    *,
    order: Sequence[int] | None = None,
) -> Labels:
    """Give each voxel the label of the thresholds that its grey level lies between.

    Parameters
    ----------
    image : ndarray of integers or reals, any shape
    thresholds : ndarray of float64, shape (n_phases - 1,)
        Ascending.
    order : sequence of int, optional
        Labels from dark to bright; 1, 2, … unless given.

    Returns
    -------
    ndarray of uint8, shape of `image`

    Raises
    ------
    ValueError
        If `order` has not one label more than there are thresholds.

    Examples
    --------
    >>> image = np.array([0, 5, 9])
    >>> label_by_thresholds(image, np.array([4.5, 8.0]), order=(1, 3, 2)).tolist()
    [1, 3, 2]
    """
    n_phases = len(thresholds) + 1
    if order is None:
        order = range(1, n_phases + 1)
    if len(order) != n_phases:
        raise ValueError(
            f"{len(order)} labels are ordered, {len(thresholds)} thresholds part "
            f"{n_phases} phases"
        )
    labels = np.full(image.shape, order[0], np.uint8)
    for threshold, label in zip(thresholds, order[1:], strict=True):
        labels[image >= threshold] = label
    return labels


def grey_order(
    image: NDArray[Any], labels: Labels, *, n_phases: int
) -> tuple[int, ...]:
    """Order the phases from dark to bright by what is painted of them.

    Parameters
    ----------
    image : ndarray of integers or reals, any shape
    labels : ndarray of uint8, shape of `image`

    Returns
    -------
    tuple of int
        Every label, 1 to `n_phases`, once, by the painted voxels' median grey level.
        Phases that are not painted keep their place in the table, or in the reversed
        table if that places the painted phases' grey levels better in the image.

    Examples
    --------
    >>> image = np.array([9, 8, 5, 4])
    >>> grey_order(image, np.array([1, 1, 2, 2], np.uint8), n_phases=3)
    (3, 2, 1)
    """
    is_painted = labels != UNPAINTED
    grey, painting = image[is_painted], labels[is_painted]
    medians = {
        label: float(np.median(grey[painting == label]))
        for label in range(1, n_phases + 1)
        if (painting == label).any()
    }
    order = list(range(1, n_phases + 1))
    ranks = (np.array(list(medians)) - 1) / (n_phases - 1)
    darker = [((image < m).mean() + (image <= m).mean()) / 2 for m in medians.values()]
    if np.abs(darker - ranks).sum() > np.abs(darker - (1 - ranks)).sum():
        order.reverse()
    places = [i for i, label in enumerate(order) if label in medians]
    by_grey = sorted(medians, key=medians.__getitem__)
    for place, label in zip(places, by_grey, strict=True):
        order[place] = label
    return tuple(order)


def grey_range(grey_levels: NDArray[Any]) -> tuple[float, float]:
    """Return the range that a histogram covers; what lies beyond goes to its ends.

    Parameters
    ----------
    grey_levels : ndarray of integers or reals, any shape

    Raises
    ------
    ValueError
        If there are none, or they are constant or not finite.

    Examples
    --------
    >>> grey_range(np.array([0, 3, 3, 7]))
    (0.0, 7.0)
    """
    if grey_levels.size == 0:
        raise ValueError("there are no voxels to find thresholds for; check the mask")
    lowest, highest = float(grey_levels.min()), float(grey_levels.max())
    if not np.isfinite(highest - lowest):
        raise ValueError(
            "the image holds NaN or infinity; replace them, or leave them outside a "
            "mask"
        )
    if lowest == highest:
        raise ValueError(constant(lowest))
    low, high = (float(p) for p in np.percentile(grey_levels, [_TAIL, 100 - _TAIL]))
    if low < high:
        lowest, highest = max(lowest, 2 * low - high), min(highest, 2 * high - low)
    return lowest, highest


def check_n_phases(n_phases: int) -> None:
    """Raise ValueError unless labels can hold so many phases."""
    if not 2 <= n_phases <= MAX_PHASES:
        raise ValueError(f"n_phases must be 2 to {MAX_PHASES}, got {n_phases}")


def too_few_levels(n_levels: int, *, n_phases: int) -> ValueError:
    """Make the error for an image with fewer grey levels than phases."""
    return ValueError(
        f"the image has only {n_levels} grey levels that differ; {n_phases} "
        "phases need at least as many"
    )


def checked_fractions(
    fractions: Sequence[float] | None, *, n_phases: int
) -> NDArray[np.float64]:
    """Return volume fractions that add up to 1 exactly.

    Parameters
    ----------
    fractions : sequence of float or None
        One per phase; rounded ones are accepted.

    Returns
    -------
    ndarray of float64, shape (n_phases,)

    Raises
    ------
    ValueError
        If there are more or fewer, one is not above 0, or they add up to less or more.
    """
    given = np.asarray([] if fractions is None else fractions, np.float64)
    if len(given) != n_phases:
        raise ValueError(
            f"{len(given)} fractions are given; expected {n_phases}, one per phase"
        )
    total = float(given.sum())
    if not (given > 0).all() or not abs(total - 1) <= _FRACTIONS_TOLERANCE:
        listing = ", ".join(f"{share:g}" for share in given)
        raise ValueError(
            f"the fractions {listing} add up to {total:g}; expected fractions above 0 "
            "that add up to 1"
        )
    return given / total


def _histogram(
    grey_levels: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Count the grey levels; bins without any are left out."""
    lowest, highest = grey_range(grey_levels)
    limited = np.clip(grey_levels, lowest, highest)
    counts, _ = np.histogram(limited, N_BINS, (lowest, highest))
    width = (highest - lowest) / N_BINS
    levels = np.asarray(lowest + (np.arange(N_BINS) + 0.5) * width, np.float64)
    return levels[counts > 0], counts[counts > 0]


def _otsu(
    levels: NDArray[np.float64], counts: NDArray[np.int64], *, n_phases: int
) -> NDArray[np.intp]:
    """Find where the phases after the first begin, by dynamic programming.

    Trying every combination, as scikit-image does, takes seconds for five phases.
    """
    n = np.concatenate([[0], np.cumsum(counts)])
    # Centred, so that what is subtracted below is not far larger than what is left.
    centred = levels - np.average(levels, weights=counts)
    total = np.concatenate([[0.0], np.cumsum(counts * centred)])
    n_between = n[np.newaxis] - n[:, np.newaxis]
    of_one = (total[np.newaxis] - total[:, np.newaxis]) ** 2
    # [start, stop] is a phase's share in the variance between phases.
    of_one = np.where(n_between > 0, of_one / np.maximum(n_between, 1), -np.inf)
    best, choices = of_one[0], []
    for _ in range(n_phases - 1):
        so_far = best[:, np.newaxis] + of_one
        choices.append(so_far.argmax(axis=0))
        best = so_far.max(axis=0)
    starts = [len(levels)]
    for choice in reversed(choices):
        starts.append(int(choice[starts[-1]]))
    return np.array(starts[:0:-1])
