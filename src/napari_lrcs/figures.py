"""Figures that the command line and the docks save; drawn without a display.

The functions that take `Axes` draw into those of a dock as well; their colours are
readable on a light and on a dark background.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lrcs.arrays import Confusion, Labels
from napari_lrcs.io.units import SYMBOLS
from napari_lrcs.io.writing import replacing
from napari_lrcs.metrics.calibration import N_BINS, Reliability
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.metrics.composition import Composition
from napari_lrcs.metrics.overlap import iou_per_phase
from napari_lrcs.phases import UNPAINTED, PhaseTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

_ERROR = (0.84, 0.15, 0.16)
_GREY = "#555555"
_OVERLAY_OPACITY = 0.75
_PREDICTED, _TARGET = "#3a87c8", "#9a9a9a"
"""Readable on white and on black, and no phase's default colour."""
_DARK = 0.72
"""Share above which a cell is so dark that white text is easier to read than black."""


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
    history : sequence of mappings
        Rows of a run's history.
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
    overlay = _OVERLAY_OPACITY * colours[labels] + (1 - _OVERLAY_OPACITY) * background
    return np.where(labels[..., np.newaxis] == UNPAINTED, background, overlay)


def write_cover(
    path: Path, image: "NDArray[Any]", labels: Labels, phases: PhaseTable
) -> None:
    """Write a slice, and beside it what is predicted, as a picture without margins.

    Parameters
    ----------
    path : Path
        ``.png``.
    image : ndarray, shape (rows, columns)
        Grey levels.
    labels : ndarray of uint8, the same shape
    """
    from matplotlib.image import imsave

    low, high = np.percentile(image, [0.5, 99.5])
    grey = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    background = np.repeat(grey[..., np.newaxis], 3, axis=-1)
    both = [background, _coloured(labels, phases, background)]
    imsave(path, np.concatenate(both, axis=1))


def write_comparison_figure(path: Path, comparison: Comparison) -> None:
    """Draw a comparison: its confusion matrix, both compositions and the slices.

    Where the confidence is known, its reliability is drawn, too.

    Parameters
    ----------
    path : Path
        ``.png``, ``.pdf`` or ``.svg``; replaced only when complete.
    """
    from matplotlib.figure import Figure

    phases = comparison.phases
    figure = Figure(figsize=(13.3, 7.5), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.35, 1])
    draw_confusion(figure.add_subplot(grid[0, 0]), comparison.confusion, phases)
    draw_composition(
        figure.add_subplot(grid[0, 1]), comparison.predicted, comparison.target, phases
    )
    reliability = comparison.reliability
    slices = figure.add_subplot(grid[1, :] if reliability is None else grid[1, 0])
    draw_slice_scores(slices, comparison.per_slice, phases)
    if reliability is not None:
        draw_reliability(figure.add_subplot(grid[1, 1]), reliability)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def draw_confusion(ax: "Axes", confusion: Confusion, phases: PhaseTable) -> None:
    """Draw which share of each painted phase was predicted as which, and the counts.

    Parameters
    ----------
    confusion : ndarray of int64, shape (n_phases, n_phases)
        Rows are the target.
    """
    n_painted = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(n_painted, 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = min(10.0, 32 / len(phases))
    for (row, column), share in np.ndenumerate(shares):
        ax.text(
            column,
            row,
            f"{share:.1%}\n{confusion[row, column]:,}" if n_painted[row] else "–",
            color="white" if share > _DARK else "black",
            ha="center",
            va="center",
            fontsize=size,
        )
    ax.set_xticks(range(len(phases)), phases.names)
    ax.set_yticks(range(len(phases)), phases.names)
    ax.tick_params(length=0)
    ax.set_xlabel("Predicted")
    ax.set_ylabel("Target")


def draw_slice_scores(
    ax: "Axes", per_slice: Sequence[tuple[int, Confusion]], phases: PhaseTable
) -> None:
    """Draw the IoU of each phase over the slices; a gap where it is in neither.

    Parameters
    ----------
    per_slice : sequence of (int, ndarray of int64, shape (n_phases, n_phases))
        Places and confusion matrices, ascending.
    """
    places = [place for place, _ in per_slice]
    ious = np.array([iou_per_phase(confusion) for _, confusion in per_slice])
    for phase in phases:
        scores = 100 * ious[:, phase.label - 1]
        ax.plot(places, scores, color=phase.colour, marker="o", ms=3, label=phase.name)
    ax.set_ylim(0, 102)
    _style_axes(ax, xlabel="Slice", ylabel="IoU (%)")


def draw_composition(
    ax: "Axes", predicted: Composition, target: Composition, phases: PhaseTable
) -> None:
    """Draw the shares of volume, surface and interfaces of both as pairs of bars."""
    names = phases.names
    labels = [
        *(f"{name}, {kind}" for kind in ("volume", "surface") for name in names),
        *(f"{names[a - 1]} – {names[b - 1]}" for a, b in target.interface_fraction),
    ]
    places = np.arange(len(labels))
    sides = (("target", target, _TARGET), ("predicted", predicted, _PREDICTED))
    for i, (name, side, colour) in enumerate(sides):
        shares = [
            *side.volume_fraction,
            *side.surface_fraction,
            *side.interface_fraction.values(),
        ]
        widths = 100 * np.array(shares)
        ax.barh(places + 0.4 * i - 0.2, widths, height=0.4, color=colour, label=name)
    ax.set_yticks(places, labels)
    ax.invert_yaxis()
    ax.set_xlabel("Share of the voxels (%)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="x", alpha=0.3)
    ax.legend(frameon=False)


def draw_reliability(ax: "Axes", reliability: Reliability) -> None:
    """Draw how often voxels of each confidence are right, and how many there are.

    Points on the diagonal are right as often as they are confident; below it, the
    prediction is too sure. The bars show the share of the voxels in each bin.
    """
    shares = 100 * reliability.n / reliability.n.sum()
    places = 100 * (np.arange(N_BINS) + 0.5) / N_BINS
    ax.bar(places, shares, width=90 / N_BINS, color=_TARGET, alpha=0.6, label="voxels")
    ax.plot((0, 100), (0, 100), "--", color=_TARGET, label="calibrated")
    held = reliability.n > 0
    claimed, found = reliability.confidence[held], reliability.accuracy[held]
    ax.plot(
        100 * claimed, 100 * found, color=_PREDICTED, marker="o", ms=3, label="right"
    )
    ax.set_xlim(0, 102)
    ax.set_ylim(0, 102)
    ax.set_xlabel("Confidence (%)")
    ax.set_ylabel("Share (%)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def _draw_losses(ax: "Axes", history: Sequence[Mapping[str, Any]]) -> None:
    epochs = [row["epoch"] for row in history]
    for name, style in (("training", "--"), ("validation", "-")):
        losses = [row[f"{name}_loss"] for row in history]
        if None not in losses:
            ax.plot(epochs, losses, style, color=_GREY, marker="o", ms=4, label=name)
    _style_axes(ax, xlabel="Epoch", ylabel="Loss")


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
    _style_axes(ax, xlabel="Epoch", ylabel="IoU (%), dashed: training")


def _style_axes(ax: "Axes", *, xlabel: str, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def mean_and_sd(
    curves: Sequence[Sequence[float]],
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return mean and standard deviation of curves, as far as the shortest reaches.

    Examples
    --------
    >>> mean, sd = mean_and_sd([(0.5, 0.7), (0.7, 0.7, 0.9)])
    >>> mean.round(3).tolist(), sd.round(3).tolist()
    ([0.6, 0.7], [0.141, 0.0])
    """
    full = [curve for curve in curves if curve]
    shortest = min(map(len, full))
    values = np.array([curve[:shortest] for curve in full])
    sd = values.std(axis=0, ddof=1) if len(full) > 1 else np.zeros(shortest)
    return values.mean(axis=0), sd
