"""Tables as text for spreadsheets, to paste or as CSV."""

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
    r"""Format rows as lines of text, below a line with the names of the columns.

    Text that a spreadsheet would run as a formula gets a leading apostrophe.

    Parameters
    ----------
    rows : sequence of mapping
        Cells by column; all rows have the same columns. None and NaN become empty.
    columns : sequence of str
        Names of the columns; by default those of the first row.
    delimiter : str
        Text between cells; spreadsheets paste tabs.

    Returns
    -------
    str
        Empty if there are neither rows nor columns.

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
    """Write rows as CSV; an existing file is replaced when the new one is complete."""
    text = as_text(rows, columns=columns, delimiter=",")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _shown(cell: Cell) -> Cell:
    if isinstance(cell, str):
        text = cell.replace("\r", r"\r")  # not quoted by csv before Python 3.13
        return f"'{text}" if text.startswith(_FORMULA) else text
    return None if isinstance(cell, float) and math.isnan(cell) else cell
