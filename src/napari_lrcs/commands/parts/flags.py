"""Flags that several commands share, and those made from the fields of a config."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from napari_lrcs.commands.parts.terminal import printable
from napari_lrcs.config import PRESETS, PerturbConfig, TrainConfig

if TYPE_CHECKING:
    from napari_lrcs.phases import PhaseTable


def _phase_name(text: str) -> str:
    if printable(text) != text:
        raise argparse.ArgumentTypeError(
            f"{text!r} has a control character; name the phase with letters, digits "
            "and signs"
        )
    return text


_SHARED: Mapping[str, Mapping[str, Any]] = {
    "--json": {"action": "store_true", "help": "print one JSON object"},
    "--mask": {
        "metavar": "FILE",
        "help": "field of view: a volume (nonzero inside) or the word cylinder",
    },
    "--overwrite": {"action": "store_true", "help": "replace what is there"},
    "--phases": {
        "type": _phase_name,
        "nargs": "+",
        "metavar": "NAME",
        "help": "names, by label",
    },
    "--preset": {
        "choices": PRESETS,
        "default": "quick",
        "help": "what the settings start from (default: %(default)s)",
    },
    "--wanted-share": {
        "type": float,
        "metavar": "SHARE",
        "help": "find the kernel and the picked fraction that change this share of the "
        "painted voxels; experimenters differ by 0.1",
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


def add_config(parser: argparse.ArgumentParser, config: type[Any]) -> None:
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


def given(arguments: argparse.Namespace, config: type[Any]) -> dict[str, Any]:
    """Collect the config's fields that are given on the command line."""
    values = vars(arguments)
    return {
        f.name: tuple(value) if isinstance(value, list) else value
        for f in fields(config)
        if (value := values.get(f.name)) is not None
    }


def given_perturbation(arguments: argparse.Namespace) -> dict[str, Any]:
    """Collect the fields of `PerturbConfig` that are given on the command line."""
    settings = given(arguments, PerturbConfig)
    found = {"kernel", "picked_fraction"}
    if arguments.wanted_share is not None and settings.keys() & found:
        raise ValueError(
            "--wanted-share finds kernel and picked fraction; leave out --kernel and "
            "--picked-fraction, or --wanted-share"
        )
    return settings
