"""The part of the dock "Compare segmentations" that takes several experimenters."""

from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_lrcs.comparison.experimenter_tables import as_text_table
from napari_lrcs.comparison.experimenters import ExperimentersCompared
from napari_lrcs.plugin.compare.experimenters_form import (
    ExperimentersForm,
    Voted,
)
from napari_lrcs.plugin.compare.experimenters_results import ExperimentersResults
from napari_lrcs.plugin.parts.connections import Outdated
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import (
    appearance,
    match_ndim,
    selection_kept,
)
from napari_lrcs.plugin.parts.widgets import button, hbox, vbox


class ExperimentersPart(QWidget):
    """Compares several layers, shows the numbers, and adds what they agree on.

    Parameters
    ----------
    viewer : Viewer
        The viewer of the layers.
    """

    compare_requested = Signal(object)
    """Emitted with the function that makes the events of a comparison."""
    copy_requested = Signal(str)
    """Emitted with a table with tabs."""
    csv_requested = Signal()
    outdated = Signal()
    """Labels have changed since they were compared."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._layers = viewer.layers
        self._voted: Voted | None = None
        self._outdated = Outdated(viewer.layers, self.outdated.emit)
        self._added: dict[str, Layer] = {}
        self.form = ExperimentersForm(viewer)
        self.connections = [*self.form.connections, self._outdated]
        self.results = ExperimentersResults()
        self.results.setVisible(False)
        self.majority_button = button(
            "Add majority vote",
            "Add a labels layer of what most experimenters painted; a tie goes to the "
            "lowest label",
            self.add_majority,
        )
        self.agreement_button = button(
            "Add agreement",
            "Add an image layer of the share of experimenters who agree with the "
            "majority: 255 where all of them do, 0 where nobody has painted",
            self.add_agreement,
        )
        self.copy_button = button(
            "Copy table", "Copy all numbers, to paste into a spreadsheet", self.copy
        )
        self.csv_button = button(
            "Save CSV…", "Save all numbers", self.csv_requested.emit
        )
        layout = vbox(self, self.form, self.results)
        layout.addLayout(hbox(self.majority_button, self.agreement_button))
        layout.addLayout(hbox(self.copy_button, self.csv_button))

    @property
    def compared(self) -> ExperimentersCompared | None:
        """What is shown."""
        return None if self._voted is None else self._voted.compared

    @property
    def warning(self) -> str:
        """What has changed since it was compared, and what to do; empty if nothing."""
        if self._voted is None or not self._outdated.name:
            return ""
        return self._outdated.warning(
            "compared", remedy="press Compare for the numbers as they are now"
        )

    def compare(self) -> None:
        """Request a comparison of the checked layers.

        Raises
        ------
        ValueError, VolumeError
            If they cannot be compared; says why.
        """
        request = self.form.request()
        self._voted = None
        self._outdated.follow(self.form.compared_layers)
        self._added.clear()
        self.results.clear()
        self.compare_requested.emit(request.events)

    def show_voted(self, voted: Voted) -> None:
        """Show a comparison that has ended."""
        self._voted = voted
        self.results.show_compared(voted.compared)

    def update_buttons(self, *, is_busy: bool) -> None:
        """Show the buttons that make sense now."""
        is_there = self._voted is not None
        is_current = not self.warning
        self.results.setVisible(is_there)
        self.results.setEnabled(is_current)
        for made in (
            self.majority_button,
            self.agreement_button,
            self.copy_button,
            self.csv_button,
        ):
            made.setVisible(is_there)
            made.setEnabled(not is_busy and is_current)

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
        layer = self._added.get(name)
        if layer is None or layer not in self._layers:
            array = getattr(voted, name)
            # Other than 3D it would become lazy, and could not be painted in.
            array = array if voted.n_axes == 3 else np.asarray(array)
            layer = kind(
                match_ndim(array, voted.n_axes),
                name=f"{name} of {len(voted.compared.names)}",
                **options,
                **voted.place,
            )
            with selection_kept(self._layers):
                self._layers.append(layer)
            self._added[name] = layer
        layer.visible = True

    # ---- what can be taken along ----

    def copy(self) -> None:
        """Copy all numbers as tables with tabs."""
        if self.compared is not None:
            self.copy_requested.emit(as_text_table(self.compared))
