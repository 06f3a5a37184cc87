"""What a study tells of the error budget: how its networks scatter, not their bias."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_lrcs.plugin.parts.budget import BudgetTables
from napari_lrcs.plugin.parts.widgets import button, hbox, vbox
from napari_lrcs.uncertainty.study.folder import StudyFindings
from napari_lrcs.uncertainty.trust.budget import UNKNOWN_BIAS, budgets_of_study


class StudyBudget(QWidget):
    """The rows of the error budget that a study knows."""

    check_requested = Signal()
    """The bias is to be found out."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = BudgetTables()
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        check = button(
            "Check segmentation",
            "Paint check patches, which tell the bias",
            self.check_requested.emit,
        )
        column = vbox(self, self.hint, self.tables, top=4)
        column.addLayout(hbox(check))
        column.addStretch()
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.hint.setText("Nothing yet: press Run, or open a study in Studies.")
        self.tables.setVisible(False)

    def handle(self, event: object) -> None:
        """Show what a study has found; other events are ignored."""
        if not isinstance(event, StudyFindings):
            return
        self.hint.setText(f"{UNKNOWN_BIAS[:1].upper()}{UNKNOWN_BIAS[1:]}.")
        self.tables.show_budgets(budgets_of_study(event.summary))
        self.tables.setVisible(True)
