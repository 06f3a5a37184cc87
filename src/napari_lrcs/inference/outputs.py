"""What a prediction can put out: labels, confidence, probabilities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.io.paths import LABELS_SUFFIXES

if TYPE_CHECKING:  # loading torch takes seconds that naming the outputs need not wait
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One kind of array that a prediction puts out.

    Parameters
    ----------
    name : str
        Unique among the outputs.
    dtype : type
        Of its values.
    suffixes : tuple of str
        Endings of the files that it can go to.
    reduce : callable
        Makes its values from logits of shape (B, n_phases, rows, columns) and the
        network's temperature: of shape (B, rows, columns), or (n_phases, B, rows,
        columns) if it is per phase.
    is_per_phase : bool
        Whether it has a channel per phase, which viewers do not show.
    """

    name: str
    dtype: type[np.generic]
    suffixes: tuple[str, ...] = LABELS_SUFFIXES
    reduce: "Callable[[Tensor, float], Tensor]"
    is_per_phase: bool = False

    def shape(self, shape: tuple[int, ...], *, n_phases: int) -> tuple[int, ...]:
        """Return its shape where the volume, or a slab of it, has another."""
        return (n_phases, *shape) if self.is_per_phase else shape

    def reduced_at(self, temperature: float) -> "Callable[[Tensor], Tensor]":
        """Return what makes its values from the logits of a network."""
        return lambda logits: self.reduce(logits, temperature)


def _labels(logits: "Tensor", temperature: float) -> "Tensor":
    del temperature  # it changes no label, and rounding must not change one either
    return logits.argmax(dim=1).byte() + 1


def _confidence(logits: "Tensor", temperature: float) -> "Tensor":
    probabilities = (logits / temperature).softmax(dim=1)
    return (probabilities.amax(dim=1) * 255).round().byte()


def _probabilities(logits: "Tensor", temperature: float) -> "Tensor":
    return (logits / temperature).softmax(dim=1).half().transpose(0, 1)


LABELS = Output(name="labels", dtype=np.uint8, reduce=_labels)
"""Phases from 1."""

CONFIDENCE = Output(name="confidence", dtype=np.uint8, reduce=_confidence)
"""0 to 255 for calibrated probabilities 0 to 1 of the predicted phase."""

PROBABILITIES = Output(
    name="probabilities",
    dtype=np.float16,
    suffixes=(".zarr",),
    reduce=_probabilities,
    is_per_phase=True,
)
"""Calibrated probabilities of all phases, 0 to 1."""

Arrays = Mapping[Output, NDArray[Any]]
"""Arrays of one slab: (slices, rows, columns), or (phases, slices, …) if per phase."""
