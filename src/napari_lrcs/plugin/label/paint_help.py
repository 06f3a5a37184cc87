"""Help to paint: filling a slice, the field of view, and pairs of files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_lrcs.inference.fill import Filled, SliceToFill
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.plugin.label.fill import FillPanel
from napari_lrcs.plugin.label.pairs import (
    Imported,
    PairsPanel,
    read_pairs,
    write_pairs,
)
from napari_lrcs.plugin.label.whole_volume import WholeVolume
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.field_of_view import FieldOfView
from napari_lrcs.plugin.parts.forms import Fold
from napari_lrcs.plugin.parts.layers import labels_of, volume_of
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.plugin.parts.workers import EXPECTED


class HelpPart(QWidget):
    """What helps to paint, folded away.

    Parameters
    ----------
    viewer : Viewer
    image : callable
        Returns the image that is painted, or says that there is none.
    index : callable
        Returns the slice in view, if there is one.
    """

    work = Signal(str, object)
    """A job to be done: its name, and the generator that does it."""

    stop_wanted = Signal()
    """The job is to end."""

    said = Signal(str, str)
    """A sentence and its kind, as `Dock.show_message` takes them."""

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
        self._fill_button = button(
            "Fill this slice",
            "A first guess, to be corrected by hand; Ctrl+Z takes it back",
            self.fill_slice,
        )
        self._segment_button = button("", "", self.segment_volume)
        for made in (self._fill_button, self._segment_button):
            made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.fill.add_buttons(self._fill_button, self._segment_button)
        self._name_segment_button()
        # isinstance takes a union, though it is no type.
        either = cast("type[Layer]", Image | Labels)
        self.field_of_view = FieldOfView(
            viewer.layers, offered=either, none="Choose a layer…"
        )
        self.pairs = PairsPanel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Fold("Help to paint", self.fill))
        layout.addWidget(Fold("Field of view", self.field_of_view))
        layout.addWidget(Fold("Import and export", self.pairs))
        self.fill.networks.failed.connect(self._show_error)
        self.field_of_view.requested.connect(self.set_mask)
        self.pairs.export_wanted.connect(self.export_pairs)
        self.pairs.import_wanted.connect(self.import_pairs)

    def show_painting(self, painting: Painting | None) -> None:
        """Help with another painting, or the same as it is now."""
        self._painting = painting
        if painting is not None:
            self.field_of_view.show_mask(painting.mask)

    def allow(self, *, is_free: bool) -> None:
        """Allow what can be done now."""
        self.pairs.setEnabled(is_free)
        self._fill_button.setEnabled(is_free and self._index() is not None)
        self._is_segmenting &= not is_free
        self._segment_button.setEnabled(is_free or self._is_segmenting)
        self._name_segment_button()

    def fill_slice(self) -> None:
        """Fill the slice in view, as the panel says."""
        painting, image = self._painting, self._image()
        if painting is None or image is None:
            return
        index = self._index()
        if index is None:
            return
        try:
            events = self.fill.events(self._target(painting, image, index))
        except EXPECTED as error:
            self.said.emit(str(error), "error")
            return
        self.work.emit("Filling a slice", events)

    def segment_volume(self) -> None:
        """Segment all slices, as the panel says; while that runs, stop it."""
        if self._is_segmenting:
            self.stop_wanted.emit()
            return
        painting, image = self._painting, self._image()
        if painting is None or image is None:
            return
        try:
            task = self.fill.task(self._target(painting, image, 0))
            whole = WholeVolume(self._viewer, image, task, name=self.fill.title)
        except EXPECTED as error:
            self.said.emit(str(error), "error")
            return
        self._is_segmenting = True
        self.work.emit("Segmenting the volume", whole.events())

    def _show_error(self, text: str) -> None:
        self.said.emit(text, "error")

    def _name_segment_button(self) -> None:
        is_running = self._is_segmenting
        self._segment_button.setText("Stop" if is_running else "Segment whole volume")
        self._segment_button.setToolTip(
            "End here; nothing is kept"
            if is_running
            else "Label all slices this way in a new layer; your painting stays"
        )

    def _target(self, painting: Painting, image: Image, index: int) -> SliceToFill:
        painting.save()  # and count the last strokes
        volume = volume_of(image)
        if volume.shape != (expected := painting.state.image.shape):
            raise ValueError(
                f"{image.name} is {volume.shape} (z, y, x), the painting is of an "
                f"image of {expected}; choose that image"
            )
        return SliceToFill(
            image=volume,
            axis=painting.axis,
            index=index,
            labels=painting.plane(index),
            phases=painting.phases,
            mask=painting.mask_volume(volume.shape),
            only_unpainted=self.fill.only_unpainted,
            painting=labels_of(painting.layer),
            learnt=tuple(
                i
                for i in painting.painted()
                if painting.roles.get(i) not in ("validation", "test")
            ),
        )

    def set_mask(self, mask: Any) -> None:
        """Take a field of view."""
        painting = self._painting
        if painting is None:
            return
        try:
            painting.mask = mask
        except EXPECTED as error:
            self.said.emit(str(error), "error")
        self.field_of_view.show_mask(painting.mask)

    def export_pairs(self, folder: Path) -> None:
        """Write the painted slices as pairs."""
        painting, image = self._painting, self._image()
        if painting is None or image is None:
            return
        try:
            painting.save()  # and count the last strokes
        except EXPECTED as error:
            self.said.emit(str(error), "error")
            return
        events = write_pairs(
            folder,
            volume_of(image),
            volume_of(painting.layer),
            indices=list(painting.painted()),
            axis=painting.axis,
        )
        self.work.emit("Exporting pairs", events)

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
        self.work.emit("Importing pairs", events)


def take(painting: Painting, event: Filled | Imported) -> None:
    """Put what a job has made into a painting; what was painted meanwhile stays."""
    current = painting.plane(event.index)
    if isinstance(event, Filled):
        painting.put(event.index, event.merged(current))
    else:
        free = current == UNPAINTED
        painting.put(event.index, np.where(free, event.labels, current))
