import json
import tracemalloc
from collections.abc import Iterator
from functools import reduce
from itertools import product
from operator import add
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.metrics import counting
from napari_lrcs.metrics.composition import Composition, Neighbourhood, measure_dict
from napari_lrcs.metrics.counting import compose, compose_slabs
from napari_lrcs.phases import PhaseTable

NEIGHBOURHOODS = get_args(Neighbourhood)


def offsets(neighbourhood: Neighbourhood) -> list[tuple[int, int, int]]:
    """Offsets by their definition: how many coordinates may change, and which."""
    n_changes = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}[neighbourhood]
    z_steps = (0,) if neighbourhood in (4, 8) else (-1, 0, 1)
    found = [
        step
        for step in product(z_steps, (-1, 0, 1), (-1, 0, 1))
        if 1 <= np.count_nonzero(step) <= n_changes
    ]
    assert len(found) == neighbourhood
    return found


def count_one_by_one(
    labels: Labels, *, n_phases: int, neighbourhood: Neighbourhood
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    surface = np.zeros(n_phases, np.int64)
    touching = np.zeros((n_phases, n_phases), np.int64)
    painted = {tuple(place): int(labels[tuple(place)]) for place in np.argwhere(labels)}
    for (z, y, x), own in painted.items():
        around = {
            painted.get((z + dz, y + dy, x + dx), own)
            for dz, dy, dx in offsets(neighbourhood)
        } - {own}
        surface[own - 1] += bool(around)
        for other in around:
            touching[own - 1, other - 1] += 1
    return surface, touching


def compose_in_slabs(
    labels: Labels, slab: int, *, neighbourhood: Neighbourhood
) -> Composition:
    slabs = compose_slabs(
        lambda start, stop: labels[start:stop],
        n_slices=len(labels),
        labels=[1, 2, 3, 4],
        neighbourhood=neighbourhood,
        slab=slab,
    )
    return reduce(add, slabs)


def random_volumes(n_volumes: int) -> Iterator[Labels]:
    """Make volumes of 1 to 5 voxels a side, of some of 4 phases, some with holes."""
    rng = np.random.default_rng(0)
    for _ in range(n_volumes):
        present = rng.choice(5, rng.integers(1, 6), replace=False).astype(np.uint8)
        yield rng.choice(present, rng.integers(1, 6, 3))


def test_200_random_volumes_hold_all_that_is_special() -> None:
    found = list(random_volumes(200))

    assert any(labels.size == 1 for labels in found)
    assert any(len(labels) == 1 for labels in found)
    assert any(labels.all() for labels in found)
    assert any(labels.any() and not labels.all() for labels in found)
    assert any(not labels.any() for labels in found)
    for phase in (1, 2, 3, 4):
        assert any(phase in labels for labels in found)
        assert any(phase not in labels for labels in found)


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_measures_of_200_volumes_are_those_of_looking_at_every_neighbour(
    neighbourhood: Neighbourhood,
) -> None:
    for labels in random_volumes(200):
        n_voxels = [int((labels == phase).sum()) for phase in (1, 2, 3, 4)]
        surface, touching = count_one_by_one(
            labels, n_phases=4, neighbourhood=neighbourhood
        )

        for slab in range(1, len(labels) + 1):
            composition = compose_in_slabs(labels, slab, neighbourhood=neighbourhood)

            assert composition.n_voxels.tolist() == n_voxels
            np.testing.assert_array_equal(composition.n_surface, surface)
            np.testing.assert_array_equal(composition.n_touching, touching)
            for (a, b), fraction in composition.interface_fraction.items():
                both = touching[a - 1, b - 1] + touching[b - 1, a - 1]
                expected = both / sum(n_voxels) if any(n_voxels) else np.nan
                np.testing.assert_array_equal(fraction, expected)


@pytest.mark.parametrize("size", [1, 2, 9, 30])
@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_blocks_of_any_size_count_the_same(
    neighbourhood: Neighbourhood, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for labels in random_volumes(40):
        whole = compose(labels, n_phases=4, neighbourhood=neighbourhood)
        with monkeypatch.context() as patch:
            patch.setattr(counting, "_BLOCK", size)
            blocks = compose_in_slabs(labels, 2, neighbourhood=neighbourhood)

        np.testing.assert_array_equal(blocks.n_voxels, whole.n_voxels)
        np.testing.assert_array_equal(blocks.n_surface, whole.n_surface)
        np.testing.assert_array_equal(blocks.n_touching, whole.n_touching)


def test_no_slice_is_read_twice() -> None:
    asked: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> Labels:
        asked.append((start, stop))
        return np.ones((stop - start, 2, 2), np.uint8)

    list(compose_slabs(read, n_slices=5, labels=[1, 2], slab=2))

    assert asked == [(0, 2), (2, 4), (4, 5)]


def test_a_large_slice_takes_little_more_memory_than_its_voxels() -> None:
    labels = np.ones((1, 4000, 5000), np.uint8)

    tracemalloc.start()
    compose(labels, n_phases=3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2 * labels.nbytes


@pytest.mark.parametrize("n_phases", [8, 9, 63, 255])
def test_many_phases_are_counted_as_few(n_phases: int) -> None:
    rng = np.random.default_rng(n_phases)
    labels = rng.integers(0, n_phases + 1, (4, 7, 6)).astype(np.uint8)

    composition = compose(labels, n_phases=n_phases, neighbourhood=18)

    surface, touching = count_one_by_one(labels, n_phases=n_phases, neighbourhood=18)
    np.testing.assert_array_equal(composition.n_surface, surface)
    np.testing.assert_array_equal(composition.n_touching, touching)


def test_segmentpy_fault_3_each_neighbour_is_seen_once_and_from_both_sides() -> None:
    for neighbourhood in NEIGHBOURHOODS:
        labels = np.ones((3, 3, 3), np.uint8)
        labels[1, 1, 1] = 2

        composition = compose(labels, n_phases=2, neighbourhood=neighbourhood)

        assert composition.n_touching.tolist() == [[0, neighbourhood], [1, 0]]
        assert composition.interface_fraction == {(1, 2): (neighbourhood + 1) / 27}
        assert composition.interface_sides == {(1, 2): (neighbourhood / 27, 1 / 27)}


def test_fractions_of_a_hand_worked_slice() -> None:
    labels = np.array([[1, 1, 2, 2, 2], [1, 0, 0, 2, 3]], np.uint8)

    composition = compose(labels, n_phases=3, neighbourhood=4)

    assert composition.volume_fraction.tolist() == [3 / 8, 4 / 8, 1 / 8]
    assert composition.surface_fraction.tolist() == [1 / 8, 3 / 8, 1 / 8]
    assert composition.interface_fraction == {(1, 2): 2 / 8, (1, 3): 0, (2, 3): 3 / 8}
    assert composition.interface_sides[2, 3] == (2 / 8, 1 / 8)


def test_surface_to_volume_is_of_the_phases_own_voxels_and_nan_where_it_is_absent() -> (
    None
):
    composition = compose(np.array([[1, 1, 1, 2, 0]], np.uint8), n_phases=3)

    np.testing.assert_array_equal(composition.surface_to_volume, [1 / 3, 1, np.nan])


def test_voxel_on_two_interfaces_is_one_voxel_of_surface() -> None:
    labels = np.array([[1, 2, 3]], np.uint8)

    composition = compose(labels, n_phases=3, neighbourhood=8)

    assert composition.n_surface.tolist() == [1, 1, 1]
    assert composition.n_touching.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_unpainted_hole_is_nobodys_neighbour() -> None:
    composition = compose(np.array([[1, 0, 2]], np.uint8), n_phases=2, neighbourhood=8)

    assert composition.surface_fraction.tolist() == [0, 0]


def test_plane_in_3d_is_counted_slice_by_slice_with_8() -> None:
    labels = np.array([[[1, 1]], [[2, 2]]], np.uint8)

    assert not compose(labels, n_phases=2, neighbourhood=8).n_touching.any()
    assert compose(labels, n_phases=2, neighbourhood=6).n_surface.tolist() == [2, 2]


def test_absent_phase_has_no_share() -> None:
    composition = compose(np.array([[1, 3]], np.uint8), n_phases=3)

    assert composition.volume_fraction.tolist() == [1 / 2, 0, 1 / 2]
    assert composition.interface_fraction == {(1, 2): 0, (1, 3): 1, (2, 3): 0}


@pytest.mark.parametrize("neighbourhood", NEIGHBOURHOODS)
def test_one_voxel_is_all_volume_and_no_surface(neighbourhood: Neighbourhood) -> None:
    labels = np.array([[[2]]], np.uint8)

    composition = compose(labels, n_phases=2, neighbourhood=neighbourhood)

    assert composition.volume_fraction.tolist() == [0, 1]
    assert composition.surface_fraction.tolist() == [0, 0]


def test_fractions_of_nothing_are_nan_and_not_for_json() -> None:
    composition = compose(np.zeros((2, 3), np.uint8), n_phases=2)

    assert np.isnan(composition.volume_fraction).all()
    with pytest.raises(ValueError, match="no voxel is labelled"):
        measure_dict(composition, PhaseTable.numbered(2))


def test_label_beyond_the_phases_is_refused_with_its_slices() -> None:
    labels = np.ones((20, 2, 2), np.uint8)
    labels[18] = 3

    with pytest.raises(ValueError, match="slices 16 to 19 have the label 3"):
        compose(labels, n_phases=2)


def test_unknown_neighbourhood_is_refused() -> None:
    with pytest.raises(ValueError, match="no neighbourhood of 7"):
        compose(np.ones((2, 2), np.uint8), n_phases=2, neighbourhood=7)  # type: ignore[arg-type]


def test_counts_of_different_neighbourhoods_do_not_add() -> None:
    labels = np.ones((2, 2), np.uint8)

    with pytest.raises(ValueError, match="4 and 8 do not add up"):
        compose(labels, n_phases=2, neighbourhood=4) + compose(
            labels, n_phases=2, neighbourhood=8
        )


def test_measures_are_json() -> None:
    composition = compose(np.array([[1, 1, 1, 2]], np.uint8), n_phases=2)

    measures = measure_dict(composition, PhaseTable.named("pore", "solid"))

    assert json.loads(json.dumps(measures)) == {
        "phases": [
            {
                "label": 1,
                "name": "pore",
                "volume_fraction": 0.75,
                "surface_fraction": 0.25,
                "surface_to_volume": 1 / 3,
            },
            {
                "label": 2,
                "name": "solid",
                "volume_fraction": 0.25,
                "surface_fraction": 0.25,
                "surface_to_volume": 1.0,
            },
        ],
        "interfaces": [{"phases": [1, 2], "fraction": 0.5, "sides": [0.25, 0.25]}],
        "neighbourhood": 26,
    }
