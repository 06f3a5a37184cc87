"""What a layer is: painted, made by this plugin, or the user's own."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from napari.layers import Layer

Kind = Literal[
    "painting",
    "prediction",
    "confidence map",
    "training preview",
    "perturbed copy",
    "perturbed preview",
    "interface histogram",
    "majority vote of networks",
    "agreement of networks",
    "majority vote of experimenters",
    "agreement of experimenters",
    "difference map",
]
"""Kind of a layer that this plugin makes, worded to follow "is a"."""

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
