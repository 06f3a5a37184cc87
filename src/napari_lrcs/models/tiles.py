"""Apply a network to images of any size, whole or in tiles with the same result."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_lrcs.config import Precision
from napari_lrcs.models.device import arithmetic
from napari_lrcs.models.layers import SegmentationNetwork, pad_by_reflection


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A part of an image, and the larger part that its prediction depends on.

    Parameters
    ----------
    rows, columns : slice
        Of the image: what the tile answers for.
    read_rows, read_columns : slice
        Of the padded image: the tile and its halo.
    """

    rows: slice
    columns: slice
    read_rows: slice
    read_columns: slice

    def crop(self, logits: Tensor) -> Tensor:
        """Cut the halo off what the network made of it."""
        top = self.rows.start - self.read_rows.start
        left = self.columns.start - self.read_columns.start
        height = self.rows.stop - self.rows.start
        width = self.columns.stop - self.columns.start
        return logits[..., top : top + height, left : left + width]


def plan_tiles(
    shape: tuple[int, int], *, tile_size: int, halo: int, stride: int
) -> list[Tile]:
    """Cover an image with tiles whose edges lie on the network's stride.

    Parameters
    ----------
    shape : tuple of two ints
        Rows and columns of the image before padding.
    tile_size : int
        Largest side of a tile without its halo, rounded up to the stride.
    halo, stride : int
        Of the network.

    Returns
    -------
    list of Tile
        One for an image that fits. Those at the border of the padded image have no
        halo there: the border is the same as for the whole image.
    """
    side = math.ceil(tile_size / stride) * stride
    spans = [_spans(length, side=side, halo=halo, stride=stride) for length in shape]
    return [
        Tile(rows=rows, columns=columns, read_rows=read_rows, read_columns=read_columns)
        for rows, read_rows in spans[0]
        for columns, read_columns in spans[1]
    ]


def _spans(
    length: int, *, side: int, halo: int, stride: int
) -> list[tuple[slice, slice]]:
    padded = math.ceil(length / stride) * stride
    n_tiles = math.ceil(padded / side)
    # Tiles of about the same size: none is a sliver that is mostly halo.
    even = math.ceil(padded / n_tiles / stride) * stride
    return [
        (
            slice(start, min(start + even, length)),
            slice(max(0, start - halo), min(start + even + halo, padded)),
        )
        for start in range(0, length, even)
    ]


def apply_in_tiles(
    model: SegmentationNetwork,
    images: Tensor,
    tiles: list[Tile],
    *,
    precision: Precision = "float32",
) -> Iterator[tuple[Tile, Tensor]]:
    """Compute the logits tile by tile.

    Parameters
    ----------
    model : SegmentationNetwork
        In evaluation mode.
    images : Tensor, shape (B, C, H, W)
        Normalised, on the model's device.
    tiles : list of Tile
        From `plan_tiles` for (H, W).
    precision : str
        Resolved, of the convolutions.

    Yields
    ------
    tile : Tile
    logits : Tensor of float32, shape (B, n_phases, rows, columns)
        Of the tile, without its halo.
    """
    height, width = images.shape[-2:]
    padded = pad_by_reflection(images, (-height % model.stride, -width % model.stride))
    for tile in tiles:
        window = padded[..., tile.read_rows, tile.read_columns]
        window = window.to(model.dtype, memory_format=torch.channels_last)
        # Left before yielding: the consumer's own arithmetic is none of ours.
        with torch.inference_mode(), arithmetic(precision, images.device):
            logits = tile.crop(model.logits(window)).float()
        yield tile, logits


def tile_size_for(
    model: SegmentationNetwork, shape: tuple[int, int], *, memory: int
) -> int:
    """Choose the largest tile whose activations fit into `memory` bytes.

    Returns
    -------
    int
        Side without the halo; the whole image's longer side where that fits.
    """
    pixels = memory // model.bytes_per_pixel
    if shape[0] * shape[1] <= pixels:
        return max(shape)
    side = math.isqrt(pixels) - 2 * model.halo
    return max(model.stride, side // model.stride * model.stride)
