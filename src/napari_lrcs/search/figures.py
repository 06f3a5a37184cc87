"""Figures of a search, as in the paper's Fig. 3; needs neither torch nor Optuna.

The functions that take `Axes` also draw into a dock, even while the search is running.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_lrcs.figures import mean_and_sd
from napari_lrcs.io.writing import replacing
from napari_lrcs.search.results import SearchFindings
from napari_lrcs.search.space import Choices, Range, Value, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

FIGURES = ("curves.png", "sorted-scores.png", "importance.png", "time.png")
"""Files that `write_search_figures` writes."""

_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#aa3377")
"""Of the best trials, by Paul Tol: distinct for the colour-blind, too."""

_FACES = {"complete": _COLOURS[0], "pruned": "none"}
"""Colours of points by the states of trials: pruned ones are hollow."""

_GREY = "#808080"

_N_NAMED = 3
"""Settings of a trial that the legend names."""


def write_search_figures(out: Path, findings: SearchFindings) -> Iterator[float]:
    """Draw the figures of a search that has at least one ended trial into a folder.

    Yields
    ------
    float
        Share of the figures that are drawn, 0 to 1.
    """
    from matplotlib.figure import Figure

    draws = (_curves, draw_sorted_scores, _importances, _time)
    for n_done, (name, draw) in enumerate(zip(FIGURES, draws, strict=True), start=1):
        figure = Figure(figsize=(7.5, 5), dpi=150, layout="constrained")
        draw(figure, findings)
        with replacing(out / name) as temporary:
            figure.savefig(temporary)
        yield n_done / len(FIGURES)


def _curves(figure: "Figure", findings: SearchFindings) -> None:
    draw_curves(figure.add_subplot(), findings)


def _importances(figure: "Figure", findings: SearchFindings) -> None:
    draw_importances(figure.add_subplot(), findings)


def _time(figure: "Figure", findings: SearchFindings) -> None:
    draw_time(figure.add_subplot(), findings)


def draw_curves(ax: "Axes", findings: SearchFindings) -> None:
    """Draw the scores over the epochs: the best trials as mean and standard deviation.

    All other trials are thin grey lines.
    """
    from matplotlib.ticker import MaxNLocator

    best = findings.ranked[: len(_COLOURS)]
    for trial in findings.trials:
        if trial not in best and trial.scores:
            mean, _ = mean_and_sd(trial.curves)
            ax.plot(_epochs(mean), 100 * mean, color=_GREY, lw=0.6, alpha=0.5)
    for trial, colour in zip(best, _COLOURS, strict=False):
        mean, sd = (100 * values for values in mean_and_sd(trial.curves))
        label = describe(dict(list(trial.settings.items())[:_N_NAMED]))
        ax.plot(_epochs(mean), mean, color=colour, marker="o", ms=3, label=label)
        ax.fill_between(
            _epochs(mean), mean - sd, mean + sd, color=colour, alpha=0.15, lw=0
        )
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("Epoch")
    _style(ax)
    if best:
        ax.legend(frameon=False, fontsize="small")


def draw_sorted_scores(figure: "Figure", findings: SearchFindings) -> None:
    """Draw the scores in descending order, above a grid of colours.

    The grid has a row per setting and a column per trial: from dark (the smallest
    value, or the first choice) to bright. Pruned trials are hollow.
    """
    trials = sorted(
        (trial for trial in findings.trials if trial.scores), key=lambda t: -t.score
    )
    fields = findings.space.fields
    scores, grid = figure.subplots(
        2, 1, sharex=True, height_ratios=[3, max(1.0, 0.45 * len(fields))]
    )
    for state, face in _FACES.items():
        places = [i for i, trial in enumerate(trials) if trial.state == state]
        scores.errorbar(
            places,
            [100 * trials[i].score for i in places],
            yerr=[np.nan_to_num(100 * trials[i].sd) for i in places],
            fmt="o",
            color=_COLOURS[0],
            mfc=face,
            ms=4,
            lw=1,
        )
        # The legend of an error bar cannot be moved along with its marker.
        scores.plot([], [], "o", color=_COLOURS[0], mfc=face, ms=4, label=state)
    scores.tick_params(axis="x", length=0)
    scores.legend(frameon=False)
    _style(scores)
    shades = [
        [shade_of(trial.settings[name], field) for trial in trials]
        for name, field in fields.items()
    ]
    if trials:
        grid.imshow(shades, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    grid.set_yticks(
        range(len(fields)),
        [f"{name}\n{_ends(field)}" for name, field in fields.items()],
    )
    grid.tick_params(length=0, labelsize="small", labelbottom=False)
    grid.set_xlabel("Trials, best first (dark: the smallest value)")


def draw_importances(ax: "Axes", findings: SearchFindings) -> None:
    """Draw the share of each setting in the spread of the scores."""
    names = list(findings.importances)
    if not names:
        text = "too few complete trials, or equal scores"
        ax.text(
            *(0.5, 0.5, text),
            color=_GREY,
            ha="center",
            va="center",
            transform=ax.transAxes,
        )
        ax.set_axis_off()
        return
    ax.barh(names, [100 * findings.importances[n] for n in names], color=_COLOURS[0])
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("Share of the variance of the scores (%), by fANOVA")
    ax.spines[["top", "right"]].set_visible(False)


def draw_time(ax: "Axes", findings: SearchFindings) -> None:
    """Draw the scores against the duration of one training."""
    for state, face in _FACES.items():
        trials = [t for t in findings.trials if t.state == state and t.scores]
        if trials:
            ax.scatter(
                [trial.seconds / len(trial.scores) for trial in trials],
                [100 * trial.score for trial in trials],
                facecolors=face,
                edgecolors=_COLOURS[0],
                label=state,
            )
    ax.set_xlabel("Duration of a training (s)")
    _style(ax)
    ax.legend(frameon=False)


def shade_of(value: Value, field: Choices | Range) -> float:
    """Return where a value is among those of a setting, 0 to 1.

    Examples
    --------
    >>> shade_of(4, Choices((2, 4, 8)))
    0.5
    >>> shade_of(1e-3, Range(low=1e-4, high=1e-2, log=True))
    0.5
    """
    if isinstance(field, Choices):
        return field.values.index(value) / (len(field.values) - 1)
    assert not isinstance(value, str)
    ends = np.array([field.low, field.high, value], float)
    low, high, place = np.log10(ends) if field.log else ends
    return float((place - low) / (high - low))


def _epochs(values: "NDArray[np.float64]") -> range:
    return range(1, len(values) + 1)


def _ends(field: Choices | Range) -> str:
    if isinstance(field, Choices):
        return str(field).replace(",", ", ")
    return f"{field.low:g} to {field.high:g}"


def _style(ax: "Axes") -> None:
    ax.set_ylabel("Mean IoU (%)")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
