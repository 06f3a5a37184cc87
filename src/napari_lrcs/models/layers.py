"""Building blocks that the networks share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_lrcs.models.kernel_gradient import convolve
from napari_lrcs.models.responses import append_responses, reach_of
from napari_lrcs.models.turns import average_turns

NEGATIVE_SLOPE = 0.2
"""Of the leaky ReLU: SegmentPy's default, the paper gives none."""


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """Halve an image by the maxima of its 2×2 windows and remember where they were.

    On a CPU these are PyTorch's own kernels. Elsewhere, where those are not
    deterministic, and for ONNX, which lacks them, comparisons and choices do the same,
    in the order in which the channels lie in memory.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        `H` and `W` are even.

    Returns
    -------
    pooled : Tensor, shape (B, C, H / 2, W / 2)
        Equal to ``nn.MaxPool2d(2)``, the first of equal values included.
    where : Tensor, same shape as `pooled`
        The places of the maxima, for `max_unpool`.
    """
    if x.is_cpu and not _exporting():
        return F.max_pool2d(x, 2, return_indices=True)
    top, is_right = _larger(x[:, :, ::2, ::2], x[:, :, ::2, 1::2])
    bottom, is_right_below = _larger(x[:, :, 1::2, ::2], x[:, :, 1::2, 1::2])
    pooled, is_below = _larger(top, bottom)
    return pooled, torch.where(is_below, is_right_below.byte() + 2, is_right.byte())


def max_unpool(x: Tensor, where: Tensor) -> Tensor:
    """Double an image: each value goes where its maximum was, zeros elsewhere.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
    where : Tensor, shape (B, C, H, W)
        As `max_pool` gave it.

    Returns
    -------
    Tensor, shape (B, C, 2 H, 2 W)
        Equal to ``nn.MaxUnpool2d(2)``.
    """
    if where.dtype == torch.int64:  # PyTorch's own indices
        # Autocast would compute it in float32, for nothing: it only moves values.
        with torch.autocast(x.device.type, enabled=False):
            return F.max_unpool2d(x, where, (2, 2))
    if _exporting():
        return _unpool_without_sizes(x, where)
    return _unpool_by_comparison(x, where)


def _unpool_by_comparison(x: Tensor, where: Tensor) -> Tensor:
    places = torch.arange(4, dtype=where.dtype, device=x.device).reshape(2, 1, 2, 1)
    # Computed with the channels last, as the convolutions of a GPU want them.
    values, where = (
        part.permute(0, 2, 3, 1)[:, :, None, :, None] for part in (x, where)
    )
    windows = values * (where == places)
    return windows.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _unpool_without_sizes(x: Tensor, where: Tensor) -> Tensor:
    """Do the same, but leave no size of an image in a graph that is traced."""
    copies = torch.arange(4 * x.shape[1], device=x.device)
    channels, places = copies // 4, (copies % 4).to(where.dtype)
    is_there = where.index_select(1, channels) == places[:, None, None]
    return F.pixel_shuffle(x.index_select(1, channels) * is_there, 2)


def _larger(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    is_second = second > first
    return torch.where(is_second, second, first), is_second


def _exporting() -> bool:
    return torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export()


def leaky_relu(x: Tensor, negative_slope: float = NEGATIVE_SLOPE) -> Tensor:
    """Apply the networks' activation in place."""
    return F.leaky_relu_(x, negative_slope)


class Conv(nn.Conv2d):
    """Convolution that keeps the size of maps, which may come in parts, as if joined.

    It adds up what each part gives, which takes less time and memory than to join them.
    """

    def __init__(
        self, n_in: int, n_out: int, *, kernel_size: int, bias: bool = True
    ) -> None:
        super().__init__(n_in, n_out, kernel_size, padding="same", bias=bias)

    def forward(self, *parts: Tensor) -> Tensor:
        """Map parts (B, C of the part, H, W) to (B, n_out, H, W)."""
        weights: Sequence[Tensor] = torch.split(
            self.weight, [part.shape[1] for part in parts], dim=1
        )
        total = convolve(parts[0], weights[0], self.bias)
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total += convolve(part, weight, None)
        return total


class NormalisedConv(nn.Module):
    """Convolution without a bias, batch normalisation, leaky ReLU."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        kernel_size: int,
        negative_slope: float = NEGATIVE_SLOPE,
    ) -> None:
        super().__init__()
        self._negative_slope = negative_slope
        self.conv = Conv(n_in, n_out, kernel_size=kernel_size, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(n_out)

    def forward(self, *parts: Tensor) -> Tensor:
        """Map (B, n_in, H, W), which may be given in parts, to (B, n_out, H, W)."""
        return leaky_relu(self.norm(self.conv(*parts)), self._negative_slope)

    def fold(self) -> None:
        """Put the normalisation into the convolution, for prediction only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class ConvBlock(nn.Sequential):
    """Convolutions one after another, of maps that may come in parts."""

    def forward(self, *parts: Tensor) -> Tensor:
        """Map parts (B, C of the part, H, W) to (B, n_out, H, W)."""
        first, *others = self
        x: Tensor = first(*parts)
        for conv in others:
            x = conv(x)
        return x


Operation = Literal["down", "up"] | int
"""A pooling, an un-pooling or a convolution by the side of its kernel."""


def halo_of(path: Sequence[Operation]) -> int:
    """Count the pixels around a tile that its prediction depends on.

    Walks from the output back to the input: a convolution adds half its kernel, an
    un-pooling halves the reach (rounded up), a pooling doubles it. Exact for tiles
    whose edges are multiples of the network's stride.

    Parameters
    ----------
    path : sequence of "down", "up" or int
        Operations in the order of the longest way from input to output.

    Returns
    -------
    int
        Reach in pixels of the input, rounded up to a multiple of the stride.

    Examples
    --------
    >>> halo_of([3, "down", 3, "up", 3])
    6
    """
    reach = 0
    for operation in reversed(path):
        if operation == "up":
            reach = math.ceil(reach / 2)
        elif operation == "down":
            reach *= 2
        else:
            reach += operation // 2
    stride = 1 << list(path).count("down")
    return math.ceil(reach / stride) * stride


class SegmentationNetwork(nn.Module, ABC):
    """A network from grey images to one map of logits a phase.

    Subclasses set `path`, `bytes_per_pixel` and `n_phases` and give `_logits` for
    images whose sides are multiples of `stride`; any other image is padded by
    reflection and the result cropped back.
    """

    path: tuple[Operation, ...]
    """Operations along the longest way from input to output."""
    bytes_per_pixel: int
    """Memory that prediction takes for a pixel of the input, in float32."""
    n_phases: int
    n_scales: int = 0
    """Scales of the filter responses that it is given beside the grey images."""
    averages_turns: bool = False
    """Whether its logits are the mean over turned and mirrored images."""

    @property
    def stride(self) -> int:
        """Pixels of the input to one of the coarsest level."""
        return 1 << self.path.count("down")

    @property
    def halo(self) -> int:
        """Pixels around a tile that its prediction depends on; multiple of `stride`."""
        return halo_of((2 * reach_of(self.n_scales) + 1, *self.path))

    def logits(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, H, W) to (B, n_phases, H, W)."""
        if self.averages_turns:
            return average_turns(self._logits_of_view, x)
        return self._logits_of_view(x)

    def _logits_of_view(self, x: Tensor) -> Tensor:
        return self._logits(append_responses(x, n_scales=self.n_scales))

    @abstractmethod
    def _logits(self, x: Tensor) -> Tensor:
        """Map images and filter responses to (B, n_phases, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, n_channels, H, W), any H and W ≥ 1, to (B, n_phases, H, W)."""
        height, width = x.shape[-2:]
        padded = pad_by_reflection(x, (-height % self.stride, -width % self.stride))
        return self.logits(padded)[..., :height, :width]

    def fold(self) -> None:
        """Put batch normalisations into their convolutions, for prediction only."""
        for module in self.modules():
            if isinstance(module, NormalisedConv):
                module.fold()

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and so of what the convolutions need."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are, and so where images must be."""
        return next(self.parameters()).device

    def _initialise(self) -> None:
        """Draw Glorot-uniform weights; the paper's Methods, after its reference 57."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def pad_by_reflection(x: Tensor, padding: tuple[int, int]) -> Tensor:
    """Pad at the bottom and the right by reflection, repeated as often as needed.

    Parameters
    ----------
    x : Tensor, shape (..., H, W)
    padding : tuple of two ints ≥ 0
        Rows and columns to add.

    Returns
    -------
    Tensor, shape (..., H + padding[0], W + padding[1])
        Reflected without repeating the edge, as NumPy's ``mode="reflect"``; a single
        row or column is repeated.
    """
    for dimension, extra in zip((-2, -1), padding, strict=True):
        if extra:
            length = x.shape[dimension]
            places = reflect(torch.arange(length + extra, device=x.device), length)
            x = x.index_select(dimension, places)
    return x


def reflect(places: Tensor, length: Tensor | int) -> Tensor:
    """Fold integer places into 0 … length - 1, edges not repeated."""
    period = 2 * (torch.as_tensor(length) - 1).clamp(min=1).to(places.device)
    folded = places.remainder(period)
    return torch.minimum(folded, period - folded).clamp(max=length - 1)
