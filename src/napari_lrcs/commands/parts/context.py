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
) -> "TrainConfig":
    """Fit the neighbours of the preset ``quick`` to the volumes; say what and why."""
    from napari_lrcs.annotation.context_slices import fit_context_slices
    from napari_lrcs.commands.parts.progress import Display

    if arguments.preset != "quick" or "context_slices" in arguments:
        return config
    config, reason = fit_context_slices(config, volumes)
    if reason:
        Display().print(reason)
    return config
