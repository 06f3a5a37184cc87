"""Open TIFF volumes without reading any voxels, and write labels slab by slab."""

import json
import logging
import math
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.label_metadata import (
    PHASES_KEY,
    label_metadata,
    stored_phases,
)
from napari_lrcs.io.lazy_arrays import (
    READ_ERRORS,
    ArrayLike3D,
    PlainArray,
    Slices,
    truncated,
)
from napari_lrcs.io.provenance import Provenance, stored_provenance
from napari_lrcs.io.units import SYMBOLS, known_unit
from napari_lrcs.io.volume import (
    Volume,
    VoxelSize,
    check_shape,
    checked_volume,
    physical_size,
    wrong_axes,
)
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import PhaseTable

# tifffile logs what is wrong with damaged files; our errors say so already.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

PHASES_TAG = 65_311
"""TIFF tag of the JSON of phases and provenance; 65000 to 65535 are for private use."""

# Offsets in classic TIFF have 32 bits; 32 MiB are left for everything but the voxels.
_CLASSIC_LIMIT = 2**32 - 2**25

# Number of bytes to compress at a time; tifffile's default is half a gigabyte.
_BUFFER = 2**24

_SOFTWARE = "napari-lrcs"
"""Value of the Software tag, by which we recognise our own files."""


def open_tiff(place: Path) -> Volume:
    """Open a TIFF that holds a single image; see `open_volume`."""
    with ExitStack() as stack:
        tif = stack.enter_context(tifffile.TiffFile(place))
        series = _only_series(tif, place.name)
        _check_no_composite(tif, series, place.name)
        shape, axes = _shape_and_axes(series, place.name)
        check_shape(shape, axes, place.name)
        _check_complete(tif, series, place.name)
        array = _tiff_array(tif, series, place, (1, *shape)[-3:])
        if not isinstance(array, PlainArray):
            tif.filehandle.set_lock(True)
            weakref.finalize(array, stack.pop_all().close)
        volume = checked_volume(
            array,
            name=place.name,
            axes=axes,
            physical=_tiff_physical(tif),
            phases=_tiff_phases(tif),
        )
        return replace(volume, provenance=_tiff_provenance(tif))


def _shape_and_axes(
    series: tifffile.TiffPageSeries, name: str
) -> tuple[tuple[int, ...], str]:
    """Remove axes of length 1, leading ones first, until three axes are left.

    tifffile itself would remove all of them, even z, y and x.
    """
    names, lengths = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    axes = [axis for axis in zip(names, lengths, strict=True) if axis != ("S", 1)]
    while len(axes) > 3 and any(length == 1 for _, length in axes):
        axes.remove(next(axis for axis in axes if axis[1] == 1))
    if _are_slices(series, name):
        axes[0] = ("I", axes[0][1])
    return tuple(length for _, length in axes), "".join(axis for axis, _ in axes)


def _are_slices(series: tifffile.TiffPageSeries, name: str) -> bool:
    """Return whether a colour image is in fact a stack of three or four slices.

    tifffile writes such a stack as a colour image by default.
    """
    is_planar = bool(series.get_axes(squeeze=False) == "SYX")
    if is_planar and series.dtype in (np.uint8, np.uint16):
        raise VolumeError(
            f"{name} is a colour image {series.shape}; convert it "
            'to grey, or save slices with photometric="minisblack"'
        )
    return is_planar


def _tiff_array(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    place: Path,
    shape: tuple[int, ...],
) -> ArrayLike3D:
    """Read the file directly if it is uncompressed, otherwise page by page."""
    if series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(tif.byteorder)
        return PlainArray(
            path=place.resolve(), offset=series.dataoffset, shape=shape, dtype=dtype
        )
    pages = [page for page in series if page is not None]
    if math.prod(series.keyframe.shape) == math.prod(shape):
        return Slices(
            shape, series.dtype, lambda z: pages[0].asarray().reshape(shape)[z]
        )
    if len(pages) != shape[0] or series.keyframe.shape != shape[1:]:
        raise VolumeError(
            f"{place.name} stores {series.keyframe.shape} per page; "
            "expected one page per slice: save it as a plain TIFF stack"
        )
    return Slices(shape, series.dtype, lambda z: pages[z].asarray())


def _only_series(tif: tifffile.TiffFile, name: str) -> tifffile.TiffPageSeries:
    found = [series.get_shape(squeeze=True) for series in tif.series]
    if len(found) != 1:
        raise VolumeError(
            f"{name} holds {len(found)} images, of shapes {found}; "
            "expected one: save the one you need in a file of its own"
        )
    if tif.series[0].is_multifile:
        raise VolumeError(
            f"{name} is part of an image in several files; open their folder"
        )
    return tif.series[0]


def _check_no_composite(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str
) -> None:
    axes = series.get_axes(squeeze=True)
    mode = (tif.imagej_metadata or {}).get("mode")
    if "C" in axes and mode in ("composite", "color"):
        raise wrong_axes(series.get_shape(squeeze=True), axes, name)


def _check_complete(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, name: str
) -> None:
    # tifffile stops silently where the chain of pages breaks; a complete one ends in 0.
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    n_bytes = tif.tiff.offsetsize
    ends_properly = tif.filehandle.read(n_bytes) == bytes(n_bytes)
    n_promised = (tif.imagej_metadata or {}).get("images", 1)
    n_found = math.prod(series.get_shape(squeeze=True)[:-2])
    is_whole = ends_properly and n_promised <= n_found and _has_data(tif, series)
    if not is_whole or _lacks_pages(tif, series):
        raise truncated(name, tif.filehandle.size)


def _lacks_pages(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    """Tell whether tifffile has written more slices than it finds again.

    Where a list of tags is cut, it takes their bytes for the place of the next page,
    and may find an end there.
    """
    if len(tif.pages) == 1:  # a page may have been taken out, with its description
        return False
    first = tif.pages.first
    n_found = math.prod(series.get_shape(squeeze=False))
    for description in (first.description, first.description1):
        try:
            return bool(math.prod(json.loads(description)["shape"]) > n_found)
        except READ_ERRORS:  # another program's
            continue
    return False


def _has_data(tif: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> bool:
    size = tif.filehandle.size
    if series.dataoffset is not None:
        return bool(series.dataoffset + series.nbytes <= size)
    return all(
        page is not None
        and len(page.dataoffsets) > 0
        and all(
            count > 0 and offset + count <= size
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
        )
        for page in series
    )


def _tiff_phases(tif: tifffile.TiffFile) -> PhaseTable | None:
    text = tif.pages.first.tags.valueof(PHASES_TAG)
    try:
        return stored_phases(json.loads(text))
    except READ_ERRORS:  # another program's tag with the same number
        return None


def _tiff_provenance(tif: tifffile.TiffFile) -> Provenance | None:
    text = tif.pages.first.tags.valueof(PHASES_TAG)
    try:
        return stored_provenance(json.loads(text)[PHASES_KEY])
    except READ_ERRORS:
        return None


def _tiff_physical(tif: tifffile.TiffFile) -> tuple[VoxelSize | None, str | None]:
    if tif.ome_metadata:
        return _ome_physical(tif.ome_metadata)
    if tif.imagej_metadata:
        return _imagej_physical(tif)
    return None, None


def _ome_physical(xml: str) -> tuple[VoxelSize | None, str | None]:
    image = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    if "PhysicalSizeX" not in pixels:
        return None, None
    # If only the size along x is known, voxels are assumed to be cubes.
    axes = [axis if f"PhysicalSize{axis}" in pixels else "X" for axis in "ZYX"]
    return physical_size(
        [pixels[f"PhysicalSize{axis}"] for axis in axes],
        # The schema's default unit is the micrometre.
        [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in axes],
    )


def _imagej_physical(
    tif: tifffile.TiffFile,
) -> tuple[VoxelSize | None, str | None]:
    metadata = tif.imagej_metadata or {}
    tags = tif.pages.first.tags
    y, x = (
        denominator / numerator
        for numerator, denominator in (
            tags.valueof(code, (1, 1)) for code in ("YResolution", "XResolution")
        )
    )
    unit = metadata.get("unit")
    y_unit = metadata.get("yunit", unit)
    z, z_unit = metadata.get("spacing"), metadata.get("zunit", unit)
    if z is None and metadata.get("images", 1) > 1:
        z = 1.0  # ImageJ leaves out a spacing of 1
    elif z is None:  # a single slice is as thick as its pixels are high
        z, z_unit = y, y_unit
    return physical_size([z, y, x], [z_unit, y_unit, unit])


def write_labels_tiff(  # noqa: PLR0913 the file has all this metadata
    path: Path,
    slabs: Iterable[NDArray[Any]],
    *,
    shape: tuple[int, int, int],
    dtype: DTypeLike = np.uint8,
    voxel_size: VoxelSize | None = None,
    unit: str | None = None,
    phases: PhaseTable | None = None,
    provenance: Provenance | None = None,
) -> None:
    """Write slabs one by one into a compressed OME-TIFF.

    Parameters
    ----------
    path : Path
        File to write; an existing one is replaced when the new one is complete.
    slabs : iterable of ndarray, shape (n, y, x), of `dtype`
        Slabs in order of z; n may differ from slab to slab.
    shape : tuple of int
        Shape of the whole volume, (z, y, x).
    dtype : dtype-like
        Type of the voxels.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Unit of length in any known spelling; an unknown one, such as "pixel", is left
        out.
    phases : PhaseTable, optional
        Phases of labels; `open_volume` returns them.
    provenance : Provenance, optional
        What a segmentation is of and was learnt from; `open_volume` returns it.

    Raises
    ------
    ValueError
        If a slab has another shape or type, or there are too few or too many slices.
    VolumeError
        If `path` is a folder.
    OSError
        If the file cannot be written, for example because the disk is full.
    """
    if path.is_dir():
        raise VolumeError(f"{path} is a folder; expected the name of a TIFF file")
    dtype = np.dtype(dtype)
    pending = iter(slabs)
    needs_big = int(np.prod(shape)) * dtype.itemsize > _CLASSIC_LIMIT
    with replacing(path) as temporary:
        with tifffile.TiffWriter(temporary, bigtiff=needs_big, ome=True) as tif:
            tif.write(
                _planes(pending, shape=shape, dtype=dtype),
                shape=shape,
                dtype=dtype,
                photometric="minisblack",
                compression="zlib",
                metadata={"axes": "ZYX", **_ome_metadata(voxel_size, unit)},
                extratags=_phase_tags(phases, provenance),
                software=_SOFTWARE,
                buffersize=_BUFFER,
            )
        if any(len(slab) > 0 for slab in pending):
            raise _too_many(shape)


def is_ours(path: Path) -> bool:
    """Return whether a file was written by `write_labels_tiff`."""
    try:
        with tifffile.TiffFile(path) as tif:
            return tif.pages.first.software == _SOFTWARE
    except READ_ERRORS:
        return False


def _planes(
    slabs: Iterable[NDArray[Any]], *, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    n_done = 0
    for slab in slabs:
        if slab.shape[1:] != shape[1:] or slab.dtype != dtype:
            raise ValueError(
                f"a slab is {slab.shape} {slab.dtype}; expected (n, "
                f"{shape[1]}, {shape[2]}) {dtype}"
            )
        n_done += len(slab)
        if n_done > shape[0]:
            raise _too_many(shape)
        yield from slab
    if n_done < shape[0]:
        raise ValueError(f"got {n_done} slices, expected {shape[0]}")


def _too_many(shape: tuple[int, ...]) -> ValueError:
    return ValueError(f"got more than the expected {shape[0]} slices")


def _ome_metadata(voxel_size: VoxelSize | None, unit: str | None) -> dict[str, Any]:
    if voxel_size is None:
        return {}
    symbol = SYMBOLS.get(known_unit(unit) or "", "pixel")
    return {
        f"PhysicalSize{axis}{suffix}": value
        for axis, size in zip("ZYX", voxel_size, strict=True)
        for suffix, value in (("", size), ("Unit", symbol))
    }


def _phase_tags(
    phases: PhaseTable | None, provenance: Provenance | None
) -> list[tuple[int, str, int, str, bool]]:
    metadata = label_metadata(phases, provenance)
    if not metadata:
        return []
    text = json.dumps({PHASES_KEY: metadata})
    return [(PHASES_TAG, "s", 0, text, True)]
