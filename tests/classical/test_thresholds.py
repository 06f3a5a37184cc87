from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.filters import threshold_multiotsu

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.thresholds import (
    ThresholdMethod,
    find_thresholds,
    grey_order,
    label_by_thresholds,
)

METHODS: tuple[ThresholdMethod, ...] = ("otsu", "fractions")
PAINTED = np.array([[0, 1, 5, 6, 9, 9]])


def mixture(*means: float, n: int = 4000) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(m, 1, n) for m in means]).astype(np.float32)


def uint8(*labels: int) -> Labels:
    return np.array([labels], np.uint8)


def even(n_phases: int) -> tuple[float, ...]:
    return (1 / n_phases,) * n_phases


# ---- thresholds ----


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_phases", [2, 3, 5])
def test_phases_far_apart_are_parted_between_them(
    method: ThresholdMethod, n_phases: int
) -> None:
    means = [20.0 * i for i in range(n_phases)]

    thresholds = find_thresholds(
        mixture(*means), method=method, n_phases=n_phases, fractions=even(n_phases)
    )

    # The deviation is 1: beyond 5 of them lies none of 4000.
    assert thresholds.dtype == np.float64
    for threshold, below, above in zip(thresholds, means, means[1:], strict=False):
        assert below + 5 < threshold < above - 5


@pytest.mark.parametrize("method", METHODS)
def test_whole_numbers_are_parted_midway(method: ThresholdMethod) -> None:
    grey = np.array([3, 3, 3, 7, 7, 7], np.uint8)

    thresholds = find_thresholds(grey, method=method, n_phases=2, fractions=(0.5, 0.5))

    np.testing.assert_allclose(thresholds, [5], atol=0.01)


@pytest.mark.parametrize("n_phases", [2, 3, 4])
def test_otsu_parts_as_scikit_image_does(n_phases: int) -> None:
    grey = mixture(0, 4, 7, 13)
    counts, edges = np.histogram(grey, 256)

    thresholds = find_thresholds(grey, method="otsu", n_phases=n_phases)

    centres = (edges[:-1] + edges[1:]) / 2
    expected = threshold_multiotsu(  # type: ignore[no-untyped-call]
        hist=(counts, centres), classes=n_phases
    )
    # scikit-image names the last dark bin, here the threshold lies behind it.
    n_dark = [counts[centres <= threshold].sum() for threshold in expected]
    assert [counts[centres < threshold].sum() for threshold in thresholds] == n_dark


def test_fractions_are_met() -> None:
    grey = np.random.default_rng(0).permutation(1000)

    thresholds = find_thresholds(
        grey, method="fractions", n_phases=3, fractions=(0.2, 0.5, 0.3)
    )

    counts = np.bincount(label_by_thresholds(grey, thresholds))
    assert counts.tolist() == [0, 200, 500, 300]


def test_fractions_that_are_rounded_are_taken() -> None:
    thresholds = find_thresholds(
        np.arange(999), method="fractions", n_phases=3, fractions=(0.3333,) * 3
    )

    np.testing.assert_allclose(thresholds, [998 / 3, 1996 / 3])


def test_hot_pixel_does_not_hide_the_phases() -> None:
    grey = np.append(mixture(0, 20), np.float32(1e9))

    (threshold,) = find_thresholds(grey, method="otsu", n_phases=2)

    assert 5 < threshold < 15


@given(
    grey=st.lists(st.integers(-50, 50), min_size=2, max_size=40).map(np.array),
    n_phases=st.integers(2, 5),
)
def test_every_phase_gets_grey_levels(grey: NDArray[np.int64], n_phases: int) -> None:
    if len(np.unique(grey)) < n_phases:
        return

    thresholds = find_thresholds(grey, method="otsu", n_phases=n_phases)

    assert (np.diff(thresholds) > 0).all()
    labels = label_by_thresholds(grey, thresholds)
    assert set(labels) == set(range(1, n_phases + 1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("grey", "message"),
    [
        (np.full((4, 4), 7.0), r"constant \(7\)"),
        (np.array([1, 2, 2, 1]), "only 2 grey levels that differ; 3 phases"),
        (np.array([1.0, 2.0, np.nan, 4.0]), "NaN or infinity"),
        (np.array([1.0, 2.0, np.inf, 4.0]), "NaN or infinity"),
        (np.array([]), "no voxel"),
    ],
)
def test_grey_levels_that_cannot_be_parted_are_refused(
    method: ThresholdMethod, grey: NDArray[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_thresholds(grey, method=method, n_phases=3, fractions=even(3))


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        (None, "0 fractions are given; expected 3"),
        ((0.5, 0.5), "2 fractions are given; expected 3"),
        ((0.5, 0.5, 0.5), "0.5, 0.5, 0.5 add up to 1.5"),
        ((0.5, 0.5, 0.0), "above 0"),
        ((0.5, 0.5, float("nan")), "add up to nan"),
    ],
)
def test_wrong_fractions_are_refused(
    fractions: tuple[float, ...] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        find_thresholds(
            np.arange(9), method="fractions", n_phases=3, fractions=fractions
        )


@pytest.mark.parametrize("n_phases", [1, 256])
def test_number_of_phases_that_labels_cannot_tell_apart_is_refused(
    n_phases: int,
) -> None:
    with pytest.raises(ValueError, match=f"2 to 255, got {n_phases}"):
        find_thresholds(np.arange(999), method="otsu", n_phases=n_phases)


# ---- labels ----


def test_phase_begins_at_its_threshold() -> None:
    labels = label_by_thresholds(np.array([1.9, 2.0, 2.1]), np.array([2.0]))

    assert labels.tolist() == [1, 2, 2]
    assert labels.dtype == np.uint8


def test_order_of_another_number_of_phases_is_refused() -> None:
    with pytest.raises(ValueError, match="2 labels are ordered, 2 thresholds"):
        label_by_thresholds(PAINTED, np.array([2.0, 4.0]), order=(1, 2))


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (uint8(0, 0, 0, 0, 0, 0), (1, 2, 3)),
        (uint8(1, 1, 2, 2, 3, 3), (1, 2, 3)),
        (uint8(3, 3, 2, 2, 1, 1), (3, 2, 1)),
        (uint8(2, 2, 3, 3, 1, 1), (2, 3, 1)),
        (uint8(0, 0, 3, 0, 1, 1), (3, 2, 1)),
        (uint8(0, 1, 2, 0, 0, 0), (1, 2, 3)),
        (uint8(0, 0, 0, 2, 1, 0), (3, 2, 1)),
        (uint8(2, 1, 0, 0, 0, 0), (2, 1, 3)),
        (uint8(2, 0, 0, 0, 0, 1), (3, 2, 1)),
        (uint8(0, 0, 2, 0, 0, 0), (1, 2, 3)),
        (uint8(1, 0, 0, 0, 0, 0), (1, 2, 3)),
        (uint8(0, 0, 0, 0, 0, 1), (3, 2, 1)),
        (uint8(9, 9, 2, 9, 9, 1), (3, 2, 1)),
    ],
)
def test_phases_are_ordered_by_what_is_painted(
    labels: Labels, order: tuple[int, ...]
) -> None:
    assert grey_order(PAINTED, labels, n_phases=3) == order
