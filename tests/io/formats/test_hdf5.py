import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import pytest

from napari_lrcs.errors import SeveralVolumesError, VolumeError
from napari_lrcs.io.opening import open_volume

BeamlineFile: TypeAlias = tuple[
    Callable[[Path, Any], None], tuple[float, float, float] | None
]
GREY = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """Write a virtual dataset whose slices lie in files of their own."""
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype)
    for z, image in enumerate(GREY):
        with h5py.File(tmp_path / f"{z}.h5", "w") as file:
            file["image"] = image
        layout[z] = h5py.VirtualSource(f"{z}.h5", "image", shape=image.shape)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("exchange/data", layout)
    return tmp_path / "scan.h5"


def test_a_virtual_dataset_is_read_from_its_sources(scan: Path) -> None:
    volume = open_volume(scan)

    np.testing.assert_array_equal(volume.slab(0, 4), GREY)
    names = ["scan.h5", *(f"{z}.h5" for z in range(4))]
    assert volume.sources == tuple((scan.parent / name).resolve() for name in names)


def test_a_source_in_the_same_file_is_found(scan: Path) -> None:
    layout = h5py.VirtualLayout((2, 6, 5), GREY.dtype)
    layout[:] = h5py.VirtualSource(".", "exchange/data", shape=GREY.shape)[1:3]
    with h5py.File(scan, "a") as file:
        file.create_virtual_dataset("part", layout)

    volume = open_volume(f"{scan}:/part")

    np.testing.assert_array_equal(volume.slab(0, 2), GREY[1:3])
    assert len(volume.sources) == 5


def without_dataset(file: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened["other"] = GREY[0]


def too_small(file: Path) -> None:
    with h5py.File(file, "w") as opened:
        opened["image"] = GREY[0, :3]


@pytest.mark.parametrize("spoil", [Path.unlink, without_dataset, too_small])
def test_a_missing_source_is_an_error(
    spoil: Callable[[Path], object], scan: Path
) -> None:
    spoil(scan.parent / "2.h5")

    with pytest.raises(
        VolumeError,
        match=r"scan\.h5 is a virtual dataset, and its source 2\.h5:image is missing",
    ):
        open_volume(scan)


def test_a_source_that_is_removed_later_is_an_error(scan: Path) -> None:
    volume = open_volume(scan)

    (scan.parent / "2.h5").unlink()

    with pytest.raises(VolumeError, match=r"2\.h5 was changed or removed"):
        volume.slab(0, 4)


def test_sources_of_sources_are_looked_for_too(scan: Path) -> None:
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype)
    layout[:] = h5py.VirtualSource("scan.h5", "exchange/data", shape=GREY.shape)
    with h5py.File(scan.parent / "outer.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    (scan.parent / "3.h5").unlink()

    with pytest.raises(
        VolumeError, match=r"scan\.h5 is a virtual dataset, .* 3\.h5:image is"
    ):
        open_volume(scan.parent / "outer.h5")


def test_a_virtual_dataset_of_itself_is_an_error(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype)
    layout[:] = h5py.VirtualSource(".", "raw", shape=GREY.shape)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)

    with pytest.raises(
        VolumeError, match="is a virtual dataset with more than 8 levels"
    ):
        open_volume(tmp_path / "scan.h5")


def test_numbered_sources_are_refused(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype, maxshape=(None, 6, 5))
    layout[0 : h5py.UNLIMITED] = h5py.VirtualSource("%b.h5", "image", shape=(1, 6, 5))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)

    with pytest.raises(VolumeError, match=r"with numbered sources \(%b\.h5:image\)"):
        open_volume(tmp_path / "scan.h5")


@pytest.mark.parametrize("path", ["external", "soft", "group/image"])
def test_a_link_to_another_file_is_not_followed(path: str, scan: Path) -> None:
    with h5py.File(scan.parent / "links.h5", "w") as file:
        file["external"] = h5py.ExternalLink("0.h5", "/image")
        file["soft"] = h5py.SoftLink("/external")
        file["group"] = h5py.ExternalLink("0.h5", "/")

    with pytest.raises(
        VolumeError, match=r"of links\.h5 is a link to the file 0\.h5; external links"
    ):
        open_volume(f"{scan.parent / 'links.h5'}:/{path}")


def test_a_link_within_the_file_is_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/raw"] = GREY
        file["exchange/data"] = h5py.SoftLink("/entry/raw")

    volume = open_volume(tmp_path / "scan.h5")

    np.testing.assert_array_equal(volume.slab(0, 4), GREY)


def test_external_storage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(GREY.tobytes())
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset(
            "raw", GREY.shape, GREY.dtype, external=[("raw.bin", 0, GREY.nbytes)]
        )

    with pytest.raises(
        VolumeError, match=r"/raw of scan\.h5 is stored in another file, raw"
    ):
        open_volume(tmp_path / "scan.h5")


# ---- layouts of programs ----


def write(path: Path, **datasets: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name.replace("__", "/")] = data
    return path


def test_a_volume_is_found_where_programs_put_it(
    beamline_file: BeamlineFile, tmp_path: Path
) -> None:
    write_file, micrometres = beamline_file
    write_file(tmp_path / "scan.h5", GREY)

    volume = open_volume(tmp_path / "scan.h5")

    np.testing.assert_array_equal(volume.slab(0, 4), GREY)
    if micrometres is None:
        assert (volume.voxel_size, volume.unit) == (None, None)
    else:
        assert (volume.voxel_size, volume.unit) == (micrometres, "micrometer")


def test_a_volume_that_is_named_keeps_its_voxel_size(tmp_path: Path) -> None:
    options = "reconstruction/configuration/processing_options/reconstruction"
    sizes = {
        f"a/{options}/voxel_size_cm": 1e-4,
        f"b/{options}/voxel_size_cm": 2e-4,
    }
    path = write(
        tmp_path / "scan.h5",
        a__reconstruction__results__data=GREY,
        b__reconstruction__results__data=GREY[::-1],
        **sizes,
    )

    volume = open_volume(f"{path}:/b/reconstruction/results/data")

    np.testing.assert_array_equal(volume.slab(0, 1), GREY[-1:])
    assert (volume.voxel_size, volume.unit) == ((2.0,) * 3, "micrometer")


def test_axes_that_a_nexus_group_names_come_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "scan.nxs",
        recon__definition="NXtomoproc",
        recon__data__data=GREY,
        recon__data__x=np.arange(4),
        recon__data__y=np.arange(4) * 2,
        recon__data__z=np.arange(4) * 3,
    )
    with h5py.File(path, "a") as file:
        file["recon/data"].attrs["axes"] = ["z", "y", "x"]

    assert open_volume(path).voxel_size == (3, 2, 1)


@pytest.mark.parametrize(
    "size", ["text", [1.0, 2.0], [[1.0]], np.nan, 0.0, -1.0, h5py.Empty("f4"), 1 + 2j]
)
def test_a_voxel_size_that_is_none_is_left_out(size: object, tmp_path: Path) -> None:
    path = write(
        tmp_path / "scan.h5",
        exchange__data=GREY,
        measurement__instrument__detection_system__objective__resolution=size,
    )

    assert open_volume(path).voxel_size is None


def test_a_voxel_size_in_another_file_is_not_read(tmp_path: Path) -> None:
    size = "measurement/instrument/detection_system/objective/resolution"
    write(tmp_path / "other.h5", size=1.0)
    links: list[dict[str, object]] = [
        {"measurement": h5py.ExternalLink("other.h5", "/")},
        {size: h5py.ExternalLink("other.h5", "size")},
        {size: h5py.SoftLink("/away"), "away": h5py.ExternalLink("other.h5", "size")},
    ]
    for i, link in enumerate(links):
        path = write(tmp_path / f"{i}.h5", exchange__data=GREY, **link)

        volume = open_volume(path)

        assert volume.voxel_size is None
        assert [source.name for source in volume.sources] == [path.name]


def test_entries_in_other_files_are_passed_over(tmp_path: Path) -> None:
    path = write(
        tmp_path / "scan.h5",
        a=h5py.ExternalLink("missing.h5", "/"),
        b__reconstruction__results__data=GREY,
    )

    np.testing.assert_array_equal(open_volume(path).slab(0, 4), GREY)


def test_a_volume_under_two_names_is_one(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", b__reconstruction__results__data=GREY)
    with h5py.File(path, "a") as file:
        file["a"] = h5py.SoftLink("/b")

    np.testing.assert_array_equal(open_volume(path).slab(0, 4), GREY)


@pytest.mark.parametrize(
    ("names", "likeliest"),
    [
        (
            ["b__reconstruction__results__data", "c__reconstruction__results__data"],
            "/b/reconstruction/results/data",
        ),
        (["small", "volume"], "/volume"),
    ],
)
def test_of_several_volumes_one_must_be_named(
    names: list[str], likeliest: str, tmp_path: Path
) -> None:
    arrays = [GREY[:2], GREY]
    path = write(
        tmp_path / "scan.h5", flat=GREY[0], **dict(zip(names, arrays, strict=True))
    )
    paths = [f"/{name.replace('__', '/')}" for name in names]

    with pytest.raises(SeveralVolumesError) as caught:
        open_volume(path)

    assert next(iter(caught.value.shapes)) == likeliest
    shapes = {name: array.shape for name, array in zip(paths, arrays, strict=True)}
    assert caught.value.shapes == shapes
    assert str(caught.value).startswith("scan.h5 holds 2 volumes: ")
    assert str(caught.value).endswith(f"as in scan.h5:{likeliest}")


# ---- filters ----


def write_compressed(path: Path, number: int) -> Path:
    """Promise a filter that need not be there to write."""
    with h5py.File(path, "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(GREY.shape)
        properties.set_filter(number, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(GREY.shape)
        kind = h5py.h5t.py_create(GREY.dtype)
        node = h5py.h5d.create(file.id, b"data", kind, space, properties)
        node.write_direct_chunk((0, 0, 0), GREY.tobytes())
    return path


def test_a_filter_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "scan.h5", 32_767)

    with pytest.raises(
        VolumeError,
        match=r"/data of scan\.h5 is compressed with .* \(HDF5 filter 32767\), which "
        r"is not installed; .* pip install hdf5plugin",
    ):
        open_volume(path)


def test_a_filter_of_a_source_is_looked_for_too(tmp_path: Path) -> None:
    write_compressed(tmp_path / "part.h5", 32_767)
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype)
    layout[:] = h5py.VirtualSource("part.h5", "data", shape=GREY.shape)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("data", layout)

    with pytest.raises(VolumeError, match=r"/data of part\.h5 is compressed with"):
        open_volume(tmp_path / "scan.h5")


WITH_PLUGIN = """
import sys, hdf5plugin, h5py, numpy
grey = numpy.arange(120, dtype="u2").reshape(4, 6, 5)
with h5py.File(sys.argv[1], "w") as file:
    file.create_dataset("data", data=grey, **hdf5plugin.Bitshuffle())
"""


def test_filters_of_hdf5plugin_are_used_where_it_is(tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin")
    # Written elsewhere, so that nothing here has loaded the plugin before.
    command = [sys.executable, "-c", WITH_PLUGIN, str(tmp_path / "scan.h5")]
    subprocess.run(command, check=True)

    np.testing.assert_array_equal(open_volume(tmp_path / "scan.h5").slab(0, 4), GREY)
