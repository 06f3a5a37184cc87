"""Tell that slices were painted while a network is trained on what was there before."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.connections import Connections, Replaceable
from napari_lrcs.plugin.parts.widgets import button, colour, vbox


class NewStrokes(QWidget):
    """A line with a button that restarts a training with the new strokes."""

    restart_requested = Signal()
    """Go on from the weights of the training, with the painting as it is now."""

    def __init__(self) -> None:
        super().__init__()
        self._followed = Replaceable()
        self._painting: Painting | None = None
        self._before: Mapping[int, NDArray[np.int64]] = {}
        self._text = QLabel()
        self._text.setWordWrap(True)
        colour(self._text, "warning")
        self._button = button(
            "",
            "Stop, and continue from the present weights with the painting as it is "
            "now; the run so far is kept",
            self.restart_requested.emit,
        )
        vbox(self, self._text, self._button)
        self.follow(None)

    @property
    def text(self) -> str:
        """The sentence that is shown; empty while nothing has changed."""
        return str(self._text.text())

    def follow(self, painting: Painting | None) -> None:
        """Compare a painting from now on with what it is now."""
        self._painting = painting
        self._before = {} if painting is None else _counts(painting)
        self._followed.replace(
            None if painting is None else Connections((painting.changed, self._show))
        )
        self._show()

    def disconnect_events(self) -> None:
        """Ignore the painting; Qt may have deleted the widgets."""
        self._painting = None
        self._followed.disconnect_events()

    def _show(self) -> None:
        now = {} if self._painting is None else _counts(self._painting)
        n = sum(
            not np.array_equal(now.get(z, ()), self._before.get(z, ()))
            for z in {*now, *self._before}
        )
        slices, them = ("1 slice has", "it") if n == 1 else (f"{n} slices have", "them")
        self._text.setText(f"{slices} changed since this training began." if n else "")
        self._button.setText(f"Restart with {them}")
        self.setVisible(n > 0)


def _counts(painting: Painting) -> dict[int, NDArray[np.int64]]:
    return {z: np.array(counts) for z, counts in painting.painted().items()}
