"""The command ``perturb``: runs `write_perturbed_set`."""

import argparse
import math
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.output import (
    percent,
    print_json,
    print_line,
    print_table,
)
from napari_lrcs.commands.parts.places import Places
from napari_lrcs.config import PerturbConfig

if TYPE_CHECKING:
    from napari_lrcs.uncertainty.perturbation.perturbed_set import (
        PerturbedSet,
        PerturbTask,
    )

HELP = "make perturbed copies of painted labels"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", help="painted labels")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the perturbed labels"
    )
    parser.add_argument(
        "--n-members",
        type=int,
        default=15,
        help="number of perturbed copies to write (default: %(default)s)",
    )
    parser.add_argument(
        "--z", metavar="SLICES", help="slices to perturb; the others become 0"
    )
    parser.add_argument(
        "--dimensions",
        type=int,
        choices=(2, 3),
        help="perturb each slice on its own (2) or adjacent slices together (3); by "
        "default 3 if there are adjacent slices",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed (default: %(default)s)"
    )
    parser.add_argument(
        "--n-simulations",
        type=int,
        help="simulations for the interface histogram; 0 for no histogram (default: "
        "1000 in 2D, 100 in 3D)",
    )
    flags.add(parser, "--wanted-share", "--overwrite", "--json")
    flags.add_config(parser, PerturbConfig)


def places(arguments: argparse.Namespace) -> Places:
    return Places(read=[arguments.labels], written=[arguments.out])


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.commands.parts.progress import follow_share
    from napari_lrcs.uncertainty.perturbation.perturbed_set import (
        PerturbedSet,
        write_perturbed_set,
    )

    events = write_perturbed_set(
        _task(arguments), out=arguments.out, overwrite=arguments.overwrite
    )
    with closing(events):
        perturbed = follow_share(events, text="perturbing")
    assert isinstance(perturbed, PerturbedSet)
    if arguments.json:
        print_json(perturbed.to_dict())
    else:
        _print_perturbed(perturbed)


def _task(arguments: argparse.Namespace) -> "PerturbTask":
    from napari_lrcs.io.opening import open_labels
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.uncertainty.perturbation.perturbed_set import (
        PerturbTask,
        check_place_of_set,
    )

    given = flags.given_perturbation(arguments)
    check_place_of_set(arguments.out, overwrite=arguments.overwrite)
    labels = open_labels(arguments.labels)
    slices = arguments.z and parse_slices(arguments.z, n_slices=labels.shape[0])
    return PerturbTask(
        labels=labels,
        config=PerturbConfig().with_changes(**given),
        n_members=arguments.n_members,
        seed=arguments.seed,
        slices=slices,
        dimensions=arguments.dimensions,
        n_simulations=arguments.n_simulations,
        wanted_share=arguments.wanted_share,
    )


# ---- what it shows ----


def _print_perturbed(perturbed: "PerturbedSet") -> None:
    moved = perturbed.moved.mean(axis=0)
    print_table(
        "Perturbed labels",
        ["Phase", "Change of volume"],
        [
            [phase.name, "–" if math.isnan(move) else f"{move:+.1%}"]
            for phase, move in zip(perturbed.phases, moved, strict=True)
        ],
    )
    config, shares = perturbed.config, perturbed.changed_shares
    together = "together" if perturbed.dimensions == 3 else "one by one"
    print_line(
        f"kernel {config.kernel}, {percent(config.picked_fraction)} of the interface "
        f"voxels in each of {config.n_iterations} iterations, slices {together}"
    )
    print_line(
        f"{percent(float(shares.mean()))} of the painted voxels changed "
        f"({percent(float(shares.min()))} to {percent(float(shares.max()))})"
    )
    widths = perturbed.widths
    if widths is not None and widths.n_fitted:
        print_line(
            f"interfaces are {widths.median_fwhm:.1f} voxels wide (full width at half "
            f"maximum, {perturbed.n_simulations} simulations)"
        )
    elif widths is not None:
        print_line("interfaces are too close together to measure their width")
    for text in perturbed.advice:
        print_line(f"! {text}")
    print_line(f"{len(perturbed.files)} members in {perturbed.files[0].parent}")
