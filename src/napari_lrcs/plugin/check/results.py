"""What check patches tell: a table of corrected values, and a figure of intervals."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QLabel, QWidget

from napari_lrcs.io.tables import as_text
from napari_lrcs.plugin.check.budget import BudgetPage
from napari_lrcs.plugin.check.job import Judged
from napari_lrcs.plugin.parts.forms import form_rows
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.tables import Table, make_dense
from napari_lrcs.plugin.parts.widgets import (
    Notices,
    Tabs,
    button,
    hbox,
    percent,
    vbox,
)
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.trust import CONFIDENCE_LEVEL, level_text
from napari_lrcs.uncertainty.trust.figures import draw_intervals
from napari_lrcs.uncertainty.trust.judged import KINDS
from napari_lrcs.uncertainty.trust.judged import Judged as Quantity
from napari_lrcs.uncertainty.trust.report import ENOUGH_PATCHES, CheckReport
from napari_lrcs.uncertainty.trust.tables import MAIN_KINDS, points_text, report_rows

_HEADER = ("", "Predicted", "Correction", "Corrected")
_WITH_NEEDED = ("", "Pred.", "Corr.", "Corrected", "Patches")
"""Short, so that the names of interfaces have room in a narrow dock."""

_MEANINGS = (
    "In percent of the voxels in the field of view",
    "What the segmentation has in the whole volume",
    "What the patches add to it, in percentage points",
    "The corrected value ± half of its interval: of such intervals, "
    f"{level_text(CONFIDENCE_LEVEL)} contain the truth",
    "Patches needed for the wanted half-width",
)
"""Tooltips of the columns."""


class CheckResults(QWidget):
    """Shows a report; its numbers change as more patches are painted."""

    half_width_changed = Signal()
    """Another half-width is wanted."""

    copy_requested = Signal(str)
    """A table with tabs, for the clipboard."""

    save_requested = Signal(str, str)
    """A file name, and kinds of files, as Qt's dialogs take them."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.judged: Judged | None = None
        """What is shown."""
        self._title = QLabel()
        self._title.setWordWrap(True)
        self.table = Table(_HEADER)
        make_dense(self.table)
        self.notices = Notices()
        self._wanted = QDoubleSpinBox()
        self._wanted.setRange(0, 50)
        self._wanted.setDecimals(1)
        self._wanted.setSingleStep(0.5)
        self._wanted.setSpecialValueText("any")
        self._wanted.setSuffix(" points")
        self._wanted.setKeyboardTracking(False)
        self._wanted.valueChanged.connect(lambda _: self.half_width_changed.emit())
        self._wanted_part = QWidget()
        self._wanted_part.setLayout(
            form_rows(
                (
                    "Wanted half-width",
                    self._wanted,
                    "The last column tells how many patches it takes, once "
                    f"{ENOUGH_PATCHES} are painted",
                )
            )
        )
        self.plot = Plot(viewer, height=330)
        intervals = QWidget()
        parts = (self.table, self.notices, self._wanted_part, self.plot)
        self._column = vbox(intervals, *parts, top=4)
        self._add_buttons()
        self.budget = BudgetPage(viewer)
        self.tabs = Tabs()
        self.tabs.addTab(intervals, "Intervals")
        self.tabs.addTab(self.budget, "Error budget")
        vbox(self, self._title, self.tabs)
        self.clear()

    def _add_buttons(self) -> None:
        buttons = [
            button("Copy table", "Copy all numbers, for a spreadsheet", self._copy)
        ]
        for text, tooltip, *file in (
            ("CSV…", "Save all numbers as a table", "check.csv", "Tables (*.csv)"),
            (
                "JSON…",
                "Save all numbers as check report --json prints them",
                "check.json",
                "JSON (*.json)",
            ),
            (
                "Figure…",
                "Save the intervals as a figure",
                "check.png",
                "Figures (*.png *.pdf *.svg)",
            ),
        ):
            save = partial(self.save_requested.emit, *file)
            buttons.append(button(text, tooltip, save))
        self._column.addLayout(hbox(*buttons))

    def _copy(self) -> None:
        if self.judged is not None:
            self.copy_requested.emit(as_text(report_rows(self.judged.report)))

    @property
    def half_width(self) -> float | None:
        """The wanted half-width, 0 to 1; None for any."""
        value = self._wanted.value()
        return value / 100 if value > 0 else None

    @half_width.setter
    def half_width(self, half_width: float | None) -> None:
        self._wanted.setValue(100 * (half_width or 0.0))

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Want the half-width of an earlier session."""
        if isinstance(wanted := settings.get("half_width"), float):
            self.half_width = wanted

    @property
    def title(self) -> str:
        """What is judged, and by how many patches."""
        return str(self._title.text())

    def clear(self) -> None:
        """Show nothing: other patches are open, or none."""
        self.judged = None
        self.notices.clear()
        self.setVisible(False)

    def show_judged(self, judged: Judged) -> None:
        """Show what the patches tell of a segmentation."""
        self.setEnabled(True)
        self.judged, report = judged, judged.report
        (judgement,) = report.segmentations
        n = len(report.check.patches)
        self._title.setText(
            f"<b>{judgement.name}</b>, judged by {report.n_patches} of {n} patches"
        )
        self._show_table(report)
        self.notices.clear()
        for text in reversed([*_remarks(report)]):
            self.notices.add(Notice(kind="advice", text=f"{text}."))
        (ax,) = self.plot.axes
        ax.clear()
        draw_intervals(ax, report, study=judged.study)
        ax.set_xlabel("Difference from the corrected value (points)")
        self.plot.place_legends_above()
        self.budget.show_judged(judged)
        self.setVisible(True)

    def _show_table(self, report: CheckReport) -> None:
        (judgement,) = report.segmentations
        is_asked = self.half_width is not None and report.n_patches >= ENOUGH_PATCHES
        header = _WITH_NEEDED if is_asked else _HEADER
        table = self.table
        table.set_header(header)
        for column in range(len(header)):
            item = table.horizontalHeaderItem(column)
            assert item is not None
            item.setToolTip(_MEANINGS[column])
        colours = {phase.label: phase.colour for phase in report.phases}
        cells: list[list[str]] = []
        swatches: list[list[str]] = []
        tips: list[str] = []
        titles: list[int] = []
        for kind in (kind for kind in KINDS if kind in MAIN_KINDS):
            shown = [q for q in judgement.quantities if q.kind == kind]
            if any(quantity.labels for quantity in shown):
                titles.append(len(cells))
                cells.append([f"{KINDS[kind]} (%)"])
                swatches.append([])
                tips.append("")
            for quantity in shown:
                cells.append(_cells(quantity, n_columns=len(header)))
                swatches.append([colours[label] for label in quantity.labels])
                tips.append(quantity.reason or quantity.note or quantity.title)
        table.clearSpans()
        table.fill(cells, colours=swatches, tips=tips)
        for place in titles:
            table.setSpan(place, 0, 1, len(header))
            _embolden(table, place)
        table.show_names()


def _embolden(table: Table, row: int) -> None:
    item = table.item(row, 0)
    assert item is not None
    font = item.font()
    font.setBold(True)
    item.setFont(font)


def _cells(quantity: Quantity, *, n_columns: int) -> list[str]:
    corrected = f"{percent(quantity.value)} ± {percent(quantity.half_width)}"
    name = quantity.name if quantity.labels else f"{KINDS[quantity.kind]} (%)"
    needed = "–" if quantity.patches_needed is None else f"{quantity.patches_needed:,}"
    cells = [
        name,
        percent(quantity.predicted),
        points_text(quantity.correction),
        "no interval" if quantity.reason else corrected,
        needed,
    ]
    return cells[:n_columns]


def _remarks(report: CheckReport) -> Iterator[str]:
    """List what is to be known of the numbers, each once."""
    yield from report.notes
    if report.n_patches < ENOUGH_PATCHES:
        yield (
            f"once {ENOUGH_PATCHES} patches are painted, the table can say how many "
            "are needed"
        )
    (judgement,) = report.segmentations
    reasons = (q.reason for q in judgement.quantities if q.kind in MAIN_KINDS)
    yield from dict.fromkeys(reason for reason in reasons if reason)
