"""The dock Perturb labels, in a real window."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Labels
from napari.viewer import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDockWidget, QMessageBox

from napari_lrcs.config import PerturbConfig
from napari_lrcs.io.opening import open_labels
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.parts.dock import remember
from napari_lrcs.plugin.parts.layers.kinds import kind_of
from napari_lrcs.plugin.parts.layers.layers import (
    appearance,
    phases_shown,
    place_of,
    workspace_for,
)
from napari_lrcs.plugin.perturb.dock import PerturbDock
from napari_lrcs.plugin.perturb.setup import FILES, RANGE, THIS
from napari_lrcs.uncertainty.perturbation.perturb import perturb_labels
from napari_lrcs.uncertainty.perturbation.perturbed_set import HISTOGRAM_NAME

pytestmark = pytest.mark.gui

N, SIDE = 12, 48
PHASES = PhaseTable.named("pore", "solid")


def halves(*painted: int) -> Any:
    """Two phases side by side on some slices."""
    labels = np.zeros((N, SIDE, SIDE), np.uint8)
    for index in painted:
        labels[index, :, : SIDE // 2], labels[index, :, SIDE // 2 :] = 1, 2
    return labels


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Viewer:
    viewer = make_napari_viewer(show=True)
    qtbot.wait(50)
    return viewer


@pytest.fixture
def open_dock(
    viewer: Viewer, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], PerturbDock]]:
    """Open the dock with the settings of an earlier session: the default ones."""
    remember("perturb", {"config": PerturbConfig().to_dict()})
    monkeypatch.setattr("napari_lrcs.plugin.perturb.setup._FEW_LAYERS", 1000)

    def build() -> PerturbDock:
        _, dock = viewer.window.add_plugin_dock_widget("napari-lrcs", "Perturb labels")
        assert isinstance(dock, PerturbDock)
        docks.append(dock)
        settle(dock, qtbot)
        return dock

    docks: list[PerturbDock] = []
    yield build
    for dock in docks:
        dock.shut_down()
        settle(dock, qtbot)
    docks.clear()


def settle(dock: PerturbDock, qtbot: QtBot) -> None:
    """Wait for the job and for the preview."""
    qtbot.waitUntil(
        lambda: (
            not dock.is_busy
            and not dock.suggestion.is_searching
            and not dock.preview.previewer.is_busy
        ),
    )


def add(viewer: Viewer, labels: Any, **options: Any) -> Labels:
    shown = {"scale": (3, 2, 2), "translate": (1, 2, 3), "units": ("um",) * 3}
    looks = appearance(PHASES) | shown | {"name": "paint"} | options
    return viewer.add_labels(labels, **looks)


def show_slice(viewer: Viewer, layer: Labels, index: int) -> None:
    viewer.dims.set_point(0, layer.data_to_world((index, 0, 0))[0])


def members_of(viewer: Viewer) -> list[Labels]:
    return [layer for layer in viewer.layers if "perturbed-" in layer.name]


def report(dock: PerturbDock) -> str:
    return "" if dock.preview.report.isHidden() else str(dock.preview.report.text())


def test_preview_is_hidden_while_another_dock_is_in_front(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    viewer.add_labels(halves(2), name="labels", **appearance(PHASES))
    viewer.dims.set_current_step(0, 2)
    dock = open_dock()
    qtbot.waitUntil(lambda: dock.preview.layer.layer is not None)
    preview = dock.preview.layer.layer
    assert preview is not None
    in_front = preview.visible

    viewer.window.add_plugin_dock_widget("napari-lrcs", "Measure phases")
    qtbot.waitUntil(lambda: not preview.visible)
    docks = viewer.window._qt_window.findChildren(QDockWidget)
    around = next(around for around in docks if around.isAncestorOf(dock))

    def raised() -> bool:
        around.raise_()  # the dock that was opened may still be coming to the front
        return bool(preview.visible)

    qtbot.waitUntil(raised)
    assert in_front


# ---- the preview ----


def test_preview_shows_the_slice_in_view_and_leaves_the_labels_alone(
    viewer: Viewer, open_dock: Callable[[], PerturbDock]
) -> None:
    labels = halves(*range(N))
    layer = add(viewer, labels.copy())
    show_slice(viewer, layer, 5)

    dock = open_dock()

    preview = dock.preview.layer.layer
    assert preview is not None
    shown = np.asarray(preview.data[5])
    n_changed = np.count_nonzero(shown != labels[5])
    assert 0 < n_changed < SIDE * SIDE / 2
    share = 100 * n_changed / SIDE**2
    assert f"{share:.1f}% of the voxels change" in report(dock)
    np.testing.assert_array_equal(layer.data, labels)
    np.testing.assert_array_equal(preview.scale, layer.scale)
    assert phases_shown(preview) == PHASES
    assert not preview.editable
    assert list(viewer.layers) == [layer, preview]
    assert viewer.layers.selection.active is layer


def test_preview_follows_the_slider_and_the_settings(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    layer = add(viewer, halves(*range(N)))
    dock = open_dock()
    show_slice(viewer, layer, 2)
    settle(dock, qtbot)

    assert "slice z=2" in report(dock)

    dock.setup.form["picked_fraction"].value = 0.0
    settle(dock, qtbot)

    assert "0.0% of the voxels change" in report(dock)
    preview = dock.preview.layer.layer
    assert preview is not None
    np.testing.assert_array_equal(preview.data[2], layer.data[2])
    assert not np.asarray(preview.data[3]).any()


def test_preview_that_is_not_wanted_is_gone_with_its_numbers(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    layer = add(viewer, halves(*range(N)))
    dock = open_dock()

    dock.preview.box.setChecked(False)
    show_slice(viewer, layer, 3)
    settle(dock, qtbot)

    assert list(viewer.layers) == [layer]
    assert report(dock) == ""


def test_preview_removed_by_hand_does_not_come_back(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    layer = add(viewer, halves(*range(N)))
    dock = open_dock()
    preview = dock.preview.layer.layer
    assert preview is not None

    viewer.layers.remove(preview)
    show_slice(viewer, layer, 3)
    settle(dock, qtbot)

    assert list(viewer.layers) == [layer]
    assert not dock.preview.box.isChecked()


def test_preview_is_no_labels_layer_to_perturb(
    viewer: Viewer, open_dock: Callable[[], PerturbDock]
) -> None:
    layer = add(viewer, halves(*range(N)))
    dock = open_dock()
    assert dock.preview.layer.layer is not None

    assert [
        dock.setup.labels.itemText(i) for i in range(dock.setup.labels.count())
    ] == ["paint"]

    viewer.layers.remove(layer)

    assert dock.setup.labels.layer is None
    assert not any(kind_of(found) == "perturbed preview" for found in viewer.layers)
    assert "choose labels: paint" in report(dock)


def test_painting_offers_its_painted_slices(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    image = viewer.add_image(np.zeros((N, SIDE, SIDE), np.float32), name="scan")
    painting: Any = new_painting(image, phases=ELECTRODE)
    viewer.add_layer(painting)
    viewer.add_labels(halves(0), name="other")
    show_slice(viewer, painting, 2)
    dock = open_dock()

    assert dock.setup.labels.currentText() == painting.name
    assert report(dock) == "No preview: nothing is painted yet"

    where = np.nonzero(np.ones((SIDE, SIDE), bool))
    painting.data_setitem((np.full(SIDE**2, 8), *where), halves(8)[8].ravel())
    qtbot.waitUntil(lambda: not dock.preview.go_button.isHidden())

    assert dock.preview.go_button.text() == "Go to slice z=8"

    dock.preview.go_button.click()
    settle(dock, qtbot)

    assert "on slice z=8" in report(dock)
    assert dock.preview.go_button.isHidden()
    np.testing.assert_array_equal(painting.data[8], halves(8)[8])


def test_destroyed_phase_is_warned_of_and_a_fitting_perturbation_suggested(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    labels = halves(*range(N))
    labels[:, :, 10:12] = 3
    add(viewer, labels, **appearance(PhaseTable.named("pore", "solid", "skin")))
    dock = open_dock()
    assert "volume of skin changed by" in report(dock)

    dock.suggestion.wanted_share.setValue(3)
    dock.suggestion.button.click()
    settle(dock, qtbot)

    config = dock.setup.form.config
    assert config.kernel == "cross"
    assert 0 < config.picked_fraction < 0.1
    assert "of the voxels change" in dock.message


def test_form_begins_with_the_suggested_strength_until_the_user_sets_another(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    add(viewer, halves(*range(N)))
    remember("perturb", {})

    first = open_dock()
    suggested = first.setup.form.config
    share = re.search(r"<b>([0-9.]+)% of the voxels change", report(first))
    viewer.window.remove_dock_widget(first)
    second = open_dock()  # what was suggested only is suggested anew
    again = second.setup.form.config
    second.setup.form["kernel"].value = "ball_2"
    settle(second, qtbot)
    viewer.window.remove_dock_widget(second)
    third = open_dock()

    assert suggested != PerturbConfig()
    assert again == suggested
    assert share is not None
    assert float(share[1]) == pytest.approx(10, abs=3)
    assert third.setup.form.config == again.with_changes(kernel="ball_2")


def test_what_the_user_sets_while_a_suggestion_is_sought_stays(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    remember("perturb", {})
    dock = open_dock()
    add(viewer, halves(*range(N)))
    assert dock.suggestion.is_searching

    dock.setup.form["picked_fraction"].value = 0.35
    settle(dock, qtbot)
    viewer.window.remove_dock_widget(dock)

    assert open_dock().setup.form.config.picked_fraction == 0.35


# ---- members ----


@pytest.mark.parametrize(
    ("answer", "n_layers", "n_files"),
    [("Add 6 layers", 6, 0), ("Write files", 0, 7), ("Cancel", 0, 0)],
)
def test_many_layers_are_added_only_after_a_question(
    answer: str,
    n_layers: int,
    n_files: int,
    viewer: Viewer,
    open_dock: Callable[[], PerturbDock],
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def press(box: QMessageBox) -> None:
        assert "adds 6 layers" in box.text()
        (made,) = (made for made in box.buttons() if made.text() == answer)
        made.click()

    monkeypatch.setattr(QMessageBox, "exec", press)
    monkeypatch.setattr("napari_lrcs.plugin.perturb.setup._FEW_LAYERS", 5)
    layer = add(viewer, halves(5))
    dock = open_dock()
    dock.members.n_members.setValue(6)

    dock.perturb_button.click()
    settle(dock, qtbot)

    assert len(members_of(viewer)) == n_layers
    assert len([*workspace_for(layer).path.rglob("*.tif")]) == n_files


def test_members_are_layers_of_the_perturbed_slices(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    labels = halves(*range(N))
    layer = add(viewer, labels.copy())
    dock = open_dock()
    dock.setup.region.setCurrentText(RANGE)
    dock.setup.range.setText("3:6")
    dock.members.n_members.setValue(3)
    dock.members.seed.setValue(4)

    dock.perturb_button.click()
    settle(dock, qtbot)

    made = members_of(viewer)
    assert [found.name for found in made] == [
        f"paint perturbed-00{i}" for i in range(3)
    ]
    assert [found.visible for found in made] == [True, False, False]
    config = dock.setup.form.config
    chosen = np.where(np.isin(np.arange(N), (3, 4, 5))[:, None, None], labels, 0)
    for number, found in enumerate(made):
        whole = perturb_labels(chosen, config=config, seed=(4, number))
        np.testing.assert_array_equal(found.data[:], whole)
        for name, value in place_of(layer).items():
            np.testing.assert_array_equal(place_of(found)[name], value)
        assert phases_shown(found) == PHASES
    assert len(made[0].data.store._store_dict) <= 3 + 1  # chunks and metadata
    np.testing.assert_array_equal(layer.data, labels)
    assert dock.message.startswith("Made 3 label layers")
    assert "at least 10 adjacent" in dock.message


def test_flat_labels_have_no_slices_to_choose(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    labels = halves(0)[0]
    viewer.add_labels(labels.copy(), name="paint")
    dock = open_dock()
    assert dock.setup.region.isHidden()
    dock.members.n_members.setValue(1)

    dock.perturb_button.click()
    settle(dock, qtbot)

    (member,) = members_of(viewer)
    expected = perturb_labels(labels, config=dock.setup.form.config, seed=(0, 0))
    np.testing.assert_array_equal(member.data[:], expected)


def test_members_are_files_as_the_command_line_writes_them(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot, tmp_path: Path
) -> None:
    labels = halves(7)
    add(viewer, labels)
    dock = open_dock()
    dock.members.n_members.setValue(2)
    dock.members.choose_folder(tmp_path / "set")

    dock.perturb_button.click()
    settle(dock, qtbot)

    names = {file.name for file in (tmp_path / "set").iterdir()}
    assert names == {"member-000.tif", "member-001.tif", HISTOGRAM_NAME}
    member = open_labels(tmp_path / "set" / "member-001.tif")
    expected = perturb_labels(
        labels, config=dock.setup.form.config, seed=(0, 1), dimensions=2
    )
    np.testing.assert_array_equal(member.slab(0, N), expected)
    assert member.phases == PHASES
    assert members_of(viewer) == []
    assert str(tmp_path / "set") in dock.message

    dock.perturb_button.click()
    settle(dock, qtbot)

    assert "exists already" in dock.message


def test_files_go_beside_the_labels_unless_a_folder_is_named(
    viewer: Viewer,
    open_dock: Callable[[], PerturbDock],
    own_settings: Path,
) -> None:
    add(viewer, halves(7))
    dock = open_dock()

    dock.members.where.setCurrentText(FILES)

    folder = dock.members.folder
    assert folder is not None
    assert folder.name == "perturbed-1"
    assert own_settings in folder.parents


# ---- the histogram ----


def test_interfaces_are_counted_into_an_image_layer_and_a_plot(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    layer = add(viewer, halves(7))
    show_slice(viewer, layer, 7)
    dock = open_dock()
    dock.histogram.n_simulations.setValue(60)

    dock.histogram.count_button.click()
    settle(dock, qtbot)

    counts = viewer.layers["paint interface histogram"]
    for name, value in place_of(layer).items():
        np.testing.assert_array_equal(place_of(counts)[name], value)
    shown = np.asarray(counts.data[7])
    assert shown.dtype == np.uint16
    assert not np.asarray(counts.data[6]).any()
    # Both voxels beside an interface that crosses each row once, at least.
    assert shown.sum() >= 60 * 2 * SIDE * 0.9
    assert "Full width at half maximum" in dock.histogram.text.text()
    (ax,) = dock.histogram.plot.axes
    counted = ax.lines[0]
    assert np.argmax(counted.get_ydata()) in range(12, 18)
    assert "Gaussian of" in ax.get_title()
    assert "60 simulations" in dock.message


# ---- bad input ----


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (halves(), "painted on none of the chosen slices"),
        (halves(3).clip(max=1), "only phase 1 is painted"),
        (np.where(np.arange(SIDE) == SIDE // 2, 0, halves(3)), "no phase touches"),
    ],
    ids=["nothing", "one phase", "no interface"],
)
def test_labels_without_an_interface_are_refused_in_words(
    viewer: Viewer,
    open_dock: Callable[[], PerturbDock],
    qtbot: QtBot,
    labels: Any,
    told: str,
) -> None:
    layer = add(viewer, labels.astype(np.uint8))
    show_slice(viewer, layer, 3)
    dock = open_dock()
    assert report(dock).startswith("No preview: ")

    for made in (
        dock.perturb_button,
        dock.suggestion.button,
        dock.histogram.count_button,
    ):
        made.click()
        settle(dock, qtbot)

        assert told in dock.message
        dock.show_message("")
    assert list(viewer.layers) == [layer]


def test_slices_that_cannot_be_read_are_refused_in_words(
    viewer: Viewer, open_dock: Callable[[], PerturbDock]
) -> None:
    add(viewer, halves(*range(N)))
    dock = open_dock()
    dock.setup.region.setCurrentText(RANGE)
    dock.setup.range.setText("3:99")

    dock.perturb_button.click()

    assert "does not exist" in dock.message
    assert "does not exist" in report(dock)

    dock.setup.region.setCurrentText(THIS)
    viewer.dims.ndisplay = 3
    dock.perturb_button.click()

    assert "the view shows no slice" in dock.message
    viewer.dims.ndisplay = 2


def test_without_labels_the_dock_says_what_to_do(
    open_dock: Callable[[], PerturbDock],
) -> None:
    dock = open_dock()

    dock.perturb_button.click()

    assert "choose labels: paint some in Label phases" in dock.message


# ---- stopping and closing ----


@pytest.fixture
def counting(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> PerturbDock:
    """A dock in the middle of a long job."""
    add(viewer, halves(*range(N)))
    dock = open_dock()
    dock.histogram.n_simulations.setValue(60_000)
    dock.histogram.count_button.click()
    qtbot.waitUntil(lambda: "Simulation" in dock.progress.text)
    return dock


def test_cancelled_job_leaves_no_layer(
    counting: PerturbDock, viewer: Viewer, qtbot: QtBot
) -> None:
    counting.cancel_button.click()
    settle(counting, qtbot)

    assert counting.message.startswith("Stopped")
    assert not any("histogram" in layer.name for layer in viewer.layers)
    assert counting.perturb_button.isEnabled()


def test_labels_removed_in_the_middle_do_no_harm(
    counting: PerturbDock, viewer: Viewer, qtbot: QtBot
) -> None:
    viewer.layers.clear()
    qtbot.wait(200)

    assert counting.is_busy
    assert "choose labels: paint" in report(counting)


def test_dock_closed_in_the_middle_takes_its_preview_along(
    counting: PerturbDock, viewer: Viewer, qtbot: QtBot
) -> None:
    job = counting.job
    assert job is not None
    assert counting.preview.layer.layer is not None

    viewer.window.remove_dock_widget(counting)

    qtbot.waitUntil(lambda: not job.is_running)
    qtbot.wait(50)
    assert [layer.name for layer in viewer.layers] == ["paint"]


def test_window_closed_with_a_preview_does_no_harm(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    add(viewer, halves(*range(N)))
    dock = open_dock()
    assert dock.preview.layer.layer is not None

    viewer.close()
    qtbot.wait(50)

    assert dock.connections == []


def test_settings_are_remembered(
    viewer: Viewer, open_dock: Callable[[], PerturbDock], qtbot: QtBot
) -> None:
    add(viewer, halves(*range(N)))
    first = open_dock()
    first.setup.form["kernel"].value = "cube_3"
    first.setup.form["growing"].value = "1, 2"
    settle(first, qtbot)
    viewer.window.remove_dock_widget(first)

    second = open_dock()

    assert second.setup.form.config.kernel == "cube_3"
    assert second.setup.form.config.growing == (1, 2)
