"""The command ``measure``: runs `napari_lrcs.comparison.measures.measure_labels`."""

import argparse
import math
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.cluster import elsewhere
from napari_lrcs.commands.parts.output import percent, print_json, print_table
from napari_lrcs.commands.parts.places import Places, check_new_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_lrcs.comparison.measures import AreaDict, MeasureEvent, Measures
    from napari_lrcs.io.volume import Volume
    from napari_lrcs.metrics.composition import MeasuresDict
    from napari_lrcs.metrics.structure import Particles, ParticlesDict
    from napari_lrcs.metrics.transport import PhaseTransport
    from napari_lrcs.phases import Phase

HELP = "measure volumes, surfaces and interfaces of phases"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", help="labels to measure")
    flags.add(parser, "--mask")
    parser.add_argument(
        "--neighbourhood",
        type=int,
        choices=(4, 6, 8, 18, 26),
        default=26,
        help="how many voxels are neighbours of a voxel; 4 and 8 are within the slice "
        "(default: %(default)s)",
    )
    flags.add(parser, "--surface-area")
    parser.add_argument(
        "--particles",
        action="append",
        default=[],
        metavar="PHASE",
        help="separate the particles of this phase (name or label), and give their "
        "number and sizes; may be given several times",
    )
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write a table of the particles"
    )
    parser.add_argument(
        "--particles-out",
        type=Path,
        metavar="FILE.tif",
        help="write a label image of the particles",
    )
    flags.add(parser, "--tortuosity", "--overwrite", "--json")
    flags.add(parser, "--cluster", "--n-workers")


def places(arguments: argparse.Namespace) -> Places:
    return Places(
        read=[arguments.labels, arguments.mask],
        written=[arguments.csv, arguments.particles_out],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.comparison.evaluate import phases_in
    from napari_lrcs.comparison.measures import Extras, measure_labels
    from napari_lrcs.comparison.transport import check_labels
    from napari_lrcs.io.opening import open_to_share
    from napari_lrcs.io.volume import as_labels
    from napari_lrcs.phases import phase_called
    from napari_lrcs.preprocessing.mask import open_mask

    _check_particle_files(arguments)
    labels = as_labels(open_to_share(arguments.labels))
    mask = open_mask(arguments.mask, shape=labels.shape)
    phases = phases_in(labels)
    grains, paths = (
        [phase_called(text, phases) for text in texts]
        for texts in (arguments.particles, arguments.tortuosity)
    )
    if paths:  # what is refused is so before minutes of measuring
        check_labels(labels, mask=mask)
    with elsewhere(arguments, arguments.labels, arguments.mask) as others:
        events = measure_labels(
            labels,
            phases=phases,
            mask=mask,
            neighbourhood=arguments.neighbourhood,
            extras=Extras(surface_area=arguments.surface_area, particles=grains),
            others=others,
        )
        with closing(events):
            measures = _follow(events, labels, arguments)
    try:
        for phase in paths:
            measures = measures.with_transport(_transport(labels, mask, phase))
    finally:  # if that fails or is interrupted, what is measured is not lost
        if arguments.json:
            print_json(measures.to_dict())
        else:
            _print_all(measures)


def _check_particle_files(arguments: argparse.Namespace) -> None:
    csv, tif = arguments.csv, arguments.particles_out
    if (csv or tif) and len(arguments.particles) != 1:
        raise ValueError(
            "--csv and --particles-out need particles of one phase; add --particles "
            "PHASE once"
        )
    for path in (csv, tif):
        check_new_file(path, overwrite=arguments.overwrite)
    if tif is not None and tif.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(
            f"particles cannot be written to {tif}; choose a name that ends in .tif"
        )


def _follow(
    events: "Iterator[MeasureEvent]", labels: "Volume", arguments: argparse.Namespace
) -> "Measures":
    """Return the last event; show progress only where the work is long."""
    from napari_lrcs.comparison.measures import Measures

    if arguments.surface_area or arguments.particles or arguments.cluster:
        from napari_lrcs.commands.parts.progress import follow_share

        last = follow_share(_writing(events, labels, arguments), text="measuring")
    else:
        *_, last = events
    assert isinstance(last, Measures)
    return last


def _writing(
    events: "Iterator[MeasureEvent]", labels: "Volume", arguments: argparse.Namespace
) -> "Iterator[MeasureEvent]":
    """Write the requested files of particles as soon as these are separated."""
    from napari_lrcs.comparison.measures import Separated

    for event in events:
        if isinstance(event, Separated):
            _write_particles(event.particles, labels, arguments)
        yield event


def _write_particles(
    particles: "Particles", labels: "Volume", arguments: argparse.Namespace
) -> None:
    from napari_lrcs.comparison.particles import (
        write_particles_csv,
        write_particles_tiff,
    )
    from napari_lrcs.io.writing import replacing

    with ExitStack() as stack:  # both files are written, or neither
        for path, write in (
            (arguments.csv, write_particles_csv),
            (arguments.particles_out, partial(write_particles_tiff, like=labels)),
        ):
            if path is not None:
                place = replacing(path, overwrite=arguments.overwrite)
                write(stack.enter_context(place), particles)


def _transport(
    labels: "Volume", mask: "Volume | None", phase: "Phase"
) -> "PhaseTransport":
    from napari_lrcs.commands.parts.progress import follow_share
    from napari_lrcs.comparison.transport import measure_transport
    from napari_lrcs.metrics.transport import PhaseTransport

    events = measure_transport(labels, phase=phase, mask=mask)
    found = follow_share(events, text=f"diffusion through {phase.name}")
    assert isinstance(found, PhaseTransport)
    return found


# ---- what it shows ----


def _print_all(measures: "Measures") -> None:
    found = measures.to_dict()
    print_measures(found)
    if measures.surface_area is not None:
        _print_areas(found["surface_areas"])
    for part in measures.particles:
        _print_particles(part.summary)
    for through in measures.transport:
        _print_transport(through)


def _print_areas(areas: "Sequence[AreaDict]") -> None:
    print_table(
        "Surface areas",
        ["Phase", f"Area / volume (1/{areas[0]['unit'] or 'unknown unit'})"],
        [[row["name"], f"{row['per_volume']:.4g}"] for row in areas],
    )


def print_measures(measures: "MeasuresDict") -> None:
    """Print tables of the fractions of phases and interfaces."""
    names = {row["label"]: row["name"] for row in measures["phases"]}
    print_table(
        "Phases",
        ["Phase", "Volume", "Surface", "Surface / volume"],
        [
            [
                row["name"],
                percent(row["volume_fraction"]),
                percent(row["surface_fraction"]),
                percent(row["surface_to_volume"]),
            ]
            for row in measures["phases"]
        ],
    )
    interfaces = [
        [
            " – ".join(names[label] for label in row["phases"]),
            *map(percent, [row["fraction"], *row["sides"]]),
        ]
        for row in measures["interfaces"]
    ]
    if interfaces:
        print_table(
            "Interfaces",
            ["Interface", "Both sides", "First side", "Second side"],
            interfaces,
            caption="shares of the labelled voxels, "
            f"{measures['neighbourhood']} neighbours",
        )


def _print_particles(particles: "ParticlesDict") -> None:
    unit = particles["unit"] or "unknown unit"
    volume = f"Area ({unit}²)" if particles["n_axes"] == 2 else f"Volume ({unit}³)"
    rows = []
    for name, sizes in (
        (f"Equivalent diameter ({unit})", particles["equivalent_diameter"]),
        (volume, particles["volume"]),
    ):
        cells = (sizes["mean"], sizes["median"], sizes["min"], sizes["max"])
        rows.append([name, *("–" if math.isnan(v) else f"{v:.4g}" for v in cells)])
    print_table(
        f"{particles['count']:,} particles of {particles['name']}",
        ["Size", "Mean", "Median", "Smallest", "Largest"],
        rows,
        caption=f"{particles['at_border']:,} touch the border and may be cut off",
    )


def _print_transport(transport: "PhaseTransport") -> None:
    rows = []
    for d in transport.directions:
        missing = "did not converge" if d.percolates else "does not percolate"
        diffusivity = d.effective_diffusivity
        rows.append(
            [
                d.axis,
                f"{d.tortuosity:.3f}" if math.isfinite(d.tortuosity) else missing,
                "–" if math.isnan(diffusivity) else f"{diffusivity:.4f}",
            ]
        )
    print_table(
        f"Transport through {transport.phase.name}",
        ["Along", "Tortuosity", "Effective diffusivity"],
        rows,
    )
