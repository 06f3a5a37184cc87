"""The command ``uncertainty``: runs `run_study`."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts import context, flags
from napari_lrcs.commands.parts.cluster import connected
from napari_lrcs.commands.parts.output import percent, print_json, print_table
from napari_lrcs.commands.parts.places import Places
from napari_lrcs.config import (
    AlsoMeasureConfig,
    PerturbConfig,
    PredictConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.errors import ClusterError, ResultExistsError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.phases import PhaseTable
    from napari_lrcs.uncertainty.study.events import (
        MemberProgress,
        StudyEnded,
        StudyEvent,
    )
    from napari_lrcs.uncertainty.study.folder import StudySettings
    from napari_lrcs.uncertainty.study.summary import Member, StudySummary
    from napari_lrcs.uncertainty.study.task import StudyTask

HELP = "train on perturbed labels, and show how far the results differ"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="volume")
    parser.add_argument("labels", type=Path, help="painted labels")
    parser.add_argument(
        "--train-z",
        metavar="SLICES",
        required=True,
        help="painted slices to perturb and train on, ideally ten or more adjacent "
        "ones, as in 10:20; if there are several, the last fifth is for validation",
    )
    parser.add_argument(
        "--test-z",
        metavar="SLICES",
        required=True,
        help="painted slices to score all networks on; never perturbed",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the study")
    flags.add(parser, "--preset", "--phases", "--mask", "--leave-out")
    parser.add_argument(
        "--devices",
        nargs="+",
        metavar="DEVICE",
        default=(),
        help="train in parallel, with one process per device, as in cuda:0 cuda:1, "
        "instead of on --device; by default one network after another",
    )
    flags.add(parser, "--cluster", "--n-workers")
    parser.add_argument("--resume", action="store_true", help="continue a study")
    flags.add(parser, "--overwrite", "--json", "--wanted-share")
    flags.add(parser, "--surface-area", "--tortuosity")
    for config in (StudyConfig, PerturbConfig, TrainConfig):
        flags.add_config(parser, config)


def places(arguments: argparse.Namespace) -> Places:
    return Places(
        read=[arguments.image, arguments.labels, arguments.mask, *arguments.leave_out],
        written=[arguments.out],
    )


def run(arguments: argparse.Namespace) -> None:
    from napari_lrcs.models.device import resolve_device
    from napari_lrcs.uncertainty.study.ensemble import run_study
    from napari_lrcs.uncertainty.study.folder import StudyFolder

    for device in arguments.devices:
        resolve_device(device)
    task, reason = _task(arguments)
    with _executor(arguments) as executor:
        events = run_study(
            task,
            out=arguments.out.absolute() if arguments.cluster else arguments.out,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            executor=executor,
            devices=arguments.devices,
        )
        try:
            with closing(events):
                ended = _follow(events, reason)
        except (OSError, ClusterError) as error:
            is_begun = StudyFolder(arguments.out).is_study
            if is_begun and not isinstance(error, ResultExistsError):
                error.add_note(
                    f"what is finished is kept in {arguments.out}: continue with "
                    "--resume"
                )
            raise
    _warn_of_not_learnt(ended.summary, task.config)
    if arguments.json:
        print_json({**ended.summary.to_dict(), "seconds": ended.seconds})
    else:
        _print_summary(ended.summary)


def _task(arguments: argparse.Namespace) -> "tuple[StudyTask, str]":
    """Return what to study, and why its networks have the neighbours that they have."""
    from napari_lrcs.annotation.project import read_checks
    from napari_lrcs.io.opening import open_labels, open_to_share
    from napari_lrcs.io.volume import parse_slices
    from napari_lrcs.preprocessing.mask import open_mask
    from napari_lrcs.uncertainty.study.task import StudyTask

    start = _initial_settings(arguments)
    config = start.config.with_changes(**flags.given(arguments, TrainConfig))
    image = open_to_share(arguments.image)
    task = StudyTask(
        image=image,
        labels=open_labels(arguments.labels),
        train=parse_slices(arguments.train_z),
        test=parse_slices(arguments.test_z),
        config=config,
        perturb=start.perturb.with_changes(**flags.given_perturbation(arguments)),
        study=start.study.with_changes(**flags.given(arguments, StudyConfig)),
        also_measure=_also_measure(arguments, start.also_measure),
        predict=PredictConfig(device=config.device, precision=config.precision),
        phases=flags.named_phases(arguments) or start.phases,
        mask=open_mask(arguments.mask, shape=image.shape),
        checks=read_checks(arguments.image, arguments.leave_out, shape=image.shape),
    )
    reason = ""
    if not arguments.resume:
        annotated = task.annotated(task.labels)
        config, reason = context.fit(config, arguments, [annotated])
        task = replace(task, config=config)
    if arguments.wanted_share is not None:
        suggestion = task.suggest(wanted_share=arguments.wanted_share)
        task = replace(task, perturb=suggestion.config)
    return task, reason


def _also_measure(
    arguments: argparse.Namespace, start: AlsoMeasureConfig
) -> AlsoMeasureConfig:
    """Return what else is measured: what is given, else what the study began with."""
    return AlsoMeasureConfig(
        surface_area=arguments.surface_area or start.surface_area,
        tortuosity=tuple(arguments.tortuosity) or start.tortuosity,
    )


def _initial_settings(arguments: argparse.Namespace) -> "StudySettings":
    """Return the settings that flags change: a preset's, or those of the study."""
    from napari_lrcs.presets import read_preset
    from napari_lrcs.uncertainty.study.folder import StudyFolder, StudySettings

    if not arguments.resume:
        return StudySettings(config=read_preset(arguments.preset))
    if arguments.overwrite:
        raise ValueError(
            "--resume cannot be combined with --overwrite; leave one of them out"
        )
    return StudyFolder(arguments.out).read_settings()


@contextmanager
def _executor(arguments: argparse.Namespace) -> "Iterator[Executor | None]":
    """Give what trains the networks; None for this process."""
    if arguments.devices and arguments.cluster:
        raise ValueError(
            "--devices is for processes of this computer, and the workers of a cluster "
            "have their own devices; leave out --devices or --cluster"
        )
    with (
        connected(arguments, arguments.image, arguments.mask) as cluster,
        _process_per_device(arguments.devices) as processes,
    ):
        yield cluster or processes


@contextmanager
def _process_per_device(devices: Sequence[str]) -> "Iterator[Executor | None]":
    """Start one process per device; yield None if there are no devices."""
    import signal
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    if not devices:
        yield None
        return
    executor = ProcessPoolExecutor(
        len(devices),
        mp_context=get_context("spawn"),  # CUDA does not survive a fork
        initializer=signal.signal,  # on Ctrl-C they end at once, without a traceback
        initargs=(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)


# ---- what it shows ----


def _follow(events: "Iterable[StudyEvent]", reason: str) -> "StudyEnded":
    """Show the progress of a study on standard error, and return its last event.

    Parameters
    ----------
    reason : str
        Shown once the study has begun; empty for none.
    """
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.uncertainty.study.events import StudyEnded

    with Display() as display:
        study = StudyDisplay(display)
        for event in events:
            if reason:
                display.print(reason)
                reason = ""
            study.show(event)
            if isinstance(event, StudyEnded):
                return event
    raise AssertionError("a study ends with StudyEnded")


class StudyDisplay:
    """Shows one bar for all members, and above it a line for each finished one."""

    def __init__(self, display: "Display") -> None:
        self._display = display
        self._phases: PhaseTable | tuple[()] = ()  # until `StudyStarted` names them
        self._n_ended = 0
        self._shares: dict[str, float] = {}  # of members at work: several on a cluster
        self._is_combining = False

    def show(self, event: "StudyEvent") -> None:
        """Show one event."""
        from napari_lrcs.inference.estimate import amount
        from napari_lrcs.progress import Notice
        from napari_lrcs.uncertainty.study import events as kinds

        match event:
            case kinds.StudyStarted():
                self._phases = event.phases
                kept = f"; {event.n_done} were finished before" if event.n_done else ""
                disk = f"; at most {amount(event.n_bytes)} on disk"
                n = len(event.names)
                self._display.print(f"{n} networks to train{kept}{disk}")
                self._display.begin("training", total=len(event.names))
            case kinds.MemberStarted():
                self._shares[event.name] = 0.0
            case kinds.MemberProgress():
                self._show_progress(event)
            case kinds.MemberEnded():
                self._end_member(event.member.name, self._member_line(event.member))
            case kinds.MemberFailed():
                line = f"{event.name} failed: {event.error}"
                self._end_member(event.name, line, style="red")
            case kinds.Combining():
                self._show_combining(event.share)
            case Notice():
                self._display.warn(event.text)

    def _end_member(self, name: str, line: str, *, style: str | None = None) -> None:
        self._n_ended += 1
        self._shares.pop(name, None)
        self._display.print(line, style=style)
        self._advance()

    def _advance(self) -> None:
        self._display.advance(self._n_ended + sum(self._shares.values()))

    def _show_combining(self, share: float) -> None:
        if not self._is_combining:
            self._display.begin("combining", total=1)
        self._is_combining = True
        self._display.advance(share)

    def _show_progress(self, event: "MemberProgress") -> None:
        from napari_lrcs.progress import Notice

        notice = event.event
        # The study has given the same advice before.
        if isinstance(notice, Notice) and notice.kind != "advice":
            self._display.warn(f"{event.name}: {notice.text}")
        if event.name in self._shares:
            self._shares[event.name] = event.share
        self._advance()

    def _member_line(self, member: "Member") -> str:
        from napari_lrcs.commands.parts.progress import clock

        scores = [
            f"{phase.name} {percent(iou)}"
            for phase, iou in zip(self._phases, member.iou, strict=True)
        ]
        return (
            f"{member.name}  {clock(member.seconds)}  accuracy "
            f"{percent(member.accuracy)}  IoU {'  '.join(scores)}"
        )


def _warn_of_not_learnt(summary: "StudySummary", config: TrainConfig) -> None:
    from napari_lrcs.commands.parts.progress import Display
    from napari_lrcs.training.not_learnt import advice

    if summary.shortcoming:
        cure = advice(config.optimisation, balance="--balance")
        Display().warn(f"{summary.shortcoming}; {cure}")


def _print_summary(summary: "StudySummary") -> None:
    from napari_lrcs.uncertainty.study.quantities import KINDS
    from napari_lrcs.uncertainty.study.summary import CAVEAT
    from napari_lrcs.uncertainty.study.tables import mean_and_sd

    titles = [title for title, _ in summary.columns.values()]
    rows: list[list[str]] = []
    for kind in filter(summary.has, KINDS):
        columns = [group.of_kind(kind) for _, group in summary.columns.values()]
        several = zip(*columns, strict=True)
        rows += [[row[0].title, *map(mean_and_sd, row)] for row in several]
        rows.append([])
    caption = "scores on the test slices; fractions of the voxels of the volume"
    failed = sum(group.n_failed for group in summary.groups.values())
    if failed:
        caption += f"; {failed} networks failed and are left out"
    print_table(
        "Mean ± standard deviation over the networks",
        ["Quantity", *titles],
        rows,
        caption=f"{caption}. {CAVEAT} (napari-lrcs check draw).",
    )
