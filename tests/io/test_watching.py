"""What changes while it is read must not become a wrong result."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.watching import moment_of_opening

LABELS = np.ones((4, 6, 5), np.uint8)
CHANGED = r"was changed or removed while it was read; start again"

Write = Callable[[Path], object]


def write_zarr(path: Path) -> None:
    zarr.create_array(path, data=LABELS, chunks=(1, 6, 5))


def write_ome_zarr(path: Path) -> None:
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    datasets = [
        {
            "path": "0",
            "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}],
        }
    ]
    image = {"axes": axes, "datasets": datasets, "version": "0.4"}
    group = zarr.create_group(path, attributes={"multiscales": [image]}, zarr_format=2)
    group.create_array("0", data=LABELS, chunks=(1, 6, 5))


def write_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["raw"] = LABELS


def write_slices(path: Path) -> None:
    path.mkdir()
    for z, image in enumerate(LABELS):
        tifffile.imwrite(path / f"{z}.tif", image)


WRITERS: dict[str, Write] = {
    "plain.tif": lambda path: tifffile.imwrite(path, LABELS, photometric="minisblack"),
    "deflate.tif": lambda path: tifffile.imwrite(
        path, LABELS, photometric="minisblack", compression="zlib"
    ),
    "scan.npy": lambda path: np.save(path, LABELS),
    "scan.h5": write_hdf5,
    "slices": write_slices,
    "array.zarr": write_zarr,
    "ome.zarr": write_ome_zarr,
}


def next_tick() -> None:
    """Let the clock of the file system, which ticks every few ms, go on."""
    time.sleep(0.02)


def opened(name: str, folder: Path) -> Volume:
    WRITERS[name](folder / name)
    volume = open_labels(folder / name)
    np.testing.assert_array_equal(volume.slab(0, 4), LABELS)
    next_tick()
    return volume


@pytest.mark.parametrize("name", WRITERS)
def test_a_source_that_is_removed_is_an_error(name: str, tmp_path: Path) -> None:
    volume = opened(name, tmp_path)

    if (tmp_path / name).is_dir():
        shutil.rmtree(tmp_path / name)
    else:
        (tmp_path / name).unlink()

    with pytest.raises(VolumeError, match=CHANGED):
        volume.slab(1, 3)


@pytest.mark.parametrize("name", WRITERS)
def test_a_source_that_is_written_again_is_an_error(name: str, tmp_path: Path) -> None:
    volume = opened(name, tmp_path)

    (tmp_path / "new").mkdir()
    WRITERS[name](tmp_path / "new" / name)
    (tmp_path / name).rename(tmp_path / "old")
    (tmp_path / "new" / name).rename(tmp_path / name)

    with pytest.raises(VolumeError, match=CHANGED):
        volume.slab(1, 3)


@pytest.mark.parametrize("name", ["plain.tif", "deflate.tif", "scan.npy", "scan.h5"])
def test_a_truncated_file_is_an_error(name: str, tmp_path: Path) -> None:
    volume = opened(name, tmp_path)

    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)

    with pytest.raises(VolumeError, match=rf"{name} {CHANGED}"):
        volume.slab(2, 4)


@pytest.mark.parametrize("name", ["array.zarr", "ome.zarr"])
def test_a_chunk_that_is_removed_is_not_read_as_zeros(
    name: str, tmp_path: Path
) -> None:
    volume = opened(name, tmp_path)
    chunk = {"array.zarr": "c/2/0/0", "ome.zarr": "0/2.0.0"}[name]

    (tmp_path / name / chunk).unlink()

    with pytest.raises(VolumeError, match=rf"{name} {CHANGED}"):
        volume.slab(2, 3)


def test_a_chunk_that_is_written_again_is_an_error(tmp_path: Path) -> None:
    volume = opened("array.zarr", tmp_path)

    zarr.open_array(tmp_path / "array.zarr", mode="r+")[2] = 3

    np.testing.assert_array_equal(volume.slab(1, 2), LABELS[1:2])
    with pytest.raises(VolumeError, match=CHANGED):
        volume.slab(2, 3)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_chunks_that_were_never_written_are_the_fill_value(
    zarr_format: Any, tmp_path: Path
) -> None:
    for i in range(20):  # written a moment before, at any time between two ticks
        path = tmp_path / f"{i}.zarr"
        array = zarr.create_array(
            path,
            shape=LABELS.shape,
            chunks=(1, 6, 5),
            dtype="u1",
            fill_value=7,
            zarr_format=zarr_format,
        )
        array[1] = 1

        slab = open_volume(path).slab(0, 4)

        assert slab[:, 0, 0].tolist() == [7, 1, 7, 7]


def test_what_was_written_by_a_clock_that_is_ahead_is_read(tmp_path: Path) -> None:
    place = tmp_path / "array.zarr"
    write_zarr(place)
    ahead = time.time_ns() + 10 * 10**9
    for found in (place, *place.rglob("*")):
        os.utime(found, ns=(ahead, ahead))

    assert moment_of_opening(place) > ahead
    np.testing.assert_array_equal(open_volume(place).slab(0, 4), LABELS)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
def test_a_chunk_that_is_not_a_file_is_an_error(make: str, tmp_path: Path) -> None:
    write_zarr(tmp_path / "a.zarr")
    chunk = tmp_path / "a.zarr" / "c" / "2" / "0" / "0"
    chunk.unlink()
    getattr(os, make)(chunk)
    volume = open_volume(tmp_path / "a.zarr")

    with pytest.raises(VolumeError, match=r"a\.zarr.c.2.0.0 is not a regular file"):
        volume.slab(0, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
@pytest.mark.parametrize("name", ["a.tif", "a.h5", "a.npy"])
def test_a_pipe_is_not_opened(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)

    with pytest.raises(VolumeError, match="is a device or pipe"):
        open_volume(tmp_path / name)


def test_what_happens_beside_a_source_is_no_change(tmp_path: Path) -> None:
    volumes = [opened(name, tmp_path) for name in WRITERS]

    (tmp_path / "result.tif").write_bytes(b"a result")
    (tmp_path / "slices" / "notes.txt").write_text("notes")
    (tmp_path / "ome.zarr" / "notes.txt").write_text("notes")

    for volume in volumes:
        np.testing.assert_array_equal(volume.slab(0, 4), LABELS)


@pytest.mark.parametrize("name", ["plain.tif", "scan.npy"])
def test_truncation_does_not_end_the_process(name: str, tmp_path: Path) -> None:
    code = """
import os, sys
from napari_lrcs.io.opening import open_volume
from napari_lrcs.errors import VolumeError
volume = open_volume(sys.argv[1])
os.truncate(sys.argv[1], 200)
try:
    volume.slab(0, 4)
except VolumeError as error:
    print(error)
"""
    WRITERS[name](tmp_path / name)

    child = subprocess.run(
        [sys.executable, "-c", code, tmp_path / name],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (child.returncode, child.stderr) == (0, "")
    (line,) = child.stdout.splitlines()
    assert line.startswith(f"{name} was changed or removed")
