"""What a layer is: painted, made by this plugin, or the user's own."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Layer

from napari_lrcs.io.lazy_arrays import READ_ERRORS

Kind = Literal[
    "painting",
    "prediction",
    "confidence map",
    "training preview",
    "perturbed copy",
    "perturbed preview",
    "interface histogram",
    "majority vote of networks",
    "mean prediction of networks",
    "agreement of networks",
    "majority vote of experimenters",
    "agreement of experimenters",
    "difference map",
    "stack of maps",
    "check patch",
    "suggested square",
]
"""Kind of a layer that this plugin makes, worded to follow "is a"."""

NEVER_CHOSEN: frozenset[Kind] = frozenset({"check patch"})
"""Kinds of layers that no dock offers: check patches are used for nothing else."""

PAINTING_KEY = "napari_lrcs"
"""Key of a layer's metadata under which its painting is kept."""

_KEY = "napari_lrcs_kind"

_FILES: Mapping[Kind, re.Pattern[str]] = {
    "prediction": re.compile(r"\.lrcs/(segmentation-\d|more-volumes/)"),
    "majority vote of networks": re.compile(r"\.lrcs/study-\d"),
    "perturbed copy": re.compile(r"\.lrcs/perturbed-\d|/member-\d{3,}\.tif$"),
}
"""Paths of results that are opened again, as `Workspace` and `perturb` name them."""


def marked(kind: Kind) -> dict[str, Any]:
    """Return the metadata of a layer that this plugin makes."""
    return {_KEY: kind}


def kind_of(layer: Layer) -> Kind | None:
    """Tell what a layer is; None for one that the user has made or opened.

    A copy of a result is one, too, as is a result that was opened from its file.
    """
    # napari copies the metadata along with a layer; a copy is no painting.
    if getattr(layer.metadata.get(PAINTING_KEY), "layer", None) == layer:
        return "painting"
    kind: Kind | None = layer.metadata.get(_KEY)
    if kind is not None or layer.source.path is None:
        return kind
    place = Path(layer.source.path).as_posix()
    return next((kind for kind, name in _FILES.items() if name.search(place)), None)


# ---- labels that were opened as an image ----

_FEWEST_GREY_LEVELS = 16
_SAMPLE = 256
"""Side, in voxels, of a sample in which grey levels are counted."""

_KNOWN: "WeakKeyDictionary[Layer, bool]" = WeakKeyDictionary()


def looks_like_labels(layer: Layer | None) -> bool:
    """Tell whether an image holds few whole numbers, as labels opened as an image do.

    Reads parts of three slices, of a lazy image a part of one, and only once. An image
    that this plugin has made does not count.
    """
    if not isinstance(layer, Image) or layer.rgb or _KEY in layer.metadata:
        return False
    own = getattr(layer, "__wrapped__", layer)  # napari gives plugins proxies
    if own not in _KNOWN:
        _KNOWN[own] = _has_few_whole_numbers(own)
    return _KNOWN[own]


def _has_few_whole_numbers(image: Image) -> bool:
    array = image.data[-1] if image.multiscale else image.data
    kind = np.dtype(array.dtype).kind
    if kind not in "biuf":
        return False
    values: set[float] = set()
    for depth in (2, 4, 4 / 3) if isinstance(array, np.ndarray) else (2,):
        try:
            values.update(np.unique(_sample(array, depth)).tolist())
        except READ_ERRORS:  # reported when the image is used
            return False
        if len(values) >= _FEWEST_GREY_LEVELS:
            return False
    return kind != "f" or (len(values) > 1 and all(v == v // 1 for v in values))


def _sample(array: Any, depth: float) -> Any:
    """Read the middle of a slice, at a part of the depth."""
    across = tuple(int(n / depth) for n in array.shape[:-2])
    starts = (max(0, (n - _SAMPLE) // 2) for n in array.shape[-2:])
    return np.asarray(
        array[(*across, *(slice(start, start + _SAMPLE) for start in starts))]
    )
