import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import DTypeLike, NDArray
from scipy import ndimage

from napari_lrcs.arrays import GreyImage
from napari_lrcs.config import PreprocessingConfig
from napari_lrcs.preprocessing.filters import apply_filters

PAPER = PreprocessingConfig(median_size=3, unsharp_radius=6.0, unsharp_weight=0.6)


def filter_slabwise(
    config: PreprocessingConfig, volume: NDArray[np.uint16], *, slab: int
) -> GreyImage:
    margin = config.margin
    padded = np.pad(volume, ((margin, margin), (0, 0), (0, 0)), mode="reflect")
    return np.concatenate(
        [
            apply_filters(
                padded[start : min(start + slab, len(volume)) + 2 * margin], config
            )
            for start in range(0, len(volume), slab)
        ]
    )


@given(
    volume=arrays(np.uint16, array_shapes(min_dims=3, max_dims=3, max_side=8)),
    size=st.sampled_from([0, 1, 3, 5]),
    radius=st.sampled_from([0.0, 1.5, 6.0]),
    slab=st.integers(1, 8),
)
def test_filtered_slabs_are_those_of_the_filtered_volume(
    volume: NDArray[np.uint16], size: int, radius: float, slab: int
) -> None:
    config = PreprocessingConfig(median_size=size, unsharp_radius=radius)

    slabwise = filter_slabwise(config, volume, slab=slab)

    whole = filter_slabwise(config, volume, slab=len(volume))
    np.testing.assert_array_equal(slabwise, whole)
    assert slabwise.shape == volume.shape
    assert slabwise.dtype == np.float32


@pytest.mark.parametrize(
    "dtype",
    [
        *(np.uint8, np.int16, np.uint32),
        *(np.float16, np.float32, np.float64, np.longdouble),
    ],
)
@pytest.mark.parametrize("size", [3, 5])
def test_median_is_that_of_the_cube(size: int, dtype: DTypeLike) -> None:
    rng = np.random.default_rng(0)
    volume = rng.integers(0, 100, (6, 9, 11)).astype(dtype)
    margin = size // 2

    filtered = apply_filters(volume, PreprocessingConfig(median_size=size))

    padded = np.pad(
        volume, ((0, 0), (margin, margin), (margin, margin)), mode="reflect"
    )
    cubes = np.lib.stride_tricks.sliding_window_view(padded, (size,) * 3)
    np.testing.assert_array_equal(filtered, np.median(cubes, axis=(3, 4, 5)))


def test_median_of_a_slice_larger_than_its_bands_is_the_same() -> None:
    volume = np.random.default_rng(0).integers(0, 9, (3, 300, 300)).astype(np.uint16)

    filtered = apply_filters(volume, PreprocessingConfig(median_size=3))

    expected = ndimage.median_filter(volume, size=3, mode="mirror")[1:-1]
    np.testing.assert_array_equal(filtered, expected)


def test_unsharp_mask_subtracts_the_weighted_blur_within_slices() -> None:
    volume = np.zeros((2, 31, 31), np.float32)
    volume[0, 15, 15] = 1
    y, x = np.mgrid[-15:16, -15:16]
    blur = np.exp(-(x**2 + y**2) / (2 * 2.0**2))
    blur /= blur.sum()

    sharp = apply_filters(
        volume, PreprocessingConfig(unsharp_radius=2.0, unsharp_weight=0.6)
    )

    expected = (volume[0] - 0.6 * blur) / 0.4
    np.testing.assert_allclose(sharp[0], expected, atol=1e-4)
    np.testing.assert_array_equal(sharp[1], 0)


def test_flat_image_stays_as_it_is_up_to_its_borders() -> None:
    volume = np.full((3, 20, 20), 7, np.uint8)

    np.testing.assert_allclose(apply_filters(volume, PAPER), 7, rtol=1e-5)


def test_no_filter_makes_a_float32_copy() -> None:
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

    filtered = apply_filters(volume, PreprocessingConfig())
    filtered += 1

    np.testing.assert_array_equal(filtered, volume + 1)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 1)])
def test_slices_of_a_pixel_are_filtered(shape: tuple[int, int]) -> None:
    volume = np.full((3, *shape), 5, np.uint16)

    np.testing.assert_allclose(
        apply_filters(volume, PAPER), np.full((1, *shape), 5), rtol=1e-5
    )


@pytest.mark.parametrize(("size", "margin"), [(0, 0), (1, 0), (3, 1), (5, 2)])
def test_margin_is_half_the_median(size: int, margin: int) -> None:
    assert PreprocessingConfig(median_size=size).margin == margin


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("median_size", 4),
        ("median_size", -1),
        ("unsharp_radius", -0.5),
        ("unsharp_radius", float("nan")),
        ("unsharp_weight", 1.0),
        ("unsharp_weight", -0.1),
    ],
)
def test_value_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, got {value}"):
        PreprocessingConfig().with_changes(**{name: value})
