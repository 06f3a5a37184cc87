import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from napari import Viewer
from napari.layers import Image, Labels
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QMessageBox,
    QPushButton,
    QWidget,
)
from scipy import ndimage

from check_places import check_at, write_check
from napari_lrcs import presets
from napari_lrcs.annotation.annotation import Role
from napari_lrcs.config import PRESETS, TrainConfig
from napari_lrcs.io.volume import format_slices
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.layers.current_slice import SliceInView
from napari_lrcs.plugin.parts.layers.layers import appearance, place_of, workspace_for
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.plugin.train.preview import PREVIEW_NAME, Worked
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.training.run.folder import RunFolder, list_runs

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

DATA = Path(__file__).parents[4] / "shared" / "data"
SHAPE = (6, 32, 40)
PHASES = PhaseTable.named("pore", "NMC")
PLACE = {"scale": (2.0, 0.5, 0.5), "translate": (5.0, 1.0, -3.0), "rotate": 20.0}
SOON = 2000
"""Milliseconds in which a button takes effect."""

OpenDock = Callable[..., TrainDock]


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    return make_napari_viewer(show=True)


@pytest.fixture
def image(viewer: Viewer) -> Image:
    """Add a volume of stripes that lies askew in the world."""
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    return viewer.add_image(
        (_truth() + 0.1 * noise).astype(np.float32),
        name="scan",
        affine=np.diag([1.0, 2.0, 2.0, 1.0]),
        units=("micrometer",) * 3,
        **PLACE,
    )


@pytest.fixture
def labels(viewer: Viewer, image: Image) -> Labels:
    """Add a painting of two slices, one for training and one for validation."""
    layer = new_painting(image, phases=PHASES)
    viewer.add_layer(layer)
    painting = _painting(layer)
    roles: dict[int, Role] = {1: "train", 4: "validation"}
    for z, role in roles.items():
        layer.data[z] = _truth()[z]
        painting.mark_changed([z])
        painting.set_role(z, role)
    painting.save()
    return layer


@pytest.fixture
def dock(
    viewer: Viewer, labels: Labels, tiny_config: TrainConfig, qtbot: QtBot
) -> Iterator[TrainDock]:
    """Open the dock on the painting, to train for a moment."""
    assert labels in viewer.layers
    yield _open(viewer, tiny_config)
    viewer.close()
    qtbot.wait(50)  # the dock lets go of the window


@pytest.fixture
def training(dock: TrainDock, qtbot: QtBot) -> TrainDock:
    """Train without end; the first epoch and the first preview are there."""
    _set(dock, n_epochs=1000)
    dock.buttons.train.click()
    _wait_for_preview(dock, qtbot)
    qtbot.waitUntil(lambda: _n_points(dock) > 0)
    return dock


# The whole way


def test_check_patches_of_the_image_are_left_out_and_this_is_said(
    dock: TrainDock, image: Image, qtbot: QtBot
) -> None:
    check = check_at((1, 4, 8), shape=SHAPE, drawn_at=datetime.now(UTC))
    write_check(workspace_for(image).new_check(), check)
    _set(dock, n_epochs=1)

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    run = RunFolder(workspace_for(image).path / "run-1")
    learnt = run.read_task().learnt
    assert [s.left_out for s in learnt.slices] == [(check.id,)] * 2
    said = "100 painted voxels of slice 1 lie in check patches"
    assert any(said in text for text in dock.notices.texts)


@pytest.mark.slow
def test_training_moves_curves_shows_a_preview_and_lists_its_run(
    dock: TrainDock, viewer: Viewer, image: Image, labels: Labels, qtbot: QtBot
) -> None:
    painted = np.array(labels.data)
    viewer.layers.selection.active = labels

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    preview = viewer.layers[PREVIEW_NAME]
    assert "Next: Predict volume" in dock.message
    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Curves"
    assert _n_points(dock) == dock.setup.form.config.optimisation.n_epochs
    assert preview.data.shape == SHAPE
    assert viewer.layers.index(preview) < viewer.layers.index(labels)
    assert viewer.layers.selection.active is labels
    np.testing.assert_array_equal(labels.data, painted)
    for name, value in place_of(image).items():
        np.testing.assert_array_equal(place_of(preview)[name], value)
    np.testing.assert_allclose(preview.get_color(2), labels.get_color(2))
    (run,) = list_runs(workspace_for(image).path)
    assert run.is_finished
    assert run.phases == PHASES.names


@pytest.mark.slow
def test_preview_is_of_the_slice_in_view_alone(
    dock: TrainDock, viewer: Viewer, image: Image, qtbot: QtBot
) -> None:
    viewer.dims.point = image.data_to_world((3, 16, 20))

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    shown = np.asarray(viewer.layers[PREVIEW_NAME].data)
    assert shown[3].all()
    assert not shown[[0, 1, 2, 4, 5]].any()


@pytest.mark.slow
def test_preview_that_its_user_removed_stays_away_until_the_next_training(
    training: TrainDock, viewer: Viewer, qtbot: QtBot
) -> None:
    before = _n_points(training)

    viewer.layers.remove(PREVIEW_NAME)

    qtbot.waitUntil(lambda: _n_points(training) > before + 2)
    assert PREVIEW_NAME not in viewer.layers
    _stop(training, qtbot)
    training.buttons.train.click()
    _wait_for_preview(training, qtbot)
    _stop(training, qtbot)


@pytest.mark.slow
def test_a_second_training_shows_one_preview_layer(
    dock: TrainDock, viewer: Viewer, qtbot: QtBot
) -> None:
    for _ in range(2):
        dock.buttons.train.click()
        qtbot.waitUntil(lambda: not dock.is_busy)

    assert [layer.name for layer in viewer.layers].count(PREVIEW_NAME) == 1


@pytest.mark.slow
def test_an_image_of_one_slice_trains(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    image = viewer.add_image(_truth()[0].astype(np.float32), scale=(0.5, 0.5))
    viewer.add_labels(
        _truth()[0], name="painting", **appearance(PHASES), **place_of(image)
    )
    dock = _open(viewer, tiny_config)

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    preview = np.asarray(viewer.layers[PREVIEW_NAME].data)
    assert "Done" in dock.message
    assert preview.shape == SHAPE[1:]
    assert preview.all()


@pytest.mark.slow
def test_all_painted_slices_train_where_none_is_named(
    viewer: Viewer, image: Image, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    painted = np.zeros(SHAPE, np.uint8)
    painted[[1, 4, 5]] = _truth()[[1, 4, 5]]
    viewer.add_labels(painted, name="plain", **place_of(image))
    dock = _open(viewer, tiny_config)
    dock.setup.roles.fields["test"].setText("5")

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "test mean IoU" in dock.message
    assert any("no slice is for validation" in text for text in dock.notices.texts)
    assert _slices_of(_runs(image)[0], "train") == {1, 4}


# Stop, cancel, pause, continue


@pytest.mark.slow
def test_stop_keeps_the_best_and_the_run_continues(
    training: TrainDock, image: Image, qtbot: QtBot
) -> None:
    training.buttons.stop.click()
    qtbot.waitUntil(lambda: not training.is_busy, timeout=SOON)

    (run,) = _runs(image)
    n_done = len(_history(run))
    assert (run / "best.safetensors").is_file()
    assert "Best mean IoU" in training.message
    assert RunFolder(run).summarise().can_resume
    assert training.buttons.train.isVisible()
    assert not training.buttons.stop.isVisible()

    # Its own slices and settings count, whatever the setup says by now.
    training.setup.roles.fields["train"].setText("2")
    _set(training, n_filters=4)
    training.continue_run(run)
    qtbot.waitUntil(lambda: len(_history(run)) > n_done)
    _stop(training, qtbot)

    assert _runs(image) == [run]
    assert _n_points(training) >= n_done + 1  # what was done before is drawn as well


@pytest.mark.slow
def test_new_strokes_are_told_and_a_new_run_takes_them_up(
    training: TrainDock, image: Image, labels: Labels, qtbot: QtBot
) -> None:
    def paint(z: int) -> None:
        labels.data[z] = _truth()[z]
        _painting(labels).mark_changed([z])
        _painting(labels).set_role(z, "train")

    assert training.new_strokes.text == ""
    paint(2)
    qtbot.waitUntil(lambda: "1 slice has changed" in training.new_strokes.text)
    (first,) = _runs(image)

    _press(training.new_strokes, "Restart with it")
    qtbot.waitUntil(lambda: len(_runs(image)) == 2)

    second = max(_runs(image))
    assert training.new_strokes.text == ""
    assert RunFolder(second).summarise().parent == first.name
    assert _slices_of(second, "train") == {1, 2}
    assert _slices_of(first, "train") == {1}  # kept
    qtbot.waitUntil(lambda: bool(_history(second)))
    _stop(training, qtbot)

    # Continue does so, too, once the training has ended.
    paint(3)
    _painting(labels).save()
    qtbot.waitUntil(lambda: training.last_run.newest == second)
    training.buttons.resume.click()
    qtbot.waitUntil(lambda: len(_runs(image)) == 3)
    third = max(_runs(image))
    qtbot.waitUntil(lambda: bool(_history(third)))
    _stop(training, qtbot)
    assert RunFolder(third).summarise().parent == second.name
    assert _slices_of(third, "train") == {1, 2, 3}
    assert any("continues" in text for text in training.notices.texts)


@pytest.mark.slow
def test_cancel_removes_its_run_and_no_other(
    dock: TrainDock, image: Image, qtbot: QtBot
) -> None:
    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    (earlier,) = _runs(image)
    before = _contents(earlier)
    _set(dock, n_epochs=1000)
    dock.buttons.train.click()
    qtbot.waitUntil(lambda: len(_runs(image)) == 2)
    qtbot.waitUntil(lambda: _n_points(dock) > 3)

    dock.buttons.cancel.click()
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=SOON)

    assert sorted(workspace_for(image).path.glob("run-*")) == [earlier]
    assert _contents(earlier) == before
    assert "Cancelled" in dock.message
    assert PREVIEW_NAME not in dock.viewer.layers


@pytest.mark.slow
def test_cancel_asks_before_more_than_a_minute_of_work_is_lost(
    training: TrainDock, image: Image, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    questions: list[str] = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]

    def answer(_parent: Any, _title: str, text: str, *_buttons: Any) -> Any:
        questions.append(text)
        return answers[len(questions) - 1]

    monkeypatch.setattr(QMessageBox, "question", answer)
    n_done = _n_points(training)

    training.handle(Worked(seconds=75))
    training.buttons.cancel.click()
    qtbot.waitUntil(lambda: _n_points(training) > n_done)
    assert PREVIEW_NAME in training.viewer.layers
    training.handle(Worked(seconds=75))
    training.buttons.cancel.click()
    qtbot.waitUntil(lambda: not training.is_busy, timeout=SOON)

    assert "run-1 has trained for 1:15, and Cancel removes it" in questions[0]
    assert len(questions) == 2
    assert _runs(image) == []


@pytest.mark.slow
def test_cancel_keeps_a_run_that_was_continued(
    training: TrainDock, image: Image, qtbot: QtBot
) -> None:
    _stop(training, qtbot)
    (run,) = _runs(image)
    n_done = len(_history(run))
    training.continue_run(run)
    qtbot.waitUntil(lambda: len(_history(run)) > n_done)

    training.buttons.cancel.click()
    qtbot.waitUntil(lambda: not training.is_busy, timeout=SOON)

    assert _runs(image) == [run]
    assert "kept" in training.message


@pytest.mark.slow
def test_pause_holds_the_training_until_resumed(
    training: TrainDock, qtbot: QtBot
) -> None:
    training.buttons.pause.click()
    qtbot.wait(500)
    held = _n_points(training)
    qtbot.wait(500)

    assert _n_points(training) == held
    assert training.buttons.pause.text() == "Resume"

    training.buttons.pause.click()
    qtbot.waitUntil(lambda: _n_points(training) > held)
    assert training.buttons.pause.text() == "Pause"
    _stop(training, qtbot)


@pytest.mark.slow
def test_a_training_starts_from_another_network(
    dock: TrainDock, image: Image, qtbot: QtBot
) -> None:
    _set(dock, n_filters=4, n_epochs=1)
    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    _set(dock, n_filters=2, learning_rate=1e-8, seed=7)

    dock.start_from(_runs(image)[0])
    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    first, second = sorted(_runs(image))
    assert dock.setup.initial_weights == first
    box = dock.setup.start.findChild(QComboBox)
    assert box is not None
    score = f"{first.name} · mean IoU"  # once the runs are listed
    qtbot.waitUntil(lambda: box.currentText().startswith(score))
    assert _config(second)["n_filters"] == 4  # the network's shape came with it
    np.testing.assert_allclose(_weights(first), _weights(second), atol=1e-5)


def test_a_file_that_is_no_network_is_told(dock: TrainDock, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not a network")

    with pytest.raises(ValueError, match=r"other\.safetensors"):
        dock.setup.start_from(path)

    assert dock.setup.initial_weights is None


# What others do meanwhile


def _remove_labels(viewer: Viewer) -> None:
    viewer.layers.remove("scan labels")


def _rename_labels(viewer: Viewer) -> None:
    viewer.layers["scan labels"].name = "mine"


def _rename_image(viewer: Viewer) -> None:
    viewer.layers["scan"].name = "tomogram"


def _remove_image(viewer: Viewer) -> None:
    viewer.layers.remove("scan")


def _remove_all(viewer: Viewer) -> None:
    viewer.layers.clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [_remove_labels, _rename_labels, _rename_image, _remove_image, _remove_all],
)
def test_layers_may_change_while_a_training_runs(
    training: TrainDock,
    viewer: Viewer,
    image: Image,
    qtbot: QtBot,
    change: Callable[[Viewer], None],
) -> None:
    workspace = workspace_for(image)

    change(viewer)
    n_layers = len(viewer.layers)
    before = _n_points(training)
    qtbot.waitUntil(lambda: _n_points(training) > before + 2)
    _stop(training, qtbot)

    (run,) = (run.path for run in list_runs(workspace.path))
    assert (run / "best.safetensors").is_file()
    assert "Stopped" in training.message
    assert len(viewer.layers) == n_layers  # no preview of an image that is gone


@pytest.mark.slow
def test_closing_the_dock_stops_the_training_and_it_can_be_continued(
    viewer: Viewer,
    image: Image,
    labels: Labels,
    tiny_config: TrainConfig,
    qtbot: QtBot,
) -> None:
    del labels
    dock = _open(viewer, tiny_config.with_changes(n_epochs=1000))
    dock.buttons.train.click()
    _wait_for_preview(dock, qtbot)
    before = _history(_runs(image)[0])

    viewer.window.remove_dock_widget(dock)
    del dock
    ended = _wait_for_threads()
    qtbot.wait(100)

    (run,) = _runs(image)
    assert ended
    assert (run / "resume.pt").is_file()
    assert len(_history(run)) >= len(before)


@pytest.mark.slow
def test_closing_the_viewer_stops_the_training_and_it_can_be_continued(
    training: TrainDock, viewer: Viewer, image: Image, qtbot: QtBot
) -> None:
    assert training.is_busy

    viewer.close()
    qtbot.wait(50)
    ended = _wait_for_threads()
    qtbot.wait(100)

    (run,) = _runs(image)
    assert ended
    assert (run / "resume.pt").is_file()
    assert (run / "best.safetensors").is_file()


@pytest.mark.slow
def test_two_docks_train_in_folders_of_their_own(
    training: TrainDock,
    viewer: Viewer,
    image: Image,
    tiny_config: TrainConfig,
    qtbot: QtBot,
) -> None:
    other = _open(viewer, tiny_config)

    other.buttons.train.click()
    qtbot.waitUntil(lambda: not other.is_busy)
    _stop(training, qtbot)

    assert "Done" in other.message
    assert len(_runs(image)) == 2


# What is told


def test_slices_that_cannot_be_read_are_told_before_starting(
    dock: TrainDock, image: Image
) -> None:
    told: dict[Role, tuple[str, str]] = {
        "train": ("10-20", "Train slices: slices must look like 0, 0,2 or 1:3"),
        "test": ("6", "Test slices: slice 6 of '6' does not exist"),
    }

    for role, (text, message) in told.items():
        field = dock.setup.roles.fields[role]
        readable = field.text()
        field.setText(text)

        dock.buttons.train.click()

        assert not dock.is_busy
        assert message in dock.message
        assert not list(workspace_for(image).path.glob("run-*"))
        field.setText(readable)


@pytest.mark.slow
def test_a_slice_of_two_roles_is_told_and_leaves_no_run(
    dock: TrainDock, image: Image, qtbot: QtBot
) -> None:
    dock.setup.roles.fields["test"].setText("1")

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "slice 1 has more than one role" in dock.message
    assert dock.buttons.train.isVisible()
    assert not list(workspace_for(image).path.glob("run-*"))


def test_a_setting_that_is_no_value_is_told(dock: TrainDock) -> None:
    dock.setup.form["learning_rate"].value = "fast"

    dock.buttons.train.click()

    assert "Learning rate must be a number" in dock.message
    assert not dock.is_busy


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.zeros((6, 32, 40, 3), np.uint8), {"rgb": True}, "is a colour image"),
        (np.zeros((2, 6, 32, 40), np.float32), {}, "expected z, y, x"),
    ],
)
def test_images_in_colour_or_of_four_axes_are_told(
    viewer: Viewer,
    tiny_config: TrainConfig,
    array: NDArray[Any],
    options: dict[str, Any],
    message: str,
) -> None:
    viewer.add_image(array, name="odd", **options)
    viewer.add_labels(_truth())
    dock = _open(viewer, tiny_config)

    dock.buttons.train.click()

    assert message in dock.message
    assert not dock.is_busy


@pytest.mark.slow
def test_image_that_cannot_be_trained_on_is_told(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    image = viewer.add_image(np.full(SHAPE, 3, np.float32), name="odd")
    labels = viewer.add_labels(_truth())
    dock = _open(viewer, tiny_config)
    dock.setup.labels_choice.layer = labels

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "constant" in dock.message
    assert dock.buttons.train.isVisible()
    assert not list(workspace_for(image).path.glob("run-*"))


def test_empty_labels_of_another_shape_are_not_called_unpainted(
    dock: TrainDock, viewer: Viewer
) -> None:
    cut = viewer.add_labels(np.zeros((6, 32, 41), np.uint8), name="cut")
    dock.setup.labels_choice.layer = cut

    dock.buttons.train.click()

    assert "(6, 32, 41); labels need the image's shape" in dock.message
    assert not dock.is_busy


@pytest.mark.slow
def test_error_at_the_start_keeps_the_page_and_names_the_field_of_the_form(
    dock: TrainDock, qtbot: QtBot
) -> None:
    _set(dock, phase_weights=(1.0, 2.0, 20.0))

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert dock.tabs.tabText(dock.tabs.currentIndex()) == "Setup"
    assert dock.message.startswith("Phase weights must be 2 numbers, one per phase")


def test_a_missing_image_or_painting_is_told(
    viewer: Viewer, tiny_config: TrainConfig
) -> None:
    dock = _open(viewer, tiny_config)

    dock.buttons.train.click()
    without_image = dock.message
    viewer.add_image(np.zeros(SHAPE))
    dock.buttons.train.click()

    assert "choose an image" in without_image
    assert "Label phases" in dock.message


def test_an_unexpected_error_is_shown_and_the_buttons_come_back(
    dock: TrainDock, qtbot: QtBot
) -> None:
    def failing() -> Events:
        yield None
        raise RuntimeError("CUDA error: an illegal memory access")

    dock.begin("Training", failing)
    while_busy = dock.buttons.train.isVisible()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert not while_busy
    assert "CUDA error" in dock.message
    assert dock.buttons.train.isVisible()


@pytest.mark.slow
def test_the_major_class_pitfall_is_told_and_stays_in_sight(
    dock: TrainDock, labels: Labels, qtbot: QtBot
) -> None:
    # A learning rate of nearly nothing leaves the network with one phase or noise;
    # weights leave it with one.
    del labels
    _set(dock, n_epochs=6, loss="cross_entropy", phase_weights=(1.0, 0.0))

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert any("major-class pitfall" in text for text in dock.notices.texts)
    assert "pitfall" in dock.notices.text()
    assert "Done" in dock.message


# Roles, presets, settings


def test_roles_follow_the_painting_and_keep_what_was_typed(
    dock: TrainDock, labels: Labels
) -> None:
    fields, painting = dock.setup.roles.fields, _painting(labels)
    filled = fields["train"].text(), fields["validation"].text()

    fields["train"].setText("1,2")
    painting.changed.emit()  # a stroke
    after_a_stroke = fields["train"].text()
    painting.set_role(5, "test")

    assert filled == ("1", "4")
    assert after_a_stroke == "1,2"
    assert [field.text() for field in fields.values()] == ["1", "4", "5"]


def test_slices_that_were_typed_are_marked_in_the_painting(
    dock: TrainDock, labels: Labels
) -> None:
    roles, painting = dock.setup.roles, _painting(labels)

    roles.fields["train"].setText("1,2")
    roles.save(6)
    marked = dict(painting.roles)
    roles.fields["validation"].setText("2")  # of two roles: told when it is trained
    roles.save(6)

    assert marked == painting.roles == {1: "train", 2: "train", 4: "validation"}


def test_slices_for_training_stay_unmarked_unless_they_are_typed(
    dock: TrainDock, labels: Labels
) -> None:
    roles, painting = dock.setup.roles, _painting(labels)
    painting.set_roles({})

    roles.save(6)

    assert dict(painting.roles) == {}
    assert roles.read(6)["train"] == tuple(painting.painted())


def test_roles_of_another_layer_are_empty(dock: TrainDock, viewer: Viewer) -> None:
    plain = viewer.add_labels(_truth(), name="plain")

    dock.setup.labels_choice.layer = plain

    assert {field.text() for field in dock.setup.roles.fields.values()} == {""}


def test_axis_comes_from_the_painting(
    viewer: Viewer, image: Image, tiny_config: TrainConfig
) -> None:
    viewer.add_layer(new_painting(image, phases=PHASES, axis="y"))

    dock = _open(viewer, tiny_config)
    dock.setup.preset.choose("paper")

    assert dock.setup.form.config.preprocessing.axis == "y"


@pytest.mark.parametrize(
    ("places", "text"),
    [((), ""), ((3,), "3"), ((3, 4), "3,4"), ((3, 4, 5, 9), "3:6,9")],
)
def test_slices_are_written_as_they_are_read(
    places: tuple[int, ...], text: str
) -> None:
    assert format_slices(places) == text


def test_a_preset_of_the_users_is_offered_as_soon_as_it_is_saved(
    dock: TrainDock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "_folder", lambda: tmp_path)
    presets.save_preset("mine", PRESETS["paper"].with_changes(n_filters=4))
    dock.setup.preset.showPopup()
    dock.setup.preset.hidePopup()

    dock.setup.preset.choose("mine")

    assert dock.setup.form.config.network.n_filters == 4
    assert dock.setup.preset.currentText() == "mine"


def test_a_preset_fills_the_form_and_its_name_follows(dock: TrainDock) -> None:
    dock.setup.preset.choose("paper")
    filled = dock.setup.form.config
    dock.setup.form["n_epochs"].value = 7

    assert filled == PRESETS["paper"].with_changes(device="cpu")
    assert dock.setup.preset.currentText() == "custom settings"

    dock.setup.form["n_epochs"].value = PRESETS["paper"].optimisation.n_epochs
    assert dock.setup.preset.currentText() == "paper"


def test_settings_are_remembered_from_dock_to_dock(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    config = tiny_config.with_changes(n_epochs=9, phase_weights=(1.0, 2.0), noise=0.25)
    dock = _open(viewer, config)
    qtbot.wait(50)

    viewer.window.remove_dock_widget(dock)
    del dock
    again = TrainDock(viewer)
    viewer.window.add_dock_widget(again)

    assert again.setup.form.config == config


def test_settings_of_another_version_are_left_alone(
    viewer: Viewer, tiny_config: TrainConfig
) -> None:
    dock = _open(viewer, tiny_config)

    dock.setup.restore({"config": {"n_epochs": 3, "unheard_of": 1}})

    assert dock.setup.form.config == tiny_config


# Slices in view, devices, runs


def test_slice_in_view_respects_the_place_of_the_image(
    viewer: Viewer, image: Image
) -> None:
    in_view = SliceInView(viewer, image)

    viewer.dims.point = image.data_to_world((2, 30, 7))
    inside = [in_view(axis) for axis in AXES]
    viewer.dims.point = image.data_to_world((99, 99, 99))
    beyond = [in_view(axis) for axis in AXES]
    in_view.disconnect_events()

    assert inside == [2, 30, 7]
    for index, n_slices in zip(beyond, SHAPE, strict=True):
        assert index <= n_slices - 1


@pytest.mark.slow
def test_device_is_told_and_the_diagnostics_are_copied(
    dock: TrainDock, qtbot: QtBot
) -> None:
    line = dock.setup.device_line
    qtbot.waitUntil(lambda: "Looking" not in line.text)

    line.copy.click()

    clipboard = QApplication.clipboard()
    assert clipboard is not None
    assert line.text.startswith(("CPU", "CUDA"))
    assert "torch: " in clipboard.text()
    assert dock.setup.form.config.device == "cpu"


@pytest.mark.slow
def test_curves_come_back_after_a_restart(
    dock: TrainDock, image: Image, qtbot: QtBot
) -> None:
    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy and bool(_runs(image)))

    later = _open(dock.viewer, dock.setup.form.config)
    qtbot.waitUntil(lambda: not later.curves.is_empty)

    (run,) = _runs(image)
    assert _legend(later) == ["training", "validation", *PHASES.names]
    assert _n_points(later) == _n_points(dock)
    assert later.last_run.newest == run


@pytest.mark.slow
def test_curves_are_moved_not_made_anew(training: TrainDock, qtbot: QtBot) -> None:
    lines = [line for ax in training.curves.axes for line in ax.lines]
    before = _n_points(training)

    qtbot.waitUntil(lambda: _n_points(training) > before + 2)

    assert [line for ax in training.curves.axes for line in ax.lines] == lines
    _stop(training, qtbot)


# Helpers


def _truth() -> NDArray[np.uint8]:
    return np.broadcast_to(np.arange(SHAPE[2]) // 5 % 2 + 1, SHAPE).astype(np.uint8)


def _painting(layer: Labels) -> Painting:
    painting = painting_of(layer)
    assert painting is not None
    return painting


def _open(viewer: Viewer, config: TrainConfig) -> TrainDock:
    dock = TrainDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.setup.form.config = config.with_changes(
        axis=dock.setup.form.config.preprocessing.axis
    )
    return dock


def _set(dock: TrainDock, **changes: object) -> None:
    dock.setup.form.config = dock.setup.form.config.with_changes(**changes)


def _press(within: QWidget, text: str) -> None:
    (made,) = (b for b in within.findChildren(QPushButton) if b.text() == text)
    made.click()


def _stop(dock: TrainDock, qtbot: QtBot) -> None:
    dock.buttons.stop.click()
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=SOON)


def _wait_for_preview(dock: TrainDock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: PREVIEW_NAME in dock.viewer.layers)


def _wait_for_threads() -> bool:
    pool = QThreadPool.globalInstance()
    assert pool is not None
    return bool(pool.waitForDone(SOON))


def _n_points(dock: TrainDock) -> int:
    return max(
        (np.size(line.get_xdata()) for line in dock.curves.axes[0].lines), default=0
    )


def _legend(dock: TrainDock) -> list[str]:
    legends = filter(None, (ax.get_legend() for ax in dock.curves.axes))
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def _runs(image: Image) -> list[Path]:
    return [run.path for run in list_runs(workspace_for(image).path)]


def _history(run: Path) -> list[str]:
    place = run / "history.csv"
    return place.read_text().splitlines()[1:] if place.is_file() else []


def _config(run: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((run / "config.json").read_text())
    return config


def _contents(run: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in run.iterdir()}


def _slices_of(run: Path, role: str) -> set[int]:
    return {
        index
        for name, places in RunFolder(run).read_roles().items()
        for index in places
        if name == role
    }


def _weights(run: Path) -> NDArray[np.float32]:
    from napari_lrcs.models.checkpoint import load_checkpoint  # loads torch

    state = load_checkpoint(run).state
    kernels = [state[name].numpy().ravel() for name in state if state[name].dim() == 4]
    return np.concatenate(kernels)


# Neighbours


@pytest.mark.parametrize(
    ("name", "context_slices"),
    [("nmc-electrode", 2), ("nmc-electrode shuffled", 0), ("nmc-real-a", 0)],
)
def test_context_follows_whether_slices_resemble_their_neighbours(
    name: str, context_slices: int, viewer: Viewer, qtbot: QtBot
) -> None:
    if not DATA.is_dir():
        pytest.skip("needs the real data")
    array = tifffile.imread(DATA / f"{name.split(maxsplit=1)[0]}-raw.tif")
    if "shuffled" in name:
        array = array[np.random.default_rng(0).permutation(len(array))]
    viewer.add_image(array, name=name)

    dock = TrainDock(viewer)

    context, form = dock.setup.training.context, dock.setup.form
    qtbot.waitUntil(lambda: name in context.text())
    assert form["context_slices"].value == context_slices
    assert dock.setup.preset.currentText() == "quick"
    assert context.text().startswith("No neighbours") == (context_slices == 0)


def test_a_value_that_the_user_has_set_is_kept_but_warned_of(
    viewer: Viewer, qtbot: QtBot
) -> None:
    noise = np.random.default_rng(0).standard_normal((12, 40, 40))
    alike = viewer.add_image(ndimage.gaussian_filter(noise, 2), name="alike")
    viewer.add_image(noise, name="noise")
    dock = TrainDock(viewer)
    context, form = dock.setup.training.context, dock.setup.form

    def show(layer: Image) -> None:
        dock.setup.image_choice.layer = layer
        qtbot.waitUntil(lambda: layer.name in context.text())

    show(viewer.layers["noise"])
    assert form["context_slices"].value == 0
    form["context_slices"].value = 1
    assert "set the context slices to 0" in context.text()
    show(alike)
    assert form["context_slices"].value == 1
    dock.setup.preset.choose("paper")
    show(viewer.layers["noise"])
    show(alike)
    assert form["context_slices"].value == 0
    dock.setup.preset.choose("quick")
    assert form["context_slices"].value == 2
    show(viewer.layers["noise"])
    dock.setup.preset.choose("best")
    assert form["context_slices"].value == 0
    show(alike)
    dock.setup.preset.choose("quick")

    dock.remember()
    again = TrainDock(viewer)
    again.setup.image_choice.layer = viewer.layers["noise"]
    qtbot.waitUntil(lambda: "noise" in again.setup.training.context.text())
    assert again.setup.form["context_slices"].value == 0


@pytest.mark.slow
def test_a_training_measures_its_volume_and_says_what_it_chose(
    dock: TrainDock, image: Image, qtbot: QtBot
) -> None:
    image.data = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    dock.setup.training.context.is_fitted = True

    dock.buttons.train.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    (run,) = list_runs(workspace_for(image).path)
    assert run.config is not None
    assert run.config.network.context_slices == 0
    assert any(text.startswith("no neighbours: ") for text in dock.notices.texts)
