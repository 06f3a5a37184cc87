"""The painted slices of trainings that are compared with each other."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from napari_lrcs.annotation.annotation import (
    AnnotatedVolume,
    Annotation,
    read_annotation,
)
from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable


def read_compared(
    volumes: Sequence[AnnotatedVolume],
    *,
    config: TrainConfig,
    phases: PhaseTable | None,
    begun_at: datetime,
) -> Annotation:
    """Read and check the painted slices, but none for the test.

    Raises
    ------
    ValueError
        As `read_annotation` does, or if there is no validation.
    """
    # Test slices must not take part in the choice of settings.
    without = [
        replace(v, roles={r: z for r, z in v.roles.items() if r != "test"})
        for v in volumes
    ]
    annotation = read_annotation(
        without, config=config, phases=phases, begun_at=begun_at
    )
    if not annotation.with_role("validation"):
        raise ValueError(
            "there is no validation slice, so no training has a score; choose a "
            "painted slice that is not trained on"
        )
    return annotation


def describe_compared(
    volumes: Sequence[AnnotatedVolume], annotation: Annotation, *, config: TrainConfig
) -> dict[str, Any]:
    """Describe what the results of trainings depend on, as JSON values."""
    settings = config.identity()
    del settings["device"]
    return {
        "images": [[v.image.name, *v.image.shape] for v in volumes],
        "masks": [v.mask and v.mask.name for v in volumes],
        "labels": annotation.labels_hash,
        "grey levels": _digest(volumes, config),
        "config": settings,
    }


def _digest(volumes: Sequence[AnnotatedVolume], config: TrainConfig) -> str:
    """Hash the first training slice of each volume."""
    digest = hashlib.sha256()
    axis = config.preprocessing.axis
    for volume in volumes:
        for index in volume.roles.get("train", ())[:1]:
            digest.update(volume.image.slab(index, index + 1, axis=axis).tobytes())
    return digest.hexdigest()
