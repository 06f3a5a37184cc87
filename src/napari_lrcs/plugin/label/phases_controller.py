"""Carry out what the user wants of the phases of a painting."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from napari.layers import Image
from psygnal import Signal
from qtpy.QtWidgets import QMessageBox

from napari_lrcs.phases import ELECTRODE, UNPAINTED, PhaseTable
from napari_lrcs.plugin.label.painting_controller import PaintingController
from napari_lrcs.plugin.label.phases import PhaseEditor
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.keys import PHASE_ACTIONS
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.parts.workers import EXPECTED


class PhasesController:
    """Paints with a phase, and renames, adds, removes and reorders phases.

    Parameters
    ----------
    editor : PhaseEditor
        The table of phases. While it is disabled, nothing is renumbered.
    paintings : PaintingController
        Knows the chosen painting; without one, only the table is edited.
    """

    edited = Signal()
    """The phases are edited, or are being renumbered."""

    failed = Signal(str)
    """The phases could not be edited; why."""

    def __init__(self, editor: PhaseEditor, paintings: PaintingController) -> None:
        self._editor, self._paintings = editor, paintings
        self._place: str | None = None
        """Folder of the image that the phases are of."""
        editor.edit_requested.connect(self.edit)
        editor.selected.connect(self.select)
        paintings.phase_selected.connect(editor.select)

    @property
    def actions(self) -> dict[str, Callable[[], None]]:
        """What the keys of each phase do."""
        labels = enumerate(PHASE_ACTIONS, start=1)
        return {action: partial(self.paint_with, label) for label, action in labels}

    def refresh(self) -> None:
        """Show the phases of the chosen painting."""
        painting = self._paintings.painting
        if painting is not None and self._editor.phases != painting.phases:
            self._editor.phases = painting.phases
            self._editor.select(int(painting.layer.selected_label))

    def settings(self) -> dict[str, Any]:
        """Return the phases, and of which image they are, to be kept."""
        return {"phases": self._editor.phases.to_dicts(), "place": self._place}

    def offer_for(self, image: Image | None, kept: Mapping[str, Any]) -> None:
        """Offer the phases of an image, and not those of the image before.

        Parameters
        ----------
        image : Image or None
            Image that is to be painted.
        kept : mapping
            What `settings` returned in an earlier session.
        """
        place = None if image is None else str(workspace_for(image).path)
        if image is None or place == self._place:
            return
        known = (place, None) if self._place is None else (place,)
        self._place = place
        painting = self._paintings.painting
        if painting is None or not painting.is_of(image):
            is_known = kept.get("place") in known
            self._editor.phases = kept_phases(kept if is_known else {})

    def paint_with(self, label: int) -> None:
        """Paint with a phase, whatever the mouse does and whichever layer is active."""
        painting = self._paintings.painting
        if painting is None or label > len(painting.phases):
            return
        self.select(label)
        self._paintings.viewer.layers.selection.active = painting.layer
        if painting.layer.mode in ("pan_zoom", "erase", "pick", "transform"):
            painting.layer.mode = "paint"

    def select(self, label: int) -> None:
        """Give the brush the label of a phase."""
        if self._paintings.painting is not None:
            self._paintings.painting.layer.selected_label = label

    def edit(self, phases: PhaseTable, mapping: Mapping[int, int]) -> None:
        """Replace the phases; ask first if painted voxels would be erased.

        Parameters
        ----------
        phases : PhaseTable
            The new phases.
        mapping : mapping of int to int
            New labels by old ones where they change; 0 removes a phase.
        """
        painting = self._paintings.painting
        if painting is None:
            self._editor.phases = phases
            return
        try:
            if not mapping:
                painting.rename(phases)
            elif self._editor.isEnabled() and self._may_renumber(painting, mapping):
                painting.renumber(mapping, phases=phases)
        except EXPECTED as error:
            self.failed.emit(str(error))
        self._editor.phases = painting.phases
        self.edited.emit()

    def confirm(self, question: str) -> bool:
        """Ask the user whether to go on."""
        answer = QMessageBox.question(self._editor, "Change the phases?", question)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _may_renumber(self, painting: Painting, mapping: Mapping[int, int]) -> bool:
        question = _what_is_lost(painting, mapping)
        return not question or self.confirm(question)


def _what_is_lost(painting: Painting, mapping: Mapping[int, int]) -> str:
    """Say what cannot be restored after a renumbering; empty if nothing is lost."""
    counts = painting.painted().values()
    erased = [old for old, new in mapping.items() if new == UNPAINTED]
    n_erased = sum(int(n[old - 1]) for n in counts for old in erased)
    if not any(n[old - 1] for n in counts for old in mapping):
        return ""
    text = "This clears the undo history of the painting."
    if n_erased:
        names = ", ".join(painting.phases.names[old - 1] for old in erased)
        text = (
            f"{n_erased:,} voxels are painted {names}. They will become unpainted, "
            f"and this cannot be undone. {text}"
        )
    return text


def kept_phases(settings: Mapping[str, Any]) -> PhaseTable:
    """Read the phases that settings keep; those of an electrode if there are none."""
    try:
        return PhaseTable.from_dicts(settings["phases"])
    except (KeyError, TypeError, ValueError):
        return ELECTRODE
