"""The command ``info``: runs `napari_lrcs.models.device.describe_installation`."""

import argparse

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import print_json, print_table
from napari_lrcs.commands.parts.places import Places

HELP = "show versions, devices, and why CUDA is or is not used"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags.add(parser, "--json")


def places(_: argparse.Namespace) -> Places:
    """Return no files or folders."""
    return Places()


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.models.device import describe_installation

    pairs = describe_installation()
    if arguments.json:
        print_json(pairs)
    else:
        print_table("napari-lrcs", [], pairs.items())
