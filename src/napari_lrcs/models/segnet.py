"""SegNet, from which the paper's network descends.

References
----------
Badrinarayanan, V., Kendall, A. & Cipolla, R. SegNet: a deep convolutional
encoder-decoder architecture for image segmentation. IEEE Trans. Pattern Anal. Mach.
Intell. 39, 2481-2495 (2017). https://doi.org/10.1109/TPAMI.2016.2644615
"""

import itertools

from torch import Tensor, nn

from napari_lrcs.models.layers import (
    Conv,
    NormalisedConv,
    Operation,
    SegmentationNetwork,
    max_pool,
    max_unpool,
)

_ENCODER: tuple[tuple[int, ...], ...] = (
    (1, 1),
    (2, 2),
    (4, 4, 4),
    (8, 8, 8),
    (8, 8, 8),
)
"""Widths of the convolutions above each pooling, in units of the first: those of VGG16,
"the first 13 convolutional layers"."""

_DECODER: tuple[tuple[int, ...], ...] = ((8, 8, 8), (8, 8, 4), (4, 4, 2), (2, 1), (1,))
"""Widths below each un-pooling, where the classifier is the thirteenth."""


class SegNet(SegmentationNetwork):
    """Encoder of VGG16 and its mirror, joined by the places of the pooled maxima.

    Parameters
    ----------
    n_channels : int
        Grey images that the network sees at once.
    n_phases : int
        Maps of logits, at least 2.
    n_filters : int
        Channels of the finest level; 64 in the original.
    kernel_size : int
        Side of all kernels, odd; 3 in the original.
    """

    def __init__(
        self, *, n_channels: int, n_phases: int, n_filters: int, kernel_size: int
    ) -> None:
        super().__init__()
        k, c = kernel_size, n_filters

        def block(n_in: int, widths: tuple[int, ...]) -> nn.Sequential:
            channels = (n_in, *(c * width for width in widths))
            return nn.Sequential(
                *(
                    NormalisedConv(a, b, kernel_size=k, negative_slope=0)
                    for a, b in itertools.pairwise(channels)
                )
            )

        deepest = c * _ENCODER[-1][-1]
        entering = (n_channels, *(c * widths[-1] for widths in _ENCODER))
        leaving = (deepest, *(c * widths[-1] for widths in _DECODER))
        self.encoder = nn.ModuleList(map(block, entering, _ENCODER))
        self.decoder = nn.ModuleList(map(block, leaving, _DECODER))
        self.classifier = Conv(c, n_phases, kernel_size=k)
        path: list[Operation] = []
        for widths in _ENCODER:
            path += [*(k,) * len(widths), "down"]
        for widths in _DECODER:
            path += ["up", *(k,) * len(widths)]
        self.path = (*path, k)
        # At the finest level c maps, their un-pooled copies, c new ones and the places
        # of the maxima live at once.
        self.n_phases = n_phases
        self.bytes_per_pixel = 24 * c + 4 * (n_channels + 4 * n_phases)
        self._initialise()

    def _logits(self, x: Tensor) -> Tensor:
        places = []
        for block in self.encoder:
            x, where = max_pool(block(x))
            places.append(where)
        for block in self.decoder:
            x = block(max_unpool(x, places.pop()))
        logits: Tensor = self.classifier(x)
        return logits
