"""The results of a study as tables: files, and texts on screen. Needs no torch."""

import math
from collections.abc import Sequence
from pathlib import Path

from napari_lrcs.io.tables import write_csv
from napari_lrcs.phases import PhaseTable
from napari_lrcs.uncertainty.study.quantities import Quantity, quantities_of
from napari_lrcs.uncertainty.study.results import Results
from napari_lrcs.uncertainty.study.summary import Member, StudySummary, first_good

Row = dict[str, str | int | float]
"""A row of a table, by the names of its columns."""


def summary_rows(summary: StudySummary) -> list[Row]:
    """Return one row per quantity and group: mean and sd; NaN if undefined.

    Shares are 0 to 1. The ensemble has rows of its own, after those of the groups.
    """
    return [
        {
            "group": name,
            "kind": q.kind,
            "name": q.name,
            "n": len(q.defined),
            "n_missing": q.n_missing,
            "mean": q.mean,
            "sd": q.sd,
            "unit": q.unit,
        }
        for name, (_, group) in summary.columns.items()
        for q in group.quantities
    ]


def member_rows(members: Sequence[Member], phases: PhaseTable) -> list[Row]:
    """Return one row per member: scores and measures; NaN if undefined.

    Columns of phases end in their label (``iou_1``), columns of interfaces in both
    labels (``interface_fraction_1_2``), those of tortuosities also in their axis
    (``tortuosity_1_z``). Shares are 0 to 1.
    """
    like = first_good(members)
    return [_member_row(member, phases, like) for member in members]


def _member_row(member: Member, phases: PhaseTable, like: Results | None) -> Row:
    row: Row = {
        "name": member.name,
        "group": member.group,
        "number": member.number,
        "seed": member.seed,
        "changed_share": member.changed_share,
    }
    good = [] if member.measures is None else [member]
    for q in quantities_of(good, phases, like=like):
        row[q.column] = q.values[0] if q.values else math.nan
    return row | {"seconds": member.seconds, "error": member.error or ""}


def write_summary_csv(path: Path, summary: StudySummary) -> None:
    """Write `summary_rows` as CSV; the file is replaced only when complete."""
    write_csv(path, summary_rows(summary))


def write_members_csv(
    path: Path, members: Sequence[Member], phases: PhaseTable
) -> None:
    """Write `member_rows` as CSV; the file is replaced only when complete."""
    write_csv(path, member_rows(members, phases))


def mean_and_sd(quantity: Quantity) -> str:
    """Format mean and standard deviation for a table on screen: shares in percent.

    If it is undefined for some networks, the number of the others follows.

    Examples
    --------
    >>> iou = Quantity(kind="iou", name="pore", labels=(1,), values=(0.64, 0.66))
    >>> mean_and_sd(iou)
    '65.0 ± 1.4%'
    >>> mean_and_sd(
    ...     Quantity(kind="iou", name="NMC", labels=(3,), values=(0.1195, 0.1196))
    ... )
    '11.95 ± 0.01%'
    >>> mean_and_sd(
    ...     Quantity(kind="tortuosity", name="pore along z", labels=(1,), values=(2, 3))
    ... )
    '2.50 ± 0.71'
    >>> mean_and_sd(
    ...     Quantity(kind="iou", name="NMC", labels=(3,), values=(0.5, math.nan))
    ... )
    '50.0% (1 of 2)'
    """
    if not quantity.defined:
        return "–"
    scale, sign = (100, "%") if quantity.is_share else (1, "")
    mean, sd = scale * quantity.mean, scale * quantity.sd
    digits = _digits(mean, sd, is_share=quantity.is_share)
    text = f"{mean:.{digits}f}"
    if not math.isnan(sd):
        text += f" ± {sd:.{digits}f}"
    n = len(quantity.values)
    of = f" ({n - quantity.n_missing} of {n})" if quantity.n_missing else ""
    return f"{text}{sign}{of}"


def _digits(mean: float, sd: float, *, is_share: bool) -> int:
    """Return the decimals to show: one of a share in percent, else three digits."""
    digits = 1 if is_share else 2
    if not is_share and mean > 0:
        digits = max(0, 2 - math.floor(math.log10(mean)))
    # One more for a deviation that would otherwise be rounded to 0.
    return digits + int(0 < sd < 0.1**digits)
