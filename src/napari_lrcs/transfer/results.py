"""What a comparison of transfer learning found."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_lrcs.figures import mean_and_sd
from napari_lrcs.io.tables import Row
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.transfer.plan import Start

Curve = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartResult:
    """The trainings from one start.

    Parameters
    ----------
    start : Start
        How they began.
    accuracy, mean_iou : tuple of tuple of float
        Scores on the validation slices after each epoch of each training, 0 to 1.
    """

    start: Start
    accuracy: tuple[Curve, ...]
    mean_iou: tuple[Curve, ...]

    @property
    def scores(self) -> tuple[float, ...]:
        """Best mean IoU of each training."""
        return tuple(max(curve) for curve in self.mean_iou)

    @property
    def score(self) -> float:
        """Mean of `scores`; NaN if there is none."""
        return statistics.fmean(self.scores) if self.scores else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation of `scores`; NaN if there are fewer than two."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else math.nan

    @property
    def final_accuracy(self) -> float:
        """Mean accuracy after the last epoch; NaN if there is no training."""
        ends = [curve[-1] for curve in self.accuracy]
        return statistics.fmean(ends) if ends else math.nan

    def epochs_to(self, score: float) -> int | None:
        """Return after how many epochs the mean reaches a mean IoU; None if never."""
        if not self.mean_iou:
            return None
        mean, _ = mean_and_sd(self.mean_iou)
        reached = [epoch for epoch, value in enumerate(mean, 1) if value >= score]
        return reached[0] if reached else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferFindings:
    """The results of a comparison.

    Parameters
    ----------
    source : str
        Name of the earlier training's folder.
    results : tuple of StartResult
        One for each start, from scratch first.
    """

    source: str
    results: tuple[StartResult, ...]

    @property
    def scratch(self) -> StartResult:
        """The trainings from scratch."""
        return self.results[0]

    @property
    def rows(self) -> list[Row]:
        """One row for each start.

        ``gain`` is the mean IoU minus that from scratch; ``epochs`` counts until the
        mean IoU from scratch is reached, empty where it is not.
        """
        return [
            {
                "start": str(result.start),
                "epoch": result.start.epoch,
                "learning_rate": result.start.learning_rate,
                "n_repeats": len(result.scores),
                "mean_iou": result.score,
                "sd": result.sd,
                "gain": result.score - self.scratch.score,
                "accuracy": result.final_accuracy,
                "epochs": result.epochs_to(self._best_from_scratch),
            }
            for result in self.results
        ]

    @property
    def _best_from_scratch(self) -> float:
        curves = self.scratch.mean_iou
        return float(mean_and_sd(curves)[0].max()) if curves else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON values."""
        return {"source": self.source, "starts": self.rows}


def read_result(start: Start, folder: Path) -> StartResult:
    """Read the trainings from a start that have ended, from their run folders."""
    accuracy, mean_iou = [], []
    for path in sorted(folder.glob("repeat-*"), key=_number):
        run = RunFolder(path)
        if has_ended(run):
            rows = run.read_history()
            accuracy.append(_column(rows, "validation_accuracy"))
            mean_iou.append(_column(rows, "validation_mean_iou"))
    return StartResult(start=start, accuracy=tuple(accuracy), mean_iou=tuple(mean_iou))


def has_ended(run: RunFolder) -> bool:
    """Whether a training has run to its end."""
    return run.is_run and run.summarise().is_finished


def _number(path: Path) -> int:
    return int(path.name.partition("-")[2])


def _column(rows: Sequence[Mapping[str, float | int | None]], name: str) -> Curve:
    scores = (row[name] for row in rows)
    return tuple(math.nan if score is None else float(score) for score in scores)
