"""Volumes with painted slices: arguments that name them, and how they are opened."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_lrcs.annotation.annotation import AnnotatedVolume


def add_arguments(
    parser: argparse.ArgumentParser,
    *,
    roles: Sequence[str] = ("train", "validation", "test"),
) -> None:
    """Add IMAGE, LABELS and the slices of each role."""
    parser.add_argument("image", type=Path, help="volume, or TOML file of several")
    parser.add_argument("labels", type=Path, nargs="?", help="painted labels")
    for role in roles:
        use = "training" if role == "train" else role
        parser.add_argument(
            f"--{role}-z",
            metavar="SLICES",
            help=f"painted slices for {use}: 10, or 10,30, or 50:60 (60 excluded)",
        )


def open_volumes(arguments: argparse.Namespace) -> "list[AnnotatedVolume]":
    """Open the volume that the arguments name, or those of a TOML file."""
    from napari_lrcs.annotation.annotation import ROLES
    from napari_lrcs.annotation.project import open_annotated, read_project

    slices = {role: getattr(arguments, f"{role}_z", None) for role in ROLES}
    named = {role: text for role, text in slices.items() if text is not None}
    if arguments.labels is None:
        if arguments.image.suffix.lower() != ".toml":
            raise ValueError(
                "LABELS is missing; give IMAGE LABELS, or one TOML file that names "
                f"the volumes in place of {arguments.image}"
            )
        if arguments.leave_out:
            raise ValueError(
                "--leave-out goes with IMAGE LABELS; of several volumes, check patches "
                "are found beside each image: put them into its folder NAME.lrcs"
            )
        if named or arguments.mask:
            raise ValueError(
                "the slices and masks of several volumes belong in the TOML file, not "
                "on the command line"
            )
        return read_project(arguments.image)
    if "train" not in named:
        raise ValueError("--train-z is missing; give the painted slices to train on")
    return [
        open_annotated(
            arguments.image,
            arguments.labels,
            slices=named,
            mask=arguments.mask,
            leave_out=arguments.leave_out,
        )
    ]
