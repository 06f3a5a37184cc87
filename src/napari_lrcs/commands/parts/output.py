"""Print results on standard output: one JSON object, or tables and lines of text."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from napari_lrcs.commands.parts.terminal import printable

if TYPE_CHECKING:
    from rich.console import Console

    from napari_lrcs.metrics.calibration import CalibrationDict
    from napari_lrcs.metrics.overlap import PhaseIouDict, ScoresDict


def print_json(values: Any) -> None:
    """Print a value as JSON on one line; what is not finite becomes null."""
    from napari_lrcs.io.records import as_json

    print(as_json(values))


def console(*, stderr: bool = False) -> "Console":
    """Make a console without markup; text printed to it must be `printable`."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_line(text: str) -> None:
    """Print a line without wrapping it."""
    console().print(printable(text), soft_wrap=True)


def print_table(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
) -> None:
    """Print a table whose first column is text and whose other columns are numbers.

    If the header is empty, none is shown, and all columns are text. An empty row is
    drawn as a line across the table.
    """
    from rich.table import Table

    table = Table(
        title=printable(title),
        title_justify="left",
        caption=printable(caption) or None,
        caption_justify="left",
        show_header=bool(header),
    )
    for i, name in enumerate(header):
        table.add_column(printable(name), justify="right" if i else "left")
    for row in rows:
        if row:
            table.add_row(*map(printable, row))
        else:
            table.add_section()
    console().print(table)


def percent(share: float | None) -> str:
    """Format a share, 0 to 1, in percent; a dash if it is undefined.

    Examples
    --------
    >>> percent(0.1234), percent(None)
    ('12.3%', '–')
    """
    return "–" if share is None or math.isnan(share) else f"{share:.1%}"


def print_scores(scores: "ScoresDict", *, title: str) -> None:
    """Print a table of the scores of each phase."""
    rows = []
    for row in scores["phases"]:
        cells = (row["iou"], row["dice"], row["precision"], row["recall"])
        rows.append([row["name"], *map(percent, cells)])
    mean = ["mean", percent(scores["mean_iou"]), "", "", ""]
    print_table(
        title,
        ["Phase", "IoU", "Dice", "Precision", "Recall"],
        [*rows, [], mean],
        caption=f"accuracy {percent(scores['accuracy'])}",
    )
    for line in poor_lines(scores["not_learnt"]):
        print_line(line)


def print_calibration(calibration: "CalibrationDict", *, title: str) -> None:
    """Print how often voxels of each confidence are right, and the error."""
    rows = [
        [
            f"{row['low']:.1%} to {row['high']:.1%}",
            f"{row['n']:,}",
            percent(row["confidence"]),
            percent(row["accuracy"]),
        ]
        for row in calibration["bins"]
        if row["n"]
    ]
    print_table(
        title,
        ["Confidence", "Voxels", "Mean", "Right"],
        rows,
        caption=f"expected calibration error {calibration['ece']:.2%}",
    )


def poor_lines(phases: "Iterable[PhaseIouDict]", *, start: str = "") -> list[str]:
    """Write a line for each phase that is hardly ever predicted where it is painted.

    Examples
    --------
    >>> poor_lines([{"label": 3, "name": "crack", "iou": 0.0}])
    ['! crack is never predicted where it is painted']
    """
    from napari_lrcs.progress import NotLearnt

    return [f"! {start}{NotLearnt(**phase)}" for phase in phases]
