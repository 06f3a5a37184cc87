import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import numpy as np
import pytest
import tifffile
import zarr
from napari import Viewer
from napari.errors import MultipleReaderError, ReaderPluginError
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QInputDialog

from napari_lrcs.errors import SeveralVolumesError, VolumeError
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import add_levels
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.files import reader
from napari_lrcs.plugin.files.reader import get_reader, read_layers
from napari_lrcs.plugin.parts.layers.layers import phases_shown

pytestmark = pytest.mark.gui

SHAPE = (5, 6, 8)
GREY = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
LABELS = (GREY % 4).astype(np.uint8)


def layer_of(path: Path) -> Any:
    (layer_data,) = read_layers(str(path))
    return Layer.create(*layer_data)


def write_hdf5(path: Path, values: np.ndarray[Any, Any] = GREY) -> Path:
    with h5py.File(path, "w") as file:
        file["/exchange/data"] = values
    return path


def write_labels_file(path: Path) -> Path:
    write_labels_tiff(
        path,
        [LABELS],
        shape=SHAPE,
        voxel_size=(2.0, 1.0, 1.0),
        unit="um",
        phases=ELECTRODE,
    )
    return path


def write_zarr(path: Path, values: np.ndarray[Any, Any], **known: Any) -> Path:
    array = create_ome_zarr(
        path,
        shape=values.shape,
        chunks=(1,) * (values.ndim - 2) + values.shape[-2:],
        dtype=values.dtype,
        **known,
    )
    array[:] = values
    return path


def test_hdf5_opens_as_an_image_that_is_read_slice_by_slice(tmp_path: Path) -> None:
    layer = layer_of(write_hdf5(tmp_path / "scan.nxs"))

    assert isinstance(layer, Image)
    assert isinstance(layer.data, da.Array)
    assert layer.axis_labels == ("z", "y", "x")

    for key in (np.s_[:, 3, 1:4], np.s_[::-1], np.s_[[0, 2], 1], np.s_[2, [3, 1], ::2]):
        np.testing.assert_array_equal(layer.data[key], GREY[key])


def test_opening_reads_no_slice_but_the_middle_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_hdf5(tmp_path / "scan.h5")
    read = []
    getitem = h5py.Dataset.__getitem__

    def spy(dataset: h5py.Dataset, key: Any) -> Any:
        read.append(key[0])
        return getitem(dataset, key)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", spy)
    read_layers(str(path))

    assert read == [slice(2, 3)]


def test_contrast_holds_nearly_all_of_the_middle_slice(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(10, 1, (3, 100, 100)).astype(np.float32)
    values[1, 0, 0], values[1, 0, 1] = 1e9, np.nan

    low, high = layer_of(write_hdf5(tmp_path / "scan.h5", values)).contrast_limits

    assert 5 < low < 8
    assert 12 < high < 15


@pytest.mark.parametrize("value", [3.0, np.nan])
def test_contrast_of_one_value_is_no_empty_range(tmp_path: Path, value: float) -> None:
    values = np.full(SHAPE, value, np.float32)

    low, high = layer_of(write_hdf5(tmp_path / "scan.h5", values)).contrast_limits

    assert low < high


def test_folder_of_tiff_slices_opens_as_one_image(tmp_path: Path) -> None:
    for z, image in enumerate(GREY):
        tifffile.imwrite(tmp_path / f"slice{z + 8}.tif", image)

    layer = layer_of(tmp_path)

    assert isinstance(layer, Image)
    np.testing.assert_array_equal(layer.data, GREY)


def test_labels_of_ours_open_with_their_phases(tmp_path: Path) -> None:
    layer = layer_of(write_labels_file(tmp_path / "seg.tif"))

    assert isinstance(layer, Labels)
    assert phases_shown(layer) == ELECTRODE
    np.testing.assert_array_equal(layer.scale, (2, 1, 1))
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    np.testing.assert_array_equal(layer.data, LABELS)


def test_small_labels_file_can_be_painted(tmp_path: Path) -> None:
    layer = layer_of(write_labels_file(tmp_path / "seg.tif"))

    layer.fill((0, 0, 0), 3)

    assert layer.data[0, 0, 0] == 3


def test_large_labels_file_stays_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_PAINTABLE", LABELS.nbytes - 1)

    layer = layer_of(write_labels_file(tmp_path / "seg.tif"))

    assert isinstance(layer.data, da.Array)
    assert layer.data.dtype == np.uint8
    np.testing.assert_array_equal(layer.data[1], LABELS[1])


def test_labels_in_a_zarr_are_painted_on_disk(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "seg.zarr", LABELS, phases=ELECTRODE)

    layer = layer_of(path)
    layer.fill((0, 0, 0), 3)

    assert isinstance(layer, Labels)
    assert zarr.open_array(path / "0", mode="r")[0, 0, 0] == 3
    layer.undo()
    assert zarr.open_array(path / "0", mode="r")[0, 0, 0] == 0


def test_grey_zarr_opens_as_an_image_of_its_own_array(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.zarr", GREY, voxel_size=(3.0, 2.0, 1.0), unit="nm")

    layer = layer_of(path)

    assert isinstance(layer, Image)
    assert isinstance(layer.data, zarr.Array)
    np.testing.assert_array_equal(layer.scale, (3, 2, 1))
    assert {str(unit) for unit in layer.units} == {"nanometer"}


@pytest.mark.parametrize(("phases", "kind"), [(None, Image), (ELECTRODE, Labels)])
def test_levels_of_a_zarr_open_as_a_pyramid(
    tmp_path: Path, phases: Any, kind: type[Layer]
) -> None:
    values = np.ones((2, 600, 520), np.uint8)
    path = write_zarr(tmp_path / "a.zarr", values, phases=phases)
    list(add_levels(path))

    layer = layer_of(path)

    assert isinstance(layer, kind)
    assert layer.multiscale
    assert [level.shape for level in layer.data] == [(2, 600, 520), (2, 300, 260)]


def test_of_a_pyramid_no_more_than_a_slice_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zarr(tmp_path / "a.zarr", np.ones((9, 600, 520), np.uint8))
    list(add_levels(path))
    sizes: list[int] = []
    read = zarr.Array.__getitem__

    def watched(array: zarr.Array[Any], key: Any) -> Any:
        part = read(array, key)
        sizes.append(np.asarray(part).size)
        return part

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__getitem__", watched)
        layer_of(path)  # shows a slice, and a thumbnail

    assert sizes
    assert max(sizes) <= 600 * 520


def test_channels_of_a_zarr_open_as_one_image_of_four_axes(tmp_path: Path) -> None:
    values = np.stack([LABELS, LABELS + 1, LABELS + 2])
    path = write_zarr(tmp_path / "p.zarr", values, voxel_size=(2, 1, 1), unit="um")

    layer = layer_of(path)

    assert isinstance(layer, Image)
    assert layer.axis_labels == ("c", "z", "y", "x")
    np.testing.assert_array_equal(layer.scale, (1, 2, 1, 1))
    units = [str(unit) for unit in layer.units]
    assert units == ["pixel", *["micrometer"] * 3]
    assert layer.data.shape == (3, *SHAPE)


def test_bare_zarr_and_one_of_a_slice_open_too(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "bare.zarr", data=GREY)
    zarr.create_array(tmp_path / "slice.zarr", data=GREY[0])

    bare, one = layer_of(tmp_path / "bare.zarr"), layer_of(tmp_path / "slice.zarr")

    assert bare.data.shape == SHAPE
    assert one.data.shape == (1, *SHAPE[1:])


def test_what_napari_reads_is_left_to_napari(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", GREY)
    (tmp_path / "damaged.tif").write_bytes(b"II*\0")
    (tmp_path / "note.txt").touch()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()

    paths = [tmp_path / name for name in ("plain.tif", "damaged.tif", "note.txt")]

    assert all(get_reader(str(path)) is None for path in paths)
    assert get_reader(str(tmp_path / "pictures")) is None
    assert get_reader([str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]) is None


def test_damaged_file_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    path.write_bytes(b"no HDF5 at all")

    with pytest.raises(
        VolumeError, match=r"scan\.h5 cannot be read; it may be damaged"
    ):
        read_layers(str(path))


def test_slice_that_turns_out_damaged_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(
            "/exchange/data", data=GREY, chunks=(1, *SHAPE[1:]), compression="gzip"
        )
        last = stored.id.get_chunk_info(SHAPE[0] - 1).byte_offset
    with path.open("r+b") as file:
        file.seek(last)
        file.write(b"damaged")

    layer = layer_of(path)

    with pytest.raises(
        VolumeError, match=r"scan\.h5 cannot be read; it may be damaged"
    ):
        np.asarray(layer.data[-1])


# In a real window


def test_viewer_opens_what_only_we_read_without_asking(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    path = write_hdf5(tmp_path / "scan.nxs")

    (layer,) = viewer.open(path, plugin=None)

    assert layer.name == "scan"
    assert isinstance(layer.data, da.Array)


def test_viewer_opens_a_plain_tiff_without_asking(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    tifffile.imwrite(tmp_path / "plain.tif", GREY)

    (layer,) = viewer.open(tmp_path / "plain.tif", plugin=None)

    assert layer.source.reader_plugin == "napari"


def test_a_volume_of_a_beamline_opens_with_its_voxel_size(
    make_napari_viewer: Callable[..., Viewer],
    beamline_file: tuple[Callable[[Path, Any], None], tuple[float, ...] | None],
    tmp_path: Path,
) -> None:
    write, sides = beamline_file
    write(tmp_path / "scan.h5", GREY)
    viewer = make_napari_viewer()

    (layer,) = viewer.open(tmp_path / "scan.h5", plugin="napari-lrcs")

    np.testing.assert_array_equal(layer.data, GREY)
    np.testing.assert_array_equal(layer.scale, sides or (1, 1, 1))
    units = {"micrometer" if sides else "pixel"}
    assert {str(unit) for unit in layer.units} == units


def take_the_second(dialog: QInputDialog) -> None:
    dialog.setTextValue(dialog.comboBoxItems()[1])
    dialog.accept()


@pytest.mark.parametrize(
    ("answer", "opened"),
    [
        (lambda dialog: dialog.accept(), [GREY]),
        (
            lambda dialog: (
                dialog.setTextValue(dialog.comboBoxItems()[1]),
                dialog.accept(),
            ),
            [GREY[:3]],
        ),
        (lambda dialog: dialog.reject(), []),
    ],
)
def test_viewer_asks_which_of_several_volumes_is_meant(
    make_napari_viewer: Callable[..., Viewer],
    tmp_path: Path,
    answer: Callable[[QInputDialog], object],
    opened: list[Any],
) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["dark"], file["raw"], file["angles"] = GREY[:3], GREY, np.arange(5)
    viewer = make_napari_viewer(show=True)
    asked = []

    def reply() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QInputDialog):
            asked.append((dialog.labelText(), dialog.comboBoxItems()))
            answer(dialog)

    timer = QTimer()
    timer.timeout.connect(reply)
    timer.start(50)
    layers = viewer.open(tmp_path / "scan.h5", plugin="napari-lrcs")
    timer.stop()

    choices = ["/raw   5 × 6 × 8", "/dark   3 × 6 × 8"]
    assert asked == [("scan.h5 holds 2 volumes. Open:", choices)]
    assert len(layers) == len(opened)
    for layer, values in zip(layers, opened, strict=True):
        np.testing.assert_array_equal(layer.data, values)


def test_without_a_window_several_volumes_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["dark"], file["raw"] = GREY, GREY
    monkeypatch.setattr(QApplication, "instance", lambda: None)

    with pytest.raises(SeveralVolumesError, match="holds 2 volumes"):
        read_layers(str(tmp_path / "scan.h5"))


def test_viewer_opens_with_us_what_napari_claims_too(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    paths = (
        write_hdf5(tmp_path / "scan.h5"),
        write_zarr(tmp_path / "a.zarr", GREY),
        write_labels_file(tmp_path / "seg.labels.tif"),
    )

    for path in paths:
        # napari asks then, and remembers.
        with pytest.raises(MultipleReaderError):
            viewer.open(path, plugin=None)
        (layer,) = viewer.open(path, plugin="napari-lrcs")

        assert layer.source.reader_plugin == "napari-lrcs"


def test_viewer_says_what_is_wrong_with_a_damaged_file(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    (tmp_path / "scan.nxs").write_bytes(b"no HDF5 at all")

    with pytest.raises(ReaderPluginError) as told:
        viewer.open(tmp_path / "scan.nxs", plugin=None)

    assert "scan.nxs cannot be read" in str(told.value.original_error)


def test_image_of_channels_lies_over_its_volume(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    volume = write_zarr(tmp_path / "a.zarr", GREY, voxel_size=(2, 1, 1), unit="um")
    probabilities = write_zarr(
        tmp_path / "p.zarr", np.stack([LABELS] * 2), voxel_size=(2, 1, 1), unit="um"
    )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        viewer.open([volume, probabilities], plugin="napari-lrcs")

    assert viewer.dims.ndim == 4
    np.testing.assert_array_equal(
        viewer.layers[0].extent.world, viewer.layers[1].extent.world[:, 1:]
    )
