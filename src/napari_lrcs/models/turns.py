"""The mean of what a network makes of an image that is turned and mirrored.

Which way an image lies means nothing to most microscopes, but something to a network.
"""

from collections.abc import Callable

import torch
from torch import Tensor

TURNS = tuple((quarters, mirror) for quarters in range(4) for mirror in (False, True))
"""Quarters of a turn, and whether to mirror afterwards: all that keeps a square."""


def average_turns(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Average the probabilities that a network gives to eight views of images.

    Parameters
    ----------
    network : callable
        Maps (B, C, H, W) to logits of shape (B, K, H, W), and (B, C, W, H) likewise.
    x : Tensor, shape (B, C, H, W)

    Returns
    -------
    Tensor of float32, shape (B, K, H, W)
        Logarithms of the mean probabilities, which are logits of them.
    """
    total = torch.zeros((), device=x.device)
    for quarters, mirror in TURNS:
        view = torch.rot90(x, quarters, (-2, -1))
        logits = network(view.flip(-1) if mirror else view)
        probabilities = logits.float().softmax(dim=1)
        back = probabilities.flip(-1) if mirror else probabilities
        total = total + torch.rot90(back, -quarters, (-2, -1))
    mean = total / len(TURNS)
    return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
