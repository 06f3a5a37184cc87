"""The error budget as a table, as JSON, as a figure, and in words."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.io.tables import Row
from napari_lrcs.io.writing import replacing
from napari_lrcs.uncertainty.trust import level_text
from napari_lrcs.uncertainty.trust.budget import Budget, or_nothing
from napari_lrcs.uncertainty.trust.report import CheckReport
from napari_lrcs.uncertainty.trust.tables import points_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOURCES = {
    "correction_half_width": "correction",
    "label_half_width": "labels",
    "seed_half_width": "seeds",
    "material_half_width": "finite volume",
}
"""The sources of error that have a half width, and their names on screen."""

TOTALS = {"this_volume": "this volume", "material": "the material"}

_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7")
_GREY = "#808080"


def budget_dict(budget: Budget) -> dict[str, Any]:
    """Return a budget as JSON values, unrounded; NaN where unknown."""
    finite = budget.finite_volume
    return {
        "kind": budget.kind,
        "phases": [*budget.labels],
        "name": budget.name,
        "predicted": budget.predicted,
        "correction": budget.correction,
        "correction_half_width": budget.correction_half_width,
        "label_scatter": budget.label_scatter,
        "seed_scatter": budget.seed_scatter,
        "finite_volume": None
        if finite is None
        else {
            "sd": finite.sd,
            "half_width": budget.material_half_width,
            "integral_range": finite.integral_range,
            "n_effective": finite.n_effective,
        },
        "resolution": [*budget.resolution],
        "value": budget.value,
        "this_volume": budget.this_volume,
        "material": budget.material,
        "reason": budget.reason or None,
    }


def budget_rows(budgets: Sequence[Budget]) -> list[Row]:
    """Return one row per quantity, a column per source of error; text for a screen.

    Scatters are standard deviations in percentage points; what follows a ± is a half
    width.
    """
    return [
        {
            "Quantity": b.title,
            "Prediction": _share(b.predicted),
            "Correction": _with_width(
                points_text(b.correction), b.correction_half_width
            ),
            "Labels (sd)": _share(b.label_scatter),
            "Seeds (sd)": _share(b.seed_scatter),
            "Finite volume": _width(b.material_half_width),
            "This volume": _total(b, b.this_volume),
            "Material": _total(b, b.material),
            "At 1×, 2×, 4× voxels": _trend(b.resolution),
        }
        for b in budgets
    ]


def budget_numbers(budgets: Sequence[Budget]) -> list[Row]:
    """Return one row per quantity for a spreadsheet: shares, unrounded, 0 to 1.

    NaN where unknown.
    """
    return [
        {
            "quantity": b.title,
            "predicted": b.predicted,
            "correction": b.correction,
            "correction_half_width": b.correction_half_width,
            "label_sd": b.label_scatter,
            "seed_sd": b.seed_scatter,
            "finite_volume_half_width": b.material_half_width,
            "value": b.value,
            "this_volume_half_width": b.this_volume,
            "material_half_width": b.material,
            **_by_voxels(b.resolution),
            "confidence_level": b.confidence_level,
        }
        for b in budgets
    ]


def _by_voxels(fractions: Sequence[float]) -> Row:
    shown = [*fractions, *[math.nan] * 3][:3]
    return {f"at_{n}x_voxels": f for n, f in zip((1, 2, 4), shown, strict=True)}


def methods_sentences(budgets: Sequence[Budget], report: CheckReport) -> str:
    """Say in words what was done, as the methods section of a paper can quote it."""
    design = report.check.design
    values = "; ".join(map(_in_words, filter(_is_quotable, budgets)))
    level = level_text(report.confidence_level)
    sight = "without sight of" if design.blind else "over"
    parts = [
        f"Volume fractions with {level} intervals: {values}.",
        f"The segmentation was corrected by {report.n_patches} patches of "
        f"{_sides(report.check)} pixels, placed by stratified random sampling and "
        f"painted by hand {sight} the segmentation (difference estimator, Student's "
        "t).",
    ]
    trained = {
        "on perturbed labels": [b.label_half_width for b in budgets],
        "with other seeds": [b.seed_half_width for b in budgets],
    }
    known = [how for how, widths in trained.items() if not all(map(math.isnan, widths))]
    if known:
        parts.append(
            "The intervals include the scatter of networks trained "
            f"{' and '.join(known)}."
        )
    if any(not math.isnan(b.material) for b in budgets):
        parts.append(
            "For the material, the variance of a finite volume was added, from the "
            "integral range of each phase."
        )
    return " ".join(parts)


def _sides(check: Check) -> str:
    """Return the height and width of patches as drawn: the wanted ones seldom fit."""
    heights = sorted({patch.height for patch in check.patches})
    widths = sorted({patch.width for patch in check.patches})
    return " × ".join(
        str(low) if low == high else f"{low} to {high}"
        for low, high in ((s[0], s[-1]) for s in (heights, widths))
    )


def write_budget(path: Path, budgets: Sequence[Budget]) -> None:
    """Draw the error budget into a file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 5), dpi=150, layout="constrained")
    draw_budget(figure.add_subplot(), budgets)
    with replacing(path) as temporary:
        figure.savefig(temporary)


def draw_budget(ax: "Axes", budgets: Sequence[Budget]) -> None:
    """Draw the half width that each source gives, and the totals, for each quantity."""
    known = {
        field: (name, colour)
        for (field, name), colour in zip(SOURCES.items(), _COLOURS, strict=True)
        if not all(math.isnan(getattr(budget, field)) for budget in budgets)
    }
    height = 0.8 / max(1, len(known))
    for place, budget in enumerate(budgets):
        for i, (field, (name, colour)) in enumerate(known.items()):
            ax.barh(
                place - 0.4 + (i + 0.5) * height,
                100 * or_nothing(getattr(budget, field)),
                height,
                color=colour,
                label=None if place else name,
            )
        for field, style in (("this_volume", "-"), ("material", ":")):
            total = 100 * getattr(budget, field)
            ax.plot(
                [total, total],
                [place - 0.45, place + 0.45],
                style,
                color=_GREY,
                linewidth=2,
                label=None if place else f"total of {TOTALS[field]}",
            )
    names = [f"{b.title}\n{_percent(b)}" for b in budgets]
    ax.set_yticks(range(len(budgets)), names)
    ax.invert_yaxis()
    level = f"{level_text(budgets[0].confidence_level)} " if budgets else ""
    ax.set_xlabel(f"Half width of the {level}interval (percentage points)")
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)


def _is_quotable(budget: Budget) -> bool:
    return budget.kind == "volume_fraction" and not math.isnan(budget.this_volume)


def _in_words(budget: Budget) -> str:
    text = f"{budget.name} {_percent(budget)}"
    if math.isnan(budget.material):
        return text
    return f"{text} (of the material ± {_share(budget.material)}%)"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"


def _width(value: float) -> str:
    return "–" if math.isnan(value) else f"± {100 * value:.1f}"


def _with_width(text: str, half_width: float) -> str:
    return text if math.isnan(half_width) else f"{text} {_width(half_width)}"


def _total(budget: Budget, half_width: float) -> str:
    if math.isnan(half_width):
        return "unknown"
    return f"{_share(budget.value)} {_width(half_width)}"


def _percent(budget: Budget) -> str:
    total = _total(budget, budget.this_volume)
    return total if math.isnan(budget.this_volume) else f"{total}%"


def _trend(fractions: Sequence[float]) -> str:
    return " ".join(map(_share, fractions)) or "–"
