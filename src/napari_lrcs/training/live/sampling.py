"""Draw patches of a painting that grows: fresh strokes more often for a while."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_lrcs.training.sampling import PatchSampler

_FRESH_SHARE = 0.5
"""Share of the patches that are centred on fresh strokes, while there are any."""


class LiveSampler(PatchSampler):
    """Draws half of the patches around fresh strokes, the others from all pixels.

    Parameters
    ----------
    settings
        As of `PatchSampler`.
    """

    def __init__(self, *slices: Any, **settings: Any) -> None:
        super().__init__(*slices, **settings)
        self.freshen([])

    def freshen(self, strokes: list[tuple[int, NDArray[np.int64]]]) -> None:
        """Name the strokes that are fresh.

        Parameters
        ----------
        strokes : list of (int, ndarray of int64)
            Place of the slice in the list of slices, and places of pixels in it; those
            that are not painted any more are left out.
        """
        starts = self._starts.cpu().numpy()
        flat = [starts[i] + places for i, places in strokes]
        fresh = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *flat]))
        fresh = fresh.to(self._device)
        self._fresh = fresh[self._labels[fresh] != 0]

    def _centres(self, n: int, generator: torch.Generator) -> Tensor:
        centres = super()._centres(n, generator)
        if not len(self._fresh):
            return centres
        fresh = self._fresh[self._integers(len(self._fresh), n, generator)]
        draw = torch.rand(n, generator=generator, device=self._device)
        return torch.where(draw < _FRESH_SHARE, fresh, centres)
