"""The way from an opened volume to numbers in one dock, by clicks and strokes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari import Viewer
from napari.layers import Labels
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QWidget

from napari_lrcs.plugin.measure.dock import MeasureDock
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.layers import workspace_for
from napari_lrcs.plugin.segment.dock import SegmentDock
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.training.run_folder import list_runs

pytestmark = pytest.mark.gui

SHAPE = (6, 48, 60)
PAINTED = 2
STRIPE = 10
"""Width of a stripe; phases 1, 2 and 3 lie side by side, again and again."""


def stripes() -> np.ndarray:
    return np.broadcast_to(np.arange(SHAPE[2]) // STRIPE % 3 + 1, SHAPE)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """Write a volume whose grey levels show the phases."""
    path = tmp_path / "scan.tif"
    noise = np.random.default_rng(0).normal(scale=8, size=SHAPE)
    tifffile.imwrite(path, (60 * stripes() + noise).astype(np.uint8))
    return path


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer], volume: Path) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.open(volume, plugin="napari")
    return viewer


def open_dock(viewer: Viewer, qtbot: QtBot) -> SegmentDock:
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrcs", "Segment volume")
    assert isinstance(dock, SegmentDock)
    qtbot.waitUntil(dock.isVisible)
    return dock


def click(qtbot: QtBot, within: QWidget, text: str) -> None:
    """Click the only button of that text that is in sight, with the mouse."""
    made = [
        button
        for button in within.findChildren(QPushButton)
        if button.text() == text and button.isVisible()
    ]
    assert len(made) == 1, [b.text() for b in within.findChildren(QPushButton)]
    qtbot.waitUntil(made[0].isEnabled)
    qtbot.mouseClick(made[0], Qt.MouseButton.LeftButton)


def paint(viewer: Viewer, z: int = PAINTED) -> Labels:
    """Draw a stroke along the middle of each stripe of a slice."""
    layer = viewer.layers.selection.active
    assert isinstance(layer, Labels)
    painting = painting_of(layer)
    assert painting is not None
    viewer.dims.set_current_step(0, z)
    layer.brush_size = 4
    for start in range(0, SHAPE[2], STRIPE):
        column = start + STRIPE // 2
        layer.selected_label = int(stripes()[z, 0, column])
        for row in range(2, SHAPE[1] - 2):
            layer.paint((z, row, column), layer.selected_label)
    return layer


def make_small(dock: SegmentDock) -> None:
    """Set a training of seconds, as the form would be set."""
    page = dock.pages["Train"]
    assert isinstance(page, TrainDock)
    form = page.setup.form
    form.config = form.config.with_changes(
        n_epochs=2,
        patches_per_epoch=16,
        patch_size=32,
        batch_size=4,
        n_filters=2,
        context_slices=0,
        pitfall_restarts=0,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_five_actions_start_a_training_and_nine_give_a_table(
    viewer: Viewer, qtbot: QtBot
) -> None:
    image = viewer.layers[0]

    dock = open_dock(viewer, qtbot)  # 1
    click(qtbot, dock, "New labels layer")  # 2
    painting = paint(viewer)  # 3
    click(qtbot, dock, "Next: Train")  # 4
    make_small(dock)
    click(qtbot, dock, "Train")  # 5
    train = dock.pages["Train"]
    assert train.is_busy
    qtbot.waitUntil(lambda: not train.is_busy, timeout=120_000)
    qtbot.waitUntil(lambda: dock.is_done("Train"))
    click(qtbot, dock, "Next: Predict")  # 6
    click(qtbot, dock, "Predict")  # 7
    predict = dock.pages["Predict"]
    qtbot.waitUntil(lambda: not predict.is_busy, timeout=120_000)
    click(qtbot, dock, "Next: Measure")  # 8
    click(qtbot, dock, "Measure")  # 9
    measure = dock.pages["Measure"]
    assert isinstance(measure, MeasureDock)
    qtbot.waitUntil(lambda: measure.has_numbers, timeout=60_000)

    assert dock.bar.painting.layer == painting
    result = dock.bar.result.layer
    assert result is not None
    assert result.name == f"{image.name} prediction"
    assert all(dock.is_done(step) for step in ("Label", "Train", "Predict", "Measure"))
    (run,) = list_runs(workspace_for(image).path)
    learnt = tifffile.imread(run.path / "labels.tif")
    np.testing.assert_array_equal(np.squeeze(learnt), painting.data[PAINTED])
