from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.config import Axis, TrainConfig
from napari_lrcs.inference.painting.fill import (
    Filled,
    SliceToFill,
    fill_by_baseline,
    fill_by_network,
)
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.phases import PhaseTable

pytestmark = pytest.mark.usefixtures("one_thread")

GREY = np.random.default_rng(0).normal(size=(3, 32, 40)).astype(np.float32)


def slice_to_fill(*phases: str, axis: Axis = "z", painted: int = 0) -> SliceToFill:
    """Make the middle slice, whose first row is painted."""
    labels = np.zeros(GREY.shape[1:], np.uint8)
    labels[0] = painted
    return SliceToFill(
        image=as_volume(GREY),
        axis=axis,
        index=1,
        labels=labels,
        phases=PhaseTable.named(*phases),
        mask=None,
        only_unpainted=True,
        painting=as_labels(as_volume(np.zeros(GREY.shape, np.uint8))),
        learnt=(),
    )


@pytest.fixture
def model(tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", make_checkpoint())
    return tmp_path / "model.safetensors"


def test_network_fills_with_the_labels_of_its_names(
    model: Path, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    target = slice_to_fill("phase 2", "phase 1", "phase 3", painted=3)

    *_, filled = fill_by_network(target, model=model)

    found = np.zeros(target.image.shape, np.uint8)
    result = MemoryResult(labels=found)
    list(predict_volume(target.image, make_checkpoint(), result=result, slices=[1]))
    expected = np.array([0, 2, 1, 3], np.uint8)[found[1]]
    expected[0] = 3  # as painted
    assert isinstance(filled, Filled)
    np.testing.assert_array_equal(filled.labels, expected)
    assert len(np.unique(expected)) > 1


def test_network_of_unknown_phases_is_refused(model: Path) -> None:
    events = fill_by_network(slice_to_fill("phase 2", "pore"), model=model)

    with pytest.raises(ValueError, match="the painting has no phase 1, no phase 3"):
        list(events)


def test_network_of_another_axis_is_refused(
    model: Path, make_checkpoint: Callable[..., Checkpoint], tiny_config: TrainConfig
) -> None:
    save_checkpoint(model, make_checkpoint(tiny_config.with_changes(axis="x")))

    with pytest.raises(ValueError, match="across x, the painting's lie across z"):
        list(fill_by_network(slice_to_fill("dark", "bright"), model=model))


def test_baseline_fills_what_is_unpainted() -> None:
    target = slice_to_fill("dark", "bright", painted=1)

    (filled,) = fill_by_baseline(target, target.task("otsu", None))

    assert (filled.labels[0] == 1).all()
    assert set(np.unique(filled.labels[1:])) == {1, 2}


def test_forest_that_has_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="learns from what you paint"):
        slice_to_fill("dark", "bright").task("forest", None)


def test_what_is_painted_meanwhile_stays() -> None:
    target = slice_to_fill("dark", "bright")
    filled = target.filled(np.full_like(target.labels, 2))
    current = target.labels.copy()
    current[3] = 1

    merged = filled.merged(current)

    assert (merged[3] == 1).all()
    assert (np.delete(merged, 3, axis=0) == 2).all()
