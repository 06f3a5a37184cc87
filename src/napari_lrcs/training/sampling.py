"""Draw patches from annotated slices that live on the training device."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_lrcs.annotation.annotation import AnnotatedSlice
from napari_lrcs.augmentation import AugmentationConfig
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.preprocessing.normalisation import Normalisation

_CONTROL_SPACING = 16
"""Pixels between the independent displacements of an elastic distortion."""

_MANY = 2**31 - 1
"""So many random numbers that their remainders are as good as uniform."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """A batch of patches.

    Parameters
    ----------
    images : Tensor of float32, shape (B, C, P, P)
        Normalised grey levels.
    labels : Tensor of uint8, shape (B, P, P)
        0 where unpainted.
    """

    images: Tensor
    labels: Tensor


class PatchSampler:
    """All annotated pixels on one device, and patches of them in batches.

    The centre of a patch is drawn uniformly from all painted pixels of all slices, or,
    for a share of the patches, from those of a phase that is drawn first: each phase
    that is painted is as likely as any other.
    What of a patch lies beyond its slice is reflected, so that each painted pixel, at
    the border too, is as likely to be seen as any other.

    Parameters
    ----------
    slices : sequence of AnnotatedSlice
        Of any sizes, with the same number of channels.
    config : AugmentationConfig
        Only what moves pixels counts: flips, rotation, scaling, elastic distortion.
    patch_size : int
        Side of a patch.
    balance : float
        Share of the patches whose phase is drawn first, 0 to 1.
    """

    def __init__(
        self,
        slices: Sequence[AnnotatedSlice],
        *,
        normalisation: Normalisation,
        config: AugmentationConfig,
        patch_size: int,
        balance: float = 0.0,
        device: torch.device,
    ) -> None:
        self._config = config
        self._patch_size = patch_size
        self._balance = balance
        self._device = device
        images = [normalisation(s.image) for s in slices]
        shapes = np.array([s.labels.shape for s in slices])
        # One flat buffer holds slices of any sizes, (pixels, channels) so that one
        # look-up fetches all channels of a pixel.
        self._images = torch.from_numpy(
            np.concatenate([i.reshape(len(i), -1) for i in images], axis=1).T.copy()
        ).to(device)
        self._heights = torch.from_numpy(shapes[:, 0]).to(device)
        self._widths = torch.from_numpy(shapes[:, 1]).to(device)
        starts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
        self._starts = torch.from_numpy(starts).to(device)
        # Here, since copying to a GPU makes each step wait for it.
        self._symmetries = _SYMMETRIES.to(device)
        self._corners = _CORNERS.to(device)
        self.repaint(slices)

    def repaint(self, slices: Sequence[AnnotatedSlice]) -> None:
        """Take other labels of the same slices."""
        labels = np.concatenate([s.labels.ravel() for s in slices])
        self._labels = torch.from_numpy(labels).to(self._device)
        painted = np.flatnonzero(labels != UNPAINTED)
        counts = np.array([len(painted)])
        if self._balance:  # by phase; else in the order that all runs have drawn from
            painted = painted[np.argsort(labels[painted], kind="stable")]
            _, counts = np.unique(labels[painted], return_counts=True)
        self._painted = torch.from_numpy(painted).to(self._device)
        self._phase_counts = torch.from_numpy(counts).to(self._device)
        starts = np.cumsum(counts) - counts
        self._phase_starts = torch.from_numpy(starts).to(self._device)

    def sample(self, n: int, *, generator: torch.Generator) -> Patches:
        """Draw `n` patches, image and labels cropped and distorted together."""
        chosen = self._centres(n, generator)
        slice_index = torch.searchsorted(self._starts, chosen, right=True) - 1
        within = chosen - self._starts[slice_index]
        width = self._widths[slice_index]
        centre = torch.stack(
            [within.div(width, rounding_mode="floor"), within % width], dim=1
        )
        places = centre[:, :, None, None] + self._offsets(n, generator)
        return Patches(
            images=self._interpolate(places, slice_index),
            labels=self._labels[self._look_up(places.round().long(), slice_index)],
        )

    def _centres(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw painted pixels of the flat buffer."""
        return self._painted[self._places(n, generator)]

    def _places(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw places in the list of painted pixels."""
        places = self._integers(len(self._painted), n, generator)
        if not self._balance:
            return places
        phase = self._integers(len(self._phase_counts), n, generator)
        within = self._integers(_MANY, n, generator) % self._phase_counts[phase]
        draw = torch.rand(n, generator=generator, device=self._device)
        return torch.where(
            draw < self._balance, self._phase_starts[phase] + within, places
        )

    def _offsets(self, n: int, generator: torch.Generator) -> Tensor:
        """Return rows and columns relative to the centres, shape (n, 2, P, P)."""
        size, config = self._patch_size, self._config
        line = torch.arange(size, device=self._device, dtype=torch.float32) - size // 2
        grid = torch.stack(torch.meshgrid(line, line, indexing="ij"))
        warped = self._warped(n, generator)
        maps = self._linear_maps(n, warped, generator)
        turned = torch.einsum("nij,jhw->nihw", maps, grid)
        if not config.elastic:
            return turned
        coarse = torch.randn(
            (n, 2, *(max(2, size // _CONTROL_SPACING + 1),) * 2),
            generator=generator,
            device=self._device,
        )
        bent = F.interpolate(
            coarse * config.elastic,
            size=(size, size),
            mode="bicubic",
            align_corners=True,
        )
        return turned + bent * warped[:, None, None, None]

    def _linear_maps(
        self, n: int, warped: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Draw mirrors, turns and scales as matrices, shape (n, 2, 2)."""
        config = self._config
        maps = torch.eye(2, device=self._device).repeat(n, 1, 1)
        if config.flip:
            maps = self._symmetries[self._integers(8, n, generator)]
        if not (config.rotation or config.scaling):
            return maps
        angle = self._uniform(n, generator) * np.deg2rad(config.rotation) * warped
        scale = (1 + config.scaling) ** (self._uniform(n, generator) * warped)
        cos, sin = angle.cos() * scale, angle.sin() * scale
        turns = torch.stack([cos, -sin, sin, cos], dim=1).view(n, 2, 2)
        return turns @ maps

    def _warped(self, n: int, generator: torch.Generator) -> Tensor:
        """Choose the patches that interpolation may soften; 0 or 1 each."""
        draw = torch.rand(n, generator=generator, device=self._device)
        return (draw < self._config.warp_share).float()

    def _interpolate(self, places: Tensor, slice_index: Tensor) -> Tensor:
        """Look images up bilinearly at fractional places, shape (n, C, P, P)."""
        if not self._config.is_warping:
            pixels = self._images[self._look_up(places.long(), slice_index)]
            return pixels.permute(0, 3, 1, 2)
        corner = places.floor()
        fraction = places - corner
        total: Tensor | float = 0.0
        for shift in self._corners:
            weight = (1 - shift[:, None, None] - fraction).abs().prod(dim=1)
            at = corner.long() + shift[:, None, None]
            pixels = self._images[self._look_up(at, slice_index)]
            total = total + pixels * weight[..., None]
        assert isinstance(total, Tensor)
        return total.permute(0, 3, 1, 2)

    def _look_up(self, places: Tensor, slice_index: Tensor) -> Tensor:
        """Find pixels in the flat buffer, those beyond a slice by reflection."""
        index = slice_index[:, None, None]
        rows = _reflect_with_edge(places[:, 0], self._heights[index])
        columns = _reflect_with_edge(places[:, 1], self._widths[index])
        return self._starts[index] + rows * self._widths[index] + columns

    def _integers(self, high: int, n: int, generator: torch.Generator) -> Tensor:
        return torch.randint(high, (n,), generator=generator, device=self._device)

    def _uniform(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, generator=generator, device=self._device) * 2 - 1


def fitting_patch_size(wanted: int, *, shortest: int, stride: int) -> int:
    """Return the side of patches that fit the slices.

    Parameters
    ----------
    wanted : int
        Side in the config.
    shortest : int
        Shortest side of any slice.
    stride : int
        Stride of the network, of which the side becomes a multiple.

    Examples
    --------
    >>> fitting_patch_size(128, shortest=100, stride=8)
    96
    """
    return max(2 * stride, min(wanted, shortest) // stride * stride)


_SYMMETRIES = torch.tensor(
    [
        [[a, 0], [0, b]] if straight else [[0, a], [b, 0]]
        for straight in (True, False)
        for a in (1.0, -1.0)
        for b in (1.0, -1.0)
    ]
)
"""The eight symmetries of the square: mirrors and quarter turns."""

_CORNERS = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
"""The pixels around a fractional place, as steps down and to the right."""


def _reflect_with_edge(places: Tensor, length: Tensor) -> Tensor:
    """Fold integer places into 0 … length - 1, edges repeated.

    Unlike without the edge, this folds a uniform density into a uniform one.
    """
    folded = places.remainder(2 * length)
    return torch.minimum(folded, 2 * length - 1 - folded)
