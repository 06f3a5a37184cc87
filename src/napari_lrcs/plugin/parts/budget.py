"""An error budget to be read: a row per source of error, a column per quantity."""

from collections.abc import Sequence

from qtpy.QtWidgets import QWidget

from napari_lrcs.plugin.parts.tables import Table, make_dense
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.uncertainty.trust.budget import BUDGETED, Budget
from napari_lrcs.uncertainty.trust.budget_tables import budget_rows
from napari_lrcs.uncertainty.trust.judged import KINDS

_ROWS = {
    "Prediction": "What the segmentation has in the whole volume; of a study, the mean "
    "of its networks",
    "Correction": "For the bias of the network, from check patches, in percentage "
    "points ± half of its interval",
    "Labels (sd)": "How far results move with the painting: standard deviation of a "
    "study's networks on perturbed labels, less that of the seeds",
    "Seeds (sd)": "How far results move with the seed: standard deviation of a study's "
    "networks on the labels as painted",
    "Finite volume": "How far the material may be from this volume, as half width",
    "This volume": "The corrected value ± correction, labels and seeds together",
    "Material": "The corrected value ± all of these and the finite volume together",
    "At 1×, 2×, 4× voxels": "What larger voxels would give: a trend, which is not "
    "added",
}
"""Rows of the tables, and their tooltips."""

_SHORT = {"At 1×, 2×, 4× voxels": "1×, 2×, 4×"}


class BudgetTables(QWidget):
    """One table for the volume fractions, and one for the interfaces."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = {kind: Table() for kind in BUDGETED}
        """By the kind of quantity."""
        for table in self.tables.values():
            make_dense(table)
        vbox(self, *self.tables.values())

    def show_budgets(self, budgets: Sequence[Budget]) -> None:
        """Show budgets; a row of which nothing is known is left out."""
        for kind, table in self.tables.items():
            chosen = [budget for budget in budgets if budget.kind == kind]
            rows = budget_rows(chosen)
            table.set_header([f"{KINDS[kind]} (%)", *(b.name for b in chosen)])
            cells = {name: [str(row[name]) for row in rows] for name in _ROWS}
            known = [name for name in _ROWS if {*cells[name]} != {"–"}]
            table.fill(
                [[_SHORT.get(name, name), *cells[name]] for name in known],
                tips=[_ROWS[name] for name in known],
            )
            table.setVisible(bool(chosen))
