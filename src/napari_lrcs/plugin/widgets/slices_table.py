"""What is painted, slice by slice, and what is missing."""

from qtpy.QtCore import QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
)

from napari_lrcs.phases import Phase
from napari_lrcs.plugin.painting import Painting
from napari_lrcs.plugin.widgets.heights import fit_height

_MISSING = QColor("#c87f0a")
_ROWS_IN_SIGHT = 6
_MOST_SENTENCES = 3


class SlicesTable(QTableWidget):
    """The slices that are painted, have a role, or are suggested."""

    jump = Signal(int)
    """The slice whose row was double-clicked."""

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
            lambda row, _column: self.jump.emit(self._indices[row])
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
        with QSignalBlocker(self):
            self.setRowCount(len(self._indices))
            if painting is not None:
                self._show_header(painting)
                for row, index in enumerate(self._indices):
                    self._show_row(row, index, painting)
        fit_height(self, most_rows=_ROWS_IN_SIGHT)
        self.setVisible(bool(self._indices))

    def mark(self, index: int | None) -> None:
        """Highlight the slice in view."""
        if index in self._indices:
            self.selectRow(self._indices.index(index))
        else:
            self.clearSelection()

    def texts(self) -> list[list[str]]:
        """Return what the cells say, row by row."""
        return [
            [self._text(row, column) for column in range(self.columnCount())]
            for row in range(self.rowCount())
        ]

    def _text(self, row: int, column: int) -> str:
        item = self.item(row, column)
        return "" if item is None else item.text()

    def _show_header(self, painting: Painting) -> None:
        self.setColumnCount(3 + len(painting.phases))
        self.setHorizontalHeaderLabels(["Slice", "Role", "%"])
        for phase in painting.phases:
            title = QTableWidgetItem(_swatch(phase), "")
            title.setToolTip(f"Voxels that are painted {phase.name}")
            self.setHorizontalHeaderItem(2 + phase.label, title)
        header = self.horizontalHeader()
        assert header is not None
        header.setMinimumSectionSize(30)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)

    def _show_row(self, row: int, index: int, painting: Painting) -> None:
        counts = painting.painted().get(index)
        z, y, x = painting.state.image.shape
        share = 0.0
        if counts is not None:
            share = float(counts.sum()) * painting.n_slices / (z * y * x)
        role = painting.roles.get(index, "" if counts is not None else "suggested")
        cells = [_cell(str(index)), _cell(role), _cell(_percent(share))]
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


def what_is_missing(painting: Painting) -> list[str]:
    """Say what is to be done before training, the next step first."""
    painted, roles = painting.painted(), painting.roles
    if not painted:
        return ["Paint some of every phase in a slice."]
    sentences = []
    if not painting.slices_with("train"):
        sentences.append("Mark a painted slice for training.")
    for index, role in roles.items():
        if index not in painted:
            sentences.append(f"Slice {index} ({role}) is not painted.")
            continue
        absent = [p.name for p in painting.phases if not painted[index][p.label - 1]]
        if absent:
            sentences.append(f"Slice {index} ({role}) has no {', no '.join(absent)}.")
    if not painting.slices_with("validation"):
        sentences.append("No slice is for validation yet.")
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


def _percent(share: float) -> str:
    if 0 < share < 0.001:
        return "<0.1"
    return f"{100 * share:.3g}"


def _cell(text: str) -> QTableWidgetItem:
    cell = QTableWidgetItem(text)
    cell.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
    return cell


def _swatch(phase: Phase) -> QIcon:
    pixmap = QPixmap(10, 10)
    pixmap.fill(QColor(phase.colour))
    return QIcon(pixmap)
