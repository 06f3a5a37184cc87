"""Networks by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from napari_lrcs.config import TrainConfig
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.unet import UNet


def _lrcsnet(config: TrainConfig, n_phases: int) -> SegmentationNetwork:
    return LRCSNet(
        n_channels=n_channels(config),
        n_phases=n_phases,
        n_filters=config.n_filters,
        kernel_size=config.kernel_size,
        n_bottleneck_convs=config.n_bottleneck_convs,
    )


def _unet(config: TrainConfig, n_phases: int) -> SegmentationNetwork:
    return UNet(
        n_channels=n_channels(config),
        n_phases=n_phases,
        n_filters=config.n_filters,
        kernel_size=config.kernel_size,
    )


MODELS: Mapping[str, Callable[[TrainConfig, int], SegmentationNetwork]] = (
    MappingProxyType({"lrcsnet": _lrcsnet, "unet": _unet})
)
"""What `TrainConfig.model` may name."""


def n_channels(config: TrainConfig) -> int:
    """Count the slices that a network sees at once."""
    return 2 * config.context_slices + 1


def create_model(config: TrainConfig, *, n_phases: int) -> SegmentationNetwork:
    """Build the network that a config describes, with random weights.

    Parameters
    ----------
    config : TrainConfig
        Its fields of the group "network" count.
    n_phases : int
        At least 2.

    Returns
    -------
    SegmentationNetwork

    Raises
    ------
    ValueError
        If no model has that name.
    """
    if config.model not in MODELS:
        raise ValueError(
            f"no model is named {config.model!r}; known: {', '.join(sorted(MODELS))}"
        )
    return MODELS[config.model](config, n_phases)
