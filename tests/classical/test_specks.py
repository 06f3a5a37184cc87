import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.specks import remove_specks, remove_specks_slabwise


def row(*labels: int) -> Labels:
    return np.array([[labels]], np.uint8)


def clean_slabwise(labels: Labels, *, min_size: int, slab: int) -> Labels:
    slabs = remove_specks_slabwise(
        lambda start, stop: labels[start:stop],
        n_slices=len(labels),
        min_size=min_size,
        slab=slab,
    )
    return np.concatenate(list(slabs))


def test_speck_goes_to_the_phase_around_it() -> None:
    labels = np.full((3, 3, 3), 1, np.uint8)
    labels[1, 1, 1] = 2

    cleaned = remove_specks(labels, min_size=2)

    assert (cleaned == 1).all()
    assert labels[1, 1, 1] == 2


def test_component_of_min_size_stays() -> None:
    labels = row(1, 1, 1, 2, 2, 1, 1, 1)

    np.testing.assert_array_equal(remove_specks(labels, min_size=2), labels)
    np.testing.assert_array_equal(
        remove_specks(labels, min_size=3), np.ones_like(labels)
    )


def test_most_common_neighbour_wins() -> None:
    labels = np.array([[[3, 3, 3], [1, 2, 3], [1, 1, 3]]], np.uint8)

    cleaned = remove_specks(labels, min_size=2)

    assert cleaned.tolist() == [[[3, 3, 3], [1, 1, 3], [1, 1, 3]]]


def test_three_of_four_neighbours_beat_the_lower_label() -> None:
    labels = np.array([[[3, 3, 3], [1, 2, 3], [1, 3, 3]]], np.uint8)

    assert remove_specks(labels, min_size=2)[0, 1, 1] == 3


def test_specks_that_touch_at_a_corner_alone_are_two() -> None:
    labels = np.ones((1, 4, 4), np.uint8)
    labels[0, 1, 1] = labels[0, 2, 2] = 2

    assert (remove_specks(labels, min_size=2) == 1).all()


def test_speck_within_a_speck_goes_to_what_is_around_both() -> None:
    labels = np.ones((7, 7, 7), np.uint8)
    labels[2:5, 2:5, 2:5] = 2
    labels[3, 3, 3] = 3

    assert (remove_specks(labels, min_size=27) == 1).all()


def test_unpainted_voxels_stay_and_lend_no_label() -> None:
    labels = row(0, 0, 2, 1, 1, 0)

    cleaned = remove_specks(labels, min_size=2)

    assert cleaned.tolist() == [[[0, 0, 1, 1, 1, 0]]]


def test_speck_in_the_unpainted_stays() -> None:
    labels = row(1, 1, 1, 0, 2, 0)

    np.testing.assert_array_equal(remove_specks(labels, min_size=2), labels)


def test_volume_of_specks_alone_stays() -> None:
    labels = row(1, 2, 1, 2)

    np.testing.assert_array_equal(remove_specks(labels, min_size=2), labels)


@pytest.mark.parametrize("min_size", [0, 1])
def test_nothing_is_smaller_than_a_voxel(min_size: int) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (5, 6, 7), dtype=np.uint8)

    cleaned = clean_slabwise(labels, min_size=min_size, slab=2)

    np.testing.assert_array_equal(cleaned, labels)
    np.testing.assert_array_equal(remove_specks(labels, min_size=min_size), labels)


@given(
    labels=arrays(
        np.uint8,
        array_shapes(min_dims=3, max_dims=3, max_side=12),
        elements=st.sampled_from([0, 1, 1, 1, 2, 3]),
    ),
    min_size=st.integers(0, 6),
    slab=st.integers(1, 4),
)
def test_slabs_are_those_of_the_whole_volume(
    labels: Labels, min_size: int, slab: int
) -> None:
    slabwise = clean_slabwise(labels, min_size=min_size, slab=slab)

    np.testing.assert_array_equal(slabwise, remove_specks(labels, min_size=min_size))


@pytest.mark.parametrize("min_size", [2, 3, 5, 12, 40])
@pytest.mark.parametrize("share_of_pore", [0.5, 0.8, 0.95])
def test_slabs_of_a_deep_volume_need_no_more_than_their_window(
    min_size: int, share_of_pore: float
) -> None:
    rng = np.random.default_rng(min_size)
    other = (1 - share_of_pore) / 2
    phases = np.array([1, 2, 3], np.uint8)
    labels = rng.choice(phases, (120, 5, 6), p=[share_of_pore, other, other])

    slabwise = clean_slabwise(labels, min_size=min_size, slab=3)

    np.testing.assert_array_equal(slabwise, remove_specks(labels, min_size=min_size))


@pytest.mark.parametrize("min_size", [19, 20, 21, 22])
def test_thread_across_many_slabs_is_measured_as_a_whole(min_size: int) -> None:
    labels = np.ones((60, 3, 3), np.uint8)
    labels[20:40, 1, 1] = 2

    cleaned = clean_slabwise(labels, min_size=min_size, slab=1)

    assert (cleaned == 2).sum() == (20 if min_size <= 20 else 0)


def test_window_stays_small_where_specks_are_few() -> None:
    labels = np.ones((400, 4, 4), np.uint8)
    labels[::10, 2, 2] = 2
    depths = []

    def read(start: int, stop: int) -> Labels:
        depths.append(stop - start)
        return labels[start:stop]

    cleaned = list(remove_specks_slabwise(read, n_slices=400, min_size=100, slab=10))

    assert (np.concatenate(cleaned) == 1).all()
    assert max(depths) <= 10 + 2 * 16


def test_what_is_left_has_no_speck_where_all_is_painted_with_large_phases() -> None:
    rng = np.random.default_rng(0)
    labels = np.ones((20, 20, 20), np.uint8)
    labels[:, :, 10:] = 2
    noisy = np.where(rng.random(labels.shape) < 0.03, np.uint8(3), labels)

    cleaned = remove_specks(noisy, min_size=50)

    assert not (cleaned == 3).any()
    assert [ndimage.label(cleaned == phase)[1] for phase in (1, 2)] == [1, 1]


@pytest.mark.parametrize("min_size", [2, 3, 5, 9])
def test_influence_from_as_far_as_it_can_come_reaches_the_slab(min_size: int) -> None:
    # Peeling the chain of specks takes min_size rounds, and starts at a component that
    # is large enough only when seen to its end, 2 * min_size - 1 slices away.
    chain = [2, 3] * min_size
    labels = np.array(chain[:min_size] + [1] * min_size, np.uint8).reshape(-1, 1, 1)

    cleaned = clean_slabwise(labels, min_size=min_size, slab=1)

    assert (cleaned == 1).all()
