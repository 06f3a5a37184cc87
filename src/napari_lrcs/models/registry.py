"""Networks by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from napari_lrcs.config import NetworkConfig
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.unet import UNet


def _lrcsnet(config: NetworkConfig, n_phases: int) -> SegmentationNetwork:
    return LRCSNet(
        n_channels=config.n_channels,
        n_phases=n_phases,
        n_filters=config.n_filters,
        kernel_size=config.kernel_size,
        n_bottleneck_convs=config.n_bottleneck_convs,
    )


def _unet(config: NetworkConfig, n_phases: int) -> SegmentationNetwork:
    return UNet(
        n_channels=config.n_channels,
        n_phases=n_phases,
        n_filters=config.n_filters,
        kernel_size=config.kernel_size,
    )


MODELS: Mapping[str, Callable[[NetworkConfig, int], SegmentationNetwork]] = (
    MappingProxyType({"lrcsnet": _lrcsnet, "unet": _unet})
)
"""What `NetworkConfig.model` may name."""


def create_model(config: NetworkConfig, *, n_phases: int) -> SegmentationNetwork:
    """Build the network that a config describes, with random weights.

    Parameters
    ----------
    n_phases : int
        At least 2.

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
