"""The slices of a painting: what is painted, their roles, and how to go to them."""

from collections.abc import Callable, Mapping
from functools import partial

from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_lrcs.annotation.annotation import Role
from napari_lrcs.annotation.suggested_slices import suggest_slices
from napari_lrcs.plugin.label.slices_table import (
    SlicesTable,
    annotated,
    gaps,
    next_step,
)
from napari_lrcs.plugin.painting.painting import Painting, propagated_slices
from napari_lrcs.plugin.parts.keys import NEXT, PREVIOUS, canvas_button, with_keys
from napari_lrcs.plugin.parts.layers.current_slice import (
    go_to,
    show_across,
    slice_in_view,
)
from napari_lrcs.plugin.parts.workers import EXPECTED

_N_SLICES = 3
"""Slices to annotate at first: to train on, to validate with and to test with."""

_CORRECT = "Correct what the network has filled here, then give the slice a role."

_ROLES: Mapping[Role | None, tuple[str, str]] = {
    "train": ("Train", "Train on the slice in view"),
    "validation": ("Validation", "Use the slice in view to choose the best epoch"),
    "test": ("Test", "Keep the slice in view for the final scores"),
    None: ("None", "Do not use the slice in view"),
}


class SlicesPart(QWidget):
    """The table of slices, and the buttons for the slice in view."""

    failed = Signal(str)
    """A role could not be saved; why."""

    reported = Signal(str)
    """Why no slice is suggested."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._painting: Painting | None = None
        self._suggested: frozenset[int] = frozenset()
        self._in_view = QLabel()
        self.table = SlicesTable()
        self.table.slice_activated.connect(self.go_to)
        self._gaps = QLabel()
        self._gaps.setWordWrap(True)
        self._steps = self._step_buttons()
        self._roles: dict[Role | None, QPushButton] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._in_view)
        layout.addLayout(self._role_buttons())
        layout.addWidget(self.table)
        layout.addWidget(self._gaps)
        layout.addWidget(self._steps)

    def _role_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(2)
        for role, (title, tooltip) in _ROLES.items():
            made = _slim(title, tooltip, partial(self.mark, role))
            made.setCheckable(True)
            self._roles[role] = made
            row.addWidget(made)
        return row

    def _step_buttons(self) -> QWidget:
        part = QWidget()
        row = QHBoxLayout(part)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        apart = "Add slices that lie far apart to the table, and go to the first"
        row.addWidget(_slim("Suggest slices", apart, self.suggest))
        self._back = _slim("◀ Previous", "", lambda: self.step(-1))
        self._ahead = _slim("Next ▶", "", lambda: self.step(1))
        row.addWidget(self._back)
        row.addWidget(self._ahead)
        self.show_keys()
        return part

    @property
    def step_actions(self) -> dict[str, Callable[[], None]]:
        """What the keys for going between slices do."""
        return {NEXT: lambda: self.step(1), PREVIOUS: lambda: self.step(-1)}

    def show_keys(self) -> None:
        """Show in the tooltips which keys go between slices."""
        self._back.setToolTip(with_keys("Previous slice of the table", PREVIOUS))
        self._ahead.setToolTip(with_keys("Next slice of the table", NEXT))

    @property
    def index(self) -> int | None:
        """The slice in view; None if the view shows none."""
        painting = self._painting
        if painting is None:
            return None
        return slice_in_view(self._viewer, painting.layer, painting.axis)

    @property
    def next_step(self) -> str:
        """What to do next; empty without a painting."""
        if self._painting is None:
            return ""
        if self.index in propagated_slices(self._painting):
            return _CORRECT
        return next_step(self._painting, self.index)

    @property
    def gaps(self) -> str:
        """What is missing, as it is shown."""
        return str(self._gaps.text())

    def show_painting(self, painting: Painting | None) -> None:
        """Show the slices of a painting as they are now."""
        if painting is not self._painting:
            self._suggested = frozenset()
        self._painting = painting
        if painting is not None:
            self._suggested -= {*painting.painted(), *painting.roles}
            self._gaps.setText("\n".join(gaps(painting)))
            self._gaps.setVisible(bool(self._gaps.text()))
            self._steps.setVisible(painting.n_slices > 1)
        self.table.show_painting(painting, suggested=self._suggested)
        self.show_view()

    def show_view(self) -> None:
        """Show which slice is in view."""
        painting, index = self._painting, self.index
        self.table.mark(index)
        if painting is None:
            return
        if index is None:
            text = f"No slice across {painting.axis} is in view; click Next."
        elif painting.n_slices == 1:
            text = "This image is for:"
        else:
            text = f"Slice {painting.axis} = {index} is for:"
        self._in_view.setText(text)
        role = None if index is None else painting.roles.get(index)
        for other, made in self._roles.items():
            made.setChecked(index is not None and other == role)
            made.setEnabled(index is not None)

    def mark(self, role: Role | None) -> None:
        """Give the slice in view a role, and save the painting."""
        painting, index = self._painting, self.index
        if painting is not None and index is not None:
            try:
                painting.set_role(index, role)
            except EXPECTED as error:
                self.failed.emit(str(error))
        self.show_view()

    def suggest(self) -> None:
        """Add slices to the table that lie far apart, and go to the first of them."""
        painting = self._painting
        if painting is None:
            return
        taken = annotated(painting)
        n = max(1, _N_SLICES - len(taken))
        self._suggested = frozenset(suggest_slices(painting.n_slices, n=n, taken=taken))
        self.show_painting(painting)
        if self._suggested:
            self.go_to(min(self._suggested))
        else:
            self.reported.emit(
                "All slices are in the table: mark some for validation and test."
            )

    def find_painted(self) -> None:
        """Go to a slice of the table, unless one is in view."""
        if self.index not in self.table.indices:
            self.step(1)

    def step(self, direction: int) -> None:
        """Go to the next slice of the table, or with -1 to the one before."""
        painting = self._painting
        if painting is None:
            return
        show_across(self._viewer, painting.layer, painting.axis)
        if not (indices := self.table.indices):
            return
        index = self.index
        now = -1 if index is None else index
        ahead = [i for i in indices if (i - now) * direction > 0] or indices
        self.go_to(ahead[0] if direction > 0 else ahead[-1])

    def go_to(self, index: int) -> None:
        """Show a slice."""
        if (painting := self._painting) is not None:
            go_to(self._viewer, painting.layer, painting.axis, index)


def _slim(text: str, tooltip: str, on_click: Callable[[], None]) -> QPushButton:
    made = canvas_button(text, tooltip, on_click)
    made.setStyleSheet("padding: 3px")
    return made
