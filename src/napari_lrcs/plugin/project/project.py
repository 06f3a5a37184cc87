"""What a viewer works on: chosen once, and offered by all docks."""

from collections.abc import Hashable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar
from weakref import WeakKeyDictionary, ref

from napari.components import LayerList
from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_lrcs.annotation.project_file import ProjectFile
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.layers import RUN_KEY
from napari_lrcs.plugin.project.default_layers import (
    have_same_shape,
    image_to_segment,
    is_of,
    labels_to_judge,
    labels_to_judge_by,
    labels_to_learn_from,
    newest_result,
    truth_of,
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
    settings_found = Signal(TrainConfig)
    """A search has found settings to train with."""

    run_moved = Signal(object, object)
    """A run's former path, and its path now; None where it was deleted."""

    def __init__(self, layers: LayerList) -> None:
        self._layers = ref(layers)
        self._chosen: dict[Part, Hashable] = {}

    def choose(self, part: Part, layer: Layer | None) -> None:
        """Choose a layer for all docks; None leaves the choice to the defaults.

        A painting brings its image.
        """
        before = dict(self._chosen)
        self._chosen[part] = None if layer is None else layer.unique_id
        if part == "painting" and painting_of(layer) is not None:
            self._chosen["image"] = None
        if self._chosen != before:
            self.changed.emit()

    def move_run(self, former: Path, place: Path | None) -> None:
        """Let all that uses a run follow it to another place; None if it is deleted."""
        for layer in self._layers() or ():
            if layer.metadata.get(RUN_KEY) == former:
                layer.metadata[RUN_KEY] = place
        with suppress(LrcsError, OSError):  # what was open matters less than the run
            ProjectFile(former.parent).follow_network(former, place)
        self.run_moved.emit(former, place)

    def image(self, images: Sequence[Image]) -> Image | None:
        """Return the image that is segmented, of those that are offered."""
        layers = self._layers()
        chosen = self._among(images, "image")
        if chosen is not None or layers is None:
            return chosen
        painting = painting_of(self._among(layers, "painting"))
        own = None if painting is None else painting.image_among(images)
        return own or image_to_segment(images, layers)

    def image_of(self, labels: Labels) -> Image | None:
        """Return the image of some labels, if it is in the viewer."""
        layers = self._layers() or ()
        own = [x for x in layers if isinstance(x, Image) and is_of(labels, x)]
        return self.image(own) if own else None

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
        """Return the result that was chosen, else the newest that fits the image."""
        images = [x for x in self._layers() or () if isinstance(x, Image)]
        image = self.image(images)
        fitting = [x for x in labels if image is None or have_same_shape(x, image)]
        return self._among(labels, "result") or newest_result(fitting)

    def judged(self, labels: Sequence[Labels]) -> Labels | None:
        """Return the result, else labels of the user's own to measure and compare."""
        return self.result(labels) or labels_to_judge(labels)

    def target(self, labels: Sequence[Labels], judged: Labels | None) -> Labels | None:
        """Return the labels that others are judged by, of those that are offered."""
        truth = truth_of(labels, judged)
        if truth is not None:
            return truth
        chosen = self._among(labels, "painting")
        if (
            painting_of(chosen) is not None
            and chosen is not None
            and chosen != judged
            and (judged is None or have_same_shape(chosen, judged))
        ):
            return chosen
        return labels_to_judge_by(labels, judged)

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
