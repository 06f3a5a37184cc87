from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari import Viewer
from napari.components import LayerList
from napari.layers import Image, Labels, Layer

from napari_lrcs.errors import VolumeError
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import (
    add_result,
    appearance,
    labels_of,
    layer_shape,
    n_slices_of,
    phases_shown,
    place_of,
    show_phases,
    use_as_labels,
    volume_of,
)
from napari_lrcs.preprocessing.slices import AXES

pytestmark = pytest.mark.gui

_TRANSFORMS: dict[str, dict[str, Any]] = {
    "scale": {"scale": (2, 0.5, 0.25)},
    "translate": {"translate": (1, -2, 3)},
    "rotate": {"rotate": (10, 20, 30)},
    "shear": {"shear": (0.1, 0.2, 0.3)},
    "affine": {"affine": [[1, 0.5, 0, 2], [0, 2, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]]},
    "units": {"units": ("micrometer",) * 3},
    "axis labels": {"axis_labels": ("depth", "row", "column")},
}
_TRANSFORMS["all"] = {
    name: value for given in _TRANSFORMS.values() for name, value in given.items()
}


# ---- places ----


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
@pytest.mark.parametrize("name", _TRANSFORMS)
def test_layer_lies_where_its_source_does(name: str) -> None:
    source = Image(np.zeros((3, 4, 5)), **_TRANSFORMS[name])

    copy = Labels(np.zeros((3, 4, 5), np.uint8), **place_of(source))

    _assert_same_place(copy, source)


def test_image_of_two_axes_lends_its_place() -> None:
    source = Image(
        np.zeros((4, 5)), rotate=30, shear=[0.2], scale=(2, 3), units=("nm", "nm")
    )

    copy = Labels(np.zeros((4, 5), np.uint8), **place_of(source))

    _assert_same_place(copy, source)


@pytest.mark.parametrize(
    ("above", "order"),
    [
        ("a", "a result a_painting b b_painting"),
        ("b", "a a_painting b result b_painting"),
        (None, "a result a_painting b b_painting"),
    ],
)
def test_result_is_added_above_its_image_and_below_the_painting(
    above: str | None, order: str
) -> None:
    layers = LayerList()
    for name in ("a", "b"):
        image = Image(np.zeros((2, 4, 5)), name=name)
        painting = new_painting(image, phases=ELECTRODE)
        painting.name = f"{name}_painting"
        layers.extend([image, painting])
    layers.selection.active = layers["b_painting"]
    result = Labels(np.zeros((2, 4, 5), np.uint8), name="result")

    add_result(layers, result, above=None if above is None else layers[above])

    assert [layer.name for layer in layers] == order.split()
    assert layers.selection.active is layers["b_painting"]


def test_previews_of_a_training_are_hidden_under_a_result() -> None:
    preview, other, result = (
        Labels(np.zeros((4, 5), np.uint8), metadata=metadata)
        for metadata in (marked("training preview"), marked("prediction"), {})
    )
    layers = LayerList([preview, other])

    add_result(layers, result, above=None)

    assert [layer.visible for layer in layers] == [False, True, True]


def _assert_same_place(layer: Layer, source: Layer) -> None:
    corners = np.array(np.meshgrid(*[(0, 7)] * source.ndim)).reshape(source.ndim, -1).T
    for corner in corners:
        np.testing.assert_allclose(
            layer.data_to_world(corner), source.data_to_world(corner)
        )
    assert layer.units == source.units
    assert layer.axis_labels == source.axis_labels


# ---- phases ----


def test_phases_of_a_layer_are_those_that_it_was_given() -> None:
    layer = Labels(np.zeros((2, 2), np.uint8), **appearance(ELECTRODE))

    assert phases_shown(layer) == ELECTRODE


def test_phases_of_a_layer_can_be_changed() -> None:
    layer = Labels(np.zeros((2, 2), np.uint8), **appearance(ELECTRODE))

    show_phases(layer, PhaseTable.named("air", "paper"))

    assert phases_shown(layer) == PhaseTable.named("air", "paper")


def test_plain_labels_name_no_phases() -> None:
    assert phases_shown(Labels(np.zeros((2, 2), np.uint8))) is None


def test_columns_of_another_plugin_name_no_phases() -> None:
    foreign = {"index": [0, 7], "phase": ["nothing", "cell"]}
    layer = Labels(np.zeros((2, 2), np.uint8), features=foreign)

    assert phases_shown(layer) is None


def test_columns_without_numbers_name_no_phases() -> None:
    foreign = {"index": ["a", "b"], "phase": ["anaphase", "prophase"]}
    layer = Labels(np.zeros((2, 2), np.uint8), features=foreign)

    assert phases_shown(layer) is None


def test_volume_of_a_layer_names_the_files_that_it_shows(
    make_napari_viewer: Callable[[], Viewer], tmp_path: Path
) -> None:
    array = zarr.create_array(tmp_path / "a.zarr", shape=(2, 3, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, 3, 4), np.uint16))
    (opened,) = make_napari_viewer().open(tmp_path / "b.tif", plugin="napari")

    assert volume_of(Labels(array)).sources == (tmp_path / "a.zarr",)
    assert volume_of(opened).sources == (tmp_path / "b.tif",)
    assert volume_of(Image(np.zeros((2, 3, 4)))).sources == ()


def test_volume_of_labels_names_its_phases() -> None:
    layer = Labels(np.ones((2, 3, 4), np.int64), **appearance(ELECTRODE))

    volume = labels_of(layer)

    assert volume.phases == ELECTRODE
    assert volume.slab(0, 2).dtype == np.uint8


# ---- volumes ----


def test_volume_has_the_name_the_voxel_size_and_the_unit_of_its_layer() -> None:
    layer = Image(
        np.arange(24).reshape(2, 3, 4),
        name="scan",
        scale=(3, 2, 1),
        units=("micrometer",) * 3,
    )

    volume = volume_of(layer)

    assert (volume.name, volume.voxel_size) == ("scan", (3.0, 2.0, 1.0))
    assert volume.unit == "micrometer"
    np.testing.assert_array_equal(volume.slab(1, 2), layer.data[1:])


def test_layer_without_a_scale_has_no_voxel_size() -> None:
    volume = volume_of(Image(np.zeros((2, 3, 4))))

    assert volume.voxel_size is None
    assert volume.unit is None


def test_image_of_two_axes_is_one_slice() -> None:
    layer = Image(np.zeros((3, 4)), scale=(2, 2), units=("nm", "nm"))

    volume = volume_of(layer)

    assert volume.shape == (1, 3, 4)
    assert volume.voxel_size == (1.0, 2.0, 2.0)
    assert volume.unit == "nanometer"
    assert n_slices_of(layer, "z") == 1
    assert n_slices_of(layer, "y") == 3


def test_slices_are_counted_across_the_axis() -> None:
    layer = Image(np.zeros((2, 3, 4)))

    assert [n_slices_of(layer, axis) for axis in AXES] == [2, 3, 4]


def test_pyramid_is_read_at_its_full_resolution() -> None:
    layer = Image([np.ones((4, 32, 48)), np.zeros((4, 16, 24))], multiscale=True)

    assert layer_shape(layer) == (4, 32, 48)
    assert volume_of(layer).slab(0, 1).all()


def test_colour_image_is_refused() -> None:
    layer = Image(np.zeros((5, 40, 40, 3)), rgb=True, name="photo")

    with pytest.raises(VolumeError, match=r"photo is a colour image.*grey"):
        volume_of(layer)


def test_time_series_is_refused() -> None:
    layer = Image(np.zeros((2, 3, 4, 5)), name="film")

    with pytest.raises(VolumeError, match=r"film has 4 axes of 2 × 3 × 4 × 5"):
        volume_of(layer)


def test_time_series_of_one_point_is_a_volume() -> None:
    layer = Image(np.zeros((1, 3, 4, 5)), scale=(9, 1, 2, 3), units=("s", *["nm"] * 3))

    volume = volume_of(layer)

    assert volume.shape == (3, 4, 5)
    assert volume.voxel_size == (1.0, 2.0, 3.0)
    assert volume.unit == "nanometer"


def test_no_voxel_is_read_for_a_volume() -> None:
    reads: list[tuple[int, ...]] = []

    def read(block: Any) -> Any:
        reads.append(block.shape)
        return block

    lazy = da.zeros((9, 4, 4), chunks=(1, 4, 4)).map_blocks(
        read, meta=np.empty((0, 0, 0))
    )
    layer = Image(lazy, contrast_limits=(0, 1))
    reads.clear()

    volume = volume_of(layer)

    assert not reads
    volume.slab(3, 5)
    assert reads == [(1, 4, 4)] * 2


def test_labels_made_of_an_image_have_the_colours_of_the_phases() -> None:
    stripes = (np.arange(24) % 4).reshape(2, 3, 4).astype(np.uint8)
    layers = LayerList()
    painted = Labels(stripes, **appearance(PhaseTable.named("a", "b")))
    image = Image(stripes, name="truth")
    layers.extend([painted, image])

    labels = use_as_labels(layers, image)

    np.testing.assert_array_equal(labels.get_color(2), painted.get_color(2))
    assert phases_shown(labels) is None  # a file may mean other phases
    assert labels.get_color(3)[3] == 1  # which is none of them
