from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_lrcs.config import Axis, PreprocessingConfig, TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.preprocessing.slices import SliceReader, reflected, sampled

GREY = np.random.default_rng(0).standard_normal((9, 12, 14)).astype(np.float32)


@given(st.integers(1, 9), st.integers(0, 20), st.integers(0, 20))
def test_places_are_reflected_as_numpy_pads(
    length: int, before: int, after: int
) -> None:
    places = reflected(np.arange(-before, length + after), length)

    expected = np.pad(np.arange(length), (before, after), mode="reflect")
    np.testing.assert_array_equal(places, expected)


@pytest.mark.parametrize("context_slices", [0, 1, 3])
@pytest.mark.parametrize(("start", "stop"), [(0, 9), (0, 2), (4, 5), (7, 9)])
def test_slices_come_with_their_neighbours(
    start: int, stop: int, context_slices: int
) -> None:
    reader = SliceReader(volume=as_volume(GREY), context_slices=context_slices)

    slab = reader.read(start, stop)

    padded = np.pad(GREY, [(context_slices,) * 2, (0, 0), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(slab, padded[start : stop + 2 * context_slices])
    assert slab.dtype == np.float32


@given(st.integers(0, 8), st.integers(1, 9), st.integers(0, 4))
def test_filtered_slabs_are_cut_from_the_filtered_volume(
    start: int, n: int, context_slices: int
) -> None:
    stop = min(start + n, 9)
    reader = SliceReader(
        volume=as_volume(GREY),
        context_slices=context_slices,
        preprocessing=PreprocessingConfig(median_size=3),
    )

    slab = reader.read(start, stop)

    filtered = ndimage.median_filter(GREY, 3, mode="mirror")
    padded = np.pad(filtered, [(context_slices,) * 2, (0, 0), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(slab, padded[start : stop + 2 * context_slices])


@pytest.mark.parametrize(
    ("axis", "place", "shape"),
    [("z", 0, (12, 14)), ("y", 1, (9, 14)), ("x", 2, (9, 12))],
)
def test_slices_lie_across_the_axis(
    axis: Axis, place: int, shape: tuple[int, int]
) -> None:
    reader = SliceReader(
        volume=as_volume(GREY), preprocessing=PreprocessingConfig(axis=axis)
    )

    assert reader.n_slices == GREY.shape[place]
    assert reader.slice_shape == shape
    np.testing.assert_array_equal(reader.read(2, 5), np.moveaxis(GREY, place, 0)[2:5])


def test_reader_takes_what_the_config_says() -> None:
    config = TrainConfig().with_changes(
        axis="y", context_slices=3, median_size=5, unsharp_radius=6, unsharp_weight=0.5
    )

    reader = SliceReader.for_config(as_volume(GREY), config)

    assert (reader.axis, reader.context_slices) == ("y", 3)
    assert reader.preprocessing == PreprocessingConfig(
        axis="y", median_size=5, unsharp_radius=6, unsharp_weight=0.5
    )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxel_that_is_not_finite_is_refused_with_its_place(value: float) -> None:
    grey = GREY.copy()
    grey[6, 1, 1] = grey[7, 0, 0] = value
    reader = SliceReader(volume=as_volume(grey, name="scan.tif"))

    with pytest.raises(
        VolumeError,
        match=r"scan\.tif holds NaN or infinity \(2 voxels, .* slice z=6\)",
    ):
        reader.read(5, 9)
    assert np.isfinite(reader.read(0, 6)).all()


def test_grey_levels_beyond_float32_are_refused() -> None:
    grey = GREY.astype(np.float64)
    grey[3, 0, 0] = 1e300
    reader = SliceReader(volume=as_volume(grey))

    with pytest.raises(
        VolumeError, match=r"values beyond 3\.4e38, .*\(1 voxels, .* slice z=3\); resc"
    ):
        reader.read(0, 9)


def test_outside_the_mask_voxels_may_be_anything() -> None:
    grey = GREY.copy()
    grey[:, 0] = np.nan
    mask = Volume(array=np.isfinite(grey), name="mask")

    slab = SliceReader(volume=as_volume(grey), mask=mask).read(0, 9)

    np.testing.assert_array_equal(slab[:, 1:], GREY[:, 1:])
    # What stands in for them is a grey level like the others of the slice.
    medians = np.median(GREY[:, 1:], axis=(1, 2), keepdims=True)
    np.testing.assert_array_equal(slab[:, :1], np.broadcast_to(medians, (9, 1, 14)))


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_what_is_outside_the_mask_does_not_depend_on_the_slices_read(
    axis: Axis,
) -> None:
    grey = GREY + np.arange(9, dtype=np.float32).reshape(9, 1, 1)
    mask = np.ones(grey.shape, np.bool_)
    mask[:, :4, :4] = False
    grey[~mask] = np.nan
    reader = SliceReader(
        volume=as_volume(grey),
        preprocessing=PreprocessingConfig(axis=axis, median_size=3),
        context_slices=1,
        mask=Volume(array=mask, name="mask"),
    )

    whole = reader.read(0, reader.n_slices)

    for i in range(reader.n_slices):
        np.testing.assert_array_equal(reader.read(i, i + 1), whole[i : i + 3])


def test_slices_that_are_not_finite_take_after_the_nearest_that_is() -> None:
    grey = GREY.copy()
    grey[:3] = grey[7:] = np.nan
    mask = Volume(array=np.isfinite(grey), name="mask")
    reader = SliceReader(volume=as_volume(grey), context_slices=2, mask=mask)

    slab = reader.read(3, 7)

    assert (slab[:2] == np.median(GREY[3])).all()
    assert (slab[-2:] == np.median(GREY[6])).all()
    np.testing.assert_array_equal(slab[2:-2], GREY[3:7])


def test_outside_the_mask_stands_a_grey_level_of_the_inside() -> None:
    grey = GREY.copy()
    mask = np.ones(grey.shape, np.bool_)
    mask[:, :8] = False
    grey[~mask] = 1000.0  # finite, but no grey level of the sample
    grey[:, 0, 0] = np.nan
    reader = SliceReader(volume=as_volume(grey), mask=Volume(array=mask, name="mask"))

    slab = reader.read(4, 5)

    assert slab[0, 0, 0] == np.median(GREY[4, 8:])


def test_nothing_finite_at_all_is_zero_outside_the_mask() -> None:
    mask = Volume(array=np.zeros(GREY.shape, np.bool_), name="mask")
    volume = as_volume(np.full_like(GREY, np.nan))

    assert not SliceReader(volume=volume, mask=mask).read(0, 9).any()


def test_mask_is_read_across_the_axis() -> None:
    mask = np.zeros(GREY.shape, np.bool_)
    mask[:, 3] = True
    reader = SliceReader(
        volume=as_volume(GREY),
        preprocessing=PreprocessingConfig(axis="y"),
        mask=Volume(array=mask, name="mask"),
    )

    inside = reader.inside(2, 4)

    assert inside is not None
    assert inside.shape == (2, 9, 14)
    assert [bool(s.all()) for s in inside] == [False, True]
    assert SliceReader(volume=as_volume(GREY)).inside(0, 1) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float64, ">u2"])
def test_grey_levels_become_float32(dtype: Any) -> None:
    grey = np.arange(24).reshape(2, 3, 4).astype(dtype)

    slab = SliceReader(volume=as_volume(grey)).read(0, 2)

    assert slab.dtype == np.float32
    np.testing.assert_array_equal(slab, grey)


@pytest.mark.parametrize("axis", ["y", "x"])
def test_slices_to_look_at_are_cut_down_to_their_middle_along_z(axis: Axis) -> None:
    tall = np.random.default_rng(0).standard_normal((80, 6, 7))

    cut = sampled(as_volume(tall), axis=axis)

    assert cut.shape == (32, 6, 7)
    np.testing.assert_array_equal(
        cut.slab(2, 5, axis=axis), as_volume(tall[24:56]).slab(2, 5, axis=axis)
    )
    np.testing.assert_array_equal(cut.slab(3, 9), tall[27:33])
    assert sampled(as_volume(tall), axis="z").shape == tall.shape
