"""The table of the runs in a folder, and what can be done with each."""

from collections.abc import Sequence
from typing import ClassVar

from qtpy.QtCore import Qt, QTimer, Signal

from napari_lrcs.plugin.parts.folder_tables import FolderTable
from napari_lrcs.runs.table import (
    COLUMNS,
    RunRecord,
    differing_settings,
    find_runs_below,
    search_runs,
    sort_runs,
    title_of,
)

_DOWNWARDS = {"mean_iou", "epochs", "modified"}
"""Columns of which the largest value comes first, unless it is clicked again."""

_NONE = "No run here yet: each training is kept and listed."

_PAUSE_MS = 3000
"""Time after which runs that are being trained are read again."""


class RunsTable(FolderTable[RunRecord]):
    """A table of runs, with a column for each setting in which they differ."""

    predict_requested = Signal(object)
    """Predict with the best network of this run; the signals carry its path."""
    start_requested = Signal(object)
    """Start the next training from its best network."""
    resume_requested = Signal(object)
    """Continue this run."""
    labels_requested = Signal(object)
    """Show the slices that it was trained on."""
    export_requested = Signal(object)
    """Write its best network for other programs."""

    buttons_per_row: ClassVar[int] = 3

    def __init__(self) -> None:
        super().__init__(
            [*COLUMNS.values()],
            list_items=find_runs_below,
            row=self._cells,
            hint=_NONE,
            several=True,
            select_first=True,
        )
        self.all_items: Sequence[RunRecord] = ()
        """Runs that were read, whether they are shown or not."""
        self._names, self._text = [*COLUMNS], ""
        self._sorted_by, self._is_descending = "mean_iou", True
        header = self.rows.horizontalHeader()
        assert header is not None
        header.setSectionsClickable(True)
        header.setSortIndicatorShown(True)
        header.sectionClicked.connect(self._sort_by)
        self.listed.connect(self._show_order)
        self._show_order()
        self._timer = QTimer(self)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.timeout.connect(self._read_again)
        self._add_buttons()

    def _add_buttons(self) -> None:
        self.predict_button = self.add_button(
            "Predict with it",
            "Make the best network of this run that of the image, and show Predict",
            self.predict_requested,
            allow=lambda run: run.has_network,
        )
        self.start_button = self.add_button(
            "Start from it",
            "Let the next training begin with the best network of this run",
            self.start_requested,
            allow=lambda run: run.has_network,
        )
        self.resume_button = self.add_button(
            "Continue",
            "Continue this run, with its own settings; with new strokes, as a new run",
            self.resume_requested,
            allow=_may_resume,
        )
        self.labels_button = self.add_button(
            "Show labels",
            "Show the painted slices that this run was trained on, over the image",
            self.labels_requested,
            allow=lambda run: bool(run.slices),
        )
        self.export_button = self.add_button(
            "Export…",
            "Write the best network of this run for other programs: as an ONNX file, "
            "or as a package of bioimage.io",
            self.export_requested,
            allow=lambda run: run.has_network,
        )
        self.add_folder_buttons(self._content, allow=lambda run: not run.is_part)

    def _content(self, run: RunRecord) -> str:
        """Say what is lost with a run."""
        found = run.summary
        score = found.best_mean_iou
        iou = "" if score is None else f" (mean IoU {score:.1%})"
        network = f"a network{iou}" if run.has_network else "a run without a network"
        heirs = [
            other.path.name
            for other in self.all_items
            if other.path.parent == run.path.parent
            and other.summary.parent == run.path.name
        ]
        others = f"; kept are the runs that continue it: {', '.join(heirs)}"
        epochs = f"{found.n_done} of {found.n_epochs} epochs"
        return f"{network} after {epochs}{others if heirs else ''}"

    # ---- what is shown ----

    def search(self, text: str) -> None:
        """Show the runs that have all words of a text."""
        self._text = text
        self._show(self.all_items)

    def arrange(self, items: Sequence[RunRecord]) -> Sequence[RunRecord]:
        """Name the columns; return the runs that were searched for, in order."""
        self.all_items = items
        self._names = [*COLUMNS, *differing_settings(items)]
        self._columns = [*map(title_of, self._names)]
        if self._sorted_by not in self._names:
            self._sorted_by, self._is_descending = "mean_iou", True
        if any(run.summary.is_running for run in items):
            self._timer.start()
        else:
            self._timer.stop()
        self.hint = "No run has all of these words." if items else _NONE
        found = search_runs(items, self._text)
        return sort_runs(found, self._sorted_by, descending=self._is_descending)

    def _cells(self, run: RunRecord) -> list[str]:
        return [run.text(column) for column in self._names]

    def _sort_by(self, place: int) -> None:
        column = self._names[place]
        is_again = column == self._sorted_by
        self._is_descending = (
            not self._is_descending if is_again else column in _DOWNWARDS
        )
        self._sorted_by = column
        self._show(self.all_items)

    def _show_order(self) -> None:
        header = self.rows.horizontalHeader()
        assert header is not None
        order = Qt.SortOrder
        header.setSortIndicator(
            self._names.index(self._sorted_by),
            order.DescendingOrder if self._is_descending else order.AscendingOrder,
        )

    # ---- reading ----

    def _read_again(self) -> None:
        if self.isVisible() and not self.is_reading:
            self.refresh(self.folder)


def _may_resume(run: RunRecord) -> bool:
    found = run.summary
    is_idle = not (run.is_part or found.is_running)
    return is_idle and (found.can_resume or found.is_finished)
