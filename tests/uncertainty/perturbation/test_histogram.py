from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Kernel, PerturbConfig
from napari_lrcs.uncertainty.perturbation.figures import widths_text
from napari_lrcs.uncertainty.perturbation.histogram import (
    InterfaceHistogram,
    InterfaceWidths,
    SimulationEnded,
    fit_gaussian,
    interface_histogram,
    interface_widths,
    usual_simulations,
)
from napari_lrcs.uncertainty.perturbation.perturb import Dimensions, Perturbation


def flat(shape: tuple[int, ...]) -> Labels:
    """Make two phases side by side, at least 40 voxels thick."""
    labels = np.ones(shape, np.uint8)
    labels[..., shape[-2] // 2 :, :] = 2
    return labels


def curved(shape: tuple[int, ...], *, radius: float) -> Labels:
    """Make a circle or a sphere around the middle."""
    middle = np.array(shape).reshape(-1, *[1] * len(shape)) / 2
    distance = np.sqrt(((np.indices(shape) - middle) ** 2).sum(axis=0))
    return np.where(distance < radius, 2, 1).astype(np.uint8)


def simulate(
    labels: Labels,
    n_simulations: int,
    *,
    kernel: Kernel = "auto",
    dimensions: Dimensions | None = None,
) -> InterfaceHistogram:
    *_, histogram = interface_histogram(
        labels,
        config=PerturbConfig(kernel=kernel),
        n_simulations=n_simulations,
        seed=0,
        dimensions=dimensions,
    )
    assert isinstance(histogram, InterfaceHistogram)
    return histogram


# ---- counts ----


def test_counts_are_of_the_members_of_the_set() -> None:
    labels = flat((3, 30, 12))
    perturbation = Perturbation(labels)
    draws = [
        perturbation.draw_with_interface(np.random.default_rng((0, m)))
        for m in range(4)
    ]

    histogram = simulate(labels, 4)

    np.testing.assert_array_equal(histogram.counts, sum(on * 1 for _, on in draws))
    assert histogram.counts.dtype == np.uint16
    shares = [(perturbed != labels).mean() for perturbed, _ in draws]
    np.testing.assert_allclose(histogram.changed_shares, shares)
    assert histogram.dimensions == 3


def test_progress_comes_several_times_a_second() -> None:
    *events, last = interface_histogram(flat((200, 200)), n_simulations=200, seed=0)

    assert isinstance(last, InterfaceHistogram)
    done = [event.n_done for event in events if isinstance(event, SimulationEnded)]
    assert len(done) == len(events) > 0
    assert done == sorted(set(done))
    assert done[-1] <= 200


def test_the_papers_histograms_take_1000_slices_or_100_volumes() -> None:
    assert (usual_simulations(2), usual_simulations(3)) == (1000, 100)


@pytest.mark.parametrize("n_simulations", [0, -1, 65536])
def test_more_simulations_than_can_be_counted_are_refused(n_simulations: int) -> None:
    events = interface_histogram(flat((8, 8)), n_simulations=n_simulations, seed=0)

    with pytest.raises(ValueError, match="must be 1 to 65535, got"):
        next(events)


# ---- widths ----


@pytest.mark.parametrize(
    ("labels", "n_simulations"),
    [
        pytest.param(flat((84, 150)), 300, id="flat slice"),
        pytest.param(curved((160, 160), radius=48), 300, id="circle"),
        pytest.param(flat((10, 84, 60)), 60, id="flat volume"),
        pytest.param(curved((20, 140, 140), radius=42), 20, id="sphere"),
    ],
)
def test_interfaces_are_about_ten_voxels_wide_by_default(
    labels: Labels, n_simulations: int
) -> None:
    histogram = simulate(labels, n_simulations)

    widths = interface_widths(histogram, labels)

    assert widths.n_fitted > 100
    assert widths.n_failed < 10
    assert 8 <= widths.median_fwhm <= 12
    assert abs(widths.mean_shift) < 0.5


@pytest.mark.parametrize(
    ("kernel", "low", "high"), [("cross", 2, 3), ("cube_3", 3, 4.5), ("cube_7", 14, 18)]
)
def test_larger_kernels_make_wider_interfaces(
    kernel: Kernel, low: float, high: float
) -> None:
    labels = flat((84, 150))

    widths = interface_widths(simulate(labels, 200, kernel=kernel), labels)

    assert low < widths.median_fwhm < high


def hand_made(counts: NDArray[np.uint16]) -> InterfaceHistogram:
    return InterfaceHistogram(
        counts=counts,
        n_simulations=1000,
        changed_shares=np.zeros(1),
        config=PerturbConfig(),
        dimensions=2,
    )


@pytest.mark.parametrize("angle", [0, 20, 45, 90, 200])
def test_widths_and_shifts_are_along_the_normal(angle: float) -> None:
    y, x = np.indices((120, 120)) - 59.5
    along = y * np.cos(np.deg2rad(angle)) + x * np.sin(np.deg2rad(angle))
    labels = np.where(along < 0, 1, 3).astype(np.uint8)
    counts = 500 * np.exp(-((along - 1) ** 2) / (2 * 4.0**2))

    widths = interface_widths(hand_made(counts.astype(np.uint16)), labels)

    assert widths.n_fitted > 50
    assert widths.median_fwhm == pytest.approx(4 * 2.3548, rel=0.03)
    # Towards the higher label; faces of voxels lie to either side of an oblique line.
    assert widths.mean_shift == pytest.approx(1, abs=0.1)


def test_places_without_a_fit_are_counted() -> None:
    labels = flat((84, 84))

    widths = interface_widths(hand_made(np.zeros((84, 84), np.uint16)), labels)

    assert widths.n_failed == len(widths.fwhm) > 0
    assert np.isnan([widths.median_fwhm, widths.mean_shift]).all()


def test_where_phases_are_thin_there_is_no_place_to_fit() -> None:
    labels = np.tile(np.repeat(np.array([1, 2], np.uint8), 8), 6)[:, np.newaxis]
    labels = labels.repeat(90, axis=1)

    widths = interface_widths(simulate(labels, 2), labels)

    assert (widths.n_fitted, widths.n_failed) == (0, 0)
    assert np.isnan(widths.median_fwhm)


def test_unpainted_voxels_across_an_interface_rule_a_place_out() -> None:
    labels = flat((84, 84))
    histogram = simulate(labels, 20)
    hollow = labels.copy()
    hollow[20:32] = 0

    near_hole = interface_widths(histogram, hollow)
    farther = interface_widths(
        replace(histogram, config=PerturbConfig(max_distance=4.0)), hollow
    )

    assert len(near_hole.fwhm) == 0
    assert len(farther.fwhm) > 0


# ---- fits ----


def test_a_gaussian_is_found_under_noise() -> None:
    rng = np.random.default_rng(0)
    distance = np.arange(-15, 16.0)
    expected = 200 * np.exp(-((distance - 1.5) ** 2) / (2 * 4.0**2))

    fit = fit_gaussian(distance, rng.poisson(expected))

    assert fit.centre == pytest.approx(1.5, abs=0.3)
    assert fit.fwhm == pytest.approx(4 * 2.3548, rel=0.05)
    assert fit.amplitude == pytest.approx(200, rel=0.05)
    assert 0 < fit.residual < 20


@pytest.mark.parametrize(
    "counts",
    [
        np.zeros(20),
        np.full(20, 7.0),
        np.arange(20.0),
        np.array([1.0, 2, 1]),
        np.array([0.0, 1, np.nan, 1, 0]),
        np.array([0.0, 1, np.inf, 1, 0]),
    ],
    ids=["nothing", "constant", "slope", "too few", "NaN", "infinity"],
)
def test_what_is_no_gaussian_fits_none(counts: NDArray[np.float64]) -> None:
    fit = fit_gaussian(np.arange(float(len(counts))), counts)

    assert np.isnan([fit.centre, fit.fwhm, fit.amplitude, fit.residual]).all()


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_a_width_has_a_unit_only_where_voxels_are_cubes(scale: float) -> None:
    widths = InterfaceWidths(
        fwhm=np.array([2.0]),
        shift=np.array([0.0]),
        distance=np.arange(3.0),
        profiles=np.ones((1, 3)),
    )

    cubes = widths_text(widths, voxel_size=(scale,) * 3, unit="meter")
    flat = widths_text(widths, voxel_size=(4 * scale, scale, scale), unit="meter")

    assert f"2.0 px ({2 * scale:.3g} m)" in cubes
    assert "2.0 px: the median" in flat
