"""LRCS-Net, the network of the paper.

References
----------
Su, Z. et al. Artificial neural network approach for multiphase segmentation of battery
electrode nano-CT images. npj Comput. Mater. 8, 30 (2022).
https://doi.org/10.1038/s41524-022-00709-7, Fig. 2 and Methods.
"""

import itertools
from functools import partial

import torch
from torch import Tensor, nn

from napari_lrcs.models.layers import (
    Conv,
    ConvBlock,
    NormalisedConv,
    Operation,
    SegmentationNetwork,
    leaky_relu,
    max_pool,
    max_unpool,
)


class LRCSNet(SegmentationNetwork):
    """Encoder and decoder joined by the places of the pooled maxima.

    The encoder has three indexed poolings and no normalisation and ends in a sigmoid;
    the decoder has eight normalised convolutions and three un-poolings.

    Parameters
    ----------
    n_channels : int
        Grey images that the network sees at once: a slice and its neighbours.
    n_phases : int
        Maps of logits, at least 2.
    n_filters : int
        Width c of the network; the paper's best is 32.
    kernel_size : int
        Side of all kernels, odd; the paper's best is 5.
    n_bottleneck_convs : int
        Convolutions of the encoder below its last pooling: 2 in the paper ("in total
        five layers of convolution"), 1 in SegmentPy.
    skip_connections : bool
        Whether the decoder is also given the encoder's maps, as in a U-Net; not in the
        paper, whose un-poolings carry the places of the maxima alone.
    """

    def __init__(
        self,
        *,
        n_channels: int,
        n_phases: int,
        n_filters: int = 32,
        kernel_size: int = 5,
        n_bottleneck_convs: int = 2,
        skip_connections: bool = False,
    ) -> None:
        super().__init__()
        k, c = kernel_size, n_filters
        s = self._skips = int(skip_connections)

        conv = partial(Conv, kernel_size=k)

        def block(*widths: int) -> ConvBlock:
            pairs = itertools.pairwise(widths)
            return ConvBlock(*(NormalisedConv(a, b, kernel_size=k) for a, b in pairs))

        self.encoder = nn.ModuleList(
            [conv(n_channels, 2 * c), conv(2 * c, 2 * c), conv(2 * c, 4 * c)]
        )
        self.bottleneck = nn.ModuleList(
            conv(4 * c, 4 * c) for _ in range(n_bottleneck_convs)
        )
        self.decoder = nn.ModuleList(
            [
                block(4 * c, 4 * c, 4 * c),
                block((1 + s) * 4 * c, 4 * c, 2 * c),
                block((1 + s) * 2 * c, 2 * c, 2 * c),
                block((1 + s) * 2 * c, c, c),
            ]
        )
        self.classifier = conv(c, n_phases)
        down: tuple[Operation, ...] = (k, "down")
        up: tuple[Operation, ...] = ("up", k, k)
        self.path = (*down * 3, *(k,) * (n_bottleneck_convs + 2), *up * 3, k)
        # In the finest block 2c maps, their un-pooled copies, c new ones and the places
        # of the maxima live at once; with skips, 2c of the encoder and c more new ones.
        self.n_phases = n_phases
        self.bytes_per_pixel = (32 + 12 * s) * c + 4 * (n_channels + 4 * n_phases)
        self._initialise()

    def _logits(self, x: Tensor) -> Tensor:
        places, skipped = [], []
        for conv in self.encoder:
            # The activation rises everywhere, so it may follow the pooling: a quarter
            # of the work, the same values.
            maps = conv(x)
            x, where = max_pool(maps)
            x = leaky_relu(x)
            places.append(where)
            skipped.append([maps] * self._skips)
        *inner, last = self.bottleneck
        for conv in inner:
            x = leaky_relu(conv(x))
        x = torch.sigmoid(last(x))
        coarsest, *finer = self.decoder
        x = coarsest(x)
        for block in finer:
            x = block(max_unpool(x, places.pop()), *skipped.pop())
        logits: Tensor = self.classifier(x)
        return logits
