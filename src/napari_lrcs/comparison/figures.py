"""Figures of what is measured; drawn into a dock, or saved without a display."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_lrcs.comparison.measure_tables import table_rows
from napari_lrcs.comparison.measures import Measures
from napari_lrcs.io.units import SYMBOLS
from napari_lrcs.io.writing import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FRACTIONS = ("volume_fraction", "interface_fraction", "surface_fraction")
_SUFFIXES = (", volume", "", ", surface")
_STYLES = ("-", "--", ":", "-.")
_N_BINS = 20
_BARS = ("#3a87c8", "#9a9a9a", "#d28b26", "#4aa36b", "#b0629b", "#6cb6d9")
"""Readable on white and on black."""


def write_measures_figure(path: Path, measured: Sequence[Measures]) -> None:
    """Draw the fractions and, where they are measured, the sizes of particles.

    Parameters
    ----------
    path : Path
        ``.png``, ``.pdf`` or ``.svg``; replaced only when complete.
    measured : sequence of Measures
    """
    from matplotlib.figure import Figure

    has_particles = any(measures.particles for measures in measured)
    figure = Figure(figsize=(13.3 if has_particles else 7, 5), dpi=150, layout="tight")
    axes = figure.subplots(1, 1 + has_particles, squeeze=False)[0]
    draw_fractions(axes[0], measured)
    if has_particles:
        draw_diameters(axes[1], measured)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def draw_fractions(ax: "Axes", measured: Sequence[Measures]) -> None:
    """Draw volume, interface and surface fractions as bars, a colour per volume.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    measured : sequence of Measures
    """
    rows = [row for row in table_rows(measured) if row.quantity.kind in _FRACTIONS]
    suffixes = dict(zip(_FRACTIONS, _SUFFIXES, strict=True))
    places, height = np.arange(len(rows)), 0.8 / len(measured)
    for i, measures in enumerate(measured):
        ax.barh(
            places + (i + 0.5) * height - 0.4,
            [100 * row.values[i] for row in rows],
            height=height,
            color=_BARS[i % len(_BARS)],
            label=measures.name,
        )
    names = [f"{row.quantity.name}{suffixes[row.quantity.kind]}" for row in rows]
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set_xlabel("Share of the labelled voxels in %")
    _tidy(ax)
    if len(measured) > 1:
        ax.legend(frameon=False)


def draw_diameters(ax: "Axes", measured: Sequence[Measures]) -> None:
    """Draw which share of each phase is in particles of which diameter.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    measured : sequence of Measures
        Volumes differ in the style of the lines, phases in their colour.
    """
    parts = [
        (measures, part, style)
        for measures, style in zip(measured, _styles(len(measured)), strict=True)
        for part in measures.particles
        if part.diameters.size
    ]
    if not parts:
        return
    largest = max(part.diameters.max() for _, part, _ in parts)
    edges = np.linspace(0, largest, _N_BINS + 1)
    for measures, part, style in parts:
        summary = part.summary
        volumes = part.diameters ** summary["n_axes"]
        shares, _ = np.histogram(part.diameters, edges, weights=volumes)
        colours = {phase.label: phase.colour for phase in measures.phases}
        name = summary["name"]
        ax.stairs(
            100 * shares / volumes.sum(),
            edges,
            color=colours[summary["phase"]],
            linestyle=style,
            linewidth=1.5,
            label=name if len(measured) == 1 else f"{name}, {measures.name}",
        )
    unit = parts[0][1].summary["unit"] or "unknown unit"
    ax.set_xlabel(f"Equivalent diameter in {SYMBOLS.get(unit, unit)}")
    ax.set_ylabel("Share of the phase in %")
    _tidy(ax)
    ax.legend(frameon=False)


def _styles(n: int) -> list[str]:
    return [_STYLES[i % len(_STYLES)] for i in range(n)]


def _tidy(ax: "Axes") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3, axis="x" if ax.yaxis_inverted() else "both")
