"""A network like Xlearn's, from which the paper's network descends.

References
----------
Yang, X. et al. Low-dose x-ray tomography through a deep convolutional neural network.
Sci. Rep. 8, 2575 (2018). https://doi.org/10.1038/s41598-018-19426-7
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_lrcs.models.layers import Conv, SegmentationNetwork

_ENCODER = (1, 2, 2)
"""Widths of the two convolutions above each pooling, in units of the first."""

_BOTTLENECK = (4, 4, 4, 8)

_DECODER = (2, 2, 1)
"""Widths of the two convolutions below each doubling."""


class XlearnNet(SegmentationNetwork):
    """Encoder and decoder joined by copies of the encoder's maps, not normalised.

    As Xlearn has it, with three poolings; without the fully connected layers of its
    coarsest level, which fix the size of the image, and with one map a phase.

    Parameters
    ----------
    n_channels : int
        Grey images that the network sees at once.
    n_phases : int
        Maps of logits, at least 2.
    n_filters : int
        Channels of the finest level; 32 in the original.
    kernel_size : int
        Side of all kernels, odd; 3 in the original.
    """

    def __init__(
        self, *, n_channels: int, n_phases: int, n_filters: int, kernel_size: int
    ) -> None:
        super().__init__()
        k, c = kernel_size, n_filters

        def block(n_in: int, *widths: int) -> nn.ModuleList:
            channels = (n_in, *(c * width for width in widths))
            return nn.ModuleList(
                Conv(a, b, kernel_size=k) for a, b in itertools.pairwise(channels)
            )

        copied = [c * width for width in _ENCODER]
        self.encoder = nn.ModuleList(
            block(n_in, width, width)
            for n_in, width in zip((n_channels, *copied), _ENCODER, strict=False)
        )
        self.bottleneck = block(copied[-1], *_BOTTLENECK)
        raised = [c * width for width in (_BOTTLENECK[-1], *_DECODER)]
        self.decoder = nn.ModuleList(
            block(n_in + copy, width, width)
            for n_in, copy, width in zip(
                raised, reversed(copied), _DECODER, strict=False
            )
        )
        self.classifier = Conv(c, n_phases, kernel_size=k)
        n_levels = len(_ENCODER)
        self.path = (
            *(k, k, "down") * n_levels,
            *(k,) * len(_BOTTLENECK),
            *("up", k, k) * n_levels,
            k,
        )
        # At the finest level c copied, 2c raised, 3c joined, c new maps live at once.
        self.n_phases = n_phases
        self.bytes_per_pixel = 28 * c + 4 * (n_channels + 4 * n_phases)
        self._initialise()

    def _logits(self, x: Tensor) -> Tensor:
        maps = []
        for block in self.encoder:
            x = _through(block, x)
            maps.append(x)
            x = F.max_pool2d(x, 2)
        x = _through(self.bottleneck, x)
        for block in self.decoder:
            raised = F.interpolate(x, scale_factor=2, mode="nearest")
            x = _through(block, torch.cat([raised, maps.pop()], dim=1))
        logits: Tensor = self.classifier(x)
        return logits


def _through(block: nn.Module, x: Tensor) -> Tensor:
    for conv in block.children():
        x = F.relu_(conv(x))
    return x
