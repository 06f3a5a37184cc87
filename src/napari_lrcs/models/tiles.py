"""Apply a network to images of any size, whole or in tiles with the same result.

`models.layers.halo_of` computes how far a halo reaches.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_lrcs.config import Precision
from napari_lrcs.models.device import arithmetic, memory_error_for, release_memory
from napari_lrcs.models.layers import SegmentationNetwork, pad_by_reflection
from napari_lrcs.progress import Notice

_SMALLEST_TILE = 64
"""Below this a tile is mostly halo, and memory is short for another reason."""

Target = tuple[Tensor, Callable[[Tensor], Tensor]]
"""A tensor to be filled on the CPU, shape (…, images, rows, columns), and what makes
its values from logits of shape (B, n_phases, rows, columns)."""


class TiledNetwork:
    """A network for images of one size, however large; takes less when memory runs out.

    Parameters
    ----------
    model : SegmentationNetwork
        In evaluation mode, on its device.
    shape : tuple of two ints
        Rows and columns of the images.
    precision : str
        Resolved, of the convolutions.
    memory : int
        Bytes that its activations may take to begin with.
    tile_size : int
        Largest side of a tile; 0 for what the memory allows.

    Attributes
    ----------
    tiles : list of Tile
        Those of an image at present.
    """

    def __init__(
        self,
        model: SegmentationNetwork,
        shape: tuple[int, int],
        *,
        precision: Precision,
        memory: int,
        tile_size: int = 0,
    ) -> None:
        self.precision = precision
        self._model = model
        self._shape = shape
        self._memory = memory
        self._largest = tile_size
        self._plan()

    def _plan(self) -> None:
        fitting = tile_size_for(self._model, self._shape, memory=self._memory)
        self._tile_size = min(fitting, self._largest or fitting)
        self.tiles = plan_tiles(
            self._shape,
            tile_size=self._tile_size,
            halo=self._model.halo,
            stride=self._model.stride,
        )
        pixels = max(tile.n_pixels_read for tile in self.tiles)
        self._batch_size = max(
            1, self._memory // (pixels * self._model.bytes_per_pixel)
        )

    def fill(
        self, targets: Sequence[Target], images: Tensor
    ) -> Iterator[float | Notice]:
        """Run the network, and put what is made of its logits into tensors.

        Parameters
        ----------
        targets : sequence of (Tensor, callable)
            See `Target`.
        images : Tensor of float32, shape (n, C, rows, columns)
            Normalised, on the CPU.

        Yields
        ------
        float or Notice
            The share that is done, after each tile; a notice when memory has run out
            and smaller parts are tried.

        Raises
        ------
        MemoryError
            If there is not enough memory for the smallest part.
        """
        n, start = len(images), 0
        while start < n:
            batch = slice(start, min(start + self._batch_size, n))
            try:
                for share in self._fill_batch(targets, images, batch):
                    yield (start + share * (batch.stop - start)) / n
                start = batch.stop
                continue
            except MemoryError:
                if not self._can_shrink:
                    raise
            # After the exception, whose traceback holds on to the tensors.
            yield self._shrink()

    def _fill_batch(
        self, targets: Sequence[Target], images: Tensor, batch: slice
    ) -> Iterator[float]:
        with memory_error_for(
            self._model.device,
            "for the smallest tile; free some, or use another device",
        ):
            logits_of_tiles = apply_in_tiles(
                self._model,
                images[batch].to(self._model.device),
                self.tiles,
                precision=self.precision,
            )
            for i, (tile, logits) in enumerate(logits_of_tiles):
                for target, reduce in targets:
                    place = (..., batch, tile.rows, tile.columns)
                    target[place] = reduce(logits).cpu()
                yield (i + 1) / len(self.tiles)

    @property
    def _can_shrink(self) -> bool:
        return self._batch_size > 1 or self._tile_size > _SMALLEST_TILE

    def _shrink(self) -> Notice:
        before = self._batch_size, self._tile_size
        while (self._batch_size, self._tile_size) == before:
            self._memory //= 2
            self._plan()
        release_memory(self._model.device)
        return Notice(
            kind="out_of_memory",
            text=f"out of memory on {self._model.device}; continuing with tiles of "
            f"{self._tile_size} px",
        )


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

    @property
    def n_pixels_read(self) -> int:
        """Pixels of the tile and its halo."""
        height = self.read_rows.stop - self.read_rows.start
        width = self.read_columns.stop - self.read_columns.start
        return int(height * width)

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
