"""The way that a user goes: paint, train, look, predict, compare, by the buttons."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QBuffer
from qtpy.QtWidgets import QComboBox, QPushButton, QWidget
from scipy.ndimage import distance_transform_edt

from napari_lrcs.io.opening import open_volume
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.compare.dock import CompareDock
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.parts.layers.layers import phases_shown
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.train.dock import TrainDock

pytestmark = [pytest.mark.gui, pytest.mark.slow]

AnyDock = TypeVar("AnyDock", bound=QWidget)

TRAIN, VALIDATION, PREDICTED = 8, 24, (40, 44)
"""Slices."""


def test_from_an_opened_sample_to_a_compared_segmentation(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("napari-lrcs", "nmc_electrode")
    image, truth = viewer.layers
    assert isinstance(image, Image)
    assert isinstance(truth, Labels)

    painting = _paint_and_mark(viewer, image, truth)
    _train(viewer, qtbot, image, painting)
    in_memory, on_disk = _predict(viewer, qtbot, image, painting)
    _compare(viewer, qtbot, in_memory, truth)

    np.testing.assert_array_equal(
        np.asarray(on_disk.data[0] if on_disk.multiscale else on_disk.data)[
            slice(*PREDICTED)
        ],
        np.asarray(in_memory.data)[slice(*PREDICTED)],
    )


def test_eight_actions_lead_from_nothing_to_a_first_overlay(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    # As the tutorial counts them.
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("napari-lrcs", "nmc_electrode")  # 1
    label = _open(viewer, "Label phases", LabelDock)  # 2
    _press(label, "New labels layer")  # 3
    _press(label, "▸ Help to paint")  # 4
    _press(label, "Fill this slice")  # 5
    qtbot.waitUntil(lambda: not label.is_busy)
    _press(label, "Train")  # 6
    train = _open(viewer, "Train LRCS-Net", TrainDock)  # 7
    known = set(viewer.layers)
    _press(train, "Train")  # 8

    qtbot.waitUntil(lambda: len(viewer.layers) > len(known), timeout=300_000)

    (overlay,) = set(viewer.layers) - known
    assert isinstance(overlay, Labels)
    in_view = viewer.dims.current_step[0]
    assert _slice(overlay, in_view).all()
    _press(train, "Cancel")
    qtbot.waitUntil(lambda: not train.is_busy)


def _paint_and_mark(viewer: Viewer, image: Image, truth: Labels) -> Labels:
    dock = _open(viewer, "Label phases", LabelDock)
    _press(dock, "New labels layer")
    painting = viewer.layers.selection.active
    assert isinstance(painting, Labels)
    assert painting is not truth
    assert phases_shown(painting) == ELECTRODE
    _assert_same_place(image, painting)

    for index, role in ((TRAIN, "Train"), (VALIDATION, "Validation")):
        viewer.dims.set_current_step(0, index)
        target = np.asarray(truth.data[index])
        for phase in ELECTRODE:
            painting.selected_label = phase.label
            for place in _inner_places(target == phase.label):
                painting.brush_size = 5
                painting.paint((index, *place), phase.label)
        _press(dock, role)

    painted = np.asarray(painting.data)
    assert sorted(np.unique(np.nonzero(painted)[0])) == [TRAIN, VALIDATION]
    assert set(np.unique(painted)) == {0, 1, 2, 3}
    return painting


def _train(viewer: Viewer, qtbot: QtBot, image: Image, painting: Labels) -> None:
    before = np.asarray(painting.data).copy()
    dock = _open(viewer, "Train LRCS-Net", TrainDock)
    assert dock.setup.image_choice.layer is image
    assert dock.setup.labels_choice.layer == painting
    dock.setup.form["n_epochs"].value = 50  # more than is waited for
    dock.setup.form["patches_per_epoch"].value = 64
    known = set(viewer.layers)
    viewer.dims.set_current_step(0, TRAIN)

    _press(dock, "Train")
    qtbot.waitUntil(lambda: len(viewer.layers) > len(known))

    (added,) = set(viewer.layers) - known
    assert isinstance(added, Labels)
    preview: Labels = added
    _assert_same_place(image, preview)
    assert viewer.layers.index(preview) != viewer.layers.index(painting)
    first = _slice(preview, TRAIN)
    assert first.all(), "every pixel of the slice in view has a phase"
    curves = _picture(dock.curves)
    qtbot.waitUntil(
        lambda: not np.array_equal(first, _slice(preview, TRAIN)), timeout=60_000
    )
    qtbot.waitUntil(
        lambda: not np.array_equal(curves, _picture(dock.curves)), timeout=60_000
    )

    _press(dock, "Stop and keep the best")
    qtbot.waitUntil(lambda: not dock.is_busy)
    np.testing.assert_array_equal(np.asarray(painting.data), before)


def _predict(
    viewer: Viewer, qtbot: QtBot, image: Image, painting: Labels
) -> tuple[Labels, Labels]:
    dock = _open(viewer, "Predict volume", PredictDock)
    _choose(dock.setup.region, "some")
    dock.setup.range.setText("{}:{}".format(*PREDICTED))
    results = []
    for where in ("Memory", "OME-Zarr"):
        qtbot.waitUntil(lambda: dock.setup.model_choice.model is not None)
        _choose(dock.setup.where, where)
        known = set(viewer.layers)
        _press(dock, "Predict")
        qtbot.waitUntil(lambda: not dock.is_busy)
        added = set(viewer.layers) - known
        assert len(added) == 1, dock.message
        (result,) = added
        assert isinstance(result, Labels)
        _assert_same_place(image, result)
        assert phases_shown(result) == ELECTRODE
        result.name = where  # so that the next prediction does not replace it
        results.append(result)
    in_memory, on_disk = results
    predicted = np.asarray(in_memory.data)
    assert predicted[slice(*PREDICTED)].all()
    assert not predicted[: PREDICTED[0]].any()
    assert open_volume(_stored(on_disk)).phases == ELECTRODE
    assert painting in viewer.layers
    return in_memory, on_disk


def _compare(viewer: Viewer, qtbot: QtBot, predicted: Labels, truth: Labels) -> None:
    dock = _open(viewer, "Compare segmentations", CompareDock)
    dock.form.predicted.layer = predicted
    dock.form.target.layer = truth
    dock.form.slices.setText("{}:{}".format(*PREDICTED))
    _press(dock, "Compare")
    qtbot.waitUntil(lambda: not dock.is_busy)
    known = set(viewer.layers)

    _press(dock, "Show differences")

    (differences,) = set(viewer.layers) - known
    part = slice(*PREDICTED)
    target = np.asarray(truth.data[part])
    wrong = np.asarray(predicted.data[part]) != target
    np.testing.assert_array_equal(
        np.asarray(differences.data[part]), np.where(wrong, target, 0)
    )


def _open(viewer: Viewer, name: str, kind: type[AnyDock]) -> AnyDock:
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrcs", name)
    assert isinstance(dock, kind)
    return dock


def _find(dock: QWidget, text: str) -> QPushButton:
    (found,) = [b for b in dock.findChildren(QPushButton) if b.text() == text]
    return found


def _press(dock: QWidget, text: str) -> None:
    button = _find(dock, text)
    assert button.isEnabled(), f"{text} cannot be pressed"
    button.click()


def _choose(box: QComboBox, word: str) -> None:
    texts = [box.itemText(i) for i in range(box.count())]
    (fitting,) = [text for text in texts if word.lower() in text.lower()]
    box.setCurrentText(fitting)


def _picture(widget: QWidget) -> NDArray[np.uint8]:
    written = QBuffer()
    widget.grab().save(written, "PPM")
    return np.frombuffer(bytes(written.data().data()), np.uint8)


def _slice(layer: Labels, index: int) -> NDArray[np.uint8]:
    return np.array(layer.data[index])


def _inner_places(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Choose places far from the phase's edge, where a brush stays inside it."""
    depth = distance_transform_edt(mask)
    order = np.argsort(-depth, axis=None)[:400:20]
    return np.stack(np.unravel_index(order, mask.shape), axis=1)


def _assert_same_place(one: Image, other: Labels) -> None:
    shape = other.data[0].shape if other.multiscale else other.data.shape
    assert shape == one.data.shape
    np.testing.assert_allclose(one.scale, other.scale)
    np.testing.assert_allclose(one.translate, other.translate)
    assert one.units == other.units
    assert one.axis_labels == other.axis_labels


def _stored(layer: Labels) -> Path:
    array = layer.data[0] if layer.multiscale else layer.data
    return Path(str(array.store.root)).parent
