"""U-Net, the baseline that the paper compares its network with.

References
----------
Ronneberger, O., Fischer, P. & Brox, T. U-Net: convolutional networks for biomedical
image segmentation. MICCAI (2015). https://doi.org/10.1007/978-3-319-24574-4_28
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_lrcs.models.layers import NormalisedConv, SegmentationNetwork

N_LEVELS = 4
"""Poolings of the original: 64 to 1024 channels in five levels."""


class UNet(SegmentationNetwork):
    """Encoder and decoder joined by copies of the encoder's maps.

    As the original, but padded and normalised.

    Parameters
    ----------
    n_channels : int
        Grey images that the network sees at once.
    n_phases : int
        Maps of logits, at least 2.
    n_filters : int
        Channels of the finest level, doubled at each coarser one; 64 in the original.
    kernel_size : int
        Side of all kernels, odd; 3 in the original.
    """

    def __init__(
        self, *, n_channels: int, n_phases: int, n_filters: int, kernel_size: int
    ) -> None:
        super().__init__()
        k = kernel_size
        widths = [n_filters * 2**level for level in range(N_LEVELS + 1)]

        def block(n_in: int, n_out: int) -> nn.Sequential:
            return nn.Sequential(
                NormalisedConv(n_in, n_out, kernel_size=k),
                NormalisedConv(n_out, n_out, kernel_size=k),
            )

        fine_to_coarse = list(itertools.pairwise(widths))
        self.first = block(n_channels, n_filters)
        self.encoder = nn.ModuleList(block(a, b) for a, b in fine_to_coarse)
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in reversed(fine_to_coarse)
        )
        self.decoder = nn.ModuleList(block(2 * a, a) for a in reversed(widths[:-1]))
        self.classifier = nn.Conv2d(n_filters, n_phases, 1)
        self.path = (
            *(k, k),
            *("down", k, k) * N_LEVELS,
            *("up", k, k) * N_LEVELS,
            1,
        )
        # At the finest level c copied, c raised, 2c joined and c new maps live at once.
        self.n_phases = n_phases
        self.bytes_per_pixel = 40 * n_filters + 4 * (n_channels + 4 * n_phases)
        self._initialise()

    def _logits(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for block in self.encoder:
            maps.append(block(F.max_pool2d(maps[-1], 2)))
        x = maps.pop()
        for up, block in zip(self.ups, self.decoder, strict=True):
            x = block(torch.cat([maps.pop(), up(x)], dim=1))
        logits: Tensor = self.classifier(x)
        return logits
