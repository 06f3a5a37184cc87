import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lrcs.preprocessing.normalisation import Normalisation, fit_normalisation


def test_mean_is_subtracted_and_the_deviation_divided_by() -> None:
    normalisation = Normalisation(low=0.0, high=10.0, mean=5.0, sd=2.0)

    normalised = normalisation(np.array([[1, 5, 9]], np.float32))

    assert normalised.dtype == np.float32
    assert normalised.tolist() == [[-2, 0, 2]]


def test_outliers_are_set_to_once_the_span_beyond_the_tails() -> None:
    normalisation = Normalisation(low=0.0, high=10.0, mean=0.0, sd=1.0)

    normalised = normalisation(np.array([-1e9, -10, 20, 1e9], np.float32))

    assert list(normalisation.limits) == [-10, 20]
    assert normalised.tolist() == [-10, -10, 20, 20]


def test_fitted_grey_levels_have_mean_0_and_sd_1() -> None:
    rng = np.random.default_rng(0)
    images = [rng.normal(1000, 50, n).astype(np.float32) for n in (20_000, 10_000)]

    normalisation = fit_normalisation(images)

    normalised = normalisation(np.concatenate(images))
    assert normalised.mean() == pytest.approx(0, abs=0.01)
    # Slightly above 1, since the tails do not count in the fit.
    assert normalised.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("outlier", [-1e6, 1e6])
def test_hot_and_dead_pixels_hardly_change_the_fit(outlier: float) -> None:
    image = np.random.default_rng(0).normal(100, 5, 10_000).astype(np.float32)
    streaked = image.copy()
    streaked[:30] = outlier  # 0.3%

    clean, robust = fit_normalisation([image]), fit_normalisation([streaked])

    assert robust.mean == pytest.approx(clean.mean, abs=0.2)
    assert robust.sd == pytest.approx(clean.sd, rel=0.05)
    assert np.abs(robust(streaked)).max() < 12


@given(st.floats(-1e4, 1e4), st.floats(1e-2, 1e3))
def test_brightness_and_contrast_of_the_volume_have_no_say(
    offset: float, gain: float
) -> None:
    image = np.random.default_rng(0).normal(0, 1, 1000)
    changed = (image * gain + offset).astype(np.float32)

    normalised = fit_normalisation([changed])(changed)

    expected = fit_normalisation([image.astype(np.float32)])(image.astype(np.float32))
    # float32 keeps 24 bits of the offset.
    np.testing.assert_allclose(
        normalised, expected, atol=1e-3 + 1e-6 * abs(offset) / gain
    )


@pytest.mark.parametrize("level", [0.0, 7.0, -3e4])
def test_constant_image_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match=rf"the image is constant \({level:g}\)"):
        fit_normalisation([np.full((4, 5), level, np.float32)])


@pytest.mark.parametrize("dtype", [np.uint64, np.int64])
def test_whole_numbers_that_float32_cannot_resolve_are_not_called_constant(
    dtype: type[np.uint64 | np.int64],
) -> None:
    image = np.arange(2**63 - 1000, 2**63 - 980, dtype=dtype)

    with pytest.raises(
        ValueError, match=r"close to 9\.22337e\+18 .* steps below 1\.1e\+12; subtract"
    ):
        fit_normalisation([image.astype(np.float32)])


def test_single_pixel_is_refused() -> None:
    with pytest.raises(ValueError, match="the image is constant"):
        fit_normalisation([np.ones(1, np.float32)])


def test_image_whose_bright_pixels_are_all_in_the_tail_is_fitted() -> None:
    image = np.zeros(10_000, np.float32)
    image[:20] = 100  # 0.2%: particles, for all we know

    normalisation = fit_normalisation([image])

    assert normalisation(image).std() > 0


def test_fields_survive_the_way_to_json_and_back() -> None:
    normalisation = Normalisation(low=1.0, high=2.5, mean=1.75, sd=0.5)

    assert Normalisation(**normalisation.to_dict()) == normalisation


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["low", "high", "mean", "sd"])
def test_numbers_that_are_not_finite_are_refused(name: str, value: float) -> None:
    numbers = {"low": 0.0, "high": 1.0, "mean": 0.0, "sd": 1.0} | {name: value}

    with pytest.raises(ValueError, match=f"{name} must be a finite number, got"):
        Normalisation(**numbers)


@pytest.mark.parametrize("sd", [0.0, -1.0])
def test_deviation_that_is_not_positive_is_refused(sd: float) -> None:
    with pytest.raises(ValueError, match=f"sd must be positive, got {sd}"):
        Normalisation(low=0.0, high=1.0, mean=0.0, sd=sd)


def test_limits_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"low must be at most high, got 2\.0 > 1\.0"):
        Normalisation(low=2.0, high=1.0, mean=0.0, sd=1.0)
