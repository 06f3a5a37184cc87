"""Tables as text: for spreadsheets, by clipboard or as CSV."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from napari_lrcs.io.writing import replacing

Cell: TypeAlias = str | int | float | None

Row: TypeAlias = dict[str, Cell]
"""Cells by the names of their columns; empty where None or NaN."""

# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t")


def as_text(
    rows: Sequence[Mapping[str, Cell]],
    *,
    columns: Sequence[str] = (),
    delimiter: str = "\t",
) -> str:
    r"""Lay out rows under the names of their columns.

    Parameters
    ----------
    rows : sequence of mapping
        Cells by column, the same columns in all; what is None or NaN stays empty.
    columns : sequence of str
        Their names; by default those of the first row. Like cells, texts that a
        spreadsheet would run as a formula get an apostrophe in front.
    delimiter : str
        Between the cells; spreadsheets paste tabs.

    Returns
    -------
    str
        Empty if there is neither a row nor a column.

    Examples
    --------
    >>> as_text([{"phase": "pore", "iou": 0.5}, {"phase": "CBD"}], delimiter=",")
    'phase,iou\npore,0.5\nCBD,\n'
    """
    text = io.StringIO()
    names = columns or (list(rows[0]) if rows else ())
    if names:
        writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator="\n")
        writer.writerow({name: _shown(name) for name in names})
        writer.writerows({k: _shown(v) for k, v in row.items()} for row in rows)
    return text.getvalue()


def write_csv(
    path: Path, rows: Sequence[Mapping[str, Cell]], *, columns: Sequence[str] = ()
) -> None:
    """Write rows, as `as_text`; a file is replaced when the new one is complete."""
    text = as_text(rows, columns=columns, delimiter=",")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _shown(cell: Cell) -> Cell:
    if isinstance(cell, str):
        text = cell.replace("\r", r"\r")  # which csv before Python 3.13 leaves unquoted
        return f"'{text}" if text.startswith(_FORMULA) else text
    return None if isinstance(cell, float) and math.isnan(cell) else cell
