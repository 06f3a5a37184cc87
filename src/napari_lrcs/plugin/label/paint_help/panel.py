"""Help to paint: fill a slice, set the field of view, import and export pairs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_lrcs.annotation.spots import Spot
from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.inference.painting.fill import Filled, SliceToFill
from napari_lrcs.inference.painting.propagate import Propagated
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.plugin.label.paint_help.fill import FillPanel
from napari_lrcs.plugin.label.paint_help.guide import Guide
from napari_lrcs.plugin.label.paint_help.pairs import (
    Imported,
    PairsPanel,
    read_pairs,
    write_pairs,
)
from napari_lrcs.plugin.label.paint_help.targets import slice_to_fill
from napari_lrcs.plugin.label.paint_help.whole_volume import WholeVolume
from napari_lrcs.plugin.painting.field_of_view import FieldOfView
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.forms import Fold
from napari_lrcs.plugin.parts.keys import canvas_button, keys_hint
from napari_lrcs.plugin.parts.layers.layers import volume_of
from napari_lrcs.plugin.parts.workers import EXPECTED, Events


class PaintHelp(QWidget):
    """What helps to paint, folded away; below it, which keys do what.

    Parameters
    ----------
    image : callable
        Returns the image that is painted, or warns that there is none.
    index : callable
        Returns the slice in view, if there is one.
    """

    job_requested = Signal(str, object)
    """Name of a job, and the generator that does it."""

    stop_requested = Signal()
    """The job is to end."""

    failed = Signal(str)
    """Something cannot be done; why."""

    def __init__(
        self,
        viewer: Viewer,
        *,
        image: Callable[[], Image | None],
        index: Callable[[], int | None],
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._painting: Painting | None = None
        self._is_segmenting = False
        self._image, self._index = image, index
        self.fill = FillPanel()
        self._fill_button = canvas_button(
            "Fill this slice",
            "A first guess to correct by hand; Ctrl+Z undoes it",
            self.fill_slice,
        )
        self._segment_button = canvas_button("", "", self.segment_volume)
        self.fill.add_buttons(self._fill_button, self._segment_button)
        self._name_segment_button()
        self.guide = Guide(
            viewer, image=image, index=index, networks=self.fill.networks
        )
        # isinstance takes a union, although it is not a type.
        either = cast("type[Layer]", Image | Labels)
        self.field_of_view = FieldOfView(
            viewer.layers, offered=either, none="Choose a layer…"
        )
        self.pairs = PairsPanel()
        self._keys_text = QLabel()
        self._keys_text.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.guide)
        layout.addWidget(Fold("Help to paint", self.fill))
        layout.addWidget(Fold("Field of view", self.field_of_view))
        layout.addWidget(Fold("Import and export", self.pairs))
        layout.addWidget(self._keys_text)
        self.fill.networks.failed.connect(self.failed)
        self.guide.failed.connect(self.failed)
        self.guide.job_requested.connect(self.job_requested)
        self.field_of_view.requested.connect(self.set_mask)
        self.pairs.export_requested.connect(self.export_pairs)
        self.pairs.import_requested.connect(self.import_pairs)

    def show_painting(self, painting: Painting | None) -> None:
        """Help with another painting, or the same as it is now."""
        self._painting = painting
        self.guide.show_painting(painting)
        if painting is not None:
            self.field_of_view.show_mask(painting.mask)
            self.show_keys()

    def show_keys(self) -> None:
        """Show which keys do what."""
        painting = self._painting
        self.guide.show_keys()
        if painting is not None:
            n_phases = len(painting.phases)
            self._keys_text.setText(keys_hint(n_phases, n_slices=painting.n_slices))

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        self.field_of_view.layers.disconnect_events()
        self.fill.networks.disconnect_events()
        self.guide.disconnect_events()

    def enable(self, *, is_free: bool) -> None:
        """Enable what can be done now: `is_free` is False while a job runs."""
        self.pairs.setEnabled(is_free)
        self.guide.enable(is_free=is_free)
        self._fill_button.setEnabled(is_free and self._index() is not None)
        self._is_segmenting &= not is_free
        self._segment_button.setEnabled(is_free or self._is_segmenting)
        self._name_segment_button()

    def show_made(
        self, painting: Painting, event: Filled | Imported | Propagated | Spot
    ) -> None:
        """Put what a job has made into a painting, or go where it says."""
        match event:
            case Spot():
                self.guide.show_spot(event, painting)
            case Propagated():
                self.guide.merge(event, painting)
            case _:
                merge(painting, event)

    def fill_slice(self) -> None:
        """Fill the slice in view, as the form says."""
        index = self._index()
        if index is not None:
            self._request(
                "Filling a slice",
                lambda painting, image: self.fill.events(
                    self._target(painting, image, index)
                ),
            )

    def segment_volume(self) -> None:
        """Segment all slices, as the form says; while that runs, stop it."""
        if self._is_segmenting:
            self.stop_requested.emit()
        else:
            self._request("Segmenting the volume", self._segmenting)

    def _segmenting(self, painting: Painting, image: Image) -> Events:
        task = self.fill.task(self._target(painting, image, 0))
        whole = WholeVolume(self._viewer, image, task, name=self.fill.title)
        self._is_segmenting = True
        return whole.events()

    def _request(
        self, name: str, make: Callable[[Painting, Image], Iterator[Any]]
    ) -> None:
        """Request a job on the painting and its image, or say why it cannot be done."""
        painting, image = self._painting, self._image()
        if painting is None or image is None:
            return
        try:
            events = make(painting, image)
        except EXPECTED as error:
            self.failed.emit(str(error))
        else:
            self.job_requested.emit(name, events)

    def _name_segment_button(self) -> None:
        is_running = self._is_segmenting
        self._segment_button.setText("Stop" if is_running else "Segment whole volume")
        self._segment_button.setToolTip(
            "Stop; nothing is kept"
            if is_running
            else "Label all slices this way in a new layer, not in your painting"
        )

    def _target(self, painting: Painting, image: Image, index: int) -> SliceToFill:
        keeps = self.fill.only_unpainted
        return slice_to_fill(painting, image, index, only_unpainted=keeps)

    def set_mask(self, mask: Any) -> None:
        """Give the painting a field of view."""
        painting = self._painting
        if painting is None:
            return
        try:
            painting.mask = mask
        except EXPECTED as error:
            self.failed.emit(str(error))
        self.field_of_view.show_mask(painting.mask)

    def export_pairs(self, folder: Path) -> None:
        """Write the painted slices as pairs."""

        def export(painting: Painting, image: Image) -> Iterator[Any]:
            painting.save()  # and count the last strokes
            return write_pairs(
                folder,
                volume_of(image),
                volume_of(painting.layer),
                indices=list(painting.painted()),
                axis=painting.axis,
            )

        self._request("Exporting pairs", export)

    def import_pairs(self, folder: Path, first_label: int = 1) -> None:
        """Read pairs into the painting; voxels that are painted stay as they are."""
        if (painting := self._painting) is None:
            return
        events = read_pairs(
            folder,
            shape=painting.state.image.shape,
            axis=painting.axis,
            first_label=first_label,
        )
        self.job_requested.emit("Importing pairs", events)


def merge(painting: Painting, event: Filled | Imported) -> None:
    """Merge what a job has made into a painting; what was painted meanwhile stays."""
    if isinstance(event, Filled):
        painting.set_plane(event.index, event.merged)
        return
    imported = event.labels

    def merged(current: LabelArray) -> LabelArray:
        return np.where(current == UNPAINTED, imported, current)

    painting.set_plane(event.index, merged)
