import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.zarr_stores import RetryingStore


@pytest.fixture
def array(tmp_path: Path) -> zarr.Array[Any]:
    made = zarr.create_array(
        tmp_path / "labels", shape=(4, 5, 6), chunks=(1, 5, 6), dtype="uint8"
    )
    made[1] = 2
    store = RetryingStore(LocalStore(tmp_path / "labels"))
    return zarr.open_array(store, mode="r+")


def on_disk(folder: Path) -> Any:
    return np.asarray(zarr.open_array(folder / "labels", mode="r"))


def test_what_the_disk_takes_is_there_at_once(
    array: zarr.Array[Any], tmp_path: Path
) -> None:
    array[2, 1:3] = 3

    np.testing.assert_array_equal(on_disk(tmp_path), np.asarray(array))
    assert on_disk(tmp_path).sum() == 5 * 6 * 2 + 2 * 6 * 3


def test_what_the_disk_does_not_take_is_kept_until_it_does(
    array: zarr.Array[Any], tmp_path: Path
) -> None:
    (tmp_path / "labels").rename(tmp_path / "away")
    (tmp_path / "labels").write_text("no folder")

    array[1] = 0  # which deletes its file
    array[3, :2] = 1
    array[3, 2:] = 4
    kept = np.asarray(array)
    assert isinstance(array.store, RetryingStore)
    with pytest.raises(OSError, match="Not a directory"):
        array.store.flush()
    (tmp_path / "labels").unlink()
    (tmp_path / "away").rename(tmp_path / "labels")
    array.store.flush()

    assert kept.sum() == 2 * 6 + 3 * 6 * 4
    np.testing.assert_array_equal(on_disk(tmp_path), kept)


def test_folder_that_is_gone_is_not_begun_again_and_gets_its_strokes_once_it_is_back(
    array: zarr.Array[Any], tmp_path: Path
) -> None:
    array[2] = 3
    (tmp_path / "labels").rename(tmp_path / "away")

    array[1] = 0  # which deletes its file
    array[3] = 4
    assert isinstance(array.store, RetryingStore)
    with pytest.raises(FileNotFoundError, match=r"labels.zarr\.json"):
        array.store.flush()
    assert not (tmp_path / "labels").exists()
    assert not np.asarray(array[1]).any()
    assert (np.asarray(array[3]) == 4).all()
    (tmp_path / "away").rename(tmp_path / "labels")
    array.store.flush()

    assert on_disk(tmp_path)[1].sum() == 0
    assert on_disk(tmp_path).sum() == 5 * 6 * (3 + 4)
    np.testing.assert_array_equal(on_disk(tmp_path), np.asarray(array))


def test_slices_of_a_folder_that_is_gone_are_not_read_as_empty(
    array: zarr.Array[Any], tmp_path: Path
) -> None:
    (tmp_path / "labels").rename(tmp_path / "away")

    with pytest.raises(VolumeError, match="labels is not there any more; put it back"):
        array[1]
    with pytest.raises(VolumeError, match="labels is not there any more"):
        array[1, :2] = 3  # a stroke, which what is painted around it belongs to
    with pytest.raises(FileNotFoundError):
        deepcopy(array)


def test_array_that_another_one_has_replaced_is_still_read(
    array: zarr.Array[Any], tmp_path: Path
) -> None:
    zarr.create_group(tmp_path)
    shutil.rmtree(tmp_path / "labels")

    assert not np.asarray(array[1]).any()


def test_copy_has_all_of_it_and_writes_into_memory(
    array: zarr.Array[Any], tmp_path: Path
) -> None:
    copy = deepcopy(array)

    copy[2] = 5

    assert (np.asarray(copy[1]) == 2).all()
    assert (np.asarray(copy[2]) == 5).all()
    assert not np.asarray(array[2]).any()
    assert not on_disk(tmp_path)[2].any()
