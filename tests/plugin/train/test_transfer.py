from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Labels
from pytestqt.qtbot import QtBot

from napari_lrcs.annotation.annotation import read_annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layers.layers import appearance, workspace_for
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.training.loop import train
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.transfer.config import TransferConfig
from napari_lrcs.transfer.folder import TransferFolder
from searches import LABELS, NOISE, VOLUME

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    """Open a window with a volume of two phases, all of it painted."""
    viewer: Viewer = make_napari_viewer(show=True)
    viewer.add_image((500.0 * LABELS + NOISE).astype(np.float32), name="scan")
    look = appearance(PhaseTable.named("pore", "NMC"))
    viewer.add_layer(Labels(LABELS.copy(), name="painted", **look))
    return viewer


def _open(viewer: Viewer, config: TrainConfig) -> TrainDock:
    dock = TrainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Train LRCS-Net")
    dock.setup.form.config = config
    dock.setup.roles.fields["train"].setText("1")
    dock.setup.roles.fields["validation"].setText("6")
    dock.tabs.setCurrentWidget(dock.transfer)
    return dock


def _start_from_the_encoder(dock: TrainDock, source: RunFolder) -> None:
    dock.start_from(source.path)
    dock.setup.kept.setCurrentIndex(dock.setup.kept.findData("encoder"))
    dock.tabs.setCurrentWidget(dock.transfer)


def _n_trained(dock: TrainDock) -> int:
    found = dock.transfer.found
    return 0 if found is None else sum(len(r.scores) for r in found.results)


@pytest.mark.slow
def test_starts_are_compared_stopped_continued_and_the_best_one_used(
    viewer: Viewer, tiny_config: TrainConfig, tmp_path: Path, qtbot: QtBot
) -> None:
    source = RunFolder(tmp_path / "similar")
    annotation = read_annotation([VOLUME], config=tiny_config)
    list(train(annotation, config=tiny_config, run=source.path))
    dock = _open(viewer, tiny_config)
    page = dock.transfer
    _start_from_the_encoder(dock, source)
    page.form.config = TransferConfig(n_moments=1, n_repeats=2)
    assert not dock.buttons.isVisible()

    page.compare_button.click()
    assert not dock.buttons.cancel.isVisible()
    qtbot.waitUntil(lambda: _n_trained(dock) >= 2)
    dock.buttons.stop.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    out = workspace_for(viewer.layers["scan"]).path / "transfer-1"
    assert not TransferFolder(out).is_complete
    assert "press Continue" in dock.message
    assert not list(out.parent.glob("run-*"))

    viewer.window.remove_dock_widget(dock)
    later = _open(viewer, tiny_config)
    page = later.transfer
    qtbot.waitUntil(lambda: page.continue_button.text() == "Continue transfer-1")
    page.continue_button.click()
    qtbot.waitUntil(lambda: not later.is_busy)

    # From scratch and, as N is 2 and the schedule not stepped, at three rates.
    assert _n_trained(later) == 4 * 2
    assert page.table.rowCount() == 4
    assert later.message.startswith("Done in ")
    qtbot.waitUntil(lambda: not page.continue_button.isVisible())
    assert "Only the encoder of epoch-0002" in page.notices.text()
    assert page.use_button.isVisible()
    _assert_best_is_used(later, source)


def _assert_best_is_used(dock: TrainDock, source: RunFolder) -> None:
    found = dock.transfer.found
    assert found is not None
    best = max(found.results, key=lambda result: result.score).start

    dock.transfer.use_button.click()

    weights = source.moments[best.epoch] if best.epoch else None
    assert dock.setup.initial_weights == weights
    origin = dock.setup.origin
    assert origin is None or origin.kept == "encoder"
    rate = dock.setup.form.config.optimisation.learning_rate
    assert rate == pytest.approx(best.learning_rate)


def test_a_comparison_without_a_run_to_start_from_is_refused(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    dock = _open(viewer, tiny_config)

    dock.transfer.compare_button.click()
    qtbot.wait(50)

    assert not dock.is_busy
    assert dock.message.startswith("there is no run to start from; choose one")
    assert not workspace_for(viewer.layers["scan"]).path.exists()
