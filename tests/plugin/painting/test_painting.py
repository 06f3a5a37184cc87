import json
import resource
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari import Viewer
from napari.layers import Image, Labels, Layer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.errors import InUseError, VolumeError
from napari_lrcs.inference.painting.fill import Filled
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.plugin.label.paint_help.panel import merge
from napari_lrcs.plugin.label.painted_layers import adopt, new_painting, open_painting
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.layers.layers import phases_shown

pytestmark = pytest.mark.gui

MakeViewer = Callable[..., Viewer]

SHAPE = (5, 40, 50)
GREY = np.random.default_rng(0).random(SHAPE)
TWO = PhaseTable.named("dark", "bright")

AFFINE = np.eye(4)
AFFINE[0, 3], AFFINE[1, 2] = 7.0, 0.2
PLACES: list[dict[str, Any]] = [
    {"scale": (2.0, 0.5, 0.5), "translate": (3.0, -1.0, 4.0), "units": "um"},
    {"rotate": (10, 20, 30), "axis_labels": ("z", "y", "x")},
    {"shear": (0.1, 0.2, 0.3), "affine": AFFINE},
]


def begun(image: Image | None = None, *, axis: Any = "z") -> tuple[Labels, Painting]:
    layer = new_painting(image or Image(GREY, name="scan"), phases=ELECTRODE, axis=axis)
    painting = painting_of(layer)
    assert painting is not None
    return layer, painting


def reopened(painting: Painting, image: Image) -> Painting:
    painting.unlock()
    folder = PaintingFolder(painting.folder.path)
    layer = open_painting(
        folder, image, state=folder.read(), counts=folder.labels.painted_slices()
    )
    other = painting_of(layer)
    assert other is not None
    return other


def counts_of(painting: Painting) -> dict[int, list[int]]:
    return {index: counts.tolist() for index, counts in painting.painted().items()}


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # napari, of the image
@pytest.mark.parametrize("place", PLACES, ids=["scaled", "rotated", "sheared"])
def test_new_labels_lie_where_the_image_does(place: dict[str, Any]) -> None:
    image = Image(GREY, name="scan", **place)

    layer, _ = begun(image)

    corner = (4, 39, 49)
    np.testing.assert_allclose(layer.data_to_world(corner), image.data_to_world(corner))
    np.testing.assert_allclose(layer.rotate, image.rotate)
    np.testing.assert_allclose(layer.shear, image.shear)
    assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)
    assert (layer.data.dtype, layer.data.shape) == (np.uint8, SHAPE)
    assert phases_shown(layer) == ELECTRODE


def test_layer_of_a_3d_image_is_a_zarr_of_one_slice_a_chunk() -> None:
    layer, _ = begun(axis="y")

    assert isinstance(layer.data, zarr.Array)
    assert layer.data.chunks == (5, 1, 50)


def test_stroke_is_on_disk_at_once(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    layer, painting = begun()
    viewer.add_layer(layer)

    layer.paint((2, 20, 25), 3)

    on_disk = zarr.open_array(painting.folder.path / "labels.zarr" / "0", mode="r")
    plane = np.asarray(on_disk[2])
    assert plane[20, 25] == 3
    np.testing.assert_array_equal(plane, painting.plane(2))


def test_strokes_and_undoing_them_are_counted(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    layer, painting = begun()
    viewer.add_layer(layer)
    viewer.dims.set_point(0, 2)
    told: list[None] = []
    painting.changed.connect(lambda: told.append(None))

    layer.fill((2, 0, 0), 2)
    qtbot.waitUntil(lambda: counts_of(painting) == {2: [0, 2000, 0]})
    layer.undo()
    qtbot.waitUntil(lambda: counts_of(painting) == {})
    layer.redo()
    qtbot.waitUntil(lambda: counts_of(painting) == {2: [0, 2000, 0]})

    assert len(told) == 3


def test_stroke_across_x_is_counted_in_its_slice(qtbot: QtBot) -> None:
    layer, painting = begun(axis="x")

    layer.data_setitem(
        (np.array([0, 1]), np.array([3, 4]), np.array([7, 7])), np.array([1, 3])
    )

    qtbot.waitUntil(lambda: counts_of(painting) == {7: [1, 0, 1]})


def test_roles_phases_and_labels_come_back() -> None:
    image = Image(GREY, name="scan")
    layer, painting = begun(image)
    layer.fill((1, 0, 0), 2)
    painting.save()
    painting.set_role(1, "train")
    painting.set_role(3, "validation")
    painting.set_role(4, "test")
    painting.set_role(3, None)
    painting.mask = "cylinder"
    renamed = PhaseTable.named("void", "glue", "grain", "more")
    painting.rename(renamed)

    back = reopened(painting, image)

    assert back.roles == {1: "train", 4: "test"}
    assert back.slices_with("train") == (1,)
    assert back.slices_with("validation") == ()
    assert (back.phases, back.mask) == (renamed, "cylinder")
    assert counts_of(back) == {1: [0, 2000, 0, 0]}
    np.testing.assert_array_equal(np.asarray(back.layer.data), layer.data)


def test_painting_of_another_shape_is_not_opened() -> None:
    _, painting = begun()

    with pytest.raises(VolumeError, match=r"\(5, 40, 50\).* other is \(2, 9, 9\)"):
        reopened(painting, Image(np.zeros((2, 9, 9)), name="other"))


def test_2d_image_is_painted_in_memory_and_saved_within_seconds(qtbot: QtBot) -> None:
    image = Image(GREY[0], name="photo", scale=(0.5, 0.5))
    layer, painting = begun(image, axis="x")

    layer.paint((20, 25), 1)

    assert painting.axis == "z"
    np.testing.assert_array_equal(layer.scale, (0.5, 0.5))
    array = PaintingFolder(painting.folder.path).labels.array
    qtbot.waitUntil(lambda: bool(np.asarray(array[0]).any()))
    qtbot.waitUntil(lambda: 0 in painting.painted())
    back = reopened(painting, image)
    np.testing.assert_array_equal(np.asarray(back.layer.data), np.asarray(layer.data))


def test_image_in_colour_or_with_time_is_refused() -> None:
    colour = Image(np.zeros((40, 50, 3)), rgb=True, name="photo")
    movie = Image(np.zeros((2, 3, 4, 5)), name="movie")
    single = Image(np.zeros((1, 3, 4, 5)), name="single")

    with pytest.raises(VolumeError, match="colour image; convert it to grey"):
        new_painting(colour, phases=TWO)
    with pytest.raises(VolumeError, match="4 axes"):
        new_painting(movie, phases=TWO)
    with pytest.raises(VolumeError, match=r"single has 4 axes .* expected z, y, x"):
        new_painting(single, phases=TWO)


def test_adopted_layer_is_saved_with_undone_strokes_undone(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    labels = np.zeros(SHAPE, np.int64)
    labels[1, :3], labels[4] = 1, 2
    layer = viewer.add_labels(labels)
    viewer.dims.set_point(0, 4)

    painting = adopt(layer, Image(GREY, name="scan"), phases=TWO, axis="z")

    saved = painting.folder.labels.array
    qtbot.waitUntil(lambda: counts_of(painting) == {1: [150, 0], 4: [0, 2000]})
    np.testing.assert_array_equal(np.asarray(saved[:]), labels)
    layer.fill((4, 0, 0), 1)
    qtbot.waitUntil(lambda: bool((np.asarray(saved[4]) == 1).all()))
    layer.undo()
    qtbot.waitUntil(lambda: bool((np.asarray(saved[4]) == 2).all()))
    np.testing.assert_array_equal(np.asarray(saved[:]), labels)


def test_adopted_layer_keeps_labels_beyond_the_phases() -> None:
    layer = Labels(np.full(SHAPE, 4, np.uint8))

    painting = adopt(layer, Image(GREY), phases=TWO, axis="z")

    assert painting.phases.names == ("dark", "bright", "phase 3", "phase 4")
    assert phases_shown(layer) == painting.phases


def test_labels_of_two_phases_are_not_those_of_an_electrode() -> None:
    layer = Labels(np.full(SHAPE, 2, np.uint8))

    painting = adopt(layer, Image(GREY), phases=ELECTRODE, axis="z")

    assert painting.phases == PhaseTable.numbered(2)


def test_layer_that_cannot_be_painted_is_not_adopted() -> None:
    image = Image(GREY, name="scan")
    lazy = Labels(zarr.zeros(SHAPE, dtype="uint8"), name="lazy")
    small = Labels(np.zeros((2, 2, 2), np.uint8), name="small")
    many = Labels(np.full(SHAPE, 300), name="many")

    with pytest.raises(VolumeError, match="lazy is not an array in memory"):
        adopt(lazy, image, phases=TWO, axis="z")
    with pytest.raises(VolumeError, match=r"small is \(2, 2, 2\), scan is"):
        adopt(small, image, phases=TWO, axis="z")
    with pytest.raises(VolumeError, match="many holds 300 to 300"):
        adopt(many, image, phases=TWO, axis="z")


def test_copy_of_a_layer_is_no_painting(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    layer, painting = begun()
    viewer.add_layer(layer)

    # As "Duplicate layer" does it.
    data, state, kind = layer.as_layer_data_tuple()
    copy = Layer.create(deepcopy(data), state, kind)
    copy.fill((2, 0, 0), 3)

    assert painting_of(copy) is None
    assert painting_of(layer) is painting
    assert painting_of(None) is None
    assert (np.asarray(copy.data[2]) == 3).all()
    assert not painting.plane(2).any()


@pytest.mark.parametrize("is_adopted", [False, True])
def test_renumbered_labels_are_shown_counted_and_saved(
    is_adopted: bool, qtbot: QtBot
) -> None:
    image = Image(GREY, name="scan")
    if is_adopted:
        layer = Labels(np.zeros(SHAPE, np.uint8))
        painting = adopt(layer, image, phases=ELECTRODE, axis="z")
    else:
        layer, painting = begun(image)
    layer.fill((1, 0, 0), 2)
    layer.fill((3, 0, 0), 3)
    painting.save()
    mapping, phases = {2: 0, 3: 2}, PhaseTable.named("pore", "NMC")

    painting.renumber(mapping, phases=phases)
    qtbot.waitUntil(lambda: not painting.is_renumbering)
    layer.undo()  # would bring back label 0

    assert painting.phases == phases_shown(layer) == phases
    assert counts_of(painting) == {3: [0, 2000]}
    assert not painting.plane(1).any()
    assert (painting.plane(3) == 2).all()
    layer.fill((3, 0, 0), 1)
    painting.save()
    assert counts_of(reopened(painting, image)) == {3: [2000, 0]}


def test_slice_that_is_put_is_one_step_to_undo(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    layer, painting = begun(Image(np.zeros((2, 500, 600)), name="wide"))
    viewer.add_layer(layer)
    layer.mode = "paint"
    labels = np.random.default_rng(0).integers(0, 4, (500, 600), np.uint8)

    painting.set_plane(0, labels)
    is_done_at_once = np.array_equal(painting.plane(0), labels)
    qtbot.waitUntil(lambda: np.array_equal(painting.plane(0), labels))
    qtbot.waitUntil(lambda: layer.mode == "paint")
    layer.undo()

    assert not is_done_at_once  # but in bands
    assert not painting.plane(0).any()


@pytest.mark.parametrize("axis", ["z", "x"])
def test_stroke_in_progress_when_a_slice_is_filled_stays(
    axis: Any,
    make_napari_viewer: MakeViewer,
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer = make_napari_viewer()
    layer, painting = begun(axis=axis)
    viewer.add_layer(layer)
    former = painting.plane(1)
    filled = Filled(index=1, former=former, labels=np.full_like(former, 2))
    first, second = {"z": ((1, 5, 5), (1, 30, 40)), "x": ((1, 5, 1), (4, 30, 1))}[axis]
    buttons = Qt.MouseButton.LeftButton
    monkeypatch.setattr(QApplication, "mouseButtons", lambda: buttons)

    with layer.block_history():
        layer.paint(first, 3)
        merge(painting, filled)
        layer.paint(second, 3)
    buttons = Qt.MouseButton.NoButton
    qtbot.waitUntil(lambda: bool((painting.plane(1) == 2).any()))

    assert [int(layer.data[place]) for place in (first, second)] == [3, 3]
    assert set(np.unique(painting.plane(1))) == {2, 3}


def test_saving_completes_what_is_being_put(make_napari_viewer: MakeViewer) -> None:
    viewer = make_napari_viewer()
    layer, painting = begun(Image(np.zeros((2, 500, 600)), name="wide"))
    viewer.add_layer(layer)

    painting.set_plane(0, np.full((500, 600), 1, np.uint8))
    painting.set_plane(1, np.full((500, 600), 2, np.uint8))
    painting.save()

    assert counts_of(painting) == {0: [300_000, 0, 0], 1: [0, 300_000, 0]}


def test_mask_is_a_cylinder_a_layer_or_nothing() -> None:
    _, painting = begun()
    inside = np.zeros(SHAPE, np.uint8)
    inside[:, 10:20] = 5

    volumes = []
    for mask in (None, "cylinder", Labels(inside, name="view")):
        painting.mask = mask
        volumes.append(painting.mask_volume(SHAPE))

    everything, cylinder, layer = volumes
    assert everything is None
    assert cylinder is not None
    assert layer is not None
    assert cylinder.slab(0, 1)[0].sum() == pytest.approx(np.pi * 20**2, rel=0.02)
    np.testing.assert_array_equal(layer.slab(0, 5), inside > 0)


def test_mask_of_another_shape_is_refused() -> None:
    _, painting = begun()

    with pytest.raises(VolumeError, match=r"the mask small is \(2, 2, 2\)"):
        painting.mask = Labels(np.zeros((2, 2, 2), np.uint8), name="small")

    assert painting.mask is None


def test_mask_that_is_replaced_while_it_is_kept_is_the_last_one(qtbot: QtBot) -> None:
    _, painting = begun()
    inside = np.zeros(SHAPE, np.uint8)
    inside[1] = 1

    painting.mask = Labels(np.ones(SHAPE, np.uint8), name="first")
    painting.mask = Labels(inside, name="second")
    qtbot.waitUntil(lambda: painting.state.mask is not None)

    back = reopened(painting, Image(GREY, name="scan")).mask_volume(SHAPE)
    assert back is not None
    np.testing.assert_array_equal(back.slab(0, 5), inside > 0)


def test_mask_layer_that_is_painted_on_is_saved_as_it_is_now(
    make_napari_viewer: MakeViewer, qtbot: QtBot
) -> None:
    _, painting = begun()
    view = Labels(np.ones(SHAPE, np.uint8), name="view")
    make_napari_viewer().add_layer(view)
    painting.mask = view
    qtbot.waitUntil(lambda: painting.state.mask is not None)
    saved = zarr.open_array(painting.folder.mask / "0", mode="r")

    view.fill((2, 0, 0), 0)
    qtbot.waitUntil(lambda: not np.any(saved[2]), timeout=10_000)
    view.undo()
    qtbot.waitUntil(lambda: bool(np.all(saved[2])), timeout=10_000)
    view.data = np.zeros(SHAPE, np.uint8)

    qtbot.waitUntil(lambda: not np.any(saved[:]), timeout=10_000)


def test_mask_layer_is_saved_with_its_painting_as_it_is_now() -> None:
    _, painting = begun()
    view = Labels(np.ones(SHAPE, np.uint8), name="view")

    painting.mask = view  # and its first copy may be on its way yet
    view.data_setitem((np.array([1]), np.array([3]), np.array([4])), 0)
    painting.save()

    back = reopened(painting, Image(GREY, name="scan")).mask_volume(SHAPE)
    assert back is not None
    np.testing.assert_array_equal(back.slab(0, 5), view.data > 0)


def test_painting_that_is_open_is_refused_until_it_is_released() -> None:
    layer, painting = begun()
    image, folder = Image(GREY, name="scan"), painting.folder
    state = folder.read()

    with pytest.raises(InUseError, match="painting-1 is open in another window"):
        open_painting(folder, image, state=state, counts={})
    painting.unlock()
    other = painting_of(open_painting(folder, image, state=state, counts={}))
    with pytest.raises(InUseError, match="is open in another window"):
        painting.lock()

    assert other is not None
    assert painting_of(layer) is painting


def test_stroke_that_the_disk_does_not_take_stays_in_memory(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lrcs.plugin.painting.autosave._RETRY_MS", 200)
    layer, painting = begun()
    layer.fill((0, 0, 0), 2)
    path = painting.folder.path
    away = path.with_name("away")
    path.rename(away)
    path.write_text("no folder")

    told: list[str] = []
    painting.failed.connect(told.append)
    layer.fill((1, 0, 0), 1)
    qtbot.waitUntil(lambda: bool(told))
    shown = painting.plane(1)
    path.unlink()
    away.rename(path)
    qtbot.waitUntil(lambda: not told[-1])

    assert "is only in memory, as it cannot be saved" in told[0]
    assert (shown == 1).all()
    both = {0: [0, 2000, 0], 1: [2000, 0, 0]}
    qtbot.waitUntil(lambda: counts_of(painting) == both)
    np.testing.assert_array_equal(np.asarray(painting.folder.labels.array[1]), shown)


def test_phase_that_cannot_be_saved_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layer, painting = begun()
    layer.fill((0, 0, 0), 2)
    painting.save()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(PaintingFolder, "write", full)
        with pytest.raises(OSError, match="No space"):
            painting.rename(PhaseTable.named("a", "b", "c", "d"))
    layer.fill((1, 0, 0), 1)
    painting.save()

    assert counts_of(painting) == {0: [0, 2000, 0], 1: [2000, 0, 0]}
    assert [phase.label for phase in painting.unpainted_phases()] == [3]


def test_slice_erased_by_new_data_stays_erased() -> None:
    layer, painting = begun()
    layer.fill((1, 0, 0), 1)
    layer.fill((2, 0, 0), 2)
    painting.save()
    labels = np.asarray(layer.data)
    labels[1] = 0

    layer.data = labels
    painting.save()

    assert counts_of(painting) == {2: [0, 2000, 0]}
    assert [*painting.folder.labels.painted_slices()] == [2]


def test_what_cannot_be_saved_is_told_and_saved_later(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_lrcs.plugin.painting.autosave._RETRY_MS", 200)
    layer = Labels(np.zeros(SHAPE, np.uint8))
    painting = adopt(layer, Image(GREY, name="scan"), phases=TWO, axis="z")
    painting.save()
    path = painting.folder.path
    path.rename(path.with_name("away"))

    told: list[str] = []
    painting.failed.connect(told.append)
    layer.fill((1, 0, 0), 1)
    qtbot.waitUntil(lambda: bool(told))
    path.with_name("away").rename(path)

    assert "cannot be saved" in told[0]
    qtbot.waitUntil(
        lambda: bool((np.asarray(painting.folder.labels.array[1]) == 1).all())
    )


def test_painting_lies_beside_the_file_of_the_image(
    tmp_path: Path, make_napari_viewer: MakeViewer
) -> None:
    viewer = make_napari_viewer()
    np.save(tmp_path / "scan.npy", GREY)
    (image,) = viewer.open(tmp_path / "scan.npy")

    _, painting = begun(image)

    assert painting.folder.path == tmp_path / "scan.lrcs" / "painting-1"
    content = json.loads((painting.folder.path / "painting.json").read_text())
    assert content["image"]["name"] == "scan"


def test_two_slices_of_a_lazy_volume_of_1000_cubed_take_little_memory(
    tmp_path: Path, make_napari_viewer: MakeViewer
) -> None:
    array = zarr.create_array(
        tmp_path / "big.zarr", shape=(1000,) * 3, chunks=(1, 1000, 1000), dtype="uint16"
    )
    viewer = make_napari_viewer()
    image = viewer.add_image(array, contrast_limits=(0, 1), name="big")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    layer, painting = begun(image)
    viewer.add_layer(layer)
    for z in (100, 900):
        viewer.dims.set_point(0, z)
        layer.brush_size = 40
        layer.paint((z, 500, 500), 1)
        layer.fill((z, 0, 0), 2)
    painting.save()

    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert growth < 300_000  # KB; the labels would be 1 GB
    assert sorted(counts_of(painting)) == [100, 900]
