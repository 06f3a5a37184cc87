"""Choose what a network learns from: an image, and the labels of it."""

from collections.abc import Container, Sequence

from napari.components import LayerList
from napari.layers import Image, Labels
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_lrcs.annotation.annotation import check_labels_fit
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.kinds import Kind, kind_of
from napari_lrcs.plugin.parts.layers.layers import named_by_file, volume_of
from napari_lrcs.plugin.project.project import project_of

_ALLOWED = "napari_lrcs_may_train"
"""Metadata key of a result that the user has allowed to train on."""


class TrainingLayers:
    """Choices of an image and of its labels, each of which guides the other.

    Parameters
    ----------
    without : container of str
        Kinds of layers that cannot be chosen.
    """

    def __init__(self, layers: LayerList, *, without: Container[Kind] = ()) -> None:
        self._project = project = project_of(layers)
        self._chosen_painting: Painting | None = None
        self.image: LayerChoice[Image] = LayerChoice(
            layers,
            Image,
            without=without,
            propose=self._propose_image,
            anew=project.changed,
        )
        self.labels: LayerChoice[Labels] = LayerChoice(
            layers,
            Labels,
            without=without,
            propose=self._propose_labels,
            anew=project.changed,
        )
        self.image.chosen.connect(self._on_image)
        self.labels.chosen.connect(self._on_labels)

    def read(self) -> tuple[Image, Labels]:
        """Return what is chosen.

        Raises
        ------
        ValueError, VolumeError
            If there is no image, it is not a grey volume, there are no labels, or they
            have another shape.
        """
        image, labels = self.image.layer, self.labels.layer
        if image is None:
            raise ValueError("choose an image: open one, or File > Open Sample")
        volume = volume_of(image)
        if labels is None:
            raise ValueError(
                f"no labels are chosen for {image.name}: paint it in Label phases, or "
                "choose labels"
            )
        check_labels_fit(volume, volume_of(labels))
        return image, labels

    def to_compare(self) -> tuple[Volume | None, tuple[int, ...], Volume | None]:
        """Return the image, its painted slices and its field of view; None without."""
        image, painting = self.image.layer, painting_of(self.labels.layer)
        if image is None:
            return None, (), None
        try:
            volume = named_by_file(image)
            if painting is None or not painting.is_of(image):
                return volume, (), None
            mask = painting.mask_volume(volume.shape)
        except (LrcsError, OSError):  # told when it is to be trained
            return None, (), None
        return volume, tuple(painting.painted()), mask

    def _propose_image(self, images: Sequence[Image]) -> Image | None:
        painting = self._chosen_painting
        image = None if painting is None else painting.image_among(images)
        return image or self._project.image(images)

    def _propose_labels(self, labels: Sequence[Labels]) -> Labels | None:
        return self._project.painting(labels, self.image.layer)

    def _on_image(self) -> None:
        image, painting = self.image.layer, painting_of(self.labels.layer)
        is_of_other = image is not None and not (
            painting is None or painting.is_of(image)
        )
        self.labels.propose_again(anew=self.image.is_picked and is_of_other)

    def _on_labels(self) -> None:
        painting = painting_of(self.labels.layer)
        self._chosen_painting = painting if self.labels.is_picked else None
        self.image.propose_again()


def may_train_on(layer: Labels | None, parent: QWidget) -> bool:
    """Ask once before a network learns from a result; never ask about a painting.

    Parameters
    ----------
    layer : Labels or None
        Labels to learn from.
    parent : QWidget
        Dock that asks.
    """
    kind = None if layer is None else kind_of(layer)
    if layer is None or kind in (None, "painting") or _ALLOWED in layer.metadata:
        return True
    answer = QMessageBox.question(
        parent,
        f"Train on a {kind}?",
        f"{layer.name} is a {kind}; a network that learns from it repeats its errors. "
        "Train on it anyway?",
        QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
        QMessageBox.StandardButton.No,
    )
    is_allowed = bool(answer == QMessageBox.StandardButton.Yes)
    if is_allowed:
        layer.metadata[_ALLOWED] = True
    return is_allowed
