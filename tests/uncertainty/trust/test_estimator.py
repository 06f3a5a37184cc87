"""Estimates from check patches: worked by hand, and by their properties."""

import math
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from napari_lrcs.uncertainty.trust.estimator import (
    Estimate,
    difference_estimate,
    mean_estimate,
    ratio_estimate,
)


def test_two_tiles_by_hand() -> None:
    # Two tiles of 4 and 6 pixels; a phase fills 3 and 2 of them, predicted 1 and 2.
    found = difference_estimate(
        np.array([3, 2]), np.array([1, 2]), np.array([4, 6]), predicted_mean=0.4
    )

    # The prediction misses 2 of 10 pixels. Residuals: 2 - 4/5 and 0 - 6/5, that is
    # ± 1.2, with the variance 2.88; the standard error is the root of 2.88 * 2 / 10².
    assert found.value == pytest.approx(0.6)
    assert found.standard_error == pytest.approx(0.24)
    # Student's t of one degree of freedom at 95%.
    assert found.half_width() == pytest.approx(12.706 * 0.24, rel=1e-4)


def test_ratio_of_sums_by_hand() -> None:
    # Overlap 2 and 3 of a union of 4 and 6.
    found = ratio_estimate(np.array([2, 4]), np.array([4, 6]))

    # Residuals 2 - 2.4 and 4 - 3.6; the variance is 0.32, times 2 / 10².
    assert found.value == pytest.approx(0.6)
    assert found.standard_error == pytest.approx(math.sqrt(0.32 * 2) / 10)


def test_heavy_tails_cost_degrees_of_freedom() -> None:
    # One of ten is 9 off, the others 1: the squares have the mean 9, the fourth powers
    # 657, so that the kurtosis is 657 / 81. Its excess over 3 is 5.111; the variance is
    # as uncertain as with 2 / (0.5111 + 2 / 9) = 2.727 degrees of freedom.
    found = Estimate(value=0.5, influence=np.array([9.0, *[-1.0] * 9]))

    assert found.standard_error == pytest.approx(1)
    expected = student.ppf(0.975, 2 / (5.1111 / 10 + 2 / 9))
    assert expected > 3
    assert found.half_width() == pytest.approx(expected, rel=1e-4)


def test_light_tails_are_as_students() -> None:
    found = Estimate(value=0.5, influence=np.array([1.0, -1, 1, -1]))

    # Three degrees of freedom at 95%.
    assert found.half_width() == pytest.approx(3.1824 * found.standard_error, rel=1e-4)


def test_a_perfect_prediction_is_not_corrected() -> None:
    counts = np.array([5, 1, 8])

    found = difference_estimate(counts, counts, np.full(3, 9), predicted_mean=0.37)

    assert (found.value, found.half_width()) == (0.37, 0.0)


def test_the_difference_of_equal_estimates_is_exactly_nothing() -> None:
    found = ratio_estimate(np.array([1, 5, 2]), np.array([4, 9, 8]))

    assert ((found - found).value, (found - found).half_width()) == (0, 0)


def test_influences_add_up_to_nothing() -> None:
    rng = np.random.default_rng(0)
    bottom = rng.integers(1, 50, 20)
    found = ratio_estimate(rng.integers(0, 50, 20), bottom)

    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_a_mean_of_scores_moves_with_each() -> None:
    first = ratio_estimate(np.array([1, 2]), np.array([4, 4]))
    second = ratio_estimate(np.array([2, 1]), np.array([4, 4]))

    both = mean_estimate([first, second])

    assert both.value == pytest.approx(3 / 8)
    assert both.standard_error == pytest.approx(0)


def test_a_phase_that_is_nowhere_has_no_value() -> None:
    found = ratio_estimate(np.zeros(4), np.zeros(4))

    assert math.isnan(found.value)
    assert math.isnan(found.half_width())


@given(
    influence=st.lists(st.integers(-50, 50), min_size=2, max_size=12),
    half_width=st.floats(0.2, 0.6),
    confidence_level=st.floats(0.5, 0.99),
)
def test_the_patches_needed_are_those_found_by_counting_up(
    influence: list[int], half_width: float, confidence_level: float
) -> None:
    found = np.array(influence) / 50
    estimate = Estimate(value=0.5, influence=found - found.mean())

    def is_wide(n: int) -> bool:
        # A sample of n influences of the same scatter and tails.
        t = estimate._quantile(confidence_level, n)
        scatter = estimate.standard_error * math.sqrt(found.size)
        return t * scatter / math.sqrt(n) > half_width

    n = estimate.patches_needed(half_width, confidence_level)

    assert n == next(n for n in count(3) if not is_wide(n))


def test_narrow_intervals_are_planned_in_few_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    quantile, asked = Estimate._quantile, []

    def counted(self: Estimate, confidence_level: float, n: int) -> float:
        asked.append(n)
        return quantile(self, confidence_level, n)

    monkeypatch.setattr(Estimate, "_quantile", counted)
    estimate = Estimate(value=0.5, influence=np.array([-0.4, 0.4, -0.4, 0.4]))

    n = estimate.patches_needed(0.001, 0.95)

    assert n is not None
    assert n > 100_000
    assert len(asked) < 100


def test_one_patch_gives_no_width() -> None:
    assert math.isnan(ratio_estimate(np.array([1]), np.array([2])).half_width())


@pytest.mark.parametrize("half_width", [0.5, 0.1, 0.02, 0.003])
def test_as_many_patches_as_needed_and_no_fewer(half_width: float) -> None:
    rng = np.random.default_rng(1)
    influence = rng.uniform(-0.3, 0.3, 12)  # light tails
    estimate = Estimate(value=0.5, influence=influence - influence.mean())

    n = estimate.patches_needed(half_width)

    assert n is not None
    scatter = np.std(estimate.influence, ddof=1)

    def width_with(n_patches: int) -> float:
        t = float(student.ppf(0.975, n_patches - 1))
        return t * float(scatter) / math.sqrt(n_patches)

    assert width_with(n) <= half_width
    assert n == 3 or width_with(n - 1) > half_width
