"""The events that long work yields: frozen values, no callbacks.

A consumer (dock, command line, search, cluster) iterates a generator of these and shows
what it likes; closing the generator stops the work.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from napari_lrcs.arrays import Confusion

NoticeKind = Literal[
    "advice",
    "patch_cut",
    "out_of_memory",
    "pitfall",
    "never_predicted",
    "resumed",
    "restart",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the user should read: a sentence, and what to do about it."""

    kind: NoticeKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """Training is about to take its first step."""

    device: str
    precision: str
    n_parameters: int
    n_epochs: int
    steps_per_epoch: int
    first_epoch: int
    """1, or the epoch at which a resumed run goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    """Some optimiser steps are done; yielded several times a second."""

    epoch: int
    step: int
    """Steps done in this epoch."""
    steps_per_epoch: int
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """A tile of the validation or test slices is scored."""

    share: float
    """Of the slices' voxels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnded:
    """An epoch is done and validated."""

    epoch: int
    n_epochs: int
    step: int
    """Steps done since the training began."""
    learning_rate: float
    loss: float
    training: Confusion
    """Of the epoch's augmented patches, as they were trained on."""
    validation_loss: float
    """NaN without validation."""
    validation: Confusion | None
    is_best: bool
    seconds: float
    """Since the training began, earlier sessions of a resumed run included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEnded:
    """The training is over; `best` is the model to use."""

    best: Path
    epochs: int
    """Epochs done, early stopping included."""
    seconds: float
    device: str
    validation: Confusion | None
    """Of the best model."""
    test: Confusion | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionStarted:
    """Prediction is about to read its first slab."""

    device: str
    precision: str
    n_slices: int
    n_done: int
    """Slices that an earlier, interrupted prediction has left."""
    n_tiles: int
    """Tiles a slice; 1 where whole slices fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePredicted:
    """A tile of some slices is computed; yielded several times a second."""

    n_done: float
    """Slices of the region that are computed, parts included."""
    n_slices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabPredicted:
    """A run of slices has reached the result."""

    start: int
    stop: int
    n_done: int
    """Slices of the region that are written."""
    n_slices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """A part of the complete result is cleaned, compressed or the like."""

    share: float
    """Of its voxels, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionEnded:
    """The result is complete and in its place."""

    out: Path | None
    """None for a prediction into memory."""
    shape: tuple[int, int, int]
    n_voxels: int
    """Voxels predicted by this call, what a resumed prediction found done left out."""
    seconds: float
    device: str


TrainEvent: TypeAlias = (
    Notice | TrainingStarted | StepEnded | Scoring | EpochEnded | TrainingEnded
)
PredictEvent: TypeAlias = (
    Notice
    | PredictionStarted
    | TilePredicted
    | SlabPredicted
    | Publishing
    | PredictionEnded
)
