import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.io.records import as_json
from napari_lrcs.metrics.calibration import (
    FEWEST_VOXELS,
    FEWEST_WRONG,
    FEWEST_WRONG_FOR_CURVE,
    N_BINS,
    TEMPERATURES,
    UNCALIBRATED,
    ConfidenceCurve,
    Reliability,
    count_reliability,
    fit_confidence_curve,
    fit_temperature,
)
from napari_lrcs.phases import UNPAINTED


def labels(*values: int) -> Labels:
    return np.array(values, np.uint8)


# ---- reliability ----


def test_error_is_that_worked_out_by_hand() -> None:
    # Bin 11 of 15 holds 191 to 204 (.75 and .8): one of two is right, .775 is claimed.
    # The last one holds 255 and 240: both are right.
    counts = count_reliability(
        labels(1, 1, 2, 2), labels(1, 2, 2, 2), labels(191, 204, 255, 240)
    )

    claimed = (191 + 204) / 2 / 255, (255 + 240) / 2 / 255
    assert counts.n.tolist() == [*[0] * 11, 2, 0, 0, 2]
    np.testing.assert_allclose(counts.confidence[[11, 14]], claimed)
    assert counts.accuracy[[11, 14]].tolist() == [1 / 2, 1]
    assert counts.expected_calibration_error == pytest.approx(
        ((claimed[0] - 1 / 2) + (1 - claimed[1])) / 2
    )


def test_a_bin_includes_its_upper_edge_and_zero_is_no_confidence() -> None:
    counts = count_reliability(
        labels(1, 1, 1, 1, 1), labels(1, 1, 1, 1, 1), labels(0, 17, 18, 238, 239)
    )

    assert counts.n.tolist() == [1, 1, *[0] * 11, 1, 1]


def test_unpainted_voxels_do_not_count_and_none_gives_no_error() -> None:
    nothing = count_reliability(labels(UNPAINTED), labels(2), labels(255))

    assert not nothing.n.any()
    assert math.isnan(nothing.expected_calibration_error)
    assert np.isnan(nothing.accuracy).all()
    assert '"ece": null' in as_json(nothing.to_dict())


@given(
    arrays(np.uint8, (3, 40), elements=st.integers(0, 2)),
    arrays(np.uint8, (3, 40), elements=st.integers(1, 2)),
    arrays(np.uint8, (3, 40)),
)
def test_counts_of_slabs_add_up(
    target: Labels, predicted: Labels, confidence: NDArray[np.uint8]
) -> None:
    whole = count_reliability(target, predicted, confidence)

    first, *rest = map(count_reliability, target, predicted, confidence)

    total: Reliability = sum(rest, start=first)
    np.testing.assert_array_equal(total.n_voxels, whole.n_voxels)
    np.testing.assert_array_equal(total.n_right, whole.n_right)


def test_bins_in_json_cover_0_to_1() -> None:
    counts = count_reliability(labels(1, 2), labels(1, 1), labels(128, 255))

    values = counts.to_dict()

    assert len(values["bins"]) == N_BINS == 15
    assert values["bins"][7] == {
        "low": 7 / 15,
        "high": 8 / 15,
        "n": 1,
        "confidence": 128 / 255,
        "accuracy": 1,
    }
    edges = [b["high"] for b in values["bins"]]
    assert [b["low"] for b in values["bins"]] == [0, *edges[:-1]]
    assert edges[-1] == 1


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predicted \(1,\) and confidence \(2,\)"):
        count_reliability(labels(1), labels(1), labels(1, 2))


# ---- temperature ----


def calibrated_sample(
    n: int, n_phases: int, *, seed: int
) -> tuple[NDArray[np.float64], Labels]:
    """Draw phases with the probabilities that the logits say."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, n_phases))
    noise = rng.gumbel(size=logits.shape)  # the largest sum is drawn by its soft-max
    return logits, (logits + noise).argmax(axis=1).astype(np.uint8) + 1


@pytest.mark.parametrize("n_phases", [2, 3, 5])
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_scale_of_logits_is_found(scale: float, n_phases: int) -> None:
    logits, drawn = calibrated_sample(40_000, n_phases, seed=n_phases)

    assert fit_temperature(scale * logits, drawn) == pytest.approx(scale, rel=0.03)


def test_calibrated_logits_have_a_small_error() -> None:
    logits, drawn = calibrated_sample(40_000, 3, seed=0)
    temperature = fit_temperature(5 * logits, drawn)

    errors = []
    for divisor in (1.0, temperature):
        powers = np.exp(5 * logits / divisor)
        confidence = (powers.max(axis=1) / powers.sum(axis=1) * 255).round()
        predicted = logits.argmax(axis=1).astype(np.uint8) + 1
        counts = count_reliability(drawn, predicted, confidence.astype(np.uint8))
        errors.append(counts.expected_calibration_error)

    assert errors[0] > 0.1
    assert errors[1] < 0.01


def test_a_constant_added_to_all_logits_changes_nothing() -> None:
    logits, drawn = calibrated_sample(5_000, 3, seed=1)

    shifted = fit_temperature(logits + 1e3, drawn)

    assert shifted == pytest.approx(fit_temperature(logits, drawn), rel=1e-3)


def test_too_few_voxels_or_mistakes_fix_no_temperature() -> None:
    logits, drawn = calibrated_sample(FEWEST_VOXELS, 3, seed=2)
    right = logits.argmax(axis=1).astype(np.uint8) + 1
    with_mistakes = right.copy()
    with_mistakes[: FEWEST_WRONG - 1] = right[: FEWEST_WRONG - 1] % 3 + 1

    assert fit_temperature(logits, drawn) != 1
    assert fit_temperature(logits[1:], drawn[1:]) == 1
    assert fit_temperature(logits, right) == 1
    assert fit_temperature(logits, with_mistakes) == 1
    assert fit_temperature(logits[:0], drawn[:0]) == 1


def test_temperature_is_bounded_and_logits_that_diverged_fix_none() -> None:
    logits, _ = calibrated_sample(2_000, 3, seed=3)
    wrong = logits.argmin(axis=1).astype(np.uint8) + 1

    assert fit_temperature(logits, wrong) == pytest.approx(TEMPERATURES[1], rel=1e-3)
    logits[5, 1] = np.nan
    assert fit_temperature(logits, wrong) == 1


# ---- confidence curve ----


def two_phases(curve: ConfidenceCurve, *, n: int) -> tuple[NDArray[np.float64], Labels]:
    """Draw phases that are predicted right as often as a curve says."""
    rng = np.random.default_rng(4)
    p = rng.uniform(0.5, 1, n)
    score = curve.rising * np.log(p) - curve.falling * np.log(1 - p) + curve.shift
    is_wrong = rng.random(n) > 1 / (1 + np.exp(-score))
    logits = np.stack([np.log(p / (1 - p)), np.zeros(n)], axis=1)
    return logits, is_wrong.astype(np.uint8) + 1


def test_the_curve_of_a_confidence_is_found() -> None:
    curve = ConfidenceCurve(rising=2.0, falling=0.5, shift=0.3)
    logits, drawn = two_phases(curve, n=400_000)

    for temperature in (1.0, 0.5):  # the latter undone by half the logits
        found = fit_confidence_curve(
            temperature * logits, drawn, temperature=temperature
        )
        assert found.rising == pytest.approx(2.0, abs=0.2)
        assert found.falling == pytest.approx(0.5, abs=0.05)
        assert found.shift == pytest.approx(0.3, abs=0.1)


def test_calibrated_logits_need_no_curve() -> None:
    logits, drawn = calibrated_sample(400_000, 2, seed=5)

    found = fit_confidence_curve(logits, drawn, temperature=1.0)

    assert found.falling == pytest.approx(1, abs=0.05)
    assert found.rising == pytest.approx(1, abs=0.2)
    assert found.shift == pytest.approx(0, abs=0.1)


def test_a_curve_never_falls() -> None:
    logits, drawn = two_phases(ConfidenceCurve(falling=0.3), n=5000)
    order = np.argsort(logits[:, 0])
    drawn[order] = np.sort(drawn)  # the less often right, the more probable

    found = fit_confidence_curve(logits, drawn, temperature=1.0)

    assert found.rising == 0
    assert found.falling == 0
    share = np.mean(drawn == 1)
    assert 1 / (1 + np.exp(-found.shift)) == pytest.approx(share, abs=0.001)


def test_too_few_voxels_or_mistakes_fix_no_curve() -> None:
    logits, drawn = calibrated_sample(FEWEST_VOXELS, 3, seed=2)
    with_mistakes = logits.argmax(axis=1).astype(np.uint8) + 1
    n = FEWEST_WRONG_FOR_CURVE - 1
    with_mistakes[:n] = with_mistakes[:n] % 3 + 1

    assert fit_confidence_curve(logits, drawn, temperature=1.0) != UNCALIBRATED
    for some, chosen in [(logits[1:], drawn[1:]), (logits, with_mistakes)]:
        found = fit_confidence_curve(some, chosen, temperature=1.0)
        assert found == UNCALIBRATED
    logits[5, 1] = np.nan
    assert fit_confidence_curve(logits, drawn, temperature=1.0) == UNCALIBRATED


@pytest.mark.parametrize(
    "change", [{"rising": -0.1}, {"falling": -0.1}, {"shift": math.nan}], ids=str
)
def test_a_curve_that_falls_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a confidence curve"):
        ConfidenceCurve(**change)
