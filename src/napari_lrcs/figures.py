"""Figures that the command line leaves; drawn without a display."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lrcs.arrays import Labels
from napari_lrcs.data.units import SYMBOLS
from napari_lrcs.data.writing import replacing
from napari_lrcs.phases import UNPAINTED, PhaseTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_ERROR = (0.84, 0.15, 0.16)
_GREY = "#555555"
_OVERLAY = 0.75


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceComparison:
    """A slice with its target and what was predicted.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        Grey levels.
    target, predicted : ndarray of uint8, shape (rows, columns)
    pixel_size : tuple of float and str, optional
        Side of a pixel and its unit, for a scale bar.
    """

    image: "NDArray[Any]"
    target: Labels
    predicted: Labels
    pixel_size: tuple[float, str] | None = None


def draw_segmentation(
    path: Path,
    *,
    pictured: SliceComparison,
    phases: PhaseTable,
    history: Sequence[Mapping[str, Any]],
    title: str,
) -> None:
    """Draw a slice, its truth, its prediction, the errors and the training's curves.

    Parameters
    ----------
    path : Path
        ``.png``, ``.pdf`` or ``.svg``; replaced only when complete.
    pictured : SliceComparison
    phases : PhaseTable
    history : sequence of mappings
        Rows of a run's history.
    title : str
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.3, 7.5), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=15)
    grid = figure.add_gridspec(2, 1, height_ratios=[1.35, 1])
    top, bottom = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    image, target, predicted = pictured.image, pictured.target, pictured.predicted
    low, high = np.percentile(image, [0.5, 99.5])
    grey = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    background = np.repeat(grey[..., np.newaxis], 3, axis=2)
    wrong = (target != UNPAINTED) & (target != predicted)
    share = wrong.sum() / max(1, (target != UNPAINTED).sum())
    panels = {
        "Raw slice": background,
        "Truth": _coloured(target, phases, background),
        "Prediction": _coloured(predicted, phases, background),
        f"Errors: {share:.1%} of the voxels": np.where(
            wrong[..., np.newaxis], _ERROR, background
        ),
    }
    for ax, (label, picture) in zip(top.subplots(1, 4), panels.items(), strict=True):
        ax.imshow(picture, interpolation="nearest")
        ax.set_title(label, fontsize=12)
        ax.set_axis_off()
    if pictured.pixel_size is not None:
        _add_scale_bar(top.axes[0], *pictured.pixel_size)
    losses, ious = bottom.subplots(1, 2)
    _draw_losses(losses, history)
    _draw_ious(ious, history, phases)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def _add_scale_bar(ax: "Axes", pixel_size: float, unit: str) -> None:
    """Draw a bar of a round length, about a fifth of the image."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    columns, rows = ax.get_xlim()[1] + 0.5, ax.get_ylim()[0] + 0.5
    wanted = columns * pixel_size / 5
    power = 10.0 ** np.floor(np.log10(wanted))
    length = power * max(n for n in (1, 2, 5) if n * power <= wanted)
    start, end, y = 0.95 * columns - length / pixel_size, 0.95 * columns, 0.93 * rows
    outline = [withStroke(linewidth=4, foreground="black")]
    ax.add_patch(
        Rectangle((start, y), end - start, rows / 60, fc="white", ec="black", lw=1)
    )
    ax.text(
        (start + end) / 2,
        y - 0.02 * rows,
        f"{length:g} {SYMBOLS.get(unit, unit)}",
        color="white",
        ha="center",
        va="bottom",
        fontsize=11,
        path_effects=outline,
    )


def _coloured(
    labels: Labels, phases: PhaseTable, background: "NDArray[np.floating]"
) -> "NDArray[np.floating]":
    colours = np.zeros((256, 3))
    for phase in phases:
        colours[phase.label] = phase.rgb
    overlay = _OVERLAY * colours[labels] + (1 - _OVERLAY) * background
    return np.where(labels[..., np.newaxis] == UNPAINTED, background, overlay)


def _draw_losses(ax: "Axes", history: Sequence[Mapping[str, Any]]) -> None:
    epochs = [row["epoch"] for row in history]
    for name, style in (("training", "--"), ("validation", "-")):
        losses = [row[f"{name}_loss"] for row in history]
        if None not in losses:
            ax.plot(epochs, losses, style, color=_GREY, marker="o", ms=4, label=name)
    _dress(ax, ylabel="Loss")


def _draw_ious(
    ax: "Axes", history: Sequence[Mapping[str, Any]], phases: PhaseTable
) -> None:
    epochs = [row["epoch"] for row in history]
    for phase in phases:
        for name, style in (("training", "--"), ("validation", "-")):
            scores = [row[f"{name}_iou_{phase.label}"] for row in history]
            ious = [np.nan if score is None else 100 * score for score in scores]
            label = phase.name if name == "validation" else None
            ax.plot(
                epochs, ious, style, color=phase.colour, marker="o", ms=4, label=label
            )
    ax.set_ylim(0, 100)
    _dress(ax, ylabel="IoU in % (dashed: training)")


def _dress(ax: "Axes", *, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel("Epoch")
    ax.set_ylabel(ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
