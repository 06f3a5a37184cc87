"""What a network has seen in its training, to tell data that are foreign to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage
from napari_lrcs.preprocessing.normalisation import Normalisation

QUANTILES = np.linspace(0.005, 0.995, 34)
"""Of which values `TrainedOn.grey_levels` has."""
_MOST_VALUES = 2**16
"""Grey levels of a slice that quantiles are taken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedOn:
    """Grey levels and phases of the slices that a network was trained on.

    Parameters
    ----------
    grey_levels : tuple of float
        Quantiles of the training slices, from `grey_quantiles`.
    fractions : tuple of float
        Share of each phase in the validation slices as the network predicts them,
        painted or not: what is painted, and how much of it, may say little of the
        whole. Empty without validation.

    Raises
    ------
    ValueError
        If there are not as many quantiles as expected, or a number is not finite.
    """

    grey_levels: tuple[float, ...]
    fractions: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.grey_levels) != len(QUANTILES):
            raise ValueError(
                f"expected {len(QUANTILES)} quantiles of the grey levels, got "
                f"{len(self.grey_levels)}"
            )
        for number in (*self.grey_levels, *self.fractions):
            if not math.isfinite(number):
                raise ValueError(f"expected finite numbers, got {number}")

    def with_predicted(self, counts: NDArray[np.int64]) -> Self:
        """Return a copy with the fractions of voxels that are predicted as each phase.

        Parameters
        ----------
        counts : ndarray of int64, shape (K,)
            Voxels of whole slices.
        """
        fractions = (counts / counts.sum()).round(4)
        return replace(self, fractions=tuple(fractions.tolist()))

    def distance_to(self, grey_levels: Sequence[float]) -> float:
        """Return the Wasserstein distance of grey levels from those of the training.

        Parameters
        ----------
        grey_levels : sequence of float
            From `grey_quantiles` with the network's normalisation.

        Returns
        -------
        float
            In standard deviations of the training slices.
        """
        return float(np.abs(np.subtract(grey_levels, self.grey_levels)).mean())


def grey_quantiles(
    slices: Sequence[GreyImage], normalisation: Normalisation
) -> tuple[float, ...]:
    """Return evenly spaced quantiles of normalised grey levels, 0.5% to 99.5%.

    Parameters
    ----------
    slices : sequence of ndarray of float32
        Grey levels of slices, flat; of large ones, a part is used.
    """
    parts = [values[:: max(1, values.size // _MOST_VALUES)] for values in slices]
    quantiles = np.quantile(normalisation(np.concatenate(parts)), QUANTILES)
    return tuple(round(float(value), 4) for value in quantiles)
