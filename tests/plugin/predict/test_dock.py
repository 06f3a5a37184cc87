"""The dock Predict volume, in a real window with a tiny network."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Image, Labels
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QComboBox
from superqt.utils import ensure_main_thread

from napari_lrcs.annotation.project_file import ProjectFile
from napari_lrcs.config import PredictConfig, TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.inference import estimate
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.formats.pyramid import levels_of
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.volume import as_volume
from napari_lrcs.models.trained_on import TrainedOn, grey_quantiles
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.painting.field_of_view import ABOUT_Z, EVERYTHING, LAYER
from napari_lrcs.plugin.parts.layers.layers import (
    labels_of,
    phases_shown,
    place_of,
    workspace_for,
)
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.predict.place import MEMORY, TIFF, ZARR
from napari_lrcs.plugin.predict.setup import RANGE, THIS

pytestmark = pytest.mark.gui

SHAPE = (8, 24, 32)


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """Two slices a slab, so that there is something to interrupt."""
    del one_thread
    monkeypatch.setattr("napari_lrcs.inference.geometry._SLAB_SLICES", 2)


@pytest.fixture
def grey() -> Any:
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def checkpoint(make_checkpoint: Callable[..., Any]) -> Any:
    return make_checkpoint()


@pytest.fixture
def model(checkpoint: Any, tmp_path: Path) -> Path:
    from napari_lrcs.models.checkpoint import save_checkpoint

    path = tmp_path / "model.safetensors"
    save_checkpoint(path, checkpoint)
    return path


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Viewer:
    viewer = make_napari_viewer(show=True)
    qtbot.wait(50)
    return viewer


@pytest.fixture
def make_dock(
    viewer: Viewer, model: Path, qtbot: QtBot
) -> Iterator[Callable[..., PredictDock]]:
    def make(data: Any, **options: Any) -> PredictDock:
        viewer.add_image(data, name="scan", **options)
        dock = PredictDock(viewer)
        viewer.window.add_dock_widget(dock, name="Predict volume")
        dock.setup.model_choice.choose(model)
        docks.append(dock)
        return dock

    docks: list[PredictDock] = []
    yield make
    for dock in docks:
        dock.stop()
        wait_for_thread(dock, qtbot)
    docks.clear()


def wait_for_thread(dock: PredictDock, qtbot: QtBot) -> None:
    """Wait until the job has ended, also where its dock is gone."""
    job = dock.job
    qtbot.waitUntil(lambda: job is None or not job.is_running, timeout=2000)


def finish(dock: PredictDock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy)


def predict(dock: PredictDock, qtbot: QtBot) -> Labels:
    """Press the button, wait, and return the new layer."""
    dock.predict()
    finish(dock, qtbot)
    assert dock.message.startswith("Done"), dock.message
    return prediction(dock.viewer)


def prediction(viewer: Viewer) -> Labels:
    layer = viewer.layers["scan prediction"]
    assert isinstance(layer, Labels)
    return layer


def expected(
    data: Any, checkpoint: Any, *, config: PredictConfig | None = None, **options: Any
) -> MemoryResult:
    """Predict through the API."""
    from napari_lrcs.inference.predict import predict_volume

    volume = as_volume(data)
    result = MemoryResult(
        labels=np.zeros(volume.shape, np.uint8),
        confidence=np.zeros(volume.shape, np.uint8),
    )
    for _ in predict_volume(
        volume, checkpoint, result=result, config=config, **options
    ):
        pass
    return result


@pytest.mark.parametrize("where", [MEMORY, ZARR])
def test_the_layer_tells_what_its_network_has_learnt_from(
    make_dock: Callable[..., PredictDock], grey: Any, where: str, qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.place.where.setCurrentText(where)

    provenance = labels_of(predict(dock, qtbot)).provenance

    assert provenance is not None
    assert provenance.fingerprint == as_volume(grey).fingerprint()
    assert not provenance.learnt.is_complete


def cancel_midway(dock: PredictDock, qtbot: QtBot) -> None:
    """Press Cancel once some slices are there."""
    dock.predict()
    until_slice(dock, qtbot, 4)
    dock.stop()
    finish(dock, qtbot)


def until_slice(dock: PredictDock, qtbot: QtBot, number: int) -> None:
    """Wait until the progress has come to a slice."""

    def is_there() -> bool:
        found = re.search(r"slice (\d+) of", dock.progress.text, re.IGNORECASE)
        return found is not None and int(found[1]) >= number

    qtbot.waitUntil(is_there)


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let each slab take its time; collects their numbers of slices."""
    from napari_lrcs.inference.predictor import Predictor

    predict = Predictor.predict
    filled: list[int] = []

    @ensure_main_thread(await_return=True, timeout=2_000)
    def window_catches_up() -> None:
        """Return once the GUI thread has done what it had to do before this."""

    def slowly_predict(
        self: Any, arrays: Any, image: Any, n_slices: int
    ) -> Iterator[Any]:
        filled.append(n_slices)
        time.sleep(0.3)
        with suppress(TimeoutError):  # it may be waiting for us to end
            window_catches_up()
        yield from predict(self, arrays, image, n_slices)

    monkeypatch.setattr(Predictor, "predict", slowly_predict)
    return filled


# ---- results ----


@pytest.mark.parametrize("where", [MEMORY, ZARR, TIFF])
def test_result_is_that_of_the_api(
    where: str,
    grey: Any,
    checkpoint: Any,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(where)
    dock.setup.form["min_size"].value = 20

    layer = predict(dock, qtbot)

    whole = expected(grey, checkpoint, config=PredictConfig(min_size=20)).labels
    np.testing.assert_array_equal(np.asarray(layer.data), whole)
    assert phases_shown(layer) == checkpoint.phases


PLACES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "scale and units": ({"scale": (2, 0.5, 0.5), "units": ("um",) * 3}, SHAPE),
    "rotate": ({"rotate": 20, "scale": (2, 1, 1), "translate": (5, 6, 7)}, SHAPE),
    "shear": ({"shear": (0.1, 0.2, 0.3), "axis_labels": ("z", "y", "x")}, SHAPE),
    "affine": ({"affine": np.diag([1.0, 2, 3, 1])}, SHAPE),
    "2D": ({"scale": (0.5, 0.5), "units": ("nm",) * 2, "rotate": 10}, SHAPE[1:]),
    "leading axis": ({"scale": (3, 2, 1, 1)}, (1, *SHAPE)),
}


@pytest.mark.parametrize(
    ("where", "places"),
    [
        (MEMORY, PLACES),
        (ZARR, ("rotate", "2D", "leading axis")),
        (TIFF, ("affine", "2D")),
    ],
)
def test_layer_lies_where_the_image_lies(
    where: str,
    places: Iterable[str],
    grey: Any,
    checkpoint: Any,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)

    for options, shape in (PLACES[place] for place in places):
        dock.viewer.layers.clear()
        data = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        scan = dock.viewer.add_image(data, name="scan", **options)
        dock.setup.where.setCurrentText(where)

        layer = predict(dock, qtbot)

        own, image = place_of(layer), place_of(scan)
        assert own.keys() == image.keys()
        for name, value in image.items():
            np.testing.assert_array_equal(own[name], value, err_msg=name)
        whole = expected(data, checkpoint).labels.reshape(shape)
        np.testing.assert_array_equal(np.asarray(layer.data), whole)


def test_files_hold_confidence_and_probabilities(
    grey: Any,
    checkpoint: Any,
    tmp_path: Path,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)
    dock.setup.place.choose_file(tmp_path / "out.tif")
    dock.setup.confidence.setChecked(True)
    dock.setup.probabilities.setChecked(True)

    predict(dock, qtbot)

    whole = expected(grey, checkpoint)
    confidence = dock.viewer.layers["scan prediction confidence"]
    assert isinstance(confidence, Image)
    assert confidence.contrast_limits == [0, 255]
    np.testing.assert_array_equal(np.asarray(confidence.data), whole.confidence)
    stored = open_volume(tmp_path / "out-confidence.tif")
    np.testing.assert_array_equal(stored.slab(0, 8), whole.confidence)
    shares = zarr.open_array(tmp_path / "out-probabilities.zarr" / "0", mode="r")
    assert shares.shape == (3, *SHAPE)


def test_a_result_in_memory_is_in_a_file_before_the_window_closes(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    layer = predict(dock, qtbot)
    workspace = workspace_for(dock.viewer.layers["scan"])

    saved = workspace.path / "segmentation-1.zarr"
    dock.save_before_close()
    first = saved.stat()
    dock.save_before_close()  # as another dock does
    again = saved.stat()
    layer.data[0] = 2  # the window stayed open after all
    dock.save_before_close()

    assert (first.st_ino, first.st_mtime_ns) == (again.st_ino, again.st_mtime_ns)
    state = ProjectFile(workspace.path).read()
    assert state is not None
    assert state.result == str(saved)
    np.testing.assert_array_equal(open_volume(saved).array[:], layer.data)
    assert [*workspace.path.glob("segmentation-*")] == [saved]


def test_predictions_of_several_images_are_in_files_before_the_window_closes(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    predict(dock, qtbot)
    other = dock.viewer.add_image(grey, name="other")
    dock.setup.image_choice.layer = other
    dock.predict()
    finish(dock, qtbot)
    images = [dock.viewer.layers["scan"], other]

    dock.save_before_close()

    for image in images:
        saved = workspace_for(image).path / "segmentation-1.zarr"
        layer = dock.viewer.layers[f"{image.name} prediction"]
        np.testing.assert_array_equal(open_volume(saved).array[:], layer.data)


def test_confidence_is_shown_from_memory(
    grey: Any, checkpoint: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.confidence.setChecked(True)

    predict(dock, qtbot)

    shown = dock.viewer.layers["scan prediction confidence"].data
    np.testing.assert_array_equal(shown, expected(grey, checkpoint).confidence)


def test_a_wide_result_is_shown_as_a_pyramid_from_disk(
    checkpoint: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    grey = np.random.default_rng(2).normal(size=(2, 8, 600)).astype(np.float32)
    dock = make_dock(grey, scale=(2, 1, 1))
    dock.viewer.add_labels(np.zeros((2, 8, 600), np.uint8), name="painting")
    dock.setup.where.setCurrentText(ZARR)

    layer = predict(dock, qtbot)

    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(2, 8, 600), (2, 8, 300)]
    np.testing.assert_array_equal(layer.scale, (2, 1, 1))
    assert phases_shown(layer) == checkpoint.phases
    assert len(levels_of(Path(dock.setup.file.text()).with_name("segmentation-1.zarr")))
    # What the user paints in stays chosen.
    assert dock.viewer.layers.selection.active.name == "painting"


def test_a_lazy_image_is_read_only_where_it_is_predicted(
    grey: Any, checkpoint: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    read: set[int] = set()

    def plane(block_info: Any = None) -> Any:
        z = block_info[None]["array-location"][0][0]
        read.add(z)
        return grey[z : z + 1]

    lazy = da.map_blocks(
        plane, chunks=((1,) * 8, (24,), (32,)), dtype=grey.dtype, meta=grey[:0]
    )
    dock = make_dock(lazy, contrast_limits=(-3, 3))
    dock.setup.region.setCurrentText(RANGE)
    dock.setup.range.setText("2")
    read.clear()

    layer = predict(dock, qtbot)

    # The image is told from others by the slice in its middle.
    middle = SHAPE[0] // 2
    assert read - {dock.viewer.dims.current_step[0], middle} == {2}
    np.testing.assert_array_equal(layer.data[2], expected(grey, checkpoint).labels[2])


@pytest.mark.parametrize("axis", ["z", "x"])
def test_this_slice_is_that_of_the_viewer(
    axis: Any,
    grey: Any,
    tiny_config: TrainConfig,
    make_checkpoint: Callable[..., Any],
    model: Path,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    from napari_lrcs.models.checkpoint import save_checkpoint

    checkpoint = make_checkpoint(tiny_config.with_changes(axis=axis))
    save_checkpoint(model, checkpoint)
    dock = make_dock(grey, scale=(2, 1, 1), translate=(10, 0, 0))
    dock.viewer.dims.point = (10 + 2 * 5, 3, 7)
    dock.setup.region.setCurrentText(THIS)

    layer = predict(dock, qtbot)

    across = "zyx".index(axis)
    place = (5, 3, 7)[across]
    filled = np.asarray(layer.data).any(axis=tuple({0, 1, 2} - {across}))
    assert np.flatnonzero(filled).tolist() == [place]


def test_some_slices_of_a_large_volume_take_no_memory_for_the_rest(
    grey: Any,
    checkpoint: Any,
    make_dock: Callable[..., PredictDock],
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    monkeypatch.setattr("napari_lrcs.plugin.predict.attempt._SMALL", 0)
    dock = make_dock(grey)
    dock.setup.region.setCurrentText(RANGE)
    dock.setup.range.setText("3:6")

    layer = predict(dock, qtbot)

    assert isinstance(layer.data, zarr.Array)
    assert layer.data.nchunks_initialized == 3
    whole = expected(grey, checkpoint, slices=[3, 4, 5]).labels
    np.testing.assert_array_equal(np.asarray(layer.data), whole)
    layer.data_setitem(
        tuple(np.array([i]) for i in (0, 1, 2)), 2
    )  # it can be corrected by hand
    assert layer.data[0, 1, 2] == 2


def test_nothing_is_predicted_outside_the_field_of_view(
    grey: Any, checkpoint: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 5:9, 6:20] = 3
    dock = make_dock(grey)
    chosen = dock.viewer.add_labels(mask, name="mask")
    dock.setup.field_of_view.kind.setCurrentText(LAYER)
    dock.setup.field_of_view.layers.layer = chosen

    layer = predict(dock, qtbot)

    whole = expected(grey, checkpoint).labels
    np.testing.assert_array_equal(layer.data, np.where(mask > 0, whole, 0))
    np.testing.assert_array_equal(np.unique(chosen.data), [0, 3])


def test_removed_field_of_view_is_not_replaced_by_another_layer(
    grey: Any, make_dock: Callable[..., PredictDock]
) -> None:
    dock = make_dock(grey)
    dock.viewer.add_labels(np.zeros(SHAPE, np.uint8), name="painting")
    field = dock.setup.field_of_view
    mask = dock.viewer.add_labels(np.ones(SHAPE, np.uint8), name="mask")
    field.kind.setCurrentText(LAYER)
    field.layers.layer = mask

    dock.viewer.layers.remove(mask)
    dock.viewer.add_labels(np.zeros(SHAPE, np.uint8), name="other")
    dock.predict()

    assert field.layers.layer is None
    assert "there is no mask layer" in dock.message.lower()
    assert not dock.is_busy
    field.kind.setCurrentText(ABOUT_Z)
    field.kind.setCurrentText(LAYER)
    assert field.layers.layer is not None


# ---- beside other layers ----


def names(viewer: Viewer) -> list[str]:
    return [layer.name for layer in viewer.layers]


def test_result_lies_below_the_painting_which_keeps_the_brush(
    grey: Any, checkpoint: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    image = dock.viewer.layers["scan"]
    assert isinstance(image, Image)
    painting = new_painting(image, phases=checkpoint.phases)
    dock.viewer.add_layer(painting)
    painting.mode = "paint"
    dock.setup.confidence.setChecked(True)

    predict(dock, qtbot)

    assert names(dock.viewer) == [
        "scan",
        "scan prediction",
        "scan prediction confidence",
        "scan labels",
    ]
    assert dock.viewer.layers.selection.active is painting
    assert painting.mode == "paint"


@pytest.mark.parametrize("where", [MEMORY, ZARR])
def test_a_new_prediction_replaces_the_former(
    where: str, grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(where)
    dock.setup.confidence.setChecked(True)
    former = predict(dock, qtbot)
    dock.viewer.layers.selection.active = former
    assert "replaced" not in dock.message
    dock.setup.confidence.setChecked(False)

    layer = predict(dock, qtbot)

    assert layer is not former
    assert names(dock.viewer) == ["scan", "scan prediction"]
    assert dock.viewer.layers.selection.active is layer
    assert "it replaced the earlier prediction (to keep one, rename" in dock.message


@pytest.mark.parametrize("how", ["renamed", "edited"])
def test_a_prediction_that_its_user_keeps_is_not_replaced(
    how: str, grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    former = predict(dock, qtbot)
    if how == "renamed":
        former.name = "with run-1"
    else:
        former.paint((0, 1, 1), 2)

    predict(dock, qtbot)

    assert former in dock.viewer.layers
    assert len(dock.viewer.layers) == 3
    assert "replaced" not in dock.message


def test_a_prediction_of_other_slices_replaces_nothing(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.region.setCurrentText(RANGE)
    for slices in ("2:4", "3", "3:6"):
        dock.setup.range.setText(slices)
        predict(dock, qtbot)
    several = names(dock.viewer)
    dock.setup.range.setText("0:8")

    predict(dock, qtbot)

    assert several == ["scan", "scan prediction", "scan prediction [1]"]
    assert names(dock.viewer) == ["scan", "scan prediction"]


@pytest.mark.usefixtures("slowly")
def test_a_cancelled_prediction_replaces_nothing(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    former = predict(dock, qtbot)

    cancel_midway(dock, qtbot)

    assert former in dock.viewer.layers
    assert former.name == "scan prediction"


# ---- cancelling ----


@pytest.mark.parametrize("where", [MEMORY, ZARR, TIFF])
def test_a_cancelled_prediction_is_continued(
    where: str,
    grey: Any,
    checkpoint: Any,
    slowly: list[int],
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(where)

    cancel_midway(dock, qtbot)

    layer = prediction(dock.viewer)
    kept = np.flatnonzero(np.asarray(layer.data).any(axis=(1, 2)))
    assert 2 <= len(kept) < 8
    assert "Kept" in dock.message
    assert "Press Predict again to continue" in dock.message
    slowly.clear()
    layer = predict(dock, qtbot)
    assert sum(slowly) == 8 - len(kept)
    whole = expected(grey, checkpoint).labels
    np.testing.assert_array_equal(np.asarray(layer.data), whole)
    names = [layer.name for layer in dock.viewer.layers]
    assert names == ["scan", "scan prediction"]


@pytest.mark.usefixtures("slowly")
def test_other_settings_leave_a_cancelled_prediction_as_it_is(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(ZARR)
    cancel_midway(dock, qtbot)
    cancelled = Path(f"{dock.setup.file.text()}.partial")
    dock.setup.field_of_view.kind.setCurrentText(ABOUT_Z)

    predict(dock, qtbot)

    assert cancelled.is_dir()


@pytest.mark.parametrize("where", [MEMORY, ZARR])
def test_layer_fills_up_while_it_runs(
    where: str,
    grey: Any,
    slowly: list[int],
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(where)
    dock.viewer.dims.set_current_step(0, 0)

    dock.predict()

    # What the layer shows, not only what its array holds.
    qtbot.waitUntil(
        lambda: (
            len(dock.viewer.layers) == 2
            and prediction(dock.viewer).get_value((0, 1, 1)) not in (None, 0)
        ),
    )
    assert dock.is_busy
    assert sum(slowly) < 8
    finish(dock, qtbot)


# ---- what changes meanwhile ----


@pytest.mark.parametrize("where", [MEMORY, ZARR])
@pytest.mark.usefixtures("slowly")
def test_image_removed_meanwhile_harms_nothing(
    where: str,
    grey: Any,
    checkpoint: Any,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(where)
    # napari itself draws no labels any more, but crashes, once the lowest image is
    # gone (0.9.2 with Mesa's software OpenGL): one stays.
    dock.viewer.layers.insert(0, Image(grey, name="other"))
    dock.setup.image_choice.setCurrentText("scan")
    dock.predict()
    until_slice(dock, qtbot, 2)

    dock.viewer.layers.remove("scan")

    finish(dock, qtbot)
    whole = expected(grey, checkpoint).labels
    np.testing.assert_array_equal(np.asarray(prediction(dock.viewer).data), whole)


@pytest.mark.usefixtures("slowly")
def test_renamed_layers_keep_their_names(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(ZARR)
    dock.predict()
    qtbot.waitUntil(lambda: len(dock.viewer.layers) == 2)

    dock.viewer.layers["scan"].name = "other"
    prediction(dock.viewer).name = "mine"

    finish(dock, qtbot)
    assert [layer.name for layer in dock.viewer.layers] == ["other", "mine"]
    assert dock.message.startswith("Done")


@pytest.mark.usefixtures("slowly")
def test_removing_a_result_in_memory_ends_its_prediction(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.predict()
    until_slice(dock, qtbot, 2)

    dock.viewer.layers.remove("scan prediction")

    qtbot.waitUntil(lambda: not dock.is_busy, timeout=2000)
    assert [layer.name for layer in dock.viewer.layers] == ["scan"]


@pytest.mark.usefixtures("slowly")
def test_removing_a_result_on_disk_lets_it_be_finished(
    grey: Any,
    tmp_path: Path,
    checkpoint: Any,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)
    dock.setup.place.choose_file(tmp_path / "out.zarr")
    dock.predict()
    qtbot.waitUntil(lambda: len(dock.viewer.layers) == 2)

    dock.viewer.layers.remove("scan prediction")

    finish(dock, qtbot)
    assert [layer.name for layer in dock.viewer.layers] == ["scan"]
    whole = expected(grey, checkpoint).labels
    stored = open_volume(tmp_path / "out.zarr").slab(0, 8)
    np.testing.assert_array_equal(stored, whole)


@pytest.mark.parametrize("what", ["dock", "viewer"])
@pytest.mark.usefixtures("slowly")
def test_closing_meanwhile_keeps_what_is_done(
    what: str,
    tmp_path: Path,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(np.random.default_rng(0).normal(size=(60, 24, 32)))
    dock.setup.place.choose_file(tmp_path / "out.zarr")
    dock.predict()
    until_slice(dock, qtbot, 6)

    if what == "dock":
        dock.viewer.window.remove_dock_widget(dock)
    else:
        dock.viewer.close()

    wait_for_thread(dock, qtbot)
    assert (tmp_path / "out.zarr.partial" / "done.txt").stat().st_size
    assert not (tmp_path / "out.zarr").exists()


# ---- refusals ----


def test_memory_that_is_not_there_is_refused_with_the_estimate(
    grey: Any,
    make_dock: Callable[..., PredictDock],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dock = make_dock(grey)
    monkeypatch.setattr(estimate, "free_memory", lambda: 8192)

    dock.predict()

    assert not dock.is_busy
    assert "needs 6.0 KiB of memory" in dock.message
    assert "8.0 KiB that are free" in dock.message
    assert len(dock.viewer.layers) == 1


def test_an_image_too_large_for_memory_goes_to_disk_by_default(
    grey: Any,
    make_dock: Callable[..., PredictDock],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(estimate, "free_memory", lambda: 8192)

    dock = make_dock(grey)

    assert dock.setup.where.currentText() == ZARR
    assert Path(dock.setup.file.text()).name == "segmentation-1.zarr"


def test_a_file_that_is_there_is_refused_unless_overwriting_is_asked_for(
    grey: Any, tmp_path: Path, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.place.choose_file(tmp_path / "out.tif")
    first = predict(dock, qtbot)

    dock.predict()

    assert "exists already" in dock.message
    dock.setup.overwrite.setChecked(True)
    predict(dock, qtbot)
    assert first not in dock.viewer.layers
    assert len(dock.viewer.layers) == 2


def test_a_file_that_another_layer_shows_is_never_overwritten(
    grey: Any, tmp_path: Path, make_dock: Callable[..., PredictDock]
) -> None:
    painting = zarr.create_array(
        tmp_path / "painting.zarr", shape=SHAPE, chunks=(1, 24, 32), dtype=np.uint8
    )
    dock = make_dock(grey)
    dock.viewer.add_labels(painting, name="painting")
    dock.setup.place.choose_file(tmp_path / "painting.zarr")
    dock.setup.overwrite.setChecked(True)

    dock.predict()

    assert "is what the layer painting shows" in dock.message
    assert not dock.is_busy


@pytest.mark.parametrize(
    ("shape", "rgb", "word"),
    [((24, 32, 3), True, "colour"), ((2, *SHAPE), False, "4 axes")],
)
def test_other_images_are_refused_in_words(
    shape: tuple[int, ...],
    rgb: bool,
    word: str,
    make_dock: Callable[..., PredictDock],
) -> None:
    dock = make_dock(np.zeros(shape, np.uint8), rgb=rgb)

    dock.predict()

    assert word in dock.message
    assert not dock.is_busy


def test_a_range_that_leaves_the_image_is_refused(
    grey: Any, make_dock: Callable[..., PredictDock]
) -> None:
    dock = make_dock(grey)
    dock.setup.region.setCurrentText(RANGE)
    dock.setup.range.setText("3:20")

    dock.predict()

    assert "slice 19 of '3:20' does not exist" in dock.message


# ---- models ----


def test_runs_of_the_image_are_offered_the_best_first(
    viewer: Viewer,
    grey: Any,
    checkpoint: Any,
    qtbot: QtBot,
) -> None:
    image = viewer.add_image(grey, name="scan")
    folder = workspace_for(image).path
    for i, score in enumerate((0.5, 0.534, None, 0.194), start=1):
        make_run(folder / f"run-{i}", checkpoint, mean_iou=score)
    other = workspace_for(viewer.add_image(grey, name="other")).path
    make_run(other / "run-1", checkpoint, mean_iou=0.9)
    dock = PredictDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.setup.image_choice.layer = image

    qtbot.waitUntil(lambda: dock.setup.model_choice.path is not None, timeout=5000)

    assert dock.setup.model_choice.texts == (
        "run-2 · mean IoU 53.4%",
        "run-1 · mean IoU 50.0%",
        "run-4 · mean IoU 19.4%",
        "run-3",
        "other: run-1 · mean IoU 90.0%",
        "Choose a file…",
    )
    assert dock.setup.model_choice.path == folder / "run-2"
    assert "phase 1, phase 2, phase 3" in dock.setup.model_choice.text


def test_the_best_run_stays_proposed_until_its_user_chooses_one(
    viewer: Viewer, grey: Any, checkpoint: Any, qtbot: QtBot
) -> None:
    image = viewer.add_image(grey, name="scan")
    folder = workspace_for(image).path
    make_run(folder / "run-1", checkpoint, mean_iou=0.5)
    dock = PredictDock(viewer)
    viewer.window.add_dock_widget(dock)
    choice = dock.setup.model_choice
    qtbot.waitUntil(lambda: choice.path == folder / "run-1")

    # As at the end of a training; another dock runs it.
    make_run(folder / "run-2", checkpoint, mean_iou=0.4)
    image.events.metadata()
    qtbot.waitUntil(lambda: len(choice.texts) == 3)
    worse = choice.path
    make_run(folder / "run-3", checkpoint, mean_iou=0.6)
    image.events.metadata()
    qtbot.waitUntil(lambda: choice.path == folder / "run-3")
    box = choice.findChild(QComboBox)
    assert box is not None
    box.activated.emit(choice.texts.index("run-2 · mean IoU 40.0%"))
    make_run(folder / "run-4", checkpoint, mean_iou=0.7)
    image.events.metadata()
    qtbot.waitUntil(lambda: len(choice.texts) == 5)

    assert worse == folder / "run-1"
    assert choice.path == folder / "run-2"


def make_run(path: Path, checkpoint: Any, *, mean_iou: float | None) -> None:
    from napari_lrcs.models.checkpoint import save_checkpoint

    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(checkpoint.config.to_dict()))
    history = ({"epoch": 1, "validation_mean_iou": mean_iou},)
    save_checkpoint(path / "best.safetensors", replace(checkpoint, history=history))


@pytest.mark.parametrize(("size", "is_told"), [(1.05, False), (2.0, True)])
def test_another_voxel_size_than_in_training_is_told(
    size: float,
    is_told: bool,
    grey: Any,
    checkpoint: Any,
    model: Path,
    make_dock: Callable[..., PredictDock],
) -> None:
    from napari_lrcs.models.checkpoint import save_checkpoint

    trained = replace(checkpoint, voxel_size=(1000.0,) * 3, unit="nanometer")
    save_checkpoint(model, trained)

    dock = make_dock(grey, scale=(size,) * 3, units=("um",) * 3)

    assert ("but this image has" in dock.setup.model_choice.text) == is_told


def test_a_foreign_image_is_told_before_and_after(
    grey: Any,
    checkpoint: Any,
    model: Path,
    make_dock: Callable[..., PredictDock],
    viewer: Viewer,
    qtbot: QtBot,
) -> None:
    from napari_lrcs.models.checkpoint import save_checkpoint

    levels = grey_quantiles([grey.ravel()], checkpoint.normalisation)
    known = TrainedOn(grey_levels=levels, fractions=(0.0, 0.0, 1.0))
    save_checkpoint(model, replace(checkpoint, trained_on=known))

    dock = make_dock(grey + 2)
    qtbot.waitUntil(lambda: len(dock.notices.texts) == 1)
    assert "the grey levels of the image" in dock.notices.texts[0]
    predict(dock, qtbot)

    grey_warning, phase_warning = dock.notices.texts
    assert "the grey levels of the image" in grey_warning
    assert "covers" in phase_warning
    assert "trained on other data: see above" in dock.message
    viewer.add_image(grey, name="own")
    dock.setup.image_choice.layer = viewer.layers["own"]
    dock.setup.model_choice.choose(model)
    qtbot.waitUntil(lambda: not dock.notices.texts)


def test_a_file_that_is_no_network_is_refused_in_words(
    grey: Any, tmp_path: Path, make_dock: Callable[..., PredictDock]
) -> None:
    (tmp_path / "no.safetensors").write_text("no")
    dock = make_dock(grey)

    with pytest.raises(
        CheckpointError, match=r"no\.safetensors is not a valid safetensors file"
    ):
        dock.setup.model_choice.choose(tmp_path / "no.safetensors")


# ---- several volumes, settings ----


def test_more_volumes_follow_into_their_folder(
    grey: Any,
    checkpoint: Any,
    tmp_path: Path,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    for i in range(2):
        np.save(tmp_path / f"t{i}.npy", grey + i)
    dock = make_dock(grey)
    dock.setup.more.add([str(tmp_path / f"t{i}.npy") for i in range(2)])
    dock.setup.more.folder = tmp_path / "out"

    layer = predict(dock, qtbot)

    np.testing.assert_array_equal(layer.data, expected(grey, checkpoint).labels)
    for i in range(2):
        stored = open_volume(tmp_path / "out" / f"t{i}.zarr").slab(0, 8)
        whole = expected(grey + i, checkpoint).labels
        np.testing.assert_array_equal(stored, whole)


def test_a_cancelled_series_is_continued_where_it_was(
    grey: Any,
    slowly: list[int],
    tmp_path: Path,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    np.save(tmp_path / "t.npy", grey)
    dock = make_dock(grey)
    dock.setup.more.add([str(tmp_path / "t.npy")])
    dock.setup.more.folder = tmp_path / "out"
    dock.predict()
    text = "Volume 1 of 1, t.npy"
    qtbot.waitUntil(lambda: text in dock.progress.text)
    until_slice(dock, qtbot, 4)
    dock.stop()
    finish(dock, qtbot)
    slowly.clear()

    predict(dock, qtbot)

    assert 0 < sum(slowly) < 8
    assert (tmp_path / "out" / "t.zarr").is_dir()
    assert len(dock.viewer.layers) == 2


def test_settings_are_remembered(
    grey: Any, make_dock: Callable[..., PredictDock], qtbot: QtBot
) -> None:
    dock = make_dock(grey)
    dock.setup.where.setCurrentText(TIFF)
    dock.setup.confidence.setChecked(True)
    dock.setup.form["min_size"].value = 7
    qtbot.wait(100)
    dock.viewer.window.remove_dock_widget(dock)

    other = PredictDock(dock.viewer)
    dock.viewer.window.add_dock_widget(other)

    assert other.setup.where.currentText() == TIFF
    assert other.setup.confidence.isChecked()
    assert other.setup.form.config.min_size == 7


@pytest.mark.parametrize(
    ("typed", "renamed"),
    [
        ("scan_0.5um", "scan_0.5um.zarr"),
        ("scan.tif", "scan.zarr"),
        ("scan.TIFF", "scan.zarr"),
        ("scan", "scan.zarr"),
    ],
)
def test_another_type_of_file_changes_only_the_suffix(
    typed: str, renamed: str, grey: Any, make_dock: Callable[..., PredictDock]
) -> None:
    place = make_dock(grey).setup.place
    place.where.setCurrentText(TIFF)
    place.file.setText(f"/data/{typed}")
    place.file.textEdited.emit(place.file.text())

    place.where.setCurrentText(ZARR)

    assert place.file.text() == f"/data/{renamed}"


@pytest.mark.parametrize(("chosen", "restored"), [(LAYER, EVERYTHING), (ABOUT_Z,) * 2])
def test_field_of_view_is_remembered_unless_it_is_a_layer(
    chosen: str,
    restored: str,
    grey: Any,
    make_dock: Callable[..., PredictDock],
    qtbot: QtBot,
) -> None:
    dock = make_dock(grey)
    dock.viewer.add_labels(np.ones(SHAPE, np.uint8), name="mask")
    dock.setup.field_of_view.kind.setCurrentText(chosen)
    qtbot.wait(100)
    dock.viewer.window.remove_dock_widget(dock)

    other = PredictDock(dock.viewer)
    dock.viewer.window.add_dock_widget(other)

    assert other.setup.field_of_view.kind.currentText() == restored


# ---- on a cluster ----


@pytest.fixture
def dock_on_file(
    make_dock: Callable[..., PredictDock], grey: Any, tmp_path: Path
) -> PredictDock:
    """Open the dock on an image in a file, to compute on a cluster."""
    np.save(tmp_path / "scan.npy", grey)
    dock = make_dock(np.zeros_like(grey))
    dock.viewer.layers.clear()
    dock.viewer.open(tmp_path / "scan.npy", plugin="napari")
    dock.setup.compute_on.where.setCurrentText("A dask cluster")
    return dock


def test_a_cluster_gives_the_same_labels_and_goes_on_where_it_was_stopped(
    dock_on_file: PredictDock,
    scheduler: str,
    grey: Any,
    checkpoint: Any,
    slowly: list[int],
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    dock = dock_on_file
    dock.setup.compute_on.address.setText(scheduler)
    np.save(tmp_path / "later.npy", grey + 1)
    dock.setup.more.add([str(tmp_path / "later.npy")])
    dock.setup.more.folder = tmp_path / "out"
    assert dock.setup.where.currentText() == ZARR
    cancel_midway(dock, qtbot)
    kept = re.match(r"Stopped. Kept (\d) of 8 slices", dock.message)
    n_stopped = len(slowly)

    layer = predict(dock, qtbot)

    assert kept is not None, dock.message
    n_later = 8
    assert len(slowly) - n_stopped <= (8 - int(kept[1]) + n_later) / 2
    np.testing.assert_array_equal(layer.data, expected(grey, checkpoint).labels)
    later = open_volume(tmp_path / "out" / "later.zarr").slab(0, 8)
    np.testing.assert_array_equal(later, expected(grey + 1, checkpoint).labels)


def test_what_a_cluster_cannot_do_is_one_notice_and_leaves_nothing(
    dock_on_file: PredictDock, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setattr("napari_lrcs.distributed._ANSWER_SECONDS", 0.2)
    dock, nobody = dock_on_file, "tcp://127.0.0.1:9"
    dock.setup.compute_on.address.setText(nobody)
    said = []

    for where in (ZARR, MEMORY):
        dock.setup.where.setCurrentText(where)
        dock.predict()
        finish(dock, qtbot)
        said.append(dock.message)

    assert said[0].startswith(f"no scheduler answers at {nobody} ")
    assert "cannot fill a layer in memory; choose a file under Save" in said[1]
    assert [layer.name for layer in dock.viewer.layers] == ["scan"]
    assert not list(workspace_for(dock.viewer.layers[0]).path.glob("segmentation*"))
