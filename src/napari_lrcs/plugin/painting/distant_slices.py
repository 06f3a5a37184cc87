"""A warning where the slices of an image lie too far apart to be neighbours."""

from collections.abc import Hashable

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_lrcs.config import Axis
from napari_lrcs.errors import LrcsError
from napari_lrcs.plugin.parts.layers.layers import n_slices_of, named_by_file
from napari_lrcs.plugin.parts.widgets import colour
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.preprocessing.neighbours import Resemblance, measure_resemblance


class DistantSlicesLine(QLabel):
    """A sentence that is shown while slices do not resemble their neighbours.

    Parameters
    ----------
    advice : str
        What follows from it, worded to end the sentence.
    """

    compared = Signal()
    """Emitted once the slices of the image are compared."""

    def __init__(self, advice: str) -> None:
        super().__init__()
        self._advice = advice
        self._followed: tuple[Hashable, Axis] | None = None
        self._reader = BackgroundReader("Comparing slices", self)
        self._reader.answered.connect(self._on_compared)
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        colour(self, "warning")
        self._show(None)

    def follow(self, image: Image | None, axis: Axis = "z") -> None:
        """Compare the slices of another image, in a thread."""
        followed = None if image is None else (image.unique_id, axis)
        if followed == self._followed:
            return
        self._followed = followed
        self._reader.cancel()
        self._show(None)
        if image is None or n_slices_of(image, axis) == 1:
            return
        try:
            volume = named_by_file(image)
        except LrcsError:  # it is in colour
            return
        self._reader.read(lambda: measure_resemblance(volume, axis=axis))

    def disconnect_events(self) -> None:
        """Ignore what is still being compared."""
        self._reader.cancel()

    def _on_compared(self, found: Resemblance | None) -> None:
        self._show(found)
        self.compared.emit()

    def _show(self, found: Resemblance | None) -> None:
        is_shown = found is not None and not found.is_alike
        name = "" if found is None else found.volume
        self.setText(
            f"Neighbouring slices of {name} resemble each other hardly more than "
            f"distant ones: {self._advice}"
        )
        self.setVisible(is_shown)
