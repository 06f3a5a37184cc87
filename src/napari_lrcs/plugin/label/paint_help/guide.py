"""What a network does for the painter: suggest a place, propagate what is painted."""

from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QSpinBox, QWidget

from napari_lrcs.annotation.spots import Spot
from napari_lrcs.inference.painting.next_spot import SpotSearch, find_spot
from napari_lrcs.inference.painting.propagate import (
    Propagated,
    propagate,
    slices_beside,
)
from napari_lrcs.plugin.label.paint_help.square import Square
from napari_lrcs.plugin.label.paint_help.targets import (
    left_out,
    slice_to_fill,
    volume_painted,
)
from napari_lrcs.plugin.painting.painting import Painting, propagate_to
from napari_lrcs.plugin.parts.forms import Fold, form_rows
from napari_lrcs.plugin.parts.keys import (
    NEXT_SPOT,
    canvas_button,
    with_keys,
    without_focus,
)
from napari_lrcs.plugin.parts.layers.layers import checks_of, labels_of
from napari_lrcs.plugin.parts.model_choice import ModelChoice
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.plugin.parts.workers import EXPECTED

_MOST_BESIDE = 5
"""Slices to either side that are propagated to: undoing keeps what all of them were."""

_NO_NETWORK = "There is no network of this image yet: train one first."

_BESIDE, _IN_VIEW = "Slices beside this one", "This slice"

_Make = Callable[[Painting, Image], Iterator[Any]]


class Guide(QWidget):
    """Buttons for what the best network of an image does for its painting.

    Parameters
    ----------
    image : callable
        Returns the image that is painted, or warns that there is none.
    index : callable
        Returns the slice in view, if there is one.
    networks : ModelChoice
        Offers the networks of the image.
    """

    job_requested = Signal(str, object)
    """Name of a job, and the generator that does it."""

    failed = Signal(str)
    """Something cannot be done; why."""

    done = Signal(str)
    """Something is done, to be shown."""

    def __init__(
        self,
        viewer: Viewer,
        *,
        image: Callable[[], Image | None],
        index: Callable[[], int | None],
        networks: ModelChoice,
    ) -> None:
        super().__init__()
        self._viewer, self._image, self._index = viewer, image, index
        self._networks = networks
        self._painting: Painting | None = None
        self._square: Square | None = None
        self._waiting: tuple[str, _Make] | None = None
        self._passed: WeakKeyDictionary[Painting, list[Spot]] = WeakKeyDictionary()
        self.suggest_button = canvas_button("Where to paint next", "", self.suggest)
        self.why = QLabel()
        self.why.setWordWrap(True)
        self.dismiss_button = canvas_button(
            "Dismiss", "Remove the outline; this place is not suggested again", self.end
        )
        self.propagation = PropagatePanel(self.propagate)
        fold = Fold("Propagate to other slices", self.propagation)
        vbox(self, self.suggest_button, self.why, self.dismiss_button, fold)
        networks.listed.connect(self._on_listed)
        self.show_keys()
        self._show_square()

    # ---- what is shown ----

    def show_painting(self, painting: Painting | None) -> None:
        """Guide through another painting, or the same as it is now."""
        self._painting = painting
        square = self._square
        if square is not None and (
            square.painting is not painting or not square.is_needed
        ):
            self.end()

    def show_keys(self) -> None:
        """Show in the tooltip which key suggests a place."""
        self.suggest_button.setToolTip(
            with_keys("Go to the place where painting would teach most", NEXT_SPOT)
        )

    def enable(self, *, is_free: bool) -> None:
        """Enable what can be done now: `is_free` is False while a job runs."""
        self.suggest_button.setEnabled(is_free)
        self.propagation.button.setEnabled(is_free and self._index() is not None)

    def disconnect_events(self) -> None:
        """Remove the outline; Qt may have deleted the widgets by now."""
        self._waiting = None
        if self._square is not None:
            self._square.remove()

    # ---- where to paint next ----

    def suggest(self) -> None:
        """Search for the place where painting would teach most."""
        self._request("Searching for the next place", self._searching)

    def show_spot(self, spot: Spot, painting: Painting) -> None:
        """Go to a place, and say why; the outline stays until it is painted."""
        self.end()
        self._passed.setdefault(painting, []).append(spot)
        self._square = Square(self._viewer, painting, spot, beside=self)
        first, second = (painting.phases.names[label - 1] for label in spot.between)
        self.why.setText(
            f"Slice {painting.axis} = {spot.index}: the network is least sure here: "
            f"{first} or {second}? Paint the whole square."
        )
        self._show_square()

    def end(self) -> None:
        """Remove the outline."""
        square, self._square = self._square, None
        if square is not None:
            square.remove()
        self._show_square()

    def _show_square(self) -> None:
        for widget in (self.why, self.dismiss_button):
            widget.setVisible(self._square is not None)

    def _searching(self, painting: Painting, image: Image) -> Iterator[Any]:
        volume = volume_painted(painting, image)
        search = SpotSearch(
            image=volume,
            painting=labels_of(painting.layer),
            axis=painting.axis,
            phases=painting.phases,
            painted=tuple(painting.painted()),
            left_out=left_out(painting),
            passed=tuple(self._passed.get(painting, ())),
            checks=checks_of(image),
            mask=painting.mask_volume(volume.shape),
        )
        assert self._networks.path is not None
        return find_spot(search, model=self._networks.path)

    # ---- propagate ----

    def propagate(self) -> None:
        """Propagate by the network, as the form says."""
        self._request("Propagating", self._propagating)

    def merge(self, event: Propagated, painting: Painting) -> None:
        """Put propagated slices into their painting; new strokes stay."""
        planes = {filled.index: filled.merged for filled in event.slices}
        try:
            propagate_to(painting, planes)
        except EXPECTED as error:
            self.failed.emit(str(error))
            return
        names = ", ".join(map(str, planes))
        self.done.emit(f"Propagated to {names}: correct by hand.")

    def _propagating(self, painting: Painting, image: Image) -> Iterator[Any]:
        index = self._index()
        assert index is not None
        form, kept = self.propagation, left_out(painting)
        wanted: tuple[int, ...] = (index,)
        if form.n_beside:
            if index not in painting.painted():
                raise ValueError(
                    f"slice {index} is not painted; go to a painted slice, or choose "
                    f"“{_IN_VIEW}”"
                )
            n = painting.n_slices
            wanted = slices_beside(index, n_slices=n, n=form.n_beside)
        if not form.is_everywhere:
            wanted = tuple(i for i in wanted if i not in kept)
        if not wanted:
            raise ValueError(
                "these slices are for validation or test, which a network must not "
                "fill: choose others, or allow it below"
            )
        targets = [
            slice_to_fill(painting, image, i, only_unpainted=True) for i in wanted
        ]
        assert self._networks.path is not None
        return propagate(targets, model=self._networks.path)

    # ---- jobs ----

    def _request(self, name: str, make: _Make) -> None:
        """List the networks, of which one may be new, and go on in `_on_listed`."""
        is_free = self._painting is not None and self.suggest_button.isEnabled()
        if is_free and self._image() is not None:
            self._waiting = name, make
            self._networks.refresh()

    def _on_listed(self) -> None:
        waiting, self._waiting = self._waiting, None
        painting = self._painting
        if waiting is None or painting is None or (image := self._image()) is None:
            return
        name, make = waiting
        if self._networks.path is None:
            self.failed.emit(_NO_NETWORK)
            return
        try:
            events = make(painting, image)
        except EXPECTED as error:
            self.failed.emit(str(error))
        else:
            self.job_requested.emit(name, events)


class PropagatePanel(QWidget):
    """Form for which slices a network fills."""

    def __init__(self, on_propagate: Callable[[], None]) -> None:
        super().__init__()
        self._into = without_focus(QComboBox())
        self._into.addItems([_BESIDE, _IN_VIEW])
        self._n_beside = QSpinBox()
        self._n_beside.setRange(1, _MOST_BESIDE)
        self._everywhere = without_focus(QCheckBox("Validation and test slices, too"))
        self._everywhere.setToolTip(
            "Scores on a slice that a network has filled are too good"
        )
        self.button = canvas_button(
            "Propagate",
            "Let the network label what is unpainted, to be corrected by hand; Ctrl+Z "
            "undoes all of it",
            on_propagate,
        )
        rows = form_rows(
            ("Into", self._into, "Slices that the network fills"),
            ("To either side", self._n_beside, "Slices on each side of this one"),
        )
        rows.addRow(self._everywhere)
        rows.addRow(self.button)
        self.setLayout(rows)
        self._into.currentTextChanged.connect(
            lambda text: rows.setRowVisible(self._n_beside, text == _BESIDE)
        )

    def choose(self, n_beside: int, *, everywhere: bool = False) -> None:
        """Fill in the form: 0 for the slice in view alone."""
        self._into.setCurrentText(_BESIDE if n_beside else _IN_VIEW)
        self._n_beside.setValue(n_beside)
        self._everywhere.setChecked(everywhere)

    @property
    def n_beside(self) -> int:
        """Slices to either side of the one in view; 0 for that one alone."""
        is_beside = self._into.currentText() == _BESIDE
        return int(self._n_beside.value()) if is_beside else 0

    @property
    def is_everywhere(self) -> bool:
        """Whether slices for validation and test are filled, too."""
        return bool(self._everywhere.isChecked())
