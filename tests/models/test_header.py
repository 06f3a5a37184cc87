from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.volume import Volume, as_volume
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.models.header import ModelSummary, checkpoint_file, read_summary
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.normalisation import Normalisation

SUMMARY = ModelSummary(
    path=Path("best.safetensors"),
    config=TrainConfig().with_changes(axis="y", context_slices=1),
    phases=PhaseTable.named("pore", "NMC"),
    normalisation=Normalisation(low=0.0, high=9.0, mean=5.0, sd=2.0),
    voxel_size=(1000.0, 1000.0, 1000.0),
    unit="nanometer",
)


def image(size: float | None, unit: str | None = "micrometer") -> Volume:
    voxel_size = None if size is None else (size, size, size)
    return replace(as_volume(np.zeros((2, 3, 4))), voxel_size=voxel_size, unit=unit)


def test_summary_of_a_run_folder_is_that_of_its_best_checkpoint(
    tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    row = {"epoch": 2, "validation_mean_iou": 0.5, "validation_iou_3": 0.25}
    checkpoint = replace(make_checkpoint(), history=({"epoch": 1}, row))
    save_checkpoint(tmp_path / "best.safetensors", checkpoint)

    summary = read_summary(tmp_path)

    assert summary == read_summary(tmp_path / "best.safetensors")
    assert summary.path == tmp_path / "best.safetensors"
    assert (summary.config, summary.phases) == (checkpoint.config, checkpoint.phases)
    assert (summary.epoch, summary.mean_iou) == (2, 0.5)
    assert summary.ious == (None, None, 0.25)


def test_network_of_an_unfinished_first_epoch_has_no_scores(
    tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    save_checkpoint(tmp_path / "network.safetensors", make_checkpoint())

    summary = read_summary(tmp_path / "network.safetensors")

    assert (summary.epoch, summary.mean_iou) == (None, None)


def test_folder_without_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"best\.safetensors"):
        read_summary(tmp_path)


def test_file_stands_for_itself(tmp_path: Path) -> None:
    assert checkpoint_file(tmp_path / "a.safetensors") == tmp_path / "a.safetensors"


def test_summary_tells_what_the_network_expects() -> None:
    assert str(SUMMARY) == (
        "pore, NMC; slices across y with 1 neighbour on either side; "
        "trained at 1e+03 nm voxels"
    )


@pytest.mark.parametrize(
    ("size", "unit", "warning"),
    [
        (1.05, "micrometer", ""),
        (2.0, "micrometer", ", but this image has 2 µm voxels: resample it, or"),
        (None, "micrometer", ""),
        (2.0, None, ""),  # of pixels, perhaps
    ],
)
def test_another_voxel_size_is_warned_of(
    size: float | None, unit: str | None, warning: str
) -> None:
    found = SUMMARY.warn_of_voxel_size(image(size, unit))

    assert found.startswith(warning)
    assert bool(found) == bool(warning)
