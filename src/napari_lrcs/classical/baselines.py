"""What a network is compared with: thresholds, k-means and a random forest.

They also make a first guess that is then corrected by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Labels
from napari_lrcs.classical.clusters import fit_clusters
from napari_lrcs.classical.forest import fit_forest
from napari_lrcs.classical.samples import Sample, painted_voxels
from napari_lrcs.classical.thresholds import (
    check_n_phases,
    find_thresholds,
    grey_order,
    label_by_thresholds,
)
from napari_lrcs.phases import UNPAINTED

Method: TypeAlias = Literal["otsu", "fractions", "k_means", "forest"]


class Baseline(Protocol):
    """Labels slices, once it is fitted."""

    def predict(self, image: GreyImage) -> Labels:
        """Label a slice, each voxel.

        Parameters
        ----------
        image : ndarray of float32, shape (rows, columns)
            Finite.

        Returns
        -------
        ndarray of uint8, shape of `image`
        """


def fit_baseline(
    samples: Sequence[Sample],
    *,
    method: Method,
    n_phases: int,
    fractions: Sequence[float] | None = None,
    order: Sequence[int] | None = None,
) -> Baseline:
    """Learn to label slices without a network.

    Parameters
    ----------
    samples : sequence of Sample
        Slices of the volume that is to be labelled.
    method : {"otsu", "fractions", "k_means", "forest"}
        Thresholds as `find_thresholds` finds them; ``"k_means"`` clusters on the 2D
        histogram of grey level and Sobel magnitude, as in the paper, both in grey
        levels (a pixel); ``"forest"`` a random forest on multi-scale intensities, edges
        and textures that learns from the painting.
    n_phases : int
        2 to 255.
    fractions : sequence of float, optional
        Volume fractions from dark to bright, for ``"fractions"``.
    order : sequence of int, optional
        Labels from dark to bright. Without it they are ordered as the samples are
        painted, and 1, 2, … where nothing is. A forest knows them from the painting.

    Returns
    -------
    Baseline
        The same for the same samples.

    Raises
    ------
    ValueError
        As `find_thresholds` does; if `order` does not name each label once, labels
        exceed `n_phases`, or a forest is given fewer than two phases.

    Notes
    -----
    The paper does not say how it scales the two axes of k-means. With both in grey
    levels, accuracy was .83 on an electrode and .97 on a fuel cell; with both in
    standard deviations .78 and .51, as edges then take a cluster of their own.

    References
    ----------
    k-means on the 2D histogram: https://doi.org/10.1038/s41524-022-00709-7.

    Examples
    --------
    >>> image = np.array([[0, 1, 8, 9]], np.float32)
    >>> fit = fit_baseline([Sample(image=image)], method="otsu", n_phases=2)
    >>> fit.predict(image).tolist()
    [[1, 1, 2, 2]]
    """
    check_n_phases(n_phases)
    _check_labels(samples, n_phases)
    if method == "forest":
        return fit_forest(samples)
    if order is None:
        order = painted_order(samples, n_phases=n_phases)
    check_order(order, n_phases=n_phases)
    order = tuple(order)
    if method == "k_means":
        return fit_clusters(samples, order)
    grey = np.concatenate([s.within(s.image) for s in samples])
    thresholds = find_thresholds(
        grey, method=method, n_phases=n_phases, fractions=fractions
    )
    return _Thresholds(thresholds, order)


def check_order(order: Sequence[int], *, n_phases: int) -> None:
    """Raise ValueError unless each label, 1 to `n_phases`, is there once."""
    if sorted(order) != list(range(1, n_phases + 1)):
        raise ValueError(
            f"the order {' '.join(map(str, order))} must name each label, 1 to "
            f"{n_phases}, once, from dark to bright"
        )


def painted_order(samples: Sequence[Sample], *, n_phases: int) -> tuple[int, ...]:
    """Order the phases from dark to bright as they are painted; see `grey_order`.

    Returns
    -------
    tuple of int
        1, 2, … where nothing is painted.
    """
    painted = [
        (s.within(s.image), s.within(s.labels)) for s in samples if s.labels is not None
    ]
    if not any(labels.any() for _, labels in painted):
        return tuple(range(1, n_phases + 1))
    grey, labels = (np.concatenate(parts) for parts in zip(*painted, strict=True))
    return grey_order(grey, labels, n_phases=n_phases)


def fill_slice(
    sample: Sample, baseline: Baseline, *, only_unpainted: bool = True
) -> Labels:
    """Label a slice that may be painted in part.

    Parameters
    ----------
    sample : Sample
        Labels outside its field of view stay as they are.
    only_unpainted : bool
        Whether painted voxels keep their label.

    Returns
    -------
    ndarray of uint8, shape of the slice

    Examples
    --------
    >>> image = np.array([[0, 1, 8, 9]], np.float32)
    >>> sample = Sample(image=image, labels=np.array([[0, 0, 0, 1]], np.uint8))
    >>> fit_otsu = fit_baseline([sample], method="otsu", n_phases=2)
    >>> fill_slice(sample, fit_otsu).tolist()
    [[2, 2, 1, 1]]
    """
    is_filled = np.ones(sample.image.shape, np.bool_)
    if sample.inside is not None:
        is_filled &= sample.inside
    if only_unpainted:
        is_filled &= ~sample.is_painted
    former = np.uint8(UNPAINTED) if sample.labels is None else sample.labels
    filled: Labels = np.where(is_filled, baseline.predict(sample.image), former)
    return filled


def _check_labels(samples: Sequence[Sample], n_phases: int) -> None:
    _, labels = painted_voxels(samples)
    if labels.size and labels.max() > n_phases:
        raise ValueError(
            f"labels reach {labels.max()}, but there are {n_phases} phases; check the "
            "number of phases"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Thresholds:
    thresholds: NDArray[np.float64]
    order: tuple[int, ...]

    def predict(self, image: GreyImage) -> Labels:
        return label_by_thresholds(image, self.thresholds, order=self.order)
