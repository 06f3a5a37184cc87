"""The curves of several runs over each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.header import Row
from napari_lrcs.runs.table import RunRecord
from napari_lrcs.training.run_folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


def draw_runs(axes: Sequence["Axes"], runs: Sequence[RunHistory]) -> None:
    """Draw losses and mean IoUs over the epochs, a colour for each run.

    They are those of the validation; dashed lines are those of the training, of runs
    without a validation.

    Parameters
    ----------
    axes : sequence of two Axes
        For the losses, and for the mean IoUs in percent.
    """
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    is_named = len(runs) <= _NAMED
    colours = colormaps["tab10" if is_named else "viridis"]
    for ax, (score, scale) in zip(axes, (("loss", 1), ("mean_iou", 100)), strict=True):
        for place, run in enumerate(runs):
            ax.plot(
                [row["epoch"] for row in run.rows],
                scale * _values(run, score),
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
    axes[0].set_title("Loss", loc="left")
    axes[1].set_title("Mean IoU in %", loc="left")
    if is_named and runs:
        axes[0].legend()


def _rows(record: RunRecord) -> Sequence[Row]:
    try:
        return RunFolder(record.path).read_history()
    except (CheckpointError, OSError):
        return ()


def _is_validated(run: RunHistory) -> bool:
    return any(row.get("validation_loss") is not None for row in run.rows)


def _values(run: RunHistory, score: str) -> "np.typing.NDArray[np.float64]":
    name = f"{'validation' if _is_validated(run) else 'training'}_{score}"
    values = [row.get(name) for row in run.rows]
    return np.array([np.nan if v is None else v for v in values], np.float64)
