"""Choices of layers, without a window."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import LayerList, ViewerModel
from napari.layers import Labels

from napari_lrcs.plugin.parts.layer_choice import LayerChoice

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
