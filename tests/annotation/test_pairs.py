from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_lrcs.annotation.pairs import (
    Pair,
    export_pairs,
    find_pairs,
    read_pair_labels,
)
from napari_lrcs.config import Axis
from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.volume import as_volume

GREY = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
PAINTED = (np.arange(5 * 6 * 7) % 4).reshape(5, 6, 7)
IMAGE, LABELS = as_volume(GREY, name="scan"), as_volume(PAINTED, name="painting")


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def make_pair(folder: Path, labels: NDArray[Any]) -> Pair:
    pair = Pair(image=folder / "100.tif", labels=folder / "100_label.tif")
    tifffile.imwrite(pair.image, np.zeros(labels.shape[-2:], np.float32))
    tifffile.imwrite(pair.labels, labels, photometric="minisblack")
    return pair


# ---- export ----


@pytest.mark.parametrize(("axis", "place"), [("z", 0), ("y", 1), ("x", 2)])
def test_exported_pairs_come_back(axis: Axis, place: int, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pairs"

    written = export_pairs(folder, IMAGE, LABELS, indices=[4, 1], axis=axis)

    assert [file.name for file in written] == [
        "4.tif",
        "4_label.tif",
        "1.tif",
        "1_label.tif",
    ]
    assert names(folder) == sorted(file.name for file in written)
    pairs = find_pairs(folder)
    assert list(pairs) == [1, 4]
    for index, pair in pairs.items():
        grey = np.moveaxis(GREY, place, 0)[index]
        painted = np.moveaxis(PAINTED, place, 0)[index]
        np.testing.assert_array_equal(tifffile.imread(pair.image), grey)
        assert tifffile.imread(pair.image).dtype == np.float32
        labels = read_pair_labels(pair, shape=(len(grey), grey.shape[1]))
        np.testing.assert_array_equal(labels, painted)
        assert tifffile.imread(pair.labels).dtype == np.uint8


def test_existing_files_are_refused_before_any_is_written(tmp_path: Path) -> None:
    (tmp_path / "3_label.tif").write_text("mine")

    with pytest.raises(ResultExistsError, match=r"3_label\.tif exists already"):
        export_pairs(tmp_path, IMAGE, LABELS, indices=[1, 3])

    assert names(tmp_path) == ["3_label.tif"]
    assert (tmp_path / "3_label.tif").read_text() == "mine"


def test_existing_files_are_replaced_if_asked(tmp_path: Path) -> None:
    (tmp_path / "3_label.tif").write_text("mine")

    export_pairs(tmp_path, IMAGE, LABELS, indices=[3], overwrite=True)

    np.testing.assert_array_equal(tifffile.imread(tmp_path / "3_label.tif"), PAINTED[3])


@pytest.mark.parametrize("index", [-1, 5])
def test_slice_that_does_not_exist_is_refused(index: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"z={index} does not exist; scan has 0 to 4"):
        export_pairs(tmp_path / "pairs", IMAGE, LABELS, indices=[1, index])

    assert names(tmp_path) == []


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"scan is \(5, 6, 7\) .* \(4, 6, 7\);"):
        export_pairs(
            tmp_path, IMAGE, as_volume(PAINTED[1:], name="painting"), indices=[1]
        )


# ---- import ----


def test_pairs_are_found_among_other_files(tmp_path: Path) -> None:
    for name in ("20.tif", "20_label.TIF", "100.tiff", "100_label.tif", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "scan_1.tif").touch()

    pairs = find_pairs(tmp_path)

    assert list(pairs) == [20, 100]
    assert pairs[100] == Pair(
        image=tmp_path / "100.tiff", labels=tmp_path / "100_label.tif"
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], r"holds no pair; expected files such as 100\.tif and 100_label\.tif"),
        (["scan.tif"], "holds no pair"),
        (["5.tif", "7.tif", "5_label.tif"], r"holds 7\.tif without 7_label\.tif"),
        (["5_label.tif"], r"holds 5_label\.tif without 5\.tif"),
        (["5.tif", "05.tif", "5_label.tif"], r"05\.tif and 5\.tif .* the same slice"),
    ],
    ids=["empty", "other names", "no labels", "no image", "twice"],
)
def test_folder_without_whole_pairs_is_refused(
    files: list[str], message: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).touch()

    with pytest.raises(VolumeError, match=message):
        find_pairs(tmp_path)


def test_folder_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="there is no folder"):
        find_pairs(tmp_path / "gone")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int8])
def test_whole_numbers_of_any_type_are_labels(dtype: type, tmp_path: Path) -> None:
    pair = make_pair(tmp_path, np.array([[0, 1], [2, 3], [3, 0]]).astype(dtype))

    labels = read_pair_labels(pair, shape=(3, 2))

    assert labels.dtype == np.uint8
    assert labels.tolist() == [[0, 1], [2, 3], [3, 0]]


def test_labels_from_0_are_raised_to_phases_from_1(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, np.array([[0.0, 2.0], [1.0, 254.0]], np.float32))

    labels = read_pair_labels(pair, shape=(2, 2), first_label=0)

    assert labels.tolist() == [[1, 3], [2, 255]]


@pytest.mark.parametrize(
    ("value", "first_label", "message"),
    [
        (0.5, 1, "holds 0.5; labels are whole numbers from 0 to 255"),
        (-1, 1, "holds -1.0"),
        (256, 1, "holds 256.0"),
        (np.nan, 1, "holds nan"),
        (255, 0, "holds 255.0; labels are whole numbers from 0 to 254"),
    ],
)
def test_values_that_are_no_labels_are_refused(
    value: float, first_label: int, message: str, tmp_path: Path
) -> None:
    pair = make_pair(tmp_path, np.array([[0, 1], [2, value]], np.float32))

    with pytest.raises(VolumeError, match=message):
        read_pair_labels(pair, shape=(2, 2), first_label=first_label)


@pytest.mark.parametrize("shape", [(3, 2), (2, 2, 3)], ids=["turned", "stack"])
def test_pair_of_another_shape_is_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    pair = make_pair(tmp_path, np.zeros(shape, np.uint8))

    with pytest.raises(VolumeError, match=r"100_label\.tif is .* slice of \(2, 3\)"):
        read_pair_labels(pair, shape=(2, 3))


def test_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, np.zeros((2, 2), np.uint8))
    pair.labels.write_text("mine")

    with pytest.raises(VolumeError, match="cannot be read"):
        read_pair_labels(pair, shape=(2, 2))
