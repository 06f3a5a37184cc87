"""Which painting is chosen, and how paintings come into a viewer and leave it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.viewer import Viewer
from psygnal import Signal

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.annotation.workspace import rename_folder
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.label.layers import LayersPart
from napari_lrcs.plugin.label.painted_layers import adopt, new_painting, open_painting
from napari_lrcs.plugin.painting.painting import (
    Painting,
    painting_of,
    rename_painting,
)
from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.folder_tables import discard_folder
from napari_lrcs.plugin.parts.layers.current_slice import show_across
from napari_lrcs.plugin.parts.layers.layers import layer_shape, phases_shown
from napari_lrcs.plugin.parts.workers import EXPECTED
from napari_lrcs.plugin.project.found_work import FoundPainting
from napari_lrcs.plugin.project.keeper import keeper_of
from napari_lrcs.plugin.project.project import project_of


class PaintingController:
    """Begins, opens, chooses and saves the paintings of a viewer.

    A painting is locked while its layer is in the viewer, and saved when it leaves.

    Parameters
    ----------
    choices : LayersPart
        What the user has chosen.
    """

    changed = Signal()
    """Another painting is chosen, or the chosen one has changed."""

    failed = Signal(str)
    """A painting cannot be saved or locked; the reason. Empty once it is saved."""

    phase_selected = Signal(int)
    """The brush of the chosen painting has another label."""

    opened = Signal()
    """A painting has come into the viewer."""

    closed = Signal()
    """A painting has left the viewer, or its folder was renamed or deleted."""

    def __init__(self, viewer: Viewer, choices: LayersPart) -> None:
        self.painting: Painting | None = None
        """The painting of the chosen labels layer."""
        self.unsaved = ""
        """What `save` could not save, and why, in sentences."""
        self.viewer, self._choices = viewer, choices
        self._project = project_of(viewer.layers)
        self._connections = Connections()
        self._viewer_connections = Connections(
            (self._project.changed, self.follow_project),
            (viewer.layers.events.inserted, self._on_inserted),
            (viewer.layers.events.removed, self._on_removed),
        )
        choices.labels.chosen.connect(self.refresh)

    def __iter__(self) -> Iterator[Painting]:
        """Go through the paintings in the viewer."""
        paintings = map(painting_of, self.viewer.layers)
        return (painting for painting in paintings if painting is not None)

    def is_open(self, folder: PaintingFolder) -> bool:
        """Whether the painting in a folder is in the viewer."""
        return self._open_in(folder.path) is not None

    def follow_project(self) -> None:
        """Choose the labels that all docks learn from: a painting, or not yet one."""
        labels = [x for x in self.viewer.layers if isinstance(x, Labels)]
        layer = self._project.painting(labels, self._choices.image.layer)
        if layer is not None or self.painting is not None:
            self._choices.labels.layer = layer
        else:
            self.refresh()

    def refresh(self) -> None:
        """Follow the painting of the chosen labels layer."""
        self._connections.disconnect_events()
        layer = self._choices.labels.layer
        self.painting = painting = painting_of(layer)
        if painting is not None and layer is not None:
            self._project.choose("painting", layer)
            self._connections = Connections(
                (painting.changed, self.changed),
                (painting.failed, self.failed),
                (layer.events.selected_label, self._on_selected_label),
            )
        self._choices.refresh()
        self.changed.emit()

    # ---- paintings begin; each raises what `painted_layers` raises ----

    def begin(self, image: Image, phases: PhaseTable) -> None:
        """Begin a painting of an image, or go to an open one that is still empty."""
        axis = self._choices.chosen_axis
        empty = [p for p in self if p.is_of(image) and p.axis == axis and _is_empty(p)]
        if empty:
            self._choices.labels.layer = empty[-1].layer
            self._make_ready(empty[-1].layer)
        else:
            self._add(new_painting(image, phases=phases, axis=axis))

    def open(self, found: FoundPainting, image: Image) -> None:
        """Open a painting again."""
        state = found.folder.read()
        self._add(open_painting(found.folder, image, state=state, counts=found.counts))

    def adopt(self, layer: Labels, image: Image, phases: PhaseTable) -> None:
        """Make a painting of a labels layer; its own phases come first."""
        phases = phases_shown(layer) or phases
        adopt(layer, image, phases=phases, axis=self._choices.chosen_axis)
        self.refresh()
        self._make_ready(layer)

    def _add(self, layer: Labels) -> None:
        self.viewer.add_layer(layer)
        self._choices.labels.layer = layer
        self._make_ready(layer)

    def _make_ready(self, layer: Labels) -> None:
        assert self.painting is not None
        show_across(self.viewer, layer, self.painting.axis)
        self.viewer.layers.selection.active = layer
        layer.brush_size = int(np.clip(min(layer_shape(layer)[-2:]) / 40, 3, 40))
        layer.selected_label = 1
        self.phase_selected.emit(1)  # it may have been 1 while another row was chosen
        layer.mode = "paint"

    # ---- their folders ----

    def rename(self, folder: Path, name: str) -> Path:
        """Rename the folder of a painting, which may be open; see `rename_folder`."""
        painting = self._open_in(folder)
        if painting is None:
            place = rename_folder(folder, name)
        else:
            place = rename_painting(painting, name)
        self.closed.emit()
        return place

    def delete(self, folder: Path) -> None:
        """Close a painting, and delete its folder; see `discard_folder`."""
        painting = self._open_in(folder)
        if painting is not None:
            self.viewer.layers.remove(painting.layer)
        discard_folder(folder)
        self.closed.emit()

    def _open_in(self, folder: Path) -> Painting | None:
        return next((found for found in self if found.folder.path == folder), None)

    # ---- paintings end ----

    def save(self) -> None:
        """Save all paintings and what is open, with predictions in memory alone."""
        reasons = [(painting.layer.name, self._save(painting)) for painting in self]
        self.unsaved = " ".join(
            f"The last strokes in {name} cannot be saved and would be lost: "
            f"{reason.removesuffix('.')}."
            for name, reason in reasons
            if reason
        )
        keeper_of(self.viewer).save_results()

    def unlock(self) -> None:
        """Let all paintings be opened elsewhere."""
        for painting in self:
            painting.unlock()

    def disconnect_events(self) -> None:
        """Stop listening to the viewer and to the painting."""
        self._connections.disconnect_events()
        self._viewer_connections.disconnect_events()

    def _save(self, painting: Painting) -> str:
        """Save a painting; returns why that is not possible, or an empty text."""
        try:
            painting.save()
        except EXPECTED as error:
            self.failed.emit(str(error))
            return str(error)
        return ""

    def _on_inserted(self, event: Any) -> None:
        painting = painting_of(event.value)
        if painting is not None:
            try:
                painting.lock()  # it may have been removed, and come back
            except EXPECTED as error:
                self.failed.emit(str(error))
            self.opened.emit()
        elif self._choices.labels.layer is None:
            self.follow_project()

    def _on_removed(self, event: Any) -> None:
        painting = painting_of(event.value)
        if painting is not None:
            self._save(painting)
            painting.unlock()
            self.closed.emit()
        if self._choices.labels.layer is None:
            self.follow_project()

    def _on_selected_label(self, event: object) -> None:
        del event
        if self.painting is not None:
            self.phase_selected.emit(int(self.painting.layer.selected_label))


def _is_empty(painting: Painting) -> bool:
    painting.save()  # and so count the last strokes
    return not painting.painted() and not painting.roles
