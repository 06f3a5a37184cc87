"""Figures that the command line leaves; drawn without a display."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lrcs.arrays import Labels
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
    """

    image: "NDArray[Any]"
    target: Labels
    predicted: Labels


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
    axes = figure.subplot_mosaic(
        [["raw", "target", "predicted", "errors"], ["loss", "loss", "iou", "iou"]],
        height_ratios=[1.35, 1],
    )
    for name, ax in axes.items():
        if name not in ("loss", "iou"):
            ax.set_axis_off()
    image, target, predicted = pictured.image, pictured.target, pictured.predicted
    low, high = np.percentile(image, [0.5, 99.5])
    grey = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    background = np.repeat(grey[..., np.newaxis], 3, axis=2)
    wrong = (target != UNPAINTED) & (target != predicted)
    share = wrong.sum() / max(1, (target != UNPAINTED).sum())
    panels = {
        "raw": ("Raw slice", background),
        "target": ("Truth", _coloured(target, phases, background)),
        "predicted": ("Prediction", _coloured(predicted, phases, background)),
        "errors": (
            f"Errors: {share:.1%} of the voxels",
            np.where(wrong[..., np.newaxis], _ERROR, background),
        ),
    }
    for name, (label, picture) in panels.items():
        axes[name].imshow(picture, interpolation="nearest")
        axes[name].set_title(label, fontsize=12)
    _draw_losses(axes["loss"], history)
    _draw_ious(axes["iou"], history, phases)
    with replacing(path) as temporary:
        figure.savefig(temporary)


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
