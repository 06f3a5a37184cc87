"""The part of the dock "Compare segmentations" that takes several experimenters."""

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtWidgets import QApplication, QHBoxLayout, QVBoxLayout, QWidget

from napari_lrcs.comparison.experimenter_tables import as_text_table
from napari_lrcs.comparison.experimenters import Comparing, ExperimentersCompared
from napari_lrcs.plugin.compare.experimenters_form import (
    ExperimentersForm,
    Voted,
)
from napari_lrcs.plugin.compare.experimenters_results import ExperimentersResults
from napari_lrcs.plugin.parts.dock import Dock, button
from napari_lrcs.plugin.parts.layer_kinds import marked
from napari_lrcs.plugin.parts.layers import appearance, fitted
from napari_lrcs.plugin.parts.workers import EXPECTED


class ExperimentersPart(QWidget):
    """Compares several layers, shows the numbers, and adds what they agree on.

    Parameters
    ----------
    dock : Dock
        That it is part of: whose jobs it starts.
    ask_for_csv : callable
        Called when the table is to be saved.
    """

    def __init__(self, dock: Dock, *, ask_for_csv: Callable[[], None]) -> None:
        super().__init__()
        self._dock = dock
        self._voted: Voted | None = None
        self._added: dict[str, Layer] = {}
        self.form = ExperimentersForm(dock.viewer)
        self.results = ExperimentersResults()
        self.results.setVisible(False)
        self.majority_button = button(
            "Add majority vote",
            "Add a labels layer of what most have painted; a tie goes to the lowest "
            "label",
            self.add_majority,
        )
        self.agreement_button = button(
            "Add agreement",
            "Add an image layer of the share of those who painted a voxel that agree "
            "with the majority: 255 where all do, 0 where nobody has painted",
            self.add_agreement,
        )
        self.copy_button = button(
            "Copy table", "Copy all numbers, to paste into a spreadsheet", self.copy
        )
        self.csv_button = button("Save CSV…", "Save all numbers", ask_for_csv)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        column.addWidget(self.results)
        for pair in (
            (self.majority_button, self.agreement_button),
            (self.copy_button, self.csv_button),
        ):
            row = QHBoxLayout()
            for made in pair:
                row.addWidget(made)
            column.addLayout(row)

    @property
    def compared(self) -> ExperimentersCompared | None:
        """What is shown."""
        return None if self._voted is None else self._voted.compared

    def compare(self) -> None:
        """Compare the checked layers, or say why they cannot be."""
        try:
            asked = self.form.request()
        except EXPECTED as error:
            self._dock.say(str(error), "error")
            return
        self._voted = None
        self._added.clear()
        self.results.clear()
        self._dock.begin("Compare experimenters", asked.events)
        self._dock.progress.begin("Comparing …")

    def handle(self, event: Any) -> None:
        """Show how far a comparison is, or its end."""
        match event:
            case Comparing():
                self._dock.progress.show_share(event.share, "Comparing")
            case Voted():
                self._voted = event
                self.results.show_compared(event.compared)

    def update_buttons(self) -> None:
        """Show the buttons that make sense now."""
        is_there = self._voted is not None
        self.results.setVisible(is_there)
        for made in (
            self.majority_button,
            self.agreement_button,
            self.copy_button,
            self.csv_button,
        ):
            made.setVisible(is_there)
            made.setEnabled(not self._dock.is_busy)

    # ---- layers ----

    def add_majority(self) -> None:
        """Add the majority vote as a labels layer; one that is there is shown again."""
        if self._voted is not None:
            options = appearance(self._voted.compared.phases)
            options["metadata"] = marked("majority vote of experimenters")
            self._add("majority", Labels, self._voted, options)

    def add_agreement(self) -> None:
        """Add the agreement as an image layer; one that is there is shown again."""
        if self._voted is not None:
            options = {
                "colormap": "viridis",
                "contrast_limits": (0, 255),
                "metadata": marked("agreement of experimenters"),
            }
            self._add("agreement", Image, self._voted, options)

    def _add(
        self, name: str, kind: type[Layer], voted: Voted, options: dict[str, Any]
    ) -> None:
        layers = self._dock.viewer.layers
        layer = self._added.get(name)
        if layer is None or layer not in layers:
            array = getattr(voted, name)
            # Other than 3D it would become lazy, and could not be painted in.
            array = array if voted.n_axes == 3 else np.asarray(array)
            layer = kind(
                fitted(array, voted.n_axes),
                name=f"{name} of {len(voted.compared.names)}",
                **options,
                **voted.place,
            )
            layers.append(layer)
            self._added[name] = layer
        layer.visible = True

    # ---- what can be taken along ----

    def copy(self) -> None:
        """Copy all numbers as tables with tabs."""
        clipboard = QApplication.clipboard()
        if self.compared is None or clipboard is None:
            return
        clipboard.setText(as_text_table(self.compared))
        self._dock.say("Copied; paste it into a spreadsheet", "done")
