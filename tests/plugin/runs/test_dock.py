import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFileDialog, QInputDialog, QMessageBox, QPushButton

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.io.locks import only_writer
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.plugin.parts.layers.layers import RUN_KEY, workspace_for
from napari_lrcs.plugin.project.docks import open_dock
from napari_lrcs.plugin.runs.dock import RunsDock
from napari_lrcs.plugin.segment.dock import SegmentDock
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.training.run.folder import RunFolder
from run_folders import leave_run

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

SHAPE = (6, 32, 40)
MEMBER = Path("study-1", "members", "perturbed-000", "run")


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    return make_napari_viewer(show=True)


@pytest.fixture
def image(viewer: Viewer) -> Image:
    grey = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    return viewer.add_image(grey, name="scan", scale=(2.0, 0.5, 0.5))


@pytest.fixture
def folder(
    image: Image,
    make_checkpoint: Callable[..., Checkpoint],
    striped_annotation: Callable[..., Annotation],
) -> Path:
    """Leave three runs of the image, of which one is broken, and one of a study."""
    folder = workspace_for(image).path
    annotation = striped_annotation(("train", "validation"))
    slices = tuple(
        replace(s, volume="scan", index=3 * s.index + 1) for s in annotation.slices
    )
    for name, iou, batch_size in (
        ("run-1", 0.5, 4),
        ("run-2", 0.75, 2),
        ("run-3", 0.25, 4),
        (MEMBER, 0.6, 4),
    ):
        checkpoint = make_checkpoint(n_phases=2)
        config = checkpoint.config.with_changes(n_epochs=3, batch_size=batch_size)
        leave_run(
            RunFolder(folder / name),
            replace(annotation, slices=slices),
            replace(checkpoint, config=config),
            ious=(iou / 2, iou),
            best=2,
        )
    (folder / "study-1" / "study.json").touch()
    (folder / "run-3" / "history.csv").write_bytes(b"\xff")
    return folder


@pytest.fixture
def dock(viewer: Viewer, folder: Path, qtbot: QtBot) -> RunsDock:
    """Open the dock as the menu does, on the image whose runs are there."""
    assert folder.is_dir()
    dock = open_dock(viewer, "Training runs")
    assert isinstance(dock, RunsDock)
    qtbot.waitUntil(lambda: len(dock.table.items) == 4)
    return dock


def _names(dock: RunsDock) -> list[str]:
    return [run.name for run in dock.table.items]


def _choose(dock: RunsDock, *names: str) -> None:
    dock.table.select(*map(_names(dock).index, names))


def _press(dock: RunsDock, text: str) -> None:
    (made,) = (b for b in dock.findChildren(QPushButton) if b.text() == text)
    assert made.isEnabled()
    made.click()


def _curves(dock: RunsDock) -> list[str]:
    return [str(line.get_label()) for line in dock.comparison.plot.axes[0].lines]


def _settings(dock: RunsDock) -> list[list[str]]:
    cells = dock.comparison.table.model()
    assert cells is not None
    return [
        [cells.data(cells.index(row, column)) for column in range(cells.columnCount())]
        for row in range(cells.rowCount())
    ]


def test_runs_are_listed_compared_searched_and_exported(
    dock: RunsDock, tmp_path: Path, qtbot: QtBot
) -> None:
    # The best one comes first, and is selected; a broken one says why.
    assert _names(dock) == ["run-2", "study-1/perturbed-000", "run-1", "run-3"]
    assert dock.table.selected == dock.table.items[0]
    qtbot.waitUntil(lambda: _curves(dock) == ["run-2"])
    _choose(dock, "run-3")
    assert "history.csv" in dock.message
    assert not dock.table.predict_button.isEnabled()
    _choose(dock, "study-1/perturbed-000")
    assert dock.table.predict_button.isEnabled()
    assert not dock.table.resume_button.isEnabled()  # the study continues it

    # Several are drawn over each other; only what differs is in the table.
    _choose(dock, "run-2", "run-1")
    qtbot.waitUntil(lambda: _curves(dock) == ["run-2", "run-1"])
    assert _settings(dock) == [["Batch size", "2", "4"]]

    dock.filter.setText("batch_size=4 scan")
    assert _names(dock) == ["study-1/perturbed-000", "run-1"]
    header = dock.table.rows.horizontalHeader()
    assert header is not None
    header.sectionClicked.emit(0)
    assert _names(dock) == ["run-1", "study-1/perturbed-000"]
    dock.save_csv(tmp_path / "runs.csv")
    qtbot.waitUntil(lambda: dock.message.startswith("Saved runs.csv"))
    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        assert [row["batch_size"] for row in csv.DictReader(file)] == ["4", "4"]
    dock.filter.setText("nothing")
    assert (_names(dock), dock.table.hint) == ([], "No run has all of these words.")
    dock.filter.clear()


def test_list_follows_a_training_and_shows_any_folder(
    dock: RunsDock, folder: Path, qtbot: QtBot
) -> None:
    dock.table._timer.setInterval(10)
    with only_writer(folder / "run-1"):
        dock.refresh()
        qtbot.waitUntil(lambda: "running" in [r.state for r in dock.table.items])
    qtbot.waitUntil(lambda: "running" not in [r.state for r in dock.table.items])

    dock.folder.setText(str(folder / "study-1"))
    dock.refresh()
    qtbot.waitUntil(lambda: _names(dock) == ["perturbed-000"])

    dock.folder.setText(str(folder / "nowhere"))
    dock.refresh()
    assert "nowhere is not a folder; choose another one" in dock.message
    qtbot.waitUntil(lambda: not dock.table.items)


def test_labels_of_a_run_lie_over_the_image_that_they_are_of(
    dock: RunsDock, viewer: Viewer, image: Image, qtbot: QtBot
) -> None:
    _choose(dock, "run-2")
    _press(dock, "Show labels")
    qtbot.waitUntil(lambda: "scan run-2 labels" in viewer.layers)

    layer = viewer.layers["scan run-2 labels"]
    assert isinstance(layer, Labels)
    np.testing.assert_array_equal(layer.scale, image.scale)
    painted = np.asarray(layer.data).any(axis=(1, 2))
    assert np.flatnonzero(painted).tolist() == [1, 4]
    assert viewer.dims.current_step[0] == 1
    assert dock.message == "Slices of run-2 across z: train 1, validation 4"

    dock.image_choice.layer = viewer.add_image(np.zeros((6, 9, 9)), name="other")
    dock.folder.setText(str(workspace_for(image).path))
    dock.refresh()
    qtbot.waitUntil(lambda: len(dock.table.items) == 4)
    _choose(dock, "run-2")
    _press(dock, "Show labels")
    qtbot.waitUntil(lambda: "run-2 was trained on scan" in dock.message)
    assert "slice z=1 of 32 × 40, which other of 6 × 9 × 9 does not" in dock.message
    _press(dock, "Continue")
    assert "is not a run of the image that is chosen" in dock.message


def test_a_run_predicts_and_starts_a_training_and_is_followed_when_renamed(
    dock: RunsDock,
    viewer: Viewer,
    image: Image,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    segment = open_dock(viewer, "Segment volume")
    assert isinstance(segment, SegmentDock)
    _choose(dock, "study-1/perturbed-000")
    network = segment.bar.network
    _press(dock, "Predict with it")
    assert segment.step == "Predict"
    qtbot.waitUntil(lambda: network.path == folder / MEMBER)
    assert MEMBER.as_posix() in network.texts

    _choose(dock, "run-1")
    _press(dock, "Predict with it")
    qtbot.waitUntil(lambda: network.path == folder / "run-1")
    _press(dock, "Start from it")
    train = segment.pages[segment.step]
    assert isinstance(train, TrainDock)
    assert train.setup.initial_weights == folder / "run-1"

    monkeypatch.setattr(QInputDialog, "getText", lambda *_, **__: ("best", True))
    _press(dock, "Rename…")
    qtbot.waitUntil(lambda: "best" in _names(dock))
    qtbot.waitUntil(lambda: network.path == folder / "best")
    assert train.setup.initial_weights == image.metadata[RUN_KEY] == folder / "best"

    questions: list[str] = []

    def agree(*asked: object) -> QMessageBox.StandardButton:
        questions.extend(map(str, asked))
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(QMessageBox, "question", agree)
    _choose(dock, "best", "run-3")
    _press(dock, "Delete…")
    qtbot.waitUntil(lambda: _names(dock) == ["run-2", "study-1/perturbed-000"])
    assert (
        "This deletes a network (mean IoU 50.0%) after 2 of 3 epochs; a run"
        in (questions[2])
    )
    assert [train.setup.initial_weights, image.metadata[RUN_KEY]] == [None, None]
    qtbot.waitUntil(lambda: network.path == folder / "run-2")


def test_network_is_exported_in_the_kind_that_the_dialog_names(
    dock: RunsDock, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra export")
    typed = str(tmp_path / "network")
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_: (typed, "ONNX (*.onnx)")
    )

    _press(dock, "Export…")
    assert (dock.message, dock.is_busy) == ("", True)
    assert dock.stop_button.isVisible()
    assert not dock.table.export_button.isEnabled()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert dock.message == "Exported and tested network.onnx"
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["network.onnx"]
    assert not dock.stop_button.isVisible()
    assert dock.table.export_button.isEnabled()


def test_export_to_an_unknown_kind_says_which_there_are(
    dock: RunsDock, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = str(tmp_path / "network.pt")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (typed, ""))

    _press(dock, "Export…")
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert dock.message.endswith("end it in .onnx (onnx) or .zip (bioimageio)")
    assert not [*tmp_path.glob("network*")]
