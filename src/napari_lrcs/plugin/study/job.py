"""A study as the dock runs it: all of this happens in the thread."""

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.files.reader import read_layers
from napari_lrcs.plugin.parts.computing.cluster import Cluster
from napari_lrcs.plugin.parts.workers import Events, load_torch, save_files
from napari_lrcs.progress import Notice
from napari_lrcs.training.not_learnt import advice
from napari_lrcs.uncertainty.study.events import MemberEnded, StudyEnded, StudyStarted
from napari_lrcs.uncertainty.study.folder import StudyFindings, StudyFolder
from napari_lrcs.uncertainty.study.summary import ENSEMBLE, Member, StudySummary
from napari_lrcs.uncertainty.study.tables import write_members_csv, write_summary_csv
from napari_lrcs.uncertainty.study.task import StudyTask

if TYPE_CHECKING:  # needs the extra cluster
    from napari_lrcs.distributed import ClusterExecutor

Draw = Callable[[Axes, StudySummary], None]
"""Draws a figure of a study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """The volumes of a complete study are opened to be shown, by their names."""

    out: Path
    volumes: Mapping[str, Any]
    phases: PhaseTable
    provenance: Provenance | None
    """Of the majority vote."""


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
    cluster : Cluster, optional
        What trains the networks; by default this process, one after another.
    """

    make_task: Callable[[], StudyTask]
    out: Path
    is_resumed: bool = False
    cluster: Cluster | None = None

    def events(self) -> Events:
        """Run the study; yields also what only a dock shows."""
        load_torch()
        try:
            yield from _with_findings(self._events(self.make_task()))
        finally:
            with suppress(OSError):  # a study that never began leaves an empty folder
                self.out.rmdir()

    def _events(self, task: StudyTask) -> Events:
        from napari_lrcs.uncertainty.study.ensemble import run_study

        cluster, out = self.cluster, self.out.absolute()

        def begin(
            image: Volume, mask: Volume | None, executor: "ClusterExecutor | None"
        ) -> Events:
            sent = replace(task, image=image, mask=mask)
            events = run_study(sent, out=out, resume=self.is_resumed, executor=executor)
            return cast(Events, events)

        if cluster is None:
            return begin(task.image, task.mask, None)
        return cluster.events(
            begin, image=task.image, mask=task.mask, folder=out.parent
        )


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
                    yield StudyFindings(out=out, members=tuple(members), phases=phases)
                case StudyEnded():
                    yield from read_study(event.out)


def read_study(out: Path) -> Events:
    """Read what a study has found, and open its volumes if it is complete."""
    folder = StudyFolder(out)
    findings = folder.read_findings()
    yield findings
    if folder.read_state().is_complete:
        shortcoming = findings.summary.shortcoming
        if shortcoming:
            cure = advice(folder.read_settings().config.optimisation)
            yield Notice(kind="not_learnt", text=f"{shortcoming}; {cure}")
        volumes = {name: _opened(path) for name, path in folder.volumes.items()}
        if folder.ensemble.exists():
            volumes[ENSEMBLE] = _opened(folder.ensemble)
        yield Mapped(
            out=out,
            volumes=volumes,
            phases=findings.phases,
            provenance=_provenance_of(folder.volumes["majority"]),
        )


def _opened(path: Path) -> Any:
    ((data, *_),) = read_layers(str(path))
    return data


def _provenance_of(path: Path) -> Provenance | None:
    return open_volume(path).provenance


def suggest(task: StudyTask) -> Events:
    """Look for a perturbation that changes a tenth of the painted voxels."""
    yield task.suggest()


def save_tables(path: Path, found: StudyFindings) -> Events:
    """Write means and deviations to a CSV file, and the networks beside it."""
    networks = path.with_name(f"{path.stem}-networks{path.suffix}")
    return save_files(
        {
            path: lambda path: write_summary_csv(path, found.summary),
            networks: lambda path: write_members_csv(path, found.members, found.phases),
        }
    )


def save_figure(path: Path, draw: Draw, found: StudyFindings) -> Events:
    """Draw a figure into a file: ``.png``, ``.svg`` or ``.pdf``."""

    def write(path: Path) -> None:
        figure = Figure(figsize=(7.5, 5), dpi=150, layout="constrained")
        draw(figure.add_subplot(), found.summary)
        with replacing(path) as temporary:
            figure.savefig(temporary)

    return save_files({path: write})
