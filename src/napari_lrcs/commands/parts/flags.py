"""Flags that several commands share, and those made from the settings of a config."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from napari_lrcs.commands.parts.terminal import printable
from napari_lrcs.config import PRESETS, PerturbConfig, TrainConfig
from napari_lrcs.settings import Config

if TYPE_CHECKING:
    from napari_lrcs.phases import PhaseTable


def _phase_name(text: str) -> str:
    if printable(text) != text:
        raise argparse.ArgumentTypeError(
            f"{text!r} has a control character; use printable characters only"
        )
    return text


_SHARED: Mapping[str, Mapping[str, Any]] = {
    "--cluster": {
        "metavar": "ADDRESS",
        "help": "compute on a dask cluster: local for processes of one thread each on "
        "this computer, or the address or file of a scheduler, such as "
        "tcp://host:8786; needs the extra cluster",
    },
    "--json": {"action": "store_true", "help": "print one JSON object"},
    "--leave-out": {
        "type": Path,
        "action": "append",
        "default": [],
        "metavar": "CHECK",
        "help": "folder of check patches that nothing is learnt from, in addition to "
        "those beside IMAGE (NAME.lrcs); may be given several times",
    },
    "--mask": {
        "metavar": "FILE",
        "help": "field of view: a volume (nonzero inside), or the word cylinder",
    },
    "--n-workers": {
        "type": int,
        "metavar": "N",
        "help": "processes of --cluster local (default: one per core)",
    },
    "--overwrite": {"action": "store_true", "help": "replace an existing result"},
    "--phases": {
        "type": _phase_name,
        "nargs": "+",
        "metavar": "NAME",
        "help": "names of the phases, in the order of their labels",
    },
    "--preset": {
        "metavar": "NAME",
        "default": "quick",
        "help": f"settings to start from: {', '.join(PRESETS)}, or one that a search "
        "has saved (default: %(default)s)",
    },
    "--surface-area": {
        "action": "store_true",
        "help": "measure the surface area of each phase per volume, in real units",
    },
    "--tortuosity": {
        "action": "append",
        "default": [],
        "metavar": "PHASE",
        "help": "compute the tortuosity of this phase (name or label) along z, y and "
        "x; may be given several times; needs the extra transport",
    },
    "--wanted-share": {
        "type": float,
        "metavar": "SHARE",
        "help": "find the kernel and the picked fraction that change this share of "
        "the painted voxels; experimenters differ by about 0.1",
    },
}


def add(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add flags that mean the same in several commands, as ``--mask``."""
    for name in names:
        parser.add_argument(name, **_SHARED[name])


def chosen_slices(arguments: argparse.Namespace) -> tuple[int, ...] | None:
    """Return the slices that ``--z`` names; None for all."""
    from napari_lrcs.io.volume import parse_slices

    return None if arguments.z is None else parse_slices(arguments.z)


def named_phases(arguments: argparse.Namespace) -> "PhaseTable | None":
    """Return the phases that ``--phases`` names; None if it is not given."""
    from napari_lrcs.phases import PhaseTable

    return arguments.phases and PhaseTable.named(*arguments.phases)


def add_config(parser: argparse.ArgumentParser, config: type[Config]) -> None:
    """Add a flag for every setting; one that is not given leaves no trace.

    Name, default and help of these flags are those of the config's fields.
    """
    groups: dict[str, argparse._ArgumentGroup] = {}
    source = "quick" if config is TrainConfig else "default"
    for s in config.settings():
        if s.group not in groups:
            groups[s.group] = parser.add_argument_group(s.group)
        unit = f", in {s.unit}" if s.unit else ""
        text = f"{s.tooltip}{unit} ({source}: {_shown(s.default)})"
        groups[s.group].add_argument(
            s.flag,
            dest=s.name,
            default=argparse.SUPPRESS,
            help=text.replace("%", "%%"),
            **_flag_type(s.type),
        )


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    return "empty" if default == () else str(default)


def _flag_type(annotation: Any) -> dict[str, Any]:
    if annotation is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(annotation) is Literal:
        return {"choices": get_args(annotation)}
    if get_origin(annotation) is tuple:
        return {"nargs": "*", "type": get_args(annotation)[0]}
    return {"type": annotation}


def given(arguments: argparse.Namespace, config: type[Config]) -> dict[str, Any]:
    """Collect the config's settings that are given on the command line."""
    values = vars(arguments)
    return {
        s.name: tuple(value) if isinstance(value, list) else value
        for s in config.settings()
        if (value := values.get(s.name)) is not None
    }


def given_perturbation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Collect the settings of `PerturbConfig` that are given on the command line."""
    settings = given(arguments, PerturbConfig)
    found = {"kernel", "picked_fraction"}
    if arguments.wanted_share is not None and settings.keys() & found:
        raise ValueError(
            "--wanted-share finds kernel and picked fraction; leave out --kernel and "
            "--picked-fraction, or --wanted-share"
        )
    return settings
