"""The bar that shows, and chooses, what all docks work on."""

from functools import partial

from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QWidget

from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.model_choice import ModelChoice
from napari_lrcs.plugin.project.project import Part, project_of

_LETTERS = 8
"""Letters of a name that are legible at least, in a dock as narrow as the others."""


class ProjectBar(QWidget):
    """Image, painting, network and result of a viewer; what is chosen, all docks use.

    Parameters
    ----------
    viewer : Viewer
    """

    changed = Signal()
    """Something else is chosen."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._project = project = project_of(viewer.layers)
        self.image: LayerChoice[Image] = LayerChoice(
            viewer.layers, Image, propose=project.image, anew=project.changed
        )
        self.painting: LayerChoice[Labels] = LayerChoice(
            viewer.layers,
            Labels,
            propose=lambda labels: project.painting(labels, self.image.layer),
            anew=project.changed,
        )
        self.network = ModelChoice(in_one_line=True, layers=viewer.layers)
        self.result: LayerChoice[Labels] = LayerChoice(
            viewer.layers, Labels, propose=project.result, anew=project.changed
        )
        self._build()
        self._connect()
        self.network.follow(self.image.layer)

    def _build(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        fields: tuple[tuple[str, QWidget, str], ...] = (
            ("Image", self.image, "The grey volume or image to segment"),
            ("Painting", self.painting, "The labels that the network learns from"),
            (
                "Network",
                self.network,
                "The network that predicts; best first",
            ),
            ("Result", self.result, "The labels that are measured and compared"),
        )
        for place, (name, field, tooltip) in enumerate(fields):
            label = QLabel(name)
            for part in (label, field):
                part.setToolTip(tooltip)
            column, row = divmod(place, 2)
            grid.addWidget(label, row, 2 * column)
            grid.addWidget(field, row, 2 * column + 1)
        for column in (1, 3):
            grid.setColumnStretch(column, 1)
        for box in self.findChildren(QComboBox):
            box.setMinimumContentsLength(_LETTERS)

    def _connect(self) -> None:
        choices: tuple[tuple[Part, LayerChoice[Image] | LayerChoice[Labels]], ...] = (
            ("image", self.image),
            ("painting", self.painting),
            ("result", self.result),
        )
        for part, choice in choices:
            choice.chosen.connect(partial(self._on_chosen, part, choice))
        self.network.changed.connect(self.changed.emit)

    def _on_chosen(
        self, part: Part, choice: LayerChoice[Image] | LayerChoice[Labels]
    ) -> None:
        if choice.is_picked:
            self._project.choose(part, choice.layer)
            choice.propose_again(anew=True)  # it follows the project from now on
        if part == "image":
            self.network.follow(self.image.layer)
            self.painting.propose_again()
        self.changed.emit()

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        for choice in (self.image, self.painting, self.network, self.result):
            choice.disconnect_events()
