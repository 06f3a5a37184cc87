"""The events that long work yields: frozen values instead of callbacks.

A consumer, such as a dock or the command line, iterates over a generator of events and
shows what it needs; closing the generator stops the work.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from napari_lrcs.arrays import Confusion, Labels

Result = TypeVar("Result")
Event = TypeVar("Event")
Other = TypeVar("Other")


def changed(
    events: Generator[Event, None, Result], change: Callable[[Event], Other]
) -> Generator[Other, None, Result]:
    """Change the events of a generator, but not what it returns.

    Examples
    --------
    >>> def work():
    ...     yield 1
    ...     return "done"
    >>> list(changed(work(), lambda event: 2 * event))
    [2]
    """
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                result: Result = end.value
                return result
            yield change(event)


def result_of(events: Generator[object, None, Result]) -> Result:
    """Run work to its end without its events, as in other processes.

    Returns
    -------
    object
        What the generator returns.
    """
    while True:
        try:
            next(events)
        except StopIteration as end:
            result: Result = end.value
            return result


NoticeKind = Literal[
    "advice",
    "patch_cut",
    "out_of_memory",
    "pitfall",
    "not_learnt",
    "foreign",
    "resumed",
    "restart",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that the user should know: a sentence that says what to do about it."""

    kind: NoticeKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLearnt:
    """A phase that is painted, but hardly ever predicted there.

    Examples
    --------
    >>> str(NotLearnt(label=3, name="crack", iou=0.042))
    'crack has an IoU of only 4.2%'
    """

    label: int
    name: str
    iou: float
    """0 to 1."""

    def __str__(self) -> str:
        """Return a clause for a message."""
        if self.iou == 0:
            return f"{self.name} is never predicted where it is painted"
        return f"{self.name} has an IoU of only {self.iou:.1%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    """Training is about to take its first step."""

    device: str
    precision: str
    rounds_alike: bool
    """Whether another training with this seed would end with the same weights."""
    n_parameters: int
    n_epochs: int
    steps_per_epoch: int
    first_epoch: int
    """1, or the epoch from which a resumed run continues."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    """Some optimiser steps are done; yielded several times a second."""

    epoch: int
    step: int
    """Steps done in this epoch."""
    steps_per_epoch: int
    loss: float
    checkpoint: Callable[[], Any] = field(repr=False, compare=False)
    """Copies the network as it is now, as a `Checkpoint`.

    Call it, if at all, before the training goes on to its next event.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """Another tile of the validation or test slices is scored."""

    share: float
    """Share of the slices' voxels that are scored, 0 to 1."""


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
    """Confusion on the epoch's augmented patches, counted as they were trained on."""
    validation_loss: float
    """NaN without validation."""
    validation: Confusion | None
    is_best: bool
    seconds: float
    """Duration of the training so far, including earlier sessions of a resumed run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEnded:
    """The training is over; `best` is the model to use."""

    best: Path
    epochs: int
    """Epochs done; fewer than planned after early stopping."""
    seconds: float
    device: str
    validation: Confusion | None
    """Confusion of the best model on the validation slices."""
    test: Confusion | None
    """Confusion of the best model on the test slices."""
    not_learnt: tuple[NotLearnt, ...] = ()
    """Phases that the best model has not learnt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionStarted:
    """Prediction is about to read its first slab."""

    device: str
    """What computes: a device of this computer, or how many workers."""
    precision: str
    """Arithmetic of the convolutions; empty if each worker chooses its own."""
    n_slices: int
    n_done: int
    """Slices that an earlier, interrupted prediction has finished."""
    n_tiles: int
    """Tiles per slice; 1 if whole slices fit into memory, 0 if workers differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TilePredicted:
    """Another tile of some slices is computed; yielded several times a second."""

    n_done: float
    """Slices computed so far; a fraction counts the tiles of unfinished slices."""
    n_slices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SlabPredicted:
    """A slab of slices has been written to the result."""

    start: int
    stop: int
    n_done: int
    """Slices written so far."""
    n_slices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """Another part of the result is cleaned, compressed or converted."""

    share: float
    """Share of the voxels that are done, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionEnded:
    """The result is complete and has its final name."""

    out: Path | None
    """File or folder of the labels; None for a prediction into memory."""
    shape: tuple[int, int, int]
    n_voxels: int
    """Voxels predicted by this call, without those of an earlier, interrupted one."""
    seconds: float
    device: str
    foreign: tuple[str, ...] = ()
    """Sentences on what makes the volume foreign to the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingForStrokes:
    """A live training cannot begin: fewer than two phases are painted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrokesTaken:
    """A live training draws from new strokes from its next step on."""

    slices: tuple[int, ...]
    n_voxels: int
    """Voxels whose label has changed."""
    step: int
    """Steps done before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting:
    """A live training computes nothing until the next stroke."""

    checkpoint: Callable[[], Any] = field(repr=False, compare=False)
    """As of `StepEnded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayChosen:
    """What labels the slice in view during a live training, until the next choice."""

    by: Literal["forest", "network"]
    predict: Callable[[int], Labels] | None = field(
        default=None, repr=False, compare=False
    )
    """Labels a slice by the forest; None for the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finishing:
    """A live training takes no more strokes and comes to its end."""

    n_epochs: int
    """Epochs that it will have had."""


LiveEvent: TypeAlias = (
    WaitingForStrokes | StrokesTaken | Resting | OverlayChosen | Finishing
)
TrainEvent: TypeAlias = (
    Notice
    | TrainingStarted
    | StepEnded
    | Scoring
    | EpochEnded
    | TrainingEnded
    | LiveEvent
)
PredictEvent: TypeAlias = (
    Notice
    | PredictionStarted
    | TilePredicted
    | SlabPredicted
    | Publishing
    | PredictionEnded
)
