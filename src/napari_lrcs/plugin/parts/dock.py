"""What all docks share: a body that scrolls, a footer in sight, one job at a time."""

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol
from weakref import ref

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QFrame,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_lrcs.plugin.parts.settings import recall, remember
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Job, Work, start_job

_PROGRESS_MS = 250
"""Between two moves of a bar: Qt paints it at once, and with it napari's canvas."""

Kind = Literal["hint", "done", "warning", "error"]

COLOURS: Mapping[Kind, str] = {
    # Legible on napari's dark and on its light background.
    "hint": "",  # as napari's theme has it
    "done": "#2e9e5b",
    "warning": "#c87f0a",
    "error": "#e0443e",
}


class Follower(Protocol):
    """What listens to a viewer."""

    def follow_no_more(self) -> None:
        """Stop listening; needs no widget that is still there."""


class Emitter(Protocol):
    """A signal of psygnal, or an event of napari."""

    def connect(self, slot: Callable[..., None]) -> object:
        """Call it from now on."""

    def disconnect(self, slot: Callable[..., None]) -> object:
        """Call it no more."""


class Listening:
    """Callbacks that are connected until they are to follow no more."""

    def __init__(self, *pairs: tuple[Emitter, Callable[..., None]]) -> None:
        self._pairs = pairs
        for emitter, slot in pairs:
            emitter.connect(slot)

    def follow_no_more(self) -> None:
        """Disconnect."""
        for emitter, slot in self._pairs:
            emitter.disconnect(slot)
        self._pairs = ()


class Dock(QWidget):
    """A dock: `body` scrolls, `footer` stays in sight.

    A dock may be closed, and the window too, while its job runs: `leave` then stops
    the job, which closes its generator and so keeps what is done.

    Parameters
    ----------
    viewer : Viewer
    """

    key: ClassVar[str]
    """Under which the dock's settings are remembered."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.job: Job | None = None
        self.followers: list[Follower] = []
        """What listens to the viewer, and must stop before Qt deletes it."""
        # Weak: napari's window holds its canvas, which must go once it is closed.
        self._window_ref: ref[QWidget] | None = None
        self._is_closed = False
        content = QWidget()
        self.body = QVBoxLayout(content)
        self.body.setContentsMargins(2, 2, 2, 2)
        scroll = _Body(content)
        self.footer = QVBoxLayout()
        self._message = QLabel()
        self._message.setWordWrap(True)
        self._message.setVisible(False)
        self._message.setSizePolicy(
            QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum
        )
        self.progress = Progress()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(4, 4, 4, 4)
        outer.addWidget(scroll, stretch=1)
        outer.addLayout(self.footer)
        outer.addWidget(self.progress)
        outer.addWidget(self._message)
        outer.addStrut(292)  # a minimum width would win over the content's

    # ---- words ----

    def say(self, text: str, kind: Kind = "hint") -> None:
        """Show a sentence under the buttons; an empty one takes it away."""
        self._message.setText(text)
        colour(self._message, kind)
        self._message.setVisible(bool(text))

    @property
    def said(self) -> str:
        """The sentence that is shown."""
        return str(self._message.text())

    # ---- jobs ----

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or is just stopping."""
        return self.job is not None

    def begin(self, name: str, events: Callable[[], Events]) -> None:
        """Start the dock's job; `on_event` and the like are then called.

        Parameters
        ----------
        name : str
            Shown by napari if its window is closed meanwhile.
        events : callable
            Makes the generator, in the thread: what is slow belongs inside.
        """
        if self.is_busy:
            return
        self.say("")
        self.job = start_job(
            Work(name, events),
            connect={
                "yielded": self.on_event,
                "errored": self.on_error,
                "finished": self._end,
            },
        )
        self.on_busy()

    def on_event(self, event: Any) -> None:
        """Take an event of the job, on the GUI thread."""

    def on_error(self, error: Exception) -> None:
        """Tell what went wrong, on the GUI thread."""
        text = str(error) if isinstance(error, EXPECTED) else repr(error)
        self.say(text, "error")

    def on_busy(self) -> None:
        """Bring the buttons in line with `is_busy`."""

    def stop(self) -> None:
        """Ask the job to end at its next event."""
        if self.job is not None:
            self.job.quit()

    def _end(self) -> None:
        self.job = None
        self.progress.end()
        self.on_busy()
        self._delete_if_closed()

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return what to remember, as JSON values."""
        return {}

    def remember(self) -> None:
        """Keep the settings for the next session."""
        remember(self.key, self.settings())

    def recall(self) -> dict[str, Any]:
        """Return the settings of the last session."""
        return recall(self.key)

    # ---- closing ----

    def leave(self) -> None:
        """Stop, and follow the viewer no more: the dock or its window was closed.

        Qt may have deleted the dock's widgets by now.
        """
        self.stop()
        for follower in self.followers:
            follower.follow_no_more()
        self.followers.clear()

    def event(self, event: QEvent | None) -> bool:
        """Notice being put into a window, or taken out of it."""
        assert event is not None
        if event.type() == QEvent.Type.ParentChange:
            # napari closes a dock by taking its widget out.
            if self.parent() is None and self._window is not None:
                self._follow(None)
                self.remember()
                self.leave()
                self._is_closed = True
                self._delete_if_closed()
        elif event.type() == QEvent.Type.Show and self.window() is not self:
            self._follow(self.window())
        return bool(super().event(event))

    def _delete_if_closed(self) -> None:
        # PySide6 keeps what a lambda refers to, a dock's button its dock: for ever.
        if self._is_closed and not self.is_busy:
            self.deleteLater()

    @property
    def _window(self) -> QWidget | None:
        """The window that the dock is in, if it is still there."""
        window = None if self._window_ref is None else self._window_ref()
        return window if window is not None and isalive(window) else None

    def _follow(self, window: QWidget | None) -> None:
        former = self._window
        if window is former:
            return
        if former is not None:
            former.removeEventFilter(self)
        self._window_ref = None if window is None else ref(window)
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(  # noqa: N802 Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Notice that the window closes, unless its user says no."""
        assert event is not None
        if event.type() == QEvent.Type.Close and watched is self._window:
            self.remember()
            # Not the bound method: Qt drops its call if the dock is deleted first.
            QTimer.singleShot(0, lambda: self._leave_if_closed())  # noqa: PLW0108
        return bool(super().eventFilter(watched, event))

    def _leave_if_closed(self) -> None:
        window = self._window
        if window is not None and window.isVisible():
            return
        self._window_ref = None
        self.leave()


class _Body(QScrollArea):
    """Scrolls up and down only: never narrower than its content and a scroll bar."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidget(content)
        content.installEventFilter(self)

    def eventFilter(  # noqa: N802 Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Follow the content's width."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self._widen()
        return bool(super().eventFilter(watched, event))

    def _widen(self) -> None:
        content, bar = self.widget(), self.verticalScrollBar()
        assert content is not None
        assert bar is not None
        self.setMinimumWidth(content.minimumSizeHint().width() + bar.sizeHint().width())


class Progress(QWidget):
    """A bar with a line of text and the time that is left.

    Parameters
    ----------
    tells_time : bool
        Whether to write the time.
    """

    def __init__(self, *, tells_time: bool = True) -> None:
        super().__init__()
        self._tells_time = tells_time
        self._bar = QProgressBar()
        self._bar.setRange(0, 1000)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(8)
        self._text = QLabel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._text)
        layout.addWidget(self._bar)
        self._begun = (0.0, 0.0)
        self._share, self._line = 0.0, ""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        self.setVisible(False)

    def begin(self, text: str, *, share: float = 0.0) -> None:
        """Show the bar; `share` is what an earlier session has done."""
        self._begun = (time.monotonic(), share)
        self._share, self._line = share, text
        self._draw()
        self.setVisible(True)

    def show_share(self, share: float, text: str) -> None:
        """Move the bar, 0 to 1, soon."""
        self._share, self._line = share, f"{text}{self._time_left(share)}"
        if not self._timer.isActive():
            self._timer.start(_PROGRESS_MS)

    def end(self) -> None:
        """Take the bar away."""
        self._timer.stop()
        self.setVisible(False)

    @property
    def text(self) -> str:
        """The line of text."""
        return self._line

    def _draw(self) -> None:
        self._text.setText(self._line)
        self._bar.setValue(round(1000 * self._share))

    def _time_left(self, share: float) -> str:
        start, done_before = self._begun
        elapsed = time.monotonic() - start
        if not self._tells_time or share <= done_before or elapsed < 2:
            return ""
        return f" · {clock(elapsed * (1 - share) / (share - done_before))} left"


def colour(label: QLabel, kind: Kind) -> None:
    """Give a label the colour of what it says."""
    label.setStyleSheet(f"color: {COLOURS[kind]}" if COLOURS[kind] else "")


def clock(seconds: float) -> str:
    """Write a duration as people read it.

    Examples
    --------
    >>> clock(75), clock(3700)
    ('1:15', '1:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def button(text: str, tooltip: str, on_click: Callable[[], None]) -> QPushButton:
    """Make a push button."""
    made = QPushButton(text)
    made.setToolTip(tooltip)
    made.clicked.connect(lambda _checked=False: on_click())
    return made
