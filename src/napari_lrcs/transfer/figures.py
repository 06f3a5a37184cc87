"""The figure of a comparison of transfer learning, as the paper's Fig. 5a."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.figures import mean_and_sd
from napari_lrcs.io.writing import replacing
from napari_lrcs.transfer.results import StartResult, TransferFindings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURE = "transfer.png"
"""File that `write_figure` writes."""

_SCRATCH = "#aa3377"
_COLOURS = ("#4477aa", "#ee7733", "#228833")
"""From the highest initial rate to the lowest, as in the paper; by Paul Tol."""


def write_figure(out: Path, findings: TransferFindings) -> None:
    """Draw the curves of accuracy and of the mean IoU into a folder."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_curves(left, findings, score="accuracy")
    draw_curves(right, findings, score="mean_iou")
    handles, names = left.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False)
    with replacing(out / FIGURE) as temporary:
        figure.savefig(temporary)


def draw_curves(ax: "Axes", findings: TransferFindings, *, score: str) -> None:
    """Draw each start as the mean of its trainings, and one standard deviation.

    Parameters
    ----------
    score : {"accuracy", "mean_iou"}
        What is drawn over the epochs.
    """
    from matplotlib.ticker import MaxNLocator

    styles = styles_of(findings)
    for result in findings.results:
        curves = result.accuracy if score == "accuracy" else result.mean_iou
        if not curves:
            continue
        mean, sd = (100 * values for values in mean_and_sd(curves))
        epochs = range(1, len(mean) + 1)
        colour, style = styles[result.start.name]
        ax.plot(epochs, mean, style, color=colour, lw=1.4, label=str(result.start))
        ax.fill_between(epochs, mean - sd, mean + sd, color=colour, alpha=0.1, lw=0)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("Epoch")
    name = "Accuracy" if score == "accuracy" else "Mean IoU"
    ax.set_ylabel(f"{name} on the validation slices (%)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)


def styles_of(findings: TransferFindings) -> dict[str, tuple[str, str]]:
    """Choose a colour for each rate, and a dash for each moment, by names of starts."""
    found = {findings.scratch.start.name: (_SCRATCH, "-")}
    moments: dict[int, list[StartResult]] = {}
    for result in findings.results[1:]:
        moments.setdefault(result.start.epoch, []).append(result)
    for results, dash in zip(moments.values(), (":", "-.", "--", "-"), strict=False):
        for result, colour in zip(results, _COLOURS, strict=False):
            found[result.start.name] = colour, dash
    return found
