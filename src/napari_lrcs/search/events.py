"""The events of a search; needs neither torch nor Optuna."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from napari_lrcs.progress import Notice, TrainEvent
from napari_lrcs.search.results import SearchFindings, TrialResult
from napari_lrcs.search.space import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimating:
    """A few steps are being timed, to estimate how long the search takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStarted:
    """A search is about to start or to continue."""

    out: Path
    n_trials: int
    n_repeats: int
    n_done: int
    """Trials that have ended before; `TrialEnded` is yielded for each of them first."""
    seconds: float
    """Estimated duration of the trials that are left, if nothing is pruned."""
    memory: int
    """Estimated bytes that the largest setting needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A trial is about to start or to continue."""

    number: int
    settings: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialProgress:
    """A trial has made progress; yielded several times a second."""

    number: int
    share: float
    """Share of the trial's work that is done, 0 to 1; 0 if another process does it."""
    text: str
    event: TrainEvent | None
    """Event of the training; None in another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """A trial is complete, pruned or failed."""

    trial: TrialResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Another figure is drawn."""

    share: float
    """Share of the figures that are drawn, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEnded:
    """No trial is left to start, or the time is over."""

    findings: SearchFindings
    seconds: float
    """Duration of this call, without earlier sessions of a continued search."""


SearchEvent: TypeAlias = (
    Notice
    | Estimating
    | SearchStarted
    | TrialStarted
    | TrialProgress
    | TrialEnded
    | Drawing
    | SearchEnded
)
