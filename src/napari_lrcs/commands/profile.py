"""The command ``profile``: runs `napari_lrcs.comparison.profiles.measure_profile`."""

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import print_json, print_line, print_table
from napari_lrcs.commands.parts.places import Places, check_new_file

if TYPE_CHECKING:
    from napari_lrcs.comparison.profiles import MeasuredProfile

HELP = "measure the width of an interface along a line of grey levels"

_FIGURES = (".png", ".pdf", ".svg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="volume of grey levels")
    parser.add_argument(
        "--line",
        required=True,
        metavar="z,y0,x0:y1,x1",
        help="slice, and both ends in it, in voxels; the line crosses one interface",
    )
    parser.add_argument(
        "--width",
        type=int,
        default=1,
        metavar="N",
        help="voxels across the line to average over (default: %(default)s)",
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write a table of the samples"
    )
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw the profile; .png, .pdf, .svg"
    )
    flags.add(parser, "--overwrite", "--json")


def places(arguments: argparse.Namespace) -> Places:
    return Places(read=[arguments.image], written=[arguments.csv, arguments.figure])


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.comparison.profiles import (
        measure_profile,
        parse_line,
        write_profile_csv,
        write_profile_figure,
    )
    from napari_lrcs.io.opening import open_volume
    from napari_lrcs.io.writing import replacing

    line = parse_line(arguments.line)
    figure = arguments.figure
    if figure is not None and figure.suffix.lower() not in _FIGURES:
        raise ValueError(
            f"no figure can be written to {figure}; choose a name that ends in "
            f"{', '.join(_FIGURES)}"
        )
    for path in (arguments.csv, figure):
        check_new_file(path, overwrite=arguments.overwrite)
    measured = measure_profile(
        open_volume(arguments.image), line, width=arguments.width
    )
    with ExitStack() as stack:  # both files are written, or neither
        for path, write in (
            (arguments.csv, write_profile_csv),
            (figure, write_profile_figure),
        ):
            if path is not None:
                place = replacing(path, overwrite=arguments.overwrite)
                write(stack.enter_context(place), measured)
    if arguments.json:
        print_json(measured.to_dict())
    else:
        _print_profile(measured)


# ---- what it shows ----


def _print_profile(measured: "MeasuredProfile") -> None:
    from napari_lrcs.comparison.profiles import width_text

    fit, length = measured.fit, measured.length_of_voxel
    if fit is None:
        print_line(f"! {measured.reason}")
        return
    rows = []
    for unit, side in (("voxel", 1.0), (measured.symbol, length)):
        if side is not None:
            values = (fit.width * side, fit.steepest / side, fit.centre * side)
            rows.append([unit, *(f"{value:.4g}" for value in values)])
    print_table(
        f"Interface in {measured.name}",
        ["Unit", "Width", "Slope per unit", "Centre"],
        rows,
        caption=f"from {fit.low:.4g} to {fit.high:.4g} grey levels",
    )
    print_line(width_text(measured))
