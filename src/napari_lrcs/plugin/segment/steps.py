"""The steps of the way from an image to numbers, and the bar that shows them."""

from collections.abc import Collection
from typing import Literal, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

Step = Literal["Label", "Train", "Predict", "Measure"]
"""A step, by the name on its button."""

STEPS: tuple[Step, ...] = get_args(Step)

_TOOLTIPS = {
    "Label": "Paint the phases on one or more slices",
    "Train": "Train a network on the painting",
    "Predict": "Predict the whole volume with the network",
    "Measure": "Measure the phases of the result",
}


class StepBar(QWidget):
    """A button for each step: which one is in sight, and which are done."""

    requested = Signal(str)
    """Emitted with the step that the user wants to see."""

    def __init__(self) -> None:
        super().__init__()
        self._group = QButtonGroup(self)
        self._buttons: dict[Step, QPushButton] = {}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for step in STEPS:
            made = QPushButton(step)
            made.setCheckable(True)
            made.setToolTip(_TOOLTIPS[step])
            made.clicked.connect(
                lambda _checked=False, step=step: self.requested.emit(step)
            )
            self._group.addButton(made)
            self._buttons[step] = made
            layout.addWidget(made)

    def show_steps(self, current: Step, done: Collection[Step]) -> None:
        """Show which step is in sight, and tick those that are done."""
        for number, (step, made) in enumerate(self._buttons.items(), start=1):
            made.setText(f"{'✓' if step in done else number} {step}")
            made.setChecked(step == current)

    def __getitem__(self, step: Step) -> QPushButton:
        return self._buttons[step]
