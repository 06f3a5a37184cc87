"""What a network is compared with: thresholds, k-means and a random forest.

They also make a first guess that is then corrected by hand.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.classical.thresholds import (
    N_BINS,
    check_n_phases,
    find_thresholds,
    grey_order,
    grey_range,
    label_by_thresholds,
    too_few_levels,
)
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.preprocessing.slices import SliceReader

if TYPE_CHECKING:  # importing scikit-learn takes a second
    from sklearn.ensemble import RandomForestClassifier

Value = TypeVar("Value", bound=np.generic)

Method: TypeAlias = Literal["otsu", "fractions", "k_means", "forest"]

_SAMPLED_VOXELS = 2**24
"""That thresholds are found on, in whole slices: more would change them by less than
a bin of the histogram."""

_N_STARTS = 10
"""Of k-means; the best clusters count."""

_N_TREES, _DEPTH = 50, 10
"""As in scikit-image's gallery, "Trainable segmentation using local features and random
forests". Deeper and more trees gained .003 in IoU at most on ../shared/data."""
_VOXELS_PER_TREE = 10_000
_PAINTED_VOXELS = 2**18
"""That a forest learns from, drawn from all that are painted."""

_HALO = 72
"""Rows on which a feature depends: four standard deviations of the widest Gaussian, 16
pixels, a Sobel filter and two gradients."""
_BAND_PIXELS = 2**21
"""Whose features are computed at once; they take some 100 bytes a pixel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """A slice that a baseline is fitted to.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
        As from `SliceReader`: finite outside the field of view, too.
    labels : ndarray of uint8, the same shape, optional
        Its painting, 0 where there is none.
    inside : ndarray of bool, the same shape, optional
        Field of view; None for the whole slice.

    Raises
    ------
    ValueError
        If the shapes differ.
    """

    image: GreyImage
    labels: Labels | None = None
    inside: Mask | None = None

    def __post_init__(self) -> None:
        for name, part in (("labels", self.labels), ("field of view", self.inside)):
            if part is not None and part.shape != self.image.shape:
                raise ValueError(
                    f"the slice is {self.image.shape}, its {name} {part.shape}; "
                    "expected the same shape"
                )

    def within(self, values: NDArray[Value]) -> NDArray[Value]:
        """Return the values in the field of view, flat."""
        flat: NDArray[Value] = values[... if self.inside is None else self.inside]
        return flat.ravel()

    @property
    def is_painted(self) -> Mask:
        """Where there is painting in the field of view."""
        if self.labels is None:
            return np.zeros(self.image.shape, np.bool_)
        painted: Mask = self.labels != UNPAINTED
        return painted if self.inside is None else painted & self.inside


class Baseline(Protocol):
    """Labels slices by what it was fitted to."""

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
        exceed `n_phases`, or a forest is shown fewer than two phases.

    Notes
    -----
    The paper does not say how it scales the two axes of k-means. With both in grey
    levels, accuracy on ../shared/data was .83 on the electrode and .97 on the fuel
    cell; with both in standard deviations .78 and .51, as edges then take a cluster of
    their own.

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
        return _fit_forest(samples)
    if order is None:
        order = painted_order(samples, n_phases=n_phases)
    check_order(order, n_phases=n_phases)
    order = tuple(order)
    if method == "k_means":
        return _fit_clusters(samples, order)
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
    baseline : Baseline
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


def spread_slices(reader: SliceReader) -> tuple[int, ...]:
    """Choose slices that stand for all: every one of a small volume.

    Returns
    -------
    tuple of int
        Evenly spread, at least three if there are so many.
    """
    n_slices, (rows, columns) = reader.n_slices, reader.slice_shape
    n = min(n_slices, max(3, _SAMPLED_VOXELS // (rows * columns)))
    middles = (np.arange(n) + 0.5) * n_slices / n
    return tuple(int(place) for place in middles)


def read_samples(
    reader: SliceReader,
    places: Sequence[int],
    *,
    labels: Volume | None = None,
    painted: Collection[int] = (),
) -> Iterator[Sample]:
    """Read the slices at `places`, those that are `painted` with their labels.

    Raises
    ------
    VolumeError
        If a voxel in the field of view is NaN or infinite, or the file is damaged.
    """
    for z in places:
        inside = reader.inside(z, z + 1)
        painting = None
        if labels is not None and z in painted:
            painting = labels.slab(z, z + 1, axis=reader.axis)[0]
        yield Sample(
            image=reader.read(z, z + 1)[0],
            labels=painting,
            inside=None if inside is None else inside[0],
        )


def _painted(samples: Sequence[Sample]) -> tuple[GreyImage, Labels]:
    """Take the grey levels and labels of what is painted."""
    pairs = [
        (s.image[s.is_painted], s.labels[s.is_painted])
        for s in samples
        if s.labels is not None
    ]
    grey = [np.zeros(0, np.float32), *(grey for grey, _ in pairs)]
    labels = [np.zeros(0, np.uint8), *(labels for _, labels in pairs)]
    return np.concatenate(grey), np.concatenate(labels)


def _check_labels(samples: Sequence[Sample], n_phases: int) -> None:
    _, labels = _painted(samples)
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


# ---- k-means ----


@dataclass(frozen=True, slots=True, eq=False)
class _Clusters:
    centres: NDArray[np.float32]
    """Grey level and Sobel magnitude, shape (n_phases, 2), from dark to bright."""
    order: tuple[int, ...]

    def predict(self, image: GreyImage) -> Labels:
        edges = _sobel(image)
        labels = np.full(image.shape, self.order[0], np.uint8)
        nearest = np.full(image.shape, np.inf, np.float32)
        for label, (level, edge) in zip(self.order, self.centres, strict=True):
            distance = (image - level) ** 2 + (edges - edge) ** 2
            is_nearer = distance < nearest
            labels[is_nearer] = label
            nearest[is_nearer] = distance[is_nearer]
        return labels


def _fit_clusters(samples: Sequence[Sample], order: tuple[int, ...]) -> _Clusters:
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
    return _Clusters(by_grey.astype(np.float32), order)


def _sobel(image: GreyImage) -> GreyImage:
    from skimage.filters import sobel

    magnitude: GreyImage = sobel(image)  # type: ignore[no-untyped-call]
    return magnitude


def _histogram_2d(
    grey: GreyImage, edges: GreyImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count pairs of values: the bins that have any, shape (n, 2), and their counts."""
    grey_range(grey)  # tells what is wrong with it
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


# ---- random forest ----


@dataclass(frozen=True, slots=True, eq=False)
class _Forest:
    trees: "RandomForestClassifier"
    mean: float
    deviation: float

    def predict(self, image: GreyImage) -> Labels:
        labels = np.empty(image.shape, np.uint8)
        for rows, features in self.described(image):
            flat = self.trees.predict(features.reshape(-1, features.shape[-1]))
            labels[rows] = flat.reshape(features.shape[:2])
        return labels

    def described(self, image: GreyImage) -> Iterator[tuple[slice, GreyImage]]:
        """Yield bands of rows, and their features, shape (rows, columns, n)."""
        from skimage.feature import multiscale_basic_features

        # scikit-image takes whole numbers and large ones for other units.
        scaled = (image - self.mean) / self.deviation
        n_rows = max(1, _BAND_PIXELS // image.shape[1])
        for start in range(0, len(image), n_rows):
            first, stop = max(0, start - _HALO), min(start + n_rows, len(image))
            features = multiscale_basic_features(scaled[first : stop + _HALO])  # type: ignore[no-untyped-call]
            yield slice(start, stop), features[start - first : stop - first]


def _fit_forest(samples: Sequence[Sample]) -> _Forest:
    from sklearn.ensemble import RandomForestClassifier

    grey, labels = _painted(samples)
    seen = np.unique(labels)
    if len(seen) < 2:
        found = f"only phase {seen[0]}" if len(seen) else "nothing"
        raise ValueError(
            f"the slices that a forest is to learn from show {found}; paint at least "
            "two phases"
        )
    trees = RandomForestClassifier(
        _N_TREES, max_depth=_DEPTH, n_jobs=1, random_state=0
    )  # several jobs would add up the trees' shares in any order
    forest = _Forest(trees, float(grey.mean()), float(grey.std()) or 1.0)
    features, learnt = _drawn(samples, forest, share=_PAINTED_VOXELS / len(labels))
    trees.set_params(max_samples=min(len(learnt), _VOXELS_PER_TREE))
    trees.fit(features, learnt)
    return forest


def _drawn(
    samples: Sequence[Sample], forest: _Forest, *, share: float
) -> tuple[GreyImage, Labels]:
    """Draw a share of the painted voxels: their features, and their labels."""
    rng = np.random.default_rng(0)
    features, labels = [], []
    for sample in samples:
        if sample.labels is None:
            continue
        is_drawn = sample.is_painted & (rng.random(sample.image.shape) < share)
        labels.append(sample.labels[is_drawn])
        bands = forest.described(sample.image)
        features += [described[is_drawn[rows]] for rows, described in bands]
    return np.concatenate(features), np.concatenate(labels)
