"""``history.csv`` of a run: one row per epoch."""

import csv
from collections.abc import Sequence
from pathlib import Path

from napari_lrcs.io.writing import replacing
from napari_lrcs.models.header import Row


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows; without any there is no file."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_history(path: Path) -> list[Row]:
    """Read the rows: numbers, and None where a cell is empty; [] without a file.

    Raises
    ------
    csv.Error or ValueError
        If the file is damaged.
    """
    if not path.is_file():  # before the first epoch has ended
        return []
    with path.open(newline="", encoding="utf-8") as file:
        names, *rows = csv.reader(file, strict=True)
    return [dict(zip(names, map(_number, row), strict=True)) for row in rows]


def _number(cell: str) -> float | int | None:
    if not cell:
        return None
    return int(cell) if cell.isdigit() else float(cell)
