"""Choices of layers, without a window."""

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from napari.components import LayerList, ViewerModel
from napari.layers import Image, Labels
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItemModel

from napari_lrcs.plugin.parts.layers.choice import LayerChoice, NameBox
from napari_lrcs.plugin.parts.layers.kinds import kind_of, looks_like_labels, marked
from napari_lrcs.plugin.parts.widgets import COLOURS

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def choose(qtbot: Any) -> Callable[..., "LayerChoice[Labels]"]:
    def make(layers: LayerList, *, none: str = "") -> "LayerChoice[Labels]":
        choice = LayerChoice(layers, Labels, none=none)
        qtbot.addWidget(choice)
        return choice

    return make


def _labels(name: str) -> Labels:
    return Labels(np.zeros((2, 2), np.uint8), name=name)


def _offered(choice: "LayerChoice[Labels]") -> list[str]:
    return [choice.itemText(i) for i in range(choice.count())]


def test_choice_offers_layers_of_its_kind_alone(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    viewer.add_image(np.zeros((2, 2)))
    a = viewer.add_layer(_labels("a"))

    choice = choose(viewer.layers)

    assert _offered(choice) == ["a"]
    assert choice.layer is a


def test_choice_takes_the_first_layer_that_comes(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    choice = choose(viewer.layers)
    assert choice.layer is None

    a = viewer.add_layer(_labels("a"))
    viewer.add_layer(_labels("b"))

    assert choice.layer is a


def test_choice_of_none_stays_none_when_a_layer_comes(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    choice = choose(viewer.layers, none="Everything")

    viewer.add_layer(_labels("a"))

    assert choice.layer is None
    assert _offered(choice) == ["Everything", "a"]


def test_choice_follows_a_rename_without_choosing_anew(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"], qtbot: Any
) -> None:
    a = viewer.add_layer(_labels("a"))
    choice = choose(viewer.layers)

    with qtbot.assertNotEmitted(choice.chosen):
        a.name = "renamed"

    assert choice.currentText() == "renamed"
    assert choice.layer is a


def test_choice_keeps_its_layer_when_layers_are_moved(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    a, b, c = (viewer.add_layer(_labels(name)) for name in "abc")
    choice = choose(viewer.layers)
    choice.layer = b

    viewer.layers.move(0, 3)

    assert list(viewer.layers) == [b, c, a]
    assert _offered(choice) == ["b", "c", "a"]
    assert choice.layer is b
    assert choice.currentText() == "b"


def test_choice_turns_to_another_layer_when_its_own_is_removed(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"], qtbot: Any
) -> None:
    a, b = (viewer.add_layer(_labels(name)) for name in "ab")
    choice = choose(viewer.layers)
    choice.layer = a

    with qtbot.waitSignal(choice.chosen, timeout=1000):
        viewer.layers.remove(a)
    assert choice.layer is b

    viewer.layers.clear()
    assert choice.layer is None


def test_layer_of_another_viewer_cannot_be_chosen(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    choice = choose(viewer.layers)

    with pytest.raises(ValueError, match="not in the viewer"):
        choice.layer = _labels("elsewhere")


def test_choice_that_follows_no_more_leaves_the_viewer_alone(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    choice = choose(viewer.layers)

    choice.disconnect_events()
    viewer.add_layer(_labels("late"))

    assert _offered(choice) == []


# ---- labels that were opened as an image ----

AS_LABELS = "truth (an image: use as labels)"


def _stripes(dtype: Any = np.uint8) -> NDArray[Any]:
    return (np.arange(3 * 8 * 9) % 3).reshape(3, 8, 9).astype(dtype)


def _grey() -> NDArray[np.uint8]:
    return np.arange(3 * 8 * 9, dtype=np.uint8).reshape(3, 8, 9)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (_stripes(), True),
        (_stripes(np.bool_), True),
        (_stripes(np.int16), True),
        (_stripes(np.float32), True),
        (_stripes(np.float32) / 2, False),
        (_grey(), False),
        (_grey().astype(np.float32), False),
        (np.zeros((3, 8, 9), np.uint8), True),  # painted elsewhere, perhaps
        (np.zeros((3, 8, 9), np.float32), False),
        (_stripes()[0], True),
    ],
)
def test_few_whole_numbers_look_like_labels(data: Any, expected: bool) -> None:
    assert looks_like_labels(Image(data)) is expected


def test_colours_labels_and_own_results_are_no_images_of_labels() -> None:
    assert not looks_like_labels(Image(np.zeros((8, 9, 3), np.uint8), rgb=True))
    assert not looks_like_labels(Labels(_stripes()))
    histogram = Image(_stripes(), metadata=marked("interface histogram"))
    assert not looks_like_labels(histogram)
    assert not looks_like_labels(None)


def test_little_of_a_lazy_image_is_read_to_tell_and_nothing_to_convert(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    reads: list[int] = []

    def read(block: Any) -> Any:
        reads.append(block.size)
        return block

    blocks = da.ones((9, 600, 600), chunks=(1, 300, 300), dtype=np.float32)
    lazy = blocks.map_blocks(read, meta=np.empty((0, 0, 0), np.float32))
    lazy = da.concatenate([lazy, da.zeros_like(lazy)], axis=2)
    image = Image(lazy, contrast_limits=(0, 1), name="truth")
    viewer.add_layer(image)
    reads.clear()

    choice = choose(viewer.layers)
    choice.setCurrentText(AS_LABELS)

    assert isinstance(choice.layer, Labels)
    assert isinstance(choice.layer.data, da.Array)
    assert choice.layer.data.dtype == np.int32
    assert len(reads) <= 4  # of 36 chunks: to tell, and to show the slice in view


def test_image_of_labels_is_made_labels_where_they_are_chosen(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"], qtbot: Any
) -> None:
    place = {"scale": (2, 0.5, 0.5), "units": ("um",) * 3, "translate": (1, 2, 3)}
    viewer.add_layer(Image(_grey(), name="raw", **place))
    viewer.add_layer(Image(_stripes(), name="truth", **place))
    above = viewer.add_layer(Labels(_stripes(), name="above"))
    choice = choose(viewer.layers)
    assert _offered(choice) == ["above", AS_LABELS]
    viewer.layers.selection.active = above

    with qtbot.waitSignal(choice.chosen, timeout=1000):
        choice.setCurrentText(AS_LABELS)

    assert [layer.name for layer in viewer.layers] == ["raw", "truth", "above"]
    truth = viewer.layers["truth"]
    assert isinstance(truth, Labels)
    np.testing.assert_array_equal(truth.data, _stripes())
    np.testing.assert_array_equal(truth.scale, (2, 0.5, 0.5))
    np.testing.assert_array_equal(truth.translate, (1, 2, 3))
    assert {str(unit) for unit in truth.units} == {"micrometer"}
    assert choice.layer is truth
    assert choice.is_picked
    assert viewer.layers.selection.active is above
    assert _offered(choice) == ["truth", "above"]


def test_labels_that_are_proposed_as_soon_as_they_are_made_count_as_chosen(
    viewer: ViewerModel, qtbot: Any
) -> None:
    viewer.add_layer(Image(_stripes(), name="truth"))
    choice: LayerChoice[Labels] = LayerChoice(
        viewer.layers, Labels, propose=lambda labels: next(iter(labels), None)
    )
    qtbot.addWidget(choice)
    # No slot that refers to the choice: PySide6 would keep the two for ever.
    chosen: list[str] = []
    choice.chosen.connect(lambda: chosen.append("once"))

    choice.setCurrentText(AS_LABELS)

    assert len(chosen) == 2  # proposed, then picked
    assert choice.is_picked


def test_result_that_was_opened_as_an_image_stays_a_result(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"]
) -> None:
    image = Image(_stripes(), name="truth")
    viewer.add_layer(image)
    choice = choose(viewer.layers)
    image.metadata["own"] = 1

    choice.setCurrentText(AS_LABELS)

    assert choice.layer is not None
    assert kind_of(choice.layer) is None
    assert choice.layer.metadata["own"] == 1


def test_image_can_be_made_labels_in_the_open_list_alone(
    viewer: ViewerModel, choose: Callable[..., "LayerChoice[Labels]"], qtbot: Any
) -> None:
    viewer.add_layer(_labels("a"))
    viewer.add_layer(Image(_stripes(), name="truth"))
    choice = choose(viewer.layers)
    choice.show()

    qtbot.keyClick(choice, Qt.Key.Key_Down)
    assert [layer.name for layer in viewer.layers if isinstance(layer, Labels)] == ["a"]

    model = choice.model()
    assert isinstance(model, QStandardItemModel)
    item = model.item(1)
    assert item is not None
    choice.showPopup()
    assert item.isEnabled()
    choice.hidePopup()
    assert not item.isEnabled()


def test_grey_image_that_looks_like_labels_is_said_in_words_and_colour(
    viewer: ViewerModel, qtbot: Any
) -> None:
    viewer.add_layer(Image(_grey(), name="raw"))
    viewer.add_layer(Image(_stripes(), name="truth"))
    choice: LayerChoice[Image] = LayerChoice(viewer.layers, Image)
    qtbot.addWidget(choice)

    assert choice.currentText() == "truth (looks like labels)"
    assert COLOURS["warning"] in choice.styleSheet()
    assert "looks like labels, not like a grey image" in choice.full_tip
    choice.setCurrentText("raw")
    assert COLOURS["warning"] not in choice.styleSheet()


# ---- long names ----


def test_long_name_loses_its_middle_and_the_tooltip_has_all_of_it(qtbot: Any) -> None:
    name = "nmc-electrode-raw-of-the-second-day prediction"
    box = NameBox()
    qtbot.addWidget(box)
    box.addItem(name)
    box.setToolTip("What is measured")
    box.resize(150, 28)

    first, last = box.shown_text.split("…")

    assert name.startswith(first)
    assert name.endswith(last)
    assert len(last) > 3
    assert box.full_tip == f"{name}\nWhat is measured"
    box.resize(900, 28)
    assert box.shown_text == name
