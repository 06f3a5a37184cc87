from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.preprocessing.mask import open_mask
from napari_lrcs.preprocessing.neighbours import Resemblance, measure_resemblance

DATA = Path(__file__).parents[3] / "shared" / "data"
RNG = np.random.default_rng(0)
STRUCTURE = ndimage.gaussian_filter(RNG.standard_normal((40, 64, 64)), 3) * 30
SHUFFLED = STRUCTURE[RNG.permutation(40)]
SINGLE = ndimage.gaussian_filter(RNG.standard_normal((10, 64, 64)), (0, 3, 3))


def measured(array: NDArray[np.generic], axis: Axis = "z") -> Resemblance:
    found = measure_resemblance(as_volume(array, name="scan.tif"), axis=axis)
    assert found is not None
    return found


def test_slices_in_order_are_given_neighbours_and_shuffled_ones_are_not() -> None:
    assert measured(STRUCTURE).context_slices == 2
    assert measured(SHUFFLED).context_slices == 0


@pytest.mark.parametrize("scale", [1, 1e-3, 1e3])
def test_grey_levels_in_float16_are_compared_as_others(scale: float) -> None:
    array = (STRUCTURE / np.abs(STRUCTURE).max() * scale).astype(np.float16)

    found = measured(array)

    exact = measured(array.astype(np.float64))
    assert (found.near, found.distant) == (exact.near, exact.distant)
    assert found.context_slices == 2


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_the_axis_of_the_slices_counts(axis: Axis) -> None:
    moved = np.moveaxis(SHUFFLED, 0, "zyx".index(axis))

    assert [a for a in ("z", "y", "x") if not measured(moved, a).is_alike] == [axis]


def test_noise_does_not_hide_that_neighbours_resemble_each_other() -> None:
    noisy = STRUCTURE + RNG.normal(0, 2 * STRUCTURE.std(), STRUCTURE.shape)

    assert measured(noisy).is_alike


def test_what_all_slices_share_does_not_make_neighbours_of_them() -> None:
    edge = np.where(np.arange(64) < 20, 100.0, 0.0)

    shared = measured(SHUFFLED + edge)

    assert shared.near > 0.9
    assert not shared.is_alike
    assert measured(STRUCTURE + edge).is_alike


def test_grey_levels_that_drift_from_slice_to_slice_do_not_count() -> None:
    drift = np.linspace(0, 500, 40)[:, None, None]

    assert measured(STRUCTURE + drift).is_alike
    assert not measured(SHUFFLED + drift).is_alike


@pytest.mark.parametrize("n_slices", [2, 3, 5, 10])
def test_thin_stacks_are_told_apart_too(n_slices: int) -> None:
    assert measured(STRUCTURE[:n_slices]).is_alike
    assert not measured(SINGLE[:n_slices]).is_alike


def test_one_slice_has_no_neighbours() -> None:
    found = measured(STRUCTURE[0])

    assert found.context_slices == 0
    assert found.describe_use(0) == "no neighbours: scan.tif has a single slice"


def test_of_constant_slices_nothing_can_be_told() -> None:
    assert measure_resemblance(as_volume(np.ones((5, 20, 20)))) is None


def test_outside_the_field_of_view_and_where_it_is_nan_nothing_is_compared() -> None:
    cylinder = open_mask("cylinder", shape=SHUFFLED.shape)
    assert cylinder is not None
    inside = cylinder.slab(0, 40)
    patterned = np.where(inside, SHUFFLED, 50 * np.indices((64, 64)).sum(axis=0))

    masked = measure_resemblance(as_volume(patterned), mask=cylinder)
    holed = measured(np.where(inside, SHUFFLED, np.nan))

    assert masked is not None
    assert masked.near == holed.near
    assert not masked.is_alike


def test_few_slices_of_a_large_volume_are_read() -> None:
    read: list[int] = []

    class Large:
        shape = (3000, 4096, 4096)
        dtype = np.dtype(np.uint8)

        def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[np.uint8]:
            z = range(3000)[key[0]]
            read.extend(z)
            plane = np.arange(4096, dtype=np.uint8)
            return np.broadcast_to(plane, (len(z), 4096, 4096))

    measure_resemblance(Volume(array=Large(), name="large"), painted=[700, 900])

    assert len(read) == 4
    assert 700 in read


@pytest.mark.parametrize(
    ("name", "order", "context_slices"),
    [
        ("nmc-electrode", "as they are", 2),
        ("nmc-electrode", "shuffled", 0),
        ("nmc-real-a", "as they are", 0),
        ("nmc-real-c", "as they are", 0),
        ("soc-nickel-ysz", "as they are", 2),
        ("soc-nickel-ysz", "noisy", 2),
        ("isbi-membrane", "as they are", 0),
    ],
)
def test_real_volumes(name: str, order: str, context_slices: int) -> None:
    if not DATA.is_dir():
        pytest.skip("needs the real data")
    array = tifffile.imread(DATA / f"{name}-raw.tif")
    if order == "shuffled":
        array = array[RNG.permutation(len(array))]
    if order == "noisy":
        array = array + RNG.normal(0, 4000, array.shape)

    assert measured(array).context_slices == context_slices


def test_neighbours_that_are_left_out_are_told() -> None:
    found = Resemblance(volume="a.tif", n_slices=5, near=0.97, distant=0.0)

    assert found.describe_use(0).startswith("no neighbours, although neighbouring ")
    assert found.describe_use(2).startswith("2 neighbours on either side: neighb")
