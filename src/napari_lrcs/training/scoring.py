"""Score a network in training on annotated slices."""

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_lrcs.annotation.annotation import AnnotatedSlice
from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.config import OptimisationConfig, Precision
from napari_lrcs.metrics.calibration import (
    UNCALIBRATED,
    ConfidenceCurve,
    fit_confidence_curve,
    fit_temperature,
)
from napari_lrcs.metrics.overlap import accuracy, iou_per_phase, mean_iou
from napari_lrcs.models.header import Row
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.tiles import TiledNetwork
from napari_lrcs.preprocessing.normalisation import Normalisation
from napari_lrcs.progress import EpochEnded, Scoring
from napari_lrcs.training.counts import count_confusion
from napari_lrcs.training.losses import LOSSES

_EVALUATION_MEMORY = 2**29

_SAMPLED_VOXELS = 2**16
"""Painted voxels of all slices that a temperature is fitted to.

Where 90% of the voxels are right, the temperature then scatters by about 1%.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LogitSample:
    """Logits of some painted voxels.

    Parameters
    ----------
    logits : ndarray of float32, shape (n, K)
    labels : ndarray of uint8, shape (n,)
        What is painted there, from 1.
    """

    logits: NDArray[np.float32]
    labels: Labels

    @classmethod
    def drawn(cls, logits: Tensor, labels: Labels, *, share: float) -> Self:
        """Draw a share of the painted voxels, the same ones each time.

        Parameters
        ----------
        logits : Tensor, shape (K, rows, columns)
        labels : ndarray of uint8, shape (rows, columns)
        share : float
            0 to 1.
        """
        places = np.flatnonzero(labels)
        if share < 1:
            rng = np.random.default_rng(0)
            places = rng.choice(places, round(share * places.size), replace=False)
        return cls(
            logits=logits.flatten(1).numpy()[:, places].T, labels=labels.ravel()[places]
        )

    def __add__(self, other: Self) -> Self:
        """Add the voxels of another slice."""
        return type(self)(
            logits=np.concatenate([self.logits, other.logits]),
            labels=np.concatenate([self.labels, other.labels]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceScore:
    """What a slice, or several, scored.

    Parameters
    ----------
    loss : float
        Mean over the painted voxels.
    confusion : ndarray of int64, shape (K, K)
        Of the painted voxels.
    predicted : ndarray of int64, shape (K,)
        Voxels predicted as each phase, painted or not, in the field of view.
    sample : LogitSample, optional
        Logits of painted voxels.
    """

    loss: float
    confusion: Confusion
    predicted: NDArray[np.int64]
    sample: LogitSample | None = None

    def calibration(self) -> tuple[float, ConfidenceCurve]:
        """Fit a temperature to these slices, and a curve to probabilities at it."""
        if self.sample is None:
            return 1.0, UNCALIBRATED
        logits, labels = self.sample.logits, self.sample.labels
        temperature = fit_temperature(logits, labels)
        curve = fit_confidence_curve(logits, labels, temperature=temperature)
        return temperature, curve


def evaluate_slice(
    model: SegmentationNetwork,
    annotated: AnnotatedSlice,
    *,
    normalisation: Normalisation,
    config: OptimisationConfig,
    precision: Precision,
    sampled: float = 1.0,
) -> Iterator[float | SliceScore]:
    """Score one slice as it is: yields the share that is done, at last the score.

    Parameters
    ----------
    sampled : float
        Share of the painted voxels whose logits are kept, 0 to 1.
    """
    model.eval()
    shape = annotated.image.shape[-2:]
    network = TiledNetwork(model, shape, precision=precision, memory=_EVALUATION_MEMORY)
    logits = torch.empty((model.n_phases, 1, *shape))
    image = torch.from_numpy(normalisation(annotated.image))[None]
    for share in network.fill([(logits, _phases_first)], image):
        if isinstance(share, float):
            yield share
    logits = logits.transpose(0, 1)
    target = torch.from_numpy(annotated.labels)[None]
    weights = phase_weights_of(config, model.n_phases, torch.device("cpu"))
    loss = float(LOSSES[config.loss](logits, target, weights))
    confusion = count_confusion(logits, target).numpy()
    labels = logits[0].argmax(dim=0).numpy()
    inside = labels[... if annotated.inside is None else annotated.inside]
    predicted = np.bincount(inside.ravel(), minlength=model.n_phases)
    sample = LogitSample.drawn(logits[0], annotated.labels, share=sampled)
    yield SliceScore(loss=loss, confusion=confusion, predicted=predicted, sample=sample)


def _phases_first(logits: Tensor) -> Tensor:
    return logits.transpose(0, 1)


def score_slices(
    model: SegmentationNetwork,
    slices: Sequence[AnnotatedSlice],
    *,
    normalisation: Normalisation,
    config: OptimisationConfig,
    precision: Precision,
) -> Generator[Scoring, None, SliceScore | None]:
    """Score all painted voxels of some slices, never augmented; None without slices."""
    if not slices:
        return None
    loss, counts = 0.0, np.zeros((model.n_phases,) * 2, np.int64)
    predicted = np.zeros(model.n_phases, np.int64)
    samples: list[LogitSample] = []
    n_painted = sum(s.n_painted for s in slices)
    for i, s in enumerate(slices):
        scoring = evaluate_slice(
            model,
            s,
            normalisation=normalisation,
            config=config,
            precision=precision,
            sampled=min(1.0, _SAMPLED_VOXELS / n_painted),
        )
        for result in scoring:
            if isinstance(result, float):
                yield Scoring(share=(i + result) / len(slices))
            else:
                loss += result.loss * s.n_painted
                counts += result.confusion
                predicted += result.predicted
                samples += [] if result.sample is None else [result.sample]
    return SliceScore(
        loss=loss / n_painted,
        confusion=counts,
        predicted=predicted,
        sample=reduce(add, samples) if samples else None,
    )


def history_row(event: EpochEnded) -> Row:
    """Make an epoch's row of ``history.csv``; empty where there is no validation."""
    row: dict[str, float | int | None] = {
        "epoch": event.epoch,
        "step": event.step,
        "seconds": round(event.seconds, 3),
        "learning_rate": event.learning_rate,
    }
    losses = {"training": event.loss, "validation": event.validation_loss}
    confusions = {"training": event.training, "validation": event.validation}
    for name, confusion in confusions.items():
        row[f"{name}_loss"] = _or_none(losses[name])
        n_phases = len(event.training)
        scores = np.full(n_phases + 2, np.nan)
        if confusion is not None:
            scores[0], scores[1] = accuracy(confusion), mean_iou(confusion)
            scores[2:] = iou_per_phase(confusion)
        row[f"{name}_accuracy"], row[f"{name}_mean_iou"] = map(_or_none, scores[:2])
        for label in range(1, n_phases + 1):
            row[f"{name}_iou_{label}"] = _or_none(scores[label + 1])
    return row


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def phase_weights_of(
    config: OptimisationConfig, n_phases: int, device: torch.device
) -> Tensor | None:
    """Return the config's phase weights for the losses; None for equal ones.

    Raises
    ------
    ValueError
        If there is not one a phase, or all are 0.
    """
    weights = config.phase_weights
    if not weights:
        return None
    if len(weights) != n_phases or not any(weights):
        raise ValueError(
            f"phase_weights must be {n_phases} numbers, one per phase and not all 0; "
            f"got {weights}"
        )
    return torch.tensor(weights, device=device)
