"""The form of check patches: which segmentation they judge, how many, and where."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSpinBox, QWidget

from napari_lrcs.annotation.annotation import check_labels_fit
from napari_lrcs.annotation.check_folder import draw_check
from napari_lrcs.annotation.check_patches import CheckDesign
from napari_lrcs.annotation.painting.folder import ImageIdentity
from napari_lrcs.comparison.evaluate import phases_of
from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.connections import Connections, Disconnectable
from napari_lrcs.plugin.parts.forms import form_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.layers import labels_of, volume_of, workspace_for
from napari_lrcs.plugin.parts.widgets import choice, vbox
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.uncertainty.trust.report import LEAST_PATCHES

BLIND, OVER_PREDICTION = "Nothing (blind)", "The prediction"

_MOST = 10_000

_HINT = (
    "Paint small squares at random places. They show how far the segmentation is off, "
    "with intervals that contain the truth."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draw:
    """Patches that are to be drawn.

    Parameters
    ----------
    path : Path
        The new folder.
    """

    path: Path
    segmentation: Volume
    design: CheckDesign
    n_patches: int
    image: ImageIdentity
    mask: Volume | None

    def events(self) -> Events:
        """Draw them; yields the `Check` last."""
        yield from draw_check(
            self.path,
            self.segmentation,
            design=self.design,
            n_patches=self.n_patches,
            phases=phases_of(self.segmentation),
            image=self.image,
            mask=self.mask,
        )


class CheckForm(QWidget):
    """Which segmentation is judged, and the patches that are drawn for it."""

    image_changed = Signal()
    """The segmentation is perhaps of another image."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._layers, self._project = viewer.layers, project_of(viewer.layers)
        self.segmentation: LayerChoice[Labels] = LayerChoice(
            viewer.layers,
            Labels,
            without=("painting", "training preview", "perturbed preview"),
            propose=self._project.judged,
            anew=self._project.changed,
        )
        self.n_patches = _number(LEAST_PATCHES, _MOST, 20)
        self.patch_size = _number(8, 4096, 48)
        self.patch_size.setSuffix(" pixels")
        self.start = choice(BLIND, OVER_PREDICTION)
        self.seed = _number(0, 2**31 - 1, 0)
        self._rows = form_rows(
            ("Segmentation", self.segmentation, "Labels layer that is judged"),
            (
                "Patches",
                self.n_patches,
                "Number of squares to paint; 20 are advised, and each takes minutes",
            ),
            (
                "Size",
                self.patch_size,
                "Side of a square, without its margin of one pixel",
            ),
            (
                "Start from",
                self.start,
                "What you see when you begin to paint: over the prediction, errors are "
                "easily left in, so the report says so",
            ),
            ("Seed", self.seed, "Another number places the patches elsewhere"),
        )
        self._hint = QLabel(_HINT)
        self._hint.setWordWrap(True)
        vbox(self, self._hint).addLayout(self._rows)
        events = viewer.layers.events
        self.connections: list[Disconnectable] = [
            self.segmentation,
            Connections(
                (self._project.changed, self._on_layers),
                (events.inserted, self._on_layers),
                (events.removed, self._on_layers),
            ),
        ]
        self.segmentation.chosen.connect(self.image_changed)

    def _on_layers(self, event: object = None) -> None:
        del event
        self.image_changed.emit()

    def show_drawing(self, is_shown: bool) -> None:  # noqa: FBT001 as Qt's
        """Show what concerns only patches that are to be drawn, or hide it."""
        self._hint.setVisible(is_shown)
        for field in (self.n_patches, self.patch_size, self.start, self.seed):
            self._rows.setRowVisible(field, is_shown)

    @property
    def image(self) -> Image | None:
        """The image of the segmentation, else that of the project."""
        layer = self.segmentation.layer
        own = None if layer is None else self._project.image_of(layer)
        images = [x for x in self._layers if isinstance(x, Image)]
        return own or self._project.image(images)

    def draw(self) -> Draw:
        """Return the patches to draw; the folder that they need is made.

        Raises
        ------
        ValueError, VolumeError
            If something is missing, or the segmentation is not one of the image.
        OSError
            If the folder cannot be made.
        """
        layer, image = self.segmentation.layer, self.image
        if layer is None:
            raise ValueError(
                "no segmentation is chosen; predict the volume, or open its labels"
            )
        if image is None:
            raise ValueError(f"the image of {layer.name} is not open; open it to paint")
        segmentation = labels_of(layer)
        check_labels_fit(volume_of(image), segmentation)
        shape = segmentation.shape
        painting = self._painting(image)
        axis: Axis = "z" if painting is None else painting.axis
        workspace, path = workspace_for(image), image.source.path
        workspace.make()
        return Draw(
            path=workspace.new_check(),
            segmentation=segmentation,
            design=CheckDesign(
                shape=shape,
                axis=axis,
                size=self.patch_size.value(),
                seed=self.seed.value(),
                blind=self.start.currentText() == BLIND,
            ),
            n_patches=self.n_patches.value(),
            image=ImageIdentity(
                name=image.name, path=None if path is None else str(path), shape=shape
            ),
            mask=None if painting is None else painting.mask_volume(shape),
        )

    def _painting(self, image: Image) -> Painting | None:
        labels = [x for x in self._layers if isinstance(x, Labels)]
        return painting_of(self._project.painting(labels, image))

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return what is remembered: how many patches, and how they are painted."""
        return {
            "n_patches": self.n_patches.value(),
            "size": self.patch_size.value(),
            "start": self.start.currentText(),
        }

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Show what `settings` returned in an earlier session."""
        for name, field in (("n_patches", self.n_patches), ("size", self.patch_size)):
            if isinstance(value := settings.get(name), int):
                field.setValue(value)
        self.start.setCurrentText(str(settings.get("start", BLIND)))


def _number(least: int, most: int, value: int) -> QSpinBox:
    box = QSpinBox()
    box.setRange(least, most)
    box.setValue(value)
    return box
