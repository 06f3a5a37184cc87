"""The maps of a layer for one slice, and the way of a slice through the network."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_lrcs.inference.estimate import amount, fits_memory, free_memory
from napari_lrcs.inspection.findings import Computing, Layer, Maps, Stop, Way
from napari_lrcs.inspection.recording import (
    ACTIVATIONS,
    NORMALISATION,
    PLACES,
    layer_named,
    layers_of,
    recording,
)
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.device import memory_error_for
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.tiles import Tile, apply_in_tiles, plan_tiles, tile_size_for
from napari_lrcs.preprocessing.slices import SliceReader

_TILE_MEMORY = 2**29

_WAY_SIDE = 512
"""Longest side, in pixels, of the part of a slice whose way is drawn."""

_N_SHOWN = 4
"""Maps that are shown of each layer."""

_CPU = torch.device("cpu")


def compute_maps(
    volume: Volume,
    checkpoint: Checkpoint,
    index: int,
    *,
    layer: str,
    mask: Volume | None = None,
) -> Iterator[Computing | Maps]:
    """Compute the maps of a layer for one slice, on the processor.

    A large slice is computed in tiles, with the same result.

    Parameters
    ----------
    volume : Volume
        Grey levels, as in the training volume.
    index : int
        Place of the slice along the checkpoint's axis.
    layer : str
        Name of one of `layers_of` the network.
    mask : Volume of bool, optional
        Field of view; voxels outside may be NaN.

    Yields
    ------
    Computing or Maps
        The share that is done, after each tile; the maps last.

    Raises
    ------
    ValueError
        If there is no such layer or slice.
    VolumeError
        If the slice holds NaN or infinity.
    MemoryError
        If the maps do not fit into memory.
    """
    network = checkpoint.build()
    found = layer_named(layers_of(network), layer)
    image = read_image(volume, checkpoint, index, mask=mask)
    shape = image.shape[-2], image.shape[-1]
    _check_memory(found, shape)
    values = np.empty((found.n_maps, *found.shape(shape)), np.float32)
    tiles = plan_tiles(
        shape,
        tile_size=tile_size_for(network, shape, memory=_TILE_MEMORY),
        halo=network.halo,
        stride=network.stride,
    )
    for n_done, tile in enumerate(tiles, start=1):
        with memory_error_for(_CPU, f"for the maps of {layer}; free some"):
            _fill(values, network, image, tile, found)
        yield Computing(share=n_done / len(tiles))
    axis = checkpoint.config.preprocessing.axis
    yield Maps(layer=found, values=values, axis=axis, index=index)


def read_image(
    volume: Volume, checkpoint: Checkpoint, index: int, *, mask: Volume | None = None
) -> Tensor:
    """Read what the network sees of a slice.

    Returns
    -------
    Tensor of float32, shape (1, n_channels, rows, columns)
        The slice and its neighbours, filtered and normalised.

    Raises
    ------
    ValueError, VolumeError
        As `compute_maps` does.
    """
    reader = SliceReader.for_config(volume, checkpoint.config, mask=mask)
    if not 0 <= index < reader.n_slices:
        raise ValueError(
            f"slice {reader.axis}={index} does not exist: {volume.name} has slices 0 "
            f"to {reader.n_slices - 1} along {reader.axis}"
        )
    image = checkpoint.normalisation(reader.read(index, index + 1))
    return torch.from_numpy(image)[None]


def _check_memory(layer: Layer, shape: tuple[int, int]) -> None:
    rows, columns = layer.shape(shape)
    needed = 4 * layer.n_maps * rows * columns
    if not fits_memory(needed):
        raise MemoryError(
            f"the {layer.n_maps} maps of {layer.name} need {amount(needed)} of "
            f"memory, but may take only half of the {amount(free_memory())} that are "
            "free; choose a coarser layer, or crop the image"
        )


def _fill(
    values: NDArray[np.float32],
    network: SegmentationNetwork,
    image: Tensor,
    tile: Tile,
    layer: Layer,
) -> None:
    """Compute the maps of a tile, and put those of its own pixels in their place."""
    rows, rows_within = _coarse(tile.rows, tile.read_rows, step=layer.step)
    columns, columns_within = _coarse(tile.columns, tile.read_columns, step=layer.step)

    def keep(_name: str, _kind: str, maps: Tensor) -> None:
        values[:, rows, columns] = maps[0, :, rows_within, columns_within].numpy()

    with recording(network, keep, only=layer.name):
        list(apply_in_tiles(network, image, [tile]))


def _coarse(own: slice, read: slice, *, step: int) -> tuple[slice, slice]:
    """Return a tile's own pixels on a map of the slice, and on one of what it reads."""
    start, stop = own.start // step, -(-own.stop // step)
    first = read.start // step
    return slice(start, stop), slice(start - first, stop - first)


# ---- the way of an image ----


def compute_way(
    volume: Volume, checkpoint: Checkpoint, index: int, *, mask: Volume | None = None
) -> Way:
    """Follow a slice through the network: the most varied maps of its layers.

    Only the middle of a large slice is computed, at most 512 pixels along each side.

    Parameters
    ----------
    volume, checkpoint, index, mask
        As of `compute_maps`.

    Raises
    ------
    ValueError, VolumeError
        As `compute_maps` does.
    """
    network = checkpoint.build()
    image = _middle(read_image(volume, checkpoint, index, mask=mask))
    shown = _stops_of(layers_of(network))
    shape = image.shape[-2:]
    stops: list[Stop] = []

    def keep(name: str, _kind: str, maps: Tensor) -> None:
        if name in shown:
            stops.append(_stop(shown[name], maps[0], shown[name].shape(shape)))

    with (
        memory_error_for(_CPU, "to follow the slice; free some"),
        torch.inference_mode(),
        recording(network, keep),
    ):
        logits = network(image)
    labels = (logits[0].argmax(dim=0) + 1).numpy().astype(np.uint8)
    own = image[0, image.shape[1] // 2].numpy()
    return Way(image=own, stops=tuple(stops), labels=labels, phases=checkpoint.phases)


def _middle(image: Tensor) -> Tensor:
    rows, columns = (
        slice(start := max(0, (n - _WAY_SIDE) // 2), start + min(n, _WAY_SIDE))
        for n in image.shape[-2:]
    )
    return image[..., rows, columns]


def _stops_of(layers: tuple[Layer, ...]) -> dict[str, Layer]:
    """Choose the layers to show: of a convolution, what the next layer is given."""
    maps = [layer for layer in layers if layer.kind != PLACES]
    finishing = (*ACTIVATIONS, NORMALISATION)
    return {
        layer.name: layer
        for layer, following in zip(maps, [*maps[1:], None], strict=True)
        if following is None
        or following.step != layer.step
        or following.kind not in finishing
    }


def _stop(layer: Layer, maps: Tensor, shape: tuple[int, int]) -> Stop:
    """Choose the maps that vary most, in their own order."""
    rows, columns = shape
    seen = maps[:, :rows, :columns]
    spread = seen.flatten(1).std(dim=1, correction=0)
    numbers = sorted(spread.topk(min(_N_SHOWN, len(seen))).indices.tolist())
    return Stop(layer=layer, numbers=tuple(numbers), values=seen[numbers].numpy())
