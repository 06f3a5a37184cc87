"""The command ``check``: `draw_check` draws patches, `judge` reports what they tell."""

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.cluster import elsewhere
from napari_lrcs.commands.parts.output import (
    percent,
    print_json,
    print_line,
    print_table,
)
from napari_lrcs.commands.parts.places import Places, check_new_file
from napari_lrcs.uncertainty.trust import CONFIDENCE_LEVEL, level_text

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from napari_lrcs.annotation.check_patches import Check
    from napari_lrcs.comparison.measures import Measuring
    from napari_lrcs.uncertainty.trust.budget import Budget
    from napari_lrcs.uncertainty.trust.judged import Comparison, Judged
    from napari_lrcs.uncertainty.trust.report import CheckReport, Judgement

Result = TypeVar("Result")

_ABREAST = 3
"""Quantities of an error budget that fit a terminal of 80 columns side by side."""

HELP = "judge a segmentation by small patches that are painted by hand"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parts = parser.add_subparsers(required=True, metavar="PART", dest="part")
    _add_draw(parts.add_parser("draw", help="place patches to paint at random"))
    _add_report(
        parts.add_parser("report", help="correct a segmentation, with intervals")
    )


def _add_draw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("segmentation", help="labels to judge")
    parser.add_argument("--out", type=Path, required=True, help="folder for the check")
    parser.add_argument(
        "--n-patches", type=int, default=20, help="patches (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=int, default=48, help="side in pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--thickness",
        type=int,
        choices=(1, 3),
        default=1,
        help="slices to paint; three show interfaces across slices, and the middle one "
        "counts (default: %(default)s)",
    )
    parser.add_argument(
        "--axis",
        choices=("z", "y", "x"),
        default="z",
        help="axis that the patches lie across (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the places (default: %(default)s)"
    )
    parser.add_argument(
        "--from-prediction",
        action="store_true",
        help="begin with the prediction instead of empty patches; errors are easily "
        "left in, so the report says so",
    )
    flags.add(parser, "--phases", "--mask", "--json")


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "segmentations", nargs="+", help="labels to judge; several are compared"
    )
    parser.add_argument("check", type=Path, help="folder of the painted check")
    parser.add_argument(
        "--labels", metavar="FILE", help="the painting, if it is not in the folder"
    )
    parser.add_argument(
        "--neighbourhood",
        type=int,
        choices=(4, 6, 8, 18, 26),
        help="how many voxels are neighbours of a voxel (default: 8, within the slice; "
        "26 for patches three slices thick)",
    )
    parser.add_argument(
        "--confidence-level",
        type=float,
        default=CONFIDENCE_LEVEL,
        metavar="SHARE",
        help="share of the intervals that contain the truth (default: %(default)s)",
    )
    parser.add_argument(
        "--half-width",
        type=float,
        metavar="SHARE",
        help="say how many patches are needed for this half width, such as 0.01 for "
        "one percentage point",
    )
    parser.add_argument(
        "--study",
        type=Path,
        metavar="STUDY",
        help="folder of an uncertainty study, for the error budget",
    )
    parser.add_argument(
        "--budget",
        action="store_true",
        help="show the error budget: also the finite volume, for the material",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a table")
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="FILE.png",
        help="draw the intervals, or the error budget if it is asked for",
    )
    flags.add(parser, "--overwrite", "--json", "--cluster", "--n-workers")


def places(arguments: argparse.Namespace) -> Places:
    if arguments.part == "draw":
        return Places(
            read=[arguments.segmentation, arguments.mask], written=[arguments.out]
        )
    return Places(
        read=[
            *arguments.segmentations,
            arguments.check,
            arguments.labels,
            arguments.study,
        ],
        written=[arguments.csv, arguments.figure],
    )


def run(arguments: argparse.Namespace) -> None:
    {"draw": _draw, "report": _report}[arguments.part](arguments)


# ---- draw ----


def _draw(arguments: argparse.Namespace) -> None:
    from napari_lrcs.annotation.check_folder import draw_check
    from napari_lrcs.annotation.check_patches import Check, CheckDesign
    from napari_lrcs.annotation.painting.folder import ImageIdentity
    from napari_lrcs.annotation.workspace import Workspace, is_workspace_name
    from napari_lrcs.commands.parts.progress import follow_share
    from napari_lrcs.comparison.evaluate import phases_of
    from napari_lrcs.io.opening import open_labels
    from napari_lrcs.io.writing import check_new
    from napari_lrcs.preprocessing.mask import open_mask

    if is_workspace_name(arguments.out.parent):
        Workspace(arguments.out.parent).make()
    check_new(arguments.out, overwrite=False)
    segmentation = open_labels(arguments.segmentation)
    events = draw_check(
        arguments.out,
        segmentation,
        design=CheckDesign(
            shape=segmentation.shape,
            axis=arguments.axis,
            size=arguments.size,
            thickness=arguments.thickness,
            seed=arguments.seed,
            blind=not arguments.from_prediction,
        ),
        n_patches=arguments.n_patches,
        phases=flags.named_phases(arguments) or phases_of(segmentation),
        image=ImageIdentity(
            name=segmentation.name, path=None, shape=segmentation.shape
        ),
        mask=open_mask(arguments.mask, shape=segmentation.shape),
    )
    with closing(events):
        check = follow_share(events, text="drawing")
    assert isinstance(check, Check)
    if arguments.json:
        print_json({"out": str(arguments.out), "patches": len(check.patches)})
    else:
        _print_places(check, arguments.out)


def _print_places(check: "Check", out: Path) -> None:
    print_table(
        f"{len(check.patches)} patches to paint, with a margin of one pixel",
        ["Patch", "z", "y", "x", "Height", "Width"],
        [
            [str(n), *map(str, (p.z, p.y, p.x, p.height, p.width))]
            for n, p in enumerate(check.patches, 1)
        ],
    )
    print_line(
        f"paint them in {out / 'painting' / 'labels.zarr'}, or in napari's dock Check "
        "segmentation, which finds them in NAME.lrcs beside the image"
    )


# ---- report ----


def _report(arguments: argparse.Namespace) -> None:
    from napari_lrcs.annotation.check_folder import CheckFolder
    from napari_lrcs.commands.parts.progress import follow_share
    from napari_lrcs.io.opening import open_labels, open_to_share
    from napari_lrcs.io.volume import as_labels
    from napari_lrcs.uncertainty.trust.budget_tables import budget_dict
    from napari_lrcs.uncertainty.trust.report import CheckReport, judge
    from napari_lrcs.uncertainty.trust.tables import report_dict, write_report_csv

    for path in (arguments.csv, arguments.figure):
        check_new_file(path, overwrite=arguments.overwrite)
    segmentations = [as_labels(open_to_share(s)) for s in arguments.segmentations]
    read = (*arguments.segmentations, arguments.check)
    with elsewhere(arguments, *read) as others:
        events = judge(
            segmentations,
            CheckFolder(arguments.check),
            labels=arguments.labels and open_labels(arguments.labels),
            neighbourhood=arguments.neighbourhood,
            confidence_level=arguments.confidence_level,
            half_width=arguments.half_width,
            others=others,
        )
        with closing(events):
            report = follow_share(events, text="counting")
    assert isinstance(report, CheckReport)
    budgets = _budgets(report, arguments)
    if arguments.csv is not None:
        write_report_csv(arguments.csv, report)
    _draw_figure(arguments.figure, report, budgets)
    if arguments.json:
        print_json({**report_dict(report), "budget": [*map(budget_dict, budgets)]})
        return
    _print_report(report)
    if budgets:
        _print_budgets(budgets, report)


def _budgets(
    report: "CheckReport", arguments: argparse.Namespace
) -> "tuple[Budget, ...]":
    """Make the error budget of the first segmentation, if it is asked for."""
    from napari_lrcs.annotation.check_folder import CheckFolder
    from napari_lrcs.io.opening import open_labels
    from napari_lrcs.uncertainty.study.folder import StudyFolder
    from napari_lrcs.uncertainty.trust.budget import budgets_of_report, look_beyond

    if not (arguments.budget or arguments.study):
        return ()
    study = None
    if arguments.study is not None:
        study = StudyFolder(arguments.study).read_findings().summary
        own, others = (", ".join(x.phases.names) for x in (report, study))
        if others != own:
            raise ValueError(
                f"the study in {arguments.study} is of {others}, the patches are of "
                f"{own}; choose a study of the same phases"
            )
    beyond = _last_of(
        look_beyond(
            open_labels(arguments.segmentations[0]),
            phases=report.phases,
            view=CheckFolder(arguments.check).field_of_view(),
            within_slices=(report.neighbourhood, report.check.design.axis) == (8, "z"),
            confidence_level=report.confidence_level,
        )
    )
    return budgets_of_report(report, study=study, beyond=beyond)


def _last_of(events: "Generator[Measuring, None, Result]") -> "Result":
    """Show the progress of a generator, and give what it returns."""
    from napari_lrcs.commands.parts.progress import follow_share

    found: list[Result] = []

    def run() -> "Iterator[object]":
        found.append((yield from events))

    follow_share(run(), text="finite volume")
    return found[0]


def _draw_figure(
    path: Path | None, report: "CheckReport", budgets: "Sequence[Budget]"
) -> None:
    from napari_lrcs.uncertainty.trust.budget_tables import write_budget
    from napari_lrcs.uncertainty.trust.figures import write_intervals

    if path is None:
        return
    if budgets:
        write_budget(path, budgets)
    else:
        write_intervals(path, report)


def _print_budgets(budgets: "Sequence[Budget]", report: "CheckReport") -> None:
    from napari_lrcs.uncertainty.trust.budget_tables import (
        budget_rows,
        methods_sentences,
    )

    rows = budget_rows(budgets)
    parts = [name for name in rows[0] if name != "Quantity"]
    for i in range(0, len(rows), _ABREAST):
        shown = rows[i : i + _ABREAST]
        print_table(
            "Error budget (%)",
            ["", *(str(row["Quantity"]) for row in shown)],
            [[part, *(str(row[part]) for row in shown)] for part in parts],
        )
    print_line("± half widths; what larger voxels would give is not added")
    for reason in dict.fromkeys(f"{b.title}: {b.reason}" for b in budgets if b.reason):
        print_line(f"! {reason}")
    print_line(methods_sentences(budgets, report))


def _print_report(report: "CheckReport") -> None:
    for judgement in report.segmentations:
        _print_judgement(judgement, report)
    for comparison in report.comparisons:
        _print_comparison(comparison, report)
    for note in report.notes:
        print_line(f"! {note}")


def _print_judgement(judgement: "Judgement", report: "CheckReport") -> None:
    from napari_lrcs.uncertainty.trust.tables import (
        MAIN_KINDS,
        corrected_text,
        points_text,
    )

    shown = [q for q in judgement.quantities if q.kind in MAIN_KINDS]
    has_needed = any(q.patches_needed for q in shown)
    rows = []
    for q in shown:
        row = [q.title, percent(q.predicted), points_text(q.correction)]
        row.append(corrected_text(q))
        if has_needed:
            row.append(str(q.patches_needed or "–"))
        rows.append(row)
    header = ["Quantity", "Prediction", "Correction", "Corrected"]
    print_table(
        f"{judgement.name} by {report.n_patches} check patches",
        [*header, "Patches needed"] if has_needed else header,
        rows,
        caption=f"{level_text(report.confidence_level)} intervals; interfaces with "
        f"{report.neighbourhood} neighbours",
    )
    _print_remarks(shown)


def _print_remarks(quantities: "list[Judged]") -> None:
    for q in quantities:
        if q.reason or q.note:
            print_line(f"! {q.title}: {q.reason or q.note}")


def _print_comparison(comparison: "Comparison", report: "CheckReport") -> None:
    from napari_lrcs.uncertainty.trust.tables import points_text

    rows = [
        [
            d.title,
            points_text(d.value),
            "–" if d.reason else f"{points_text(d.low)} to {points_text(d.high)}",
        ]
        for d in comparison.differences
    ]
    print_table(
        f"{comparison.first} minus {comparison.second}, in percentage points",
        ["Score", "Difference", f"{level_text(report.confidence_level)} interval"],
        rows,
    )
    verdict = f"{comparison.better} has the higher mean IoU"
    print_line(
        verdict
        if comparison.better
        else "which of them has the higher mean IoU cannot be told by these patches"
    )
