"""How fractions depend on the size of voxels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.io.volume import as_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import result_of
from napari_lrcs.uncertainty.trust import resolution
from napari_lrcs.uncertainty.trust.resolution import coarsened_fractions

PHASES = PhaseTable.named("pore", "CBD")


def fractions_of(
    labels: Labels, *, mask: NDArray[np.bool_] | None = None
) -> dict[int, list[float]]:
    found = coarsened_fractions(
        as_volume(labels),
        phases=tuple(PHASES),
        mask=None if mask is None else as_volume(mask),
    )
    return {factor: list(shares) for factor, shares in result_of(found).items()}


def test_a_thin_layer_is_lost_in_coarser_voxels() -> None:
    labels = np.ones((8, 8, 8), np.uint8)
    labels[:3] = (
        2  # half of the second layer of 2, and three quarters of the first of 4
    )

    assert fractions_of(labels) == {1: [5 / 8, 3 / 8], 2: [5 / 8, 3 / 8], 4: [0.5, 0.5]}


def test_phases_that_are_equal_in_a_voxel_share_it() -> None:
    labels = np.ones((2, 2, 2), np.uint8)
    labels[0] = 2

    assert fractions_of(labels)[2] == [0.5, 0.5]


def test_a_voxel_counts_as_much_as_it_has_labelled_voxels() -> None:
    labels = np.array([[[1, 1, 2, 0, 2]]], np.uint8)

    # In twos: two of pore, one of CBD, one of CBD. In fours: three of pore, one of CBD.
    assert fractions_of(labels) == {1: [0.5, 0.5], 2: [0.5, 0.5], 4: [0.75, 0.25]}


def test_voxels_outside_the_mask_do_not_count() -> None:
    labels = np.array([[[1, 1, 2, 2]]], np.uint8)
    mask = np.array([[[True, False, True, True]]])

    assert fractions_of(labels, mask=mask)[4] == [0, 1]


def test_slabs_and_bands_give_what_the_whole_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (17, 22, 9), np.uint8)
    whole = fractions_of(labels)

    monkeypatch.setattr(resolution, "slices_at_once", lambda _: 1)
    monkeypatch.setattr(resolution, "_VALUES", 1)

    assert fractions_of(labels) == whole


def test_labels_without_a_voxel_are_refused() -> None:
    with pytest.raises(ValueError, match="no voxel of array is labelled"):
        fractions_of(np.zeros((1, 2, 2), np.uint8))
