"""The arguments of the command line; those of configs are made from their fields."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from napari_lrcs import __version__
from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig

BAD_INPUT = 2
"""Exit code of the command line for bad input."""


def print_error(message: str) -> None:
    """Print one line on standard error."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave."""
        print_error(f"{message}; see {self.prog} --help")
        raise SystemExit(BAD_INPUT)


Command = Callable[[argparse.Namespace], None]


def build_parser(**commands: Command) -> argparse.ArgumentParser:
    """Make the parser; the function of a subcommand ends up in ``run``.

    Parameters
    ----------
    **commands : callable
        One for each of ``demo``, ``train``, ``predict``, ``evaluate``, ``measure`` and
        ``info``.
    """
    parser = Parser(
        prog="napari-lrcs",
        description="Segment multiphase tomography volumes from a few painted slices.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, run in commands.items():
        text, add_flags = _COMMANDS[name]
        command = subparsers.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + "."
        )
        command.set_defaults(run=run)
        add_flags(command)
    return parser


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("lrcs-demo"),
        help="folder for what the demo leaves (default: %(default)s)",
    )
    add_config_flags(parser, TrainConfig)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="volume, or a TOML file of several")
    parser.add_argument("labels", type=Path, nargs="?", help="painted labels")
    for role in ("train", "validation", "test"):
        parser.add_argument(
            f"--{role}-z",
            metavar="SLICES",
            help=f"painted slices for {role}: 10, or 10,30, or 50:60 (60 excluded)",
        )
    parser.add_argument("--out", type=Path, required=True, help="folder for the run")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="quick",
        help="what the settings start from (default: %(default)s)",
    )
    parser.add_argument("--phases", nargs="+", metavar="NAME", help="names, by label")
    _add_mask(parser)
    parser.add_argument(
        "--initial-weights",
        type=Path,
        metavar="MODEL",
        help="checkpoint or run folder to start from (transfer learning)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run")
    _add_overwrite(parser)
    _add_json(parser)
    add_config_flags(parser, TrainConfig)


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="volume, or a quoted glob of a time series")
    parser.add_argument("model", type=Path, help="checkpoint or run folder")
    parser.add_argument(
        "--out", type=Path, required=True, help="SEG.tif, SEG.zarr, or a folder"
    )
    parser.add_argument(
        "--z", metavar="SLICES", help="slices to predict; others stay 0"
    )
    _add_mask(parser)
    parser.add_argument(
        "--confidence", type=Path, help="file for the certainty of each voxel, 0 to 255"
    )
    parser.add_argument(
        "--probabilities", type=Path, help="OME-Zarr for the probability of each phase"
    )
    _add_overwrite(parser)
    add_config_flags(parser, PredictConfig)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("predicted", help="labels to score")
    parser.add_argument("target", help="labels to score against; 0 does not count")
    parser.add_argument("--z", metavar="SLICES", help="slices that count")
    _add_mask(parser)
    _add_json(parser)


def _add_measure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", help="labels to measure")
    _add_mask(parser)
    parser.add_argument(
        "--neighbourhood",
        type=int,
        choices=(4, 6, 8, 18, 26),
        default=26,
        help="neighbours of a voxel; 4 and 8 within slices (default: %(default)s)",
    )
    _add_json(parser)


def _add_mask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="field of view: a volume (nonzero inside) or the word cylinder",
    )


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what is there"
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_config_flags(parser: argparse.ArgumentParser, config: type[Any]) -> None:
    """Add a flag for every field of a config; one that is not given leaves no trace."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    source = "quick" if config is TrainConfig else "default"
    for f in fields(config):
        name = f.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(name)
        unit = f", in {f.metadata['unit']}" if f.metadata["unit"] else ""
        groups[name].add_argument(
            "--" + f.name.replace("_", "-"),
            dest=f.name,
            default=argparse.SUPPRESS,
            help=f"{f.metadata['tooltip']}{unit} ({source}: {f.default})".replace(
                "%", "%%"
            ),
            **_flag_type(f.type),
        )


def _flag_type(annotation: Any) -> dict[str, Any]:
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(annotation) is Literal:
        return {"choices": get_args(annotation)}
    if get_origin(annotation) is tuple:
        return {"nargs": "+", "type": get_args(annotation)[0]}
    return {"type": annotation}


_COMMANDS: Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "demo": ("the whole way on the built-in sample", _add_demo),
    "train": ("train a network on painted slices", _add_train),
    "predict": ("segment a volume with a trained network", _add_predict),
    "evaluate": ("score a segmentation against its truth", _add_evaluate),
    "measure": ("measure volumes, surfaces and interfaces of phases", _add_measure),
    "info": ("versions, devices, and why CUDA is or is not used", _add_json),
}
