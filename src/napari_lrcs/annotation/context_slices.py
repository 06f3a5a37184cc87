"""How many neighbours of a slice a network is given: those that resemble it."""

from collections.abc import Sequence

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.config import TrainConfig


def fit_context_slices(
    config: TrainConfig, volumes: Sequence[AnnotatedVolume]
) -> tuple[TrainConfig, str]:
    """Set `context_slices` to what suits the volumes.

    Returns
    -------
    config : TrainConfig
        With the default of `context_slices` if neighbouring slices of all volumes
        resemble each other, else with 0; as it is if that cannot be told.
    reason : str
        What was chosen and why; empty if nothing was.

    Raises
    ------
    VolumeError
        If a file is damaged.
    """
    measured = [volume.resemblance(config.preprocessing.axis) for volume in volumes]
    known = [found for found in measured if found is not None]
    if not known:
        return config, ""
    least = min(known, key=lambda found: found.share)
    n = least.context_slices
    return config.with_changes(context_slices=n), least.describe_use(n)
