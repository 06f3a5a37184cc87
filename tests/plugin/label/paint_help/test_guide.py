"""A network's suggestions, and what it propagates."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Shapes
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.painting.painting import Painting, propagated_slices
from napari_lrcs.plugin.parts.keys import NEXT_SPOT, keys_of
from napari_lrcs.plugin.parts.layers.camera import camera_of

pytestmark = pytest.mark.gui

GREY = np.random.default_rng(0).normal(size=(8, 96, 80)).astype(np.float32)
HALF = np.broadcast_to(np.arange(80) < 40, (96, 80)).astype(np.uint8)


def begun(viewer: Viewer) -> tuple[LabelDock, Painting]:
    viewer.add_image(GREY, name="scan", scale=(2.0, 0.5, 0.5))
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrcs", "Label phases")
    assert isinstance(dock, LabelDock)
    dock.new_labels()
    assert dock.painting is not None, dock.message
    return dock, dock.painting


def outlines(viewer: Viewer) -> list[Shapes]:
    return [layer for layer in viewer.layers if isinstance(layer, Shapes)]


def wait(dock: LabelDock, qtbot: QtBot, is_shown: Callable[[], bool]) -> None:
    """Wait until a job has shown something, and has ended."""
    qtbot.waitUntil(is_shown)
    qtbot.waitUntil(lambda: not dock.is_busy)


def fill_square(painting: Painting, frame: Shapes) -> None:
    """Paint all of an outlined square with phase 2."""
    index, top, left = np.ceil(frame.data[0].min(axis=0)).astype(int)
    plane = painting.plane(index)
    plane[top : top + 32, left : left + 32] = 2
    painting.set_plane(index, plane)
    painting.save()


@pytest.fixture
def network(tmp_path: Path, make_checkpoint: Callable[..., Checkpoint]) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, replace(make_checkpoint(), phases=ELECTRODE))
    return path


def test_a_key_goes_to_a_square_whose_outline_goes_once_it_is_painted(
    make_napari_viewer: Callable[..., Viewer], network: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    guide, layer = dock.help.guide, painting.layer
    guide.suggest_button.click()
    qtbot.waitUntil(lambda: "train one first" in dock.message)
    dock.help.fill.networks.choose(network)
    painting.set_role(3, "validation")
    assert f"({keys_of(NEXT_SPOT)})" in guide.suggest_button.toolTip()

    viewer.keymap[next(key for key in viewer.keymap if str(key) == "Shift+S")](viewer)
    wait(dock, qtbot, lambda: len(outlines(viewer)) == 1)

    (frame,) = outlines(viewer)
    corners = frame.data[0]
    np.testing.assert_array_equal(np.ptp(corners, axis=0), [0, 32, 32])
    index = int(corners[0, 0])
    assert index != 3
    assert dock.slices.index == index
    middle = layer.data_to_world(corners.mean(axis=0))
    np.testing.assert_allclose(camera_of(viewer).center[-2:], middle[-2:])
    assert f"z = {index}: the network is least sure here" in guide.why.text()
    assert (viewer.layers.selection.active, layer.mode) == (layer, "paint")

    guide.suggest_button.click()
    wait(dock, qtbot, lambda: outlines(viewer) not in ([], [frame]))
    assert not np.array_equal(outlines(viewer)[0].data[0], corners)
    fill_square(painting, outlines(viewer)[0])
    assert not outlines(viewer)
    assert guide.why.isHidden()


def test_the_outline_goes_when_dismissed_and_with_the_dock(
    make_napari_viewer: Callable[..., Viewer], network: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock, _ = begun(viewer)
    dock.help.fill.networks.choose(network)
    dock.help.guide.suggest_button.click()
    wait(dock, qtbot, lambda: len(outlines(viewer)) == 1)

    dock.help.guide.dismiss_button.click()
    assert not outlines(viewer)

    dock.help.guide.suggest_button.click()
    wait(dock, qtbot, lambda: len(outlines(viewer)) == 1)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    QApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
    qtbot.waitUntil(lambda: not outlines(viewer))


def test_propagating_spares_paint_and_validation_and_one_step_undoes_it(
    make_napari_viewer: Callable[..., Viewer], network: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    guide = dock.help.guide
    dock.help.fill.networks.choose(network)
    painting.set_role(3, "validation")
    painting.set_plane(4, HALF)
    painting.set_plane(5, 3 * HALF)
    painting.save()
    dock.slices.go_to(4)

    guide.propagation.choose(2)
    guide.propagation.button.click()
    wait(dock, qtbot, lambda: "Propagated to 2, 5, 6" in dock.message)
    painting.save()

    assert all((painting.plane(i) > 0).all() for i in (2, 5, 6))
    np.testing.assert_array_equal(painting.plane(5)[HALF > 0], 3)
    assert not painting.plane(3).any()
    np.testing.assert_array_equal(painting.plane(4), HALF)
    assert propagated_slices(painting) == (2, 5, 6)
    assert PaintingFolder(painting.folder.path).read().propagated == (2, 5, 6)
    assert dock.slices.table.texts()[0][:2] == ["2", "⚠ correct"]
    painting.set_role(6, "train")
    assert propagated_slices(painting) == (2, 5)

    painting.layer.undo()
    QApplication.processEvents()
    painting.save()
    assert [i for i in range(8) if painting.plane(i).any()] == [4, 5]
    np.testing.assert_array_equal(painting.plane(5), 3 * HALF)


def test_a_validation_slice_is_filled_only_if_its_user_says_so(
    make_napari_viewer: Callable[..., Viewer], network: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock, painting = begun(viewer)
    dock.help.fill.networks.choose(network)
    painting.set_role(3, "validation")
    dock.slices.go_to(3)

    dock.help.guide.propagation.choose(0)
    dock.help.guide.propagation.button.click()
    qtbot.waitUntil(lambda: "must not fill" in dock.message)
    assert not painting.plane(3).any()

    dock.help.guide.propagation.choose(0, everywhere=True)
    dock.help.guide.propagation.button.click()
    wait(dock, qtbot, lambda: "Propagated to 3" in dock.message)
    assert (painting.plane(3) > 0).all()

    dock.help.guide.suggest_button.click()  # the window closes with an outline in it
    wait(dock, qtbot, lambda: len(outlines(viewer)) == 1)
