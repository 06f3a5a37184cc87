"""Networks by name."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Protocol

from napari_lrcs.config import NetworkConfig
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.responses import N_RESPONSES
from napari_lrcs.models.segnet import SegNet
from napari_lrcs.models.unet import UNet
from napari_lrcs.models.xlearn import XlearnNet


class _Build(Protocol):
    """What makes a network from the settings that all networks share."""

    def __call__(
        self, *, n_channels: int, n_phases: int, n_filters: int, kernel_size: int
    ) -> SegmentationNetwork: ...


def _lrcsnet(config: NetworkConfig, n_phases: int) -> SegmentationNetwork:
    build = partial(
        LRCSNet,
        n_bottleneck_convs=config.n_bottleneck_convs,
        skip_connections=config.skip_connections,
    )
    return _network(build, config, n_phases)


def _network(
    build: _Build, config: NetworkConfig, n_phases: int
) -> SegmentationNetwork:
    network = build(
        n_channels=config.n_channels + config.filter_scales * N_RESPONSES,
        n_phases=n_phases,
        n_filters=config.n_filters,
        kernel_size=config.kernel_size,
    )
    network.n_scales = config.filter_scales
    return network


MODELS: Mapping[str, Callable[[NetworkConfig, int], SegmentationNetwork]] = (
    MappingProxyType(
        {
            "lrcsnet": _lrcsnet,
            "segnet": partial(_network, SegNet),
            "unet": partial(_network, UNet),
            "xlearn": partial(_network, XlearnNet),
        }
    )
)
"""What `NetworkConfig.model` may name; `models.NETWORKS` lists the names, too."""


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
