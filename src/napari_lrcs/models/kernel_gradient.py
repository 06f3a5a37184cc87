"""The gradient of a convolution's kernels, for processors without AVX-512.

There oneDNN takes two to four times as long for it as for the convolution itself, if
maps lie channels last (benchmarks/kernel_gradient.py). Here it is a sum of products of
matrices, one for each place of a kernel, over bands of rows that stay in the cache.
Each thread takes bands as it gets to them: if all threads shared each product, they
would wait for each other thousands of times, long where another program takes a core.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_BAND = 2**21
"""Bytes of a band, the fastest of 1, 2 and 4 MiB on two cores; little depends on it."""

_FEWEST_CHANNELS = 16
"""With fewer on either side, products of matrices are no faster than oneDNN."""

_LARGEST_KERNELS = 2**22
"""Bytes; each band has a gradient of its own, until they are added."""


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
        and kernels.nbytes <= _LARGEST_KERNELS
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

    It is the same to the last bit for any number of threads.

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
    n_rows = _BAND // (image.itemsize * (n_in + n_out) * (width + side - 1))
    n_rows = max(1, min(height, n_rows))
    maps, slopes = (x.detach().permute(0, 2, 3, 1) for x in (image, gradient))

    def of_band(place: tuple[int, int]) -> Tensor:
        index, first = place
        return _of_band(slopes[index, first : first + n_rows], maps[index], first, side)

    places = [(i, row) for i in range(len(maps)) for row in range(0, height, n_rows)]
    total = image.new_zeros(side, side, n_out, n_in)
    for part in _in_threads(of_band, places):
        total += part
    return total.permute(2, 3, 0, 1)


def _of_band(slopes: Tensor, maps: Tensor, first: int, side: int) -> Tensor:
    """Compute it for the rows from `first` on, one for each row of `slopes`.

    Zeros fill all rows to the same length, so that a shift by some places is one of the
    flat arrays; it reaches a little beyond the last row.
    """
    (n_rows, width, n_out), n_in = slopes.shape, maps.shape[-1]
    margin = side // 2
    row = width + 2 * margin
    seen = maps.new_zeros(n_rows + 2 * margin + 1, row, n_in)
    above, below = max(0, first - margin), min(len(maps), first + n_rows + margin)
    start = above - (first - margin)
    rows = slice(start, start + below - above)
    seen[rows, margin : margin + width] = maps[above:below]
    padded = slopes.new_zeros(n_rows, row, n_out)
    padded[:, :width] = slopes
    flat = padded.flatten(0, 1).T
    shape, strides = (side, flat.shape[1], n_in), (n_in, n_in, 1)
    parts = [
        torch.bmm(
            flat.expand(side, *flat.shape),
            seen.as_strided(shape, strides, i * row * n_in),
        )
        for i in range(side)
    ]
    return torch.stack(parts)


def _in_threads(
    function: Callable[[tuple[int, int]], Tensor], places: Iterable[tuple[int, int]]
) -> Iterator[Tensor]:
    n_threads = torch.get_num_threads()
    if n_threads == 1:
        return map(function, places)
    return _threads(n_threads).map(function, places)


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    """Start threads each of which computes alone."""
    started = Barrier(n)

    def start(_: int) -> None:
        torch.get_num_threads()  # else PyTorch sets its number later
        torch.set_num_threads(1)  # of this thread, and of those that start later
        started.wait()

    threads = ThreadPoolExecutor(n, "gradient")
    list(threads.map(start, range(n)))
    torch.set_num_threads(n)
    return threads


if hasattr(os, "register_at_fork"):  # not on Windows
    # Threads do not come along.
    os.register_at_fork(after_in_child=_threads.cache_clear)
