"""Figures of an uncertainty study, as in the paper's Fig. 4c to 4e; needs no torch.

The functions that take `Axes` also draw into a dock, even while the study is running;
their colours are readable on light and dark backgrounds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.quantities import Kind, Quantity
from napari_lrcs.uncertainty.study.summary import (
    ENSEMBLE,
    GROUPS,
    Group,
    GroupSummary,
    StudySummary,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    _Numbers = NDArray[np.floating]
    _Colour = tuple[float, float, float]

FIGURES = (
    "iou.png",
    "surface-volume.png",
    "interfaces.png",
    "surface-area.png",
    "tortuosity.png",
)
"""Files that `write_study_figures` writes; the last two only if these are measured."""

_GREY = "#808080"
_OFFSETS: dict[Group, float] = {"perturbed": -0.2, "same_labels": 0.2}
_MARKERS: dict[Group, str] = {"perturbed": "o", "same_labels": "D"}


def write_study_figures(out: Path, summary: StudySummary) -> None:
    """Draw those of `FIGURES` whose quantities are measured into a folder."""
    from matplotlib.figure import Figure

    draws = (
        draw_iou_distributions,
        draw_surface_against_volume,
        draw_interfaces,
        draw_surface_areas,
        draw_tortuosities,
    )
    kinds: tuple[Kind, ...] = ("accuracy",) * 3 + ("surface_area", "tortuosity")
    for name, draw, kind in zip(FIGURES, draws, kinds, strict=True):
        if not summary.has(kind):
            continue
        figure = Figure(figsize=(7.5, 5), dpi=150, layout="constrained")
        ax = figure.add_subplot()
        draw(ax, summary)
        legend = ax.get_legend()
        if legend is not None and draw is not draw_surface_against_volume:
            # Distributions leave no corner free for the legend.
            legend.set_loc("lower left")
            legend.set_bbox_to_anchor((0, 1), ax.transAxes)
        with replacing(out / name) as temporary:
            figure.savefig(temporary)


def draw_iou_distributions(ax: "Axes", summary: StudySummary) -> None:
    """Draw the IoU of each phase for all members: points, and a box of quartiles."""
    _draw_distributions(ax, summary, "iou")
    ax.set_ylabel("IoU (%)")


def draw_interfaces(ax: "Axes", summary: StudySummary) -> None:
    """Draw the share of voxels on each interface for all members."""
    _draw_distributions(ax, summary, "interface_fraction")
    ax.set_ylabel("Voxels on the interface (%)")


def draw_surface_areas(ax: "Axes", summary: StudySummary) -> None:
    """Draw the surface area of each phase per volume for all members."""
    _draw_distributions(ax, summary, "surface_area")
    unit = next((q.unit for q in summary.quantities if q.kind == "surface_area"), "")
    ax.set_ylabel(f"Surface area per volume ({unit})")


def draw_tortuosities(ax: "Axes", summary: StudySummary) -> None:
    """Draw the tortuosity along each axis for all members with a way through."""
    _draw_distributions(ax, summary, "tortuosity")
    ax.set_ylabel("Tortuosity")


def draw_surface_against_volume(ax: "Axes", summary: StudySummary) -> None:
    """Draw each member's IoU of a phase against the phase's ratio of surface to volume.

    In the paper, a higher ratio goes with a lower IoU.
    """
    for group_name, group in summary.groups.items():
        for phase in summary.phases:
            label = phase.label
            volume = _values(group, "volume_fraction", label)
            surface = _values(group, "surface_fraction", label)
            ratio = np.divide(
                surface, volume, out=np.full_like(surface, np.nan), where=volume > 0
            )
            _scatter(
                ax,
                ratio,
                100 * _values(group, "iou", label),
                colour=phase.rgb,
                group=group_name,
                label=phase.name if group_name == next(iter(summary.groups)) else None,
            )
    ax.set_xlabel("Surface voxels per voxel of the phase")
    ax.set_ylabel("IoU (%)")
    _style_axes(ax, summary)


def _values(group: GroupSummary, kind: Kind, label: int) -> "_Numbers":
    return np.array(group.of_kind(kind)[label - 1].values, float)


def _draw_distributions(ax: "Axes", summary: StudySummary, kind: Kind) -> None:
    names: Sequence[str] = ()
    for group_name, group in summary.groups.items():
        quantities = group.of_kind(kind)
        names = [
            q.name.replace(" – ", " –\n").replace(" along ", "\nalong ")
            for q in quantities
        ]
        for place, quantity in enumerate(quantities):
            _draw_one(ax, place + _OFFSETS[group_name], quantity, group_name, summary)
    if summary.ensemble is not None:
        for place, quantity in enumerate(summary.ensemble.of_kind(kind)):
            ax.plot(place, _shown(quantity), "*", color=_GREY, markersize=9, zorder=4)
    ax.set_xticks(range(len(names)), names)
    _style_axes(ax, summary, draws_ensemble=True)


def _draw_one(
    ax: "Axes", place: float, quantity: Quantity, group: Group, summary: StudySummary
) -> None:
    values = _shown(quantity)
    if not values.size:
        return
    colour = _colour(quantity.labels, summary.phases)
    line = {"color": colour, "linewidth": 1.2}
    ax.boxplot(
        values,
        positions=[place],
        widths=0.3,
        showfliers=False,
        manage_ticks=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops=line,
    )
    # Spread evenly: random positions would differ from one drawing to the next.
    spread = place + 0.05 * (np.arange(values.size) % 5 - (min(values.size, 5) - 1) / 2)
    _scatter(ax, spread, values, colour=colour, group=group)


def _shown(quantity: Quantity) -> "_Numbers":
    """Return the defined values as they are shown: shares in percent."""
    return (100 if quantity.is_share else 1) * np.array(quantity.defined)


def _scatter(
    ax: "Axes",
    x: "_Numbers",
    y: "_Numbers",
    *,
    colour: "_Colour",
    group: Group,
    label: str | None = None,
) -> None:
    """Draw points, filled for the perturbed members."""
    ax.scatter(
        x,
        y,
        s=20,
        marker=_MARKERS[group],
        facecolors=colour if group == "perturbed" else "none",
        edgecolors=colour,
        label=label,
        zorder=3,
    )


def _colour(labels: Sequence[int], phases: PhaseTable) -> "_Colour":
    """Mix the colours of the phases."""
    rgb = [phase.rgb for phase in phases if phase.label in labels]
    red, green, blue = np.mean(rgb, axis=0).tolist()
    return red, green, blue


def _style_axes(
    ax: "Axes", summary: StudySummary, *, draws_ensemble: bool = False
) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=_MARKERS[name],
            markeredgecolor=_GREY,
            markerfacecolor=_GREY if name == "perturbed" else "none",
            label=f"{GROUPS[name]} ({group.n})",
        )
        for name, group in summary.groups.items()
    ]
    if summary.ensemble is not None and draws_ensemble:
        handles.append(
            Line2D([], [], linestyle="none", marker="*", color=_GREY, label=ENSEMBLE)
        )
    phases, _ = ax.get_legend_handles_labels()
    ax.legend(handles=[*handles, *phases], frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.3)
