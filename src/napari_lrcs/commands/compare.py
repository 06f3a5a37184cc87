"""The command ``compare``: runs `compare_experimenters`, and writes their votes."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import (
    percent,
    poor_lines,
    print_json,
    print_line,
    print_table,
)
from napari_lrcs.commands.parts.places import Places, check_new_file

if TYPE_CHECKING:
    from napari_lrcs.comparison.experimenter_tables import (
        ExperimentersDict,
        TargetDict,
    )
    from napari_lrcs.comparison.votes import VoteFiles

HELP = "compare the labels of several experimenters"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels", nargs="+", help="two or more labels, one per experimenter"
    )
    parser.add_argument(
        "--target", metavar="LABELS", help="labels to score each experimenter against"
    )
    parser.add_argument(
        "--z", metavar="SLICES", help="slices to compare (default: all)"
    )
    flags.add(parser, "--mask")
    parser.add_argument(
        "--near",
        type=int,
        nargs="+",
        default=(5, 10),
        metavar="VOXELS",
        help="distances from an interface, within the slice, to count differences in "
        "(default: 5 10)",
    )
    for name, text in (
        ("majority", "write what most experimenters painted"),
        ("agreement", "write the share that agrees with the majority, 0 to 255"),
        (
            "consensus",
            "write a vote in which reliable experimenters have more weight (STAPLE); "
            "holds all labels in memory; needs the extra consensus",
        ),
    ):
        parser.add_argument(
            f"--{name}", type=Path, metavar="FILE", help=f"{text}; .tif or .zarr"
        )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write a table of all numbers"
    )
    flags.add(parser, "--overwrite", "--json")


def places(arguments: argparse.Namespace) -> Places:
    return Places(
        read=[*arguments.labels, arguments.target, arguments.mask],
        written=[
            *(arguments.csv, arguments.majority),
            *(arguments.agreement, arguments.consensus),
        ],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.commands.parts.progress import Display, follow_share
    from napari_lrcs.comparison.experimenter_tables import (
        experimenters_dict,
        write_experimenters_csv,
    )
    from napari_lrcs.comparison.experimenter_volumes import open_experimenters
    from napari_lrcs.comparison.experimenters import (
        ExperimentersCompared,
        compare_experimenters,
    )
    from napari_lrcs.comparison.votes import write_votes
    from napari_lrcs.io.writing import replacing
    from napari_lrcs.preprocessing.mask import open_mask

    files = _vote_files(arguments)
    check_new_file(arguments.csv, overwrite=arguments.overwrite)
    slices = flags.chosen_slices(arguments)
    targets = [] if arguments.target is None else [arguments.target]
    volumes = open_experimenters(*arguments.labels, *targets)
    experimenters = volumes[: len(arguments.labels)]
    mask = open_mask(arguments.mask, shape=volumes[0].shape)
    region: Any = {"slices": slices, "mask": mask}
    events = compare_experimenters(
        experimenters,
        target=volumes[-1] if targets else None,
        near=arguments.near,
        **region,
    )
    compared = follow_share(events, text="comparing")
    assert isinstance(compared, ExperimentersCompared)
    for note in compared.notes:
        Display().warn(note)
    if files.wanted:
        votes = write_votes(
            files,
            experimenters,
            phases=compared.phases,
            overwrite=arguments.overwrite,
            **region,
        )
        follow_share(votes, text="writing")
    if arguments.csv is not None:
        with replacing(arguments.csv, overwrite=arguments.overwrite) as temporary:
            write_experimenters_csv(temporary, compared)
    found = experimenters_dict(compared)
    if arguments.json:
        print_json(found)
    else:
        _print_experimenters(found)


def _vote_files(arguments: argparse.Namespace) -> "VoteFiles":
    """Gather the volumes to write, and refuse those that may not be replaced."""
    from napari_lrcs.comparison.votes import VoteFiles

    files = VoteFiles(
        majority=arguments.majority,
        agreement=arguments.agreement,
        consensus=arguments.consensus,
    )
    files.check_new(overwrite=arguments.overwrite)
    return files


# ---- what it shows ----


def _print_experimenters(found: "ExperimentersDict") -> None:
    names = found["experimenters"]
    numbers = {name: str(i) for i, name in enumerate(names, 1)}
    print_table(
        "Disagreement",
        ["Experimenter", *numbers.values()],
        [
            [f"{numbers[name]} {name}", *map(percent, shares)]
            for name, shares in zip(names, found["disagreement"], strict=True)
        ],
    )
    nearness = ", ".join(
        f"{percent(row['share'])} lie within {row['distance']} voxels"
        for row in found["near_interfaces"]
    )
    print_line(
        f"on average {percent(found['mean_disagreement'])} of the voxels painted by "
        f"both differ; of these differences, {nearness} of an interface"
    )
    phases = [phase["name"] for phase in found["pairs"][0]["phases"]]
    within = [f"Within {row['distance']}" for row in found["near_interfaces"]]
    rows = []
    for pair in found["pairs"]:
        ious = [row["iou"] for row in pair["phases"]]
        near = [row["share"] for row in pair["near_interfaces"]]
        title = " – ".join(numbers[name] for name in pair["experimenters"])
        rows.append([title, *map(percent, ious + near)])
    print_table("IoU of pairs", ["Pair", *phases, *within], rows)
    if found["target"] is not None:
        _print_target(found["target"], phases)


def _print_target(target: "TargetDict", phases: Sequence[str]) -> None:
    rows = []
    for row in target["experimenters"]:
        ious = [phase["iou"] for phase in row["phases"]]
        cells = [row["accuracy"], row["mean_iou"], *ious]
        rows.append([row["experimenter"], *map(percent, cells)])
    header = ["Experimenter", "Accuracy", "Mean IoU", *phases]
    print_table(f"IoU against {target['name']}", header, rows)
    for row in target["experimenters"]:
        for line in poor_lines(row["not_learnt"], start=f"{row['experimenter']}: "):
            print_line(line)
