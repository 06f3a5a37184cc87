"""k-means on the 2D histogram of grey level and Sobel magnitude, as in the paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Labels
from napari_lrcs.classical.samples import Sample
from napari_lrcs.classical.thresholds import N_BINS, grey_range, too_few_levels

_N_STARTS = 10
"""Starts of k-means; the best clusters are taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Label each voxel as the nearest of the clusters' centres."""

    centres: NDArray[np.float32]
    """Grey level and Sobel magnitude, shape (n_phases, 2), from dark to bright."""
    order: tuple[int, ...]

    def predict(self, image: GreyImage) -> Labels:
        """Label a slice."""
        edges = _sobel(image)
        labels = np.full(image.shape, self.order[0], np.uint8)
        nearest = np.full(image.shape, np.inf, np.float32)
        for label, (level, edge) in zip(self.order, self.centres, strict=True):
            distance = (image - level) ** 2 + (edges - edge) ** 2
            is_nearer = distance < nearest
            labels[is_nearer] = label
            nearest[is_nearer] = distance[is_nearer]
        return labels


def fit_clusters(samples: Sequence[Sample], order: tuple[int, ...]) -> Clusters:
    """Cluster the voxels in the field of view.

    Parameters
    ----------
    order : tuple of int
        Labels of the clusters, from dark to bright.
    """
    from sklearn.cluster import KMeans

    grey = np.concatenate([s.within(s.image) for s in samples])
    edges = np.concatenate([s.within(_sobel(s.image)) for s in samples])
    points, counts = _histogram_2d(grey, edges)
    if len(points) < len(order):
        raise too_few_levels(len(points), n_phases=len(order))
    clusters = KMeans(len(order), n_init=_N_STARTS, random_state=0)
    clusters.fit(points, sample_weight=counts)
    centres = clusters.cluster_centers_
    by_grey = centres[np.argsort(centres[:, 0], kind="stable")]
    return Clusters(by_grey.astype(np.float32), order)


def _sobel(image: GreyImage) -> GreyImage:
    from skimage.filters import sobel

    magnitude: GreyImage = sobel(image)  # type: ignore[no-untyped-call]
    return magnitude


def _histogram_2d(
    grey: GreyImage, edges: GreyImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count pairs of values: the bins that have any, shape (n, 2), and their counts."""
    grey_range(grey)  # refuses what has no histogram
    (rows, levels), (columns, strengths) = _binned(grey), _binned(edges)
    counts = np.bincount(rows * N_BINS + columns, minlength=N_BINS**2)
    filled = np.flatnonzero(counts)
    points = np.stack([levels[filled // N_BINS], strengths[filled % N_BINS]], axis=1)
    return points, counts[filled].astype(np.float64)


def _binned(values: GreyImage) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find the bin of each value, and the middle of each bin."""
    low, high = float(values[0]), float(values[0]) + 1
    if (values != values[0]).any():
        low, high = grey_range(values)
    width = (high - low) / N_BINS
    bins = ((values - low) / width).clip(0, N_BINS - 1).astype(np.int64)
    return bins, np.asarray(low + (np.arange(N_BINS) + 0.5) * width, np.float64)
