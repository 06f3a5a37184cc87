"""The command ``export``: runs `napari_lrcs.export.export.export_network`."""

import argparse
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import print_json, print_line
from napari_lrcs.commands.parts.places import Places, network_file

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_lrcs.export.formats import PackageInfo

HELP = "write a trained network for other programs: ONNX, or a bioimage.io package"

_PACKAGE_FLAGS = ("name", "author", "license")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="checkpoint or run folder")
    parser.add_argument(
        "--format",
        required=True,
        choices=("onnx", "bioimageio"),
        help="onnx: one file, with what comes before and after it described in its "
        "metadata; bioimageio: a package that bioimageio.core has tested",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="FILE.onnx, or FILE.zip for bioimageio"
    )
    package = parser.add_argument_group("package of bioimage.io")
    package.add_argument(
        "--name", help="of the model (default: made from network and phases)"
    )
    package.add_argument(
        "--author",
        action="append",
        metavar="NAME",
        help="who trained it; may be given several times (default: nobody)",
    )
    package.add_argument(
        "--license",
        metavar="SPDX",
        help="identifier of the license (default: CC-BY-4.0, as most models there)",
    )
    flags.add(parser, "--overwrite", "--json")


def places(arguments: argparse.Namespace) -> Places:
    return Places(read=[network_file(arguments.model)], written=[arguments.out])


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.export.formats import check_export

    info = _info(arguments)
    check_export(arguments.out, arguments.format, overwrite=arguments.overwrite)

    from napari_lrcs.commands.parts.progress import follow_share
    from napari_lrcs.export.events import Exported
    from napari_lrcs.export.export import ExportTask, export_network
    from napari_lrcs.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(arguments.model)
    task = ExportTask(checkpoint=checkpoint, format=arguments.format, info=info)
    events = export_network(task, out=arguments.out, overwrite=arguments.overwrite)
    with closing(cast("Generator[Any]", events)):
        exported = follow_share(events, text="exporting")
    assert isinstance(exported, Exported)
    if arguments.json:
        print_json({"out": str(exported.out), "advice": list(exported.advice)})
        return
    for text in exported.advice:
        print_line(f"! {text}")
    print_line(f"network: {exported.out}")


def _info(arguments: argparse.Namespace) -> "PackageInfo":
    from napari_lrcs.export.formats import PackageInfo

    given = [name for name in _PACKAGE_FLAGS if getattr(arguments, name) is not None]
    if given and arguments.format != "bioimageio":
        raise ValueError(
            f"--{given[0]} is for --format bioimageio; leave it out, or choose that"
        )
    default = PackageInfo()
    return PackageInfo(
        name=default.name if arguments.name is None else arguments.name,
        authors=tuple(arguments.author or ()),
        license=arguments.license or default.license,
    )
