"""Open volumes in HDF5 files, in the layouts of common beamline programs."""

import posixpath
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from napari_lrcs.errors import SeveralVolumesError, VolumeError
from napari_lrcs.io.formats.hdf5_sources import (
    check_sources,
    decoded,
    find_dataset,
    find_group,
    read_values,
)
from napari_lrcs.io.units import METRES
from napari_lrcs.io.volume import Volume, VoxelSize, as_volume, physical_size
from napari_lrcs.io.watching import signature, watched


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where a program puts its volume and the size of the voxels.

    In paths, ``*`` stands for the name of any group. All paths except that of the
    volume are relative to the volume's group.
    """

    volume: str
    """Its path; ``@signal`` is the dataset that its NeXus group names, or ``data``."""
    definition: str = ""
    """NeXus definition that the volume's entry must have."""
    sizes: tuple[str, ...] = ()
    """Datasets with one or three sides of a voxel; the first that exists is used."""
    axes: tuple[str, ...] = ()
    """Datasets of positions along the three axes, unless the NeXus group names them."""
    unit: str | None = None
    """Unit of the sizes if the file gives none."""
    binning: str = ""
    """Dataset that says how often the sides were doubled after the sizes were saved."""


_LAYOUTS = (
    # Data Exchange (De Carlo et al. 2014, 10.1107/S160057751401604X), tomocupy
    _Layout(
        volume="/exchange/data",
        sizes=("/measurement/instrument/detection_system/objective/resolution",),
        unit="micrometer",
        binning="/process/*/*/binning",
    ),
    # nabu and tomoscan; the second name until nabu 2023.1
    _Layout(
        volume="/*/reconstruction/results/data",
        sizes=(
            "../configuration/processing_options/reconstruction/voxel_size_cm",
            "../configuration/processing_options/reconstruction/pixel_size_cm",
        ),
        unit="centimeter",
    ),
    # NXtomoproc, as Mantid Imaging writes it
    _Layout(volume="/*/data/@signal", definition="NXtomoproc", axes=("x", "y", "z")),
    # httomo
    _Layout(volume="/data"),
)


def open_hdf5(place: Path, dataset: str | None) -> Volume:
    """Open a volume of an HDF5 file without reading a voxel.

    Parameters
    ----------
    place : Path
        HDF5 file.
    dataset : str or None
        Path of the volume; if None, that of the first known layout that matches, or the
        only 3D dataset.

    Returns
    -------
    Volume
        Its sources are the file, and the source files of a virtual dataset.

    Raises
    ------
    SeveralVolumesError
        If `dataset` is None and the file holds several volumes.
    VolumeError
        If there is no such dataset, or if one of its sources is missing or not allowed.
    """
    signatures = {place.resolve(): signature(place)}
    file = h5py.File(place, "r")
    node = _default_volume(file) if dataset is None else find_dataset(file, dataset)
    if node is None:
        raise _no_dataset(file, f"dataset {dataset}" if dataset else "3D dataset")
    check_sources(node, signatures)
    voxel_size, unit = _physical(file, node)
    volume = as_volume(node, name=place.name, voxel_size=voxel_size, unit=unit)
    return watched(volume, signatures)


def _default_volume(file: h5py.File) -> h5py.Dataset | None:
    for layout in _LAYOUTS:
        if nodes := _volumes(file, layout):
            return _only(file, nodes)
    shapes = _shapes(file)
    nodes = [file[path] for path, shape in shapes.items() if len(shape) == 3]
    largest_first = sorted(nodes, key=lambda node: node.size, reverse=True)
    return _only(file, largest_first) if nodes else None


def _volumes(file: h5py.File, layout: _Layout) -> list[h5py.Dataset]:
    """Find the datasets that match a layout, each once even if it has two paths."""
    found = [
        find_dataset(file, path)
        for path in _expand(file, layout.volume)
        if not layout.definition
        or _text(file, f"/{path.split('/')[1]}/definition") == layout.definition
    ]
    nodes = (node for node in found if node is not None and len(node.shape or ()) > 1)
    return list(dict.fromkeys(nodes))


def _expand(file: h5py.File, pattern: str) -> list[str]:
    """List the paths that a pattern stands for, whether they exist or not."""
    paths = [""]
    for part in pattern.strip("/").split("/"):
        paths = [
            f"{path}/{name}" for path in paths for name in _names(file, path, part)
        ]
    return paths


def _names(file: h5py.File, path: str, part: str) -> list[str]:
    if part not in ("*", "@signal"):
        return [part]
    group = find_group(file, path or "/")
    if group is None:
        return []
    if part == "@signal":
        return [decoded(group.attrs.get("signal")) or "data"]
    return [name for name in group if find_group(group, name) is not None]


def _only(file: h5py.File, nodes: list[h5py.Dataset]) -> h5py.Dataset:
    if len(nodes) == 1:
        return nodes[0]
    name = Path(file.filename).name
    shapes = {node.name: node.shape for node in nodes}
    listing = ", ".join(f"{path} {shape}" for path, shape in shapes.items())
    raise SeveralVolumesError(
        f"{name} holds {len(nodes)} volumes: {listing}; choose one, as in "
        f"{name}:{nodes[0].name}",
        shapes,
    )


def _no_dataset(file: h5py.File, wanted: str) -> VolumeError:
    name = Path(file.filename).name
    listing = ", ".join(f"{path} {shape}" for path, shape in _shapes(file).items())
    return VolumeError(
        f"{name} has no {wanted}; it holds {listing or 'no dataset'}: choose one, as "
        f"in {name}:/path/to/dataset"
    )


def _shapes(file: h5py.File) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}

    def collect(path: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            shapes[f"/{path}"] = node.shape or ()

    file.visititems(collect)
    return shapes


# Voxel sizes


def _physical(
    file: h5py.File, node: h5py.Dataset
) -> tuple[VoxelSize | None, str | None]:
    """Read the voxel size of a volume, if the file has one where a layout puts it."""
    for layout in _LAYOUTS:
        with suppress(VolumeError):  # the layout's volume may be in another file
            if node in _volumes(file, layout):
                return _voxel_size(file, node, layout)
    return None, None


def _voxel_size(
    file: h5py.File, node: h5py.Dataset, layout: _Layout
) -> tuple[VoxelSize | None, str | None]:
    sides = [*_noted_sides(file, node, layout), *_axis_steps(file, node, layout)]
    if len(sides) != 3:
        return None, None
    binning = [_text(file, path) for path in _expand(file, layout.binning)]
    factor = 2 ** max((int(n) for n in binning if re.fullmatch("[0-9]", n)), default=0)
    lengths, units = zip(*sides, strict=True)
    size, unit = physical_size([length * factor for length in lengths], units)
    if size is None or unit is None:
        return size, unit
    # nabu's centimetres are hard to read.
    scale = METRES[unit] / METRES["micrometer"]
    z, y, x = (float(f"{length * scale:.12g}") for length in size)
    return (z, y, x), "micrometer"


_Side = tuple[float, str | None]


def _noted_sides(
    file: h5py.File, node: h5py.Dataset, layout: _Layout
) -> Iterator[_Side]:
    for path in layout.sizes:
        sides, unit = _numbers(file, _beside(node, path))
        if len(sides) in (1, 3):
            sides = sides * (3 // len(sides))
            yield from ((side, unit or layout.unit) for side in sides)
            return


def _axis_steps(
    file: h5py.File, node: h5py.Dataset, layout: _Layout
) -> Iterator[_Side]:
    for path in layout.axes and (_axes_of(node.parent) or layout.axes):
        places, unit = _numbers(file, _beside(node, path))
        if len(places) > 1:
            yield abs(places[1] - places[0]), unit


def _axes_of(group: h5py.Group) -> list[str]:
    """List the axes that a NeXus group names."""
    names = np.atleast_1d(group.attrs.get("axes", ()))
    return [decoded(name) for name in names] if len(names) == 3 else []


def _beside(node: h5py.Dataset, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(node.name), path))


def _numbers(file: h5py.File, path: str) -> tuple[list[float], str]:
    """Read the first few numbers of a dataset, and their unit."""
    values, unit = read_values(file, path)
    if values.dtype.kind not in "iuf":
        return [], unit
    # A float32 of 0.65 becomes 0.65, not 0.6499999761581421.
    return [float(str(value)) for value in values[:4]], unit


def _text(file: h5py.File, path: str) -> str:
    values, _ = read_values(file, path)
    return decoded(values[0]) if len(values) == 1 else ""
