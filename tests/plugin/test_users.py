"""What users of segmentation plugins complain about, a row of tests a complaint.

Gathered from the issue threads of napari, its plugins and other tools. Most are met by
tests that stand with the part they are about (`*` for any ending); here is the rest.

| complaint | tests elsewhere |
|--|--|
| UI freezes | test_workers: what_is_slow_runs_in_the_thread; benchmarks/window.py |
| cannot cancel | train/test_dock: stop_keeps_the_best_*, cancel_*, pause_*; |
| | predict/test_dock: a_cancelled_*; compare/test_dock: stopped_comparison_* |
| closing during work | test_dock: closed_*, docks_of_two_viewers_*; train/test_dock: |
| | closing_*, layers_may_change_*; predict/test_dock: closing_*, image_removed_*, |
| | removing_*; compare/test_dock: dock_closed_*, layer_removed_*; label/test_dock: |
| | closing_*, removed_* |
| progress bars in threads | test_workers: events_arrive_in_order_*, errors_reach_*; |
| | test_dock: our_own_mistakes_* |
| GPU memory | training/test_loop, inference/test_predict: memory_of_the_gpu_* |
| RAM at prediction | predict/test_dock: memory_*, an_image_too_large_*, |
| | some_slices_of_a_large_volume_*; test_large_volume |
| lazy arrays | test_reader: opening_reads_*; predict/test_dock: a_lazy_image_*; |
| | compare/test_dock: differences_read_*; test_layers: no_voxel_is_read_* |
| paint speed | test_painting: two_slices_of_a_lazy_volume_*, stroke_is_on_disk_* |
| scale and units | test_layers: layer_lies_*; test_painting: new_labels_lie_*; |
| | predict/test_dock: layer_lies_*; train/test_dock: training_moves_curves_*; |
| | compare/test_dock: differences_show_* |
| axes, RGB, 2D and 3D | 4D and colour refused: label/test_dock: unfit_image_*, |
| | train/test_dock: images_in_colour_*, predict/test_dock: other_images_*, |
| | compare/test_dock: time_series_*; 2D: test_painting: 2d_image_*, |
| | train/test_dock: an_image_of_one_slice_* |
| labels lost | segment/test_restore: all_is_back_*; label/test_dock: removed_*; |
| | test_painting: strokes_and_undoing_*; predict/test_dock: a_file_that_another_* |
| magicgui pitfalls | test_forms: every_field_*; layers renamed: test_layers: |
| | choice_*, train/test_dock: layers_may_change_*, predict/test_dock: |
| | renamed_layers_* |
| no PyTorch or CUDA | test_workers: pytorch_that_does_not_load_*; train/test_dock: |
| | device_is_told_* |
| pickled models | models/test_checkpoint: pickle_*, file_of_torch_save_* |
| not reproducible | test_same_labels; training/test_loop: resumed_training_* |
| sparse labels | compare/test_dock: shares_of_both_*, target_without_a_stroke_* |
| curves and validation | train/test_dock: curves_*, runs_are_compared_*; |
| | training/test_loop: validation_that_is_missing_* |
| several images | predict/test_dock: more_volumes_* |
| tile seams | models/test_tiles: tiled_equals_untiled |
| model reuse | train/test_dock: a_training_starts_from_*; predict/test_dock: |
| | another_voxel_size_* |
| uncertainty | predict/test_dock: files_hold_confidence_*, confidence_* |
"""

import csv
import gc
import json
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from napari.utils.notifications import notification_manager
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QThread, QThreadPool, QTimer
from qtpy.QtWidgets import QApplication

from napari_lrcs.config import PredictConfig, TrainConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.painting.field_of_view import LAYER
from napari_lrcs.plugin.parts.dock import Dock
from napari_lrcs.plugin.parts.layers.layers import (
    appearance,
    n_slices_of,
    place_of,
    workspace_for,
)
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.predict.place import ZARR
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.plugin.train.preview import PREVIEW_NAME
from napari_lrcs.training.run.folder import RunFolder, list_runs

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

SHAPE = (6, 32, 40)
TRAIN, VALIDATION, VIEWED = 1, 4, 3
"""Slices."""

PHASES = PhaseTable.named("pore", "NMC")
SOON = 2000
"""Milliseconds in which a button takes effect."""

MakeViewer = Callable[..., Viewer]


def stripes(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint8]:
    return np.broadcast_to(np.arange(shape[-1]) // 5 % 2 + 1, shape).astype(np.uint8)


def grey_levels(shape: tuple[int, ...] = SHAPE) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal(shape)
    return (stripes(shape) + 0.1 * noise).astype(np.float32)


def add_scan(viewer: Viewer, data: Any = None, **options: Any) -> tuple[Image, Labels]:
    """Add a volume of stripes, and a painting of two of its slices."""
    data = grey_levels() if data is None else data
    image = viewer.add_image(data, name="scan", **options)
    painted = np.zeros(data.shape, np.uint8)
    slices = painted.reshape(-1, *data.shape[-2:])
    for z in {TRAIN, VALIDATION} if len(slices) > 1 else {0}:
        slices[z] = stripes(data.shape[-2:])
    labels = viewer.add_labels(
        painted, name="painting", **appearance(PHASES), **place_of(image)
    )
    return image, labels


def train_dock(viewer: Viewer, config: TrainConfig) -> TrainDock:
    dock = TrainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Train")
    dock.setup.form.config = config
    image = dock.setup.image_choice.layer
    if image is not None and n_slices_of(image, "z") > 1:
        dock.setup.roles.fields["train"].setText(str(TRAIN))
        dock.setup.roles.fields["validation"].setText(str(VALIDATION))
    return dock


def predict_dock(viewer: Viewer, model: Path) -> PredictDock:
    dock = PredictDock(viewer)
    viewer.window.add_dock_widget(dock, name="Predict")
    dock.setup.model_choice.choose(model)
    return dock


def begin_training(dock: TrainDock, qtbot: QtBot) -> None:
    """Train without end; the first preview is there."""
    dock.setup.form.config = dock.setup.form.config.with_changes(n_epochs=1000)
    dock.buttons.train.click()
    qtbot.waitUntil(lambda: PREVIEW_NAME in dock.viewer.layers)


def end(dock: Dock, qtbot: QtBot, timeout: int = 120_000) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=timeout)


def wait_for_threads(qtbot: QtBot) -> bool:
    pool = QThreadPool.globalInstance()
    assert pool is not None
    ended = bool(pool.waitForDone(SOON))
    qtbot.wait(100)  # what they have told
    return ended


def rows(run: Path) -> int:
    with (run / "history.csv").open(newline="") as file:
        return len(list(csv.DictReader(file)))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def viewer(make_napari_viewer: MakeViewer, qtbot: QtBot) -> Iterator[Viewer]:
    viewer = make_napari_viewer(show=True)
    yield viewer
    viewer.close()
    wait_for_threads(qtbot)


@pytest.fixture
def model(
    make_checkpoint: Callable[..., Any], tiny_config: TrainConfig, tmp_path: Path
) -> Path:
    from napari_lrcs.models.checkpoint import save_checkpoint

    path = tmp_path / "model.safetensors"
    save_checkpoint(path, make_checkpoint(tiny_config, n_phases=2))
    return path


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Predict two slices at a time, and take a while; collects how many."""
    from napari_lrcs.inference.predictor import Predictor

    predict = Predictor.predict
    filled: list[int] = []

    def slowly_predict(
        self: Any, arrays: Any, image: Any, n_slices: int
    ) -> Iterator[Any]:
        filled.append(n_slices)
        time.sleep(0.2)
        yield from predict(self, arrays, image, n_slices)

    monkeypatch.setattr(Predictor, "predict", slowly_predict)
    monkeypatch.setattr("napari_lrcs.inference.geometry._SLAB_SLICES", 2)
    return filled


# ---- UI freezes ----


@pytest.mark.slow
def test_ui_freezes_neither_in_training_nor_in_prediction(
    viewer: Viewer, qtbot: QtBot
) -> None:
    # Loose, as machines that test are: benchmarks/window.py measures what we aim at.
    viewer.open_sample("napari-lrcs", "nmc_electrode")
    image = viewer.layers[0]
    config = TrainConfig().with_changes(
        n_filters=4, n_epochs=1000, patches_per_epoch=32, patch_size=64, device="cpu"
    )
    train = train_dock(viewer, config)
    train.buttons.train.click()
    qtbot.waitUntil(lambda: PREVIEW_NAME in viewer.layers)

    in_training = gaps(qtbot, lambda: train.is_busy, seconds=6)
    train.buttons.stop.click()
    end(train, qtbot)
    (run,) = (run.path for run in list_runs(workspace_for(image).path))
    predict = predict_dock(viewer, run)
    predict.setup.form.config = PredictConfig(device="cpu")
    predict.predict()
    qtbot.waitUntil(lambda: "slice" in predict.progress.text.lower())
    in_prediction = gaps(qtbot, lambda: predict.is_busy, seconds=6)
    predict.stop()
    end(predict, qtbot)

    for found in (in_training, in_prediction):
        assert len(found) > 20
        assert np.percentile(found, 95) < 200
        assert max(found) < 1000


def gaps(qtbot: QtBot, goes_on: Callable[[], bool], *, seconds: float) -> list[float]:
    """Measure the milliseconds between the ticks of a timer that asks for 10."""
    ticks: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(1000 * time.perf_counter()))
    limit = time.monotonic() + seconds
    timer.start(10)
    qtbot.waitUntil(
        lambda: not goes_on() or time.monotonic() > limit, timeout=1000 * 60
    )
    timer.stop()
    return np.diff(ticks).tolist()


# ---- cannot cancel ----


@pytest.mark.slow
@pytest.mark.parametrize("name", ["stop", "cancel"])
def test_cannot_cancel_before_anything_is_learnt(
    name: str, viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    image, _ = add_scan(viewer)
    dock = train_dock(viewer, tiny_config.with_changes(n_epochs=1000))

    dock.buttons.train.click()
    getattr(dock.buttons, name).click()

    end(dock, qtbot)
    assert not list_runs(workspace_for(image).path)
    assert dock.message.startswith(
        {"stop": "Stopped at once", "cancel": "Cancel"}[name]
    )
    assert dock.buttons.train.isVisible()


@pytest.mark.slow
@pytest.mark.parametrize("n_steps", [1, 3], ids=["first epoch", "second epoch"])
def test_failed_fit_never_replaces_the_last_good_model(
    n_steps: int,
    viewer: Viewer,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    from napari_lrcs.training import loop

    image, _ = add_scan(viewer)
    train = train_dock(viewer, tiny_config)
    train.buttons.train.click()
    end(train, qtbot)
    (good,) = (run.path for run in list_runs(workspace_for(image).path))
    predict = predict_dock(viewer, good)
    before = contents(good)
    step = loop._step

    def failing(session: Any) -> None:
        if session.state.step == n_steps:
            raise RuntimeError("CUDA error: unspecified launch failure")
        step(session)

    monkeypatch.setattr(loop, "_step", failing)
    train.buttons.train.click()
    end(train, qtbot)

    assert "CUDA error" in train.message
    assert contents(good) == before
    predict.setup.model_choice.refresh()
    qtbot.wait(300)
    assert predict.setup.model_choice.path == good
    predict.predict()
    end(predict, qtbot)
    assert predict.message.startswith("Done")


# ---- closing during work ----


@pytest.mark.slow
@pytest.mark.parametrize("what", ["dock", "viewer"])
def test_closing_during_work_that_has_hardly_begun(
    what: str, viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    image, _ = add_scan(viewer)
    dock = train_dock(viewer, tiny_config.with_changes(n_epochs=1000))
    qtbot.wait(50)

    dock.buttons.train.click()
    if what == "dock":
        viewer.window.remove_dock_widget(dock)
    else:
        viewer.close()
    del dock

    assert wait_for_threads(qtbot)
    # Nothing is left of it, unless it has learnt something by now.
    for run in workspace_for(image).path.glob("run-*"):
        assert (run / "best.safetensors").is_file()
        assert RunFolder(run).summarise().can_resume


@pytest.mark.slow
def test_closing_during_work_of_a_training_a_second_viewer(
    viewer: Viewer,
    make_napari_viewer: MakeViewer,
    tiny_config: TrainConfig,
    qtbot: QtBot,
) -> None:
    image, _ = add_scan(viewer)
    dock = train_dock(viewer, tiny_config)
    begin_training(dock, qtbot)
    (run,) = (run.path for run in list_runs(workspace_for(image).path))

    second = make_napari_viewer(show=True)
    add_scan(second)
    train_dock(second, tiny_config)
    qtbot.wait(100)
    second.close()
    before = rows(run)

    qtbot.waitUntil(lambda: rows(run) > before + 2)
    assert dock.is_busy
    dock.buttons.stop.click()
    end(dock, qtbot, SOON)
    assert RunFolder(run).summarise().can_resume


def test_closing_during_work_of_a_prediction_a_second_viewer(
    viewer: Viewer,
    make_napari_viewer: MakeViewer,
    model: Path,
    slowly: list[int],
    qtbot: QtBot,
) -> None:
    viewer.add_image(grey_levels(), name="scan")
    dock = predict_dock(viewer, model)
    dock.predict()
    qtbot.waitUntil(lambda: bool(slowly))

    second = make_napari_viewer(show=True)
    second.add_image(grey_levels(), name="scan")
    predict_dock(second, model)
    qtbot.wait(50)
    second.close()

    end(dock, qtbot)
    assert dock.message.startswith("Done")
    assert np.asarray(viewer.layers["scan prediction"].data).all()


def test_closing_during_work_of_a_prediction_its_mask_layer(
    viewer: Viewer, model: Path, slowly: list[int], qtbot: QtBot
) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 8:24] = 1
    viewer.add_image(grey_levels(), name="scan")
    viewer.add_labels(mask, name="mask")
    dock = predict_dock(viewer, model)
    dock.setup.field_of_view.kind.setCurrentText(LAYER)
    dock.predict()
    qtbot.waitUntil(lambda: bool(slowly))

    viewer.layers.remove("mask")

    end(dock, qtbot)
    assert dock.message.startswith("Done")
    filled = np.asarray(viewer.layers["scan prediction"].data) > 0
    np.testing.assert_array_equal(filled, mask > 0)


def test_closing_during_work_leaves_a_prediction_to_be_continued(
    viewer: Viewer,
    make_napari_viewer: MakeViewer,
    model: Path,
    slowly: list[int],
    qtbot: QtBot,
) -> None:
    data = grey_levels((20, 32, 40))
    viewer.add_image(data, name="scan")
    dock = predict_dock(viewer, model)
    dock.setup.where.setCurrentText(ZARR)
    dock.predict()
    qtbot.waitUntil(lambda: sum(slowly) >= 8)
    viewer.close()
    assert wait_for_threads(qtbot)
    slowly.clear()

    again = make_napari_viewer(show=True)
    again.add_image(data, name="scan")
    dock = predict_dock(again, model)
    dock.setup.where.setCurrentText(ZARR)
    offer = dock.setup.place.unfinished
    qtbot.waitUntil(lambda: offer.text() == "Continue segmentation-1.zarr")
    offer.click()
    dock.predict()
    end(dock, qtbot)

    assert dock.message.startswith("Done")
    assert not offer.isVisible()
    assert 0 < sum(slowly) <= 16  # what was done was not done again
    assert np.asarray(again.layers["scan prediction"].data).all()


WORK_AND_CLOSE = """
import json, os, re, sys
import napari, numpy as np
from qtpy.QtCore import QSettings, QTimer

os.environ["XDG_DATA_HOME"] = "data"
QSettings.setPath(
    QSettings.Format.IniFormat, QSettings.Scope.UserScope, os.path.abspath("config")
)
from napari_lrcs.config import TrainConfig
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.train.dock import TrainDock

work, way = sys.argv[1:]
viewer = napari.Viewer()
viewer.open("scan.npy", plugin="napari")
viewer.add_labels(np.load("labels.npy"), name="painting")
if work == "train":
    dock = TrainDock(viewer)
    dock.setup.form.config = TrainConfig.from_dict(json.load(open("config.json")))
    dock.setup.roles.fields["train"].setText("1")
    dock.setup.roles.fields["validation"].setText("4")
    begin = dock.buttons.train.click
else:
    from pathlib import Path
    dock = PredictDock(viewer)
    dock.setup.model_choice.choose(Path("model.safetensors"))
    dock.setup.form["tile_size"].value = 8  # which takes long
    dock.setup.place.choose_file(Path("out.zarr").absolute())
    begin = dock.predict
viewer.window.add_dock_widget(dock)
QTimer.singleShot(300, begin)
least = {"train": 2, "predict": 40}[work]  # epochs, slices: more than a slab of 16

def close():
    found = re.search(r"(\\d+) of", dock.progress.text)
    if len(viewer.layers) < 3 or found is None or int(found[1]) < least:
        return
    timer.stop()
    print("closing", flush=True)
    # As the keys Ctrl+W and Ctrl+Q do once their question is answered.
    viewer.close() if way == "close" else viewer.window._qt_window.close(quit_app=True)

timer = QTimer()
timer.timeout.connect(close)
timer.start(20)
napari.run()
print("over", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["close", "quit"])
def test_closing_during_work_lets_napari_quit_and_the_training_go_on_later(
    way: str,
    viewer: Viewer,
    tiny_config: TrainConfig,
    tmp_path: Path,
    qtbot: QtBot,
) -> None:
    config = tiny_config.with_changes(n_epochs=1000)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))

    work_and_close("train", way, tmp_path)

    (run,) = (tmp_path / "scan.lrcs").glob("run-*")
    n_done = rows(run)
    assert RunFolder(run).summarise().can_resume
    assert (run / "best.safetensors").is_file()
    viewer.open(tmp_path / "scan.npy", plugin="napari")
    viewer.add_labels(np.load(tmp_path / "labels.npy"), name="painting")
    dock = train_dock(viewer, config)
    dock.continue_run(run)
    qtbot.waitUntil(lambda: rows(run) > n_done)
    dock.buttons.stop.click()
    end(dock, qtbot, SOON)


@pytest.mark.slow
@pytest.mark.usefixtures("model")
def test_closing_during_work_lets_napari_quit_and_keeps_what_is_predicted(
    tmp_path: Path,
) -> None:
    work_and_close("predict", "quit", tmp_path, shape=(400, 32, 40))

    assert (tmp_path / "out.zarr.partial" / "done.txt").stat().st_size
    assert not (tmp_path / "out.zarr").exists()


def work_and_close(
    work: str, way: str, folder: Path, shape: tuple[int, int, int] = SHAPE
) -> None:
    """Close napari in a process of its own, which must end soon and in peace."""
    painted = np.zeros(shape, np.uint8)
    painted[[TRAIN, VALIDATION]] = stripes(shape[1:])
    np.save(folder / "scan.npy", grey_levels(shape))
    np.save(folder / "labels.npy", painted)
    command = [sys.executable, "-X", "faulthandler", "-c", WORK_AND_CLOSE, work, way]
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        try:
            out, errors = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert (first, out) == ("closing\n", "over\n"), errors
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert "QThread" not in errors


# ---- progress bars in threads ----


@pytest.mark.slow
def test_progress_bars_in_threads_meet_no_warning(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    # Warnings are errors in tests, and would be told by the dock.
    data = grey_levels()
    data[5], data[0, :3] = np.nan, 3e38  # beyond what is trained on
    add_scan(viewer, data, contrast_limits=(0, 3))
    dock = train_dock(viewer, tiny_config)
    viewer.dims.set_current_step(0, 5)

    dock.buttons.train.click()
    end(dock, qtbot)

    assert dock.message.startswith("Done")
    assert any("no preview" in text for text in dock.notices.texts)


def test_progress_bars_in_threads_notify_on_the_gui_thread(
    viewer: Viewer, model: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("napari_lrcs.inference.predictor.Predictor.predict", fail)
    application = QApplication.instance()
    assert application is not None
    told: list[bool] = []

    def note(_: object) -> None:
        told.append(QThread.currentThread() == application.thread())

    notification_manager.notification_ready.connect(note)
    viewer.add_image(grey_levels(), name="scan")
    dock = predict_dock(viewer, model)

    dock.predict()
    end(dock, qtbot)

    notification_manager.notification_ready.disconnect(note)
    assert told == [True]
    assert "a bug" in dock.message


# ---- GPU memory ----


def raise_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let memory run out in the first batch of more than one patch or slice."""
    import torch

    from napari_lrcs.models.lrcsnet import LRCSNet

    logits = LRCSNet.logits
    raised: list[int] = []

    def limited(self: Any, x: Any) -> Any:
        if len(x) > 1 and not raised:
            raised.append(len(x))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return logits(self, x)

    monkeypatch.setattr(LRCSNet, "logits", limited)


@pytest.mark.slow
def test_out_of_memory_in_training_is_told_in_words(
    viewer: Viewer,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    raise_once(monkeypatch)
    add_scan(viewer)
    dock = train_dock(viewer, tiny_config)

    dock.buttons.train.click()
    end(dock, qtbot)

    assert dock.message.startswith("Done")
    assert "Out of memory on cpu: each batch of 4 is now" in dock.notices.text()
    assert "Tried to allocate" not in dock.notices.text()


def test_out_of_memory_in_prediction_is_told_in_words(
    viewer: Viewer, model: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    raise_once(monkeypatch)
    viewer.add_image(grey_levels(), name="scan")
    dock = predict_dock(viewer, model)

    dock.predict()
    end(dock, qtbot)

    assert dock.message.startswith("Done")
    assert "Out of memory on cpu; continuing with tiles" in dock.notices.text()
    assert np.asarray(viewer.layers["scan prediction"].data).all()


@pytest.mark.slow
def test_out_of_memory_for_a_single_patch_says_what_to_do(
    viewer: Viewer,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    import torch

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("napari_lrcs.models.lrcsnet.LRCSNet.logits", fail)
    add_scan(viewer)
    dock = train_dock(viewer, tiny_config)

    dock.buttons.train.click()
    end(dock, qtbot)

    assert "use smaller patches, fewer filters or another device" in dock.message
    assert dock.buttons.train.isVisible()


@pytest.mark.gpu
@pytest.mark.slow
def test_cuda_memory_is_released(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    image, _ = add_scan(viewer)
    config = tiny_config.with_changes(device="cuda", precision="auto")
    gc.collect()
    before = torch.cuda.memory_allocated()

    train = train_dock(viewer, config)
    begin_training(train, qtbot)
    train.buttons.stop.click()
    end(train, qtbot, SOON)
    predict = predict_dock(viewer, list_runs(workspace_for(image).path)[0].path)
    predict.setup.form.config = PredictConfig(device="cuda")
    predict.predict()
    end(predict, qtbot)

    gc.collect()
    assert predict.message.startswith("Done")
    assert torch.cuda.memory_allocated() == before


# ---- RAM ----


@pytest.mark.slow
@pytest.mark.parametrize("work", ["train", "predict"])
def test_ram_of_an_image_is_released_with_its_layer(
    work: str, viewer: Viewer, tiny_config: TrainConfig, model: Path, qtbot: QtBot
) -> None:
    data = grey_levels()
    viewer.add_image(np.zeros(SHAPE), name="other")
    add_scan(viewer, data)
    image = weakref.ref(data)
    del data
    if work == "train":
        dock: Any = train_dock(viewer, tiny_config)
        dock.setup.image_choice.setCurrentText("scan")
        dock.buttons.train.click()
    else:
        dock = predict_dock(viewer, model)
        dock.setup.image_choice.setCurrentText("scan")
        dock.predict()
    end(dock, qtbot)
    assert dock.message.startswith("Done")

    viewer.layers.remove("scan")
    viewer.layers.remove("painting")
    qtbot.wait(200)
    gc.collect()

    assert image() is None, [type(r) for r in gc.get_referrers(image())]


# ---- lazy arrays ----


@pytest.mark.slow
def test_lazy_arrays_are_read_only_where_they_are_painted_or_viewed(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    data = grey_levels()
    read: set[int] = set()

    def plane(block_info: Any = None) -> Any:
        z = block_info[None]["array-location"][0][0]
        read.add(z)
        return data[z : z + 1]

    lazy = da.map_blocks(
        plane,
        chunks=((1,) * SHAPE[0], *((n,) for n in SHAPE[1:])),
        dtype=data.dtype,
        meta=data[:0],
    )
    add_scan(viewer, lazy, contrast_limits=(0, 3))
    dock = train_dock(viewer, tiny_config)
    viewer.dims.set_current_step(0, VIEWED)
    # Some slices are compared with their neighbours when the dock opens.
    qtbot.waitUntil(lambda: bool(dock.setup.training.context.text()))
    qtbot.wait(100)
    read.clear()

    dock.buttons.train.click()
    end(dock, qtbot)

    assert dock.message.startswith("Done")
    assert read == {TRAIN, VALIDATION, VIEWED}


# ---- scale and units ----


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "place"),
    [
        (SHAPE, {"shear": (0.1, 0.2, 0.3), "units": ("um",) * 3}),
        (SHAPE, {"scale": (2, 0.5, 0.5), "axis_labels": ("z", "y", "x")}),
        (SHAPE[1:], {"scale": (0.5, 0.5), "rotate": 10, "units": ("nm",) * 2}),
        ((1, *SHAPE), {"scale": (3, 2, 1, 1)}),
    ],
    ids=["shear", "anisotropic", "2D", "leading axis"],
)
def test_scale_and_units_of_the_preview_are_those_of_the_image(
    shape: tuple[int, ...],
    place: dict[str, Any],
    viewer: Viewer,
    tiny_config: TrainConfig,
    qtbot: QtBot,
) -> None:
    image, _ = add_scan(viewer, grey_levels(shape), **place)
    dock = train_dock(viewer, tiny_config.with_changes(n_epochs=1))

    dock.buttons.train.click()
    end(dock, qtbot)

    assert dock.message.startswith("Done")
    preview = viewer.layers[PREVIEW_NAME]
    assert preview.data.shape == shape
    for name, value in place_of(image).items():
        np.testing.assert_array_equal(place_of(preview)[name], value, err_msg=name)


# ---- labels lost ----


@pytest.mark.slow
def test_labels_are_not_lost_to_what_a_network_predicts(
    viewer: Viewer, tiny_config: TrainConfig, model: Path, qtbot: QtBot
) -> None:
    _, painting = add_scan(viewer)
    viewer.layers.selection.active = painting
    train, predict = train_dock(viewer, tiny_config), predict_dock(viewer, model)
    begin_training(train, qtbot)

    painting.data_setitem(tuple(np.array([i]) for i in (2, 3, 4)), 2)  # meanwhile
    before = painting.data.copy()
    predict.predict()
    end(predict, qtbot)
    train.buttons.stop.click()
    end(train, qtbot, SOON)

    np.testing.assert_array_equal(painting.data, before)
    assert viewer.layers.selection.active is painting
    painting.undo()
    assert painting.data[2, 3, 4] == 0


# ---- magicgui pitfalls ----


@pytest.mark.slow
def test_fields_reach_the_config_of_the_run(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    image, _ = add_scan(viewer)
    dock = train_dock(viewer, TrainConfig())
    wanted = {
        **tiny_config.to_dict(),
        "kernel_size": 5,
        "n_bottleneck_convs": 1,
        "skip_connections": False,
        "filter_scales": 1,
        "context_slices": 1,
        "median_size": 3,
        "unsharp_radius": 2.0,
        "unsharp_weight": 0.25,
        "loss": "dice",
        "schedule": "step",
        "phase_weights": (1.0, 2.0),
        "learning_rate": 2e-3,
        "balance": 0.25,
        "decay_ratio": 0.5,
        "weight_averaging": 0.5,
        "patience": 3,
        "seed": 7,
        "deterministic": True,
        "rotation": 5.0,
        "scaling": 0.1,
        "elastic": 1.0,
        "warp_share": 0.25,
        "gain": 0.2,
        "offset": 0.2,
        "gamma": 0.2,
        "noise": 0.2,
        "blur": 0.5,
        "coloured_noise": 0.2,
        "rings": 0.2,
        "model": "unet",
    }
    default = TrainConfig().to_dict()
    assert {name for name in default if wanted[name] == default[name]} == {"axis"}

    for name, value in wanted.items():
        is_tuple = isinstance(value, tuple)
        dock.setup.form[name].value = ", ".join(map(str, value)) if is_tuple else value
    dock.buttons.train.click()
    end(dock, qtbot)

    (run,) = (run.path for run in list_runs(workspace_for(image).path))
    assert RunFolder(run).read_config() == TrainConfig.from_dict(wanted)


def test_fields_reach_the_config_of_the_prediction(
    viewer: Viewer, model: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    asked: list[PredictConfig] = []

    def capture(*_: object, config: PredictConfig, **__: object) -> Iterator[None]:
        asked.append(config)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.inference.spread.predict_volume", capture)
    viewer.add_image(grey_levels(), name="scan")
    dock = predict_dock(viewer, model)
    wanted = {
        "device": "cpu",
        "precision": "float32",
        "tile_size": 64,
        "memory": 100,
        "average_turns": True,
        "min_size": 5,
    }
    assert wanted.keys() == {f.name for f in fields(PredictConfig)}

    for name, value in wanted.items():
        dock.setup.form[name].value = value
    dock.predict()
    end(dock, qtbot)

    assert asked == [PredictConfig.from_dict(wanted)]


# ---- no PyTorch ----


@pytest.mark.parametrize("work", ["train", "predict"])
def test_no_pytorch_is_told_by_the_dock(
    work: str,
    viewer: Viewer,
    tiny_config: TrainConfig,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    def refuse() -> None:
        raise LrcsError("PyTorch is not installed; install it: pip install torch")

    monkeypatch.setattr(f"napari_lrcs.plugin.{work}.job.load_torch", refuse)
    image, _ = add_scan(viewer)
    if work == "train":
        dock: Any = train_dock(viewer, tiny_config)
        dock.buttons.train.click()
    else:
        dock = predict_dock(viewer, model)
        dock.predict()
    end(dock, qtbot)

    assert "pip install torch" in dock.message
    assert not list_runs(workspace_for(image).path)
    assert [layer.name for layer in viewer.layers] == ["scan", "painting"]
