"""Figures of what is measured; drawn into a dock, or saved without a display."""

import math
from collections.abc import Mapping, Sequence
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
_IN_A_ROW = 3
_GREY = "#8a8a8a"
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
    ax.set_xlabel("Share of the labelled voxels (%)")
    _tidy(ax)
    if len(measured) > 1:
        ax.legend(frameon=False)


def draw_diameters(
    ax: "Axes", measured: Sequence[Measures], *, n_letters: int = 40
) -> None:
    """Draw which share of each phase is in particles of which diameter.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    measured : sequence of Measures
        Volumes differ in the style of the lines, phases in their colour.
    n_letters : int
        Most letters of a volume's name in the legend.
    """
    styles = [_STYLES[i % len(_STYLES)] for i in range(len(measured))]
    parts = [
        (part, {phase.label: phase.colour for phase in measures.phases}, style)
        for measures, style in zip(measured, styles, strict=True)
        for part in measures.particles
        if part.diameters.size
    ]
    if not parts:
        return
    edges = np.linspace(0, max(p.diameters.max() for p, _, _ in parts), _N_BINS + 1)
    highest, entries = 0.0, {}
    for part, colours, style in parts:
        summary = part.summary
        volumes = part.diameters ** summary["n_axes"]
        counts, _ = np.histogram(part.diameters, edges, weights=volumes)
        shares = 100 * counts / volumes.sum()
        colour = colours[summary["phase"]]
        ax.stairs(shares, edges, color=colour, linestyle=style, linewidth=1.5)
        highest = max(highest, shares.max())
        entries[summary["name"]] = {"color": colour}
    if len(measured) > 1:
        for measures, style in zip(measured, styles, strict=True):
            name = shortened(measures.name, n_letters)
            entries[name] = {"color": _GREY, "linestyle": style}
    unit = parts[0][0].summary["unit"] or "unknown unit"
    ax.set_xlabel(f"Equivalent diameter ({SYMBOLS.get(unit, unit)})")
    ax.set_ylabel("Share of the phase (%)")
    _tidy(ax)
    _add_legend(ax, entries, highest=highest)


def _add_legend(
    ax: "Axes", entries: Mapping[str, Mapping[str, str]], *, highest: float
) -> None:
    """Name colours and styles above the highest curve, which it would cover."""
    from matplotlib.lines import Line2D

    n_rows = math.ceil(len(entries) / _IN_A_ROW)
    ax.set_ylim(0, highest / (1 - 0.1 * min(n_rows, 5)))
    handles = [
        Line2D([], [], label=name, **style)  # type: ignore[arg-type]
        for name, style in entries.items()
    ]
    ax.legend(
        handles=handles,
        loc="upper center",
        ncols=_IN_A_ROW,
        frameon=False,
        borderpad=0,
        columnspacing=1,
        handlelength=1.6,
    )


def shortened(name: str, n_letters: int) -> str:
    """Leave out the middle of a long name.

    Examples
    --------
    >>> shortened("electrode prediction", 11)
    'elect…ction'
    """
    if len(name) <= n_letters:
        return name
    half = n_letters // 2
    return f"{name[: n_letters - half - 1]}…{name[-half:]}"


def _tidy(ax: "Axes") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3, axis="x" if ax.yaxis_inverted() else "both")
