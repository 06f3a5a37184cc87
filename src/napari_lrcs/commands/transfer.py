"""The command ``transfer``: runs `compare_starts`."""

import argparse
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts import flags, painted
from napari_lrcs.commands.parts.output import percent, print_json, print_table
from napari_lrcs.commands.parts.places import Places
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.transfer.config import TransferConfig

if TYPE_CHECKING:
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.transfer.plan import TransferTask
    from napari_lrcs.transfer.results import StartResult, TransferFindings
    from napari_lrcs.transfer.transfer import TransferEvent

HELP = "compare trainings that start from another network with those from scratch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    painted.add_arguments(parser, roles=("train", "validation"))
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        metavar="RUN",
        help="run folder of the earlier training, on a similar sample",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the comparison"
    )
    flags.add(parser, "--preset", "--phases", "--mask", "--leave-out")
    parser.add_argument(
        "--keep",
        choices=("all", "encoder"),
        default="all",
        help="what to take over from the earlier network (default: all)",
    )
    parser.add_argument("--resume", action="store_true", help="continue a comparison")
    flags.add(parser, "--overwrite", "--json")
    for config in (TransferConfig, TrainConfig):
        flags.add_config(parser, config)


def places(arguments: argparse.Namespace) -> Places:
    """Return the files read and written; `run` checks those that a TOML file names."""
    return Places(
        read=[
            *(arguments.image, arguments.labels, arguments.mask, arguments.source),
            *arguments.leave_out,
        ],
        written=[arguments.out],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.transfer.folder import TransferFolder
    from napari_lrcs.transfer.transfer import compare_starts

    if arguments.resume and arguments.overwrite:
        raise ValueError(
            "--resume cannot be combined with --overwrite; leave one of them out"
        )
    events = compare_starts(
        _task(arguments),
        out=arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
    )
    try:
        with closing(events), Display() as display:
            for event in events:
                _show(display, event)
    except OSError as error:
        is_begun = TransferFolder(arguments.out).record.exists
        if is_begun and not isinstance(error, LrcsError):
            error.add_note(
                f"the comparison in {arguments.out} is kept: continue with --resume"
            )
        raise
    findings = TransferFolder(arguments.out).read_findings()
    if arguments.json:
        print_json(findings.to_dict())
    else:
        _print_findings(findings)


def _task(arguments: argparse.Namespace) -> "TransferTask":
    from napari_lrcs.presets import read_preset
    from napari_lrcs.training.run.folder import RunFolder
    from napari_lrcs.transfer.folder import TransferFolder
    from napari_lrcs.transfer.plan import TransferTask

    source = RunFolder(arguments.source)
    if arguments.resume:
        config, transfer = TransferFolder(arguments.out).read_settings()
    else:
        preset = read_preset(arguments.preset)
        config = replace(preset, network=source.read_config().network)
        transfer = TransferConfig()
    return TransferTask(
        source=source,
        config=config.with_changes(**flags.given(arguments, TrainConfig)),
        transfer=transfer.with_changes(**flags.given(arguments, TransferConfig)),
        kept=arguments.keep,
        volumes=tuple(painted.open_volumes(arguments)),
        phases=flags.named_phases(arguments),
    )


# ---- what it shows ----


def _show(display: "Display", event: "TransferEvent") -> None:
    from napari_lrcs.progress import Notice
    from napari_lrcs.transfer import transfer as kinds

    match event:
        case kinds.TransferStarted():
            kept = f"; {event.n_done} have ended before" if event.n_done else ""
            display.print(
                f"{event.n_trainings} trainings from {len(event.starts)} starts{kept}"
            )
            display.begin("training", total=1)
        case kinds.TransferProgress():
            display.advance(event.share)
        case kinds.StartTrained():
            display.print(f"{event.result.start}  mean IoU {_score(event.result)}")
        case Notice():
            display.warn(event.text)


def _score(result: "StartResult") -> str:
    return f"{percent(result.score)} ± {percent(result.sd)}"


def _print_findings(findings: "TransferFindings") -> None:
    rows = [
        [
            str(result.start),
            _score(result),
            f"{100 * (result.score - findings.scratch.score):+.1f}",
            percent(result.final_accuracy),
            str(row["epochs"] or "never"),
        ]
        for result, row in zip(findings.results, findings.rows, strict=True)
    ]
    print_table(
        "Scores on the validation slices",
        ["Start", "mean IoU ± sd", "gain (points)", "accuracy", "epochs"],
        rows,
        caption="Gain over the trainings from scratch; epochs until the mean IoU "
        f"reaches their best. Weights from {findings.source}",
    )
