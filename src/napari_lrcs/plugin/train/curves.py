"""Curves of losses and scores, which grow during a training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from napari.viewer import Viewer

from napari_lrcs.models.header import Row
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.plots import Plot

_GREY = "#9a9a9a"
"""A grey that is legible on napari's dark and light backgrounds."""

_GROWTH = 1.5
"""How much wider the plot becomes at a time, where nobody has planned the epochs."""

_TRAINING: dict[str, Any] = {"linestyle": "--", "linewidth": 0.9}
_VALIDATION: dict[str, Any] = {
    "linestyle": "-",
    "linewidth": 1.6,
    "marker": "o",
    "markersize": 2.5,
}


class Curves(Plot):
    """Loss, and IoU of each phase in its colour, over the epochs."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, n_axes=2, height=330)
        self._loss, self._iou = self.axes
        self._rows: list[Row] = []
        self._lines: dict[str, Line2D] = {}
        self._n_epochs = 1
        self._right = self._top = 0.0
        self._style_axes()

    @property
    def is_empty(self) -> bool:
        """Whether no run is shown."""
        return not self._lines

    def begin(
        self, phases: PhaseTable, *, n_epochs: int, history: Sequence[Row] = ()
    ) -> None:
        """Start the curves of a training.

        Parameters
        ----------
        history : sequence of mappings
            Epochs that an earlier session has done.
        """
        for line in self._lines.values():
            line.remove()
        self._n_epochs, self._top = n_epochs, 0.0
        self._rows = list(history)
        self._lines = {}
        for role, style in (("training", _TRAINING), ("validation", _VALIDATION)):
            name = f"{role}_loss"
            (self._lines[name],) = self._loss.plot(
                [], [], color=_GREY, label=role, **style
            )
            for phase in phases:
                label = phase.name if role == "validation" else None
                name = f"{role}_iou_{phase.label}"
                (self._lines[name],) = self._iou.plot(
                    [], [], color=phase.colour, label=label, **style
                )
        self.animate(list(self._lines.values()))
        self._make_legends()
        self._move()

    def add(self, row: Row) -> None:
        """Add an epoch, in place of one that a restart has undone."""
        del self._rows[int(row["epoch"] or 1) - 1 :]
        self._rows.append(row)
        if len(self._rows) > self._n_epochs:  # of a training without a planned end
            self._n_epochs = round(_GROWTH * len(self._rows))
        self._move()

    def _style_axes(self) -> None:
        for ax in self.axes:
            ax.grid(alpha=0.25)
            ax.spines[["top", "right"]].set_visible(False)
            ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        self._loss.set_title("Loss", loc="left")
        self._loss.tick_params(labelbottom=False)
        self._iou.set_title("IoU (%)", loc="left")
        self._iou.set_ylim(0, 102)
        self._iou.set_xlabel("Epoch", labelpad=1)
        self.restyle()

    def _make_legends(self) -> None:
        for ax in self.axes:
            handles, names = ax.get_legend_handles_labels()
            ax.legend(handles, names, frameon=bool(names))
        self.place_legends_above()

    def _move(self) -> None:
        for name, line in self._lines.items():
            line.set_data(*_curve(self._rows, name))
        # Half an epoch of room, so that the first one is in sight.
        right = self._n_epochs + 0.5
        highest = max((_highest(line) for line in self._loss.lines), default=0.0)
        # Never lower than before: what stands still need not be drawn anew.
        top = max(1.05 * highest, self._top)
        if (right, top) == (self._right, self._top):
            self.blit_soon()
            return
        self._right, self._top = right, top
        for ax in self.axes:
            ax.set_xlim(0.5, right)
        self._loss.set_ylim(0, top or 1.0)  # before the first epoch there is none
        self.draw_soon()


def _highest(line: Line2D) -> float:
    values = np.asarray(line.get_ydata(), float)
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else 0.0


def _curve(rows: Sequence[Row], name: str) -> tuple[list[int], list[float]]:
    epochs = [int(row["epoch"] or 0) for row in rows]
    values = [row.get(name) for row in rows]
    scale = 100 if "_iou" in name else 1
    return epochs, [np.nan if v is None else scale * float(v) for v in values]
