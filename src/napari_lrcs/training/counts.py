"""Loss and confusion of training steps, kept on the device until they are read."""

import torch
from torch import Tensor

from napari_lrcs.arrays import Confusion


class StepCounts:
    """Loss and confusion of the steps since the last `read`.

    Adding to them never makes the host wait for a GPU; reading them does.

    Parameters
    ----------
    device : torch.device
        Of the steps.
    """

    def __init__(self, n_phases: int, device: torch.device) -> None:
        shape = (n_phases, n_phases)
        self._confusion = torch.zeros(shape, dtype=torch.int64, device=device)
        self._losses: list[Tensor] = []

    def add(self, loss: Tensor, confusion: Tensor) -> None:
        """Add a step's loss, a scalar, and its confusion matrix."""
        self._losses.append(loss)
        self._confusion += confusion

    def read(self) -> tuple[list[float], Confusion]:
        """Return the losses and the sum of the confusion matrices, and begin anew."""
        losses = torch.stack(self._losses).tolist() if self._losses else []
        confusion = self._confusion.cpu().numpy().copy()
        self._losses.clear()
        self._confusion.zero_()
        return losses, confusion


def count_confusion(logits: Tensor, target: Tensor) -> Tensor:
    """Count painted against predicted phases, on the device and without waiting for it.

    Parameters
    ----------
    logits : Tensor, shape (B, K, H, W)
    target : Tensor of uint8, shape (B, H, W)
        Labels; 0, unpainted, does not count.

    Returns
    -------
    Tensor of int64, shape (K, K)
        Rows are the target.
    """
    n_phases = logits.shape[1]
    code = (target.long() - 1) * n_phases + logits.argmax(dim=1)
    # Not `bincount` of the painted ones: a GPU would have to tell how many they are.
    is_painted = (target > 0).int()
    counts = torch.zeros(n_phases**2, dtype=torch.int32, device=logits.device)
    counts.scatter_add_(0, code.clamp(min=0).flatten(), is_painted.flatten())
    return counts.view(n_phases, n_phases).long()
