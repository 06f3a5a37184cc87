import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from matplotlib.backend_bases import MouseEvent
from matplotlib.colors import to_hex
from matplotlib.image import imread
from napari import Viewer
from napari.layers import Labels
from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QScrollArea, QTableWidget

from napari_lrcs.comparison.compare import as_text_table
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.plugin.compare.dock import CompareDock
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.painting.field_of_view import ABOUT_Z, EVERYTHING, LAYER
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.layers.layers import appearance
from napari_lrcs.plugin.parts.layers.predicted import (
    PredictedLayers,
    Region,
    confidence_of,
)

pytestmark = pytest.mark.gui

# Counted by hand: rows of the confusion matrix are [2 1] and [2 2], those of the first
# slice [1 1] and [0 1], those of the last [1 0] and [2 1].
TARGET = np.array([[[1, 1], [2, 0]], [[0, 0], [0, 0]], [[1, 2], [2, 2]]], np.uint8)
PREDICTED = np.array([[[1, 2], [2, 2]], [[1, 1], [1, 1]], [[1, 1], [1, 2]]], np.uint8)

FLAT_TARGET = np.array([[1, 1], [2, 2]], np.uint8)
FLAT_PREDICTED = np.array([[1, 2], [2, 2]], np.uint8)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    made: Viewer = make_napari_viewer()
    return made


@pytest.fixture
def dock(viewer: Viewer) -> CompareDock:
    _, made = viewer.window.add_plugin_dock_widget(
        "napari-lrcs", "Compare segmentations"
    )
    assert isinstance(made, CompareDock)
    return made


def _add(viewer: Viewer, labels: Any, name: str, **options: Any) -> Labels:
    return viewer.add_labels(labels, name=name, **appearance(ELECTRODE) | options)


def _add_pair(viewer: Viewer) -> tuple[Labels, Labels]:
    target = _add(viewer, TARGET.copy(), "painting")
    return _add(viewer, PREDICTED.copy(), "result"), target


def _compare(dock: CompareDock, qtbot: Any) -> None:
    dock.compare_button.click()
    _wait(dock, qtbot)


def _wait(dock: CompareDock, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy)


def _rows(table: QTableWidget) -> list[list[str]]:
    found = []
    for row in range(table.rowCount()):
        items = [table.item(row, i) for i in range(table.columnCount())]
        found.append([item.text() for item in items if item is not None])
    return found


# ---- numbers ----


def test_scores_are_those_counted_by_hand(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)

    _compare(dock, qtbot)

    assert _rows(dock.results.scores) == [
        ["pore", "40.0", "57.1", "50.0", "66.7"],
        ["CBD", "40.0", "57.1", "66.7", "50.0"],
        ["NMC", "–", "–", "–", "–"],
    ]
    assert dock.results.title.text().splitlines() == [
        "result against painting",
        "Accuracy 57.1%, mean IoU 40.0%",
        "Slices 0, 2",
    ]
    assert dock.message == ""


def test_confidence_is_judged_where_its_layer_is_shown(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    image = viewer.add_image(np.zeros(TARGET.shape), name="scan")
    layers = PredictedLayers(
        viewer, image, phases=ELECTRODE, region=Region(axis="z"), path=None
    )
    # Of the seven painted voxels, three are wrong.
    layers.show(PREDICTED.copy(), np.full_like(TARGET, 204))
    target = _add(viewer, TARGET.copy(), "painting")
    dock.form.predicted.layer = layers.labels
    dock.form.target.layer = target

    _compare(dock, qtbot)

    place = [dock.results.tabs.tabText(i) for i in range(4)].index("Confidence")
    error = 100 * (0.8 - 4 / 7)
    lines = dock.results.title.text().splitlines()
    assert f"Expected calibration error {error:.1f}%" in lines
    assert dock.results.tabs.isTabVisible(place)
    dock.results.tabs.setCurrentIndex(place)
    _, points = dock.results.reliability_plot.axes[0].lines
    np.testing.assert_allclose(np.asarray(points.get_xydata()), [[80, 400 / 7]])

    viewer.layers.remove(layers.confidence)
    _compare(dock, qtbot)
    assert not dock.results.tabs.isTabVisible(place)
    assert dock.results.tabs.currentIndex() != place
    assert "calibration" not in dock.results.title.text()


def test_confidence_is_found_when_its_files_are_opened_again(
    viewer: Viewer, tmp_path: Path
) -> None:
    folder = tmp_path / "scan.lrcs"
    folder.mkdir()
    for name in ("segmentation-1", "segmentation-1-confidence", "segmentation-2"):
        tifffile.imwrite(folder / f"{name}.tif", PREDICTED, photometric="minisblack")
    (first,) = viewer.open(
        folder / "segmentation-1.tif", plugin="napari", layer_type="labels"
    )
    (second,) = viewer.open(
        folder / "segmentation-2.tif", plugin="napari", layer_type="labels"
    )

    (confidence,) = viewer.open(
        folder / "segmentation-1-confidence.tif", plugin="napari", layer_type="image"
    )

    assert confidence_of(first, viewer.layers) is confidence
    assert confidence_of(second, viewer.layers) is None


def test_scores_of_labels_that_have_changed_are_no_longer_offered(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)
    _compare(dock, qtbot)

    viewer.layers["painting"].paint((0, 0, 0), 2)

    assert dock.message.startswith("painting has changed since it was compared")
    assert not dock.copy_button.isEnabled()
    _compare(dock, qtbot)
    assert dock.copy_button.isEnabled()


def test_scores_of_labels_that_were_undone_since_are_no_longer_offered(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)
    painting = viewer.layers["painting"]
    painting.paint((0, 0, 0), 2)
    for change in (painting.undo, painting.redo):
        _compare(dock, qtbot)
        viewer.dims.set_current_step(0, 1 - viewer.dims.current_step[0])
        assert dock.copy_button.isEnabled()

        change()

        assert dock.message.startswith("painting has changed since it was compared")
        assert not dock.copy_button.isEnabled()


def test_scores_of_labels_that_change_meanwhile_are_not_offered(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)

    dock.compare()
    viewer.layers["painting"].paint((0, 0, 0), 2)
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert dock.message.startswith("painting has changed since it was compared")
    assert not dock.copy_button.isEnabled()
    _compare(dock, qtbot)
    assert dock.copy_button.isEnabled()


def test_a_phase_that_is_never_predicted_is_said(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add(viewer, TARGET.copy(), "painting")
    _add(viewer, np.ones_like(TARGET), "result")

    _compare(dock, qtbot)

    assert dock.message == "CBD is never predicted where it is painted"


def test_shares_of_both_are_of_the_painted_voxels(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)

    _compare(dock, qtbot)

    # Everything touches everything in these slices; the two do not touch.
    assert _rows(dock.results.shares) == [
        ["pore, volume", "57.1", "42.9"],
        ["CBD, volume", "42.9", "57.1"],
        ["NMC, volume", "0.0", "0.0"],
        ["pore, surface", "57.1", "42.9"],
        ["CBD, surface", "42.9", "57.1"],
        ["NMC, surface", "0.0", "0.0"],
        ["pore – CBD", "100.0", "100.0"],
        ["pore – NMC", "0.0", "0.0"],
        ["CBD – NMC", "0.0", "0.0"],
    ]


def test_phases_have_their_colours_in_the_table(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)

    _compare(dock, qtbot)

    for row, phase in enumerate(ELECTRODE):
        item = dock.results.scores.item(row, 0)
        assert item is not None
        swatch = item.icon().pixmap(12, 12).toImage()
        assert swatch.pixelColor(6, 6).name() == phase.colour


def test_swapped_layers_swap_precision_and_recall(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    target = _add(viewer, FLAT_TARGET, "a")
    predicted = _add(viewer, FLAT_PREDICTED, "b")
    _compare(dock, qtbot)
    assert _rows(dock.results.scores)[0] == ["pore", "50.0", "66.7", "100.0", "50.0"]

    dock.form.predicted.layer, dock.form.target.layer = target, predicted
    _compare(dock, qtbot)

    assert _rows(dock.results.scores)[0] == ["pore", "50.0", "66.7", "50.0", "100.0"]
    assert dock.results.title.text().startswith("a against b")


def test_only_chosen_slices_are_compared(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)

    dock.form.slices.setText("0:2")
    _compare(dock, qtbot)

    assert "Accuracy 66.7%" in dock.results.title.text()
    assert dock.results.title.text().endswith("Slice 0")


def test_slices_without_a_prediction_are_left_out(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    result, _ = _add_pair(viewer)
    result.data[0] = 0

    _compare(dock, qtbot)

    assert "Accuracy 50.0%" in dock.results.title.text()
    assert dock.results.title.text().endswith("Slice 2")


def test_chosen_slice_without_a_prediction_is_told(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    result, _ = _add_pair(viewer)
    result.data[0] = 0

    dock.form.slices.setText("0")
    _compare(dock, qtbot)

    assert dock.message.startswith(
        "result has no prediction for painted voxels of slice"
    )
    assert not dock.results.isVisible()


def test_voxels_outside_the_mask_do_not_count(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    result, target = _add_pair(viewer)
    inside = np.array([[[5, 5], [5, 5]], [[5, 5], [5, 5]], [[0, 0], [0, 0]]])
    mask = viewer.add_labels(inside, name="mask")

    dock.form.what_counts.field_of_view.kind.setCurrentText(LAYER)
    dock.form.what_counts.field_of_view.layers.layer = mask
    dock.form.predicted.layer, dock.form.target.layer = result, target
    _compare(dock, qtbot)

    assert "Accuracy 66.7%" in dock.results.title.text()


def test_voxels_outside_the_cylinder_do_not_count(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    target = np.ones((4, 4), np.uint8)
    predicted = target.copy()
    predicted[[0, 0, 3, 3], [0, 3, 0, 3]] = 2
    _add(viewer, target, "target")
    _add(viewer, predicted, "predicted")
    _compare(dock, qtbot)
    assert "Accuracy 75.0%" in dock.results.title.text()

    dock.form.what_counts.field_of_view.kind.setCurrentText(ABOUT_Z)
    _compare(dock, qtbot)

    assert "Accuracy 100.0%" in dock.results.title.text()


def test_painting_is_compared_in_its_own_field_of_view(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    image = viewer.add_image(np.zeros((3, 4, 4)))
    layer = new_painting(image, phases=ELECTRODE)
    painting = painting_of(layer)
    assert painting is not None
    painting.mask = "cylinder"
    viewer.add_layer(layer)
    layer.data[1] = np.ones((4, 4), np.uint8)
    painting.mark_changed([1])
    painting.save()
    predicted = np.ones((3, 4, 4), np.uint8)
    predicted[:, 0, 0] = 2
    result = _add(viewer, predicted, "result")

    dock.form.predicted.layer = result
    dock.form.target.layer = layer
    _compare(dock, qtbot)

    assert dock.form.what_counts.field_of_view.kind.currentText() == ABOUT_Z
    assert "Accuracy 100.0%" in dock.results.title.text()
    assert dock.results.title.text().endswith("Slice 1")


def test_slices_for_the_test_are_compared_where_there_are_some(
    viewer: Viewer, dock: CompareDock
) -> None:
    layer = new_painting(viewer.add_image(np.zeros((4, 4, 4))), phases=ELECTRODE)
    painting = painting_of(layer)
    assert painting is not None
    layer.data[1] = layer.data[3] = np.ones((4, 4), np.uint8)
    painting.mark_changed([1, 3])
    painting.save()
    viewer.add_layer(layer)
    dock.form.predicted.layer = _add(viewer, np.ones((4, 4, 4), np.uint8), "result")
    dock.form.target.layer = layer

    compared = []
    for index in (1, 2):  # 2 is not painted
        painting.set_roles({index: "test"})
        compared.append(dock.form.request().request.candidates)

    assert compared == [(1,), (1, 3)]


def test_flat_labels_are_compared_within_their_slice(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add(viewer, FLAT_TARGET, "target")
    _add(viewer, FLAT_PREDICTED, "predicted")

    _compare(dock, qtbot)

    comparison = dock.comparison
    assert comparison is not None
    assert comparison.neighbourhood == 8
    assert "Slice" not in dock.results.title.text()
    assert not dock.form.slices.isEnabled()
    assert not dock.differences.worst_button.isEnabled()
    dock.differences.show_differences()
    np.testing.assert_array_equal(viewer.layers[-1].data, [[0, 1], [0, 0]])


def test_neighbours_are_those_that_were_chosen(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)

    dock.form.what_counts.neighbours.setCurrentIndex(
        dock.form.what_counts.neighbours.findData(6)
    )
    _compare(dock, qtbot)

    assert dock.comparison is not None
    assert dock.comparison.neighbourhood == 6


# ---- what cannot be compared ----


def test_missing_layers_are_told(dock: CompareDock) -> None:
    dock.compare_button.click()

    assert dock.message == "no prediction is chosen; predict, or open labels"
    assert not dock.is_busy


def test_same_layer_twice_is_refused(viewer: Viewer, dock: CompareDock) -> None:
    layer = _add(viewer, TARGET, "painting")
    dock.compare_button.click()
    alone = dock.message
    dock.form.target.layer = layer

    dock.compare_button.click()

    assert alone.startswith("no target is chosen to compare painting with")
    assert dock.message.startswith("painting is chosen twice; choose two different")
    assert not dock.is_busy


def test_layers_of_two_shapes_are_refused(viewer: Viewer, dock: CompareDock) -> None:
    target = _add(viewer, TARGET, "painting")
    _add(viewer, PREDICTED[:2], "result")
    assert dock.form.target.layer is None

    dock.form.target.layer = target
    dock.compare_button.click()

    assert "only volumes of one shape can be compared" in dock.message


def test_time_series_is_refused(viewer: Viewer, dock: CompareDock) -> None:
    film = np.zeros((2, 2, 2, 2), np.uint8)
    _add(viewer, film, "film")
    _add(viewer, film, "other")

    dock.compare_button.click()

    assert "has 4 axes" in dock.message


def test_slices_that_cannot_be_read_are_told(viewer: Viewer, dock: CompareDock) -> None:
    _add_pair(viewer)

    for text in ("first", "7", "3:1"):
        dock.show_message("")
        dock.form.slices.setText(text)
        dock.compare_button.click()

        assert "slice" in dock.message, text
        assert not dock.is_busy


def test_target_without_a_stroke_is_told(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add(viewer, np.zeros_like(TARGET), "painting")
    _add(viewer, PREDICTED, "result")

    _compare(dock, qtbot)

    assert dock.message == "no voxel of painting is painted on these slices"


def test_failed_comparison_leaves_nothing_of_the_last_one(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    _, target = _add_pair(viewer)
    _compare(dock, qtbot)

    target.data[:] = 0
    _compare(dock, qtbot)

    assert dock.comparison is None
    assert not dock.results.isVisible()
    assert not dock.copy_button.isEnabled()


def test_other_phases_are_told(viewer: Viewer, dock: CompareDock, qtbot: Any) -> None:
    _add(viewer, TARGET, "painting", **appearance(PhaseTable.named("air", "steel")))
    _add(viewer, PREDICTED, "result")

    _compare(dock, qtbot)

    assert dock.message.startswith(
        "result has 3 phases (pore, CBD, NMC), painting 2 (air, steel)"
    )
    assert _rows(dock.results.scores)[0][0] == "pore"


def test_phases_in_another_order_are_refused(viewer: Viewer, dock: CompareDock) -> None:
    other = PhaseTable.named("NMC", "pore", "CBD")
    _add(viewer, TARGET, "painting", **appearance(other))
    _add(viewer, PREDICTED, "result")

    dock.compare_button.click()

    assert not dock.is_busy
    assert "1 NMC, 2 pore, 3 CBD: the same phases in another order" in dock.message


def test_labels_without_names_are_numbered(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.add_labels(TARGET, name="painting")
    viewer.add_labels(PREDICTED, name="result")

    _compare(dock, qtbot)

    assert [row[0] for row in _rows(dock.results.scores)] == ["phase 1", "phase 2"]
    assert dock.message == ""


# ---- layers ----


def test_newest_layer_is_judged_by_the_first(viewer: Viewer, dock: CompareDock) -> None:
    result, target = _add_pair(viewer)

    assert dock.form.predicted.layer is result
    assert dock.form.target.layer is target


def test_chosen_layers_stay_chosen_when_another_comes(
    viewer: Viewer, dock: CompareDock
) -> None:
    result, target = _add_pair(viewer)
    dock.form.predicted.layer, dock.form.target.layer = target, result

    _add(viewer, TARGET, "third")

    assert dock.form.predicted.layer is target
    assert dock.form.target.layer is result


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
def test_differences_show_the_targets_phase_in_its_place(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    place = {
        "scale": (2, 1, 0.5),
        "translate": (1, 2, 3),
        "rotate": (0, 0, 30),
        "shear": (0, 0, 0.5),
        "units": ("micrometer",) * 3,
        "axis_labels": ("z", "y", "x"),
    }
    target = _add(viewer, TARGET, "painting", **place)
    _add(viewer, PREDICTED, "result", **place)
    _compare(dock, qtbot)

    dock.differences.show_button.click()

    layer = viewer.layers[-1]
    assert isinstance(layer, Labels)
    assert layer.name == "differences: result vs painting"
    np.testing.assert_array_equal(
        layer.data, [[[0, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 2], [2, 0]]]
    )
    np.testing.assert_allclose(
        layer.data_to_world((1, 1, 1)), target.data_to_world((1, 1, 1))
    )
    assert layer.units == target.units
    np.testing.assert_allclose(layer.get_color(2), target.get_color(2))
    assert not layer.editable
    assert [other.visible for other in viewer.layers] == [False, False, True]


def test_differences_read_no_slice_but_the_one_in_view(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    n_z = 40
    reads: list[int] = []
    result = _add(viewer, _noting(np.ones((n_z, 4, 4), np.uint8), reads), "result")
    target = _add(viewer, np.full((n_z, 4, 4), 2, np.uint8), "painting")
    dock.form.predicted.layer, dock.form.target.layer = result, target
    _compare(dock, qtbot)
    reads.clear()

    dock.differences.show_differences()

    assert len(set(reads)) <= 2


def test_differences_are_added_once(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)
    _compare(dock, qtbot)

    dock.differences.show_differences()
    viewer.layers[-1].visible = False
    dock.differences.show_differences()

    assert len(viewer.layers) == 3
    assert viewer.layers[-1].visible
    viewer.layers.remove(viewer.layers[-1])
    dock.differences.show_differences()
    assert len(viewer.layers) == 3


def test_worst_slice_is_shown_where_it_lies(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    place = {"scale": (0.5, 1, 1), "translate": (3, 0, 0)}
    _add(viewer, TARGET[::-1], "painting", **place)
    _add(viewer, PREDICTED[::-1], "result", **place)
    viewer.dims.set_point(0, 4)
    _compare(dock, qtbot)

    dock.differences.worst_button.click()

    assert viewer.dims.point[0] == 3


def test_click_into_the_plot_shows_the_nearest_slice(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    _add_pair(viewer)
    viewer.dims.set_point(0, 2)
    _compare(dock, qtbot)
    dock.results.tabs.setCurrentIndex(1)
    qtbot.wait(700)
    plot = dock.results.slices_plot
    x, y = plot.axes[0].transData.transform((0.3, 50))

    plot.callbacks.process(
        "button_press_event", MouseEvent("button_press_event", plot, x, y)
    )

    assert viewer.dims.point[0] == 0


@pytest.mark.slow
def test_layer_removed_while_comparing_does_no_harm(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _, target = _add_slow_pair(viewer, dock)
    dock.compare_button.click()
    qtbot.waitUntil(lambda: "Slice" in dock.progress.text)

    viewer.layers.remove(target)
    _wait(dock, qtbot)

    assert "Accuracy 0.0%" in dock.results.title.text()
    assert not dock.differences.show_button.isEnabled()
    assert not dock.differences.worst_button.isEnabled()
    dock.differences.go_to_worst_slice()
    dock.differences.show_differences()
    assert len(viewer.layers) == 1


def test_layer_removed_after_comparing_disables_its_buttons(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    result, _ = _add_pair(viewer)
    _compare(dock, qtbot)
    assert dock.differences.show_button.isEnabled()

    viewer.layers.remove(result)

    assert not dock.differences.show_button.isEnabled()
    assert dock.copy_button.isEnabled()


# ---- stopping ----


def test_stopped_comparison_shows_nothing(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    _add_slow_pair(viewer, dock)
    dock.compare_button.click()
    assert not dock.compare_button.isEnabled()
    qtbot.waitUntil(lambda: "Slice" in dock.progress.text)

    dock.stop_button.click()
    _wait(dock, qtbot)
    qtbot.wait(700)  # a slice that was to be drawn is not

    assert dock.message == "Stopped"
    assert dock.comparison is None
    assert dock.compare_button.isEnabled()
    assert not dock.stop_button.isEnabled()
    assert not dock.results.isVisible()


@pytest.mark.slow
def test_long_comparison_shows_its_slices_meanwhile(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    _add_slow_pair(viewer, dock)

    dock.compare_button.click()

    plot = dock.results.slices_plot
    qtbot.waitUntil(plot.isVisible)
    assert dock.is_busy
    assert len(plot.axes[0].lines) == len(ELECTRODE)
    dock.stop()
    _wait(dock, qtbot)


@pytest.mark.slow
def test_dock_closed_while_comparing_does_no_harm(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    _add_slow_pair(viewer, dock)
    dock.compare_button.click()
    qtbot.waitUntil(lambda: "Slice" in dock.progress.text)

    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.wait(1000)

    _add(viewer, TARGET, "later")
    viewer.layers.clear()
    viewer.theme = "light"


def _noting(labels: Any, reads: list[int], *, seconds: float = 0) -> da.Array:
    """Make a lazy array that is read slowly and notes what is read."""

    def read(block: Any, block_info: Any = None) -> Any:
        if block_info:
            reads.append(block_info[0]["chunk-location"][0])
            time.sleep(seconds)
        return block

    lazy = da.from_array(labels, chunks=(1, *labels.shape[1:]))
    noting: da.Array = lazy.map_blocks(
        read, dtype=labels.dtype, meta=labels[:0, :0, :0]
    )
    return noting


def _add_slow_pair(viewer: Viewer, dock: CompareDock) -> tuple[Labels, Labels]:
    # Slices so large that only a few are counted at once.
    shape = (96, 1100, 1100)
    ones = np.broadcast_to(np.uint8(1), shape)
    twos = np.broadcast_to(np.uint8(2), shape)
    result = _add(viewer, _noting(ones, [], seconds=0.03), "result")
    target = _add(viewer, twos, "painting")
    dock.form.predicted.layer, dock.form.target.layer = result, target
    return result, target


# ---- what can be taken along ----


def test_table_is_copied_for_spreadsheets(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)
    _compare(dock, qtbot)

    dock.copy_button.click()

    clipboard = QApplication.clipboard()
    assert clipboard is not None
    assert dock.comparison is not None
    assert clipboard.text() == as_text_table(dock.comparison)
    header, first, *_ = clipboard.text().splitlines()
    assert header.split("\t")[:3] == ["phase", "iou", "dice"]
    assert first.split("\t")[:3] == ["pore", "0.4", str(4 / 7)]


def test_saved_tables_hold_all_numbers(
    viewer: Viewer, dock: CompareDock, qtbot: Any, tmp_path: Path
) -> None:
    _add_pair(viewer)
    _compare(dock, qtbot)

    dock.save_csv(tmp_path / "scores.csv")
    _wait(dock, qtbot)

    assert dock.message == f"Saved scores.csv and scores-slices.csv in {tmp_path.name}"
    with (tmp_path / "scores.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["iou"] for row in rows[:3]] == ["0.4", "0.4", ""]
    assert float(rows[0]["predicted_volume_fraction"]) == 4 / 7
    with (tmp_path / "scores-slices.csv").open(encoding="utf-8") as file:
        slices = list(csv.DictReader(file))
    assert [(row["slice"], float(row["mean_iou"])) for row in slices] == [
        ("0", 0.5),
        ("2", 1 / 3),
    ]


def test_saved_figure_is_drawn(
    viewer: Viewer, dock: CompareDock, qtbot: Any, tmp_path: Path
) -> None:
    _add_pair(viewer)
    _compare(dock, qtbot)

    dock.save_figure(tmp_path / "figure.png")
    _wait(dock, qtbot)

    assert dock.message == f"Saved figure.png in {tmp_path.name}"
    picture = imread(tmp_path / "figure.png")
    assert picture.shape[0] > 500
    assert picture.std() > 0.05


def test_table_that_cannot_be_written_is_told(
    viewer: Viewer, dock: CompareDock, qtbot: Any, tmp_path: Path
) -> None:
    _add_pair(viewer)
    _compare(dock, qtbot)

    dock.save_csv(tmp_path / "missing" / "scores.csv")
    _wait(dock, qtbot)

    assert "missing" in dock.message
    assert dock.copy_button.isEnabled()


# ---- several experimenters ----

# Of the voxels that both have painted, the first two differ in 1 of 3, the first and
# the third in 2 of 4, the last two in 1 of 3.
EXPERIMENTERS = np.array(
    [[[[1, 1], [2, 2]]], [[[1, 2], [2, 0]]], [[[2, 2], [2, 2]]]], np.uint8
)


def _add_experimenters(
    viewer: Viewer, dock: CompareDock, *, flat: bool = False, **options: Any
) -> list[Labels]:
    layers = [
        _add(viewer, (labels[0] if flat else labels).copy(), name, **options)
        for name, labels in zip(("Anna", "Ben", "Carl"), EXPERIMENTERS, strict=True)
    ]
    dock.tabs.setCurrentIndex(1)
    for row in range(3):
        item = dock.several.form.experimenters.item(row)
        assert item is not None
        item.setCheckState(Qt.CheckState.Checked)
    return layers


def test_experimenters_are_compared_pair_by_pair(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_experimenters(viewer, dock)

    _compare(dock, qtbot)

    differ, iou, where, target = map(_rows, dock.several.results.tables.values())
    assert differ == [
        ["1 Anna", "0.0", "33.3", "50.0"],
        ["2 Ben", "33.3", "0.0", "33.3"],
        ["3 Carl", "50.0", "33.3", "0.0"],
    ]
    assert iou[0] == ["1 Anna – 2 Ben", "50.0", "50.0", "–"]
    assert where[0] == ["1 Anna – 2 Ben", "100.0", "100.0"]
    assert target == []
    assert not dock.several.results.tabs.isTabVisible(3)
    assert "38.9% of the voxels" in dock.several.results.title.text()


def test_numbers_of_experimenters_whose_labels_have_changed_are_no_longer_offered(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _, ben, _ = _add_experimenters(viewer, dock)
    several = dock.several

    _compare(dock, qtbot)
    ben.data_setitem((np.array([0]), np.array([0]), np.array([0])), 2)
    is_offered = several.csv_button.isEnabled() or several.results.isEnabled()
    told = dock.message
    dock.tabs.setCurrentIndex(0)
    elsewhere = dock.message
    dock.tabs.setCurrentIndex(1)
    again = dock.message
    _compare(dock, qtbot)

    assert not is_offered
    assert told == again
    assert told == (
        "Ben has changed since it was compared; press Compare for the numbers as they "
        "are now"
    )
    assert elsewhere == ""
    assert several.csv_button.isEnabled()
    assert dock.message == ""


def test_experimenters_are_scored_against_a_target(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_experimenters(viewer, dock)
    dock.several.form.target.layer = _add(viewer, EXPERIMENTERS[0], "truth")

    _compare(dock, qtbot)

    rows = _rows(dock.several.results.tables["Target"])
    assert rows[1] == ["2 Ben", "66.7", "50.0", "50.0", "–"]
    dock.several.copy_button.click()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    lines = clipboard.text().splitlines()
    assert lines[0].split("\t") == ["disagreement", "Anna", "Ben", "Carl"]
    assert lines[-1].split("\t")[:4] == ["Carl", "truth", "4", "0.5"]


@pytest.mark.parametrize("flat", [False, True])
def test_votes_lie_where_the_experimenters_labels_do(
    viewer: Viewer, dock: CompareDock, qtbot: Any, flat: bool
) -> None:
    n_axes = 2 if flat else 3
    place = {"scale": (2, 1, 0.5)[-n_axes:], "units": ("micrometer",) * n_axes}
    anna, *_ = _add_experimenters(viewer, dock, flat=flat, **place)
    _compare(dock, qtbot)

    dock.several.majority_button.click()
    dock.several.agreement_button.click()
    dock.several.majority_button.click()

    majority, agreement = viewer.layers[3:]
    expected = np.array([[[1, 2], [2, 2]]]), np.array([[[170, 170], [255, 255]]])
    for layer, values in zip((majority, agreement), expected, strict=True):
        np.testing.assert_array_equal(layer.data, values[0] if flat else values)
        np.testing.assert_allclose(layer.scale, anna.scale)
        assert layer.units == anna.units
    assert isinstance(majority, Labels)
    np.testing.assert_allclose(majority.get_color(2), anna.get_color(2))
    majority.fill((0,) * n_axes, 3)
    assert np.asarray(majority.data).ravel()[0] == 3


def test_experimenters_numbers_are_saved(
    viewer: Viewer, dock: CompareDock, qtbot: Any, tmp_path: Path
) -> None:
    _add_experimenters(viewer, dock)
    _compare(dock, qtbot)

    dock.save_their_csv(tmp_path / "table.csv")
    _wait(dock, qtbot)

    assert dock.message == f"Saved table.csv in {tmp_path.name}"
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["disagreement"]) for row in rows] == pytest.approx(
        [1 / 3, 0.5, 1 / 3]
    )


def test_layers_of_another_shape_cannot_be_checked(
    viewer: Viewer, dock: CompareDock
) -> None:
    checks = dock.several.form.experimenters
    _add(viewer, EXPERIMENTERS[0], "Anna")
    _add(viewer, TARGET, "other")
    anna, other = checks.item(0), checks.item(1)
    assert anna is not None
    assert other is not None

    anna.setCheckState(Qt.CheckState.Checked)

    assert not other.flags() & Qt.ItemFlag.ItemIsEnabled
    anna.setCheckState(Qt.CheckState.Unchecked)
    assert other.flags() & Qt.ItemFlag.ItemIsEnabled


def test_too_few_experimenters_are_told(viewer: Viewer, dock: CompareDock) -> None:
    anna, ben, carl = _add_experimenters(viewer, dock)

    dock.several.form.target.layer = carl
    dock.compare_button.click()
    assert dock.message.startswith("Carl is both checked and the target")
    viewer.layers.remove(ben)
    viewer.layers.remove(carl)
    dock.compare_button.click()

    assert dock.message == "check two or more labels layers, one per experimenter"
    assert dock.several.form.experimenters.layers == (anna,)


def test_many_experimenters_fit_the_dock(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    viewer.window.resize(1100, 700)
    layers = [_add(viewer, EXPERIMENTERS[i % 3], f"person-{i:03}") for i in range(15)]
    dock.tabs.setCurrentIndex(1)
    dock.several.form.experimenters.check(*layers)
    _compare(dock, qtbot)

    scroll = dock.findChild(QScrollArea)
    assert isinstance(scroll, QScrollArea)
    content, viewport = scroll.widget(), scroll.viewport()
    assert content is not None
    assert viewport is not None
    for tab in range(3):
        dock.several.results.tabs.setCurrentIndex(tab)
        qtbot.wait(50)
        assert content.width() <= viewport.width()
    assert dock.several.results.tables["Differ"].columnCount() == 16


# ---- looks ----


def test_plots_take_the_light_theme(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    _add_pair(viewer)
    _compare(dock, qtbot)

    viewer.theme = "light"

    paper = to_hex(get_theme("light").background.as_hex())
    for plot in dock.results.plots:
        assert to_hex(plot.figure.get_facecolor()) == paper


@pytest.mark.parametrize("height", [700, 900])
def test_nothing_is_cut_off_at_the_side(
    viewer: Viewer, dock: CompareDock, qtbot: Any, height: int
) -> None:
    viewer.show()
    viewer.window.resize(1100 if height == 700 else 1400, height)
    _add_pair(viewer)
    _compare(dock, qtbot)
    qtbot.wait(200)

    scroll = dock.findChild(QScrollArea)
    assert isinstance(scroll, QScrollArea)
    content, viewport = scroll.widget(), scroll.viewport()
    assert content is not None
    assert viewport is not None
    for view in (
        EVERYTHING,
        ABOUT_Z,
        LAYER,
    ):  # which unfolds the rest
        dock.form.what_counts.field_of_view.kind.setCurrentText(view)
        for tab in range(3):
            dock.results.tabs.setCurrentIndex(tab)
            qtbot.wait(50)
            assert content.width() <= viewport.width()


def test_settings_are_there_in_the_next_session(
    viewer: Viewer, dock: CompareDock, qtbot: Any
) -> None:
    viewer.show()
    _add_pair(viewer)
    dock.form.what_counts.neighbours.setCurrentIndex(
        dock.form.what_counts.neighbours.findData(18)
    )
    dock.form.what_counts.field_of_view.kind.setCurrentText(ABOUT_Z)

    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    qtbot.wait(50)

    again = CompareDock(viewer)
    viewer.window.add_dock_widget(again)
    assert again.form.what_counts.neighbours.currentData() == 18
    assert again.form.what_counts.field_of_view.kind.currentText() == ABOUT_Z
