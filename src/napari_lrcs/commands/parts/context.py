"""Choose `context_slices` where neither a flag nor the preset does."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_lrcs.annotation.annotation import AnnotatedVolume
    from napari_lrcs.config import TrainConfig


def fit(
    config: "TrainConfig",
    arguments: argparse.Namespace,
    volumes: "Sequence[AnnotatedVolume]",
) -> "tuple[TrainConfig, str]":
    """Fit the neighbours of ``quick`` and ``best``; see `fit_context_slices`."""
    from napari_lrcs.annotation.context_slices import fit_context_slices
    from napari_lrcs.config import FITTED_PRESETS

    if arguments.preset not in FITTED_PRESETS or "context_slices" in arguments:
        return config, ""
    return fit_context_slices(config, volumes)
