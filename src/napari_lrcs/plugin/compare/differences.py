"""Where two compared layers differ, shown in the viewer."""

from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.comparison.compare import difference
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.metrics.overlap import mean_iou
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.compare.form import ComparedLayers
from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.layers.current_slice import go_to
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import (
    add_result,
    appearance,
    layer_shape,
    place_of,
)
from napari_lrcs.plugin.parts.widgets import button, hbox


class DifferencesPart(QWidget):
    """Buttons that show where the layers of a comparison differ.

    Parameters
    ----------
    viewer : Viewer
        It keeps the compared layers; one that is removed is forgotten, since its voxels
        may take much memory.
    """

    shown = Signal(str)
    """Emitted with a sentence on what was done with the layers."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._comparison: Comparison | None = None
        self._compared: ComparedLayers | None = None
        self._differences: Labels | None = None
        self.show_button = button(
            "Show differences",
            "Add a layer of the voxels that differ, in the colours of their phases in "
            "the target",
            self.show_differences,
        )
        self.worst_button = button(
            "Go to worst slice",
            "Show the slice with the lowest mean IoU",
            self.go_to_worst_slice,
        )
        self.setLayout(hbox(self.show_button, self.worst_button))
        self._removals = Connections((viewer.layers.events.removed, self._on_removed))

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        self._removals.disconnect_events()

    def clear(self) -> None:
        """Forget the last comparison; its layer of differences stays."""
        self._comparison = self._compared = self._differences = None

    def follow(self, compared: ComparedLayers, comparison: Comparison) -> None:
        """Show the differences of a comparison, if its layers are still there."""
        if {compared.predicted, compared.target} <= set(self._viewer.layers):
            self._compared, self._comparison = compared, comparison

    def update_buttons(self) -> None:
        """Offer what the layers allow."""
        compared = self._compared
        self.show_button.setEnabled(compared is not None)
        # A 2D layer has no other slice.
        has_slices = compared is not None and compared.target.ndim > 2
        self.worst_button.setEnabled(has_slices)

    def show_differences(self) -> None:
        """Add a layer of the voxels that differ; one that is there is shown again.

        The compared layers are hidden: the differences have the target's colours.
        """
        if self._compared is None or self._comparison is None:
            return
        if self._differences is None:
            phases = self._comparison.phases
            self._differences = differences_layer(self._compared, phases)
            layers, above = self._viewer.layers, self._compared.predicted
            add_result(layers, self._differences, above=above)
            self._differences.editable = False
        self._differences.visible = True
        self._compared.predicted.visible = self._compared.target.visible = False
        self.shown.emit(
            "The compared layers are hidden, so that the differences stand out"
        )

    def go_to_worst_slice(self) -> None:
        """Show the slice with the lowest mean IoU."""
        if self._comparison is not None:
            scored = self._comparison.per_slice
            self.go_to_slice(min(scored, key=lambda found: mean_iou(found[1]))[0])

    def go_to_slice(self, index: int) -> None:
        """Show a slice of the target."""
        if self._compared is not None and self._compared.target.ndim > 2:
            go_to(self._viewer, self._compared.target, "z", index)

    def _on_removed(self, event: Any) -> None:
        if event.value is self._differences:
            self._differences = None
        compared = self._compared
        if compared and event.value in (compared.predicted, compared.target):
            self._compared = None
            self.update_buttons()


def differences_layer(compared: ComparedLayers, phases: PhaseTable) -> Labels:
    """Make a layer that is compared slice by slice, as it is looked at."""
    request, target = compared.request, compared.target
    n_z, n_y, n_x = request.target.shape

    def compare_slice(block_id: tuple[int, ...]) -> LabelArray:
        z = block_id[0]
        painted: LabelArray = request.target.slab(z, z + 1)
        if request.mask is not None:
            painted *= request.mask.slab(z, z + 1)
        return difference(request.predicted.slab(z, z + 1), painted)

    array = da.map_blocks(
        compare_slice,
        chunks=((1,) * n_z, (n_y,), (n_x,)),
        meta=np.empty((0, 0, 0), np.uint8),
        name=f"differences-{uuid4().hex}",  # a hash would read all voxels
    )
    return Labels(
        array.reshape(layer_shape(target)),
        name=f"differences: {compared.predicted.name} vs {target.name}",
        metadata=marked("difference map"),
        **appearance(phases),
        **place_of(target),
    )
