"""What the trials of a search found; needs neither torch nor Optuna."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from napari_lrcs.config import TrainConfig
from napari_lrcs.io.tables import Row
from napari_lrcs.search.space import SearchSpace, Values

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """A setting that was tried.

    Parameters
    ----------
    number : int
        Number of the trial, from 0.
    settings : dict
        Values of the settings that are searched.
    state : {"complete", "pruned", "failed"}
        A pruned trial was stopped because it is hopeless.
    curves : tuple of tuple of float
        Mean IoU on the validation slices after each epoch of each repeat, 0 to 1.
    reason : str
        Why it was pruned or failed; empty for a complete trial.
    seconds : float
        Duration, without earlier sessions of a continued trial.
    ended : float
        When it ended, in seconds since 1970.
    """

    number: int
    settings: Values
    state: State
    curves: tuple[tuple[float, ...], ...] = ()
    reason: str = ""
    seconds: float = 0.0
    ended: float = 0.0

    @property
    def name(self) -> str:
        """Name of its folder, such as ``trial-003``."""
        return trial_name(self.number)

    @property
    def scores(self) -> tuple[float, ...]:
        """Best score of each repeat."""
        return tuple(max(curve) for curve in self.curves if curve)

    @property
    def score(self) -> float:
        """Mean of the repeats' scores; NaN if no epoch has ended."""
        return statistics.fmean(self.scores) if self.scores else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation of the repeats' scores; NaN if there is only one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else math.nan

    def to_row(self) -> Row:
        """Return it as a row of a table."""
        return {
            "trial": self.number,
            "state": self.state,
            "mean_iou": self.score,
            "sd": self.sd,
            "n_repeats": len(self.scores),
            "seconds": round(self.seconds, 3),
            **self.settings,
            "reason": self.reason,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return what is printed of it, as JSON values."""
        return {
            "trial": self.number,
            "state": self.state,
            "mean_iou": self.score,
            "sd": self.sd,
            "scores": [*self.scores],
            "settings": self.settings,
            "reason": self.reason,
            "seconds": self.seconds,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFindings:
    """The results of a search so far.

    Parameters
    ----------
    out : Path
        Folder of the search.
    config : TrainConfig
        The settings that are not searched.
    space : SearchSpace
        Those that are.
    n_trials : int
        Trials that are planned.
    trials : tuple of TrialResult
        Those that have ended, by number.
    importances : dict of str to float
        Share of each setting in the spread of the scores, the largest first; empty
        while the search runs, and if there are too few trials.
    """

    out: Path
    config: TrainConfig
    space: SearchSpace
    n_trials: int
    trials: tuple[TrialResult, ...]
    importances: dict[str, float]

    @property
    def ranked(self) -> list[TrialResult]:
        """Complete trials, the best first."""
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return sorted(complete, key=lambda trial: -trial.score)

    @property
    def best(self) -> TrialResult | None:
        """The complete trial with the best score; None if there is none."""
        return next(iter(self.ranked), None)

    @property
    def best_config(self) -> TrainConfig:
        """Settings of the best trial."""
        assert self.best is not None
        return self.config.with_changes(**self.best.settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {
            "n_trials": self.n_trials,
            "best": None if self.best is None else self.best.to_dict(),
            "trials": [trial.to_dict() for trial in self.trials],
            "importances": self.importances,
        }


def trial_name(number: int) -> str:
    """Return the name of a trial's folder.

    Examples
    --------
    >>> trial_name(7)
    'trial-007'
    """
    return f"trial-{number:03d}"


def find_hopeless(trial: TrialResult, others: Sequence[TrialResult]) -> str:
    """Say why further repeats of a trial are not worth their time; empty if they are.

    A trial is hopeless if the first of its repeats has scored less than the median of
    the other trials' first repeats at the same epoch.

    Parameters
    ----------
    others : sequence of TrialResult
        Trials that have ended.
    """
    (curve,) = trial.curves
    earlier = [
        max(other.curves[0][: len(curve)])
        for other in others
        if other.state != "failed" and other.curves[:1] != ((),)
    ]
    if not curve or len(earlier) < _FEWEST_TRIALS:
        return ""
    median = statistics.median(earlier)
    if max(curve) >= median:
        return ""
    return (
        f"its first training reached a mean IoU of {max(curve):.1%}, less than "
        f"{median:.1%}, the median of {len(earlier)} other trials"
    )


_FEWEST_TRIALS = 5
"""Ended trials from which on others are compared with their median."""
