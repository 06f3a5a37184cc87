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
from napari_lrcs.plugin.parts.layers.kinds import kind_of
from napari_lrcs.plugin.parts.layers.layers import RUN_KEY
from napari_lrcs.plugin.project.default_layers import (
    have_same_shape,
    image_to_segment,
    is_of,
    is_of_one,
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

        A painting brings its image. With another image or painting, a result that was
        chosen stays only if it may be of the image.
        """
        before = dict(self._chosen)
        self._chosen[part] = None if layer is None else layer.unique_id
        if part == "painting" and painting_of(layer) is not None:
            self._chosen["image"] = None
        if part != "result":
            self._forget_result_of_another()
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
        own = [x for x in self._images if is_of(labels, x)]
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
        image = self.image(self._images)
        fitting = [x for x in labels if image is None or is_of(x, image)]
        return self._among(labels, "result") or newest_result(fitting)

    def judged(self, labels: Sequence[Labels]) -> Labels | None:
        """Return the result, else labels of the user's own to measure and compare.

        While no image is chosen, the newest result of any image is the next best.
        """
        images = self._images
        is_chosen = self._among(images, "image") is not None
        others = None if is_chosen else newest_result(labels)
        image = self.image(images)
        own = [x for x in labels if kind_of(x) is None and is_of_one(x, images)]
        fitting = [x for x in own if not is_chosen or image is None or is_of(x, image)]
        return self.result(labels) or others or next(reversed(fitting), None)

    def measured(self, labels: Sequence[Labels]) -> Labels | None:
        """Return what is judged, else the painting."""
        painted = [x for x in labels if painting_of(x) is not None]
        image = self.image(self._images)
        return self.judged(labels) or self.painting(painted, image)

    def target(self, labels: Sequence[Labels], judged: Labels | None) -> Labels | None:
        """Return the labels that others are judged by, of those that are offered.

        Only labels of unknown image are judged by labels that may be of another one.
        """
        images = self._images
        image = self.image(images) if judged is None else self.image_of(judged)
        fitting = [x for x in labels if _may_judge(x, judged, image)]
        if judged is None or kind_of(judged) is not None:
            fitting = [x for x in fitting if painting_of(x) or is_of_one(x, images)]
        truth = truth_of(fitting, judged)
        if truth is not None:
            return truth
        chosen = self._among(fitting, "painting")
        if chosen is not judged and painting_of(chosen) is not None:
            return chosen
        return labels_to_judge_by(fitting, judged)

    @property
    def _images(self) -> list[Image]:
        return [x for x in self._layers() or () if isinstance(x, Image)]

    def _forget_result_of_another(self) -> None:
        image = self.image(self._images)
        result = self._among(self._layers() or (), "result")
        if image is None or not isinstance(result, Labels):
            return
        if not is_of(result, image):
            self._chosen["result"] = None

    def _among(self, offered: Sequence[AnyLayer], part: Part) -> AnyLayer | None:
        chosen = self._chosen.get(part)
        return next((layer for layer in offered if layer.unique_id == chosen), None)


def _may_judge(labels: Labels, judged: Labels | None, image: Image | None) -> bool:
    if judged is not None and not have_same_shape(labels, judged):
        return False
    return image is None or is_of(labels, image)


_PROJECTS: "WeakKeyDictionary[LayerList, Project]" = WeakKeyDictionary()


def project_of(layers: LayerList) -> Project:
    """Return the project of the viewer that has these layers."""
    own = getattr(layers, "__wrapped__", layers)  # napari gives plugins proxies
    if own not in _PROJECTS:
        _PROJECTS[own] = Project(own)
    return _PROJECTS[own]
