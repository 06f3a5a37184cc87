"""The curves of several runs over each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.header import Row
from napari_lrcs.runs.table import RunRecord
from napari_lrcs.training.run.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Score = Literal["mean_iou", "loss"]

SCORES: Mapping[Score, str] = {"mean_iou": "Mean IoU (%)", "loss": "Loss"}
"""Titles of the scores that are drawn."""

_NAMED = 10
"""Most curves that are told apart by colours with a legend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """The epochs of a run.

    Parameters
    ----------
    name : str
        As the table has it.
    rows : sequence of mappings
        As `RunFolder.read_history` returns them; none of a damaged run.
    """

    name: str
    rows: Sequence[Row]


def read_histories(records: Sequence[RunRecord]) -> list[RunHistory]:
    """Read the epochs of runs."""
    return [RunHistory(name=r.name, rows=_rows(r)) for r in records]


def draw_runs(ax: "Axes", runs: Sequence[RunHistory], score: Score) -> None:
    """Draw a score over the epochs, a colour for each run.

    It is that of the validation; of runs without a validation, that of the training, as
    dashed lines. Many runs go from violet to yellow, without a legend.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    is_named = len(runs) <= _NAMED
    colours = colormaps["tab10" if is_named else "viridis"]
    for place, run in enumerate(runs):
        ax.plot(
            [row["epoch"] or 0 for row in run.rows],
            _values(run, score),
            color=colours(place if is_named else place / (len(runs) - 1)),
            linestyle="-" if _is_validated(run) else "--",
            linewidth=1.4 if is_named else 0.8,
            marker="o" if len(run.rows) == 1 else "",
            markersize=3,
            label=run.name,
        )
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    ax.set_xlabel("Epoch")
    ax.set_title(SCORES[score], loc="left")
    if is_named and runs:
        ax.legend()


def _rows(record: RunRecord) -> Sequence[Row]:
    try:
        return RunFolder(record.path).read_history()
    except (CheckpointError, OSError):
        return ()


def _is_validated(run: RunHistory) -> bool:
    return any(row.get("validation_loss") is not None for row in run.rows)


def _values(run: RunHistory, score: Score) -> "np.typing.NDArray[np.float64]":
    name = f"{'validation' if _is_validated(run) else 'training'}_{score}"
    values = (row.get(name) for row in run.rows)
    scale = 100 if score == "mean_iou" else 1
    return np.array([np.nan if v is None else scale * v for v in values], np.float64)
