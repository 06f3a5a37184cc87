"""Work in a folder of its own, such as a search: it is run, continued and stopped."""

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QWidget

from napari_lrcs.io.records import FolderState
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.folder_tables import FolderTable
from napari_lrcs.plugin.parts.widgets import Kind, Progress, button, hbox, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events
from napari_lrcs.plugin.project.training_layers import may_train_on

State = TypeVar("State", bound=FolderState)


class ResumableTable(FolderTable[State]):
    """One row per folder: its name, how many parts are done, `others`, and when."""

    open_requested = Signal(object)
    """Show what this folder holds; the signals carry its path."""
    resume_requested = Signal(object)
    """Continue the work in this folder."""

    def __init__(
        self,
        title: str,
        columns: Sequence[str],
        list_items: Callable[[Path], Sequence[State]],
        *,
        open_tip: str,
        continue_tip: str,
        others: Callable[[State], Sequence[str]] = lambda _state: (),
    ) -> None:
        super().__init__(
            columns,
            list_items=list_items,
            row=lambda state: _row(state, others(state)),
            hint=f"No {columns[0].lower()} yet: each one is kept and listed here.",
            select_first=True,
        )
        self.title, self.noun = title, columns[0].lower()
        """What its tab is called, and what a folder holds."""
        self.open_button = self.add_button(
            "Open", open_tip, self.open_requested, allow=lambda state: not state.damaged
        )
        self.continue_button = self.add_button(
            "Continue",
            continue_tip,
            self.resume_requested,
            allow=lambda state: state.can_resume,
        )

    @property
    def unfinished(self) -> State | None:
        """The work that was stopped last."""
        return next((state for state in self.items if state.is_unfinished), None)


def _row(state: FolderState, others: Sequence[str]) -> tuple[str, ...]:
    done = "damaged" if state.damaged else f"{state.n_done} of {state.n_planned}"
    return state.path.name, done, *others, f"{state.modified:%d %b %H:%M}"


class PartsProgress(QWidget):
    """The bar of one part; it also moves that of the whole.

    If several parts are at work, on a cluster, the most advanced one is shown.

    Parameters
    ----------
    whole : Progress
        With the time that is left.
    """

    doing: ClassVar[str]
    """What precedes the folder's name, such as "Studying"."""
    part: ClassVar[str]
    """What a part is, such as "network"."""
    kept: ClassVar[str]
    """What is said of the parts that have ended when the work is stopped."""

    def __init__(self, whole: Progress) -> None:
        super().__init__()
        self.whole, self.own = whole, Progress(tells_time=False)
        self.n_parts = self.n_ended = 0
        self._names: dict[Hashable, str] = {}
        self._shares: dict[Hashable, float] = {}
        """Share done of each part at work."""
        self._is_timed = False
        vbox(self, self.own)

    def handle(self, event: Any) -> None:
        """Show how far the work is by an event; others are ignored."""

    def begin(self, n_parts: int = 0, *, share: float = 0.0) -> None:
        """Show the whole, and the share of it that was done before."""
        self.n_parts, self.n_ended, self._is_timed = n_parts, 0, False
        self._shares.clear()
        self.whole.begin("Preparing…", share=share)

    def begin_part(self, key: Hashable, name: str) -> None:
        """Show the next part, unless others are at work."""
        self._names[key] = name
        if not self._shares:
            self.own.begin(name)
        self._shares[key] = 0.0
        self._move()

    def show_part(self, key: Hashable, share: float, text: str) -> None:
        """Move both bars by the share of a part that is done."""
        if key not in self._shares:  # it has ended in an earlier session
            return
        self._shares[key] = share
        if key == max(self._shares, key=lambda own: self._shares[own]):
            self.own.show_share(share, f"{self._names[key]}: {text}")
        self._move()

    def end_part(self, key: Hashable) -> None:
        """Count a part that has ended, now or in an earlier session."""
        self._shares.pop(key, None)
        self.n_ended += 1

    @property
    def done(self) -> float:
        """Share of the whole that is done, 0 to 1."""
        return (self.n_ended + sum(self._shares.values())) / self.n_parts

    def _move(self) -> None:
        done = self.done
        text = f"{self.part.capitalize()} {self.n_ended + 1} of {self.n_parts}"
        if (
            any(self._shares.values()) and not self._is_timed
        ):  # what came before is done only once
            self._is_timed = True
            self.whole.begin(text, share=done)
        self.whole.show_share(done, text)

    @property
    def stopped(self) -> str:
        """Say what the work leaves that is stopped now."""
        if not self.n_parts:
            return f"Stopped before the first {self.part}."
        done = f"{self.n_ended} of {self.n_parts} {self.part}s {self.kept}"
        return f"Stopped. {done}; press Continue to go on."


class _FolderJob(Protocol):
    @property
    def out(self) -> Path: ...

    def events(self) -> Events: ...


class ResumableWork(QWidget):
    """Buttons that run, continue and stop the work of a dock, and how far it is.

    Parameters
    ----------
    dock : Dock
        Does the work as its job, and calls `finish` when that is over.
    table : ResumableTable
        What can be continued.
    run : QPushButton
        Begins in a new folder.
    """

    def __init__(
        self,
        dock: Dock,
        table: ResumableTable[Any],
        progress: PartsProgress,
        *,
        run: QPushButton,
    ) -> None:
        super().__init__()
        self._dock, self._table, self._progress = dock, table, progress
        self.run_button = run
        noun, tab = table.noun, table.title
        self.continue_button = button(
            "Continue",
            f"Continue the {noun} that was stopped last; others are under {tab}",
            self.continue_last,
        )
        self.stop_button = button(
            "Stop",
            f"Stop the {noun}; everything is kept, and can be continued",
            self.stop_and_keep,
        )
        buttons = hbox(self.run_button, self.continue_button, self.stop_button)
        vbox(self, progress).insertLayout(0, buttons)
        self._forget()
        self._update_buttons()
        for changed in (dock.job_changed, table.listed):
            changed.connect(self._update_buttons)

    def _forget(self) -> None:
        self.out: Path | None = None
        """Where the job works; None if the dock does something else."""
        self.end_text = ""
        """What is said at the end, unless the job fails."""
        self.end_kind: Kind = "done"

    def begin(
        self, make: Callable[[], _FolderJob], labels: Labels | None, *, kept: str
    ) -> bool:
        """Begin or continue; say why and return False if that cannot be.

        Parameters
        ----------
        make : callable
            Makes the job, and raises one of `EXPECTED` if something is missing.
        labels : Labels or None
            Layer that networks learn from.
        kept : str
            A sentence on what is kept when the dock is closed meanwhile.
        """
        if self._dock.is_busy or not may_train_on(labels, self._dock):
            return False
        try:
            job = make()
        except EXPECTED as error:
            self._dock.show_error(error)
            return False
        self.out = job.out
        self._dock.remember()
        self._dock.begin(
            f"{self._progress.doing} {job.out.name}", job.events, kept=kept
        )
        self._progress.begin()
        return True

    def continue_last(self) -> None:
        """Continue what was stopped last."""
        state = self._table.unfinished
        if state is not None:
            self._table.resume_requested.emit(state.path)

    def stop_and_keep(self) -> None:
        """End the job; what is done is kept, and can be continued."""
        if self._dock.is_busy:
            self.end_text = "Stopped." if self.out is None else self._progress.stopped
            self.end_kind = "hint"
            self._dock.stop()

    def finish(self, outcome: Outcome) -> None:
        """Say how the job ended."""
        self._progress.own.end()
        if self.end_text and outcome != "failed":
            self._dock.show_message(self.end_text, self.end_kind)
        self._forget()

    def _update_buttons(self) -> None:
        is_busy, state = self._dock.is_busy, self._table.unfinished
        self.run_button.setVisible(not is_busy)
        self.stop_button.setVisible(is_busy)
        self.stop_button.setEnabled(not self._dock.is_stopping)
        self._table.set_busy(is_busy)
        self.continue_button.setVisible(state is not None and not is_busy)
        if state is not None:
            self.continue_button.setText(f"Continue {state.path.name}")
