"""Show events and results on a terminal."""

import math
from collections.abc import Iterable

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

from napari_lrcs.demo import DemoEvent
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


def follow(events: Iterable[DemoEvent], *, phases: PhaseTable) -> DemoEvent:
    """Draw the progress of long work on standard error and return its last event.

    Parameters
    ----------
    events : iterable of events
        Of training, prediction or the demo; at least one.
    phases : PhaseTable
        For the names in the epochs' lines.
    """
    last: DemoEvent | None = None
    with _Display(phases) as display:
        for event in events:
            display.show(event)
            last = event
    assert last is not None
    return last


class _Display:
    """One bar, and above it the lines that stay."""

    def __init__(self, phases: PhaseTable) -> None:
        self._phases = phases
        self._console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("· left"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._is_publishing = False

    def __enter__(self) -> "_Display":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: DemoEvent) -> None:
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

    def _tell(self, event: DemoEvent) -> None:
        match event:
            case Notice():
                self._say(Text(f"! {event.text}", style="yellow"))
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

    def _say(self, line: str | Text) -> None:
        self._console.print(line, soft_wrap=True, markup=False)

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
            line.append(f"{phase.name} {_percent(iou)}  ")
        return line.append("best" if event.is_best else "", style="green")


def _prediction_line(event: PredictionStarted) -> str:
    how = "whole" if event.n_tiles == 1 else f"in {event.n_tiles} tiles each"
    line = f"predicting {event.n_slices} slices {how} on {event.device} in "
    line += event.precision
    if event.n_done:
        line += f"; {event.n_done} were finished before"
    return line


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
    Console().print(table)


def print_measures(measures: MeasuresDict) -> None:
    """Print tables of the fractions of phases and interfaces on standard output."""
    names = {row["label"]: row["name"] for row in measures["phases"]}
    phases = Table(title="Phases", title_justify="left")
    for name in ("Phase", "Volume", "Surface"):
        phases.add_column(name, justify="left" if name == "Phase" else "right")
    for row in measures["phases"]:
        phases.add_row(
            row["name"],
            _percent_or_dash(row["volume_fraction"]),
            _percent_or_dash(row["surface_fraction"]),
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
    console = Console()
    console.print(phases)
    console.print(interfaces)


def print_pairs(pairs: dict[str, str], *, title: str) -> None:
    """Print names and values on standard output."""
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in pairs.items():
        table.add_row(name, value)
    Console().print(table)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def _percent_or_dash(share: float | None) -> str:
    return "–" if share is None else _percent(share)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
