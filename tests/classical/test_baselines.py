from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features

from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.classical import forest, samples
from napari_lrcs.classical.baselines import (
    Method,
    fill_slice,
    fit_baseline,
)
from napari_lrcs.classical.samples import Sample, read_samples, spread_slices
from napari_lrcs.config import PreprocessingConfig
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.preprocessing.slices import SliceReader

UNSUPERVISED: tuple[Method, ...] = ("otsu", "fractions", "k_means")
PAINTED = np.array([[0, 1, 5, 6, 9, 9]], np.float32)


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest, "_N_TREES", 8)


def uint8(*labels: int) -> Labels:
    return np.array([labels], np.uint8)


def stripes(*levels: float, width: int = 12, noise: float = 1.0) -> GreyImage:
    """Make a slice of vertical stripes."""
    image = np.repeat(np.array(levels), width) + np.zeros((24, 1))
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return image.astype(np.float32)


def truth(*labels: int, width: int = 12) -> Labels:
    return np.repeat(np.array(labels, np.uint8), width) + np.zeros((24, 1), np.uint8)


def even(method: Method, n_phases: int) -> tuple[float, ...] | None:
    return (1 / n_phases,) * n_phases if method == "fractions" else None


# ---- the methods ----


@pytest.mark.parametrize("method", UNSUPERVISED)
def test_phases_are_numbered_from_dark_to_bright(method: Method) -> None:
    image = stripes(50, 0, 100)

    fit = fit_baseline(
        [Sample(image=image)], method=method, n_phases=3, fractions=even(method, 3)
    )

    agreement = fit.predict(image) == truth(2, 1, 3)
    # k-means may give the pixels beside an edge to another phase, all have one.
    assert agreement.mean() > 0.9
    assert agreement[:, [6, 18, 30]].all()


@pytest.mark.parametrize("method", UNSUPERVISED)
def test_phases_take_the_order_that_is_given(method: Method) -> None:
    image = stripes(0, 50, 100)

    fit = fit_baseline(
        [Sample(image=image, labels=truth(1, 2, 3))],
        method=method,
        n_phases=3,
        fractions=even(method, 3),
        order=(3, 1, 2),
    )

    assert fit.predict(image)[0, [6, 18, 30]].tolist() == [3, 1, 2]


@pytest.mark.parametrize("method", UNSUPERVISED)
def test_phases_take_the_order_of_what_is_painted(method: Method) -> None:
    image = stripes(0, 50, 100)
    labels = truth(3, 0, 0)
    labels[0, -1] = 1

    fit = fit_baseline(
        [Sample(image=image), Sample(image=image, labels=labels)],
        method=method,
        n_phases=3,
        fractions=even(method, 3),
    )

    assert fit.predict(image)[0, [6, 18, 30]].tolist() == [3, 2, 1]


def test_k_means_parts_the_rims_from_the_plateaus_of_one_grey_level() -> None:
    # Beside a step the Sobel magnitude is one half of it, or so, and 0 elsewhere: two
    # grey levels make four clusters.
    image = stripes(0, 100, width=6, noise=0)

    fit = fit_baseline([Sample(image=image)], method="k_means", n_phases=4)

    row = fit.predict(image)[0]
    assert [len(set(row[part])) for part in np.split(np.arange(12), [5, 6, 7])] == [
        1
    ] * 4
    assert {*row[:6]} == {1, 2}
    assert {*row[6:]} == {3, 4}


def test_forest_tells_phases_of_one_grey_level_by_their_roughness() -> None:
    labels = np.tile(np.repeat(np.array([1, 2], np.uint8), 16), (64, 6))
    noise = np.random.default_rng(0).normal(0, 1, labels.shape)
    image = (noise * np.where(labels == 1, 0.3, 3)).astype(np.float32)

    fit = fit_baseline(
        [Sample(image=image[:32], labels=labels[:32])], method="forest", n_phases=2
    )

    assert (fit.predict(image[32:]) == labels[32:]).mean() > 0.9


def test_forest_learns_from_what_is_painted_in_the_field_of_view() -> None:
    image = stripes(0, 50, 100)
    inside = np.ones(image.shape, np.bool_)
    inside[:, 24:] = False
    labels = np.where(inside, truth(1, 2, 1), 1).astype(np.uint8)
    sparse = np.zeros_like(labels)
    sparse[::3] = labels[::3]

    fit = fit_baseline(
        [Sample(image=image, labels=sparse, inside=inside), Sample(image=image)],
        method="forest",
        n_phases=3,
    )

    # Of what is bright nothing is known; nearest to it is phase 2.
    assert fit.predict(image)[6, [6, 18, 34]].tolist() == [1, 2, 2]


@pytest.mark.parametrize("method", [*UNSUPERVISED, "forest"])
def test_the_same_slices_give_the_same_labels(method: Method) -> None:
    image = stripes(0, 3, 6)
    sample = Sample(image=image, labels=truth(1, 2, 3))

    first, second = (
        fit_baseline(
            [sample], method=method, n_phases=3, fractions=even(method, 3)
        ).predict(image)
        for _ in range(2)
    )

    np.testing.assert_array_equal(first, second)


def test_another_seed_makes_another_forest() -> None:
    image = stripes(0, 3, 6, noise=3.0)
    sample = Sample(image=image, labels=truth(1, 2, 3))

    first, same, other = (
        forest.fit_forest([sample], seed=seed).predict(image) for seed in (0, 0, 1)
    )

    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_features_of_bands_are_those_of_the_slice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = np.random.default_rng(0).normal(size=(200, 20)).astype(np.float32)
    untrained = forest.Forest(trees=None, mean=0.0, deviation=1.0)
    monkeypatch.setattr(forest, "_BAND_PIXELS", 16 * 20)

    bands = list(untrained.feature_bands(image))

    assert [rows.stop - rows.start for rows, _ in bands] == [16] * 12 + [8]
    whole = multiscale_basic_features(image)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(
        np.concatenate([band for _, band in bands]), whole, atol=1e-5
    )


# ---- what cannot be fitted ----


@pytest.mark.parametrize("method", UNSUPERVISED)
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((4, 4), 7), r"constant \(7\)"),
        (np.array([[1, np.nan, 4]]), "NaN or infinity"),
        (np.array([[1, 2, 1]]), "only"),
    ],
)
def test_image_that_cannot_be_parted_is_refused(
    method: Method, image: NDArray[Any], message: str
) -> None:
    sample = Sample(image=image.astype(np.float32))

    with pytest.raises(ValueError, match=message):
        fit_baseline([sample], method=method, n_phases=4, fractions=even(method, 4))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (truth(0, 0, 0), "show nothing; paint at least two"),
        (truth(2, 0, 0), "show only phase 2; paint at least two"),
        (truth(1, 4, 2), "labels reach 4, but there are 3 phases"),
    ],
)
def test_painting_that_nothing_can_be_learnt_from_is_refused(
    labels: Labels, message: str
) -> None:
    sample = Sample(image=stripes(0, 50, 100), labels=labels)

    with pytest.raises(ValueError, match=message):
        fit_baseline([sample], method="forest", n_phases=3)


@pytest.mark.parametrize("order", [(1, 2), (1, 2, 2), (0, 1, 2)])
def test_order_that_is_no_order_is_refused(order: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="each label, 1 to 3, once"):
        fit_baseline([Sample(image=PAINTED)], method="otsu", n_phases=3, order=order)


@pytest.mark.parametrize(
    "parts", [{"labels": uint8(0, 0)}, {"inside": np.ones((1, 2), np.bool_)}]
)
def test_parts_of_a_sample_of_different_shapes_are_refused(parts: Any) -> None:
    with pytest.raises(ValueError, match=r"the slice is \(1, 6\), its .* \(1, 2\)"):
        Sample(image=PAINTED, **parts)


# ---- filling a slice ----


def fill(labels: Labels, *, inside: Mask | None = None, only: bool = True) -> Labels:
    sample = Sample(image=PAINTED, labels=labels, inside=inside)
    fit = fit_baseline([sample], method="otsu", n_phases=2)
    return fill_slice(sample, fit, only_unpainted=only)


def test_filling_keeps_what_is_painted() -> None:
    # By its grey level, the painted 6 would be 1, as the painted 9 is.
    labels = uint8(0, 0, 0, 2, 0, 1)

    filled = fill(labels)

    assert filled.dtype == np.uint8
    assert filled.tolist() == [[2, 2, 1, 2, 1, 1]]
    assert labels.tolist() == [[0, 0, 0, 2, 0, 1]]


def test_filling_everything_replaces_what_is_painted() -> None:
    filled = fill(uint8(0, 0, 0, 2, 0, 1), only=False)

    assert filled.tolist() == [[2, 2, 1, 1, 1, 1]]


@pytest.mark.parametrize("only", [True, False])
def test_filling_leaves_alone_what_is_outside_the_field_of_view(only: bool) -> None:
    inside = np.array([[False, False, True, True, True, True]])

    filled = fill(uint8(0, 2, 0, 0, 0, 0), inside=inside, only=only)

    assert filled.tolist() == [[0, 2, 1, 1, 2, 2]]


# ---- slices of a volume ----


def test_small_volume_is_sampled_whole_and_a_large_one_evenly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = SliceReader(volume=as_volume(np.zeros((40, 10, 20), np.uint8)))
    assert spread_slices(reader) == tuple(range(40))

    monkeypatch.setattr(samples, "_SAMPLED_VOXELS", 10 * 20 * 4)

    assert spread_slices(reader) == (5, 15, 25, 35)


def test_samples_carry_labels_of_painted_slices_and_the_field_of_view() -> None:
    grey = np.arange(4 * 5 * 6).reshape(4, 5, 6).astype(np.float32)
    inside = np.ones(grey.shape, np.bool_)
    inside[:, 0, 0] = False
    grey[:, 0, 0] = np.nan
    labels = as_labels(as_volume(np.full(grey.shape, 2, np.uint8)))
    mask = as_volume(inside)
    reader = SliceReader(
        volume=as_volume(grey), preprocessing=PreprocessingConfig(axis="x"), mask=mask
    )

    first, second = read_samples(reader, (0, 3), labels=labels, painted=(3,))

    assert first.labels is None
    assert second.labels is not None
    assert second.is_painted.sum() == 4 * 5
    assert np.isfinite(first.image).all()
    assert first.inside is not None
    assert first.inside.sum() == 4 * 4
    np.testing.assert_array_equal(second.within(second.image), grey[:, :, 3].ravel())
