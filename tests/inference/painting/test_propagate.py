"""What a network propagates, by hand."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.annotation.check_patches import Check, CheckDesign, CheckPatch
from napari_lrcs.inference.painting.fill import SliceToFill, fill_by_network
from napari_lrcs.inference.painting.propagate import Propagated, propagate
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import TilePredicted

pytestmark = pytest.mark.usefixtures("one_thread")

GREY = np.random.default_rng(0).normal(size=(3, 32, 40)).astype(np.float32)
CHECK = Check(
    design=CheckDesign(shape=GREY.shape, size=8),
    patches=(CheckPatch(z=1, y=8, x=16, height=8, width=8),),
    drawn_at=datetime(2026, 1, 1, tzinfo=UTC),
    segmentation="segmentation-1",
    n_voxels=3840,
)


def target(index: int) -> SliceToFill:
    """Make a slice whose first row is painted with phase 3."""
    labels = np.zeros(GREY.shape[1:], np.uint8)
    labels[0] = 3
    return SliceToFill(
        image=as_volume(GREY),
        axis="z",
        index=index,
        labels=labels,
        phases=PhaseTable.named("phase 2", "phase 1", "phase 3"),
        mask=None,
        only_unpainted=True,
        painting=as_labels(as_volume(np.zeros(GREY.shape, np.uint8))),
        learnt=(),
        checks=(CHECK,),
    )


def test_all_but_paint_and_check_patches_is_filled_as_the_network_predicts(
    tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    model = tmp_path / "model.safetensors"
    save_checkpoint(model, make_checkpoint())

    *events, last = propagate([target(0), target(1)], model=model)

    assert isinstance(last, Propagated)
    first, second = last.slices
    assert (first.index, second.index) == (0, 1)
    *_, filled = fill_by_network(replace(target(1), checks=()), model=model)
    expected = filled.labels.copy()  # type: ignore[union-attr]
    expected[7:17, 15:25] = 0  # the patch and its margin
    np.testing.assert_array_equal(second.labels, expected)
    assert (first.labels > 0).all()  # no patch lies in it
    assert (first.labels[0] == 3).all()
    shares = [e.n_done / e.n_slices for e in events if isinstance(e, TilePredicted)]
    assert shares == [0, 0.5, 0.5, 1]
