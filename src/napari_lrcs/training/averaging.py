"""Exponential moving averages of a network's weights.

References
----------
Polyak, B. T. & Juditsky, A. B. Acceleration of stochastic approximation by averaging.
SIAM J. Control Optim. 30, 838-855 (1992). https://doi.org/10.1137/0330046
"""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor

from napari_lrcs.models.checkpoint import check_shapes
from napari_lrcs.models.layers import SegmentationNetwork

_WARM_UP = 10
"""Steps after which about half of an average is older than the last step; the first
averages would else be the random weights of the start. As TensorFlow's
ExponentialMovingAverage has it (``num_updates``)."""


class WeightAverage:
    """The average of the weights that a network in training has had.

    Parameters
    ----------
    model : SegmentationNetwork
        In training.
    kept : float
        Share of the average that a step keeps, 0 to 1; at 0 there is no average and
        `network` is `model`.

    Attributes
    ----------
    network : SegmentationNetwork
        The network with averaged weights and normalisations.
    """

    def __init__(self, model: SegmentationNetwork, *, kept: float) -> None:
        self._model = model
        self._kept = kept
        self.network = deepcopy(model) if kept else model

    def restart(self) -> None:
        """Begin again with the weights as they are."""
        self._mix(kept=0)

    def update(self, n_steps: int) -> None:
        """Take in the weights after a step, `n_steps` of which came before it."""
        self._mix(kept=min(self._kept, (1 + n_steps) / (_WARM_UP + n_steps)))

    def _mix(self, *, kept: float) -> None:
        if self.network is self._model:
            return
        own, new = (m.state_dict().values() for m in (self.network, self._model))
        with torch.no_grad():
            for average, tensor in zip(own, new, strict=True):
                if average.is_floating_point():
                    average.lerp_(tensor, 1 - kept)
                else:  # batches counted
                    average.copy_(tensor)

    def state(self) -> dict[str, Tensor]:
        """Return the tensors to resume from; none without an average."""
        return {} if self.network is self._model else self.network.state_dict()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises
        ------
        ValueError
            If a tensor is missing, unexpected or of another shape.
        """
        if needed := self.state():
            check_shapes({n: tuple(t.shape) for n, t in state.items()}, needed)
            self.network.load_state_dict(dict(state))
