"""What a prediction can put out: labels, confidence, probabilities."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.io.paths import LABELS_SUFFIXES
from napari_lrcs.metrics.calibration import CLOSEST, UNCALIBRATED, ConfidenceCurve
from napari_lrcs.models.header import NetworkInfo

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
        Makes its values from logits of shape (B, n_phases, rows, columns) and what is
        known of the network: of shape (B, rows, columns), or (n_phases, B, rows,
        columns) if it is per phase.
    is_per_phase : bool
        Whether it has a channel per phase, which viewers do not show.
    """

    name: str
    dtype: type[np.generic]
    suffixes: tuple[str, ...] = LABELS_SUFFIXES
    reduce: "Callable[[Tensor, NetworkInfo], Tensor]"
    is_per_phase: bool = False

    def shape(self, shape: tuple[int, ...], *, n_phases: int) -> tuple[int, ...]:
        """Return its shape where the volume, or a slab of it, has another."""
        return (n_phases, *shape) if self.is_per_phase else shape

    def reduced_for(self, network: NetworkInfo) -> "Callable[[Tensor], Tensor]":
        """Return what makes its values from the logits of a network."""
        return lambda logits: self.reduce(logits, network)


def _labels(logits: "Tensor", network: NetworkInfo) -> "Tensor":
    del network  # calibration changes no label, and rounding must not change one either
    return logits.argmax(dim=1).byte() + 1


def _confidence(logits: "Tensor", network: NetworkInfo) -> "Tensor":
    p = (logits / network.temperature).softmax(dim=1).amax(dim=1)
    if network.confidence_curve != UNCALIBRATED:
        p = _on_curve(p, network.confidence_curve)
    return (p * 255).round().clamp(min=1).byte()  # 0 stands for no prediction


def _on_curve(p: "Tensor", curve: ConfidenceCurve) -> "Tensor":
    p = p.clamp(CLOSEST, 1 - CLOSEST)
    score = curve.rising * p.log() - curve.falling * (-p).log1p() + curve.shift
    return score.sigmoid()


def _probabilities(logits: "Tensor", network: NetworkInfo) -> "Tensor":
    return (logits / network.temperature).softmax(dim=1).half().transpose(0, 1)


LABELS = Output(name="labels", dtype=np.uint8, reduce=_labels)
"""Phases from 1."""

CONFIDENCE = Output(name="confidence", dtype=np.uint8, reduce=_confidence)
"""1 to 255 for calibrated probabilities up to 1 that the predicted phase is right."""

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
