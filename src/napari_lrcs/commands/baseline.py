"""The command ``baseline``: runs `napari_lrcs.inference.segment.segment_volume`."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from napari_lrcs.commands.parts import flags
from napari_lrcs.commands.parts.cluster import elsewhere
from napari_lrcs.commands.parts.places import Places
from napari_lrcs.config import Axis

if TYPE_CHECKING:
    from napari_lrcs.inference.segment import BaselineTask
    from napari_lrcs.io.volume import Volume
    from napari_lrcs.phases import PhaseTable

HELP = "segment a volume without a network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", help="volume")
    parser.add_argument(
        "--method",
        choices=("otsu", "fractions", "kmeans", "forest"),
        required=True,
        help="how to separate the phases: by the thresholds that separate them best or "
        "give known volume fractions, by clusters of grey level and edge strength, or "
        "by a random forest that learns from LABELS",
    )
    parser.add_argument(
        "--n-phases",
        type=int,
        help="number of phases (default: those of LABELS, or one per SHARE)",
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
    flags.add(parser, "--mask", "--leave-out")
    parser.add_argument("--out", type=Path, required=True, help="SEG.tif or SEG.zarr")
    flags.add(parser, "--overwrite", "--cluster", "--n-workers")


def places(arguments: argparse.Namespace) -> Places:
    return Places(
        read=[arguments.image, arguments.labels, arguments.mask, *arguments.leave_out],
        written=[arguments.out],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.commands.parts.progress import follow
    from napari_lrcs.inference.results.disk import DiskResult
    from napari_lrcs.inference.segment import segment_volume

    result = DiskResult(labels=arguments.out, overwrite=arguments.overwrite)
    result.check_new()
    task = _task(arguments)
    with elsewhere(arguments, arguments.image, arguments.mask) as others:
        events = segment_volume(task, result=result, others=others)
        try:
            with closing(events):
                follow(events, phases=task.phases)
        except KeyboardInterrupt:
            if not result.is_complete:
                raise  # otherwise Ctrl-C came too late


def _task(arguments: argparse.Namespace) -> "BaselineTask":
    from napari_lrcs.annotation.project import read_checks
    from napari_lrcs.inference.segment import BaselineTask
    from napari_lrcs.io.opening import open_labels, open_to_share
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.preprocessing.mask import open_mask

    if (arguments.labels is None) != (arguments.train_z is None):
        raise ValueError("--labels and --train-z go together; give both, or neither")
    train = () if arguments.train_z is None else parse_slices(arguments.train_z)
    labels = None if arguments.labels is None else open_labels(arguments.labels)
    image = open_to_share(arguments.image)
    checks = (
        ()
        if labels is None
        else read_checks(arguments.image, arguments.leave_out, shape=image.shape)
    )
    return BaselineTask(
        image=image,
        method="k_means" if arguments.method == "kmeans" else arguments.method,
        phases=_phases(arguments, labels, train),
        fractions=arguments.fractions and tuple(arguments.fractions),
        order=arguments.order and tuple(arguments.order),
        labels=labels,
        train=train,
        axis=arguments.axis,
        mask=open_mask(arguments.mask, shape=image.shape),
        checks=checks,
    )


def _phases(
    arguments: argparse.Namespace, labels: "Volume | None", train: Sequence[int]
) -> "PhaseTable":
    """Return the phases of the labels, or numbered ones."""
    from napari_lrcs.classical.thresholds import check_n_phases
    from napari_lrcs.phases import PhaseTable

    n_phases = arguments.n_phases
    if n_phases is None and labels is None and arguments.fractions:
        n_phases = len(arguments.fractions)
    if n_phases is None and labels is None:
        raise ValueError("--n-phases is missing; give the number of phases")
    if labels is not None and labels.phases is not None:
        if n_phases not in (None, len(labels.phases)):
            raise ValueError(
                f"--n-phases is {n_phases}, but {labels.name} names "
                f"{', '.join(labels.phases.names)}; leave it out"
            )
        return labels.phases
    if n_phases is None:
        assert labels is not None
        slabs = (labels.slab(z, z + 1, axis=arguments.axis) for z in train)
        n_phases = max(2, *(int(slab.max()) for slab in slabs))
    check_n_phases(n_phases)
    return PhaseTable.numbered(n_phases)
