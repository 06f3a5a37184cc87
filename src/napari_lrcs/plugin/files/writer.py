"""Save labels of any size as a stream, with voxel size, names and colours."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from numpy.typing import NDArray

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.paths import is_zarr
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import check_new, replacing
from napari_lrcs.plugin.parts.layers.layers import labels_of, phases_shown, volume_of

_SUFFIXES = (".tif", ".tiff", ".zarr")
_DEFAULT_SUFFIX = ".labels.tif"

_SLAB = 2**26
"""Number of bytes that are read at a time."""


def write_labels(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Save a labels layer; what is there is replaced only when all is written.

    Parameters
    ----------
    path : str
        ``.tif``, ``.tiff`` or ``.zarr``; another name gains ``.labels.tif``.
    data : array-like of integers, shape (z, y, x) or (y, x), or a pyramid of such
        Read slab by slab; of a pyramid, the full resolution.
    meta : mapping
        What napari knows of the layer: its scale, units, phases and colours are kept.

    Returns
    -------
    list of str
        The path that was written.

    Raises
    ------
    VolumeError
        If there are more than three axes, labels do not fit the file, or `path` is
        the Zarr that the layer is painted into.
    """
    layer = Layer.create(data, meta, "labels")
    place = Path(path)
    if place.suffix.lower() not in _SUFFIXES:
        place = place.with_name(place.name + _DEFAULT_SUFFIX)
    check_new(place, overwrite=True)
    volume = _volume(layer)
    if place.suffix.lower() == ".zarr":
        _check_replaceable(place, layer)
        _write_zarr(place, volume)
    else:
        _write_tiff(place, volume)
    return [str(place)]


def _volume(layer: Labels) -> Volume:
    """Wrap labels: as uint8 where they are phases, else as they are."""
    return volume_of(layer) if phases_shown(layer) is None else labels_of(layer)


def _write_tiff(place: Path, volume: Volume) -> None:
    # OME-TIFF knows no integer of 64 bits.
    wide = volume.dtype.itemsize == 8
    dtype = np.dtype(f"{volume.dtype.kind}4") if wide else volume.dtype
    write_labels_tiff(
        place,
        (_narrowed(slab, dtype, volume.name) for slab in _slabs(volume)),
        shape=volume.shape,
        dtype=dtype,
        voxel_size=volume.voxel_size,
        unit=volume.unit,
        phases=volume.phases,
        provenance=volume.provenance,
    )


def _narrowed(slab: NDArray[Any], dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    narrow = slab.astype(dtype, copy=False)
    if narrow is not slab and (narrow != slab).any():
        raise VolumeError(
            f"{name} holds labels up to {slab.max()}; expected at most "
            f"{np.iinfo(dtype).max} in a TIFF: save it as .zarr"
        )
    return narrow


def _write_zarr(place: Path, volume: Volume) -> None:
    with replacing(place) as temporary:
        target = create_ome_zarr(
            temporary,
            shape=volume.shape,
            chunks=(1, *volume.shape[1:]),  # a stroke of the brush rewrites one slice
            dtype=volume.dtype,
            voxel_size=volume.voxel_size,
            unit=volume.unit,
            phases=volume.phases,
            provenance=volume.provenance,
            name=volume.name,
        )
        start = 0
        for slab in _slabs(volume):
            if slab.any():  # else it is 0 as it is
                target[start : start + len(slab)] = slab
            start += len(slab)


def _slabs(volume: Volume) -> Iterator[NDArray[Any]]:
    n_z, n_y, n_x = volume.shape
    n = max(1, _SLAB // (n_y * n_x * volume.dtype.itemsize))
    for start in range(0, n_z, n):
        yield volume.slab(start, min(start + n, n_z))


def _check_replaceable(place: Path, layer: Labels) -> None:
    if place.exists() and not is_zarr(place):
        raise VolumeError(
            f"{place} exists and is not a Zarr; choose another name, or remove it"
        )
    if layer.multiscale and place.exists():
        raise VolumeError(
            f"{place} exists, and {layer.name} may be read from it; choose another "
            "name for a copy"
        )
    root = getattr(getattr(layer.data, "store", None), "root", None)
    if root is not None and Path(root).resolve().is_relative_to(place.resolve()):
        raise VolumeError(
            f"{place.name} is where {layer.name} is stored, and saved with each "
            "stroke; choose another name for a copy"
        )
