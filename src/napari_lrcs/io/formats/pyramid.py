"""Add coarser levels to an OME-Zarr image, so that viewers need not read all of it."""

import json
import math
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.ome_zarr import multiscales
from napari_lrcs.io.records import write_json

SMALL = 256
"""Sides of at most this many voxels are not halved."""

COARSEST = 512
"""Longest side of the coarsest level, in voxels: it fits on a screen."""


def add_levels(path: Path, *, n_levels: int | None = None) -> Iterator[float]:
    """Add levels to a complete image of `create_ome_zarr`.

    A level holds every second voxel, starting with the first, along each side of more
    than `SMALL` voxels: labels are never mixed. It is written chunk by chunk; chunks
    that the finest level does not have on disk are not read. Viewers see the levels
    only once all of them are complete; until then the call can be repeated.

    Parameters
    ----------
    path : Path
        OME-Zarr folder; its only level, or its finest, is "0".
    n_levels : int, optional
        Maximum number of levels to add; by default, levels are added until no side is
        longer than `COARSEST`.

    Yields
    ------
    float
        Share of the voxels that are written, 0 to 1.
    """
    group = zarr.open_group(path, mode="r+")
    source = _array(group, "0")
    axes = multiscales(group.attrs.asdict())[0]["axes"]
    steps = list(islice(_steps(source.shape), n_levels))
    shapes = [_coarser(source.shape, step) for step in steps]
    n_done, n_voxels = 0, sum(map(math.prod, shapes))
    for i, shape in enumerate(shapes):
        target = group.create_array(
            str(i + 1),
            shape=shape,
            chunks=tuple(map(min, source.chunks, shape)),
            dtype=source.dtype,
            dimension_names=[axis["name"] for axis in axes],
            overwrite=True,  # a killed run may have left one
        )
        # Read from the previous level, which holds all voxels that this one keeps.
        before = steps[i - 1] if i else (1,) * len(shape)
        step = tuple(now // then for now, then in zip(steps[i], before, strict=True))
        for n in _fill(target, source, step, written_chunks(path / str(i))):
            n_done += n
            yield n_done / n_voxels
        source = target
    _announce(path, steps)


def has_levels(path: Path) -> bool:
    """Return whether an image of `create_ome_zarr` has all levels of `add_levels`."""
    levels = levels_of(path)
    return len(levels) == 1 + len(list(_steps(levels[0].shape)))


def levels_of(path: Path) -> list[zarr.Array[Any]]:
    """Open all levels of an OME-Zarr image, the finest first, for a viewer.

    Parameters
    ----------
    path : Path
        OME-Zarr group, or a Zarr array, which is then the only level.

    Raises
    ------
    VolumeError
        If it is a group without an image.
    """
    node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        return [node]
    images = multiscales(node.attrs.asdict())
    if not images:
        raise VolumeError(f"{path.name} is a Zarr group without an image")
    return [_array(node, dataset["path"]) for dataset in images[0]["datasets"]]


def written_chunks(level: Path) -> set[tuple[int, ...]]:
    """List the chunks that an array of `create_ome_zarr` has on disk; others are 0.

    Parameters
    ----------
    level : Path
        Folder of the array.

    Returns
    -------
    set of tuple of int
        Index of each chunk along each axis.
    """
    n_axes = zarr.open_array(level, mode="r").ndim
    return {
        tuple(map(int, file.parts[-n_axes:]))
        for file in (level / "c").glob("/".join("*" * n_axes))
        if file.name.isdigit()  # a killed writer may have left other files
    }


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise VolumeError(f"{group.store_path}/{name} is a Zarr group, not an array")
    return array


def _steps(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield for each level how many voxels of the finest one a step spans per side."""
    step = (1,) * len(shape)
    while max(sides := _coarser(shape, step)) > COARSEST:
        step = tuple(
            2 * s if side > SMALL else s for s, side in zip(step, sides, strict=True)
        )
        yield step


def _coarser(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(-(-n // s) for n, s in zip(shape, step, strict=True))


def _fill(
    target: zarr.Array[Any],
    source: zarr.Array[Any],
    step: tuple[int, ...],
    written: set[tuple[int, ...]],
) -> Iterator[int]:
    """Write chunk by chunk, except empty ones; yield how many voxels are done."""
    n_passed = 0
    sides = zip(target.shape, target.chunks, strict=True)
    for starts in product(*(range(0, n, chunk) for n, chunk in sides)):
        region, picked, touched = [], [], []
        for i, start in enumerate(starts):
            stop = min(start + target.chunks[i], target.shape[i])
            region.append(slice(start, stop))
            # Up to the last voxel that is kept, and no chunk beyond.
            first, last = start * step[i], (stop - 1) * step[i]
            picked.append(slice(first, last + 1, step[i]))
            chunk = source.chunks[i]
            touched.append(range(first // chunk, last // chunk + 1))
        n_passed += math.prod(part.stop - part.start for part in region)
        if not written.isdisjoint(product(*touched)):
            target[tuple(region)] = np.asarray(source[tuple(picked)])
            yield n_passed
            n_passed = 0
    yield n_passed


def _announce(path: Path, steps: list[tuple[int, ...]]) -> None:
    """Add the levels to the image's metadata, with a single rename."""
    place = path / "zarr.json"
    metadata = json.loads(place.read_text(encoding="utf-8"))
    image = multiscales(metadata["attributes"])[0]
    finest = image["datasets"][0]
    sizes = finest["coordinateTransformations"][0]["scale"]
    # No translation: each level starts at the finest level's first voxel.
    image["datasets"] = [finest] + [
        {
            "path": str(i),
            "coordinateTransformations": [
                {
                    "type": "scale",
                    "scale": [s * n for s, n in zip(sizes, step, strict=True)],
                }
            ],
        }
        for i, step in enumerate(steps, 1)
    ]
    write_json(place, metadata)
