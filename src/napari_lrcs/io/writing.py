"""Write results as a stream, and put them in place only when they are complete."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import DTypeLike, NDArray

from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.io.locks import check_not_in_use, only_writer
from napari_lrcs.io.opening import is_zarr
from napari_lrcs.io.paths import follow_link, former_of, part_of
from napari_lrcs.io.units import SYMBOLS, known_unit
from napari_lrcs.io.volume import PHASES_KEY, PHASES_TAG, READ_ERRORS, VoxelSize
from napari_lrcs.phases import PhaseTable

# Offsets of classic TIFF have 32 bits; 32 MiB are left for what is not voxels.
_CLASSIC_LIMIT = 2**32 - 2**25

# Bytes that are compressed in one go; tifffile's own choice is half a gigabyte.
_BUFFER = 2**24

_SOFTWARE = "napari-lrcs"
"""TIFF tag by which we know what we have written."""

_REMOVALS, _PAUSE = 20, 0.05
"""Attempts to remove a folder that is still written to, and seconds between them."""


def check_new(path: Path, *, overwrite: bool) -> None:
    """Refuse a place for a result before any work is done for it.

    Parameters
    ----------
    path : Path
        File or folder that is to be written.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    ResultExistsError
        If something is there and `overwrite` is False.
    InUseError
        If another one writes to it.
    VolumeError
        If the parent folder is missing or may not be written to, a device, a pipe or
        the like is there, or the name is not valid text.
    """
    path = follow_link(path)
    if _is_not_text(path):
        raise VolumeError(
            f"{path} cannot be written: its name is not valid UTF-8; choose "
            "another name"
        )
    parent = path.absolute().parent
    if not parent.is_dir():
        raise VolumeError(f"{path} cannot be written: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise VolumeError(
            f"{path} cannot be written: the folder {parent} is read-only for you"
        )
    check_not_in_use(path)
    check_free(path, overwrite=overwrite)


def _is_not_text(path: Path) -> bool:
    """Tell whether a name holds bytes that not all libraries can take."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return True
    return False


def check_free(path: Path, *, overwrite: bool) -> None:
    """Do what `check_new` does, for a place that the caller is the only writer of."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise VolumeError(
            f"{path} is not a regular file; results go to files and folders: choose "
            "another name"
        )
    if path.exists() and not overwrite:
        raise ResultExistsError(
            f"{path} exists already; choose another name, or ask to overwrite it"
        )


@contextmanager
def replacing(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Write beside `path`, and put the result in its place when it is complete.

    Parameters
    ----------
    path : Path
        File or folder to create or replace; of a link, what it points to.
    overwrite : bool
        Whether what is there may be replaced.

    Yields
    ------
    Path
        Hidden temporary name beside `path`, of the same suffix, where the block must
        create a file or a folder. It is removed if the block raises, and `path` is
        then as it was.

    Raises
    ------
    InUseError
        If another one writes to `path`.
    ResultExistsError, VolumeError
        If something is there that may not be replaced.
    OSError
        If the disk is full, or the like; it names a file.
    """
    path = follow_link(path)
    with only_writer(path), naming(path):
        _restore(path)
        # Now that nobody else writes: until then, another one may have ended.
        check_free(path, overwrite=overwrite)
        with written_beside(path) as temporary:
            yield temporary


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Do what `replacing` does, for a place that the caller is the only writer of."""
    temporary = part_of(path)
    remove(temporary)  # left by a killed run
    try:
        yield temporary
        with uninterrupted():
            _put_in_place(temporary, path)
    finally:
        remove(temporary)
        if path.exists():
            remove(former_of(path))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name a file in errors of the system that name none, such as of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends: for a few renames that belong together."""
    if threading.current_thread() is not threading.main_thread():
        yield  # which Ctrl-C does not reach
        return
    received: list[int] = []
    former = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former or signal.SIG_DFL)
    if received:
        signal.raise_signal(signal.SIGINT)


def write_labels_tiff(  # noqa: PLR0913 what the file carries comes along
    path: Path,
    slabs: Iterable[NDArray[Any]],
    *,
    shape: tuple[int, int, int],
    dtype: DTypeLike = np.uint8,
    voxel_size: VoxelSize | None = None,
    unit: str | None = None,
    phases: PhaseTable | None = None,
) -> None:
    """Stream slabs into one compressed OME-TIFF.

    Parameters
    ----------
    path : Path
        Replaced only when the new file is complete.
    slabs : iterable of ndarray, shape (n, y, x), of `dtype`
        In order of z; n may differ from slab to slab.
    shape : tuple of int
        Of the whole, z, y and x.
    dtype : dtype-like
        Of the voxels.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Of any known spelling; None or another, such as "pixel", where unknown.
    phases : PhaseTable, optional
        `open_volume` gives them back.

    Raises
    ------
    ValueError
        If a slab does not fit, or there are too few or too many slices.
    VolumeError
        If `path` is a folder.
    OSError
        If the disk is full, or the like.
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
                extratags=_phase_tags(phases),
                software=_SOFTWARE,
                buffersize=_BUFFER,
            )
        if any(len(slab) > 0 for slab in pending):
            raise _too_many(shape)


def is_ours(path: Path) -> bool:
    """Tell whether a file is a TIFF of `write_labels_tiff`."""
    try:
        with tifffile.TiffFile(path) as tif:
            return tif.pages.first.software == _SOFTWARE
    except READ_ERRORS:
        return False


def create_ome_zarr(  # noqa: PLR0913 what the image carries comes along
    path: Path,
    *,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: DTypeLike = np.uint8,
    voxel_size: VoxelSize | None = None,
    unit: str | None = None,
    phases: PhaseTable | None = None,
    name: str = "labels",
) -> zarr.Array[Any]:
    """Create an OME-Zarr 0.5 image of one level, for slabs to be written into.

    Parameters
    ----------
    path : Path
        Folder; a Zarr that is there is replaced.
    shape, chunks : tuple of int
        (z, y, x), or (channel, z, y, x).
    dtype : dtype-like
        Of the voxels.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Of any known spelling; None or another, such as "pixel", where unknown.
    phases : PhaseTable, optional
        `open_volume` gives them back.
    name : str
        Of the image, shown by viewers.

    Returns
    -------
    zarr.Array
        The full resolution, writable, 0 everywhere.

    Raises
    ------
    VolumeError
        If something is at `path` that is no Zarr.
    """
    if path.exists() and not is_zarr(path):
        raise VolumeError(
            f"{path} is there and is no Zarr; choose another name or remove it"
        )
    axes: list[dict[str, str]] = [{"name": axis, "type": "space"} for axis in "zyx"]
    if (known := known_unit(unit)) is not None:
        axes = [axis | {"unit": known} for axis in axes]
    if len(shape) == 4:
        axes.insert(0, {"name": "c", "type": "channel"})
    scale = [1.0] * (len(shape) - 3) + list(voxel_size or (1.0, 1.0, 1.0))
    level = {
        "path": "0",
        "coordinateTransformations": [{"type": "scale", "scale": scale}],
    }
    image = {"name": name, "axes": axes, "datasets": [level]}
    attributes: dict[str, Any] = {"ome": {"version": "0.5", "multiscales": [image]}}
    if phases is not None:
        attributes[PHASES_KEY] = {"phases": phases.to_dicts()}
    with replacing(path) as temporary:
        group = zarr.create_group(temporary, attributes=attributes, zarr_format=3)
        group.create_array(
            "0",
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            dimension_names=[axis["name"] for axis in axes],
        )
    return zarr.open_array(path / "0", mode="r+")


def create_in_memory(
    shape: tuple[int, ...], *, across: int, dtype: DTypeLike = np.uint8
) -> zarr.Array[Any]:
    """Create an array in memory, of which empty slices take none.

    Parameters
    ----------
    shape : tuple of int
    across : int
        Axis that slices lie across; -1 or less where all is one slice.
    dtype : dtype-like
        Of the voxels; that of labels by default.

    Returns
    -------
    zarr.Array
        0 everywhere.
    """
    return zarr.create_array(
        zarr.storage.MemoryStore(),
        shape=shape,
        chunks=tuple(1 if i == across else n for i, n in enumerate(shape)),
        dtype=dtype,
        compressors=None,
    )


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


def _phase_tags(phases: PhaseTable | None) -> list[tuple[int, str, int, str, bool]]:
    if phases is None:
        return []
    text = json.dumps({PHASES_KEY: {"phases": phases.to_dicts()}})
    return [(PHASES_TAG, "s", 0, text, True)]


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename, a folder in two steps, since none can replace a full one in one."""
    if temporary.is_file():
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
    if not path.is_dir() and (temporary.is_file() or not path.exists()):
        temporary.replace(path)
        return
    move_aside(path)
    try:
        temporary.replace(path)
    except OSError:
        former_of(path).replace(path)
        raise


def _restore(path: Path) -> None:
    """Undo what was killed between the two renames of a folder."""
    if not path.exists() and former_of(path).exists():
        former_of(path).replace(path)


def move_aside(path: Path) -> None:
    """Give `path` a hidden name, `former_of`; what an earlier one has left goes."""
    remove(former_of(path))
    path.replace(former_of(path))


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    # After one of Zarr's threads has failed, others may still be writing for a while.
    for _ in range(_REMOVALS):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(_PAUSE)
    shutil.rmtree(path)
