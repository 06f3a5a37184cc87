"""What all docks share: a body that scrolls, a footer in sight, one job at a time."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from napari.viewer import Viewer
from qtpy.QtCore import QEvent, QObject, QSettings, Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QFileDialog,
    QFrame,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_lrcs.io.records import parse_json
from napari_lrcs.plugin.parts.closable import Closable
from napari_lrcs.plugin.parts.computing.cluster import Connecting
from napari_lrcs.plugin.parts.connections import Disconnectable
from napari_lrcs.plugin.parts.widgets import Kind, Progress, colour
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Job, Work, start_job
from napari_lrcs.setting_names import rename_settings

_FIELDS = QComboBox, QAbstractSpinBox
"""Widgets whose value the wheel would change."""

Outcome = Literal["done", "stopped", "failed"]
"""How a job ended."""

WORTH_ASKING = 3.0
"""Seconds that a job has run at least before closing its dock needs a question."""


class Dock(Closable):
    """A dock whose `body` scrolls and whose `footer` stays in sight.

    A subclass builds its widgets, starts one job at a time by `begin`, and implements
    what it needs of a contract of three methods, all called on the GUI thread:

    ``handle(event)``
        Show an event of the job.
    ``finish(outcome)``
        Show how the job ended: "done", "stopped" by `stop`, or "failed" by an error
        that is shown already.
    ``update_buttons()``
        Enable or disable the buttons by `is_busy` and `is_stopping`, whenever these
        change.

    All else is the base's. A dock may be closed, and the window too, while its job
    runs. That closes the job's generator, which keeps what is done, and none of the
    three methods is called any more. So no subclass needs to ask whether its widgets
    and its viewer are still there.
    """

    key: ClassVar[str]
    """Name under which the dock's settings are remembered."""

    job_changed = Signal()
    """A job has begun, was asked to stop, or has ended."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.job: Job | None = None
        self._saved_in: Path | None = None
        self.connections: list[Disconnectable] = []
        """Everything that listens to the viewer until the dock is closed."""
        self._job_beside: Job | None = None
        self._has_failed = self._is_closed = False
        content = QWidget()
        self.body = QVBoxLayout(content)
        self.body.setContentsMargins(2, 2, 2, 2)
        scroll = _Body(content)
        self.footer = QVBoxLayout()
        self._message = _Message()
        self.progress = Progress()
        self.progress.drawn.connect(self._show_activity)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(4, 4, 4, 4)
        outer.addWidget(scroll, stretch=1)
        # Above the buttons, which stay in place when a sentence comes or goes.
        outer.addWidget(self.progress)
        outer.addWidget(self._message)
        outer.addLayout(self.footer)
        outer.addStrut(292)  # a minimum width would win over the content's

    # ---- the contract ----

    def handle(self, event: Any) -> None:
        """Show an event of the job."""

    def finish(self, outcome: Outcome) -> None:
        """Show how the job ended; `is_busy` is false by now."""

    def update_buttons(self) -> None:
        """Enable or disable the buttons by `is_busy` and `is_stopping`."""

    def embed(self) -> None:
        """Become a page of *Segment volume*: hide what its bar shows."""

    # ---- messages ----

    def show_message(self, text: str, kind: Kind = "hint") -> None:
        """Show a sentence above the buttons, or hide it if it is empty."""
        if kind == "error":
            text = rename_settings(text, lambda setting: setting.title)
        self._message.show_text(text, kind)

    @property
    def message(self) -> str:
        """The sentence that is shown."""
        return str(self._message.text())

    def show_error(self, error: Exception) -> None:
        """Show what went wrong."""
        text = str(error) if isinstance(error, EXPECTED) else repr(error)
        self.show_message(text, "error")

    # ---- jobs ----

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or is just stopping."""
        return self.job is not None

    @property
    def loss(self) -> str:
        """What closing the dock now stops; empty if that is next to nothing."""
        job = self.job
        if job is None or self.is_stopping or job.seconds < WORTH_ASKING:
            return ""
        return job.loss

    @property
    def is_stopping(self) -> bool:
        """Whether the job was asked to stop."""
        return self.job is not None and bool(self.job.abort_requested)

    def begin(self, name: str, events: Callable[[], Events], *, kept: str = "") -> None:
        """Start the dock's job, unless one runs.

        Parameters
        ----------
        name : str
            What is done, shown when the dock or the window is closed meanwhile.
        events : callable
            Called in the thread, and makes the generator: slow work belongs inside.
        kept : str
            A sentence on what is kept then; empty if nothing is.
        """
        if self.is_busy:
            return
        self.show_message("")
        self._has_failed = False
        self.job = start_job(
            Work(name, events, kept=kept),
            connect={
                "yielded": self._on_job_event,
                "errored": self._on_job_failed,
                "finished": self._on_job_ended,
            },
        )
        self._on_job_changed()

    def begin_beside(self, name: str, events: Callable[[], Events]) -> None:
        """Start a short job that may run beside the dock's own, as `begin` does."""
        self._job_beside = start_job(
            Work(name, events),
            connect={"yielded": self._on_job_event, "errored": self._on_error},
        )

    def stop(self) -> None:
        """Ask the job to end at its next event."""
        if self.job is not None and not self._is_closed:
            self.job.quit()
            self.show_message("Stopping…")
            self._on_job_changed()

    def _show_activity(self, share: float) -> None:
        if self.job is not None:
            self.job.activity.share = share

    def _on_job_event(self, event: Any) -> None:
        if self._is_closed:
            return
        if isinstance(event, Connecting):
            self.progress.show_share(0.0, str(event))
        else:
            self.handle(event)

    def _on_job_failed(self, error: Exception) -> None:
        self._has_failed = True
        self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        if not self._is_closed:
            self.show_error(error)

    def _on_job_ended(self) -> None:
        is_stopped, self.job = self.is_stopping, None
        if self._is_closed:
            self.delete_if_removed()
            return
        self.progress.end()
        if self._has_failed:
            self.finish("failed")
        else:
            self.finish("stopped" if is_stopped else "done")
        self._on_job_changed()

    def _on_job_changed(self) -> None:
        self.update_buttons()
        self.job_changed.emit()

    # ---- tables and figures ----

    def copy_table(self, text: str) -> None:
        """Put a table with tabs on the clipboard."""
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)
        self.show_message("Copied; paste it into a spreadsheet", "done")

    def ask_where_to_save(
        self, default: str, kinds: str, save: Callable[[Path], None]
    ) -> None:
        """Ask for a file, beside an image at first, and save to it unless cancelled.

        Parameters
        ----------
        default : str
            File name.
        kinds : str
            Kinds of files, as Qt's dialogs take them. Where the user types none of
            their suffixes, the first one of the chosen kind is added.
        save : callable
            Takes the path.
        """
        sources = (layer.source.path for layer in self.viewer.layers)
        beside = (Path(source).parent for source in sources if source)
        folder = self._saved_in or next(beside, Path())
        place = str(folder / default)
        text, kind = QFileDialog.getSaveFileName(self, "Save", place, kinds)
        if not text:
            return
        path = Path(text)
        self._saved_in = path.parent
        named = _with_suffix(path, kinds, kind)
        if named != path and named.exists():  # the dialog asked about another name
            text = f"{named.name} exists already; choose another name"
            self.show_message(text, "error")
            return
        save(named)

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

    def shut_down(self) -> None:
        """Stop all work, and disconnect from the viewer.

        It is called when the dock or its window was closed. Qt may have deleted the
        dock's widgets by then.
        """
        self._is_closed = True
        for job in (self.job, self._job_beside):
            if job is not None:
                job.quit()
        for connection in self.connections:
            connection.disconnect_events()
        self.connections.clear()
        self.delete_if_removed()


def _with_suffix(path: Path, kinds: str, chosen: str) -> Path:
    """Add the first suffix of the chosen kind of files, where the user typed none.

    The end of ``cell_0.5um`` is none, unless the dialog does not tell the kind.
    """
    known, suffixes = (re.findall(r"\*(\.\w+)", text) for text in (kinds, chosen))
    if path.suffix.lower() in known or (path.suffix and not suffixes):
        return path
    return path.with_name(path.name + (suffixes or known)[0])


class _Message(QLabel):
    """A sentence in the colour of its kind; hidden while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.setVisible(False)

    def show_text(self, text: str, kind: Kind) -> None:
        """Show a sentence, or hide it if it is empty."""
        self.setText(text)
        colour(self, kind)
        self.setVisible(bool(text))


class _Body(QScrollArea):
    """Scrolls up and down only: never narrower than its content and a scroll bar."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidget(content)
        content.installEventFilter(self)

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 Qt's name
        """Let the wheel scroll, and not change the value that it happens to be over."""
        super().showEvent(event)
        for kind in _FIELDS:
            for field in self.findChildren(kind):
                field.installEventFilter(self)

    def eventFilter(  # noqa: N802 Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Follow the content's width, and take the wheel from its fields."""
        assert event is not None
        if event.type() == QEvent.Type.Wheel and isinstance(watched, _FIELDS):
            event.ignore()  # so that Qt offers it to the widgets around the field
            return True
        if event.type() == QEvent.Type.LayoutRequest:
            self._widen()
        return bool(super().eventFilter(watched, event))

    def _widen(self) -> None:
        content, bar = self.widget(), self.verticalScrollBar()
        assert content is not None
        assert bar is not None
        self.setMinimumWidth(content.minimumSizeHint().width() + bar.sizeHint().width())


def remember(dock: str, values: Mapping[str, Any]) -> None:
    """Keep a dock's settings, which must be JSON values, for later sessions."""
    _store().setValue(dock, json.dumps(dict(values)))


def recall(dock: str) -> dict[str, Any]:
    """Return what `remember` kept; empty for a dock that is new, or damaged text."""
    try:
        return parse_json(str(_store().value(dock, "{}")), dict[str, Any])
    except ValueError:
        return {}


def settings_of(**forms: Any) -> dict[str, Any]:
    """Return what to remember of forms; nothing while a field cannot be read."""
    try:
        return {name: form.config.to_dict() for name, form in forms.items()}
    except ValueError:
        return {}


def restore_forms(settings: Mapping[str, Any], **forms: Any) -> bool:
    """Restore what `settings_of` returned; False if another version wrote it."""
    try:
        configs = {
            name: type(form.config).from_dict(settings[name])
            for name, form in forms.items()
        }
    except (KeyError, TypeError, ValueError):
        return False
    for name, form in forms.items():
        form.config = configs[name]
    return True


def _store() -> QSettings:
    # A file on all systems, so that a test or a user can move it away.
    return QSettings(
        QSettings.Format.IniFormat, QSettings.Scope.UserScope, "napari-lrcs", "docks"
    )
