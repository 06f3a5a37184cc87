"""The error budget of the judged segmentation: tables, a figure, and a sentence."""

from functools import partial

from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_lrcs.io.tables import as_text
from napari_lrcs.plugin.check.job import Judged
from napari_lrcs.plugin.parts.budget import BudgetTables
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.widgets import Notices, button, hbox, vbox
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.trust.budget_tables import (
    budget_numbers,
    draw_budget,
    methods_sentences,
)

_NO_STUDY = (
    "there is no study of this image yet: Uncertainty study tells how far the labels "
    "and seeds move the result"
)


class BudgetPage(QWidget):
    """Each source of error by its name, and what they add up to."""

    material_requested = Signal()
    """The finite volume is to be added."""

    copy_requested = Signal(str)
    """A table with tabs and the sentence, for the clipboard."""

    save_requested = Signal(str, str)
    """A file name, and kinds of files, as Qt's dialogs take them."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._judged: Judged | None = None
        self.tables = BudgetTables()
        self.notices = Notices()
        self.material_button = button(
            "Add the finite volume",
            "Find out how far the material may be from this volume, and what larger "
            "voxels would give; takes seconds to minutes",
            self.material_requested.emit,
        )
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.sentence.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
        )
        self.sentence.setToolTip("For the methods section of a paper")
        self.plot = Plot(viewer, height=330)
        save = self.save_requested.emit
        buttons = hbox(
            button("Copy", "Copy the table and the sentence", self._copy),
            button(
                "CSV…",
                "Save the error budget as a table",
                partial(save, "error-budget.csv", "Tables (*.csv)"),
            ),
            button(
                "Figure…",
                "Save the error budget as a figure",
                partial(save, "error-budget.png", "Figures (*.png *.pdf *.svg)"),
            ),
        )
        parts = (self.tables, self.material_button, self.notices, self.sentence)
        vbox(self, *parts, self.plot, top=4).addLayout(buttons)

    def show_judged(self, judged: Judged) -> None:
        """Show the budget of a segmentation that is judged."""
        self._judged, budgets = judged, judged.budgets
        self.tables.show_budgets(budgets)
        self.material_button.setVisible(not judged.has_material)
        reasons = dict.fromkeys(f"{b.title}: {b.reason}" for b in budgets if b.reason)
        self.notices.clear()
        for text in reversed([*([] if judged.study else [_NO_STUDY]), *reasons]):
            self.notices.add(Notice(kind="advice", text=f"{text}."))
        self.sentence.setText(methods_sentences(budgets, judged.report))
        (ax,) = self.plot.axes
        ax.clear()
        draw_budget(ax, budgets)
        ax.set_xlabel("Half width (points)")
        self.plot.place_legends_above()

    def _copy(self) -> None:
        if self._judged is not None:
            table = as_text(budget_numbers(self._judged.budgets))
            self.copy_requested.emit(f"{table}\n{self.sentence.text()}\n")
