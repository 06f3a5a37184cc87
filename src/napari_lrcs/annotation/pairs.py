"""Pairs of a slice and its painting, ``100.tif`` and ``100_label.tif``.

SegmentPy trains from such folders: https://github.com/ZeliangSu/SegmentPy
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from napari_lrcs.annotation.annotation import check_labels_fit
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.paths import check_outputs
from napari_lrcs.io.volume import Volume, as_labels, sources_of
from napari_lrcs.io.writing import check_new, replacing
from napari_lrcs.phases import MAX_PHASES
from napari_lrcs.preprocessing.slices import AXES

_IMAGE = re.compile(r"([0-9]+)\.tiff?", re.IGNORECASE)
_LABELS = re.compile(r"([0-9]+)_label\.tiff?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Files of a slice and of its painting."""

    image: Path
    labels: Path


def export_pairs(
    folder: Path,
    image: Volume,
    labels: Volume,
    *,
    indices: Iterable[int],
    axis: Axis = "z",
    overwrite: bool = False,
) -> list[Path]:
    """Write slices and their painting as pairs of TIFF files.

    Parameters
    ----------
    folder : Path
        Made, and its parents, too.
    image : Volume
        Its slices keep their type.
    labels : Volume of whole numbers, shape of `image`
        Written as uint8: 0 unpainted, phases from 1.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    overwrite : bool
        Whether files that are there may be replaced.

    Returns
    -------
    list of Path
        The files: image and labels of each slice, in the order of `indices`.

    Raises
    ------
    ValueError
        If a slice does not exist.
    VolumeError
        If the shapes differ, or a volume is damaged.
    ResultExistsError
        If a file is there and `overwrite` is False; nothing is written then.
    """
    check_labels_fit(image, labels)
    labels, indices, n_slices = (
        as_labels(labels),
        list(indices),
        image.shape[AXES[axis]],
    )
    for index in indices:
        if not 0 <= index < n_slices:
            raise ValueError(
                f"slice {axis}={index} does not exist; {image.name} has 0 to "
                f"{n_slices - 1}"
            )
    folder.mkdir(parents=True, exist_ok=True)
    planned = [
        (folder / f"{index}{ending}.tif", volume, index)
        for index in indices
        for ending, volume in (("", image), ("_label", labels))
    ]
    written = [path for path, _, _ in planned]
    check_outputs(written, inputs=sources_of(image, labels))
    for path in written:
        check_new(path, overwrite=overwrite)
    for path, volume, index in planned:
        plane = volume.slab(index, index + 1, axis=axis)[0]
        with replacing(path, overwrite=overwrite) as temporary:
            tifffile.imwrite(temporary, plane, photometric="minisblack")
    return written


def find_pairs(folder: Path) -> dict[int, Pair]:
    """Find the pairs in a folder; files of other names are passed over.

    Returns
    -------
    dict of int to Pair
        By slice, ascending.

    Raises
    ------
    VolumeError
        If there is no pair, a pair is not whole, or two have the same number.
    """
    if not folder.is_dir():
        raise VolumeError(f"there is no folder {folder}")
    images, labels = (_numbered(folder, pattern) for pattern in (_IMAGE, _LABELS))
    if not images and not labels:
        raise VolumeError(
            f"{folder} holds no pair; expected files such as 100.tif and 100_label.tif"
        )
    for index in sorted(images.keys() ^ labels.keys()):
        has, lacks = ("", "_label") if index in images else ("_label", "")
        raise VolumeError(
            f"{folder} holds {index}{has}.tif without {index}{lacks}.tif; add it, or "
            "move the other one away"
        )
    return {
        index: Pair(image=images[index], labels=labels[index])
        for index in sorted(images)
    }


def read_pair_labels(
    pair: Pair, *, shape: tuple[int, int], first_label: int = 1
) -> Labels:
    """Read the painting of a pair.

    Parameters
    ----------
    pair : Pair
        Labels may be real numbers, as SegmentPy writes them, if they are whole.
    shape : tuple of int
        Rows and columns of the slice.
    first_label : {1, 0}
        What the first phase is called in the file; where it is 0, as in SegmentPy, all
        labels are raised by one and nothing is unpainted.

    Returns
    -------
    ndarray of uint8, shape `shape`
        0 unpainted, phases from 1.

    Raises
    ------
    VolumeError
        If the file is no image, of another shape, or its values are no labels.
    """
    volume = open_volume(pair.labels)
    if volume.shape != (1, *shape):
        raise VolumeError(
            f"{volume.name} is {volume.shape} (z, y, x); expected one slice of {shape}"
        )
    values = volume.slab(0, 1)[0]
    highest = MAX_PHASES - 1 + first_label
    wrong = ~((values >= 0) & (values <= highest) & (values == np.round(values)))
    if wrong.any():
        raise VolumeError(
            f"{volume.name} holds {values[wrong][0]}; labels are whole numbers from 0 "
            f"to {highest}"
        )
    return np.asarray(values + (1 - first_label), np.uint8)


def _numbered(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        if (match := pattern.fullmatch(file.name)) is None:
            continue
        index = int(match[1])
        if index in found:
            raise VolumeError(
                f"{found[index].name} and {file.name} in {folder} are of the same "
                "slice; move one away"
            )
        found[index] = file
    return found
