import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats import pyramid
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import (
    add_levels,
    has_levels,
    levels_of,
    written_chunks,
)
from napari_lrcs.io.opening import open_volume
from napari_lrcs.phases import ELECTRODE


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Halve sides of more than two voxels, until all have four at most."""
    monkeypatch.setattr(pyramid, "SMALL", 2)
    monkeypatch.setattr(pyramid, "COARSEST", 4)


def image(
    path: Path, array: NDArray[np.uint8], *, chunks: tuple[int, int, int] = (2, 2, 2)
) -> Path:
    level = create_ome_zarr(
        path,
        shape=array.shape,
        chunks=chunks,
        voxel_size=(2.0, 0.5, 0.5),
        unit="micrometer",
        phases=ELECTRODE,
    )
    level[:] = array
    return path


def datasets(path: Path) -> list[dict[str, Any]]:
    metadata = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = metadata["attributes"]["ome"]["multiscales"][0][
        "datasets"
    ]
    return found


@pytest.mark.usefixtures("tiny")
def test_every_second_voxel_is_kept_by_hand(tmp_path: Path) -> None:
    array = np.arange(2 * 3 * 9).reshape(2, 3, 9).astype(np.uint8)
    path = image(tmp_path / "a.zarr", array)

    list(add_levels(path))

    finest, half, quarter = (level[:] for level in levels_of(path))
    np.testing.assert_array_equal(finest, array)
    assert np.asarray(half).tolist() == [
        [[0, 2, 4, 6, 8], [18, 20, 22, 24, 26]],
        [[27, 29, 31, 33, 35], [45, 47, 49, 51, 53]],
    ]
    assert np.asarray(quarter).tolist() == [
        [[0, 4, 8], [18, 22, 26]],
        [[27, 31, 35], [45, 49, 53]],
    ]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("chunks", [(1, 1, 1), (3, 2, 5), (4, 1, 13), (7, 11, 13)])
def test_chunks_do_not_change_the_levels(
    chunks: tuple[int, int, int], tmp_path: Path
) -> None:
    array = np.random.default_rng(0).integers(0, 4, (7, 11, 13)).astype(np.uint8)
    path = image(tmp_path / "a.zarr", array, chunks=chunks)

    shares = list(add_levels(path))

    _, half, quarter = (level[:] for level in levels_of(path))
    np.testing.assert_array_equal(half, array[::2, ::2, ::2])
    np.testing.assert_array_equal(quarter, array[::4, ::4, ::4])
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.usefixtures("tiny")
def test_levels_say_their_voxels_sizes_and_begin_at_the_same_voxel(
    tmp_path: Path,
) -> None:
    path = image(tmp_path / "a.zarr", np.ones((2, 3, 9), np.uint8))

    list(add_levels(path))

    assert [level["path"] for level in datasets(path)] == ["0", "1", "2"]
    assert [level["coordinateTransformations"] for level in datasets(path)] == [
        [{"type": "scale", "scale": [2.0, 0.5, 0.5]}],
        [{"type": "scale", "scale": [2.0, 1.0, 1.0]}],
        [{"type": "scale", "scale": [2.0, 1.0, 2.0]}],
    ]


@pytest.mark.usefixtures("tiny")
def test_an_image_with_levels_opens_at_the_finest(tmp_path: Path) -> None:
    array = np.arange(9**3).reshape(9, 9, 9).astype(np.uint8)
    path = image(tmp_path / "a.zarr", array)

    list(add_levels(path))

    volume = open_volume(path)
    np.testing.assert_array_equal(volume.slab(0, 9), array)
    assert (volume.voxel_size, volume.unit) == ((2.0, 0.5, 0.5), "micrometer")
    assert volume.phases == ELECTRODE


def test_levels_go_on_until_one_fits_a_screen(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    create_ome_zarr(path, shape=(100, 300, 1500), chunks=(100, 300, 512))

    list(add_levels(path))

    assert [level.shape for level in levels_of(path)] == [
        *((100, 300, 1500), (100, 150, 750), (100, 150, 375))
    ]
    assert has_levels(path)


def test_no_more_levels_are_added_than_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    create_ome_zarr(path, shape=(1, 1, 1500), chunks=(1, 1, 512))

    list(add_levels(path, n_levels=1))

    assert [level.shape[2] for level in levels_of(path)] == [1500, 750]
    assert not has_levels(path)


def test_a_small_image_stays_as_it_is(tmp_path: Path) -> None:
    path = image(tmp_path / "a.zarr", np.ones((2, 3, 4), np.uint8))

    assert list(add_levels(path)) == []

    assert len(levels_of(path)) == 1
    assert has_levels(path)


@pytest.mark.usefixtures("tiny")
def test_levels_that_were_cut_off_are_not_announced_and_made_again(
    tmp_path: Path,
) -> None:
    path = image(tmp_path / "a.zarr", np.ones((9, 9, 9), np.uint8))
    shares = add_levels(path)
    while next(shares) < 0.95:
        pass
    del shares
    assert len(levels_of(path)) == 1
    assert not has_levels(path)

    for _ in range(2):
        list(add_levels(path))

        assert [level.shape[0] for level in levels_of(path)] == [9, 5, 3]
        assert all(np.all(level[:] == 1) for level in levels_of(path))


def test_no_more_than_some_chunks_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    array = create_ome_zarr(path, shape=(64, 600, 600), chunks=(4, 100, 100))
    array[:] = 1
    sizes: list[int] = []
    read = zarr.Array.__getitem__

    def watched(self: zarr.Array[Any], key: tuple[slice, ...]) -> object:
        part = read(self, key)
        sizes.append(np.asarray(part).size)
        return part

    monkeypatch.setattr(zarr.Array, "__getitem__", watched)
    list(add_levels(path))

    assert max(sizes) == 4 * 100 * 100


def test_empty_space_is_neither_read_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zarr"
    array = create_ome_zarr(path, shape=(600, 600, 600), chunks=(8, 100, 100))
    array[299:301, 350:360, 100] = 7
    n_read: list[int] = []
    read = zarr.Array.__getitem__

    def watched(self: zarr.Array[Any], key: tuple[slice, ...]) -> object:
        n_read.append(1)
        return read(self, key)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__getitem__", watched)
        shares = list(add_levels(path))

    assert len(n_read) == 1
    assert shares[-1] == 1
    (coarse,) = levels_of(path)[1:]
    assert written_chunks(path / "1") == {(18, 1, 0)}
    np.testing.assert_array_equal(coarse[:], array[::2, ::2, ::2])


def test_a_plain_array_is_its_own_level(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(2, 3, 4), dtype="uint8")

    (level,) = levels_of(tmp_path / "a.zarr")

    assert level.shape == (2, 3, 4)


def test_levels_of_the_older_format_are_found(tmp_path: Path) -> None:
    group = zarr.create_group(
        tmp_path / "a.zarr",
        zarr_format=2,
        attributes={
            "multiscales": [{"datasets": [{"path": "fine"}, {"path": "coarse"}]}]
        },
    )
    group.create_array("fine", shape=(4, 4, 4), dtype="uint8")
    group.create_array("coarse", shape=(2, 2, 2), dtype="uint8")

    assert [level.shape[0] for level in levels_of(tmp_path / "a.zarr")] == [4, 2]


def test_a_group_without_an_image_has_no_levels(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "a.zarr")

    with pytest.raises(VolumeError, match=r"a\.zarr is a Zarr group without an image"):
        levels_of(tmp_path / "a.zarr")
