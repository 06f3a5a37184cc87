"""Open volumes and labels lazily: TIFF, folders of TIFF, HDF5, OME-Zarr and NumPy.

Opening reads metadata alone; voxels are read slab by slab, from any thread.
"""

import json
import logging
import math
import re
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.hdf5 import open_dataset
from napari_lrcs.io.plain_array import PlainArray, Transposed
from napari_lrcs.io.units import METRES, known_unit
from napari_lrcs.io.volume import (
    PHASES_KEY,
    PHASES_TAG,
    READ_ERRORS,
    ArrayLike3D,
    Volume,
    VoxelSize,
    as_labels,
    as_volume,
    check_shape,
    checked_volume,
    damaged,
    truncated,
    wrong_axes,
)
from napari_lrcs.io.watching import (
    Signature,
    Watched,
    WatchedStore,
    moment_of_opening,
    signature,
    unchanged,
)
from napari_lrcs.phases import PhaseTable

# tifffile logs what it finds in damaged files; we say it in our errors, once.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_TIFF = (".tif", ".tiff", ".btf", ".tf8")
_HDF5 = (".h5", ".hdf5", ".hdf", ".he5", ".nxs")
_SPATIAL = ("z", "y", "x")


def open_volume(path: str | Path) -> Volume:
    """Open a file or folder without reading a voxel.

    Parameters
    ----------
    path : str or Path
        A TIFF, a folder of TIFF slices (in natural order), an HDF5 file (with
        ``file.h5:/path/to/dataset`` where `/exchange/data` is not meant), an OME-Zarr
        or Zarr array, or a ``.npy``.

    Returns
    -------
    Volume
        Of any integer or real type; a 2D image is one slice. The channels of a TIFF
        are taken for slices, since tifffile calls slices so unless it is told better;
        only a TIFF that ImageJ shows in colours (its mode composite or color) is not.

    Raises
    ------
    VolumeError
        If there is nothing at `path`, or nothing that can serve as a grey volume.
    """
    place, dataset = split_dataset(path)
    if not place.exists():
        raise VolumeError(f"there is no file or folder {place}")
    if not (place.is_file() or place.is_dir()):
        raise VolumeError(
            f"{place.name} is a device or pipe; expected a file or folder"
        )
    if place.is_file() and place.stat().st_size == 0:
        raise VolumeError(f"{place.name} is empty (0 bytes)")
    try:
        return _open(place, dataset)
    except VolumeError:
        raise
    except (*READ_ERRORS, MemoryError) as error:  # of a shape that is not meant
        raise damaged(place.name, error) from error


def open_labels(path: str | Path) -> Volume:
    """Open labels as `open_volume` does, and check each slab as it is read.

    Parameters
    ----------
    path : str or Path
        As for `open_volume`.

    Returns
    -------
    Volume
        Of uint8; see `as_labels`.

    Raises
    ------
    VolumeError
        As `open_volume` and `as_labels` do.
    """
    return as_labels(open_volume(path))


def is_zarr(place: Path) -> bool:
    """Tell whether a folder is a Zarr array or group, of format 2 or 3."""
    return any((place / file).is_file() for file in ("zarr.json", ".zarray", ".zgroup"))


def _physical(
    sizes: Sequence[float], units: Sequence[str | None]
) -> tuple[VoxelSize | None, str | None]:
    """Bring the voxel's sides along z, y and x to the unit of x, where it has one."""
    if not all(math.isfinite(size) and size > 0 for size in sizes):
        return None, None
    known = [known_unit(unit) for unit in units]
    unit = known[-1]
    if unit is None:
        z, y, x = sizes
        return (None if z == y == x == 1 else (z, y, x)), None
    z, y, x = (
        size * (METRES[own or unit] / METRES[unit])
        for size, own in zip(sizes, known, strict=True)
    )
    return (z, y, x), unit


@dataclass(frozen=True)
class _Slices:
    """Slices that are read one by one, when they are asked for."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int], NDArray[Any]]

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[Any]:
        picked = [range(n)[s] for n, s in zip(self.shape, key, strict=True)]
        part = np.empty([len(indices) for indices in picked], self.dtype)
        for i, z in enumerate(picked[0]):
            part[i] = self.read(z)[key[1:]]
        return part


def _watched(volume: Volume, signatures: Mapping[Path, Signature]) -> Volume:
    array = Watched(volume.array, signatures)
    return replace(volume, array=array, sources=tuple(signatures))


def split_dataset(path: str | Path) -> tuple[Path, str | None]:
    """Part the name of an HDF5 file from that of the data set that may follow it."""
    suffixes = "|".join(re.escape(suffix) for suffix in _HDF5)
    match = re.fullmatch(rf"(.+(?:{suffixes})):(.+)", str(path), re.IGNORECASE)
    if match is None:
        return Path(path), None
    return Path(match[1]), "/" + match[2].replace("\\", "/").lstrip("/")


def _open(place: Path, dataset: str | None) -> Volume:
    if place.is_dir():
        return _open_zarr(place, place.name) if is_zarr(place) else _open_folder(place)
    suffix = place.suffix.lower()
    if suffix in _HDF5:
        node, signatures = open_dataset(place, dataset)
        return _watched(as_volume(node, name=place.name), signatures)
    signatures = {place.resolve(): signature(place)}
    if suffix in _TIFF:
        return _watched(_open_tiff(place), signatures)
    if suffix == ".npy":
        return _watched(_open_npy(place), signatures)
    raise VolumeError(
        f"{place.name} is of no known type; expected {', '.join((*_TIFF, *_HDF5))}, "
        ".npy, a Zarr, or a folder of TIFF slices"
    )


def _open_npy(place: Path) -> Volume:
    # Only the header is read, and nothing of the map.
    header = np.load(place, mmap_mode="r", allow_pickle=False)
    check_shape(header.shape, "", place.name)
    shape = (1, *header.shape)[-3:]
    is_transposed = header.flags.f_contiguous and not header.flags.c_contiguous
    plain = PlainArray(
        path=place.resolve(),
        offset=header.offset,
        shape=shape[::-1] if is_transposed else shape,
        dtype=header.dtype,
    )
    array = Transposed(plain) if is_transposed else plain
    return checked_volume(array, name=place.name, axes="ZYX")


# TIFF


def _open_tiff(place: Path) -> Volume:
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
        return checked_volume(
            array,
            name=place.name,
            axes=axes,
            physical=_tiff_physical(tif),
            phases=_tiff_phases(tif),
        )


def _shape_and_axes(
    series: tifffile.TiffPageSeries, name: str
) -> tuple[tuple[int, ...], str]:
    """Leave out axes of length 1 while there are more than three, leading ones first.

    tifffile itself leaves out all of them, among them those of z, y and x.
    """
    names, lengths = series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    axes = [axis for axis in zip(names, lengths, strict=True) if axis != ("S", 1)]
    while len(axes) > 3 and any(length == 1 for _, length in axes):
        axes.remove(next(axis for axis in axes if axis[1] == 1))
    if _are_slices(series, name):
        axes[0] = ("I", axes[0][1])
    return tuple(length for _, length in axes), "".join(axis for axis, _ in axes)


def _are_slices(series: tifffile.TiffPageSeries, name: str) -> bool:
    """Tell whether a colour image is a stack of three or four slices instead.

    tifffile writes one as a colour image, unless it is told better.
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
    """Read the file as it is if it is plain, else page by page."""
    if series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(tif.byteorder)
        return PlainArray(
            path=place.resolve(), offset=series.dataoffset, shape=shape, dtype=dtype
        )
    pages = [page for page in series if page is not None]
    if math.prod(series.keyframe.shape) == math.prod(shape):
        return _Slices(
            shape, series.dtype, lambda z: pages[0].asarray().reshape(shape)[z]
        )
    if len(pages) != shape[0] or series.keyframe.shape != shape[1:]:
        raise VolumeError(
            f"{place.name} stores {series.keyframe.shape} a page; "
            "expected a page a slice: save it as a plain TIFF stack"
        )
    return _Slices(shape, series.dtype, lambda z: pages[z].asarray())


def _only_series(tif: tifffile.TiffFile, name: str) -> tifffile.TiffPageSeries:
    found = [series.get_shape(squeeze=True) for series in tif.series]
    if len(found) != 1:
        raise VolumeError(
            f"{name} holds {len(found)} images, of shapes {found}; "
            "expected one: save the one that is meant by itself"
        )
    if tif.series[0].is_multifile:
        raise VolumeError(
            f"{name} is part of an image over several files; open their folder"
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
    # tifffile stops silently where the chain of pages breaks; a whole one ends in 0.
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    n_bytes = tif.tiff.offsetsize
    ends_properly = tif.filehandle.read(n_bytes) == bytes(n_bytes)
    n_promised = (tif.imagej_metadata or {}).get("images", 1)
    n_found = math.prod(series.get_shape(squeeze=True)[:-2])
    if not ends_properly or n_promised > n_found or not _has_data(tif, series):
        raise truncated(name, tif.filehandle.size)


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
        return _phases(json.loads(text))
    except READ_ERRORS:  # somebody else's tag of the same number
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
    # Voxels of which x alone is known are taken to be cubes.
    axes = [axis if f"PhysicalSize{axis}" in pixels else "X" for axis in "ZYX"]
    return _physical(
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
        z = 1.0  # the spacing that ImageJ leaves out
    elif z is None:  # a single slice is as thick as its pixels are high
        z, z_unit = y, y_unit
    return _physical([z, y, x], [z_unit, y_unit, unit])


def _open_folder(place: Path) -> Volume:
    files = _slice_files(place.absolute())
    if not files:
        raise VolumeError(f"the folder {place.name} holds no TIFF slice and no Zarr")
    signatures = [{file.resolve(): signature(file)} for file in files]
    first = _open_slice(files[0])
    for file in files[1:]:
        other = _open_slice(file)
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise VolumeError(
                f"{file.name} is {other.shape[1:]} {other.dtype}, "
                f"{files[0].name} is {first.shape[1:]} {first.dtype}; "
                f"expected slices that are alike in the folder {place.name}"
            )
    folder = place.resolve()
    elsewhere = (file for one in signatures for file in one if file.parent != folder)
    return checked_volume(
        _Slices(
            (len(files), *first.shape[1:]),
            first.dtype,
            lambda z: _read_slice(files[z], signatures[z]),
        ),
        name=place.name,
        physical=(first.voxel_size, first.unit),
        sources=(folder, *elsewhere),
    )


def _slice_files(place: Path) -> list[Path]:
    files = (
        file
        for file in place.iterdir()
        if file.suffix.lower() in _TIFF and not file.name.startswith(".")
    )
    return sorted(files, key=_natural)


def _open_slice(file: Path) -> Volume:
    volume = open_volume(file)
    if volume.shape[0] != 1:
        raise VolumeError(
            f"{file.name} holds {volume.shape[0]} slices; expected one, as in a folder "
            "of slices: open the file itself"
        )
    return volume


def _read_slice(file: Path, signatures: Mapping[Path, Signature]) -> NDArray[Any]:
    with unchanged(signatures):
        slab = _open_slice(file).slab(0, 1)
    image: NDArray[Any] = slab[0]
    return image


def _natural(file: Path) -> list[int | str]:
    """Sort slice10 after slice9."""
    parts = re.split(r"([0-9]+)", file.name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


# Zarr


def _open_zarr(place: Path, name: str) -> Volume:
    place = place.resolve()
    store = WatchedStore(LocalStore(place, read_only=True), moment_of_opening(place))
    node = zarr.open(store, mode="r")
    if isinstance(node, zarr.Array):
        return _watched_zarr(as_volume(node, name=name), place)
    attributes: dict[str, Any] = node.attrs.asdict()
    images = multiscales(attributes)
    if not images:
        listing = ", ".join(sorted(node.keys())) or "nothing"
        raise VolumeError(
            f"{name} is a Zarr group without an image; open an array in it, "
            f"as in {name}/0 (it holds {listing})"
        )
    # The levels are ordered from the highest resolution down.
    level = images[0]["datasets"][0]
    array = node[level["path"]]
    if not isinstance(array, zarr.Array):
        raise VolumeError(f"{name}/{level['path']} is a Zarr group; expected an array")
    axes = images[0]["axes"]
    names = "".join(axis["name"][:1] for axis in axes)
    spatial = (axis["name"] for axis in axes if axis["name"] in _SPATIAL)
    if not names.endswith("".join(sorted(spatial, reverse=True))):
        remedy = "save it transposed to this order, these axes last"
        raise wrong_axes(array.shape, names, name, remedy=remedy)
    is_stack_of_channels = names == "cyx" and array.shape[0] > 1
    if is_stack_of_channels or len(axes) != array.ndim:
        raise wrong_axes(array.shape, names, name)
    volume = checked_volume(
        array,
        name=name,
        axes=names,
        physical=_ngff_physical(axes, (level, images[0])),
        phases=_phases(attributes) if PHASES_KEY in attributes else None,
    )
    return _watched_zarr(volume, place, array.path)


def _watched_zarr(volume: Volume, place: Path, path: str = "") -> Volume:
    """Watch the array's metadata; its chunks are watched as they are read."""
    folder = place / path
    known = (folder / "zarr.json", folder / ".zarray", place / ".zmetadata")
    metadata = [file for file in known if file.is_file()]
    array = Watched(volume.array, {file: signature(file) for file in metadata})
    level = folder.resolve()
    sources = (place,) if level.is_relative_to(place) else (place, level)
    return replace(volume, array=array, sources=sources)


def multiscales(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Find the images in the attributes of an OME-Zarr group; none in another's."""
    # Version 0.5 moved everything under "ome".
    images: list[dict[str, Any]] = attributes.get("ome", attributes).get(
        "multiscales", []
    )
    return images


def _ngff_physical(
    axes: Sequence[Mapping[str, str]], scaled: Iterable[Mapping[str, Any]]
) -> tuple[VoxelSize | None, str | None]:
    """Multiply the scales of a level and of its image."""
    scales = [
        transformation["scale"]
        for holder in scaled
        for transformation in holder.get("coordinateTransformations", ())
        if transformation["type"] == "scale"
    ]
    sizes = [math.prod(column) for column in zip(*scales, strict=True)]
    spatial = [i for i, axis in enumerate(axes) if axis["name"] in _SPATIAL]
    if not sizes or not spatial:
        return None, None
    if len(spatial) == 2:  # a single slice is as thick as its pixels are high
        spatial.insert(0, spatial[0])
    return _physical(
        [sizes[i] for i in spatial], [axes[i].get("unit") for i in spatial]
    )


def _phases(holder: Mapping[str, Any]) -> PhaseTable | None:
    rows = holder[PHASES_KEY].get("phases")
    return None if rows is None else PhaseTable.from_dicts(rows)
