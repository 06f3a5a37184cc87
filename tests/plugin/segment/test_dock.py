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
from qtpy.QtWidgets import QDockWidget, QMainWindow, QPushButton, QWidget

from napari_lrcs.errors import LrcsError
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.measure.dock import MeasureDock
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.parts.layers.predicted import network_of
from napari_lrcs.plugin.parts.widgets import COLOURS
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.segment.dock import SegmentDock
from napari_lrcs.plugin.segment.steps import STEPS
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.training.run.folder import list_runs

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
    viewer: Viewer, qtbot: QtBot, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = viewer.layers[0]

    dock = open_dock(viewer, qtbot)  # 1
    click(qtbot, dock, "New labels layer")  # 2
    painting = paint(viewer)  # 3
    click(qtbot, dock, "Next: Train")  # 4
    make_small(dock)
    click(qtbot, dock, "Train")  # 5
    train = dock.pages["Train"]
    qtbot.waitUntil(lambda: not train.is_busy)
    qtbot.waitUntil(lambda: dock.is_done("Train"))
    click(qtbot, dock, "Next: Predict")  # 6
    click(qtbot, dock, "Predict")  # 7
    predict = dock.pages["Predict"]
    qtbot.waitUntil(lambda: not predict.is_busy)
    click(qtbot, dock, "Next: Measure")  # 8
    click(qtbot, dock, "Measure")  # 9
    measure = dock.pages["Measure"]
    assert isinstance(measure, MeasureDock)
    qtbot.waitUntil(lambda: bool(measure.measured))

    assert dock.bar.painting.layer == painting
    result = dock.bar.result.layer
    assert result is not None
    assert result.name == f"{image.name} prediction"
    assert all(dock.is_done(step) for step in ("Label", "Train", "Predict", "Measure"))
    (run,) = list_runs(workspace_for(image).path)
    pages = tifffile.imread(run.path / "labels.tif")  # for training, for validation
    np.testing.assert_array_equal(pages.max(axis=0), painting.data[PAINTED])
    assert network_of(result) == run.path / "best.safetensors"
    monkeypatch.setattr("napari_lrcs.plugin.segment.dock.network_of", lambda _: volume)
    assert_result_is_old(dock)


def assert_result_is_old(dock: SegmentDock) -> None:
    """Check that the result of another network is none of the chosen one."""
    dock.show_step("Predict")
    assert not dock.is_done("Predict")
    assert "from a different network" in dock.pages["Predict"].message
    assert dock.next_button.isEnabled()


def test_what_the_bar_chooses_all_docks_use(viewer: Viewer, qtbot: QtBot) -> None:
    first = viewer.layers[0]
    second = viewer.add_image(np.asarray(first.data)[:, ::-1], name="second")
    dock = open_dock(viewer, qtbot)
    dock.show_step("Train")
    dock.show_step("Predict")
    train, predict = dock.pages["Train"], dock.pages["Predict"]
    assert isinstance(train, TrainDock)
    assert isinstance(predict, PredictDock)
    alone = PredictDock(viewer)
    viewer.window.add_dock_widget(alone, name="Predict volume")
    choices = (train.setup.image_choice, predict.setup.image_choice)
    assert {c.layer for c in (*choices, alone.setup.image_choice)} == {first}

    dock.bar.image.layer = second

    assert {c.layer for c in (*choices, alone.setup.image_choice)} == {second}
    assert not any(choice.isVisible() for choice in choices)  # the bar shows it
    assert alone.setup.image_choice.styleSheet() == ""
    alone.setup.image_choice.layer = first  # elsewhere, which is told by the colour
    assert COLOURS["warning"] in alone.setup.image_choice.styleSheet()
    assert dock.bar.image.layer is second


def test_next_waits_for_what_the_step_makes(viewer: Viewer, qtbot: QtBot) -> None:
    dock = open_dock(viewer, qtbot)
    assert dock.next_button.text() == "Next: Train"
    assert not dock.next_button.isEnabled()
    assert "Paint" in dock.next_button.toolTip()

    click(qtbot, dock, "New labels layer")
    paint(viewer)
    qtbot.waitUntil(dock.next_button.isEnabled)

    assert [dock.steps[step].text() for step in STEPS] == [
        *("✓ Label", "2 Train"),
        *("3 Predict", "4 Measure"),
    ]
    click(qtbot, dock, "3 Predict")  # steps can be left out
    assert dock.step == "Predict"
    assert not dock.next_button.isEnabled()


def test_the_first_slice_counts_and_a_phase_that_is_missing_is_seen(
    viewer: Viewer, qtbot: QtBot
) -> None:
    dock = open_dock(viewer, qtbot)
    click(qtbot, dock, "New labels layer")
    layer = viewer.layers.selection.active
    assert isinstance(layer, Labels)
    viewer.dims.set_current_step(0, 0)

    for label in (1, 2):
        layer.paint((0, 5, 5 * label), label)
    qtbot.waitUntil(dock.next_button.isEnabled)
    assert dock.steps["Label"].text() == "1 Label"
    assert "every phase" in dock.next_button.toolTip()

    layer.paint((0, 5, 30), 3)
    qtbot.waitUntil(lambda: dock.steps["Label"].text() == "✓ Label")


def test_phases_of_an_image_do_not_leak_to_the_next(
    viewer: Viewer, qtbot: QtBot
) -> None:
    dock = open_dock(viewer, qtbot)
    page = dock.pages["Label"]
    assert isinstance(page, LabelDock)
    page.phases.change(1, name="solid")
    click(qtbot, dock, "New labels layer")
    page.remember()

    second = viewer.add_image(np.zeros(SHAPE, np.float32), name="second")
    dock.bar.image.layer = second

    offered = [page.phases.phases.names]
    dock.bar.image.layer = viewer.layers[0]
    offered.append(page.phases.phases.names)
    assert offered == [ELECTRODE.names, ("solid", *ELECTRODE.names[1:])]


def test_docks_that_are_opened_share_a_place(viewer: Viewer, qtbot: QtBot) -> None:
    dock = open_dock(viewer, qtbot)
    other = PredictDock(viewer)
    shell = viewer.window.add_dock_widget(other, name="Predict volume", area="right")
    window = dock.window()
    assert isinstance(window, QMainWindow)
    (own,) = (
        shown for shown in window.findChildren(QDockWidget) if shown.isAncestorOf(dock)
    )
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(own) == [shell])
    qtbot.waitUntil(lambda: not other.visibleRegion().isEmpty())
    qtbot.waitUntil(lambda: dock.visibleRegion().isEmpty())  # behind it


def test_closing_the_dock_stops_its_pages_and_keeps_the_painting(
    viewer: Viewer, qtbot: QtBot
) -> None:
    dock = open_dock(viewer, qtbot)
    click(qtbot, dock, "New labels layer")
    layer = paint(viewer)
    painting = painting_of(layer)
    assert painting is not None

    viewer.window.remove_dock_widget(dock)
    qtbot.wait(50)

    assert layer in viewer.layers
    with pytest.raises(LrcsError, match="open"):
        painting.folder.lock()
    again = open_dock(viewer, qtbot)
    assert again.bar.painting.layer == layer


def test_the_painting_of_another_image_can_be_chosen(
    viewer: Viewer, qtbot: QtBot
) -> None:
    dock = open_dock(viewer, qtbot)
    click(qtbot, dock, "New labels layer")
    first = viewer.layers.selection.active
    second_image = viewer.add_image(np.zeros(SHAPE[1:], np.float32), name="second")
    dock.bar.image.layer = second_image
    click(qtbot, dock, "New labels layer")
    second = viewer.layers.selection.active
    alone = LabelDock(viewer)
    viewer.window.add_dock_widget(alone, name="Label phases")
    assert (dock.bar.painting.layer, alone.labels.layer) == (second, second)

    alone.labels.layer = first

    assert alone.labels.layer == first
    assert dock.bar.painting.layer == first
    assert dock.bar.image.layer is viewer.layers[0]
    dock.bar.painting.layer = second
    assert (dock.bar.image.layer, alone.labels.layer) == (second_image, second)


def test_own_labels_become_the_painting_by_one_click_on_the_page(
    viewer: Viewer, qtbot: QtBot
) -> None:
    dock = open_dock(viewer, qtbot)
    page = dock.pages["Label"]
    assert isinstance(page, LabelDock)
    first, second = (
        viewer.add_labels(stripes().astype(np.uint8), name=name) for name in ("a", "b")
    )
    assert dock.bar.painting.layer is None  # which one, only its user knows
    dock.bar.painting.layer = first
    assert page.labels.layer == first

    click(qtbot, dock, "Use this layer")
    adopted = painting_of(first)
    dock.bar.painting.layer = second
    followed = page.labels.layer, page.painting
    dock.bar.painting.layer = first

    assert adopted is not None
    assert adopted.folder.path.name == "painting-1"
    assert followed == (second, None)
    assert page.painting == adopted


def test_labels_opened_as_an_image_are_trained_on_after_one_click(
    viewer: Viewer, qtbot: QtBot
) -> None:
    dock = open_dock(viewer, qtbot)
    two = np.minimum(stripes(), 2).astype(np.uint8)
    viewer.add_image(two, name="labels")
    assert not dock.next_button.isEnabled()

    click(qtbot, dock, "Use this layer")

    painting = painting_of(dock.bar.painting.layer)
    assert painting is not None
    assert painting.phases == PhaseTable.numbered(2)
    qtbot.waitUntil(dock.next_button.isEnabled)
    assert dock.steps["Label"].text() == "✓ Label"
