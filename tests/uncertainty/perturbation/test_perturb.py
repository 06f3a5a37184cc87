from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import Kernel, PerturbConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.perturbation.perturb import (
    Dimensions,
    Perturbation,
    advice,
    changed_share,
    kernel_offsets,
    moved_fractions,
    perturb_labels,
)
from napari_lrcs.uncertainty.perturbation.suggestion import suggest_perturbation

DATA = Path(__file__).parents[4] / "shared" / "data"

on_real_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="../shared/data is not here"
)

Place = tuple[int, ...]


def blobs(
    shape: tuple[int, ...], *, seed: int, size: float = 2.0, unpainted: float = 0.1
) -> Labels:
    """Make three phases of lumps some voxels wide, with holes that nobody painted."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal(shape), size)
    labels = np.digitize(smooth, np.quantile(smooth, [0.4, 0.6])) + 1
    holes = gaussian_filter(rng.standard_normal(shape), size)
    labels[holes < np.quantile(holes, unpainted)] = 0
    return labels.astype(np.uint8)


def two_halves(shape: tuple[int, ...]) -> Labels:
    """Make a flat interface across the axis before the last one."""
    labels = np.ones(shape, np.uint8)
    labels[..., shape[-2] // 2 :, :] = 2
    return labels


# ---- against plain Python ----


def around(place: Place, offsets: Sequence[Place], labels: Labels) -> Iterator[Place]:
    for offset in offsets:
        there = tuple(a + b for a, b in zip(place, offset, strict=True))
        inside = all(0 <= i < n for i, n in zip(there, labels.shape, strict=True))
        if inside and labels[there]:
            yield there


def slow_interface(labels: Labels, dimensions: Dimensions) -> list[Place]:
    faces = [(0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)]
    faces += [(-1, 0, 0), (1, 0, 0)] if dimensions == 3 else []
    return [
        place
        for place in np.ndindex(labels.shape)
        if labels[place]
        and any(
            labels[there] != labels[place] for there in around(place, faces, labels)
        )
    ]


def slow_perturbation(
    labels: Labels, config: PerturbConfig, dimensions: Dimensions, seed: int
) -> Labels:
    rng = np.random.default_rng(seed)
    offsets = [(*o,) for o in kernel_offsets(config.kernel, dimensions=dimensions)]
    start = slow_interface(labels, dimensions)
    near = {
        place
        for place in np.ndindex(labels.shape)
        if any(
            np.hypot.reduce(np.subtract(place, there)) <= config.max_distance
            for there in start
            if dimensions == 3 or place[0] == there[0]
        )
    }
    current = labels.copy()
    for _ in range(config.n_iterations):
        places = [
            place
            for place in slow_interface(current, dimensions)
            if not config.growing or current[place] in config.growing
        ]
        draws = rng.random(len(places))
        picked = [p for p, u in zip(places, draws, strict=True) if u < 0.4]
        priority = np.argsort(rng.permutation(len(picked)))
        best: dict[Place, tuple[int, int]] = {}
        for place, rank in zip(picked, priority, strict=True):
            for there in around(place, offsets, current):
                mine = (int(rank), int(current[place]))
                best[there] = max(best.get(there, mine), mine)
        for there, (_, phase) in best.items():
            if there in near:
                current[there] = phase
    return current


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    ("kernel", "max_distance", "growing"),
    [
        ("cross", 1.0, ()),
        ("cube_3", 2.0, (1, 3)),
        ("ball_5", 1.5, ()),
        ("auto", 10.0, (2,)),
    ],
)
def test_perturbation_equals_plain_python(
    kernel: Kernel,
    max_distance: float,
    growing: tuple[int, ...],
    dimensions: Dimensions,
) -> None:
    config = PerturbConfig(
        kernel=kernel,
        picked_fraction=0.4,
        n_iterations=2,
        max_distance=max_distance,
        growing=growing,
    )
    labels = blobs((3, 7, 8), seed=1, size=1.0)

    perturbed = perturb_labels(labels, config=config, seed=5, dimensions=dimensions)

    expected = slow_perturbation(labels, config, dimensions, seed=5)
    assert (expected != labels).any()
    np.testing.assert_array_equal(perturbed, expected)


# ---- what holds for all labels ----


def farthest_change(
    labels: Labels, perturbed: Labels, interface: Mask, dimensions: Dimensions
) -> float:
    """Measure from changed voxels to the nearest one of the original interfaces."""
    changed = np.argwhere(perturbed != labels)
    apart = np.array([1 if dimensions == 3 else 10_000, 1, 1])[-labels.ndim :]
    distances, _ = KDTree(np.argwhere(interface) * apart).query(changed * apart)
    return float(np.max(distances, initial=0))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    shape=st.sampled_from([(60, 50), (1, 40, 60), (4, 40, 30), (12, 20, 20)]),
    kernel=st.sampled_from(get_args(Kernel)),
    dimensions=st.sampled_from([2, 3]),
)
def test_nothing_changes_beyond_ten_voxels_nor_where_unpainted(
    seed: int, shape: tuple[int, ...], kernel: Kernel, dimensions: Dimensions
) -> None:
    dimensions = 2 if len(shape) == 2 else dimensions
    labels = blobs(shape, seed=seed, size=6.0)
    config = PerturbConfig(kernel=kernel, n_iterations=8, picked_fraction=0.5)
    perturbation = Perturbation(labels, config, dimensions=dimensions)

    perturbed = perturbation.draw(np.random.default_rng(seed))

    assert perturbed.shape == labels.shape
    assert perturbed.dtype == np.uint8
    np.testing.assert_array_equal(perturbed == 0, labels == 0)
    interface = perturbation.interface
    assert farthest_change(labels, perturbed, interface, dimensions) <= 10


def test_a_limit_is_reached_but_not_passed() -> None:
    labels = two_halves((80, 80))
    config = PerturbConfig(kernel="cube_7", n_iterations=20, max_distance=3.0)

    perturbed = perturb_labels(labels, config=config, seed=0)

    rows = np.flatnonzero((perturbed != labels).any(axis=1))
    # The interface is rows 39 and 40.
    assert rows.tolist() == list(range(36, 44))


def test_nothing_picked_changes_nothing() -> None:
    labels = blobs((40, 40), seed=0)

    perturbed = perturb_labels(labels, config=PerturbConfig(picked_fraction=0), seed=0)

    np.testing.assert_array_equal(perturbed, labels)


def test_a_seed_decides_on_all() -> None:
    labels = blobs((40, 40), seed=0)

    first, same, other = (perturb_labels(labels, seed=(3, m)) for m in (0, 0, 1))

    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_labels_are_left_as_they_are_whatever_their_layout() -> None:
    labels = blobs((6, 30, 40), seed=0)
    laid_out_otherwise = np.asfortranarray(labels)
    laid_out_otherwise.setflags(write=False)

    perturbed = perturb_labels(laid_out_otherwise, seed=0)

    np.testing.assert_array_equal(perturbed, perturb_labels(labels, seed=0))
    assert (perturbed != labels).any()


def test_only_phases_that_may_grow_do() -> None:
    labels = blobs((60, 60), seed=0, size=4.0)

    perturbed = perturb_labels(labels, config=PerturbConfig(growing=(2,)), seed=0)

    assert set(perturbed[perturbed != labels]) == {2}


def test_the_mean_shift_of_a_flat_interface_is_zero() -> None:
    perturbation = Perturbation(two_halves((60, 200)))
    draws = [perturbation.draw(np.random.default_rng((0, m))) for m in range(200)]

    shifts = np.array([np.count_nonzero(draw == 1) / 200 - 30 for draw in draws])

    error = shifts.std(ddof=1) / np.sqrt(len(shifts))
    assert error < 0.1
    assert abs(shifts.mean()) < 3 * error


def test_the_mean_shift_of_a_flat_interface_is_zero_in_3d() -> None:
    perturbation = Perturbation(two_halves((12, 60, 60)))
    draws = [perturbation.draw(np.random.default_rng((0, m))) for m in range(100)]

    shifts = np.array([np.count_nonzero(draw == 1) / 720 - 30 for draw in draws])

    error = shifts.std(ddof=1) / np.sqrt(len(shifts))
    assert error < 0.1
    assert abs(shifts.mean()) < 3 * error


def test_slices_that_are_perturbed_on_their_own_know_nothing_of_others() -> None:
    labels = np.stack([two_halves((30, 30)), np.full((30, 30), 2, np.uint8)])

    alone = perturb_labels(labels, seed=0, dimensions=2)
    together = perturb_labels(labels, seed=0)

    assert (alone[0] != labels[0]).any()
    assert (alone[1] == 2).all()
    assert (together[1] == 1).any()


@pytest.mark.slow
@on_real_data
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_limit_holds_on_the_electrode(dimensions: Dimensions) -> None:
    labels = tifffile.imread(DATA / "nmc-electrode-labels.tif")[40:60]
    perturbation = Perturbation(labels, dimensions=dimensions)

    perturbed = perturbation.draw(np.random.default_rng(0))

    assert (perturbed != labels).any()
    interface = perturbation.interface
    assert farthest_change(labels, perturbed, interface, dimensions) <= 10


# ---- kernels ----


@pytest.mark.parametrize(
    ("kernel", "in_plane", "in_space"),
    [
        ("cross", 5, 7),
        ("cube_3", 9, 27),
        ("cube_5", 25, 125),
        ("cube_7", 49, 343),
        ("ball_2", 9, 19),
        ("ball_3", 9, 27),
        ("ball_5", 21, 57),
        ("auto", 25, 57),
    ],
)
def test_kernels_have_their_voxels_once(
    kernel: Kernel, in_plane: int, in_space: int
) -> None:
    offsets = [kernel_offsets(kernel, dimensions=d).tolist() for d in (2, 3)]

    assert [len(found) for found in offsets] == [in_plane, in_space]
    for found in offsets:
        assert [0, 0, 0] in found
        assert sorted(found) == sorted([-z, -y, -x] for z, y, x in found)
        assert len({*map(tuple, found)}) == len(found)


# ---- how much changed, and what that calls for ----


def test_shares_are_of_painted_voxels_and_of_each_phase() -> None:
    before = np.array([[1, 1, 1, 1], [2, 2, 0, 0]], np.uint8)
    after = np.array([[1, 1, 1, 2], [2, 2, 0, 0]], np.uint8)

    assert changed_share(before, after) == 1 / 6
    np.testing.assert_array_equal(
        moved_fractions(before, after, n_phases=3), [-1 / 4, 1 / 2, np.nan]
    )


def test_a_phase_that_moves_by_more_than_a_tenth_is_named() -> None:
    before = np.ones((40, 40), np.uint8)
    before[20:22] = 2
    after = before.copy()
    after[22, :9] = 2

    said = advice(before, after, PhaseTable.named("pore", "binder"))

    assert len(said) == 1
    assert said[0].startswith("the volume of binder changed by +11%")
    assert "smaller kernel" in said[0]


def test_fewer_than_ten_painted_slices_are_remarked_on() -> None:
    labels = blobs((12, 20, 20), seed=0)
    fewer = labels.copy()
    fewer[3:6] = 0
    phases = PhaseTable.numbered(3)

    assert advice(labels, labels, phases) == ()
    assert advice(labels[0], labels[0], phases) == ()
    (said,) = advice(fewer, fewer, phases)
    assert "painted slices: 9; the paper perturbs at least 10 adjacent" in said


@pytest.mark.parametrize("wanted_share", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("shape", [(120, 120), (12, 60, 60)])
def test_the_suggestion_changes_about_the_wanted_share(
    shape: tuple[int, ...], wanted_share: float
) -> None:
    labels = blobs(shape, seed=0, size=4.0)
    wished = PerturbConfig(n_iterations=4, max_distance=8.0)

    found = suggest_perturbation(labels, config=wished, wanted_share=wanted_share)

    perturbed = perturb_labels(labels, config=found.config, seed=1)
    assert changed_share(labels, perturbed) == pytest.approx(wanted_share, rel=0.15)
    assert found.share == pytest.approx(wanted_share, rel=0.05)
    assert (found.config.n_iterations, found.config.max_distance) == (4, 8.0)


def test_a_suggestion_is_tried_where_interfaces_are() -> None:
    labels = np.ones((40, 30, 30), np.uint8)
    labels[30:, 15:] = 2

    found = suggest_perturbation(labels, dimensions=2)

    assert found.share > 0.02


def test_a_share_out_of_reach_gives_the_nearest() -> None:
    labels = two_halves((200, 400))

    found = suggest_perturbation(labels, wanted_share=0.9)

    assert (found.config.kernel, found.config.picked_fraction) == ("cube_7", 1)
    assert found.share < 0.1  # of the 0.2 that max_distance allows


@pytest.mark.slow
@on_real_data
def test_the_cross_is_suggested_for_the_electrode() -> None:
    labels = tifffile.imread(DATA / "nmc-electrode-labels.tif")

    found = suggest_perturbation(labels)

    assert found.config.kernel == "cross"
    assert found.config.picked_fraction == pytest.approx(0.1, rel=0.2)
    assert found.share == pytest.approx(0.1, rel=0.05)


# ---- labels that cannot be perturbed ----

APART = np.array([[1, 0, 2]], np.uint8)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.ones((4, 4), np.uint8), "only phase 1 is painted"),
        (np.zeros((4, 4), np.uint8), "nothing is painted"),
        (APART, "no phase touches another one"),
        (np.zeros((0, 4), np.uint8), r"shape \(0, 4\) and are uint8; expected a slice"),
        (np.ones((4, 4), np.int64), "are int64; expected"),
        (np.ones(4, np.uint8), r"shape \(4,\)"),
    ],
)
def test_labels_without_an_interface_are_refused(labels: Labels, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Perturbation(labels)


def test_growth_of_phases_that_are_not_painted_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"may grow \(4\) is painted; painted are 1, 2"
    ):
        Perturbation(two_halves((8, 8)), PerturbConfig(growing=(4,)))


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_wanted_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        suggest_perturbation(two_halves((8, 8)), wanted_share=share)
