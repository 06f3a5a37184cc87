"""The buttons for painting check patches, and how many are done."""

from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.check.patches import CheckPatches
from napari_lrcs.plugin.check.session import PatchSession
from napari_lrcs.plugin.parts.keys import (
    DONE,
    NEXT,
    PHASE_ACTIONS,
    PREVIOUS,
    canvas_button,
    keys_of,
    patch_keys_hint,
    with_keys,
)
from napari_lrcs.plugin.parts.widgets import hbox, swatch, vbox

_GO_BACK = partial(PatchSession.step, direction=-1)
_GO_ON = partial(PatchSession.step, direction=1)

_IN_A_ROW = 3
"""Phases whose buttons stand beside each other."""


class PatchTools(QWidget):
    """Goes between patches, and chooses the phase to paint with."""

    requested = Signal(object)
    """What the session is to do, as a function of it."""

    def __init__(self) -> None:
        super().__init__()
        self._phases: PhaseTable | None = None
        self._title, self._keys = QLabel(), QLabel()
        for label in (self._title, self._keys):
            label.setWordWrap(True)
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self.phase_buttons: list[QPushButton] = []
        """One for each phase, in the order of their labels."""
        self._build()

    def _build(self) -> None:
        self.previous_button = canvas_button(
            "◂ Previous", "", partial(self.requested.emit, _GO_BACK)
        )
        self.done_button = canvas_button(
            "Done", "", partial(self.requested.emit, PatchSession.finish_patch)
        )
        self.next_button = canvas_button(
            "Next ▸", "", partial(self.requested.emit, _GO_ON)
        )
        self.fill_button = canvas_button(
            "Fill rest",
            "Paint all that is unpainted in this patch with the chosen phase; Ctrl+Z "
            "undoes it",
            partial(self.requested.emit, PatchSession.fill_rest),
        )
        self.show_button = canvas_button(
            "Show patch",
            "Go back to this patch, and enlarge it",
            partial(self.requested.emit, PatchSession.show),
        )
        self.close_button = canvas_button(
            "Close patches",
            "Leave the patches, and show the results again; all strokes are saved",
            partial(self.requested.emit, PatchSession.close),
        )
        column = vbox(self, self._title)
        column.addLayout(self._grid)
        column.addLayout(hbox(self.fill_button, self.show_button, self.close_button))
        column.addLayout(
            hbox(
                self.previous_button,
                self.done_button,
                self.next_button,
                stretch=(1, 2, 1),
            )
        )
        column.addWidget(self._keys)

    @property
    def title(self) -> str:
        """Which patch is shown, and how many are done."""
        return str(self._title.text())

    def show_patches(self, patches: CheckPatches) -> None:
        """Show which patch is shown, which phase is chosen, and what the keys do."""
        if patches.phases != self._phases:
            self._offer(patches.phases)
        design, n = patches.check.design, len(patches.check.patches)
        place = f"{design.axis} = {design.slice_of(patches.patch)}"
        state = ", done" if patches.patch.done else ""
        self._title.setText(
            f"<b>Patch {patches.index + 1} of {n}</b> (slice {place}{state}): "
            f"{patches.n_done} of {n} done"
        )
        label = int(patches.layer.selected_label)
        for number, made in enumerate(self.phase_buttons, start=1):
            made.setChecked(number == label)
        self.fill_button.setEnabled(1 <= label <= len(patches.phases))
        self._show_keys(patches.phases)

    def _offer(self, phases: PhaseTable) -> None:
        for made in self.phase_buttons:
            made.deleteLater()
        self._phases, self.phase_buttons = phases, []
        for place, phase in enumerate(phases):
            made = canvas_button(
                phase.name,
                "",
                partial(
                    self.requested.emit,
                    partial(PatchSession.paint_with, label=phase.label),
                ),
            )
            made.setCheckable(True)
            made.setIcon(swatch(phase.colour))
            self._grid.addWidget(made, place // _IN_A_ROW, place % _IN_A_ROW)
            self.phase_buttons.append(made)

    def _show_keys(self, phases: PhaseTable) -> None:
        for made, phase, action in zip(
            self.phase_buttons, phases, PHASE_ACTIONS, strict=False
        ):
            made.setText(f"{phase.name} ({keys_of(action)})")
            made.setToolTip(with_keys(f"Paint {phase.name}", action))
        self.previous_button.setToolTip(with_keys("Previous patch", PREVIOUS))
        self.next_button.setToolTip(with_keys("Next patch", NEXT))
        self.done_button.setToolTip(
            with_keys("All of this patch is painted: go to the next one", DONE)
        )
        self._keys.setText(
            f"Paint all inside the yellow frames. {patch_keys_hint(len(phases))}"
        )
