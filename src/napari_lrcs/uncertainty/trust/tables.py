"""The report of check patches as tables: for JSON, for spreadsheets, for the screen."""

import math
from pathlib import Path
from typing import Any

from napari_lrcs.io.tables import Row, write_csv
from napari_lrcs.uncertainty.trust.judged import Comparison, Judged
from napari_lrcs.uncertainty.trust.report import CheckReport

MAIN_KINDS = (
    "volume_fraction",
    "surface_fraction",
    "interface_fraction",
    "accuracy",
    "mean_iou",
    "iou",
)
"""What tables on screen show; Dice, precision and recall are in files only."""


def report_dict(report: CheckReport) -> dict[str, Any]:
    """Return a report as JSON values, unrounded; NaN where undefined.

    Returns
    -------
    dict
        What ``check report --json`` prints.
    """
    return {
        "confidence_level": report.confidence_level,
        "n_patches": report.n_patches,
        "n_drawn": len(report.check.patches),
        "blind": report.check.design.blind,
        "notes": [*report.notes],
        "quantities": [
            {"segmentation": judgement.name, **_quantity_dict(quantity)}
            for judgement in report.segmentations
            for quantity in judgement.quantities
        ],
        "comparisons": [_comparison_dict(c) for c in report.comparisons],
    }


def _quantity_dict(quantity: Judged) -> dict[str, Any]:
    return {
        "kind": quantity.kind,
        "phases": [*quantity.labels],
        "name": quantity.name,
        "predicted": quantity.predicted,
        "correction": quantity.correction,
        "value": quantity.value,
        "low": quantity.low,
        "high": quantity.high,
        "half_width": quantity.half_width,
        "reason": quantity.reason or None,
        "note": quantity.note or None,
        "patches_needed": quantity.patches_needed,
    }


def _comparison_dict(comparison: Comparison) -> dict[str, Any]:
    return {
        "segmentations": [comparison.first, comparison.second],
        "better": comparison.better or None,
        "differences": [
            {
                "kind": d.kind,
                "phases": [*d.labels],
                "name": d.name,
                "difference": d.value,
                "low": d.low,
                "high": d.high,
                "half_width": d.half_width,
                "reason": d.reason or None,
            }
            for d in comparison.differences
        ],
    }


def report_rows(report: CheckReport) -> list[Row]:
    """Return one row per segmentation and quantity, 0 to 1; NaN where undefined."""
    return [
        {
            "segmentation": judgement.name,
            "kind": q.kind,
            "name": q.name,
            "predicted": q.predicted,
            "correction": q.correction,
            "value": q.value,
            "low": q.low,
            "high": q.high,
            "half_width": q.half_width,
            "confidence_level": report.confidence_level,
            "n_patches": report.n_patches,
            "patches_needed": q.patches_needed,
            "remark": q.reason or q.note,
        }
        for judgement in report.segmentations
        for q in judgement.quantities
    ]


def write_report_csv(path: Path, report: CheckReport) -> None:
    """Write `report_rows` as CSV; the file is replaced only when complete."""
    write_csv(path, report_rows(report))


def corrected_text(quantity: Judged) -> str:
    """Format a corrected value with its interval for a table on screen.

    Examples
    --------
    >>> pore = Judged(
    ...     kind="volume_fraction",
    ...     labels=(1,),
    ...     name="pore",
    ...     predicted=0.418,
    ...     correction=-0.015,
    ...     value=0.403,
    ...     low=0.393,
    ...     high=0.413,
    ...     half_width=0.01,
    ... )
    >>> corrected_text(pore), points_text(pore.correction)
    ('40.3 ± 1.0%', '−1.5')
    """
    if math.isnan(quantity.value):
        return "–"
    value = f"{100 * quantity.value:.1f}"
    if quantity.reason:
        return f"{value}%, no interval"
    return f"{value} ± {100 * quantity.half_width:.1f}%"


def points_text(difference: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    if math.isnan(difference):
        return "–"
    return f"{100 * difference:+.1f}".replace("-", "−")
