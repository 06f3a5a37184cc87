"""Train as I paint, in the dock."""

from collections.abc import Callable, Iterator
from threading import Event

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot

from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.plugin.train.preview import PREVIEW_NAME
from napari_lrcs.training.live import loop
from napari_lrcs.training.live.first_overlay import FirstOverlay
from napari_lrcs.training.live.run import LiveRunFolder
from napari_lrcs.training.run.folder import list_runs

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

SHAPE = (6, 32, 40)
PHASES = PhaseTable.named("pore", "NMC")
TRUTH = np.broadcast_to(np.arange(SHAPE[2]) // 8 % 2 + 1, SHAPE).astype(np.uint8)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    return make_napari_viewer(show=True)


@pytest.fixture
def image(viewer: Viewer) -> Image:
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    return viewer.add_image((TRUTH + 0.1 * noise).astype(np.float32), name="scan")


@pytest.fixture
def labels(viewer: Viewer, image: Image) -> Labels:
    layer = new_painting(image, phases=PHASES)
    viewer.add_layer(layer)
    return layer


@pytest.fixture
def dock(
    viewer: Viewer, labels: Labels, tiny_config: TrainConfig, qtbot: QtBot
) -> Iterator[TrainDock]:
    assert labels in viewer.layers
    dock = TrainDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.setup.form.config = tiny_config
    yield dock
    viewer.close()
    qtbot.wait(50)  # the dock lets go of the window


def paint(labels: Labels, index: int, rows: slice) -> None:
    """Paint rows of a slice, as one stroke."""
    places: list[NDArray[np.int64]] = [*np.indices(SHAPE[1:])]
    r, c = (axis[rows].ravel() for axis in places)
    with labels.block_history():
        labels.data_setitem((np.full(len(r), index), r, c), TRUTH[index, r, c])


def test_it_waits_learns_strokes_and_ends_as_any_training(
    dock: TrainDock,
    image: Image,
    labels: Labels,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_REST_EPOCHS", 10**6)
    is_better = Event()
    monkeypatch.setattr(FirstOverlay, "_is_beaten", lambda _: is_better.is_set())
    dock.buttons.live.click()
    qtbot.waitUntil(lambda: "Waiting: paint two phases" in dock.live.text())
    assert dock.buttons.finish.isVisible()

    paint(labels, 1, slice(0, 32))
    qtbot.waitUntil(lambda: "Learning as you paint" in dock.live.text())
    qtbot.waitUntil(lambda: PREVIEW_NAME in dock.viewer.layers)
    paint(labels, 4, slice(8, 24))
    (run,) = list_runs(workspace_for(image).path)
    folder = LiveRunFolder(run.path)
    qtbot.waitUntil(lambda: any(row.slice == 4 for row in folder.read_strokes()))
    qtbot.waitUntil(lambda: "until the network is better" in dock.live.text())
    is_better.set()
    qtbot.waitUntil(lambda: dock.live.text().endswith("Overlay: network."))

    dock.buttons.finish.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert dock.message.startswith("Done in")
    assert not dock.live.isVisible()
    assert not dock.buttons.finish.isVisible()
    (run,) = list_runs(workspace_for(image).path)
    assert run.is_finished
    assert run.network is not None
    assert {s.index for s in folder.read_task().learnt.slices} == {1, 4}
    assert [r.voxels for r in folder.read_strokes()] == [16 * 40]


def test_stopped_it_is_continued_with_what_was_painted_meanwhile(
    dock: TrainDock,
    image: Image,
    labels: Labels,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "_REST_EPOCHS", 10**6)
    paint(labels, 1, slice(0, 32))
    dock.buttons.live.click()
    qtbot.waitUntil(lambda: ", epoch" in dock.live.text())
    qtbot.waitUntil(lambda: "epoch 1." not in dock.live.text())
    dock.buttons.stop.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    paint(labels, 2, slice(0, 8))
    qtbot.waitUntil(lambda: dock.last_run.newest is not None)

    dock.buttons.resume.click()
    qtbot.waitUntil(lambda: "Learning as you paint" in dock.live.text())
    dock.buttons.finish.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    (run,) = list_runs(workspace_for(image).path)
    assert run.is_finished
    assert LiveRunFolder(run.path).read_roles()["train"] == (1, 2)


def test_it_rests_and_stops_when_phases_change(
    dock: TrainDock, labels: Labels, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SCORE_GAIN", 1.0)
    monkeypatch.setattr(loop, "_LOSS_GAIN", 1.0)
    paint(labels, 1, slice(0, 32))
    dock.buttons.live.click()
    qtbot.waitUntil(lambda: "Resting: waiting for your next stroke" in dock.live.text())
    painting = painting_of(labels)
    assert painting is not None

    painting.rename(PhaseTable.named("pore", "NMC", "crack"))
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "the phases have changed" in dock.message


def test_labels_that_are_no_painting_cannot_be_followed(
    dock: TrainDock, viewer: Viewer, image: Image, labels: Labels
) -> None:
    viewer.layers.remove(labels)
    viewer.add_labels(np.array(TRUTH), name="plain")

    dock.buttons.live.click()

    assert "cannot be followed" in dock.message
    assert not dock.is_busy
    assert not [*workspace_for(image).path.glob("run-*")]
