"""What a viewer works on: chosen once, and offered by all docks."""

from collections.abc import Hashable, Sequence
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary, ref

from napari.components import LayerList
from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.project.default_layers import (
    image_to_segment,
    is_of,
    labels_to_judge,
    labels_to_judge_by,
    labels_to_learn_from,
    newest_result,
)

Part = Literal["image", "painting", "result"]
"""What a layer is to the project."""

AnyLayer = TypeVar("AnyLayer", bound=Layer)


class Project:
    """Image, painting and result of a viewer, the same for all of its docks.

    Each is what was chosen for the project, while that is in the viewer, else what
    `napari_lrcs.plugin.project.default_layers` chooses. The network is the run that
    was chosen for the image, else its best: see `ModelChoice`.

    Parameters
    ----------
    layers : LayerList
        Layers of the viewer; not kept alive.
    """

    changed = Signal()
    """Something else was chosen for the project."""

    def __init__(self, layers: LayerList) -> None:
        self._layers = ref(layers)
        self._chosen: dict[Part, Hashable] = {}

    def choose(self, part: Part, layer: Layer | None) -> None:
        """Choose a layer for all docks; None leaves the choice to the defaults."""
        chosen = None if layer is None else layer.unique_id
        if chosen == self._chosen.get(part):
            return
        self._chosen[part] = chosen
        self.changed.emit()

    def image(self, images: Sequence[Image]) -> Image | None:
        """Return the image that is segmented, of those that are offered."""
        layers = self._layers()
        default = None if layers is None else image_to_segment(images, layers)
        return self._among(images, "image") or default

    def painting(self, labels: Sequence[Labels], image: Image | None) -> Labels | None:
        """Return the labels that are learnt from, of those that are offered.

        Parameters
        ----------
        labels : sequence of Labels
            Layers to choose from.
        image : Image or None
            The image that the labels are of; None for any image.
        """
        chosen = self._among(labels, "painting")
        fits = image is None or chosen is None or is_of(chosen, image)
        return chosen if chosen and fits else labels_to_learn_from(labels, image)

    def result(self, labels: Sequence[Labels]) -> Labels | None:
        """Return the result that was chosen, else the newest, of those offered."""
        return self._among(labels, "result") or newest_result(labels)

    def judged(self, labels: Sequence[Labels]) -> Labels | None:
        """Return the result, else labels of the user's own to measure and compare."""
        return self.result(labels) or labels_to_judge(labels)

    def target(self, labels: Sequence[Labels], judged: Labels | None) -> Labels | None:
        """Return the labels that others are judged by, of those that are offered."""
        painting = self._among(labels, "painting")
        is_target = painting_of(painting) is not None and painting != judged
        return painting if is_target else labels_to_judge_by(labels, judged)

    def _among(self, offered: Sequence[AnyLayer], part: Part) -> AnyLayer | None:
        chosen = self._chosen.get(part)
        return next((layer for layer in offered if layer.unique_id == chosen), None)


_PROJECTS: "WeakKeyDictionary[LayerList, Project]" = WeakKeyDictionary()


def project_of(layers: LayerList) -> Project:
    """Return the project of the viewer that has these layers."""
    own = getattr(layers, "__wrapped__", layers)  # napari gives plugins proxies
    if own not in _PROJECTS:
        _PROJECTS[own] = Project(own)
    return _PROJECTS[own]
