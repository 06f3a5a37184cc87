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

import h5py
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from napari_lrcs.data.units import METRES, known_unit
from napari_lrcs.data.volume import (
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
    wrong_axes,
)
from napari_lrcs.errors import VolumeError
from napari_lrcs.phases import PhaseTable

# tifffile logs what it finds in damaged files; we say it in our errors, once.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_TIFF = (".tif", ".tiff", ".btf", ".tf8")
_HDF5 = (".h5", ".hdf5", ".hdf", ".he5", ".nxs")
_SPATIAL = ("z", "y", "x")
_DATA_EXCHANGE = "/exchange/data"  # De Carlo et al. 2014, 10.1107/S160057751401604X


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
    if place.is_file() and place.stat().st_size == 0:
        raise VolumeError(f"{place.name} is empty (0 bytes)")
    try:
        volume = _open(place, dataset)
    except VolumeError:
        raise
    except READ_ERRORS as error:
        raise damaged(place.name, error) from error
    return replace(volume, sources=_sources(place))


def _sources(place: Path) -> tuple[Path, ...]:
    """Resolve the file or folder, and those of its slices that lie elsewhere."""
    found = place.resolve()
    if not place.is_dir() or is_zarr(place):
        return (found,)
    slices = (file.resolve() for file in _slice_files(place))
    return (found, *(file for file in slices if file.parent != found))


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


def split_dataset(path: str | Path) -> tuple[Path, str | None]:
    """Part the name of an HDF5 file from that of the data set that may follow it."""
    suffixes = "|".join(re.escape(suffix) for suffix in _HDF5)
    match = re.fullmatch(rf"(.+(?:{suffixes})):(.+)", str(path), re.IGNORECASE)
    if match is None:
        return Path(path), None
    return Path(match[1]), "/" + match[2].replace("\\", "/").lstrip("/")


def _open(place: Path, dataset: str | None) -> Volume:
    if place.is_dir():
        return _open_zarr(place) if is_zarr(place) else _open_folder(place)
    suffix = place.suffix.lower()
    if suffix in _TIFF:
        return _open_tiff(place)
    if suffix in _HDF5:
        return _open_hdf5(place, dataset)
    if suffix == ".npy":
        array = np.load(place, mmap_mode="r", allow_pickle=False)
        return as_volume(array, name=place.name)
    raise VolumeError(
        f"{place.name} is of no known type; expected {', '.join((*_TIFF, *_HDF5))}, "
        ".npy, a Zarr, or a folder of TIFF slices"
    )


# TIFF


def _open_tiff(place: Path) -> Volume:
    with ExitStack() as stack:
        tif = stack.enter_context(tifffile.TiffFile(place))
        series = _only_series(tif, place.name)
        _check_no_composite(tif, series, place.name)
        array = _tiff_array(tif, series, place)
        if isinstance(array, _Slices):
            tif.filehandle.set_lock(True)
            weakref.finalize(array, stack.pop_all().close)
        return checked_volume(
            array,
            name=place.name,
            axes=series.get_axes(squeeze=True),
            physical=_tiff_physical(tif),
            phases=_tiff_phases(tif),
        )


def _tiff_array(
    tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, place: Path
) -> ArrayLike3D:
    """Map the file into memory if it is plain, else read page by page."""
    shape = series.get_shape(squeeze=True)
    check_shape(shape, series.get_axes(squeeze=True), place.name)
    shape = (1, *shape)[-3:]
    _check_complete(tif, series, place.name)
    if series.dataoffset is not None:
        dtype = series.dtype.newbyteorder(tif.byteorder)
        return np.memmap(place, dtype, "r", offset=series.dataoffset, shape=shape)
    pages = [page for page in series if page is not None]
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
        raise VolumeError(
            f"{name} is truncated: it promises more data than its "
            f"{tif.filehandle.size} bytes; copy or save it again"
        )


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
    except (TypeError, ValueError):  # somebody else's tag of the same number
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
    files = _slice_files(place)
    if not files:
        raise VolumeError(f"the folder {place.name} holds no TIFF slice and no Zarr")
    first = _open_slice(files[0])
    for file in files[1:]:
        other = _open_slice(file)
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise VolumeError(
                f"{file.name} is {other.shape[1:]} {other.dtype}, "
                f"{files[0].name} is {first.shape[1:]} {first.dtype}; "
                f"expected slices that are alike in the folder {place.name}"
            )
    array = _Slices(
        (len(files), *first.shape[1:]),
        first.dtype,
        lambda z: _open_slice(files[z]).slab(0, 1)[0],
    )
    physical = (first.voxel_size, first.unit)
    return checked_volume(array, name=place.name, physical=physical)


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


def _natural(file: Path) -> list[int | str]:
    """Sort slice10 after slice9."""
    parts = re.split(r"([0-9]+)", file.name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


# HDF5 and Zarr


def _open_hdf5(place: Path, dataset: str | None) -> Volume:
    # The file stays open for as long as its dataset is in use.
    file = h5py.File(place, "r")
    wanted = dataset or _DATA_EXCHANGE
    node = file.get(wanted)
    if isinstance(node, h5py.Dataset):
        return as_volume(node, name=place.name)
    shapes: dict[str, tuple[int, ...]] = {}

    def collect(path: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            shapes[f"/{path}"] = node.shape or ()

    file.visititems(collect)
    volumes = [path for path, shape in shapes.items() if len(shape) == 3]
    if dataset is None and len(volumes) == 1:
        return as_volume(file[volumes[0]], name=place.name)
    listing = ", ".join(f"{path} {shape}" for path, shape in shapes.items())
    raise VolumeError(
        f"{place.name} has no dataset {wanted} but {listing or 'none at all'}; "
        f"name the one that is meant, as in {place.name}:/path/to/dataset"
    )


def _open_zarr(place: Path) -> Volume:
    node = zarr.open(place, mode="r")
    if isinstance(node, zarr.Array):
        return as_volume(node, name=place.name)
    attributes: dict[str, Any] = node.attrs.asdict()
    images = multiscales(attributes)
    if not images:
        listing = ", ".join(sorted(node.keys())) or "nothing"
        raise VolumeError(
            f"{place.name} is a Zarr group without an image; open an array in it, "
            f"as in {place.name}/0 (it holds {listing})"
        )
    # The levels are ordered from the highest resolution down.
    level = images[0]["datasets"][0]
    array = node[level["path"]]
    if not isinstance(array, zarr.Array):
        raise VolumeError(
            f"{place.name}/{level['path']} is a Zarr group; expected an array"
        )
    axes = images[0]["axes"]
    names = "".join(axis["name"][:1] for axis in axes)
    spatial = (axis["name"] for axis in axes if axis["name"] in _SPATIAL)
    if not names.endswith("".join(sorted(spatial, reverse=True))):
        remedy = "save it transposed to this order, these axes last"
        raise wrong_axes(array.shape, names, place.name, remedy=remedy)
    is_stack_of_channels = names == "cyx" and array.shape[0] > 1
    if is_stack_of_channels or len(axes) != array.ndim:
        raise wrong_axes(array.shape, names, place.name)
    return checked_volume(
        array,
        name=place.name,
        axes=names,
        physical=_ngff_physical(axes, (level, images[0])),
        phases=_phases(attributes) if PHASES_KEY in attributes else None,
    )


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
