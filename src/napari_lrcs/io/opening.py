"""Open volumes and labels lazily: TIFF, folders of TIFF, HDF5, OME-Zarr and NumPy.

Opening reads only metadata; voxels are read slab by slab, from any thread.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import natural_sorted

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.tiff import open_tiff
from napari_lrcs.io.lazy_arrays import (
    READ_ERRORS,
    PlainArray,
    Slices,
    Transposed,
    Wrapper,
    damaged,
)
from napari_lrcs.io.paths import (
    HDF5_SUFFIXES,
    TIFF_SUFFIXES,
    VOLUME_SUFFIXES,
    is_zarr,
)
from napari_lrcs.io.volume import (
    Volume,
    as_labels,
    check_shape,
    checked_volume,
)
from napari_lrcs.io.watching import Signature, signature, unchanged, watched


def open_volume(path: str | Path) -> Volume:
    """Open a file or folder without reading a voxel.

    Parameters
    ----------
    path : str or Path
        A TIFF, a folder of TIFF slices (in natural order), an HDF5 file, an OME-Zarr
        or Zarr array, or a ``.npy``. In an HDF5 file, the volume of Data Exchange,
        nabu, NXtomoproc or httomo, or the only 3D dataset, is opened; name another one
        as ``file.h5:/path/to/dataset``.

    Returns
    -------
    Volume
        Any integer or real type; a 2D image is one slice. The channels of a TIFF are
        read as slices, because tifffile saves slices as channels by default, unless
        ImageJ shows them in colour (mode composite or color).

    Raises
    ------
    SeveralVolumesError
        If an HDF5 file holds several volumes, and `path` does not name one.
    VolumeError
        If `path` does not exist, or is not a grey-level volume.
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
    except (*READ_ERRORS, MemoryError) as error:  # MemoryError: a damaged shape
        raise damaged(place.name, error) from error


def open_labels(path: str | Path) -> Volume:
    """Open labels as `open_volume` does, and check each slab as it is read.

    Parameters
    ----------
    path : str or Path
        File or folder, as for `open_volume`.

    Returns
    -------
    Volume of uint8
        See `as_labels`.

    Raises
    ------
    VolumeError
        As `open_volume` and `as_labels` do.
    """
    return as_labels(open_volume(path))


def split_dataset(path: str | Path) -> tuple[Path, str | None]:
    """Split ``file.h5:/dataset`` into the file and the dataset; None without one."""
    suffixes = "|".join(re.escape(suffix) for suffix in HDF5_SUFFIXES)
    match = re.fullmatch(rf"(.+(?:{suffixes})):(.+)", str(path), re.IGNORECASE)
    if match is None:
        return Path(path), None
    return Path(match[1]), "/" + match[2].replace("\\", "/").lstrip("/")


def _open(place: Path, dataset: str | None) -> Volume:
    if place.is_dir():
        if not is_zarr(place):
            return _open_folder(place)
        from napari_lrcs.io.formats.ome_zarr import open_zarr  # zarr is slow to import

        return open_zarr(place)
    suffix = place.suffix.lower()
    if suffix in HDF5_SUFFIXES:
        from napari_lrcs.io.formats.hdf5 import open_hdf5  # so is h5py

        return open_hdf5(place, dataset)
    signatures = {place.resolve(): signature(place)}
    if suffix in TIFF_SUFFIXES:
        return watched(open_tiff(place), signatures)
    if suffix == ".npy":
        return watched(_open_npy(place), signatures)
    raise VolumeError(
        f"{place.name} is not of a known type; expected "
        f"{', '.join(VOLUME_SUFFIXES)}, a Zarr, or a folder of TIFF slices"
    )


def _open_npy(place: Path) -> Volume:
    # Only the header is read, not the mapped data.
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


# Folders of TIFF slices


def _open_folder(place: Path) -> Volume:
    files = _slice_files(place.absolute())
    if not files:
        raise VolumeError(
            f"the folder {place.name} holds neither TIFF slices nor a Zarr"
        )
    signatures = [{file.resolve(): signature(file)} for file in files]
    first = _open_slice(files[0])
    for file in files[1:]:
        other = _open_slice(file)
        if (other.shape, other.dtype) != (first.shape, first.dtype):
            raise VolumeError(
                f"{file.name} is {other.shape[1:]} {other.dtype}, "
                f"{files[0].name} is {first.shape[1:]} {first.dtype}; "
                f"expected slices of one shape and type in the folder {place.name}"
            )
    folder = place.resolve()
    elsewhere = (file for one in signatures for file in one if file.parent != folder)
    return checked_volume(
        Slices(
            (len(files), *first.shape[1:]),
            first.dtype,
            lambda z: _read_slice(files[z], signatures[z]),
        ),
        name=place.name,
        physical=(first.voxel_size, first.unit),
        sources=(folder, *elsewhere),
    )


def _slice_files(place: Path) -> list[Path]:
    names = (
        file.name
        for file in place.iterdir()
        if file.suffix.lower() in TIFF_SUFFIXES and not file.name.startswith(".")
    )
    return [place / name for name in natural_sorted(names)]


def _open_slice(file: Path) -> Volume:
    volume = open_volume(file)
    if volume.shape[0] != 1:
        raise VolumeError(
            f"{file.name} holds {volume.shape[0]} slices; expected one slice per file "
            "in a folder: open the file itself"
        )
    return volume


def _read_slice(file: Path, signatures: Mapping[Path, Signature]) -> NDArray[Any]:
    with unchanged(signatures):
        slab = _open_slice(file).slab(0, 1)
    image: NDArray[Any] = slab[0]
    return image


# In other processes


def open_to_share(path: str | Path) -> Volume:
    """Open a volume as `open_volume` does, so that it can be sent to other processes.

    Parameters
    ----------
    path : str or Path
        File or folder, as for `open_volume`; other processes must find it there too.

    Returns
    -------
    Volume
        Only its path is pickled; the other process opens the file again.

    Raises
    ------
    VolumeError
        As `open_volume` does, here or in the other process.
    """
    volume = open_volume(path)
    place = os.path.abspath(path)  # noqa: PTH100 a dataset's name may follow
    return replace(volume, array=_Reopened(volume.array, place))


@dataclass(frozen=True, slots=True)
class _Reopened(Wrapper):
    path: str

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path,)


def _reopen(path: str) -> _Reopened:
    return _Reopened(open_volume(path).array, path)
