"""The studies in a folder, and what can be done with each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.errors import VolumeError
from napari_lrcs.plugin.parts.dock import button
from napari_lrcs.plugin.parts.workers import Events, Job, Work, start_job
from napari_lrcs.uncertainty.study.summary import read_record

_COLUMNS = ("Study", "Networks", "When")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedStudy:
    """How far a study has come.

    Parameters
    ----------
    path : Path
        Its folder.
    modified : datetime
        When it last wrote, in the local time zone.
    n_done, n_members : int
        Networks that are there, and that are planned.
    is_complete : bool
    damaged : str
        Why nothing else is known of it; empty for a sound one.
    """

    path: Path
    modified: datetime
    n_done: int = 0
    n_members: int = 0
    is_complete: bool = False
    damaged: str = ""

    @property
    def can_go_on(self) -> bool:
        """Whether it is unfinished, or has networks that failed."""
        return not self.damaged and (
            not self.is_complete or self.n_done < self.n_members
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    folder: Path
    studies: tuple[ListedStudy, ...]


class StudyList(QWidget):
    """A table of studies; reads them in a thread."""

    open_asked = Signal(object)
    """Show what this study has found; the signals carry its path."""
    continue_asked = Signal(object)
    """Go on with this study."""
    listed = Signal()
    """The list is another one."""

    def __init__(self) -> None:
        super().__init__()
        self.studies: Sequence[ListedStudy] = ()
        """What is listed, the one that went on last first."""
        self._folder: Path | None = None
        self._is_busy = False
        self._jobs: list[Job] = []
        self._hint = QLabel("No study yet: each one is kept and listed here.")
        self._hint.setWordWrap(True)
        self._table = QTableWidget(0, len(_COLUMNS))
        self.open_button = button(
            "Open",
            "Show the tables and plots of this study, and its layers over the image",
            lambda: self._ask(self.open_asked),
        )
        self.continue_button = button(
            "Continue",
            "Go on where this study was stopped, with its own settings and slices; "
            "networks that failed are tried again",
            lambda: self._ask(self.continue_asked),
        )
        self._build()
        self._update_buttons()

    def _build(self) -> None:
        table = self._table
        table.setHorizontalHeaderLabels(_COLUMNS)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setMinimumHeight(140)
        header, rows = table.horizontalHeader(), table.verticalHeader()
        assert header is not None
        assert rows is not None
        rows.setVisible(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        table.itemSelectionChanged.connect(self._update_buttons)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addWidget(self._hint)
        layout.addWidget(table, stretch=1)
        row = QHBoxLayout()
        row.addWidget(self.open_button)
        row.addWidget(self.continue_button)
        layout.addLayout(row)

    # ---- reading ----

    def look(self, folder: Path | None) -> None:
        """List the studies in a folder anew, in a thread."""
        self._folder = folder
        if folder is None:
            self._show(())
            return

        def listing() -> Events:
            yield _Listed(folder=folder, studies=list_studies(folder))

        job = start_job(
            Work("Listing studies", listing),
            connect={"yielded": self._take, "errored": self._tell},
        )
        self._jobs = [*(j for j in self._jobs if j.is_running), job]

    def set_busy(self, busy: bool) -> None:  # noqa: FBT001 as Qt's setters
        """Say whether a study runs, so that no other can begin."""
        self._is_busy = busy
        self._update_buttons()

    def follow_no_more(self) -> None:
        """Take no notice of what is still read."""
        self._folder = None
        for job in self._jobs:
            job.quit()

    def _take(self, event: _Listed) -> None:
        if event.folder == self._folder:
            self._show(event.studies)

    def _tell(self, error: Exception) -> None:
        self._hint.setText(str(error))
        self._hint.setVisible(True)

    # ---- showing ----

    def _show(self, studies: Sequence[ListedStudy]) -> None:
        selected = self.selected
        self.studies = studies
        self._hint.setVisible(not studies)
        with QSignalBlocker(self._table):
            self._table.setRowCount(len(studies))
            for row, study in enumerate(studies):
                self._fill(row, study)
                if selected is not None and study.path == selected.path:
                    self._table.selectRow(row)
            if studies and self.selected is None:
                self._table.selectRow(0)
        self._update_buttons()
        self.listed.emit()

    def _fill(self, row: int, study: ListedStudy) -> None:
        texts = (
            study.path.name,
            "damaged" if study.damaged else f"{study.n_done} of {study.n_members}",
            f"{study.modified:%d %b %H:%M}",
        )
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(study.damaged or str(study.path))
            self._table.setItem(row, column, item)

    @property
    def selected(self) -> ListedStudy | None:
        """The study whose row is selected."""
        rows = {index.row() for index in self._table.selectedIndexes()}
        return self.studies[rows.pop()] if rows else None

    @property
    def unfinished(self) -> ListedStudy | None:
        """The study that was stopped last."""
        return next(
            (s for s in self.studies if s.can_go_on and not s.is_complete), None
        )

    def select(self, row: int) -> None:
        """Select a study, as a click does."""
        self._table.selectRow(row)

    def _update_buttons(self) -> None:
        study = self.selected
        is_sound = study is not None and not study.damaged
        can_go_on = study is not None and study.can_go_on
        self.open_button.setEnabled(is_sound and not self._is_busy)
        self.continue_button.setEnabled(can_go_on and not self._is_busy)

    def _ask(self, signal: Signal) -> None:
        study = self.selected
        if study is not None:
            signal.emit(study.path)


def list_studies(folder: Path) -> tuple[ListedStudy, ...]:
    """Read how far the studies in a folder have come, the last one first."""
    return tuple(map(_look, Workspace(folder).studies()))


def _look(path: Path) -> ListedStudy:
    changed = (path / "study.json").stat().st_mtime
    modified = datetime.fromtimestamp(changed, UTC).astimezone()
    try:
        record = read_record(path)
        return ListedStudy(
            path=path,
            modified=modified,
            n_done=sum(member["error"] is None for member in record["members"]),
            n_members=sum(record["study"].values()),
            is_complete=record["state"] == "complete",
        )
    except VolumeError as error:
        return ListedStudy(path=path, modified=modified, damaged=str(error))
