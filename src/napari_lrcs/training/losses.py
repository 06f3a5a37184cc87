"""Losses over the painted voxels of a batch."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_lrcs.config import Loss
from napari_lrcs.phases import UNPAINTED

LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def dice_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Average one minus the Dice coefficient over the phases that are painted.

    Parameters
    ----------
    logits : Tensor, shape (B, K, H, W)
    labels : Tensor of uint8, shape (B, H, W)
        0 where unpainted: such voxels do not count.
    weights : Tensor, shape (K,), optional
        Of the phases in the average.

    Returns
    -------
    Tensor, scalar, 0 to 1
        2 Σ p t / Σ (p + t) over the batch's painted voxels of a phase, `p` its
        probability and `t` its target; a phase that is painted nowhere in the batch
        is left out, so that no smoothing term is needed. 0 if nothing is painted.
    """
    painted = (labels != UNPAINTED).unsqueeze(1)
    n_phases = logits.shape[1]
    phases = torch.arange(1, n_phases + 1, device=logits.device).view(1, -1, 1, 1)
    target = (labels.unsqueeze(1) == phases).to(logits.dtype)
    probabilities = logits.softmax(dim=1) * painted
    sums = (0, 2, 3)
    n_target = target.sum(sums)
    shared = (probabilities * target).sum(sums)
    total = probabilities.sum(sums) + n_target
    dice = 2 * shared / total.clamp(min=torch.finfo(logits.dtype).tiny)
    weight = (n_target > 0).to(logits.dtype)
    if weights is not None:
        weight = weight * weights
    return ((1 - dice) * weight).sum() / weight.sum().clamp(min=1e-12)


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Average the cross-entropy over painted voxels; parameters as `dice_loss`."""
    target = labels.long() - 1  # unpainted becomes -1, which is ignored
    # Summed here: on CUDA, PyTorch's own sum differs from run to run.
    total = F.cross_entropy(
        logits, target, weight=weights, ignore_index=-1, reduction="none"
    ).sum()
    if weights is None:
        return total / (target >= 0).sum().clamp(min=1)
    # Not those of the painted alone: a GPU would have to tell how many they are.
    of_labels = torch.cat([weights.new_zeros(1), weights])
    return total / of_labels[labels.long()].sum().clamp(min=1e-12)


def dice_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Add `dice_loss` and `cross_entropy`; parameters as `dice_loss`."""
    return dice_loss(logits, labels, weights) + cross_entropy(logits, labels, weights)


LOSSES: Mapping[Loss, LossFunction] = MappingProxyType(
    {
        "dice": dice_loss,
        "cross_entropy": cross_entropy,
        "dice_cross_entropy": dice_cross_entropy,
    }
)
"""What `OptimisationConfig.loss` may name; the config's type `Loss` lists them, too."""
