"""What is painted, slice by slice, and what is missing."""

import numpy as np
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
)
from superqt.utils import signals_blocked

from napari_lrcs.phases import Phase
from napari_lrcs.plugin.painting.painting import Painting, propagated_slices
from napari_lrcs.plugin.parts.widgets import fit_height

_MISSING = QColor("#c87f0a")
_VISIBLE_ROWS = 6
_MOST_SENTENCES = 3
_SHORT = {"train": "train", "validation": "valid.", "test": "test"}
"""Names of roles that leave room for five phases in the table."""
_MOST_BESIDE_LONG = 3
"""Most phases that fit beside the whole names of roles."""


class SlicesTable(QTableWidget):
    """The slices that are painted, have a role, or are suggested."""

    slice_activated = Signal(int)
    """The row of this slice was double-clicked."""

    def __init__(self) -> None:
        super().__init__()
        self._indices: list[int] = []
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setIconSize(QSize(10, 10))
        self.setToolTip("Double-click a slice to go there")
        vertical = self.verticalHeader()
        assert vertical is not None
        vertical.setVisible(False)
        self.cellDoubleClicked.connect(
            lambda row, _column: self.slice_activated.emit(self._indices[row])
        )
        self.show_painting(None)

    @property
    def indices(self) -> tuple[int, ...]:
        """The slices that are shown, ascending."""
        return tuple(self._indices)

    def show_painting(
        self, painting: Painting | None, *, suggested: frozenset[int] = frozenset()
    ) -> None:
        """Show the slices of a painting; none without one."""
        self._indices = [] if painting is None else annotated(painting, suggested)
        with signals_blocked(self):
            self.setRowCount(len(self._indices))
            if painting is not None:
                self._show_header(painting)
                for row, index in enumerate(self._indices):
                    self._show_row(row, index, painting)
        fit_height(self, most_rows=_VISIBLE_ROWS)
        self.setVisible(bool(self._indices))

    def mark(self, index: int | None) -> None:
        """Highlight the slice in view."""
        if index in self._indices:
            self.selectRow(self._indices.index(index))
        else:
            self.clearSelection()

    def texts(self) -> list[list[str]]:
        """Return the texts of the cells, row by row."""
        return [
            [self._text(row, column) for column in range(self.columnCount())]
            for row in range(self.rowCount())
        ]

    def _text(self, row: int, column: int) -> str:
        item = self.item(row, column)
        return "" if item is None else item.text()

    def _show_header(self, painting: Painting) -> None:
        self.setColumnCount(2 + len(painting.phases))
        self.setHorizontalHeaderLabels(["Slice", "Role"])
        for phase in painting.phases:
            title = QTableWidgetItem(_swatch(phase), "")
            title.setToolTip(f"Voxels that are painted {phase.name}")
            self.setHorizontalHeaderItem(1 + phase.label, title)
        header = self.horizontalHeader()
        assert header is not None
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)

    def _show_row(self, row: int, index: int, painting: Painting) -> None:
        counts = painting.painted().get(index)
        role = painting.roles.get(index)
        is_tight = len(painting.phases) > _MOST_BESIDE_LONG
        name = _SHORT[role] if role and is_tight else role
        use = f"For {role}" if role else "For nothing yet"
        if index in propagated_slices(painting):
            name = f"{name} ⚠" if name else "⚠ correct"
            use += "; filled by a network: correct it by hand, then give it a role"
        cells = [_cell(str(index)), _cell(name or "–")]
        cells[0].setToolTip(_painted_share(painting, index))
        cells[1].setToolTip(use)
        for phase in painting.phases:
            n = 0 if counts is None else int(counts[phase.label - 1])
            cell = _cell(compact(n) if n else "–")
            cell.setToolTip(
                f"{n:,} voxels of {phase.name}" if n else f"No {phase.name} yet"
            )
            if not n:
                cell.setForeground(_MISSING)
            cells.append(cell)
        for column, cell in enumerate(cells):
            self.setItem(row, column, cell)


def annotated(painting: Painting, suggested: frozenset[int] = frozenset()) -> list[int]:
    """List the slices that are painted, have a role, or are suggested, ascending."""
    return sorted({*painting.painted(), *painting.roles, *suggested})


def next_step(painting: Painting, index: int | None) -> str:
    """Say what to do next in the slice in view; the last step is to train."""
    painted, phases = painting.painted(), painting.phases
    for_training = painting.slices_with("train") or (
        () if painting.roles else tuple(painted)
    )
    if not painted:
        return "Paint some of every phase in this slice, or open Help to paint."
    if not for_training:
        go = "Mark this slice" if index in painted else "Go to a painted slice, mark it"
        return f"{go} Train."
    if empty := [index for index in painting.roles if index not in painted]:
        return f"Paint slice {empty[0]}, or mark it None."
    absent = [
        phase.name
        for phase in phases
        if not any(painted[index][phase.label - 1] for index in for_training)
    ]
    if absent:
        return f"Paint some {' and '.join(absent)} in a slice for training."
    if not painting.roles:
        return (
            "Next: Train LRCS-Net, which learns from all painted slices. To score it, "
            "paint others, and mark them Validation and Test."
        )
    return "Next: Train LRCS-Net."


def gaps(painting: Painting) -> list[str]:
    """List what scores will lack if a training begins now."""
    painted, sentences = painting.painted(), []
    for index, role in painting.roles.items():
        if index not in painted:
            continue
        absent = [p.name for p in painting.phases if not painted[index][p.label - 1]]
        if absent:
            sentences.append(f"Slice {index} ({role}) has no {', no '.join(absent)}.")
    if painting.slices_with("train") and not painting.slices_with("validation"):
        sentences.append(
            "No slice is for validation: part of the training slices will be used."
        )
    n_more = len(sentences) - _MOST_SENTENCES
    more = [f"… and {n_more} more."] if n_more > 0 else []
    return sentences[:_MOST_SENTENCES] + more


def compact(number: int) -> str:
    """Write a number in at most four characters.

    Examples
    --------
    >>> compact(950), compact(12_345), compact(3_400_000)
    ('950', '12k', '3.4M')
    """
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if number >= size:
            value = number / size
            return f"{value:.0f}{letter}" if value >= 10 else f"{value:.1f}{letter}"
    return str(number)


def _painted_share(painting: Painting, index: int) -> str:
    counts = painting.painted().get(index)
    if counts is None:
        return "Nothing is painted; double-click to go there"
    share = counts.sum() * painting.n_slices / np.prod(painting.state.image.shape)
    return f"{100 * share:.2g}% of the slice is painted; double-click to go there"


def _cell(text: str) -> QTableWidgetItem:
    cell = QTableWidgetItem(text)
    cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    return cell


def _swatch(phase: Phase) -> QIcon:
    pixmap = QPixmap(10, 10)
    pixmap.fill(QColor(phase.colour))
    return QIcon(pixmap)
