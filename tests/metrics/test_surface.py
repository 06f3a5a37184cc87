import math
from functools import reduce
from operator import add

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from napari_lrcs.arrays import Labels
from napari_lrcs.metrics import surface
from napari_lrcs.metrics.surface import surface_area, surface_area_slabs

SIZE = (0.3, 0.2, 0.1)


def electrode(shape: tuple[int, ...] = (21, 20, 24)) -> Labels:
    """Make three phases with smooth surfaces."""
    field = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    phase = 1 + np.digitize(field, np.quantile(field, [0.4, 0.7]))
    return phase.astype(np.uint8)


def ball(radius: int) -> Labels:
    z, y, x = np.ogrid[-12:13, -12:13, -12:13]
    inside: NDArray[np.bool_] = z**2 + y**2 + x**2 <= radius**2
    return inside.astype(np.uint8) + np.uint8(1)


def test_flat_interface_has_the_area_of_its_cross_section() -> None:
    labels = np.ones((6, 8, 10), np.uint8)
    labels[:, :3] = 2

    found = surface_area(labels, phases=[1, 2], voxel_size=SIZE)

    # One cut through a length of 8 voxels of 0.2.
    np.testing.assert_allclose(found.per_volume, 1 / (8 * 0.2), rtol=1e-6)


def test_ball_has_the_area_of_a_sphere_not_that_of_its_steps() -> None:
    found = surface_area(ball(10), phases=[1, 2], voxel_size=(2, 2, 2))

    expected = 4 * math.pi * 20**2 / (25 * 2) ** 3
    np.testing.assert_allclose(found.per_volume, expected, rtol=0.02)


def test_areas_are_those_of_taufactor() -> None:
    taufactor = pytest.importorskip("taufactor.metrics", reason="needs transport")
    labels = electrode()
    theirs = taufactor.specific_surface_area(labels, spacing=SIZE, device="cpu")

    found = surface_area(labels, phases=[1, 2, 3], voxel_size=SIZE)

    np.testing.assert_allclose(
        found.per_volume, [theirs[str(phase)] for phase in (1, 2, 3)], rtol=1e-5
    )


@pytest.mark.parametrize("slab", [1, 2, 7, 21])
def test_slabs_add_up_to_the_whole(slab: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = electrode()
    labels[:, 3:5] = 0
    whole = surface_area(labels, phases=[1, 2, 3], voxel_size=SIZE)
    monkeypatch.setattr(surface, "_BLOCK", 1000)  # several rows at once

    slabs = surface_area_slabs(
        lambda start, stop: labels[start:stop],
        n_slices=len(labels),
        phases=[1, 2, 3],
        voxel_size=SIZE,
        slab=slab,
    )

    total = reduce(add, slabs)
    np.testing.assert_allclose(total.area, whole.area, rtol=1e-6)
    assert total.n_labelled == whole.n_labelled == np.count_nonzero(labels)


def test_unpainted_voxels_and_the_border_are_no_surface() -> None:
    labels = ball(12)
    labels[labels == 1] = 0

    found = surface_area(labels, phases=[1, 2])

    assert found.area.tolist() == [0, 0]


def test_slice_is_measured_in_2d_as_a_stack_of_its_copies() -> None:
    labels = electrode()[3:4]

    flat = surface_area(labels, phases=[1, 2, 3], voxel_size=SIZE)
    stack = surface_area(np.repeat(labels, 5, 0), phases=[1, 2, 3], voxel_size=SIZE)

    np.testing.assert_allclose(flat.per_volume, stack.per_volume, rtol=1e-5)


def test_nothing_labelled_has_no_area_per_volume() -> None:
    found = surface_area(np.zeros((2, 3, 4), np.uint8), phases=[1])

    assert np.isnan(found.per_volume).all()
