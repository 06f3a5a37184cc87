"""The gradient of a convolution's kernels, for processors without AVX-512.

There oneDNN takes two to four times as long for it as for the convolution itself, if
maps lie channels last (benchmarks/kernel_gradient.py). Here it is a sum of products of
matrices, one for each place of a kernel, over bands of rows that stay in the cache.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_BAND = 2**22
"""Bytes of a band, the fastest of 1 to 8 MiB on two cores; little depends on it."""

_FEWEST_CHANNELS = 16
"""With fewer on either side, products of matrices are no faster than oneDNN."""


def convolve(image: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve maps, filled with zeros around; the result has their size.

    Parameters
    ----------
    image : Tensor, shape (B, n_in, H, W)
    kernels : Tensor, shape (n_out, n_in, side, side)
        `side` is odd.
    bias : Tensor, shape (n_out,), optional

    Returns
    -------
    Tensor, shape (B, n_out, H, W)
        Equal to ``F.conv2d(..., padding="same")``, and so are its gradients, but for
        rounding.
    """
    if _is_slow(image, kernels):
        result: Tensor = _Convolution.apply(image, kernels, bias)  # type: ignore[no-untyped-call]
        return result
    return F.conv2d(image, kernels, bias, padding="same")


def _is_slow(image: Tensor, kernels: Tensor) -> bool:
    return (
        image.is_cpu
        and not torch.compiler.is_compiling()
        and kernels.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and image.dtype == kernels.dtype == torch.float32
        and min(kernels.shape[:2]) >= _FEWEST_CHANNELS
        and torch.backends.cpu.get_cpu_capability() == "AVX2"
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, image: Tensor, kernels: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(image, kernels)
        return F.conv2d(image, kernels, bias, padding="same")

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        image, kernels = ctx.saved_tensors
        of_image, of_kernels, of_bias = ctx.needs_input_grad
        side = kernels.shape[-1]
        return (
            _gradient_of_image(gradient, image, kernels) if of_image else None,
            gradient_of_kernels(gradient, image, side=side) if of_kernels else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
        )


def _gradient_of_image(gradient: Tensor, image: Tensor, kernels: Tensor) -> Tensor:
    margin = kernels.shape[-1] // 2
    result: Tensor
    result, *_ = torch.ops.aten.convolution_backward(
        gradient,
        image,
        kernels,
        bias_sizes=None,
        stride=[1, 1],
        padding=[margin, margin],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=[True, False, False],
    )
    return result


def gradient_of_kernels(gradient: Tensor, image: Tensor, *, side: int) -> Tensor:
    """Compute how a loss changes with the kernels of `convolve`.

    Parameters
    ----------
    gradient : Tensor, shape (B, n_out, H, W)
        How it changes with the result.
    image : Tensor, shape (B, n_in, H, W)
        Of the same dtype. Both are fastest if they lie channels last.
    side : int
        Of the kernels, in pixels; odd.

    Returns
    -------
    Tensor, shape (n_out, n_in, side, side)
    """
    (_, n_in, height, width), n_out = image.shape, gradient.shape[1]
    margin = side // 2
    row = width + 2 * margin
    n_rows = _BAND // (image.itemsize * (n_in + n_out) * row)
    n_rows = max(1, min(height, n_rows))
    # Zeros fill both rows to the same length, so that a shift by some places is one of
    # the flat arrays; it reaches a little beyond the last row.
    maps = image.new_zeros(n_rows + 2 * margin + 1, row, n_in)
    slopes = image.new_zeros(n_rows, row, n_out)
    total = image.new_zeros(side, side, n_out, n_in)
    all_maps, all_slopes = (x.permute(0, 2, 3, 1) for x in (image, gradient))
    for one_maps, one_slopes in zip(all_maps, all_slopes, strict=True):
        for first in range(0, height, n_rows):
            last = min(first + n_rows, height)
            slopes[: last - first, :width] = one_slopes[first:last]
            _fill(maps[: last - first + 2 * margin], one_maps, first - margin)
            flat = slopes[: last - first].flatten(0, 1).T
            for i in range(side):
                shifted = maps.as_strided(
                    (side, flat.shape[1], n_in), (n_in, n_in, 1), i * row * n_in
                )
                total[i].baddbmm_(flat.expand(side, *flat.shape), shifted)
    return total.permute(2, 3, 0, 1)


def _fill(band: Tensor, maps: Tensor, first: int) -> None:
    """Copy rows into the middle of a band, and zeros where there are none."""
    height, width, _ = maps.shape
    n_above, n_below = max(0, -first), max(0, first + len(band) - height)
    margin = (band.shape[1] - width) // 2
    inside = slice(n_above, len(band) - n_below)
    band[:n_above] = 0
    band[len(band) - n_below :] = 0
    rows = slice(first + n_above, first + len(band) - n_below)
    band[inside, margin : margin + width] = maps[rows]
