import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from napari import Viewer
from napari.layers import Labels
from npe2 import PluginManager

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.files import writer
from napari_lrcs.plugin.files.reader import read_layers
from napari_lrcs.plugin.files.writer import write_labels
from napari_lrcs.plugin.parts.layers.layers import PROVENANCE_KEY, appearance, labels_of

pytestmark = pytest.mark.gui

VALUES = (np.arange(5 * 6 * 8) % 4).astype(np.uint8).reshape(5, 6, 8)


def labels_layer(data: Any = VALUES, **known: Any) -> Labels:
    return Labels(data, name="seg", **known)


def electrode_layer(data: Any = VALUES) -> Labels:
    return labels_layer(
        data, scale=(2, 1, 1), units=("um",) * 3, **appearance(ELECTRODE)
    )


def save(layer: Labels, path: Path) -> Path:
    (written,) = write_labels(str(path), *layer.as_layer_data_tuple()[:2])
    return Path(written)


@pytest.mark.parametrize("name", ["seg.tif", "seg.labels.tif", "seg.TIFF", "seg.zarr"])
def test_saved_labels_keep_their_phases_and_voxels(tmp_path: Path, name: str) -> None:
    path = save(electrode_layer(), tmp_path / name)

    saved = open_labels(path)
    assert path.name == name
    assert (saved.phases, saved.voxel_size) == (ELECTRODE, (2, 1, 1))
    assert saved.unit == "micrometer"
    np.testing.assert_array_equal(saved.slab(0, 5), VALUES)
    assert open_volume(path).dtype == np.uint8


@pytest.mark.parametrize("name", ["seg.tif", "seg.zarr"])
def test_saved_labels_keep_their_provenance_and_are_opened_with_it(
    tmp_path: Path, name: str
) -> None:
    known = Provenance(image="scan.tif", fingerprint="abc")
    layer = electrode_layer()
    layer.metadata[PROVENANCE_KEY] = known

    path = save(layer, tmp_path / name)

    ((data, meta, _),) = read_layers(str(path))
    assert labels_of(Labels(data, **meta)).provenance == known


def test_painting_of_a_wider_type_is_saved_as_uint8(tmp_path: Path) -> None:
    path = save(electrode_layer(VALUES.astype(np.int64)), tmp_path / "seg.tif")

    assert open_volume(path).dtype == np.uint8


def test_name_without_a_known_suffix_gains_one(tmp_path: Path) -> None:
    path = save(electrode_layer(), tmp_path / "cathode 3.5 um")

    assert path == tmp_path / "cathode 3.5 um.labels.tif"
    assert path.is_file()


@pytest.mark.parametrize("name", ["cells.tif", "cells.zarr"])
def test_labels_that_are_no_phases_keep_their_numbers(
    tmp_path: Path, name: str
) -> None:
    many = VALUES.astype(np.int64) * 1000 - 7

    path = save(labels_layer(many), tmp_path / name)

    saved = open_volume(path)
    assert saved.phases is None
    np.testing.assert_array_equal(saved.slab(0, 5), many)


def test_number_too_large_for_a_tiff_is_refused(tmp_path: Path) -> None:
    many = VALUES.astype(np.int64) + 2**31

    with pytest.raises(VolumeError, match=r"at most 2147483647 in a TIFF: save it as"):
        save(labels_layer(many), tmp_path / "cells.tif")

    assert not list(tmp_path.glob("*cells*"))


def test_slice_is_saved_as_a_volume_of_one(tmp_path: Path) -> None:
    path = save(labels_layer(VALUES[0]), tmp_path / "seg.tif")

    assert open_labels(path).shape == (1, 6, 8)


def test_four_axes_are_refused_with_a_sentence(tmp_path: Path) -> None:
    layer = labels_layer(np.stack([VALUES, VALUES]))

    with pytest.raises(VolumeError, match="seg has 4 axes of 2 × 5 × 6 × 8; expected"):
        save(layer, tmp_path / "seg.tif")


def test_of_a_pyramid_the_full_resolution_is_saved(tmp_path: Path) -> None:
    layer = labels_layer([VALUES, VALUES[:, ::2, ::2]], multiscale=True)

    path = save(layer, tmp_path / "seg.tif")

    np.testing.assert_array_equal(open_labels(path).slab(0, 5), VALUES)


def test_a_pyramid_does_not_replace_the_zarr_that_it_may_be_read_from(
    tmp_path: Path,
) -> None:
    layer = labels_layer([VALUES, VALUES[:, ::2, ::2]], multiscale=True)
    path = save(layer, tmp_path / "seg.zarr")

    with pytest.raises(VolumeError, match="choose another name"):
        save(layer, path)


@pytest.mark.parametrize("name", ["seg.tif", "seg.zarr"])
def test_labels_are_read_slab_by_slab(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    layer = electrode_layer(zarr.array(VALUES))
    read = []
    getitem = zarr.Array.__getitem__

    def spy(array: zarr.Array[Any], key: Any) -> Any:
        read.append(key[0])
        return getitem(array, key)

    data, meta, _ = layer.as_layer_data_tuple()
    monkeypatch.setattr(writer, "_SLAB", 2 * VALUES[0].nbytes)
    monkeypatch.setattr(zarr.Array, "__getitem__", spy)
    write_labels(str(tmp_path / name), data, meta)

    assert read[-3:] == [slice(0, 2), slice(2, 4), slice(4, 5)]


@pytest.mark.parametrize("name", ["seg.tif", "seg.zarr"])
def test_failed_save_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    path = save(electrode_layer(), tmp_path / name)
    wrong = VALUES.astype(np.int64)
    wrong[4, 0, 0] = 300

    with pytest.raises(VolumeError, match="holds 300 in slice z = 4"):
        save(electrode_layer(wrong), path)

    np.testing.assert_array_equal(open_labels(path).slab(0, 5), VALUES)
    assert [file.name for file in tmp_path.glob("*seg*")] == [name]
    assert not list(tmp_path.glob(".*"))


def test_folder_that_is_no_zarr_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "seg.zarr").mkdir()
    (tmp_path / "seg.zarr" / "thesis.txt").touch()

    with pytest.raises(VolumeError, match=r"is not a Zarr; choose another name"):
        save(electrode_layer(), tmp_path / "seg.zarr")

    assert (tmp_path / "seg.zarr" / "thesis.txt").exists()


def test_zarr_is_not_replaced_by_what_is_painted_in_it(tmp_path: Path) -> None:
    array = create_ome_zarr(tmp_path / "a.zarr", shape=(5, 6, 8), chunks=(2, 6, 8))
    array[:] = VALUES

    with pytest.raises(VolumeError, match=r"a\.zarr is where seg is stored"):
        save(electrode_layer(array), tmp_path / "a.zarr")

    np.testing.assert_array_equal(array[:], VALUES)


# napari's choice of a writer


def test_napari_saves_with_us_under_names_that_tell(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    viewer.add_layer(electrode_layer())

    for name in ("seg.labels.tif", "seg.labels.tiff", "seg.ome.tif", "seg.zarr"):
        written = viewer.layers.save(str(tmp_path / name))

        assert written == [str(tmp_path / name)]
        assert open_labels(tmp_path / name).phases == ELECTRODE


def test_plain_tiff_is_saved_with_us_when_asked(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    layer = viewer.add_layer(electrode_layer())

    layer.save(str(tmp_path / "seg.tif"), plugin="napari-lrcs")

    assert open_labels(tmp_path / "seg.tif").phases == ELECTRODE


def test_save_dialog_offers_us_by_name(
    make_napari_viewer: Callable[..., Viewer],
) -> None:
    make_napari_viewer()

    offered = PluginManager.instance().iter_compatible_writers(["labels"])

    (ours,) = [one for one in offered if one.plugin_name == "napari-lrcs"]
    assert ours.display_name == "labels, slice by slice"


def test_saved_labels_open_again_as_they_were(
    make_napari_viewer: Callable[..., Viewer], tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    painted = viewer.add_layer(electrode_layer())
    painted.save(str(tmp_path / "seg.labels.tif"))

    (again,) = viewer.open(tmp_path / "seg.labels.tif", plugin="napari-lrcs")

    np.testing.assert_array_equal(again.data, painted.data)
    np.testing.assert_array_equal(again.extent.world, painted.extent.world)
    assert again.features.equals(painted.features)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak is told on Linux alone"
)
def test_saving_labels_larger_than_memory_stays_small(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from napari.layers import Labels
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.parts.layers.layers import PROVENANCE_KEY, appearance, labels_of
from napari_lrcs.plugin.files.writer import write_labels

array = create_ome_zarr(
    Path({str(tmp_path / "a.zarr")!r}),
    shape=(1500,) * 3, chunks=(1, 1500, 1500),
)
array[700, 100:900, 100:900] = 2
layer = Labels(array, **appearance(ELECTRODE))
write_labels({str(tmp_path / "seg.tif")!r}, *layer.as_layer_data_tuple()[:2])
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""

    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )

    saved = open_labels(tmp_path / "seg.tif")
    assert saved.shape == (1500,) * 3
    assert saved.slab(700, 701)[0, 500, 500] == 2
    assert int(run.stdout) < 1000  # MiB, of 3219 MiB of labels
