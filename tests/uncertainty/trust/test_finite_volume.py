"""How far fractions of a finite volume are from those of the material."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.io.volume import as_volume
from napari_lrcs.progress import result_of
from napari_lrcs.uncertainty.trust import covariance, finite_volume
from napari_lrcs.uncertainty.trust.finite_volume import (
    FiniteVolume,
    finite_volumes,
    in_interface,
    in_phase,
)


def judged(inside: NDArray[np.bool_], *, mask: Mask | None = None) -> FiniteVolume:
    """Judge the fraction of phase 2, which is `inside`; phase 1 is the rest."""
    labels = as_volume(np.where(inside, np.uint8(2), np.uint8(1)))
    found = finite_volumes(
        labels, {"phase": in_phase(2)}, mask=None if mask is None else as_volume(mask)
    )
    return result_of(found)["phase"]


def boolean_model(
    shape: tuple[int, int, int],
    *,
    radii: tuple[float, float, float],
    fraction: float,
    seed: int,
) -> Mask:
    """Unite ellipsoids about the points of a Poisson process."""
    rng = np.random.default_rng(seed)
    reach = np.array(radii)
    room = np.array(shape) + 2 * reach
    n_mean = -np.log1p(-fraction) * room.prod() / (4 / 3 * np.pi * reach.prod())
    inside = np.zeros(shape, np.bool_)
    for centre in rng.random((rng.poisson(n_mean), 3)) * room - reach:
        low = np.ceil(centre - reach).clip(0, shape).astype(int)
        high = np.floor(centre + reach + 1).clip(0, shape).astype(int)
        z, y, x = (
            ((np.arange(*ends) - middle) / radius) ** 2
            for *ends, middle, radius in zip(low, high, centre, radii, strict=True)
        )
        place = tuple(map(slice, low, high))
        inside[place] |= z[:, np.newaxis, np.newaxis] + y[:, np.newaxis] + x <= 1
    return inside


def integral_range_of_boolean_model(
    radii: tuple[float, float, float], *, fraction: float
) -> float:
    """Integrate the covariance of the Boolean model.

    With q = 1 - p the share outside, two points at distance r are both outside with
    probability q² exp(λ K(r)), where K is the volume that a sphere shares with itself
    moved by r: V (1 - 3/4 s + s³/16) with s = r / R, up to s = 2, and λ V = -ln q. So
    the covariance is q² (exp(λ K) - 1), and the integral range that over p q, times
    4 π r². Stretching space stretches the integral range likewise.
    """
    outside = 1 - fraction
    s = np.linspace(0, 2, 10_001)
    shared = -np.log(outside) * (1 - 0.75 * s + s**3 / 16)
    covariance = outside**2 * np.expm1(shared)
    integral = np.trapezoid(4 * np.pi * s**2 * covariance, s)
    return float(integral / (fraction * outside) * np.prod(radii))


@pytest.mark.parametrize(
    ("radii", "tolerance"), [((4, 4, 4), 0.1), ((2.5, 4, 7), 0.15)]
)
def test_integral_range_of_a_boolean_model_is_the_analytical_one(
    radii: tuple[float, float, float], tolerance: float
) -> None:
    inside = boolean_model((112, 128, 128), radii=radii, fraction=0.3, seed=0)

    found = judged(inside)

    expected = integral_range_of_boolean_model(radii, fraction=0.3)
    assert found.integral_range == pytest.approx(expected, rel=tolerance)
    assert found.reason is None


@pytest.mark.parametrize(("fraction", "axis"), [(1 / 2, 0), (1 / 4, 0), (1 / 4, 2)])
def test_integral_range_of_a_periodic_lamella_is_the_analytical_one(
    fraction: float, axis: int
) -> None:
    # Across the layers, with period P and fraction f, C(h) = P f (1 - f) - |h| over P
    # as far as it is positive: a triangle that is 0 at P f (1 - f), whose area over
    # C(0) = f (1 - f) is again P f (1 - f). Along the layers it does not fall.
    period = 16
    shape = [20, 20, 20]
    shape[axis] = 20 * period
    inside = np.indices(shape)[axis] % period < fraction * period

    found = judged(inside)

    across = period * fraction * (1 - fraction)
    assert found.integral_range == pytest.approx(across * 20 * 20, rel=0.1)


def test_every_voxel_of_white_noise_is_a_piece() -> None:
    inside = np.random.default_rng(0).random((40, 40, 40)) < 0.3

    found = judged(inside)

    assert found.integral_range == pytest.approx(1, rel=0.02)
    # The standard error of a mean of n independent values.
    p = inside.mean()
    assert found.sd == pytest.approx(math.sqrt(p * (1 - p) / 40**3), rel=0.01)
    assert found.half_width == pytest.approx(1.96 * found.sd, rel=1e-3)


def test_a_slice_is_an_area() -> None:
    inside = np.random.default_rng(0).random((100, 100)) < 0.3

    assert judged(inside).n_effective == pytest.approx(100**2)


def test_twice_as_large_voxels_make_pieces_eight_times_as_large() -> None:
    coarse = np.random.default_rng(0).random((24, 24, 24)) < 0.5
    fine = coarse.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)

    assert judged(fine).n_effective == pytest.approx(24**3, rel=0.1)


def test_coarsening_leaves_the_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = boolean_model((75, 80, 91), radii=(5, 5, 5), fraction=0.3, seed=1)
    fine = judged(inside)

    monkeypatch.setattr(finite_volume, "_N_BLOCKS", 75 * 80 * 91 // 20)
    coarse = judged(inside)

    assert coarse.fraction == fine.fraction
    assert coarse.sd != fine.sd
    assert coarse.sd == pytest.approx(fine.sd, rel=0.1)


def test_voxels_outside_the_mask_do_not_count() -> None:
    # Inside, each third voxel of the volume is white noise; outside, all is one phase.
    rng = np.random.default_rng(0)
    mask = np.zeros((30, 40, 40), np.bool_)
    mask[:, 10:30, 5:35] = rng.random((30, 20, 30)) < 0.7
    inside = (rng.random(mask.shape) < 0.4) | ~mask

    found = judged(inside, mask=mask)

    assert found.fraction == pytest.approx(inside[mask].mean())
    assert found.n_effective == pytest.approx(np.count_nonzero(mask))


@pytest.mark.parametrize(
    ("inside", "where"), [(True, "everywhere"), (False, "nowhere")]
)
def test_a_phase_that_is_everywhere_or_nowhere_has_no_interval(
    inside: bool, where: str
) -> None:
    found = judged(np.full((4, 8, 8), inside))

    assert math.isnan(found.half_width)
    assert found.is_few
    assert found.reason is not None
    assert where in found.reason


def test_a_single_piece_has_no_interval() -> None:
    z, y, x = np.indices((20, 20, 20)) - 9.5

    found = judged(z + 2 * y + 3 * x > 0)

    assert math.isnan(found.half_width)
    assert found.reason is not None
    assert "fewer than three independent pieces" in found.reason


def test_specks_that_lie_in_clusters_are_correlated_beyond_the_gap_between_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Cubes of 2³ voxels on a grid of 4 voxels, in one half of all blocks of 8³: none of
    # a speck's voxels finds another at 2 voxels, so the covariance is negative there.
    # A block has 0 or 64 voxels, with the standard deviation 32.
    n_blocks = 6 * 8 * 8
    inside = np.random.default_rng(0).random((6, 8, 8)) < 0.5
    for axis in range(3):
        inside = inside.repeat(8, axis=axis)
    z, y, x = np.indices(inside.shape) % 4 < 2
    expected = 32 / 512 / math.sqrt(n_blocks)

    found = judged(inside & z & y & x)
    monkeypatch.setattr(covariance, "_FURTHER", 1)
    up_to_zero = judged(inside & z & y & x)

    assert up_to_zero.sd < 0.5 * expected < 0.6 * expected < found.sd < expected


def test_few_pieces_are_named_and_make_the_interval_wider() -> None:
    inside = np.zeros((40, 20, 20), np.bool_)
    inside[:9] = inside[20:28] = True

    found = judged(inside)

    assert found.is_few
    assert found.reason is not None
    assert f"about {found.n_effective:.0f} independent pieces" in found.reason
    quantile = stats.t.ppf(0.975, found.n_effective - 1)
    assert found.half_width == pytest.approx(quantile * found.sd)


def test_fractions_are_of_labelled_voxels_and_interfaces_are_judged_too() -> None:
    rng = np.random.default_rng(0)
    labels: Labels = rng.integers(0, 4, (16, 32, 32), np.uint8)

    found = result_of(
        finite_volumes(
            as_volume(labels), {(3,): in_phase(3), (1, 2): in_interface(1, 2)}
        )
    )

    assert found[3,].fraction == pytest.approx((labels == 3).sum() / (labels > 0).sum())
    assert 0.5 < found[1, 2].fraction < 2 / 3
    # Voxels share neighbours: they are not as many pieces.
    assert 1 < found[1, 2].integral_range < 9
