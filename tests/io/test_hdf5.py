from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.opening import open_volume

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
        VolumeError, match=r"scan\.h5 is virtual, and its source 2\.h5:image is missing"
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

    with pytest.raises(VolumeError, match=r"scan\.h5 is virtual, .* 3\.h5:image is"):
        open_volume(scan.parent / "outer.h5")


def test_a_virtual_dataset_of_itself_is_an_error(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype)
    layout[:] = h5py.VirtualSource(".", "raw", shape=GREY.shape)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)

    with pytest.raises(VolumeError, match="is virtual over more than 8 levels"):
        open_volume(tmp_path / "scan.h5")


def test_numbered_sources_are_refused(tmp_path: Path) -> None:
    layout = h5py.VirtualLayout(GREY.shape, GREY.dtype, maxshape=(None, 6, 5))
    layout[0 : h5py.UNLIMITED] = h5py.VirtualSource("%b.h5", "image", shape=(1, 6, 5))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)

    with pytest.raises(VolumeError, match=r"of numbered sources \(%b\.h5:image\)"):
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
        VolumeError, match=r"/raw of scan\.h5 lies in another file, raw"
    ):
        open_volume(tmp_path / "scan.h5")
