import tracemalloc

import numpy as np
import pytest

from napari_lrcs.classical.specks import remove_specks_slabwise
from napari_lrcs.config import Axis
from napari_lrcs.inference import estimate
from napari_lrcs.inference.estimate import check_memory, fits_memory, memory_needed
from napari_lrcs.inference.results.cleaning import COPY_SLICES

SHAPE = (10, 20, 30)


@pytest.mark.parametrize(
    ("n_slices", "axis", "confidence", "needed"),
    [
        (None, "z", False, 6000),
        (None, "z", True, 12000),
        (3, "z", False, 1800),
        (3, "y", False, 900),
        (3, "x", True, 1200),
    ],
)
def test_a_byte_a_predicted_voxel_and_another_for_its_confidence(
    n_slices: int | None, axis: Axis, confidence: bool, needed: int
) -> None:
    assert (
        memory_needed(SHAPE, n_slices=n_slices, axis=axis, confidence=confidence)
        == needed
    )


def test_removing_specks_is_estimated_from_above() -> None:
    shape = (40, 64, 64)
    labels = np.random.default_rng(0).integers(1, 4, shape).astype(np.uint8)
    tracemalloc.start()

    for _ in remove_specks_slabwise(
        lambda start, stop: labels[start:stop],
        n_slices=len(labels),
        min_size=4,
        slab=COPY_SLICES,
    ):
        pass

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    extra = memory_needed(shape, min_size=4) - memory_needed(shape)
    assert 0.3 * extra < peak < 3 * extra


def test_what_does_not_fit_is_refused_with_both_amounts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "free_memory", lambda: 8 * 2**30)

    with pytest.raises(
        MemoryError, match=r"needs 7\.5 GiB .* 8\.0 GiB .* predict to OME-Zarr"
    ):
        check_memory(8_000_000_000)


def test_half_of_the_free_memory_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "free_memory", lambda: 2000)

    check_memory(1000)
    assert fits_memory(1000)
    assert not fits_memory(1001)


def test_free_memory_is_that_of_this_machine() -> None:
    assert estimate.free_memory() > 2**20
