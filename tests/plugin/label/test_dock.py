from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari import Viewer
from napari._qt.widgets.qt_keyboard_settings import ShortcutEditor
from napari.layers import Image, Labels, Points, Shapes, Surface, Tracks, Vectors
from napari.utils.action_manager import action_manager
from napari.utils.color import ColorValue
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton, QTableWidget

from napari_lrcs.config import TrainConfig
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.inference.segment import BaselineTask, label_slice, segment_volume
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import ELECTRODE, Phase, PhaseTable
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.label.slices_table import compact
from napari_lrcs.plugin.painting.field_of_view import ABOUT_Z, LAYER
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.keys import (
    DONE,
    NEXT,
    NEXT_SPOT,
    PHASE_ACTIONS,
    PREVIOUS,
    keys_of,
)
from napari_lrcs.plugin.parts.layers.layers import (
    appearance,
    phases_shown,
    workspace_for,
)
from napari_lrcs.preprocessing.mask import open_mask

pytestmark = pytest.mark.gui

MakeViewer = Callable[..., Viewer]

SHAPE = (8, 40, 50)
LEVELS = np.arange(50) // 17 * 100
IN_PLANE = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
TRUTH = np.broadcast_to(LEVELS // 100 + 1, SHAPE[1:]).astype(np.uint8)
GREY = (LEVELS + np.random.default_rng(0).normal(0, 20, SHAPE)).astype(np.float32)


def dock_in(viewer: Viewer) -> LabelDock:
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrcs", "Label phases")
    assert isinstance(dock, LabelDock)
    QApplication.processEvents()
    return dock


def begun(viewer: Viewer, **image: Any) -> tuple[LabelDock, Painting]:
    viewer.add_image(image.pop("data", GREY), **{"name": "scan", **image})
    dock = dock_in(viewer)
    dock.new_labels()
    assert dock.painting is not None, dock.message
    return dock, dock.painting


def close(dock: LabelDock) -> None:
    dock.viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    QApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)


def counts_of(painting: Painting) -> dict[int, list[int]]:
    return {index: counts.tolist() for index, counts in painting.painted().items()}


def wait_for_job(dock: LabelDock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy)


# ---- beginning ----


def test_one_click_makes_labels_ready_to_paint(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(GREY, name="scan", scale=(2.0, 1.0, 1.0), units="um")
    dock = dock_in(viewer)

    dock.new_button.click()

    layer = viewer.layers.selection.active
    assert isinstance(layer, Labels)
    assert layer.name == "scan labels"
    assert layer.data.dtype == np.uint8
    assert (layer.mode, layer.selected_label) == ("paint", 1)
    assert phases_shown(layer) == ELECTRODE
    for phase in ELECTRODE:
        np.testing.assert_allclose(
            layer.get_color(phase.label), ColorValue(phase.colour)
        )
    np.testing.assert_array_equal(layer.scale, (2, 1, 1))
    assert dock.labels.layer == layer


def test_without_an_image_the_dock_says_how_to_get_one(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer()
    dock = dock_in(viewer)

    dock.new_labels()

    assert "Open an image: File >" in dock.message
    assert not viewer.layers


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (np.zeros((40, 50, 3)), {"rgb": True}, "colour image"),
        (np.zeros((2, 3, 4, 5)), {}, "4 axes"),
    ],
)
def test_unfit_image_is_refused_with_a_sentence(
    data: Any,
    options: dict[str, Any],
    words: str,
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(data, name="unfit", **options)
    dock = dock_in(viewer)
    assert words in dock.message

    dock.new_labels()

    assert words in dock.message
    assert len(viewer.layers) == 1


def test_2d_image_is_one_slice(make_napari_viewer: MakeViewer, qtbot: QtBot) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer, data=GREY[0])

    painting.layer.paint((20, 25), 2)
    dock.slices.mark("train")

    assert painting.roles == {0: "train"}
    qtbot.waitUntil(lambda: dock.slices.table.texts()[0][:2] == ["0", "train"])
    assert not dock.axis.isEnabled()


def test_layer_of_the_sample_is_taken_up_with_its_phases(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    phases = PhaseTable.named("a", "b")
    viewer.add_image(GREY, name="scan")
    layer = viewer.add_labels(np.ones(SHAPE, np.uint8), **appearance(phases))
    dock = dock_in(viewer)
    dock.labels.layer = layer

    dock.use_layer()

    painting = painting_of(layer)
    assert painting is not None
    assert painting.phases == dock.phases.phases == phases
    qtbot.waitUntil(lambda: len(painting.painted()) == 8)


# ---- slices and roles ----


def test_marked_slice_is_the_one_in_view(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(
        viewer, scale=(2.0, 0.5, 0.5), translate=(10.0, 0.0, 0.0), rotate=IN_PLANE
    )
    viewer.dims.set_point(0, 10 + 2 * 5)

    dock.slices.mark("train")
    dock.slices.go_to(2)
    dock.slices.mark("test")

    assert painting.roles == {2: "test", 5: "train"}
    assert viewer.dims.point[0] == pytest.approx(10 + 2 * 2)


@pytest.mark.parametrize(("axis", "across"), [("y", 1), ("x", 2)])
def test_view_turns_to_the_axis_that_is_painted_across(
    axis: str, across: int, make_napari_viewer: MakeViewer
) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(GREY, name="scan")
    dock = dock_in(viewer)
    dock.axis.setCurrentText(axis)

    dock.new_labels()
    dock.slices.go_to(3)
    dock.slices.mark("validation")

    assert dock.painting is not None
    assert dock.painting.axis == axis
    assert across not in viewer.dims.displayed
    assert viewer.dims.point[across] == 3
    assert dock.painting.roles == {3: "validation"}


def test_slices_across_another_axis_cannot_be_marked(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)

    viewer.dims.order = (1, 0, 2)
    dock.slices.mark("train")

    assert not painting.roles
    assert dock.slices.index is None


def test_table_shows_voxels_per_phase_and_what_is_missing(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    labels = np.zeros((40, 50), np.uint8)
    labels[:20], labels[20, :5] = 1, 3

    dock.slices.go_to(4)
    painting.set_plane(4, labels)
    dock.slices.mark("train")

    assert dock.slices.table.texts() == [["4", "train", "1.0k", "–", "5"]]
    assert dock.slices.gaps.splitlines() == [
        "Slice 4 (train) has no CBD.",
        "No slice is for validation: part of the training slices will be used.",
    ]


def test_suggested_slices_lie_far_apart_and_can_be_visited(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer, data=np.zeros((90, 4, 4)))

    dock.slices.suggest()
    suggested = dock.slices.table.indices
    visited = [dock.slices.index]
    for _ in range(3):
        dock.slices.step(1)
        visited.append(dock.slices.index)
    dock.slices.step(-1)

    assert suggested == (15, 45, 75)
    assert visited == [15, 45, 75, 15]
    assert dock.slices.index == 75
    assert not painting.roles


# ---- phases ----


def test_phases_can_be_renamed_coloured_and_added_live(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)

    dock.phases.change(2, name="binder")
    dock.phases.change(2, colour="#ff0000")
    dock.phases.add()

    binder = Phase(label=2, name="binder", colour="#ff0000")
    assert painting.phases.phases[1] == binder
    assert painting.phases.names == ("pore", "binder", "NMC", "phase 4")
    assert phases_shown(painting.layer) == painting.phases
    assert painting.folder.read().phases == painting.phases


def test_name_that_stands_already_is_refused(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)

    dock.phases.change(2, name="NMC")

    assert "share a name" in dock.message
    assert painting.phases == dock.phases.phases == ELECTRODE


def test_removing_a_painted_phase_asks_first(
    make_napari_viewer: MakeViewer, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    painting.set_plane(0, np.full((40, 50), 2, np.uint8))
    painting.set_plane(1, np.full((40, 50), 3, np.uint8))
    painting.save()
    asked: list[str] = []

    def answer(question: str) -> bool:
        asked.append(question)
        return len(asked) == 2

    monkeypatch.setattr(dock.phases_controller, "confirm", answer)
    dock.phases.select(2)
    dock.phases.remove()  # no
    assert counts_of(painting) == {0: [0, 2000, 0], 1: [0, 0, 2000]}
    dock.phases.remove()  # yes
    qtbot.waitUntil(lambda: not painting.is_renumbering)

    assert "2,000 voxels are painted CBD" in asked[1]
    assert "undo" in asked[1]
    assert painting.phases.names == ("pore", "NMC")
    assert counts_of(painting) == {1: [0, 2000]}
    assert painting.layer.editable
    assert (painting.plane(1) == 2).all()


def test_moving_a_phase_renumbers_what_is_painted(
    make_napari_viewer: MakeViewer, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    painting.set_plane(0, np.full((40, 50), 1, np.uint8))
    painting.save()
    monkeypatch.setattr(dock.phases_controller, "confirm", lambda _question: True)

    dock.phases.select(1)
    dock.phases.move_by(1)
    qtbot.waitUntil(lambda: not painting.is_renumbering)

    assert painting.phases.names == ("CBD", "pore", "NMC")
    assert counts_of(painting) == {0: [0, 2000, 0]}


def test_closing_the_dock_lets_renumbering_end(
    make_napari_viewer: MakeViewer, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer(show=True)
    dock, painting = begun(viewer)
    painting.set_plane(0, np.full((40, 50), 1, np.uint8))
    painting.save()
    monkeypatch.setattr(dock.phases_controller, "confirm", lambda _question: True)

    dock.phases.select(1)
    dock.phases.move_by(1)
    can_paint_meanwhile = painting.layer.editable
    close(dock)
    qtbot.waitUntil(lambda: not painting.is_renumbering)
    painting.layer.fill((1, 0, 0), 3)

    assert not can_paint_meanwhile
    array = painting.folder.labels.array
    assert (np.asarray(array[0]) == 2).all()
    assert (np.asarray(array[1]) == 3).all()


def test_electrode_preset_replaces_other_phases(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    dock = dock_in(viewer)
    for _ in range(2):
        dock.phases.add()
    dock.phases.change(1, name="void")

    dock.phases.use_electrode()

    assert dock.phases.phases == ELECTRODE


# ---- help to paint ----


METHODS: list[tuple[Any, str, Any]] = [
    ("otsu", "", None),
    ("k_means", "", None),
    ("fractions", "20, 30, 50", (0.2, 0.3, 0.5)),
]


@pytest.mark.parametrize("keep_painted", [True, False])
def test_filling_a_slice_equals_the_core(
    keep_painted: bool, make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    dock.slices.go_to(3)
    dock.help.field_of_view.kind.setCurrentText(ABOUT_Z)
    painting.layer.brush_size = 5
    painting.layer.paint((3, 20, 25), 1)
    before = painting.plane(3)

    for method, text, fractions in METHODS:
        task = BaselineTask(
            image=as_volume(GREY),
            method=method,
            phases=ELECTRODE,
            fractions=fractions,
            mask=open_mask("cylinder", shape=SHAPE),
        )
        expected = label_slice(task, 3, before, only_unpainted=keep_painted)

        dock.help.fill.choose(method, fractions=text, keep_painted=keep_painted)
        dock.help.fill_slice()
        wait_for_job(dock, qtbot)

        np.testing.assert_array_equal(painting.plane(3), expected, err_msg=method)
        assert sorted(counts_of(painting)) in ([], [3])  # and no other slice
        painting.layer.undo()
        np.testing.assert_array_equal(painting.plane(3), before, err_msg=method)


def test_strokes_made_while_a_slice_is_filled_stay(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    dock.slices.go_to(3)

    dock.help.fill_slice()
    painting.layer.data_setitem(
        (np.array([3]), np.array([7]), np.array([9])), np.array([2])
    )
    wait_for_job(dock, qtbot)

    assert painting.plane(3)[7, 9] == 2
    assert painting.plane(3).all()


def test_shares_that_make_no_sense_are_told(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)

    for text in ("", "a, b, c", "50, 60, 10"):
        dock.show_message("")
        dock.help.fill.choose("fractions", fractions=text)
        dock.help.fill_slice()
        wait_for_job(dock, qtbot)

        assert "shares" in dock.message or "add up to 1.2" in dock.message, text
        assert not painting.plane(painting.n_slices // 2).any()


def test_slice_is_filled_by_a_forest_that_learnt_from_the_others(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    dock.help.fill.choose("forest")
    dock.help.fill_slice()
    assert "paint some of each phase" in dock.message
    painting.set_plane(1, TRUTH)
    painting.set_plane(6, TRUTH[:, ::-1])  # what a forest must not learn from
    dock.slices.go_to(6)
    dock.slices.mark("test")
    dock.slices.go_to(4)

    dock.help.fill_slice()
    wait_for_job(dock, qtbot)

    assert (painting.plane(4) == TRUTH).mean() > 0.9


@pytest.mark.parametrize("fits", [True, False])
def test_whole_volume_is_segmented_into_a_layer_of_its_own(
    fits: bool,
    make_napari_viewer: MakeViewer,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = "napari_lrcs.plugin.label.paint_help.whole_volume"
    monkeypatch.setattr(f"{whole}.fits_memory", lambda _: fits)
    viewer = make_napari_viewer()
    dock, painting = begun(viewer, scale=(2.0, 1.0, 1.0))
    painting.set_plane(3, np.where(TRUTH == 1, 3, 0))  # the dark phase is the third
    dock.slices.go_to(5)
    dock.help.fill.choose("otsu")
    n_layers = len(viewer.layers)

    dock.help.segment_volume()
    wait_for_job(dock, qtbot)

    assert len(viewer.layers) == n_layers + 1
    layer = viewer.layers["scan Otsu"]
    assert "in the layer scan Otsu" in dock.message
    assert phases_shown(layer) == ELECTRODE
    np.testing.assert_array_equal(layer.scale, (2, 1, 1))
    assert dock.labels.layer == painting.layer
    assert sorted(counts_of(painting)) == [3]
    labels = np.zeros(SHAPE, np.uint8)
    labels[3] = np.where(TRUTH == 1, 3, 0)
    task = BaselineTask(
        image=as_volume(GREY),
        method="otsu",
        phases=ELECTRODE,
        labels=as_labels(as_volume(labels)),
        train=(3,),
    )
    result = MemoryResult(labels=np.zeros(SHAPE, np.uint8))
    list(segment_volume(task, result=result))
    np.testing.assert_array_equal(np.asarray(layer.data), result.labels)


def test_segmentation_that_is_stopped_adds_no_layer(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, _ = begun(viewer)
    button = dock.help._segment_button

    button.click()
    assert (button.text(), button.isEnabled()) == ("Stop", True)
    assert not dock.help._fill_button.isEnabled()
    button.click()
    wait_for_job(dock, qtbot)

    assert len(viewer.layers) == 2
    assert (button.text(), button.isEnabled()) == ("Segment whole volume", True)


def test_network_that_is_not_there_is_told(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    dock, _ = begun(viewer)

    dock.help.fill.choose("network")
    dock.help.fill_slice()

    assert "no network yet" in dock.message


@pytest.mark.slow
def test_slice_is_filled_by_the_best_network_with_the_labels_of_its_names(
    make_checkpoint: Callable[..., Any],
    tiny_config: TrainConfig,
    make_napari_viewer: MakeViewer,
    qtbot: QtBot,
) -> None:
    from napari_lrcs.inference.predict import predict_volume
    from napari_lrcs.models.checkpoint import save_checkpoint
    from napari_lrcs.plugin.parts.layers.layers import volume_of

    viewer = make_napari_viewer()
    grey = np.random.default_rng(0).normal(size=(4, 64, 64)).astype(np.float32)
    dock, painting = begun(viewer, data=grey)
    image = dock.image.layer
    assert image is not None
    checkpoint = make_checkpoint(tiny_config)  # of "phase 1", …
    run = workspace_for(image).new_run()
    run.mkdir()
    (run / "config.json").write_text("{}")
    history = ({"epoch": 1, "validation_mean_iou": 0.5},)
    with_score = replace(checkpoint, history=history)
    save_checkpoint(run / "best.safetensors", with_score)
    dock.slices.go_to(2)
    dock.help.fill.choose("network")
    qtbot.waitUntil(lambda: dock.help.fill.networks.path == run)

    dock.help.fill_slice()
    wait_for_job(dock, qtbot)
    assert "no phase 1, no phase 2" in dock.message
    for label, name in ((1, "phase 2"), (2, "phase 1"), (3, "phase 3")):
        dock.phases.change(label, name=name)
    dock.help.fill_slice()
    wait_for_job(dock, qtbot)

    result = MemoryResult(labels=np.zeros(grey.shape, np.uint8))
    list(predict_volume(volume_of(image), checkpoint, result=result, slices=[2]))
    swapped = np.array([0, 2, 1, 3], np.uint8)[result.labels[2]]
    np.testing.assert_array_equal(painting.plane(2), swapped)
    assert len(np.unique(swapped)) > 1


def test_pairs_are_exported_and_imported_again(
    tmp_path: Path, make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    labels = np.random.default_rng(0).integers(0, 4, (40, 50), np.uint8)
    painting.set_plane(3, labels)
    painting.set_plane(6, labels[::-1])
    folder = tmp_path / "pairs"

    dock.help.export_pairs(folder)
    wait_for_job(dock, qtbot)
    dock.new_labels()
    dock.help.import_pairs(folder)
    wait_for_job(dock, qtbot)

    other = dock.painting
    assert other is not None
    assert other is not painting
    assert sorted(file.name for file in folder.iterdir()) == [
        "3.tif",
        "3_label.tif",
        "6.tif",
        "6_label.tif",
    ]
    np.testing.assert_array_equal(other.plane(3), labels)
    np.testing.assert_array_equal(other.plane(6), labels[::-1])


def test_folder_without_pairs_is_told(
    tmp_path: Path, make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, _ = begun(viewer)

    dock.help.import_pairs(tmp_path / "nothing")
    wait_for_job(dock, qtbot)

    assert "there is no folder" in dock.message


def test_mask_layer_comes_back_with_the_painting(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    inside = np.zeros(SHAPE, np.uint8)
    inside[2:5, 10:20] = 7
    mask = viewer.add_labels(inside, name="view")

    dock.help.field_of_view.kind.setCurrentText(LAYER)
    assert painting.mask is None
    dock.help.field_of_view.layers.layer = mask
    assert painting.mask == mask
    dock.slices.mark("train")
    qtbot.waitUntil(lambda: painting.state.mask is not None)
    viewer.layers.clear()
    viewer.add_image(GREY, name="scan")
    qtbot.waitUntil(lambda: bool(dock.restore_line.offered))
    dock.restore_line.restore()

    assert dock.painting is not None
    restored = dock.painting.mask_volume(SHAPE)
    assert restored is not None
    np.testing.assert_array_equal(restored.slab(0, 8), inside > 0)


# ---- keys ----


def keys_bound_to(*kinds: type) -> set[str]:
    bases = {base for kind in kinds for base in kind.__mro__}
    return {str(key) for base in bases for key in getattr(base, "class_keymap", {})}


def all_of_naparis_keys() -> set[str]:
    keys = {str(key) for keys in default_shortcuts.values() for key in keys}
    kinds = (Viewer, Image, Labels, Points, Shapes, Surface, Tracks, Vectors)
    return keys | keys_bound_to(*kinds)


def test_no_key_is_one_of_naparis(make_napari_viewer: MakeViewer) -> None:
    make_napari_viewer()  # registers its actions
    own = [keys_of(action) for action in (*PHASE_ACTIONS, NEXT, PREVIOUS, NEXT_SPOT)]

    napari = all_of_naparis_keys()

    assert {"E", "P", "Ctrl+Z", "1", "7"} <= napari
    assert not napari & set(own)
    assert len({*own, keys_of(DONE)}) == 11
    assert keys_of(DONE) not in keys_bound_to(Viewer, Labels)  # it acts on labels alone


def test_keys_choose_phases_and_slices(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    dock, painting = begun(viewer)
    for index in (1, 5):
        dock.slices.go_to(index)
        dock.slices.mark("train")
    layer = painting.layer
    viewer.layers.selection.active = viewer.layers["scan"]
    layer.mode = "pan_zoom"
    canvas = viewer.window._qt_viewer

    qtbot.keyClick(canvas, Qt.Key.Key_G)
    chosen = (layer.selected_label, layer.mode, viewer.layers.selection.active)
    qtbot.keyClick(canvas, Qt.Key.Key_N)
    after_next = dock.slices.index
    qtbot.keyClick(canvas, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(canvas, Qt.Key.Key_U)  # of phase 7, which there is not

    assert chosen == (3, "paint", layer)
    assert (after_next, dock.slices.index) == (1, 5)
    assert layer.selected_label == 3


def test_keys_go_back_when_the_dock_is_closed(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.bind_key("Q", lambda _viewer: None)
    users = viewer.keymap[coerce_keybinding("Q")]
    dock, _ = begun(viewer)
    assert viewer.keymap[coerce_keybinding("Q")] is users
    assert coerce_keybinding("N") in viewer.keymap

    close(dock)

    assert coerce_keybinding("N") not in viewer.keymap
    assert viewer.keymap[coerce_keybinding("Q")] is users


def test_keys_are_listed_and_changed_in_the_preferences(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer(show=True)
    dock, _ = begun(viewer)
    pore = PHASE_ACTIONS[0]
    editor = ShortcutEditor()
    rows = [
        editor._table.item(row, 0).text() for row in range(editor._table.rowCount())
    ]
    assert "Paint phase 1 (LRCS-Net)" in rows

    action_manager.unbind_shortcut(pore)  # as the preferences do
    action_manager.bind_shortcut(pore, "Alt-P")
    keys, tooltip = {*map(str, viewer.keymap)}, tooltip_of(dock, 0)
    close(dock)
    after = {*map(str, viewer.keymap)}
    action_manager.unbind_shortcut(pore)
    action_manager.bind_shortcut(pore, "Q")

    assert "Alt+P" in keys
    assert "Q" not in keys
    assert tooltip.startswith("Click or press Alt+P to paint pore;")
    assert not after & {"Alt+P", "W", "N"}


def test_a_painting_that_is_left_follows_one_that_is_removed(
    make_napari_viewer: MakeViewer,
) -> None:
    dock, first = begun(make_napari_viewer())
    first.layer.paint((0, 2, 2), 1)
    dock.new_labels()
    assert dock.painting is not None
    assert dock.painting is not first

    dock.viewer.layers.remove(dock.painting.layer)

    assert dock.painting is first
    assert dock.labels.layer == first.layer


def tooltip_of(dock: LabelDock, row: int) -> str:
    (table,) = dock.phases.findChildren(QTableWidget)
    item = table.item(row, 1)
    assert item is not None
    return str(item.toolTip())


def test_tooltips_tell_the_keys(make_napari_viewer: MakeViewer) -> None:
    dock, _ = begun(make_napari_viewer())

    steps = {made.text(): made.toolTip() for made in dock.findChildren(QPushButton)}

    assert tooltip_of(dock, 1).startswith("Click or press W to paint CBD;")
    assert steps["Next ▶"] == "Next slice of the table (N)"
    assert steps["◀ Previous"] == "Previous slice of the table (Shift+N)"


# ---- nothing is lost ----


def test_several_paintings_are_offered_the_newest_first(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, first = begun(viewer)
    dock.slices.mark("train")
    dock.new_labels()
    second = dock.painting
    assert second is not None
    dock.slices.mark("test")
    dock.new_labels()  # nothing is painted in it

    other = make_napari_viewer()
    other.add_image(GREY, name="scan")
    dock = dock_in(other)

    qtbot.waitUntil(lambda: len(dock.restore_line.offered) == 2)
    newest, oldest = dock.restore_line.offered
    assert (newest.folder, oldest.folder) == (second.folder, first.folder)


def test_painting_of_an_image_of_the_same_name_is_not_offered(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, _ = begun(viewer)
    dock.slices.mark("train")
    viewer.layers.clear()

    viewer.add_image(np.zeros((3, 3, 3)), name="scan")

    qtbot.wait(300)
    assert not dock.restore_line.offered


def test_closing_the_window_saves_what_lies_in_memory(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer(show=True)
    _, painting = begun(viewer, data=GREY[0])
    painting.layer.paint((20, 25), 2)

    viewer.close()

    assert np.asarray(painting.folder.labels.array[0]).any()


def test_removed_and_renamed_layers_do_no_harm(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    layer = painting.layer
    layer.name = "mine"
    dock.slices.mark("train")
    dock.help.fill_slice()

    viewer.layers.remove(layer)
    wait_for_job(dock, qtbot)
    dock.slices.mark("test")
    dock.phases_controller.paint_with(1)

    assert dock.painting is None
    assert painting.roles == {3: "train"}
    qtbot.waitUntil(lambda: not dock.restore_line.isHidden() or not dock.is_busy)
    viewer.layers.clear()
    assert dock.image.layer is None


def test_removed_painting_is_offered_back(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    dock.slices.mark("train")

    viewer.layers.remove(painting.layer)

    qtbot.waitUntil(lambda: len(dock.restore_line.offered) == 1)
    dock.restore_line.restore()
    assert dock.painting is not None
    assert dock.painting.roles == painting.roles


def test_two_viewers_paint_side_by_side(make_napari_viewer: MakeViewer) -> None:
    viewers = [make_napari_viewer() for _ in range(2)]
    docks, paintings = zip(*(begun(viewer) for viewer in viewers), strict=True)

    for label, (dock, painting) in enumerate(zip(docks, paintings, strict=True), 1):
        dock.slices.go_to(label)
        painting.layer.fill((label, 0, 0), label)
        dock.slices.mark("train")
    viewers[0].close()
    docks[1].slices.mark("test")

    assert paintings[0].folder.path != paintings[1].folder.path
    assert counts_of(paintings[0]) == {1: [2000, 0, 0]}
    assert paintings[0].roles == {1: "train"}
    assert counts_of(paintings[1]) == {2: [0, 2000, 0]}
    assert paintings[1].roles == {2: "test"}


def test_dock_that_is_opened_again_takes_up_the_painting(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer(show=True)
    dock, painting = begun(viewer)
    dock.slices.mark("train")
    close(dock)

    dock = dock_in(viewer)

    assert dock.painting is painting
    assert dock.slices.table.texts()[0][1] == "train"


def test_phases_are_remembered_from_session_to_session(
    make_napari_viewer: MakeViewer,
) -> None:
    viewer = make_napari_viewer(show=True)
    dock = dock_in(viewer)
    dock.phases.change(1, name="void")
    close(dock)

    dock = dock_in(viewer)

    assert dock.phases.phases.names == ("void", "CBD", "NMC")


def test_large_labels_are_hidden_in_3d_before_they_are_read(
    tmp_path: Path, make_napari_viewer: MakeViewer
) -> None:
    array = zarr.create_array(
        tmp_path / "big.zarr", shape=(600,) * 3, chunks=(1, 600, 600), dtype="uint8"
    )
    viewer = make_napari_viewer()
    dock, painting = begun(viewer, data=array, contrast_limits=(0, 1), name="big")
    layer = painting.layer
    viewer.layers["big"].visible = False
    ever_3d: list[int] = []
    layer.events.set_data.connect(lambda: ever_3d.append(layer._slice.image.view.ndim))

    viewer.dims.ndisplay = 3
    in_3d = (layer.visible, dock.message)
    viewer.dims.ndisplay = 2

    assert not in_3d[0]
    assert "would have to load all of big labels" in in_3d[1]
    assert layer.visible
    assert 3 not in ever_3d


def test_dock_always_tells_the_next_step(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock = dock_in(viewer)
    told = [dock.message]
    viewer.add_image(GREY, name="scan")
    told.append(dock.message)
    dock.new_labels()
    told.append(dock.message)
    painting = dock.painting
    assert painting is not None
    dock.slices.go_to(2)
    dock.slices.mark("train")
    told.append(dock.message)
    painting.layer.fill((2, 0, 0), 1)
    painting.layer.paint((2, 20, 25), 3)
    qtbot.waitUntil(lambda: bool(painting.painted()))
    told.append(dock.message)
    dock.slices.mark(None)
    told.append(dock.message)
    dock.slices.go_to(3)
    told.append(dock.message)
    dock.slices.go_to(2)
    dock.slices.mark("train")
    painting.layer.paint((2, 5, 5), 2)
    painting.save()
    told.append(dock.message)
    dock.slices.go_to(6)
    dock.slices.mark("test")
    told.append(dock.message)

    assert told == [
        "Open an image: File > Open File(s)…, or File > Open Sample > LRCS-Net.",
        "Check the phases, then click New labels layer.",
        "Paint some of every phase in this slice, or open Help to paint.",
        "Paint some of every phase in this slice, or open Help to paint.",
        "Paint some CBD in a slice for training.",
        "Paint some CBD in a slice for training.",
        "Paint some CBD in a slice for training.",
        "Next: Train LRCS-Net.",
        "Paint slice 6, or mark it None.",
    ]


def test_older_painting_is_offered_in_passing_once_another_has_begun(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    dock.slices.mark("train")
    viewer.layers.remove(painting.layer)
    qtbot.waitUntil(lambda: len(dock.restore_line.offered) == 1)
    before = dock.message

    dock.new_labels()

    assert before == "Click Restore, or start again with New labels layer."
    assert dock.message.startswith("Paint some of every phase")
    assert dock.restore_line.text_is_hidden


def test_painting_is_open_in_one_viewer_at_a_time(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer, other = make_napari_viewer(show=True), make_napari_viewer()
    dock, painting = begun(viewer)
    dock.slices.mark("train")
    other.add_image(GREY, name="scan")
    second = dock_in(other)
    qtbot.waitUntil(lambda: len(second.restore_line.offered) == 1)

    second.restore_line.restore()
    refused = second.message
    viewer.close()
    qtbot.wait(50)
    second.restore_line.restore()

    assert "open in another window" in refused
    assert second.painting is not None, second.message
    assert second.painting.folder == painting.folder


def test_trouble_is_told_until_it_is_over(
    make_napari_viewer: MakeViewer, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lrcs.plugin.painting.autosave._RETRY_MS", 100)
    viewer = make_napari_viewer()
    dock, painting = begun(viewer)
    folder = painting.folder.path
    away = folder.with_name("away")
    folder.rename(away)
    folder.write_text("no folder")

    painting.layer.fill((2, 0, 0), 1)
    qtbot.waitUntil(lambda: "cannot be saved" in dock.message)
    in_memory = (painting.plane(2) == 1).all()
    folder.unlink()
    away.rename(folder)
    qtbot.waitUntil(lambda: "cannot be saved" not in dock.message)

    assert in_memory
    assert (np.asarray(painting.folder.labels.array[2]) == 1).all()


def test_closing_the_window_with_strokes_that_cannot_be_saved_asks(
    make_napari_viewer: MakeViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer(show=True)
    dock, painting = begun(viewer)
    window, folder = viewer.window._qt_window, painting.folder.path
    away = folder.with_name("away")
    answers = iter(("Keep it open", "Close without saving", "Try again"))
    asked: list[str] = []

    def press(box: QMessageBox) -> None:
        asked.append(box.text())
        answer = next(answers)
        if answer == "Try again":
            folder.unlink()
            away.rename(folder)
        next(made for made in box.buttons() if made.text() == answer).click()

    monkeypatch.setattr(QMessageBox, "exec", press)
    folder.rename(away)
    folder.write_text("no folder")
    painting.layer.fill((2, 0, 0), 1)
    window.close()
    stays_open = window.isVisible()
    # Not the window itself, which would be deleted.
    without_saving = [dock.eventFilter(window, QCloseEvent()) for _ in range(2)]
    QApplication.processEvents()
    again = dock.eventFilter(window, QCloseEvent())

    assert stays_open
    assert without_saving == [False, False]  # the second dock does not ask again
    assert not again
    assert len(asked) == 3
    assert f"strokes in {painting.layer.name} cannot be saved and would" in asked[0]
    saved = zarr.open_array(folder / "labels.zarr" / "0", mode="r")
    assert (np.asarray(saved[2]) == 1).all()


def test_numbers_are_written_in_four_characters() -> None:
    assert [compact(n) for n in (0, 999, 1000, 99_950, 5_000_000)] == [
        "0",
        "999",
        "1.0k",
        "100k",
        "5.0M",
    ]
