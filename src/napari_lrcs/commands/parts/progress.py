"""Show the progress of long work on standard error."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Self, TypeVar

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from napari_lrcs.commands.parts.output import console, percent
from napari_lrcs.commands.parts.terminal import printable
from napari_lrcs.metrics.overlap import iou_per_phase, mean_iou
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

Event = TypeVar("Event")


def follow(events: Iterable[Event], *, phases: PhaseTable) -> Event:
    """Show the events of training and prediction, and return the last one."""
    last: Event | None = None
    with RunDisplay(phases) as display:
        for event in events:
            display.show(event)
            last = event
    assert last is not None
    return last


def follow_share(events: Iterable[Event], *, text: str) -> Event:
    """Show the `share` of the work that each event reports; return the last event."""
    last: Event | None = None
    with Display() as display:
        display.begin(text, total=1)
        for event in events:
            display.advance(getattr(event, "share", None))
            last = event
    assert last is not None
    return last


def busy(text: str) -> AbstractContextManager[object]:
    """Show that work is in progress when it is unknown how much of it is left."""
    return console(stderr=True).status(Text(printable(text)))


def clock(seconds: float) -> str:
    """Format a time in minutes and seconds.

    Examples
    --------
    >>> clock(71.4)
    '1:11'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class Display:
    """A progress bar, and above it the lines printed so far."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("· left", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def print(self, line: str | Text, *, style: str | None = None) -> None:
        """Print a line above the bar."""
        text = printable(line) if isinstance(line, str) else line
        self._console.print(text, style=style, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.print(f"! {text}", style="yellow")

    def begin(self, text: str, *, total: float, done: float = 0) -> None:
        """Start a new bar in place of the current one."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(text, total=total)
        self.advance(done)

    def advance(self, done: float | None) -> None:
        """Move the bar to `done`; None leaves it where it is."""
        if self._task is not None:
            self._progress.update(self._task, completed=done)


class RunDisplay(Display):
    """Shows the events of training and prediction, with the names of the phases."""

    def __init__(self, phases: PhaseTable) -> None:
        super().__init__()
        self._phases = phases
        self._is_publishing = False

    def show(self, event: object) -> None:
        """Show one event."""
        match event:
            case StepEnded():
                self.advance(event.epoch - 1 + event.step / event.steps_per_epoch)
            case TilePredicted() | SlabPredicted():
                self.advance(event.n_done)
            case Publishing():
                if not self._is_publishing:
                    self.begin("writing", total=1)
                self._is_publishing = True
                self.advance(event.share)
            case _:
                self._is_publishing = False
                self._print_event(event)

    def _print_event(self, event: object) -> None:
        match event:
            case Notice():
                self.warn(event.text)
            case TrainingStarted():
                kernels = "" if event.rounds_alike else ", not deterministic"
                self.print(
                    f"training {event.n_parameters:,} parameters on {event.device} in "
                    f"{event.precision}{kernels}: "
                    f"{_number_of(event.n_epochs, 'epoch')} of "
                    f"{_number_of(event.steps_per_epoch, 'step')}"
                )
                done = event.first_epoch - 1
                self.begin("training", total=event.n_epochs, done=done)
            case EpochEnded():
                self.print(self._epoch_line(event))
            case TrainingEnded():
                self.print(f"best model: {event.best}")
            case PredictionStarted():
                self.print(_prediction_line(event))
                self.begin("predicting", total=event.n_slices, done=event.n_done)
            case PredictionEnded():
                speed = event.n_voxels / max(event.seconds, 1e-9) / 1e6
                self.print(
                    f"{event.n_voxels:,} voxels in {event.seconds:.1f} s "
                    f"({speed:.3g} million a second): {event.out}"
                )

    def _epoch_line(self, event: EpochEnded) -> Text:
        line = Text(
            f"epoch {event.epoch:>3}/{event.n_epochs}  loss {event.loss:.3f}  "
            f"{clock(event.seconds)}  "
        )
        confusion = event.validation
        if confusion is None:
            return line
        line.append(f"mean IoU {percent(mean_iou(confusion))}  ")
        for phase, iou in zip(self._phases, iou_per_phase(confusion), strict=True):
            line.append(f"{printable(phase.name)} {percent(iou)}  ")
        return line.append("best" if event.is_best else "", style="green")


def _prediction_line(event: PredictionStarted) -> str:
    line = f"predicting {event.n_slices} slices"
    if event.n_tiles:  # otherwise others compute, each in its own way
        line += " whole" if event.n_tiles == 1 else f" in {event.n_tiles} tiles each"
    line += f" on {event.device}"
    if event.precision:
        line += f" in {event.precision}"
    if event.n_done:
        line += f"; {event.n_done} were finished before"
    return line


def _number_of(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
