from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lrcs.errors import VolumeError
from napari_lrcs.preprocessing.mask import open_mask


def test_no_mask_is_none() -> None:
    assert open_mask(None, shape=(2, 3, 4)) is None


def test_the_cylinder_is_the_largest_circle_in_the_slice() -> None:
    mask = open_mask("cylinder", shape=(2, 4, 6))

    assert mask is not None
    assert mask.dtype == np.bool_
    circle = [
        [0, 0, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 0, 1, 1, 0, 0],
    ]
    assert mask.slab(0, 2).astype(int).tolist() == [circle, circle]


def test_the_cylinder_is_cut_along_any_axis() -> None:
    mask = open_mask("cylinder", shape=(2, 4, 6))

    assert mask is not None
    row = [0, 0, 1, 1, 0, 0]
    assert mask.slab(3, 4, axis="y").astype(int).tolist() == [[row, row]]
    assert not mask.slab(0, 1, axis="x").any()


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_circle_is_symmetric_and_covers_pi_over_four_of_its_square(
    n_y: int, n_x: int
) -> None:
    mask = open_mask("cylinder", shape=(1, n_y, n_x))

    assert mask is not None
    circle = mask.slab(0, 1)[0]
    side = min(n_y, n_x)
    np.testing.assert_array_equal(circle, circle[::-1])
    np.testing.assert_array_equal(circle, circle[:, ::-1])
    assert abs(circle.sum() - np.pi / 4 * side**2) <= 2 * side + 1
    assert circle.any(axis=1 if n_y <= n_x else 0).all()


def test_a_cylinder_of_a_hundred_gigavoxels_is_made_slab_by_slab() -> None:
    mask = open_mask("cylinder", shape=(1_000_000, 300, 300))

    assert mask is not None
    assert mask.slab(999_999, 1_000_000).shape == (1, 300, 300)


def test_a_file_is_inside_where_it_is_not_zero(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[[0, 1, -3, np.nan, 0.5]]]))

    mask = open_mask(tmp_path / "a.npy", shape=(1, 1, 5))

    assert mask is not None
    assert mask.dtype == np.bool_
    assert mask.slab(0, 1).tolist() == [[[False, True, True, False, True]]]


def test_a_boolean_mask_is_taken_as_it_is(tmp_path: Path) -> None:
    inside = np.arange(24).reshape(2, 3, 4) % 5 == 0
    np.save(tmp_path / "a.npy", inside)

    mask = open_mask(str(tmp_path / "a.npy"), shape=(2, 3, 4))

    assert mask is not None
    np.testing.assert_array_equal(mask.slab(0, 2), inside)


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 3, 4), np.uint8))

    with pytest.raises(
        VolumeError, match=r"mask a\.npy is \(2, 3, 4\).*expected.*\(2, 3, 5\)"
    ):
        open_mask(tmp_path / "a.npy", shape=(2, 3, 5))


def test_a_missing_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="there is no file or folder"):
        open_mask(tmp_path / "a.tif", shape=(2, 3, 4))
