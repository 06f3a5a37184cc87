import json
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread

from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.comparison.evaluate import evaluate_volume
from napari_lrcs.config import TrainConfig
from napari_lrcs.demo import TEST_SLICES, DemoEnded, run_demo
from napari_lrcs.errors import ResultExistsError
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.metrics.overlap import scores_dict
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.progress import EpochEnded, PredictionEnded, TrainingEnded

SHORT = TrainConfig().with_changes(
    n_filters=2, n_epochs=2, patches_per_epoch=16, patch_size=64, device="cpu"
)


@pytest.mark.slow
def test_what_the_demo_leaves_is_whole_and_agrees(tmp_path: Path) -> None:
    out = tmp_path / "demo"

    events = list(run_demo(out, config=SHORT))

    ended = events[-1]
    assert isinstance(ended, DemoEnded)
    kinds = [type(event) for event in events]
    (trained,) = [event for event in events if isinstance(event, TrainingEnded)]
    assert trained.best == out / "run" / "best.safetensors"
    assert kinds.count(EpochEnded) == 2
    assert kinds.index(TrainingEnded) < kinds.index(PredictionEnded)
    assert {file.name for file in out.iterdir()} == {
        *("volume.tif", "labels.tif", "run", "segmentation.tif", "scores.json"),
        "figure.png",
    }
    assert (ended.run, ended.segmentation) == (out / "run", out / "segmentation.tif")
    check_volumes(out)
    check_scores(out, ended)
    check_figure(ended.figure)


def check_volumes(out: Path) -> None:
    phantom = electrode_phantom()
    for name, array in (("volume", phantom.volume), ("labels", phantom.labels)):
        np.testing.assert_array_equal(tifffile.imread(out / f"{name}.tif"), array)
    for name in ("volume", "labels", "segmentation"):
        volume = open_volume(out / f"{name}.tif")
        assert volume.shape == phantom.volume.shape
        assert volume.voxel_size == pytest.approx(phantom.voxel_size)
        assert volume.unit == "micrometer"
        assert volume.phases == (None if name == "volume" else ELECTRODE)


def check_scores(out: Path, ended: DemoEnded) -> None:
    predicted, target = (
        open_labels(out / f"{name}.tif") for name in ("segmentation", "labels")
    )
    confusion = evaluate_volume(
        predicted, target, phases=ELECTRODE, slices=range(*TEST_SLICES)
    )
    assert ended.scores == scores_dict(confusion, ELECTRODE)
    saved = (out / "scores.json").read_text(encoding="utf-8")
    assert json.loads(saved) == ended.scores
    assert np.all(predicted.slab(0, 64) > 0)
    assert load_checkpoint(out / "run").phases == ELECTRODE


def check_figure(figure: Path) -> None:
    height, width, _ = imread(figure).shape
    assert width > 1200
    assert height > 600
    assert figure.stat().st_size > 100_000


def test_a_folder_that_is_there_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "napari_lrcs.demo.electrode_phantom", lambda: pytest.fail("made a phantom")
    )

    with pytest.raises(ResultExistsError, match="exists already"):
        next(run_demo(tmp_path))


@pytest.mark.usefixtures("small_phantom")
def test_a_demo_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    events = run_demo(tmp_path / "demo", config=SHORT)
    assert isinstance(events, Generator)

    while not isinstance(next(events), EpochEnded):
        pass
    events.close()

    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_phantom")
def test_a_config_that_does_not_fit_leaves_no_folder(tmp_path: Path) -> None:
    config = TrainConfig().with_changes(device="cpu", phase_weights=(1.0, 2.0))

    with pytest.raises(ValueError, match="must be 3 numbers"):
        next(run_demo(tmp_path / "demo", config=config))

    assert not list(tmp_path.iterdir())
