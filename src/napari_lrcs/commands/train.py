"""The command ``train``: runs `napari_lrcs.training.loop.train`."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts import context, flags, painted
from napari_lrcs.commands.parts.output import print_json, print_scores
from napari_lrcs.commands.parts.places import Places, network_file
from napari_lrcs.config import OptimisationConfig, TrainConfig

if TYPE_CHECKING:
    from datetime import datetime

    from napari_lrcs.annotation.held_out import Splits
    from napari_lrcs.io.volume import Volume
    from napari_lrcs.phases import PhaseTable
    from napari_lrcs.progress import TrainingEnded
    from napari_lrcs.training.transfer import Origin

HELP = "train a network on painted slices"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    painted.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the run")
    flags.add(parser, "--preset", "--phases", "--mask", "--leave-out")
    parser.add_argument(
        "--initial-weights",
        type=Path,
        metavar="MODEL",
        help="checkpoint or run folder to start from (transfer learning)",
    )
    parser.add_argument(
        "--keep",
        choices=("all", "encoder"),
        help="what to take over from the initial weights (default: all)",
    )
    parser.add_argument("--resume", action="store_true", help="continue a run")
    flags.add(parser, "--overwrite", "--json")
    flags.add_config(parser, TrainConfig)


def places(arguments: argparse.Namespace) -> Places:
    """Return the files read and written; `run` checks those that a TOML file names."""
    weights = network_file(arguments.initial_weights)
    return Places(
        read=[
            *(arguments.image, arguments.labels, arguments.mask, weights),
            *arguments.leave_out,
        ],
        written=[arguments.out],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.annotation.annotation import read_annotation
    from napari_lrcs.commands.parts.progress import Display, follow
    from napari_lrcs.io.paths import check_outputs
    from napari_lrcs.io.volume import sources_of
    from napari_lrcs.models.device import resolve_device
    from napari_lrcs.progress import TrainingEnded
    from napari_lrcs.training.loop import train
    from napari_lrcs.training.run.folder import RunFolder

    origin = _origin(arguments)
    config = _config(arguments)
    resolve_device(config.device)
    volumes = painted.open_volumes(arguments)
    read = sources_of(*(v for a in volumes for v in (a.image, a.labels, a.mask)))
    check_outputs([arguments.out], inputs=read)
    reason = ""
    if not (arguments.resume or arguments.initial_weights):
        config, reason = context.fit(config, arguments, volumes)
    annotation = read_annotation(
        volumes,
        config=config,
        phases=flags.named_phases(arguments),
        begun_at=_begun_at(arguments),
        splits=_splits(arguments, config, [v.image for v in volumes]),
    )
    if reason:
        Display().print(reason)
    events = train(
        annotation,
        config=config,
        run=arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        origin=origin,
    )
    try:
        ended = follow(events, phases=annotation.phases)
    except OSError as error:
        if RunFolder(arguments.out).is_run:
            error.add_note(
                f"the run in {arguments.out} is kept: continue with --resume"
            )
        raise
    assert isinstance(ended, TrainingEnded)
    _warn_of_not_learnt(ended, config.optimisation)
    _print_end(ended, annotation.phases, config, as_json=arguments.json)


def _config(arguments: argparse.Namespace) -> TrainConfig:
    """Combine flags, preset and earlier runs, and refuse an unsuitable folder."""
    from napari_lrcs.io.writing import check_new
    from napari_lrcs.models.checkpoint import load_checkpoint
    from napari_lrcs.presets import read_preset
    from napari_lrcs.training.run.folder import RunFolder

    run = RunFolder(arguments.out)
    given = flags.given(arguments, TrainConfig)
    if arguments.resume:
        if arguments.overwrite or arguments.initial_weights:
            raise ValueError(
                "--resume cannot be combined with --overwrite or --initial-weights; "
                "leave one of them out"
            )
        return run.read_config().with_changes(**given)
    check_new(arguments.out, overwrite=True)
    run.check_place(overwrite=arguments.overwrite)
    start = read_preset(arguments.preset)
    if arguments.initial_weights is not None:
        other = load_checkpoint(arguments.initial_weights)
        start = replace(start, network=other.config.network)
    return start.with_changes(**given)


def _begun_at(arguments: argparse.Namespace) -> "datetime | None":
    """Return when the run began that is resumed; None for a new one."""
    from napari_lrcs.training.run.folder import RunFolder

    if not arguments.resume:
        return None
    return RunFolder(arguments.out).read_task().begun_at


def _splits(
    arguments: argparse.Namespace, config: TrainConfig, images: "list[Volume]"
) -> "Splits":
    """Read what the network that goes on has learnt, and was validated on."""
    from napari_lrcs.training.run.folder import RunFolder
    from napari_lrcs.training.transfer import splits_before

    former = RunFolder(arguments.out) if arguments.resume else _origin(arguments)
    return splits_before(former, config.preprocessing.axis, images)


def _origin(arguments: argparse.Namespace) -> "Origin | None":
    from napari_lrcs.training.transfer import Origin

    if arguments.initial_weights is not None:
        return Origin(path=arguments.initial_weights, kept=arguments.keep or "all")
    if arguments.keep is not None:
        raise ValueError("--keep needs --initial-weights, the network to start from")
    return None


def _warn_of_not_learnt(ended: "TrainingEnded", config: OptimisationConfig) -> None:
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.training.not_learnt import advice

    display = Display()
    for found in ended.not_learnt:
        display.warn(f"{found}; {advice(config, balance='--balance')}")


def _print_end(
    ended: "TrainingEnded", phases: "PhaseTable", config: TrainConfig, *, as_json: bool
) -> None:
    from napari_lrcs.metrics.overlap import not_learnt_dicts, scores_dict

    scores = {
        role: None if confusion is None else scores_dict(confusion, phases)
        for role, confusion in (("validation", ended.validation), ("test", ended.test))
    }
    if as_json:
        print_json(
            {
                "best": str(ended.best),
                "epochs": ended.epochs,
                "seconds": ended.seconds,
                "device": ended.device,
                "context_slices": config.network.context_slices,
                **scores,
                "not_learnt": not_learnt_dicts(ended.not_learnt),
            }
        )
        return
    for role, table in scores.items():
        if table is not None:
            print_scores(table, title=f"{role.capitalize()} of the best model")
