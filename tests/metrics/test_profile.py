import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.special import erf

from napari_lrcs.metrics.profile import Profile, fit_slope, line_profile

BLURRED = gaussian_filter1d(np.repeat([200.0, 300.0], 32), 2.0)
"""A sharp step between pixels 31 and 32, blurred by a Gaussian of two pixels."""


def noisy(values: np.ndarray[tuple[int], np.dtype[np.float64]], sd: float) -> Profile:
    noise = np.random.default_rng(0).normal(0, sd, values.size)
    return Profile(distance=np.arange(float(values.size)), values=values + noise)


def test_profile_is_read_from_start_to_stop_both_included() -> None:
    image = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]], np.uint16)

    down = line_profile(image, start=(2, 1), stop=(0, 1))
    slanted = line_profile(image, start=(0, 0), stop=(2, 2))

    assert down.distance.tolist() == [0, 1, 2]
    assert down.values.tolist() == [7, 4, 1]
    assert slanted.distance[-1] == np.hypot(2, 2)
    np.testing.assert_allclose(slanted.values, 4 * slanted.distance / np.sqrt(2))


def test_width_averages_across_the_line() -> None:
    image = np.array([[0, 3], [6, 0], [0, 0]])

    assert line_profile(image, start=(1, 0), stop=(1, 1), width=3).values.tolist() == [
        2,
        1,
    ]


def test_slope_of_a_blurred_step_has_the_width_of_the_blur() -> None:
    image = np.tile(BLURRED, (5, 1))

    fit = fit_slope(line_profile(image, start=(2, 0), stop=(2, 63), width=3))

    # The percentiles 10 and 90 of a normal distribution lie 1.2816 deviations away.
    assert fit.width == pytest.approx(2 * 1.2816 * 2, rel=0.02)
    assert fit.steepest == pytest.approx(100 / (2 * np.sqrt(2 * np.pi)), rel=0.02)
    assert fit.centre == pytest.approx(31.5, abs=1e-3)
    assert (fit.low, fit.high) == pytest.approx((200, 300), abs=0.1)
    assert fit.residual < 0.5


def test_slope_may_fall_and_be_noisy() -> None:
    fit = fit_slope(noisy(BLURRED[::-1].copy(), 10.0))

    assert fit.centre == pytest.approx(31.5, abs=0.5)
    assert fit.width == pytest.approx(5.2, rel=0.25)
    assert (fit.low, fit.high) == pytest.approx((200, 300), abs=5)
    assert fit.residual == pytest.approx(10, rel=0.25)


def test_fit_does_not_depend_on_the_units() -> None:
    distance = np.linspace(0, 2e-6, 41)
    share = (1 + erf((distance - 9e-7) / (1e-7 * np.sqrt(2)))) / 2

    fit = fit_slope(Profile(distance=distance, values=6e4 - 5e4 * share))

    assert fit.centre == pytest.approx(9e-7)
    assert fit.width == pytest.approx(2.5631e-7, rel=1e-4)
    assert (fit.low, fit.high) == pytest.approx((1e4, 6e4))


def test_unblurred_step_is_sharper_than_a_pixel() -> None:
    fit = fit_slope(noisy(np.repeat([1.0, 5.0], 8), 0.0))

    assert 7 <= fit.centre <= 8
    assert fit.width < 1


@pytest.mark.parametrize(
    "values",
    [
        np.full(32, 7.0),
        np.zeros(32) + np.random.default_rng(1).normal(0, 1, 32),
        np.exp(-(np.linspace(-4, 4, 32) ** 2)),  # a ridge
        np.repeat([0.0, 1.0, 0.0], 12),  # two interfaces
        np.linspace(0.0, 1.0, 32),  # still rising at both ends
    ],
    ids=["flat", "noise", "ridge", "two interfaces", "ramp"],
)
def test_profile_without_one_slope_is_refused(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    with pytest.raises(ValueError, match="no single slope is found"):
        fit_slope(noisy(values, 0.0))


def test_too_few_samples_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 samples, got 4"):
        fit_slope(noisy(np.arange(4.0), 0.0))
    with pytest.raises(ValueError, match="NaN or infinity"):
        fit_slope(noisy(np.append(BLURRED, np.nan), 0.0))


@pytest.mark.parametrize(
    ("shape", "start", "stop", "width", "message"),
    [
        ((2, 4, 4), (0, 0), (1, 1), 1, "one slice"),
        ((4, 4), (0, 0), (1, 4), 1, r"end \(1, 4\) lies outside"),
        ((4, 4), (-1, 0), (1, 1), 1, r"end \(-1, 0\) lies outside"),
        ((4, 4), (1, 1), (1, 1), 1, "two places"),
        ((4, 4), (0, 0), (1, 1), 0, "at least 1 pixel wide"),
    ],
)
def test_impossible_line_is_refused(
    shape: tuple[int, ...],
    start: tuple[int, int],
    stop: tuple[int, int],
    width: int,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        line_profile(np.zeros(shape), start=start, stop=stop, width=width)
