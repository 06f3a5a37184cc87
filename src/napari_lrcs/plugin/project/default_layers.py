"""Choose the layers that docks offer first: to train, to predict and to compare."""

from collections.abc import Sequence

from napari.components import LayerList
from napari.layers import Image, Labels, Layer

from napari_lrcs.annotation.workspace import is_workspace
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.layers.kinds import (
    NEVER_CHOSEN,
    kind_of,
    looks_like_labels,
)
from napari_lrcs.plugin.parts.layers.layers import (
    file_opened,
    layer_shape,
    workspace_for,
)
from napari_lrcs.plugin.parts.layers.predicted import file_of, image_predicted

_NO_RESULTS = (
    frozenset({"training preview", "perturbed preview", "difference map"})
    | NEVER_CHOSEN
)
"""Kinds of labels that are judged only if the user chooses them."""


def image_to_segment(images: Sequence[Image], layers: LayerList) -> Image | None:
    """Choose the image of the newest painting, else the first grey image."""
    for layer in reversed(layers):
        painting = painting_of(layer)
        image = None if painting is None else painting.image_among(images)
        if image is not None:
            return image
    if len(images) < 2:  # there is no choice, so nothing needs to be read
        return images[0] if images else None
    return next(filter(_is_grey, images), images[0])


def labels_to_learn_from(
    labels: Sequence[Labels], image: Image | None
) -> Labels | None:
    """Choose the newest painting of an image, else the only labels of the user's own.

    Never a result, such as a prediction: a network would learn its own errors.

    Parameters
    ----------
    labels : sequence of Labels
        Layers to choose from.
    image : Image or None
        The image that the labels are of; None for any image.
    """
    paintings = [
        layer
        for layer in labels
        if painting_of(layer) is not None and (image is None or is_of(layer, image))
    ]
    if paintings:
        return paintings[-1]
    own = [
        layer
        for layer in labels
        if kind_of(layer) is None and (image is None or is_of(layer, image))
    ]
    return own[0] if len(own) == 1 else None


def newest_result(labels: Sequence[Labels]) -> Labels | None:
    """Choose the newest prediction, else the newest vote or other result."""
    others = _NO_RESULTS | {"painting", None}
    results = [layer for layer in labels if kind_of(layer) not in others]
    predictions = [layer for layer in results if kind_of(layer) == "prediction"]
    return next(reversed(predictions or results), None)


def labels_to_judge_by(
    labels: Sequence[Labels], judged: Labels | None
) -> Labels | None:
    """Choose the newest painting, else the user's labels.

    Parameters
    ----------
    labels : sequence of Labels
        Layers to choose from.
    judged : Labels or None
        Labels that are judged; they are never chosen themselves.
    """
    others = [layer for layer in labels if layer != judged]
    paintings = [layer for layer in others if kind_of(layer) == "painting"]
    own = [layer for layer in others if kind_of(layer) is None]
    return next(iter([*reversed(paintings), *own]), None)


def truth_of(labels: Sequence[Labels], judged: Labels | None) -> Labels | None:
    """Find the labels that were opened from a file, to judge a result by.

    A network is better than it is on the painting that it has learnt from. Of several
    files, none is chosen: they may be those of other images.
    """
    if judged is None or kind_of(judged) in (None, "painting"):
        return None
    opened = [x for x in labels if kind_of(x) is None and file_opened(x) is not None]
    return opened[0] if len(opened) == 1 else None


def is_of(labels: Labels, image: Image) -> bool:
    """Tell whether labels are of an image; others of its shape may be of it."""
    painting, of = painting_of(labels), image_predicted(labels)
    if painting is not None:
        return painting.is_of(image)
    if not have_same_shape(labels, image):
        return False
    folder = workspace_for(image).path.absolute()
    if of is not None:  # perhaps the same image, opened before
        return of == image or workspace_for(of).path.absolute() == folder
    file = file_of(labels)
    return file is None or not is_workspace(file.parent) or file.parent == folder


def is_of_one(labels: Labels, images: Sequence[Image]) -> bool:
    """Tell whether labels of an unknown image can be of no more than one of some.

    Images that were computed from others have no file, and do not count.
    """
    fitting = [x for x in images if have_same_shape(labels, x)]
    scans = [x for x in fitting if _is_grey(x)] if len(fitting) > 1 else fitting
    return len({file_opened(x) for x in scans} - {None} or scans) < 2


def have_same_shape(one: Layer, other: Layer) -> bool:
    """Tell whether two layers have the same voxels; a 2D layer is one slice."""
    return (1, *layer_shape(one))[-3:] == (1, *layer_shape(other))[-3:]


def _is_grey(image: Image) -> bool:
    """Tell whether an image is neither a result of ours nor labels read as an image."""
    is_own = kind_of(image) is None and not image.rgb
    return is_own and not looks_like_labels(image)
