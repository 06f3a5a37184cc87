"""The dock "Look inside the network", in one window."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread
from napari import Viewer
from napari.layers import Image
from pytestqt.qtbot import QtBot

from napari_lrcs.config import TrainConfig
from napari_lrcs.inspection.findings import Layer, Maps
from napari_lrcs.plugin.look.dock import LookDock
from napari_lrcs.plugin.look.layers import MapsLayer
from napari_lrcs.plugin.parts.layers.kinds import kind_of

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

SHAPE = (5, 48, 40)
POINT = (2, 37, 22)
SIZE = (3.0, 0.5, 0.25)


@pytest.fixture
def model(
    make_checkpoint: Callable[..., Any], tiny_config: TrainConfig, tmp_path: Path
) -> Path:
    from napari_lrcs.models.checkpoint import save_checkpoint

    path = tmp_path / "model.safetensors"
    save_checkpoint(path, make_checkpoint(tiny_config, n_phases=2))
    return path


def open_dock(viewer: Viewer) -> LookDock:
    _, dock = viewer.window.add_plugin_dock_widget(
        "napari-lrcs", "Look inside the network"
    )
    assert isinstance(dock, LookDock)
    return dock


def select(dock: LookDock, name: str) -> None:
    names = [layer.name for layer in dock.setup._layers]
    dock.setup.table.selectRow(names.index(name))


def show(dock: LookDock, name: str, qtbot: QtBot) -> Image:
    select(dock, name)
    dock.show_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    (layer,) = [x for x in dock.viewer.layers if kind_of(x) == "stack of maps"]
    assert isinstance(layer, Image)
    return layer


def test_look_inside_in_one_window(
    make_napari_viewer: Callable[..., Viewer],
    model: Path,
    qtbot: QtBot,
    tmp_path: Path,
) -> None:
    viewer = make_napari_viewer(show=True)
    grey = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    place: dict[str, Any] = {"scale": SIZE, "translate": (1, 2, 3), "units": ["um"] * 3}
    scan = viewer.add_image(grey, name="scan", **place)
    dock = open_dock(viewer)
    assert not dock.show_button.isEnabled()

    choosing_a_network_lists_its_layers_and_shows_its_kernels(dock, model, qtbot)
    maps_are_a_layer_on_the_slice_in_view(dock, scan, qtbot)
    other_maps_take_their_place(dock, scan, qtbot)
    maps_can_be_saved(dock, tmp_path / "maps.tif", qtbot)
    gradients_need_a_painted_slice(dock, place, qtbot)
    the_way_is_drawn_and_saved(dock, tmp_path / "way.png", qtbot)
    the_way_through_a_former_model_is_not_shown(dock, model, qtbot)
    a_damaged_network_leaves_nothing_of_the_former_one(dock, model, qtbot)


def choosing_a_network_lists_its_layers_and_shows_its_kernels(
    dock: LookDock, model: Path, qtbot: QtBot
) -> None:
    dock.setup.model_choice.choose(model)
    qtbot.waitUntil(lambda: dock.setup.layer is not None)

    assert dock.results.save_button.isEnabled()
    table = dock.setup.table
    shown = [
        [getattr(table.item(row, column), "text", str)() for column in range(3)]
        for row in range(table.rowCount())
    ]
    assert ["encoder.2.max_pool", "8", "6 × 5"] in shown


def maps_are_a_layer_on_the_slice_in_view(
    dock: LookDock, scan: Image, qtbot: QtBot
) -> None:
    dims = dock.viewer.dims
    dims.set_current_step(0, POINT[0])

    layer = show(dock, "encoder.1", qtbot)

    assert layer.data.shape == (4, 1, 24, 20)
    assert "4 maps of encoder.1 are on slice z=2" in dock.message
    assert dims.current_step[:2] == (0, POINT[0])
    assert dims.ndim == 4
    world = (0, *scan.data_to_world(POINT))
    np.testing.assert_allclose(layer.world_to_data(world), (0, 0, 18.25, 10.75))


def other_maps_take_their_place(dock: LookDock, scan: Image, qtbot: QtBot) -> None:
    layer = show(dock, "encoder.1", qtbot)
    first, layer.colormap = layer.data.copy(), "magma"

    assert show(dock, "encoder.0.max_pool.places", qtbot) is layer
    world = (0, *scan.data_to_world(POINT))
    np.testing.assert_allclose(layer.world_to_data(world), (0, 0, *POINT[1:]))
    assert layer.data.shape == (4, 1, 48, 40)
    assert layer.colormap.name == "magma"
    assert dock.setup.image_choice.count() == 1  # maps are no image to look at

    dock.viewer.dims.set_current_step(1, 4)
    show(dock, "encoder.1", qtbot)
    assert not np.array_equal(layer.data, first)
    world = (0, *scan.data_to_world((4, 0, 0)))
    assert layer.world_to_data(world)[1] == pytest.approx(0)


def maps_can_be_saved(dock: LookDock, path: Path, qtbot: QtBot) -> None:
    dock.save_maps(path)
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert tifffile.imread(path).shape == (4, 24, 20)


def gradients_need_a_painted_slice(
    dock: LookDock, place: dict[str, Any], qtbot: QtBot
) -> None:
    compute = dock.results.compute_button
    dock.results.show_tab("Gradients")

    compute.click()
    assert "choose a painting under More" in dock.message

    labels = np.zeros(SHAPE, np.uint8)
    labels[3, :, :20], labels[3, :, 20:] = 1, 2
    dock.viewer.add_labels(labels, name="painted", **place)
    compute.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    assert "slice z=4 of painted has no painted voxel" in dock.message

    dock.viewer.dims.set_current_step(1, 3)
    compute.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    assert dock.message.startswith("The loss of the batch is ")


def the_way_is_drawn_and_saved(dock: LookDock, path: Path, qtbot: QtBot) -> None:
    dock.results.show_tab("Way")

    dock.draw_way()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert dock.results.plots["Way"].isVisible()
    dock._save(path, dock.results._writers["Way"])
    qtbot.waitUntil(lambda: not dock.is_busy)
    assert imread(path).std() > 0.02


def the_way_through_a_former_model_is_not_shown(
    dock: LookDock, model: Path, qtbot: QtBot
) -> None:
    other = model.with_name("other.safetensors")
    other.write_bytes(model.read_bytes())

    dock.draw_way()
    dock.setup.model_choice.choose(other)
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "Way" not in dock.results._writers
    assert dock.message == "The model was changed meanwhile; nothing is shown"
    dock.setup.model_choice.choose(model)
    qtbot.waitUntil(lambda: "Kernels" in dock.results._writers)


def a_damaged_network_leaves_nothing_of_the_former_one(
    dock: LookDock, model: Path, qtbot: QtBot
) -> None:
    model.write_bytes(model.read_bytes()[:-100])

    dock.setup._read()
    qtbot.waitUntil(lambda: "not a valid safetensors file" in dock.message)

    assert dock.setup.layer is None
    assert not dock.show_button.isEnabled()
    assert not dock.results.save_button.isEnabled()


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_maps_follow_an_image_that_is_turned_and_moved(axis: Any) -> None:
    angle = np.deg2rad(30)
    image = Image(
        np.zeros((16, 16, 16)),
        scale=(2, 1, 0.5),
        translate=(1, 2, 3),
        rotate=[
            [1, 0, 0],
            [0, np.cos(angle), -np.sin(angle)],
            [0, np.sin(angle), np.cos(angle)],
        ],
        affine=[[1, 0, 0.2, 5], [0, 1, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]],
    )
    step = Layer(name="a", kind="convolution", n_maps=3, step=4)
    maps = Maps(layer=step, values=np.zeros((3, 4, 4), np.float32), axis=axis, index=7)
    # The first pixel covers 0 to 3 across the slice, the last 12 to 15.
    across = "zyx".index(axis)
    centres = np.array([[1.5] * 3, [13.5] * 3])
    centres[:, across] = 7
    places = np.array([[0] * 3, [3] * 3])
    places[:, across] = 0
    viewer = _LayersOnly(image)

    shown = MapsLayer(viewer)
    shown.show(image, maps)

    assert shown.layer is not None
    for centre, place in zip(centres, places, strict=True):
        world = (0, *image.data_to_world(centre))
        np.testing.assert_allclose(
            shown.layer.world_to_data(world)[1:], place, atol=1e-6
        )


class _LayersOnly:
    """What a viewer is without its window."""

    def __init__(self, image: Image) -> None:
        from napari.components import ViewerModel

        self._model = ViewerModel()
        self._model.layers.append(image)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def test_maps_of_a_flat_image_have_a_slider_for_themselves_alone() -> None:
    image = Image(np.zeros((16, 16)), scale=(0.5, 0.5))
    step = Layer(name="a", kind="convolution", n_maps=3, step=2)
    maps = Maps(layer=step, values=np.zeros((3, 8, 8), np.float32), axis="z", index=0)

    shown = MapsLayer(_LayersOnly(image))
    shown.show(image, maps)

    assert shown.layer is not None
    assert shown.layer.data.shape == (3, 8, 8)
    world = (0, *image.data_to_world((0.5, 2.5)))
    np.testing.assert_allclose(shown.layer.world_to_data(world), (0, 0, 1))
