"""Show events and results on a terminal."""

import math
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from napari_lrcs.commands.parts.terminal import printable
from napari_lrcs.metrics.composition import MeasuresDict
from napari_lrcs.metrics.overlap import (
    ScoresDict,
    iou_per_phase,
    mean_iou,
)
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import (
    EpochEnded,
    Notice,
    PredictionEnded,
    PredictionStarted,
    Publishing,
    SlabPredicted,
    StepEnded,
    TilePredicted,
    TrainingEnded,
    TrainingStarted,
)
from napari_lrcs.uncertainty.study.events import (
    Combining,
    MemberEnded,
    MemberFailed,
    MemberProgress,
    StudyEnded,
    StudyEvent,
    StudyStarted,
)
from napari_lrcs.uncertainty.study.summary import (
    GROUPS,
    KINDS,
    Member,
    StudySummary,
    in_percent,
)

if TYPE_CHECKING:
    from napari_lrcs.comparison.experimenter_tables import (
        ExperimentersDict,
        NearDict,
        TargetDict,
    )
    from napari_lrcs.metrics.structure import ParticlesDict
    from napari_lrcs.metrics.transport import TortuosityDict
    from napari_lrcs.uncertainty.perturbation.perturbed_set import PerturbedSet

Event = TypeVar("Event")


class _Console(Console):
    """A console that shows text as it is: no markup, nothing that steers it."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make what is shown of any text: of a line, a title or a cell."""
        return super().render_str(printable(text), **options)


def follow(events: Iterable[Event], *, phases: PhaseTable) -> Event:
    """Draw the progress of long work on standard error and return its last event.

    Parameters
    ----------
    events : iterable of events
        Of training, prediction or the demo; at least one.
    phases : PhaseTable
        For the names in the epochs' lines.
    """
    last: Event | None = None
    with _Display(phases) as display:
        for event in events:
            display.show(event)
            last = event
    assert last is not None
    return last


def follow_share(events: Iterable[Event], *, text: str) -> Event:
    """Draw the share of some work that is done, and return its last event.

    Parameters
    ----------
    events : iterable
        At least one. Those with a `share`, 0 to 1, move the bar.
    text : str
        What is done.
    """
    last: Event | None = None
    with _bar(_Console(stderr=True)) as progress:
        task = progress.add_task(text, total=1)
        for event in events:
            progress.update(task, completed=getattr(event, "share", None))
            last = event
    assert last is not None
    return last


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("· left", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class _Display:
    """One bar, and above it the lines that stay."""

    def __init__(self, phases: PhaseTable) -> None:
        self._phases = phases
        self._console = _Console(stderr=True)
        self._progress = _bar(self._console)
        self._task: TaskID | None = None
        self._is_publishing = False

    def __enter__(self) -> "_Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: object) -> None:
        """Draw one event."""
        match event:
            case StepEnded():
                self._advance(event.epoch - 1 + event.step / event.steps_per_epoch)
            case TilePredicted() | SlabPredicted():
                self._advance(event.n_done)
            case Publishing():
                if not self._is_publishing:
                    self._begin("writing", 1, 0)
                self._is_publishing = True
                self._advance(event.share)
            case _:
                self._is_publishing = False
                self._tell(event)

    def _tell(self, event: object) -> None:
        match event:
            case Notice():
                self._say(f"! {event.text}", style="yellow")
            case TrainingStarted():
                self._say(
                    f"training {event.n_parameters:,} parameters on {event.device} in "
                    f"{event.precision}: {event.n_epochs} epochs of "
                    f"{event.steps_per_epoch} steps"
                )
                self._begin("training", event.n_epochs, event.first_epoch - 1)
            case EpochEnded():
                self._say(self._epoch_line(event))
            case TrainingEnded():
                self._say(f"best model: {event.best}")
            case PredictionStarted():
                self._say(_prediction_line(event))
                self._begin("predicting", event.n_slices, event.n_done)
            case PredictionEnded():
                speed = event.n_voxels / max(event.seconds, 1e-9) / 1e6
                self._say(
                    f"{event.n_voxels:,} voxels in {event.seconds:.1f} s "
                    f"({speed:.1f} million a second): {event.out}"
                )

    def _say(self, line: str | Text, *, style: str | None = None) -> None:
        self._console.print(line, style=style, soft_wrap=True)

    def _begin(self, what: str, total: float, done: float) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(what, total=total)
        self._advance(done)

    def _advance(self, done: float) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done)

    def _epoch_line(self, event: EpochEnded) -> Text:
        line = Text(
            f"epoch {event.epoch:>3}/{event.n_epochs}  loss {event.loss:.3f}  "
            f"{_clock(event.seconds)}  "
        )
        confusion = event.validation
        if confusion is None:
            return line
        line.append(f"mean IoU {_percent(mean_iou(confusion))}  ")
        for phase, iou in zip(self._phases, iou_per_phase(confusion), strict=True):
            line.append(f"{printable(phase.name)} {_percent(iou)}  ")
        return line.append("best" if event.is_best else "", style="green")


def _prediction_line(event: PredictionStarted) -> str:
    how = "whole" if event.n_tiles == 1 else f"in {event.n_tiles} tiles each"
    line = f"predicting {event.n_slices} slices {how} on {event.device} in "
    line += event.precision
    if event.n_done:
        line += f"; {event.n_done} were finished before"
    return line


# ---- a study of uncertainty ----


def follow_study(events: Iterable[StudyEvent]) -> StudyEnded:
    """Draw the progress of a study on standard error and return its last event."""
    display = _StudyDisplay()
    with display:
        for event in events:
            display.show_study(event)
            if isinstance(event, StudyEnded):
                return event
    raise AssertionError("a study ends with StudyEnded")


class _StudyDisplay(_Display):
    """One bar over all members, and above it a line for each that ended."""

    def __init__(self) -> None:
        super().__init__(PhaseTable.numbered(2))  # until the study tells
        self._n_ended = 0
        self._is_combining = False

    def show_study(self, event: StudyEvent) -> None:
        """Draw one event."""
        match event:
            case StudyStarted():
                self._phases = event.phases
                kept = f"; {event.n_done} were finished before" if event.n_done else ""
                self._say(f"{len(event.names)} networks to train{kept}")
                self._begin("training", len(event.names), 0)
            case MemberProgress():
                self._show_progress(event)
            case MemberEnded():
                self._end_member(self._member_line(event.member))
            case MemberFailed():
                line = f"{event.name} failed: {event.error}"
                self._end_member(line, style="red")
            case Combining():
                self._show_combining(event.share)
            case Notice():
                self.show(event)

    def _end_member(self, line: str, *, style: str | None = None) -> None:
        self._n_ended += 1
        self._say(line, style=style)
        self._advance(self._n_ended)

    def _show_combining(self, share: float) -> None:
        if not self._is_combining:
            self._begin("combining", 1, 0)
        self._is_combining = True
        self._advance(share)

    def _show_progress(self, event: MemberProgress) -> None:
        notice = event.event
        if isinstance(notice, Notice) and notice.kind != "advice":  # the study gave it
            self._say(f"! {event.name}: {notice.text}", style="yellow")
        self._advance(self._n_ended + event.share)

    def _member_line(self, member: Member) -> str:
        scores = [
            f"{phase.name} {_percent(iou)}"
            for phase, iou in zip(self._phases, member.iou, strict=True)
        ]
        return (
            f"{member.name}  {_clock(member.seconds)}  accuracy "
            f"{_percent(member.accuracy)}  IoU {'  '.join(scores)}"
        )


def print_study(summary: StudySummary) -> None:
    """Print means and standard deviations of a study on standard output."""
    table = Table(
        title="Mean ± standard deviation over the networks",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("Quantity")
    for name, group in summary.groups.items():
        table.add_column(f"{GROUPS[name]} ({group.n})", justify="right")
    groups = list(summary.groups.values())
    for kind, title in KINDS.items():
        columns = [group.of_kind(kind) for group in groups]
        for row in zip(*columns, strict=True):
            what = title if kind == "accuracy" else f"{title}, {row[0].name}"
            table.add_row(what, *map(in_percent, row))
        table.add_section()
    failed = sum(group.n_failed for group in groups)
    table.caption = "scores of the test slices; shares of the voxels of the volume"
    if failed:
        table.caption += f"; {failed} networks failed and are left out"
    _Console().print(table)


def print_scores(scores: ScoresDict, *, title: str) -> None:
    """Print a table of the scores of each phase on standard output."""
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("Phase")
    for name in ("IoU", "Dice", "Precision", "Recall"):
        table.add_column(name, justify="right")
    for row in scores["phases"]:
        cells = (row["iou"], row["dice"], row["precision"], row["recall"])
        table.add_row(row["name"], *map(_percent_or_dash, cells))
    table.add_section()
    table.add_row("mean", _percent_or_dash(scores["mean_iou"]), "", "", "")
    table.caption = f"accuracy {_percent_or_dash(scores['accuracy'])}"
    console = _Console()
    console.print(table)
    if scores["never_predicted"]:
        names = ", ".join(scores["never_predicted"])
        console.print(f"! painted but never predicted: {names}", soft_wrap=True)


def print_measures(measures: MeasuresDict) -> None:
    """Print tables of the fractions of phases and interfaces on standard output."""
    names = {row["label"]: row["name"] for row in measures["phases"]}
    phases = Table(title="Phases", title_justify="left")
    for name in ("Phase", "Volume", "Surface", "Surface / volume"):
        phases.add_column(name, justify="left" if name == "Phase" else "right")
    for row in measures["phases"]:
        phases.add_row(
            row["name"],
            _percent_or_dash(row["volume_fraction"]),
            _percent_or_dash(row["surface_fraction"]),
            _percent_or_dash(row["surface_to_volume"]),
        )
    interfaces = Table(title="Interfaces", title_justify="left", caption_justify="left")
    for name in ("Interface", "Both sides", "First side", "Second side"):
        interfaces.add_column(name, justify="left" if name == "Interface" else "right")
    for interface in measures["interfaces"]:
        first, second = interface["phases"]
        interfaces.add_row(
            f"{names[first]} – {names[second]}",
            _percent_or_dash(interface["fraction"]),
            *(_percent_or_dash(side) for side in interface["sides"]),
        )
    interfaces.caption = (
        f"shares of the labelled voxels, {measures['neighbourhood']} neighbours"
    )
    console = _Console()
    console.print(phases)
    if measures["interfaces"]:
        console.print(interfaces)


def print_particles(particles: "ParticlesDict") -> None:
    """Print a table of the sizes of particles on standard output."""
    unit = particles["unit"] or "unknown unit"
    volume = "Area ({}²)" if particles["n_axes"] == 2 else "Volume ({}³)"
    table = Table(
        title=f"{particles['count']:,} particles of {particles['name']}",
        title_justify="left",
        caption=f"{particles['at_border']:,} touch the border and may be cut off",
        caption_justify="left",
    )
    table.add_column("Size")
    for name in ("Mean", "Median", "Smallest", "Largest"):
        table.add_column(name, justify="right")
    for name, sizes in (
        (f"Equivalent diameter ({unit})", particles["equivalent_diameter"]),
        (volume.format(unit), particles["volume"]),
    ):
        cells = (sizes["mean"], sizes["median"], sizes["min"], sizes["max"])
        table.add_row(name, *("–" if math.isnan(v) else f"{v:.4g}" for v in cells))
    _Console().print(table)


def print_tortuosity(tortuosity: "TortuosityDict") -> None:
    """Print a table of tortuosity in each direction on standard output."""
    table = Table(title=f"Transport through {tortuosity['name']}", title_justify="left")
    for name in ("Along", "Tortuosity", "Effective diffusivity"):
        table.add_column(name, justify="left" if name == "Along" else "right")
    for row in tortuosity["directions"]:
        tau, diffusivity = row["tortuosity"], row["effective_diffusivity"]
        missing = "did not settle" if row["percolates"] else "does not percolate"
        table.add_row(
            row["axis"],
            missing if tau is None else f"{tau:.3f}",
            "–" if diffusivity is None else f"{diffusivity:.4f}",
        )
    _Console().print(table)


def print_experimenters(found: "ExperimentersDict") -> None:
    """Print tables of experimenters compared on standard output."""
    names = found["experimenters"]
    numbers = {name: str(i) for i, name in enumerate(names, 1)}
    matrix = _number_table("Disagreement", ["Experimenter", *numbers.values()])
    for name, shares in zip(names, found["disagreement"], strict=True):
        matrix.add_row(f"{numbers[name]} {name}", *map(_percent, shares))
    phases = [phase["name"] for phase in found["pairs"][0]["phases"]]
    within = [f"Within {row['distance']}" for row in found["near_interfaces"]]
    pairs = _number_table("IoU of pairs", ["Pair", *phases, *within])
    for pair in found["pairs"]:
        ious = [row["iou"] for row in pair["phases"]]
        near = [row["share"] for row in pair["near_interfaces"]]
        title = " – ".join(numbers[name] for name in pair["experimenters"])
        pairs.add_row(title, *map(_percent, ious + near))
    console = _Console()
    console.print(matrix)
    console.print(
        f"on average {_percent(found['mean_disagreement'])} of the voxels painted by "
        f"both differ; of these, {_nearness(found['near_interfaces'])} of an interface"
    )
    console.print(pairs)
    if found["target"] is not None:
        console.print(_target_table(found["target"], phases))


def _target_table(target: "TargetDict", phases: Sequence[str]) -> Table:
    header = ["Experimenter", "Accuracy", "Mean IoU", *phases]
    table = _number_table(f"IoU against {target['name']}", header)
    for row in target["experimenters"]:
        ious = [phase["iou"] for phase in row["phases"]]
        cells = [row["accuracy"], row["mean_iou"], *ious]
        table.add_row(row["experimenter"], *map(_percent, cells))
    return table


def _nearness(rows: "Sequence[NearDict]") -> str:
    return ", ".join(
        f"{_percent(row['share'])} lie within {row['distance']} voxels" for row in rows
    )


def _number_table(title: str, header: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column(header[0])
    for name in header[1:]:
        table.add_column(name, justify="right")
    return table


def print_perturbed(perturbed: "PerturbedSet") -> None:
    """Print what a set of perturbed labels changed on standard output."""
    config, shares = perturbed.config, perturbed.changed_shares
    together = "together" if perturbed.dimensions == 3 else "one by one"
    phases = _number_table("Perturbed labels", ["Phase", "Volume moved"])
    moved = perturbed.moved.mean(axis=0)
    for phase, move in zip(perturbed.phases, moved, strict=True):
        phases.add_row(phase.name, "–" if math.isnan(move) else f"{100 * move:+.1f} %")
    lines = [
        f"kernel {config.kernel}, {_percent(config.picked_fraction)} of the interface "
        f"voxels in each of {config.n_iterations} iterations, slices {together}",
        f"{_percent(float(shares.mean()))} of the painted voxels changed "
        f"({_percent(float(shares.min()))} to {_percent(float(shares.max()))})",
    ]
    widths = perturbed.widths
    if widths is not None and widths.n_fitted:
        lines.append(
            f"interfaces are {widths.median_fwhm:.1f} voxels wide (full width at half "
            f"maximum, {perturbed.n_simulations} simulations)"
        )
    elif widths is not None:
        lines.append("interfaces are too near each other to tell their width")
    console = _Console()
    lines += [f"! {text}" for text in perturbed.advice]
    lines.append(f"{len(perturbed.files)} members in {perturbed.files[0].parent}")
    console.print(phases)
    for line in lines:
        console.print(line, soft_wrap=True)


def busy(text: str) -> AbstractContextManager[object]:
    """Show on standard error that work goes on whose end is not known."""
    return _Console(stderr=True).status(Text(printable(text)))


def print_pairs(pairs: dict[str, str], *, title: str) -> None:
    """Print names and values on standard output."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in pairs.items():
        table.add_row(name, value)
    _Console().print(table)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def _percent_or_dash(share: float | None) -> str:
    return "–" if share is None else _percent(share)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
