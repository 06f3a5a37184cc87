"""A study as the dock runs it: all of this happens in the thread."""

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_lrcs.config import PerturbConfig, StudyConfig, TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.records import convert
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.files.reader import read_layers
from napari_lrcs.plugin.parts.workers import Events, load_torch
from napari_lrcs.plugin.study.layers import NAMES
from napari_lrcs.uncertainty.study.events import MemberEnded, StudyEnded, StudyStarted
from napari_lrcs.uncertainty.study.summary import (
    Member,
    StudySummary,
    TaskDict,
    read_record,
    read_study,
    summarise,
    write_members_csv,
    write_summary_csv,
)
from napari_lrcs.uncertainty.study.task import StudyTask

Draw = Callable[[Axes, StudySummary], None]
"""Draws a figure of a study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a study has found so far.

    Parameters
    ----------
    out : Path
    members : tuple of Member
        Those that ended, failed ones too.
    phases : PhaseTable
    summary : StudySummary
    """

    out: Path
    members: tuple[Member, ...]
    phases: PhaseTable
    summary: StudySummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """The volumes of a complete study are opened to be shown, by their names."""

    out: Path
    volumes: Mapping[str, Any]
    phases: PhaseTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Files are written."""

    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyJob:
    """What to study, and where.

    Parameters
    ----------
    make_task : callable
        Makes the task, in the thread: one that goes on is read from its folder.
    out : Path
        The study's folder.
    is_resumed : bool
        Whether to go on with the study that is there.
    """

    make_task: Callable[[], StudyTask]
    out: Path
    is_resumed: bool = False

    def events(self) -> Events:
        """Run the study; yields also what only a dock shows."""
        load_torch()
        from napari_lrcs.uncertainty.study.ensemble import run_study

        events = run_study(self.make_task(), out=self.out, resume=self.is_resumed)
        try:
            yield from _with_findings(cast(Events, events))
        finally:
            with suppress(OSError):  # a study that never began leaves an empty folder
                self.out.rmdir()


def _with_findings(events: Events) -> Events:
    members: list[Member] = []
    phases: PhaseTable | None = None
    out = Path()
    with closing(events):
        for event in events:
            yield event
            match event:
                case StudyStarted():
                    out, phases = event.out, event.phases
                case MemberEnded():
                    assert phases is not None
                    members.append(event.member)
                    yield Found(
                        out=out,
                        members=tuple(members),
                        phases=phases,
                        summary=summarise(members, phases),
                    )
                case StudyEnded():
                    yield from look_at(event.out)


def look_at(out: Path) -> Events:
    """Read what a study has found, and open its volumes if it is complete."""
    members, phases, summary = read_study(out)
    yield Found(out=out, members=members, phases=phases, summary=summary)
    if read_record(out)["state"] == "complete":
        volumes = {name: _opened(out / f"{name}.zarr") for name in NAMES}
        yield Mapped(out=out, volumes=volumes, phases=phases)


def _opened(path: Path) -> Any:
    ((data, *_),) = read_layers(str(path))
    return data


def resumed(task: StudyTask, out: Path) -> StudyTask:
    """Give a task the slices and settings that a study was begun with.

    The device stays the task's own.

    Raises
    ------
    VolumeError
        If the folder holds no study, or a damaged one.
    """
    record = read_record(out)
    try:
        begun = convert(record["task"], TaskDict)
        config = begun["config"] | {"device": task.config.device}
        return replace(
            task,
            train=tuple(begun["training slices"]),
            test=tuple(begun["test slices"]),
            config=TrainConfig.from_dict(config),
            perturb=PerturbConfig.from_dict(begun["perturb"]),
            study=StudyConfig.from_dict(record["study"]),
            predict=task.predict.with_changes(min_size=begun["min_size"]),
        )
    except ValueError as error:
        raise VolumeError(f"study.json in {out} is damaged: {error}") from error


def suggest(task: StudyTask) -> Events:
    """Look for a perturbation that changes a tenth of the painted voxels."""
    yield task.suggest()


def save_tables(path: Path, found: Found) -> Events:
    """Write means and deviations to a CSV file, and the networks beside it."""
    networks = path.with_name(f"{path.stem}-networks{path.suffix}")
    write_summary_csv(path, found.summary)
    write_members_csv(networks, found.members, found.phases)
    yield Saved(paths=(path, networks))


def save_figure(path: Path, draw: Draw, found: Found) -> Events:
    """Draw a figure into a file: ``.png``, ``.svg`` or ``.pdf``."""
    figure = Figure(figsize=(7.5, 5), dpi=150, layout="constrained")
    draw(figure.add_subplot(), found.summary)
    with replacing(path) as temporary:
        figure.savefig(temporary)
    yield Saved(paths=(path,))
