"""Open Zarr arrays and OME-Zarr images lazily, and create OME-Zarr images."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import DTypeLike
from zarr.storage import LocalStore, MemoryStore

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.label_metadata import (
    PHASES_KEY,
    label_metadata,
    stored_phases,
)
from napari_lrcs.io.formats.zarr_stores import WatchedStore
from napari_lrcs.io.lazy_arrays import READ_ERRORS
from napari_lrcs.io.paths import is_zarr
from napari_lrcs.io.provenance import Provenance, stored_provenance
from napari_lrcs.io.units import known_unit
from napari_lrcs.io.volume import (
    Volume,
    VoxelSize,
    as_volume,
    checked_volume,
    physical_size,
    wrong_axes,
)
from napari_lrcs.io.watching import Watched, moment_of_opening, signature
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import UNPAINTED, PhaseTable

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer

_SPATIAL = ("z", "y", "x")


def open_zarr(place: Path) -> Volume:
    """Open a Zarr array, or the finest level of an OME-Zarr image."""
    name, place = place.name, place.resolve()
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
        remedy = "transpose it so that these axes come last, in this order"
        raise wrong_axes(array.shape, names, name, remedy=remedy)
    is_stack_of_channels = names == "cyx" and array.shape[0] > 1
    if is_stack_of_channels or len(axes) != array.ndim:
        raise wrong_axes(array.shape, names, name)
    volume = checked_volume(
        array,
        name=name,
        axes=names,
        physical=_ngff_physical(axes, (level, images[0])),
        phases=_phases_in(attributes),
    )
    provenance = stored_provenance(attributes.get(PHASES_KEY, {}))
    volume = replace(volume, provenance=provenance)
    return _watched_zarr(volume, place, array.path)


def _watched_zarr(volume: Volume, place: Path, path: str = "") -> Volume:
    """Watch the array's metadata; the store watches its chunks."""
    folder = place / path
    known = (folder / "zarr.json", folder / ".zarray", place / ".zmetadata")
    metadata = [file for file in known if file.is_file()]
    array = Watched(volume.array, {file: signature(file) for file in metadata})
    level = folder.resolve()
    sources = (place,) if level.is_relative_to(place) else (place, level)
    return replace(volume, array=array, sources=sources)


def multiscales(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the images in the attributes of an OME-Zarr group; empty for others."""
    # Version 0.5 moved everything under "ome".
    images: list[dict[str, Any]] = attributes.get("ome", attributes).get(
        "multiscales", []
    )
    return images


def _ngff_physical(
    axes: Sequence[Mapping[str, str]], scaled: Iterable[Mapping[str, Any]]
) -> tuple[VoxelSize | None, str | None]:
    """Return the voxel size: the scale of a level times that of its image."""
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
    return physical_size(
        [sizes[i] for i in spatial], [axes[i].get("unit") for i in spatial]
    )


def _phases_in(attributes: Mapping[str, Any]) -> PhaseTable | None:
    """Read the phases that we, or another program, stored."""
    if PHASES_KEY in attributes:
        return stored_phases(attributes)
    content = attributes.get("ome", attributes).get("image-label")
    try:
        colours = {row["label-value"]: row["rgba"] for row in content["colors"]}
        rows = [
            {
                "label": row["label-value"],
                "name": row["name"],
                "colour": f"#{bytes(colours[row['label-value']][:3]).hex()}",
            }
            for row in content["properties"]
            if row["label-value"] != UNPAINTED
        ]
        return PhaseTable.from_dicts(sorted(rows, key=itemgetter("label")))
    except READ_ERRORS:  # there are no phases: no labels, or instances of something
        return None


def name_phases(attributes: dict[str, Any], phases: PhaseTable) -> None:
    """Store phases in the attributes of an OME-Zarr 0.5: our way, and OME-NGFF's.

    Parameters
    ----------
    attributes : dict
        Attributes of the image's group; phases in it are replaced.
    phases : PhaseTable
        Phases whose names and colours other viewers show.
    """
    attributes[PHASES_KEY] = {
        **attributes.get(PHASES_KEY, {}),
        **label_metadata(phases, None),
    }
    colours = {p.label: [*bytes.fromhex(p.colour[1:]), 255] for p in phases}
    attributes["ome"]["image-label"] = {
        "colors": [{"label-value": k, "rgba": rgba} for k, rgba in colours.items()],
        "properties": [{"label-value": p.label, "name": p.name} for p in phases],
    }


def create_ome_zarr(  # noqa: PLR0913 the image has all this metadata
    path: Path,
    *,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: DTypeLike = np.uint8,
    voxel_size: VoxelSize | None = None,
    unit: str | None = None,
    phases: PhaseTable | None = None,
    provenance: Provenance | None = None,
    name: str = "labels",
) -> zarr.Array[Any]:
    """Create an OME-Zarr 0.5 image with one level, to write slabs into.

    Parameters
    ----------
    path : Path
        Folder to create; an existing Zarr is replaced.
    shape, chunks : tuple of int
        (z, y, x), or (channel, z, y, x).
    dtype : dtype-like
        Type of the voxels.
    voxel_size : tuple of float, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Unit of length in any known spelling; an unknown one, such as "pixel", is left
        out.
    phases : PhaseTable, optional
        Phases of labels; `open_volume` returns them, and other viewers show them.
    provenance : Provenance, optional
        What a segmentation is of and was learnt from; `open_volume` returns it.
    name : str
        Name of the image, which viewers show.

    Returns
    -------
    zarr.Array
        The full resolution, writable, 0 everywhere.

    Raises
    ------
    VolumeError
        If `path` exists and is not a Zarr.
    """
    if path.exists() and not is_zarr(path):
        raise VolumeError(
            f"{path} exists and is not a Zarr; choose another name, or remove it"
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
    if provenance is not None:
        attributes[PHASES_KEY] = label_metadata(None, provenance)
    if phases is not None:
        name_phases(attributes, phases)
    # On a full disk, Zarr's threads would still write while we remove what they wrote.
    files: dict[str, Buffer] = {}
    group = zarr.create_group(MemoryStore(files), attributes=attributes, zarr_format=3)
    group.create_array(
        "0",
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        dimension_names=[axis["name"] for axis in axes],
    )
    with replacing(path) as temporary:
        for name, content in files.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.to_bytes())
    return zarr.open_array(path / "0", mode="r+")
