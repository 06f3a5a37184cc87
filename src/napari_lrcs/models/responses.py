"""Responses of fixed filters, which a network is given beside the grey levels.

They are what a random forest sees (see `classical.forest`): the grey level, its
gradient and its curvatures on several scales. Computed by the network itself, from the
same patches, tiles and halos as all else, they are the same in training and prediction.

References
----------
Arganda-Carreras, I. et al. Trainable Weka Segmentation. Bioinformatics 33, 2424-2426
(2017). https://doi.org/10.1093/bioinformatics/btx180

Lindeberg, T. Feature detection with automatic scale selection. Int. J. Comput. Vis. 30,
79-116 (1998). https://doi.org/10.1023/A:1008045108935
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

N_RESPONSES = 4
"""Of each scale: smoothed grey level, gradient, greatest and least curvature."""

_TRUNCATED = 3
"""Standard deviations after which a Gaussian is cut off."""


def reach_of(n_scales: int) -> int:
    """Count the pixels around a pixel that its responses depend on.

    Examples
    --------
    >>> reach_of(0), reach_of(3)
    (0, 14)
    """
    return _radius(n_scales - 1) + 2 if n_scales else 0


def append_responses(x: Tensor, *, n_scales: int) -> Tensor:
    """Append the filter responses of the slice in the middle to grey images.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        Grey levels; beyond the border, those at the border are repeated.
    n_scales : int
        Gaussians of standard deviation 1, 2, 4 … pixels; derivatives are multiplied by
        it, once for each order, so that all scales respond alike.

    Returns
    -------
    Tensor, shape (B, C + n_scales × N_RESPONSES, H, W)
    """
    if not n_scales:
        return x
    middle = x.shape[1] // 2
    # In bfloat16, the differences of neighbours would be mostly rounding.
    grey = x[:, middle : middle + 1].detach()
    grey = grey.to(torch.promote_types(x.dtype, torch.float32))
    with torch.autocast(x.device.type, enabled=False), torch.no_grad():
        responses = [r for i in range(n_scales) for r in _responses(grey, i)]
    return torch.cat([x, *(r.to(x.dtype) for r in responses)], dim=1)


def _responses(grey: Tensor, scale: int) -> tuple[Tensor, ...]:
    sigma, radius = 2**scale, _radius(scale)
    padded = F.pad(grey, (radius + 2,) * 4, mode="replicate")
    places = torch.arange(-radius, radius + 1, device=grey.device, dtype=grey.dtype)
    kernel = torch.exp(-0.5 * (places / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    # With two pixels more on each side, of which each difference takes one.
    smooth = F.conv2d(F.conv2d(padded, kernel), kernel.transpose(2, 3))
    along_y, along_x = _differences(smooth, sigma)
    yy, xy = _differences(along_y, sigma)
    _, xx = _differences(along_x, sigma)
    mean, half = (yy + xx) / 2, (yy - xx) / 2
    spread = torch.sqrt(half**2 + xy**2)
    gradient = torch.sqrt(along_y**2 + along_x**2)
    return (
        smooth[..., 2:-2, 2:-2],
        gradient[..., 1:-1, 1:-1],
        mean + spread,
        mean - spread,
    )


def _differences(x: Tensor, sigma: int) -> tuple[Tensor, Tensor]:
    """Differentiate along y and x, which takes a pixel from each side."""
    along_y = x[..., 2:, 1:-1] - x[..., :-2, 1:-1]
    along_x = x[..., 1:-1, 2:] - x[..., 1:-1, :-2]
    return along_y * (sigma / 2), along_x * (sigma / 2)


def _radius(scale: int) -> int:
    return int(math.ldexp(_TRUNCATED, scale))
