"""The dock that leads from the first stroke to the numbers."""

from collections.abc import Callable, Mapping
from typing import ClassVar

from napari.viewer import Viewer
from qtpy.QtWidgets import QStackedWidget

from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.measure.dock import MeasureDock
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.closable import Closable
from napari_lrcs.plugin.parts.connections import Connections, Disconnectable
from napari_lrcs.plugin.parts.dock import Dock
from napari_lrcs.plugin.parts.layers.predicted import network_of
from napari_lrcs.plugin.parts.widgets import button, vbox
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.project.bar import ProjectBar
from napari_lrcs.plugin.project.found_work import FoundProject
from napari_lrcs.plugin.project.keeper import keeper_of
from napari_lrcs.plugin.segment.steps import STEPS, Step, StepBar
from napari_lrcs.plugin.train.dock import TrainDock

_PAGES: Mapping[Step, Callable[[Viewer], Dock]] = {
    "Label": LabelDock,
    "Train": TrainDock,
    "Predict": PredictDock,
    "Measure": MeasureDock,
}

_STEPS: Mapping[str, Step] = {
    "Label phases": "Label",
    "Train LRCS-Net": "Train",
    "Predict volume": "Predict",
    "Measure phases": "Measure",
}
"""Steps by the names of the docks that are their pages."""

_MISSING: Mapping[Step, str] = {
    "Label": "Paint every phase on a slice first",
    "Train": "Train a network first, or choose one above",
    "Predict": "Predict first, or choose labels as the result above",
    "Measure": "",
}
"""What to do before the next step."""


class SegmentDock(Closable):
    """Label, train, predict and measure, one after the other, in one dock.

    Each step is a page: the dock that also exists on its own, without its choices of
    image, painting, network and result, which the bar on top shows once for all.

    Parameters
    ----------
    viewer : Viewer
        The viewer whose window the dock is in.
    """

    key: ClassVar[str] = "segment"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.bar = ProjectBar(viewer)
        self.steps = StepBar()
        self.pages: dict[Step, Dock] = {}
        """The pages that were opened so far."""
        self.step: Step = STEPS[0]
        """The step in sight."""
        self._stack = QStackedWidget()
        self.next_button = button("", "", self.go_on)
        self._keeper = keeper_of(viewer)
        self._was_outdated = False
        layout = vbox(self, self.bar, self.steps)
        layout.addWidget(self._stack, stretch=1)
        layout.addWidget(self.next_button)
        layout.setContentsMargins(4, 4, 4, 4)
        self.connections: list[Disconnectable] = [
            self.bar,
            Connections((self._keeper.restored, self._show_restored)),
        ]
        self.steps.requested.connect(self.show_step)
        self.bar.changed.connect(self.update_steps)
        self.show_step(self.step)
        self._label.paintings.changed.connect(self.update_steps)

    # ---- pages ----

    def show_step(self, step: Step) -> None:
        """Show the page of a step; it is made when it is first shown."""
        if step not in self.pages:
            self.pages[step] = page = _PAGES[step](self.viewer)
            page.embed()
            page.job_changed.connect(self.update_steps)
            self._stack.addWidget(page)
        self.step = step
        self._stack.setCurrentWidget(self.pages[step])
        self._keeper.show_page(step)
        self.update_steps()

    def show_page(self, name: str) -> Closable | None:
        """Show the page that is the dock of this name; None if there is none such."""
        if name not in _STEPS:
            return None
        self.show_step(_STEPS[name])
        return self.pages[_STEPS[name]]

    def go_on(self) -> None:
        """Show the page of the next step."""
        following = self._next
        if following is not None:
            self.show_step(following)

    def restore(self) -> None:
        """Restore what was open of the work on the image, if anything is found."""
        self._label.restore_line.search(self._label.image.layer, restores=True)

    @property
    def _label(self) -> LabelDock:
        label = self.pages["Label"]
        assert isinstance(label, LabelDock)
        return label

    def _show_restored(self, found: FoundProject) -> None:
        page = next((step for step in STEPS if step == found.state.page), self.step)
        self.show_step(page)
        if page != "Label":  # which tells it by itself
            self.pages[page].show_message(*found.outcome)

    @property
    def _next(self) -> Step | None:
        place = STEPS.index(self.step) + 1
        return STEPS[place] if place < len(STEPS) else None

    # ---- what is done ----

    def is_done(self, step: Step) -> bool:
        """Whether what a step makes is there."""
        match step:
            case "Label":
                painting = painting_of(self.bar.painting.layer)
                is_plain = painting is None and self.bar.painting.layer is not None
                return is_plain or bool(painting and not painting.unpainted_phases())
            case "Train":
                return self.bar.network.model is not None
            case "Predict":
                has_result = self.bar.result.layer is not None
                return has_result and not self._is_predicting and not self._is_outdated
            case "Measure":
                page = self.pages.get("Measure")
                return isinstance(page, MeasureDock) and page.is_current

    @property
    def _may_go_on(self) -> bool:
        """Whether something is painted: to be warned of a phase that is missing."""
        painting = painting_of(self.bar.painting.layer)
        if self.step == "Label":
            return bool(painting and painting.painted())
        return self.step == "Predict" and self._is_outdated

    @property
    def _missing(self) -> str:
        if self.step == "Predict" and self._is_predicting:
            return "The prediction is not complete yet"
        if self.step == "Predict" and self._is_outdated:
            return "The result is from a different network than the chosen one"
        return _MISSING[self.step]

    def _tell_outdated(self) -> None:
        """Say on the page Predict, once, that the result is of another network."""
        was_outdated, self._was_outdated = self._was_outdated, self._is_outdated
        page = self.pages.get("Predict")
        if page is not None and not page.is_busy and self._was_outdated > was_outdated:
            page.show_message(
                "The result is from a different network than the one chosen now; "
                "press Predict to replace it",
                "warning",
            )

    @property
    def _is_predicting(self) -> bool:
        page = self.pages.get("Predict")
        return page is not None and page.is_busy

    @property
    def _is_outdated(self) -> bool:
        """Whether another network is chosen than the one that made the result."""
        result, chosen = self.bar.result.layer, self.bar.network.model
        made_by = None if result is None else network_of(result)
        return made_by is not None and chosen is not None and made_by != chosen.path

    def update_steps(self) -> None:
        """Tick the steps that are done, and say which is next."""
        done = {step for step in STEPS if self.is_done(step)}
        self.steps.show_steps(self.step, done)
        self._keeper.handle_change()
        self._tell_outdated()
        following = self._next
        self.next_button.setVisible(following is not None)
        if following is not None:
            is_done = self.step in done
            self.next_button.setText(f"Next: {following}")
            self.next_button.setEnabled(is_done or self._may_go_on)
            self.next_button.setToolTip("" if is_done else self._missing)

    # ---- closing ----

    @property
    def is_busy(self) -> bool:
        """Whether a job of a page runs or is just stopping."""
        return any(page.is_busy for page in self.pages.values())

    @property
    def loss(self) -> str:
        """What closing the dock now stops; empty if that is next to nothing."""
        return " ".join(page.loss for page in self.pages.values() if page.loss)

    @property
    def unsaved(self) -> str:
        """What the pages could not save; empty if nothing."""
        return " ".join(page.unsaved for page in self.pages.values() if page.unsaved)

    def remember(self) -> None:
        """Keep the settings of the pages."""
        for page in self.pages.values():
            page.remember()

    def shut_down(self) -> None:
        """Stop all work of the pages, and disconnect from the viewer."""
        for page in self.pages.values():
            page.shut_down()
        for connection in self.connections:
            connection.disconnect_events()
        self.connections.clear()
        self.delete_if_removed()
