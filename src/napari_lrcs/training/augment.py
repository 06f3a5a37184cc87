"""Change the grey levels of patches at random, in batches, on their device."""

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_lrcs.augmentation import AugmentationConfig

_COARSENESS = (2, 4, 8)
"""Correlation lengths of coloured noise in pixels."""


def augment(
    images: Tensor, *, config: AugmentationConfig, generator: torch.Generator
) -> Tensor:
    """Change contrast and brightness, blur, and add noise and rings.

    Parameters
    ----------
    images : Tensor of float32, shape (B, C, P, P)
        Normalised grey levels: strengths are in standard deviations of the image.
    config : AugmentationConfig
        Only what changes grey levels counts; a strength of 0 does nothing.
    generator : torch.Generator
        On the device of `images`.

    Returns
    -------
    Tensor of float32, shape (B, C, P, P)
        Each patch changed by its own draw; its channels alike but for the noise.
    """
    draw = _Draw(images, generator)
    if config.gamma:
        images = _change_gamma(images, (1 + config.gamma) ** draw.symmetric())
    if config.gain:
        images = images * (1 + config.gain * draw.symmetric())
    if config.offset:
        images = images + config.offset * draw.symmetric()
    if config.blur:
        images = _blur(images, config.blur * draw.uniform(), largest=config.blur)
    if config.noise:
        images = images + config.noise * draw.uniform() * draw.normal(images.shape)
    if config.coloured_noise:
        strength = config.coloured_noise * draw.uniform()
        images = images + strength * _coloured_noise(draw)
    if config.rings:
        images = images + config.rings * draw.uniform() * _rings(draw)
    return images


class _Draw:
    """Random numbers for one batch of patches."""

    def __init__(self, images: Tensor, generator: torch.Generator) -> None:
        self.shape = images.shape
        self.device = images.device
        self._generator = generator

    def uniform(self) -> Tensor:
        """Draw from 0 to 1, one number a patch, shape (B, 1, 1, 1)."""
        shape = (self.shape[0], 1, 1, 1)
        return torch.rand(shape, generator=self._generator, device=self.device)

    def symmetric(self) -> Tensor:
        """Draw from -1 to 1, one number a patch, shape (B, 1, 1, 1)."""
        return self.uniform() * 2 - 1

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Draw standard normal numbers."""
        return torch.randn(shape, generator=self._generator, device=self.device)


def _change_gamma(images: Tensor, gamma: Tensor) -> Tensor:
    """Bend the grey levels between each patch's extremes."""
    low = images.amin(dim=(1, 2, 3), keepdim=True)
    span = (images.amax(dim=(1, 2, 3), keepdim=True) - low).clamp(min=1e-6)
    return ((images - low) / span) ** gamma * span + low


def _blur(images: Tensor, sigma: Tensor, *, largest: float) -> Tensor:
    """Blur each patch by its own Gaussian, rows and columns in turn."""
    B, C, H, W = images.shape
    radius = min(max(1, round(3 * largest)), H - 1, W - 1)
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernels = torch.exp(-0.5 * (x / sigma.view(B, 1).clamp(min=1e-3)) ** 2)
    kernels = (kernels / kernels.sum(dim=1, keepdim=True)).repeat_interleave(C, dim=0)
    flat = images.reshape(1, B * C, H, W)
    flat = F.pad(flat, (radius,) * 4, mode="reflect")
    flat = F.conv2d(flat, kernels[:, None, :, None], groups=B * C)
    flat = F.conv2d(flat, kernels[:, None, None, :], groups=B * C)
    return flat.view(B, C, H, W)


def _coloured_noise(draw: _Draw) -> Tensor:
    """Add noise of several correlation lengths; unit variance on the whole."""
    B, C, H, W = draw.shape
    total = torch.zeros(draw.shape, device=draw.device)
    for length in _COARSENESS:
        coarse = draw.normal((B, C, H // length + 2, W // length + 2))
        total += F.interpolate(coarse, size=(H, W), mode="bilinear", align_corners=True)
    return total / total.std(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)


def _rings(draw: _Draw) -> Tensor:
    """Draw rings about a centre in or beside the patch; unit variance each pixel."""
    B, _, H, W = draw.shape
    largest = max(H, W)
    centre = 2 * largest * torch.cat([draw.symmetric(), draw.symmetric()], dim=1)
    rows = torch.arange(H, device=draw.device)[:, None] - centre[:, :1]
    columns = torch.arange(W, device=draw.device)[None, :] - centre[:, 1:]
    radius = torch.sqrt(rows**2 + columns**2)
    profile = draw.normal((B, 5 * largest))
    inner = radius.long()
    outward = (radius - inner).view(B, -1)
    low = profile.gather(1, inner.view(B, -1))
    high = profile.gather(1, inner.view(B, -1) + 1)
    # Between two independent numbers the variance sinks; the square root restores it.
    spread = torch.sqrt((1 - outward) ** 2 + outward**2)
    rings: Tensor = (low * (1 - outward) + high * outward) / spread
    return rings.view(B, 1, H, W)
