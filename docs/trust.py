"""Fill the tables on check patches, and draw their figures.

``python benchmarks/coverage.py patches --work W --draws 2000 --out W/patches.json``
segments the volumes and counts, and ``coverage.py material --work W --out
W/material.json`` counts for small volumes of one material; ``python docs/trust.py W``
writes what was found into docs/uncertainty.md and docs/referees.md, and draws the
figures from the segmentation of the cathode, with the truth in the place of a painter.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from reporting import fill, table

from napari_lrcs.annotation.check_folder import CheckFolder, draw_check
from napari_lrcs.annotation.check_patches import CheckDesign
from napari_lrcs.annotation.painting.folder import ImageIdentity
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.volume import Volume, as_labels, as_volume
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.progress import result_of
from napari_lrcs.uncertainty.trust.budget import budgets_of_report, look_beyond
from napari_lrcs.uncertainty.trust.budget_tables import write_budget
from napari_lrcs.uncertainty.trust.figures import write_intervals
from napari_lrcs.uncertainty.trust.report import CheckReport, judge

DOCS = Path(__file__).parent
DATA = DOCS.parents[1] / "shared" / "data"
CATHODE = "nmc-electrode, LRCS-Net"
LEAST = 0.03
"""True fraction above which a quantity is in the tables."""

Found = Mapping[str, Any]


def main() -> None:
    """Fill the tables, then draw the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="folder of benchmarks/coverage.py")
    parser.add_argument("--data", type=Path, default=DATA, help="default: %(default)s")
    arguments = parser.parse_args()
    rows = json.loads((arguments.work / "patches.json").read_text())
    fill(DOCS / "uncertainty.md", "coverage", summary_lines(rows))
    fill(DOCS / "referees.md", "coverage", all_lines(rows))
    small = json.loads((arguments.work / "material.json").read_text())
    fill(DOCS / "referees.md", "material", material_lines(small))
    draw(arguments.work, arguments.data)


def material_lines(rows: Sequence[Found]) -> Iterator[str]:
    """Yield one line per quantity of the small volumes of one material."""
    names = [
        *("Quantity", "Fraction", "Standard deviation", "Predicted"),
        *("Half width", "Contain the truth"),
    ]
    cells = (
        [row["quantity"]]
        + [
            f"{100 * row[key]:.1f}%"
            for key in ("truth", "sd", "predicted_sd", "half_width", "coverage")
        ]
        for row in rows
    )
    yield from table(names, cells)


def summary_lines(rows: Sequence[Found]) -> Iterator[str]:
    """Yield one line per segmentation, for 20 patches."""
    names = [
        *("Segmentation", "Prediction off by", "Half width"),
        *("Volumes", "Interfaces", "IoU"),
    ]
    yield from table(names, map(_summary, _by_case(rows)))


def _summary(rows: Sequence[Found]) -> list[str]:
    own = [row for row in rows if row["n_patches"] == 20 and row["truth"] >= LEAST]
    volumes, interfaces, ious = (
        [row for row in own if row["quantity"].startswith(f"{kind},")]
        for kind in ("Volume", "Interface", "IoU")
    )
    off = max(abs(row["predicted"] - row["truth"]) for row in volumes)
    width = max(row["half_width"] for row in volumes)
    return [
        own[0]["case"],
        f"{100 * off:.1f} points",
        f"± {100 * width:.1f} points",
        *map(_range, (volumes, interfaces, ious)),
    ]


def _range(rows: Sequence[Found]) -> str:
    low, high = (f(100 * row["coverage"] for row in rows) for f in (min, max))
    return f"{low:.0f} to {high:.0f}%"


def all_lines(rows: Sequence[Found]) -> Iterator[str]:
    """Yield a table of all quantities for each segmentation."""
    for own in _by_case(rows):
        numbers = sorted({row["n_patches"] for row in own})
        yield f"**{own[0]['case']}**"
        yield ""
        names = ["", "Truth", "Prediction", *(f"{n} patches" for n in numbers)]
        yield from table(names, _cells(own))
        yield ""


def _cells(rows: Sequence[Found]) -> Iterator[list[str]]:
    for title in dict.fromkeys(row["quantity"] for row in rows):
        if title.split(",")[0] in ("Dice", "Precision", "Recall", "Surface"):
            continue
        own = [row for row in rows if row["quantity"] == title]
        values = (own[0]["truth"], own[0]["predicted"])
        shares = ["" if np.isnan(value) else f"{100 * value:.1f}%" for value in values]
        yield [title, *shares, *map(_coverage, own)]


def _coverage(row: Found) -> str:
    text = f"{100 * row['coverage']:.1f}% (± {100 * row['half_width']:.1f})"
    return text + (f", {row['n_refused']} without" if row["n_refused"] else "")


def _by_case(rows: Sequence[Found]) -> Iterator[list[Found]]:
    for case in dict.fromkeys(row["case"] for row in rows):
        yield [row for row in rows if row["case"] == case]


# ---- figures ----


def draw(work: Path, data: Path) -> None:
    """Judge LRCS-Net on the cathode by 20 patches, and draw what is found."""
    truth = open_labels(data / "nmc-electrode-labels.tif")
    file = work / f"{CATHODE.replace(' ', '-').replace(',', '')}.npy"
    predicted = as_labels(as_volume(np.load(file), name="nmc-electrode"))
    report = judged(work / "check", predicted, truth)
    write_intervals(DOCS / "images" / "check-intervals.png", report)
    beyond = result_of(look_beyond(predicted, phases=report.phases))
    budgets = budgets_of_report(report, beyond=beyond)
    write_budget(DOCS / "images" / "check-budget.png", budgets)


def judged(path: Path, predicted: Volume, truth: Volume) -> CheckReport:
    """Draw patches, paint them with the truth, and judge."""
    shutil.rmtree(path, ignore_errors=True)
    for _ in draw_check(
        path,
        predicted,
        design=CheckDesign(shape=predicted.shape),
        n_patches=20,
        phases=ELECTRODE,
        image=ImageIdentity(name="nmc-electrode", path=None, shape=predicted.shape),
    ):
        pass
    *_, report = judge([predicted], CheckFolder(path), labels=truth)
    assert isinstance(report, CheckReport)
    return report


if __name__ == "__main__":
    main()
