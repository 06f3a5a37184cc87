"""Figures of check patches: corrected values with their intervals; needs no torch."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.summary import StudySummary
from napari_lrcs.uncertainty.trust import level_text
from napari_lrcs.uncertainty.trust.budget import scatter_of_labels
from napari_lrcs.uncertainty.trust.judged import Judged
from napari_lrcs.uncertainty.trust.report import CheckReport
from napari_lrcs.uncertainty.trust.tables import corrected_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

_GREY = "#808080"
_SHOWN = ("volume_fraction", "interface_fraction")


def write_intervals(
    path: Path, report: CheckReport, *, study: StudySummary | None = None
) -> None:
    """Draw the intervals of the first segmentation of a report into a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.5), dpi=150, layout="constrained")
    draw_intervals(figure.add_subplot(), report, study=study)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def draw_intervals(
    ax: "Axes", report: CheckReport, *, study: StudySummary | None = None
) -> None:
    """Draw how far prediction and study are from the corrected values.

    A row for each volume and interface: the interval about the corrected value, which
    is the zero, the plain prediction, and the mean ± one standard deviation of the
    study's networks on perturbed labels.

    Parameters
    ----------
    report : CheckReport
        Its first segmentation is drawn.
    study : StudySummary, optional
        Its interfaces are drawn only if the report has the study's neighbourhood.
    """
    quantities = report.segmentations[0].quantities
    shown = [q for q in quantities if q.kind in _SHOWN]
    for place, quantity in enumerate(shown):
        _draw_row(ax, place, quantity, report)
        scatter = scatter_of_labels(quantity, study, report)
        if scatter is not None:
            ax.errorbar(
                100 * (scatter.mean - quantity.value),
                place + 0.25,
                xerr=100 * scatter.sd,
                fmt="D",
                color=_GREY,
                markersize=4,
                capsize=3,
                label=None if place else "study, mean ± sd",
            )
    ax.axvline(0, color=_GREY, linewidth=0.8, zorder=0)
    names = [f"{q.title}\n{corrected_text(q)}" for q in shown]
    ax.set_yticks(range(len(shown)), names)
    ax.invert_yaxis()
    ax.set_xlabel("Difference from the corrected value (percentage points)")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def _draw_row(ax: "Axes", place: int, quantity: Judged, report: CheckReport) -> None:
    colour = _colour(quantity.labels, report.phases)
    level = level_text(report.confidence_level)
    if not quantity.reason:
        ax.errorbar(
            0,
            place,
            xerr=100 * quantity.half_width,
            fmt="o",
            color=colour,
            markersize=5,
            linewidth=2.5,
            capsize=4,
            label=None if place else f"corrected, {level} interval",
        )
    ax.plot(
        -100 * quantity.correction,
        place,
        "x",
        color=colour,
        markersize=8,
        markeredgewidth=2,
        label=None if place else "prediction alone",
    )


def _colour(labels: "Sequence[int]", phases: PhaseTable) -> tuple[float, float, float]:
    """Mix the colours of the phases."""
    own = [phase.rgb for phase in phases if phase.label in labels]
    red, green, blue = (sum(part) / len(own) for part in zip(*own, strict=True))
    return red, green, blue
