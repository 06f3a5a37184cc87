import numpy as np

from napari_lrcs.metrics.interfaces import find_interface, near_interface


def test_unpainted_voxels_are_not_neighbours() -> None:
    labels = np.array([[[1, 1, 0, 2, 2, 3], [1, 1, 1, 2, 2, 3]]], np.uint8)

    on_interface = find_interface(labels, dimensions=2)

    expected = [[[0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 1, 1]]]
    np.testing.assert_array_equal(on_interface, np.array(expected, np.bool_))


def test_neighbours_in_other_slices_count_in_volumes_only() -> None:
    labels = np.array([[[1, 1]], [[1, 2]], [[1, 2]]], np.uint8)

    in_plane, in_space = (find_interface(labels, dimensions=d) for d in (2, 3))

    assert in_plane[:, 0].tolist() == [[False, False], [True, True], [True, True]]
    assert in_space[:, 0].tolist() == [[False, True], [True, True], [True, True]]


def test_near_is_euclidean_within_the_slice() -> None:
    # The corner of phase 2 is the only one; (2, 2) shares an edge with (1, 2).
    labels = np.ones((4, 4), np.uint8)
    labels[:2, 2:] = 2

    on, at_1 = near_interface(labels, [0, 1])

    expected = np.array([[0, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]])
    np.testing.assert_array_equal(on, expected)
    np.testing.assert_array_equal(at_1, [[1] * 4, [1] * 4, [0, 1, 1, 1], [0, 0, 1, 1]])


def test_unpainted_voxels_make_no_interface() -> None:
    labels = np.array([[1, 0, 2], [1, 0, 2]], np.uint8)

    assert not near_interface(labels, [10]).any()
