"""The arguments of the command line; those of configs are made from their fields."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args, get_origin

from napari_lrcs import __version__
from napari_lrcs.commands.parts.terminal import BAD_INPUT, print_error, printable
from napari_lrcs.config import (
    PRESETS,
    Axis,
    PerturbConfig,
    PredictConfig,
    StudyConfig,
    TrainConfig,
)


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
        One for each of the names in `_COMMANDS`.
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
    _add_phases(parser)
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
    parser.add_argument(
        "--particles",
        metavar="PHASE",
        help="separate the particles of this phase (name or number): count and sizes",
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="table of the particles"
    )
    parser.add_argument(
        "--particles-out", type=Path, metavar="FILE.tif", help="their numbers as labels"
    )
    parser.add_argument(
        "--tortuosity",
        metavar="PHASE",
        help="tortuosity of this phase along z, y and x (needs the extra transport)",
    )
    _add_overwrite(parser)
    _add_json(parser)


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "labels", nargs="+", help="labels of one experimenter each, two or more"
    )
    parser.add_argument(
        "--target", metavar="LABELS", help="labels to score each experimenter against"
    )
    parser.add_argument("--z", metavar="SLICES", help="slices that count")
    _add_mask(parser)
    parser.add_argument(
        "--near",
        type=int,
        nargs="+",
        default=(5, 10),
        metavar="VOXELS",
        help="how near an interface a difference is looked for, within the slice "
        "(default: 5 10)",
    )
    for name, text in (
        ("majority", "what most have painted"),
        ("agreement", "share of those who agree with the majority, 0 to 255"),
        (
            "consensus",
            "what all have painted, the reliable weighing more (STAPLE); all labels in "
            "memory; needs the extra consensus",
        ),
    ):
        parser.add_argument(
            f"--{name}", type=Path, metavar="FILE", help=f"{text}; .tif or .zarr"
        )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="table of all numbers")
    _add_overwrite(parser)
    _add_json(parser)


def _add_perturb(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", help="painted labels")
    parser.add_argument("--out", type=Path, required=True, help="folder for the set")
    parser.add_argument(
        "--n-members",
        type=int,
        default=15,
        help="perturbed labels to write (default: %(default)s)",
    )
    parser.add_argument(
        "--z", metavar="SLICES", help="slices to perturb; others are 0 in the members"
    )
    parser.add_argument(
        "--dimensions",
        type=int,
        choices=(2, 3),
        help="perturb each slice on its own (2) or neighbours together (3; the default "
        "where slices have neighbours)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the set (default: %(default)s)"
    )
    parser.add_argument(
        "--n-simulations",
        type=int,
        help="for the histogram of interfaces; 0 for none (default: 1000 in 2D, 100 in "
        "3D)",
    )
    _add_wanted_share(parser)
    _add_overwrite(parser)
    _add_json(parser)
    add_config_flags(parser, PerturbConfig)


def _add_uncertainty(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="volume")
    parser.add_argument("labels", type=Path, help="painted labels")
    parser.add_argument(
        "--train-z",
        metavar="SLICES",
        required=True,
        help="painted slices to perturb and train on, ten neighbours or more as 10:20; "
        "the last fifth of several is for validation",
    )
    parser.add_argument(
        "--test-z",
        metavar="SLICES",
        required=True,
        help="painted slices that all networks are scored on; never perturbed",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the study")
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="quick",
        help="what the settings start from (default: %(default)s)",
    )
    _add_phases(parser)
    _add_mask(parser)
    parser.add_argument(
        "--devices",
        nargs="+",
        metavar="DEVICE",
        default=(),
        help="train on several devices at once, as cuda:0 cuda:1, a process each; one "
        "after another by default",
    )
    _add_wanted_share(parser)
    parser.add_argument("--resume", action="store_true", help="go on with a study")
    _add_overwrite(parser)
    _add_json(parser)
    for config in (StudyConfig, PerturbConfig, TrainConfig):
        add_config_flags(parser, config)


def _add_baseline(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="volume")
    parser.add_argument(
        "--method",
        choices=("otsu", "fractions", "kmeans", "forest"),
        required=True,
        help="how phases are told apart: by the thresholds that part them best or give "
        "known volume fractions, by clusters of grey level and edge, or by a random "
        "forest that learns from LABELS",
    )
    parser.add_argument(
        "--n-phases", type=int, help="number of phases (default: those of LABELS)"
    )
    parser.add_argument(
        "--fractions",
        type=float,
        nargs="+",
        metavar="SHARE",
        help="volume fractions from dark to bright, for --method fractions",
    )
    parser.add_argument("--labels", help="painted labels")
    parser.add_argument(
        "--train-z",
        metavar="SLICES",
        help="painted slices to learn from: 10, or 10,30, or 50:60 (60 excluded)",
    )
    parser.add_argument(
        "--order",
        type=int,
        nargs="+",
        metavar="LABEL",
        help="labels from dark to bright (default: as LABELS are painted, or 1 2 3 …)",
    )
    parser.add_argument(
        "--axis",
        choices=get_args(Axis),
        default="z",
        help="axis across which the slices lie (default: %(default)s)",
    )
    _add_mask(parser)
    parser.add_argument("--out", type=Path, required=True, help="SEG.tif or SEG.zarr")
    _add_overwrite(parser)


def _add_wanted_share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wanted-share",
        type=float,
        metavar="SHARE",
        help="find the kernel and the picked fraction that change this share of the "
        "painted voxels; experimenters differ by 0.1",
    )


def _add_phases(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--phases",
        type=_phase_name,
        nargs="+",
        metavar="NAME",
        help="names, by label",
    )


def _phase_name(text: str) -> str:
    if printable(text) != text:
        raise argparse.ArgumentTypeError(
            f"{text!r} has a control character; name the phase with letters, digits "
            "and signs"
        )
    return text


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
    "compare": ("compare what several experimenters have painted", _add_compare),
    "perturb": ("perturb labels at their interfaces, many times", _add_perturb),
    "uncertainty": (
        "train on perturbed labels, and see how far the results differ",
        _add_uncertainty,
    ),
    "baseline": ("segment a volume without a network", _add_baseline),
    "info": ("versions, devices, and why CUDA is or is not used", _add_json),
}
