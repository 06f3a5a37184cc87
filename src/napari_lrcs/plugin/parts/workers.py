"""Long work in a thread: the core's generators of events, and what a dock may ask."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeAlias, TypeVar

from napari import current_viewer
from napari.qt.threading import (
    GeneratorWorkerSignals,
    WorkerBase,
    create_worker,
)
from napari.utils import progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication, QLabel, QStatusBar

from napari_lrcs.errors import LrcsError

Events = Generator[Any, None, Any]

T = TypeVar("T")

Pausing: TypeAlias = Generator[None, None, T]
"""Work that can be stopped at each of its pauses."""

EXPECTED = (LrcsError, ValueError, OSError, MemoryError)
"""Errors whose text tells the user what was wrong, and what to do."""

_PAUSE_SECONDS = 0.05

_ACTIVITY_MS = 1000
"""Time until a job is shown among napari's activities, and between two moves there.

Each lets Qt handle all events that wait.
"""

_SPINNER_PERCENT = 10
"""Speed of napari's sign of progress: three frames a second."""


class Work:
    """Events to be made in a thread.

    Parameters
    ----------
    name : str
        What is done, as napari shows it when its window is closed meanwhile.
    begin : callable
        Called in the thread, and makes the generator.
    kept : str
        A sentence on what is kept if the work is stopped; empty if nothing is.
    """

    def __init__(
        self, name: str, begin: Callable[[], Events], *, kept: str = ""
    ) -> None:
        self.name, self.kept = name, kept
        self._begin = [begin]

    def __call__(self) -> Events:
        """Begin, in the thread; only once."""
        # napari holds on to the work for ever: not so to the arrays of `begin`.
        return self._begin.pop()()

    def __str__(self) -> str:
        return f"{self.name}. {self.kept}" if self.kept else self.name


class Activity(QObject):
    """The bar of a job among napari's activities; quick jobs get none.

    Parameters
    ----------
    name : str
        What is done.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.share: float | None = None
        """Share of the work that is done; None while that is not known."""
        self._name = name
        self._bar: progress | None = None
        self._is_over = False
        self._timer = QTimer(self)
        self._timer.setInterval(_ACTIVITY_MS)
        self._timer.timeout.connect(self._show)
        self._timer.start()

    def end(self) -> None:
        """Take the bar away."""
        self._is_over = True
        self._timer.stop()
        if self._bar is not None:
            self._bar.close()

    def _show(self) -> None:
        if self._bar is None and current_viewer() is not None:
            self._bar = progress(total=0, desc=self._name)
            _calm_spinners()
        if self._bar is None or self._is_over:  # it may have ended meanwhile
            self.end()
        elif self.share is not None and (percent := round(100 * self.share)):
            self._bar.total = 100
            self._bar.update(percent - self._bar.n)


def _calm_spinners() -> None:
    """Slow down the sign in napari's status bar that something is in progress.

    Without a graphics card, each of its frames draws the whole window anew, canvas and
    all: at its own speed, that takes a core away from what is in progress.
    """
    for window in QApplication.topLevelWidgets():
        for bar in window.findChildren(QStatusBar):
            for label in bar.findChildren(QLabel):
                if (movie := label.movie()) is not None:
                    movie.setSpeed(_SPINNER_PERCENT)


class Job(WorkerBase[Any]):
    """A thread that draws events from a generator, and closes it there in any case.

    napari's own `GeneratorWorker` leaves a generator open when it is quit, and takes
    a RuntimeError, such as those of PyTorch, for a window that is gone.
    """

    def __init__(self, work: Work) -> None:
        super().__init__(SignalsClass=GeneratorWorkerSignals)
        self._work = work
        self.activity = Activity(work.name)
        self._paused = Event()
        self._started = time.monotonic()

    def pause(self) -> None:
        """Wait after the event that is being made."""
        self._paused.set()

    def resume(self) -> None:
        """Go on."""
        self._paused.clear()

    @property
    def seconds(self) -> float:
        """How long the job has run."""
        return time.monotonic() - self._started

    @property
    def loss(self) -> str:
        """What stopping the job means, in sentences."""
        kept = self._work.kept or "Nothing will be kept."
        return f"{self._work.name} has not finished. {kept}"

    @property
    def is_paused(self) -> bool:
        """Whether the job waits, or is about to."""
        return self._paused.is_set()

    def work(self) -> None:
        """Draw the events; runs in the thread."""
        with closing(self._work()) as events:
            for event in events:
                self.yielded.emit(event)
                while self.is_paused and not self.abort_requested:
                    time.sleep(_PAUSE_SECONDS)
                if self.abort_requested:
                    self.aborted.emit()
                    return


def start_job(work: Work, *, connect: Mapping[str, Callable[..., None]]) -> Job:
    """Start a job.

    Parameters
    ----------
    connect : mapping of str to callable
        What to call on the GUI thread, by signal: ``yielded(event)`` for each,
        ``returned`` when all events are made, ``aborted`` after `Job.quit`,
        ``errored(exception)``, and ``finished`` after any of these three.

    Returns
    -------
    Job
        ``quit()`` closes the generator at its next event; napari does so too when its
        window closes.
    """
    job = create_worker(work, _worker_class=Job, _start_thread=False)
    assert isinstance(job, Job)
    # What napari connects takes no error, which PySide6 passes on to it all the same.
    job.errored.disconnect()
    job.errored.connect(_tell_if_unexpected)
    job.finished.connect(job.activity.end)
    for signal, slot in connect.items():
        getattr(job, signal).connect(slot)
    job.start()
    return job


def _tell_if_unexpected(error: Exception) -> None:
    if not isinstance(error, EXPECTED):
        notification_manager.receive_error(type(error), error, error.__traceback__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Answer:
    request: object
    value: object = None
    error: str = ""


class BackgroundReader(QObject):
    """Reads something in a thread; only the answer to the last request counts.

    Parameters
    ----------
    name : str
        Name that napari shows if its window is closed meanwhile.
    parent : QObject
        Object that the reader is deleted with.
    """

    answered = Signal(object)
    """Carries what was read."""
    failed = Signal(str)
    """Carries the reason why it cannot be read."""

    def __init__(self, name: str, parent: QObject) -> None:
        super().__init__(parent)
        self._name = name
        self._request: object = None
        self._job: Job | None = None

    @property
    def is_reading(self) -> bool:
        """Whether an answer is awaited."""
        return self._request is not None

    def read(self, read: Callable[[], object | Pausing[object]]) -> None:
        """Call a function in a thread, in place of an earlier one.

        It starts once the change that is being handled is over: layers that a closing
        window removes one by one start nothing.

        Parameters
        ----------
        read : callable
            Returns the answer, or a generator of pauses that does: only there, reading
            can be stopped.
        """
        self.cancel()
        self._request = request = object()
        QTimer.singleShot(0, lambda: self._start(request, read))

    def _start(
        self, request: object, read: Callable[[], object | Pausing[object]]
    ) -> None:
        if request is not self._request:
            return

        def events() -> Events:
            try:
                value = read()
                if isinstance(value, Generator):
                    value = yield from value
                yield _Answer(request=request, value=value)
            except EXPECTED as error:
                yield _Answer(request=request, error=str(error))

        self._job = start_job(
            Work(self._name, events), connect={"yielded": self._handle}
        )

    def cancel(self) -> None:
        """Ignore what is still being read."""
        self._request = None
        if self._job is not None:
            self._job.quit()
            self._job = None

    def _handle(self, answer: _Answer | None) -> None:
        if answer is None or answer.request is not self._request:
            return  # a pause, or what nobody waits for any more
        self._request = None
        if answer.error:
            self.failed.emit(answer.error)
        else:
            self.answered.emit(answer.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """Files are written."""

    paths: tuple[Path, ...]

    def __str__(self) -> str:
        names = " and ".join(path.name for path in self.paths)
        return f"Saved {names} in {self.paths[0].parent.name or self.paths[0].parent}"


def save_files(writers: Mapping[Path, Callable[[Path], None]]) -> Events:
    """Write files, each by its own function; yields `Saved`."""
    for path, write in writers.items():
        write(path)
    yield Saved(paths=tuple(writers))


def load_torch() -> None:
    """Import PyTorch, in a job: it takes seconds.

    Raises
    ------
    LrcsError
        If it is missing or cannot be loaded; says what to do.
    """
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        raise LrcsError(_why_no_torch(error)) from error


def _why_no_torch(error: ImportError | OSError) -> str:
    reason = " ".join(str(error).split())
    if "1114" in reason:
        # pytorch issues 166628 and 169429: torch 2.9 and later, loaded after Qt.
        return (
            "On Windows, PyTorch must be loaded before the window (WinError 1114): "
            'close napari and start it with python -c "import torch, napari; '
            'napari.Viewer(); napari.run()"'
        )
    if isinstance(error, ModuleNotFoundError):
        return f"PyTorch is not installed ({reason}); install it: pip install torch"
    return f"PyTorch cannot be loaded ({reason}); reinstall it: pip install torch"
