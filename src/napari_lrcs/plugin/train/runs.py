"""The trainings of a volume, and what can be done with each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.header import Row
from napari_lrcs.plugin.parts.dock import button
from napari_lrcs.plugin.parts.workers import Events, Job, Work, start_job
from napari_lrcs.training.run_folder import RunFolder, list_runs
from napari_lrcs.training.run_summary import RunSummary

_COLUMNS = ("Run", "Mean IoU", "Epochs", "When")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    folder: Path
    runs: Sequence[RunSummary]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """The epochs of a run.

    Parameters
    ----------
    name : str
    colours : tuple of str
        Of its phases, in the order of the labels.
    rows : sequence of mappings
    """

    name: str
    colours: tuple[str, ...]
    rows: Sequence[Row]


class RunsTable(QWidget):
    """A table of runs; reads them in a thread."""

    resume_asked = Signal(object)
    """Continue this run; the signals carry its path."""
    transfer_asked = Signal(object)
    """Start another training from its best network."""
    predict_asked = Signal(object)
    """Predict with its best network."""
    compared = Signal(object)
    """The histories (list of `RunHistory`) of the ticked runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: Sequence[RunSummary] = ()
        """What is listed, the run that was modified last first."""
        self._folder: Path | None = None
        self._is_busy = False
        self._jobs: list[Job] = []
        self._table = QTableWidget(0, len(_COLUMNS))
        self._hint = QLabel("No run yet: each training is kept and listed here.")
        self._hint.setWordWrap(True)
        self.buttons = self._make_buttons()
        self._set_up_table()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._hint)
        layout.addWidget(self._table, stretch=1)
        grid = QGridLayout()
        for i, made in enumerate(self.buttons.values()):
            grid.addWidget(made, i // 2, i % 2)
        layout.addLayout(grid)
        self._update_buttons()

    def _make_buttons(self) -> Mapping[str, QPushButton]:
        return {
            "predict": button(
                "Use to predict",
                "Choose the best network of this run in the dock Predict volume",
                lambda: self._ask(self.predict_asked),
            ),
            "compare": button(
                "Compare curves",
                "Draw the validation curves of the ticked runs",
                self._compare,
            ),
            "resume": button(
                "Continue",
                "Go on where this run was stopped, with its own settings and slices",
                lambda: self._ask(self.resume_asked),
            ),
            "transfer": button(
                "Start from it",
                "Let the next training begin with the best network of this run",
                lambda: self._ask(self.transfer_asked),
            ),
        }

    def _set_up_table(self) -> None:
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
        table.itemChanged.connect(lambda _item: self._update_buttons())

    # ---- reading ----

    def look(self, folder: Path | None) -> None:
        """List the runs of a folder anew, in a thread."""
        self._folder = folder
        if folder is None:
            self._show(())
            return

        def listing() -> Events:
            yield _Listed(folder=folder, runs=list_runs(folder))

        self._start(Work("Listing runs", listing))

    def set_busy(self, busy: bool) -> None:  # noqa: FBT001 as Qt's setters
        """Say whether a training runs, so that no other can begin."""
        self._is_busy = busy
        self._update_buttons()

    def follow_no_more(self) -> None:
        """Take no notice of what is still read."""
        self._folder = None
        for job in self._jobs:
            job.quit()

    def _start(self, work: Work) -> None:
        job = start_job(work, connect={"yielded": self._take, "errored": self._tell})
        self._jobs = [*(j for j in self._jobs if j.is_running), job]

    def _take(self, event: object) -> None:
        if isinstance(event, _Listed) and event.folder == self._folder:
            self._show(event.runs)
        elif isinstance(event, list):
            self.compared.emit(event)

    def _tell(self, error: Exception) -> None:
        self._hint.setText(str(error))
        self._hint.setVisible(True)

    # ---- showing ----

    def _show(self, runs: Sequence[RunSummary]) -> None:
        selected, ticked = self.selected, {run.path for run in self.ticked}
        self.runs = runs
        self._hint.setVisible(not runs)
        with QSignalBlocker(self._table):
            self._table.setRowCount(len(runs))
            for row, run in enumerate(runs):
                self._fill(row, run, is_ticked=run.path in ticked)
                if selected is not None and run.path == selected.path:
                    self._table.selectRow(row)
        self._update_buttons()

    def _fill(self, row: int, run: RunSummary, *, is_ticked: bool) -> None:
        best = run.best_mean_iou
        texts = (
            run.name,
            "damaged" if run.damaged else "–" if best is None else f"{best:.1%}",
            f"{run.n_done} of {run.n_epochs}",
            f"{run.modified:%d %b %H:%M}",
        )
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setToolTip(str(run))
            if column == 0:
                state = Qt.CheckState.Checked if is_ticked else Qt.CheckState.Unchecked
                item.setCheckState(state)
            self._table.setItem(row, column, item)

    @property
    def selected(self) -> RunSummary | None:
        """The run whose row is selected."""
        rows = {index.row() for index in self._table.selectedIndexes()}
        return self.runs[rows.pop()] if rows else None

    @property
    def ticked(self) -> list[RunSummary]:
        """The runs to compare."""
        return [run for row, run in enumerate(self.runs) if self._is_ticked(row)]

    def select(self, row: int, *, tick: bool = False) -> None:
        """Select a run, and perhaps tick it, as clicks do."""
        self._table.selectRow(row)
        item = self._table.item(row, 0)
        assert item is not None
        if tick:
            item.setCheckState(Qt.CheckState.Checked)

    def _is_ticked(self, row: int) -> bool:
        item = self._table.item(row, 0)
        return item is not None and item.checkState() == Qt.CheckState.Checked

    def _update_buttons(self) -> None:
        run = self.selected
        has_network = run is not None and run.best_epoch is not None
        can_resume = run is not None and run.can_resume
        self.buttons["predict"].setEnabled(has_network)
        self.buttons["transfer"].setEnabled(has_network and not self._is_busy)
        self.buttons["resume"].setEnabled(can_resume and not self._is_busy)
        self.buttons["compare"].setEnabled(bool(self.runs))

    def _ask(self, signal: Signal) -> None:
        run = self.selected
        if run is not None:
            signal.emit(run.path)

    def _compare(self) -> None:
        chosen = self.ticked

        def reading() -> Events:
            yield [history_of(run) for run in chosen]

        self._start(Work("Reading histories", reading))


def history_of(run: RunSummary) -> RunHistory:
    """Read the epochs of a run; none of a damaged one."""
    if run.network is None:
        return RunHistory(name=run.name, colours=(), rows=())
    try:
        rows = RunFolder(run.path).read_history()
    except CheckpointError:
        rows = []
    colours = tuple(phase.colour for phase in run.network.phases)
    return RunHistory(name=run.name, colours=colours, rows=rows)
