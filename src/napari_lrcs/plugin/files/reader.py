"""Open volumes in napari lazily, and labels with the names and colours of phases."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from napari.types import LayerData
from numpy.typing import NDArray
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication, QInputDialog, QMainWindow

from napari_lrcs.annotation.workspace import is_workspace
from napari_lrcs.errors import SeveralVolumesError, VolumeError
from napari_lrcs.io.formats.ome_zarr import multiscales
from napari_lrcs.io.formats.pyramid import levels_of
from napari_lrcs.io.lazy_arrays import READ_ERRORS, damaged
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.paths import HDF5_SUFFIXES, TIFF_SUFFIXES, is_zarr
from napari_lrcs.io.units import known_unit
from napari_lrcs.io.volume import Volume, as_labels
from napari_lrcs.plugin.parts.layers.layers import (
    DATASET_KEY,
    PROVENANCE_KEY,
    appearance,
)
from napari_lrcs.preprocessing.slices import AXES

_CHOICE: ContextVar[str] = ContextVar("choice", default="")
"""The volume to open where a file holds several; empty to ask for it."""

NOTHING: list[LayerData] = [(None,)]  # as napari has it
"""What a reader returns when it has read a file without making a layer."""

_PAINTABLE = 2**28
"""Largest labels file, in bytes, that is read into memory, where napari can paint."""

_SAMPLE = 512
"""Side of the sample that the contrast is guessed from, in voxels."""


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Offer to read a path, by its name and at most its header.

    Parameters
    ----------
    path : str or sequence of str
        HDF5 file, folder of TIFF slices, Zarr folder, or TIFF of labels that this
        package has written. Any other TIFF is napari's, as are stacks of paths.

    Returns
    -------
    callable or None
        `read_layers`.
    """
    if not isinstance(path, str):
        return None
    return read_layers if _is_ours(Path(path)) else None


def read_layers(path: str | Sequence[str]) -> list[LayerData]:
    """Read a path into one layer, but no more than a slice of its voxels.

    Parameters
    ----------
    path : str
        As `get_reader` accepts. Where there is a window, it asks which one of several
        volumes in an HDF5 file is meant.

    Returns
    -------
    list of LayerData
        A labels layer where the file names phases, else an image; a pyramid where
        there are levels. Labels of an OME-Zarr of one level are painted in place. No
        layer if nothing was chosen.

    Raises
    ------
    SeveralVolumesError
        If there is no window to choose one of several volumes in.
    VolumeError
        If the file is damaged, or holds nothing that can serve as a volume.
    """
    place = Path(str(path))
    metadata: dict[str, Any] = {}
    try:
        if place.is_dir() and is_zarr(place):
            return [_zarr_layer(place)]
        try:
            volume = open_volume(place)
        except SeveralVolumesError as error:
            dataset = _choose(place, error)
            if dataset is None:
                return NOTHING
            volume = open_volume(f"{place}:{dataset}")
            metadata[DATASET_KEY] = dataset
        array = _lazy(volume if volume.phases is None else as_labels(volume))
        data, meta, kind = _layer(volume, array)
        return [(data, meta | {"metadata": meta.get("metadata", {}) | metadata}, kind)]
    except VolumeError:
        raise
    except READ_ERRORS as error:
        raise damaged(place.name, error) from error


@contextmanager
def choosing(dataset: str) -> Iterator[None]:
    """Open this one of a file's volumes, if there are several, without asking."""
    token = _CHOICE.set(dataset)
    try:
        yield
    finally:
        _CHOICE.reset(token)


def _choose(place: Path, error: SeveralVolumesError) -> str | None:
    """Ask for one of a file's volumes; None if the question is cancelled."""
    if _CHOICE.get() in error.shapes:
        return _CHOICE.get()
    app = QApplication.instance()
    if app is None or QThread.currentThread() != app.thread():
        raise error
    choices = {
        f"{dataset}   {' × '.join(map(str, shape))}": dataset
        for dataset, shape in error.shapes.items()
    }
    windows = (w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow))
    text, is_chosen = QInputDialog.getItem(
        # Of a window, so that the dialog has napari's colours.
        QApplication.activeWindow()
        or next(filter(QMainWindow.isVisible, windows), None),
        "Choose a volume",
        f"{place.name} holds {len(choices)} volumes. Open:",
        list(choices),
        editable=False,
    )
    return choices[text] if is_chosen else None


def _is_ours(place: Path) -> bool:
    if is_workspace(place):  # which may hold TIFF files, too
        return False
    if place.is_dir():
        return is_zarr(place) or any(
            file.suffix.lower() in TIFF_SUFFIXES for file in place.iterdir()
        )
    suffix = place.suffix.lower()
    return suffix in HDF5_SUFFIXES or (suffix in TIFF_SUFFIXES and _names_phases(place))


def _names_phases(place: Path) -> bool:
    try:
        return open_volume(place).phases is not None
    except VolumeError:
        return False


def _layer(volume: Volume, data: Any) -> LayerData:
    """Make the layer of a volume; of a pyramid, `data` is a list."""
    place: dict[str, Any] = {
        "axis_labels": tuple(AXES),
        "multiscale": isinstance(data, list),
    }
    if volume.voxel_size is not None:
        place["scale"] = volume.voxel_size
    if volume.unit is not None:
        place["units"] = (volume.unit,) * 3
    if volume.phases is None:
        coarsest = data[-1] if isinstance(data, list) else data
        return data, place | {"contrast_limits": _contrast(coarsest)}, "image"
    if volume.provenance is not None:
        place["metadata"] = {PROVENANCE_KEY: volume.provenance}
    if isinstance(data, da.Array) and data.nbytes <= _PAINTABLE:
        data = data.compute()
    return data, place | appearance(volume.phases), "labels"


# Zarr


def _zarr_layer(place: Path) -> LayerData:
    levels = levels_of(place)
    if levels[0].ndim == 4 and levels[0].shape[0] > 1:
        return _channels_layer(place, levels)
    volume = open_volume(place)
    if levels[0].ndim != 3:
        return _layer(volume, _lazy(volume))
    if len(levels) > 1:
        return _layer(volume, [_lazy_level(level) for level in levels])
    if volume.phases is None:
        return _layer(volume, levels[0])
    mode = "r+" if os.access(place, os.W_OK) else "r"
    return _layer(volume, zarr.open_array(place / levels[0].path, mode=mode))


def _channels_layer(place: Path, levels: list[zarr.Array[Any]]) -> LayerData:
    """Make one image of all channels, such as the phases' probabilities."""
    meta: dict[str, Any] = {
        "axis_labels": ("c", *AXES),
        "multiscale": len(levels) > 1,
        "contrast_limits": _contrast(levels[-1]),
    }
    images = multiscales(zarr.open(place, mode="r").attrs.asdict())
    if images:
        axes = images[0]["axes"]
        scales = [
            transformation["scale"]
            for holder in (images[0]["datasets"][0], images[0])
            for transformation in holder.get("coordinateTransformations", ())
            if transformation["type"] == "scale"
        ]
        meta["axis_labels"] = tuple(axis["name"] for axis in axes)
        meta["scale"] = np.prod([[1.0] * len(axes), *scales], axis=0)
        meta["units"] = [known_unit(axis.get("unit")) or "pixel" for axis in axes]
    if len(levels) == 1:
        return levels[0], meta, "image"
    return [_lazy_level(level) for level in levels], meta, "image"


def _lazy_level(level: zarr.Array[Any]) -> da.Array:
    # napari cuts the part in view out of all slices before it takes one of them: of
    # a Zarr array, that would read them all.
    lazy: da.Array = da.from_array(
        level, chunks=(*level.chunks[:-2], *level.shape[-2:]), name=False
    )
    return lazy


# Voxels


@dataclass(frozen=True, slots=True)
class _Indexed:
    """A volume's voxels, under whole numbers as keys too, as dask asks for them."""

    volume: Volume
    ndim = 3

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.volume.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.volume.dtype

    def __getitem__(self, key: tuple[slice | int, ...]) -> NDArray[Any]:
        kept = tuple(k if isinstance(k, slice) else slice(k, k + 1) for k in key)
        part = self.volume.region(*kept).astype(self.dtype, copy=False)
        return part[tuple(slice(None) if isinstance(k, slice) else 0 for k in key)]


def _lazy(volume: Volume) -> da.Array:
    # Named at random: dask's own name is a hash, of all voxels for some arrays.
    array: da.Array = da.from_array(
        _Indexed(volume),
        chunks=(1, *volume.shape[1:]),
        name=False,
        fancy=False,
        meta=np.empty((0, 0, 0), volume.dtype),
    )
    return array


def _contrast(array: Any) -> tuple[float, float]:
    """Guess from the slice in the middle of a lazy array (…, z, y, x)."""
    n_y, n_x = array.shape[-2:]
    steps = (slice(None, None, -(-n // _SAMPLE)) for n in (n_y, n_x))
    sample = np.asarray(array[(..., array.shape[-3] // 2, *steps)], np.float64)
    known = sample[np.isfinite(sample)]
    if known.size == 0:
        return 0.0, 1.0
    # A few extreme voxels must not flatten the contrast of all others.
    low, high = np.percentile(known, (0.1, 99.9)).tolist()
    return low, high if high > low else low + 1.0
