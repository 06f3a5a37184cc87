"""What a study has found so far: a table, plots, and the networks that failed."""

from dataclasses import dataclass, replace
from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import QLabel, QPushButton, QSizePolicy, QTabBar, QWidget
from superqt.utils import qthrottled

from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.widgets import Notices, hbox, vbox
from napari_lrcs.plugin.study.job import Draw
from napari_lrcs.plugin.study.table import StudyTable
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.study.events import (
    MemberFailed,
    MemberProgress,
    StudyStarted,
)
from napari_lrcs.uncertainty.study.figures import (
    draw_interfaces,
    draw_iou_distributions,
    draw_surface_against_volume,
    draw_surface_areas,
    draw_tortuosities,
)
from napari_lrcs.uncertainty.study.folder import StudyFindings
from napari_lrcs.uncertainty.study.quantities import Kind
from napari_lrcs.uncertainty.study.summary import CAVEAT, StudySummary

_PAUSE_MS = 500
"""Time between two drawings: a continued study brings many networks at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot in the results.

    Parameters
    ----------
    name : str
        Of its tab.
    file : str
        Under which it is saved, without a type.
    """

    name: str
    file: str
    tooltip: str
    draw: Draw
    kind: Kind = "accuracy"
    """The plot is there only if this is measured."""


FIGURES = (
    Figure(
        name="IoU",
        file="iou",
        tooltip="IoU of each phase on the test slice, one point per network",
        draw=draw_iou_distributions,
    ),
    Figure(
        name="Surface",
        file="surface-volume",
        tooltip="IoU of each phase against its ratio of surface to volume",
        draw=draw_surface_against_volume,
    ),
    Figure(
        name="Interfaces",
        file="interfaces",
        tooltip="Share of the voxels on each interface, one point per network",
        draw=draw_interfaces,
    ),
    Figure(
        name="Area",
        file="surface-area",
        tooltip="Surface area of each phase per volume, one point per network",
        draw=draw_surface_areas,
        kind="surface_area",
    ),
    Figure(
        name="Tortuosity",
        file="tortuosity",
        tooltip="Tortuosity along each axis, one point per network",
        draw=draw_tortuosities,
        kind="tortuosity",
    ),
)


class StudyResults(QWidget):
    """Shows what has been found; more may come."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.found: StudyFindings | None = None
        """What is shown."""
        self._failures: dict[str, str] = {}
        self._n_members = 0
        self.title = QLabel("Nothing yet: press Run, or open a study in Studies.")
        self.title.setWordWrap(True)
        self.failed = Notices()
        self.notices = Notices()
        self.table = StudyTable()
        self.caveat = QLabel()
        self.caveat.setWordWrap(True)
        self.plot = Plot(viewer, height=270)
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        for figure in FIGURES:
            self.tabs.setTabToolTip(self.tabs.addTab(figure.name), figure.tooltip)
        self.tabs.currentChanged.connect(lambda _place: self._draw_plot())
        self._draw_soon = qthrottled(
            self._draw, timeout=_PAUSE_MS, leading=False, parent=self
        )
        self._rows: list[QWidget] = []
        self._build()
        self.clear()

    def _build(self) -> None:
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        parts = (self.title, self.failed, self.table, self.caveat, self.tabs)
        self._column = vbox(self, *parts, self.plot, top=4)

    def add_buttons(self, *rows: tuple[QPushButton, ...]) -> None:
        """Put rows of buttons, and the notices, under the plot."""
        for buttons in rows:
            part = QWidget()
            part.setLayout(hbox(*buttons))
            self._rows.append(part)
            self._column.addWidget(part)
            part.setVisible(self.found is not None)
        self._column.addWidget(self.notices)
        self._column.addStretch()

    @property
    def figure(self) -> Figure:
        """The plot in sight."""
        return FIGURES[self.tabs.currentIndex()]

    # ---- what comes in ----

    def clear(self) -> None:
        """Forget the last study."""
        self._draw_soon.cancel()
        self.found, self._n_members = None, 0
        self._failures.clear()
        self.failed.clear()
        self.notices.clear()
        self.table.clear_rows()
        self._show_parts()

    def handle(self, event: Any) -> None:
        """Show an event of a study; others are ignored."""
        match event:
            case Notice():
                self.notices.add(event)
            case MemberProgress(
                name=name, event=Notice(kind="pitfall" | "out_of_memory") as notice
            ):
                self.notices.add(replace(notice, text=f"{name}: {notice.text}"))
            case StudyStarted():
                self._n_members = len(event.names)
                self.title.setText(f"{event.out.name}: no network is done yet.")
            case MemberFailed():
                self._add_failure(event.name, event.error)
            case StudyFindings():
                self._show_found(event)

    def _show_found(self, found: StudyFindings) -> None:
        self.found = found
        for member in found.members:
            if member.error is not None:
                self._add_failure(member.name, member.error)
            else:
                self._failures.pop(member.name, None)
        self._draw_soon()

    def _add_failure(self, name: str, error: str) -> None:
        self._failures[name] = error
        self.failed.add(Notice(kind="pitfall", text=f"{name} failed: {error}"))
        if self.found is not None:
            self._show_title(self.found)

    # ---- showing ----

    def _draw(self) -> None:
        found = self.found
        if found is None:
            return
        self._show_title(found)
        summary = found.summary
        self.table.show_summary(summary)
        self.caveat.setText(_below(summary))
        for place, figure in enumerate(FIGURES):
            self.tabs.setTabVisible(place, summary.has(figure.kind))
        self._show_parts()
        self._draw_plot()

    def _show_title(self, found: StudyFindings) -> None:
        n_good = sum(member.error is None for member in found.members)
        n_failed = len(self._failures)
        of = f" of {self._n_members}" if self._n_members else ""
        failed = f", {n_failed} failed" if n_failed else ""
        self.title.setText(f"{found.out.name}: {n_good}{of} networks{failed}")

    def _show_parts(self) -> None:
        shown = (self.table, self.caveat, self.tabs, self.plot)
        parts: list[QWidget] = [*shown, *self._rows]
        for part in parts:
            part.setVisible(self.found is not None)

    def _draw_plot(self) -> None:
        if self.found is None:
            return
        (ax,) = self.plot.axes
        ax.clear()
        self.figure.draw(ax, self.found.summary)
        ax.xaxis.labelpad = 1
        self.plot.place_legends_above()


def _below(summary: StudySummary) -> str:
    """Say what the numbers are, and what they are not."""
    units = {q.unit for q in summary.quantities if q.kind == "surface_area"}
    legend = [f"Area: surface per volume, in {unit}." for unit in units]
    if summary.has("tortuosity"):
        legend.append("τ: tortuosity along an axis.")
    return " ".join([*legend, f"{CAVEAT}: see the dock Check segmentation."])
