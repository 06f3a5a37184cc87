"""A random forest on multi-scale intensities, edges and textures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_lrcs.arrays import GreyImage, Labels
from napari_lrcs.classical.samples import Sample, painted_voxels

if TYPE_CHECKING:  # importing scikit-learn takes a second
    from sklearn.ensemble import RandomForestClassifier

_N_TREES, _DEPTH = 50, 10
"""As in scikit-image's gallery, "Trainable segmentation using local features and random
forests". Deeper and more trees gained .003 in IoU at most on an electrode and a fuel
cell."""
_VOXELS_PER_TREE = 10_000
_PAINTED_VOXELS = 2**18
"""Voxels that a forest learns from, drawn from all that are painted."""

_HALO = 72
"""Rows on which a feature depends: four standard deviations of the widest Gaussian, 16
pixels, a Sobel filter and two gradients."""
_BAND_PIXELS = 2**21
"""Pixels whose features are computed at once; they take some 100 bytes each."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Label each voxel by its features on several scales."""

    trees: "RandomForestClassifier"
    mean: float
    deviation: float

    def predict(self, image: GreyImage) -> Labels:
        """Label a slice."""
        labels = np.empty(image.shape, np.uint8)
        for rows, features in self.feature_bands(image):
            flat = self.trees.predict(features.reshape(-1, features.shape[-1]))
            labels[rows] = flat.reshape(features.shape[:2])
        return labels

    def feature_bands(self, image: GreyImage) -> Iterator[tuple[slice, GreyImage]]:
        """Yield bands of rows with their features, shape (rows, columns, n)."""
        from skimage.feature import multiscale_basic_features

        # scikit-image takes whole numbers and large ones for other units.
        scaled = (image - self.mean) / self.deviation
        n_rows = max(1, _BAND_PIXELS // image.shape[1])
        for start in range(0, len(image), n_rows):
            first, stop = max(0, start - _HALO), min(start + n_rows, len(image))
            features = multiscale_basic_features(scaled[first : stop + _HALO])  # type: ignore[no-untyped-call]
            yield slice(start, stop), features[start - first : stop - first]


def fit_forest(samples: Sequence[Sample], *, seed: int = 0) -> Forest:
    """Train a forest on the painted voxels.

    Parameters
    ----------
    samples : sequence of Sample
        The painted slices.
    seed : int
        Of the voxels that are drawn, and of what each tree sees of them.

    Raises
    ------
    ValueError
        If fewer than two phases are painted.
    """
    from sklearn.ensemble import RandomForestClassifier

    grey, labels = painted_voxels(samples)
    seen = np.unique(labels)
    if len(seen) < 2:
        found = f"only phase {seen[0]}" if len(seen) else "nothing"
        raise ValueError(
            f"the slices that a forest is to learn from show {found}; paint at least "
            "two phases"
        )
    trees = RandomForestClassifier(
        _N_TREES, max_depth=_DEPTH, n_jobs=1, random_state=seed
    )  # several jobs would add up the trees' shares in any order
    forest = Forest(trees, float(grey.mean()), float(grey.std()) or 1.0)
    share = _PAINTED_VOXELS / len(labels)
    features, learnt = _drawn(samples, forest, share=share, seed=seed)
    trees.set_params(max_samples=min(len(learnt), _VOXELS_PER_TREE))
    trees.fit(features, learnt)
    return forest


def _drawn(
    samples: Sequence[Sample], forest: Forest, *, share: float, seed: int
) -> tuple[GreyImage, Labels]:
    """Draw a share of the painted voxels: their features, and their labels."""
    rng = np.random.default_rng(seed)
    features, labels = [], []
    for sample in samples:
        if sample.labels is None:
            continue
        is_drawn = sample.is_painted & (rng.random(sample.image.shape) < share)
        labels.append(sample.labels[is_drawn])
        bands = forest.feature_bands(sample.image)
        features += [band[is_drawn[rows]] for rows, band in bands]
    return np.concatenate(features), np.concatenate(labels)
