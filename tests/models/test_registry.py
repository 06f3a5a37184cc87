from dataclasses import replace

import pytest
import torch

from napari_lrcs.config import NetworkConfig, TrainConfig
from napari_lrcs.models import NETWORKS
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.registry import MODELS, create_model
from napari_lrcs.models.segnet import SegNet
from napari_lrcs.models.unet import UNet
from napari_lrcs.models.xlearn import XlearnNet


def test_models_go_by_their_names(tiny_config: TrainConfig) -> None:
    classes = {
        name: type(create_model(replace(tiny_config.network, model=name), n_phases=2))
        for name in MODELS
    }

    assert classes == {
        "lrcsnet": LRCSNet,
        "segnet": SegNet,
        "unet": UNet,
        "xlearn": XlearnNet,
    }
    assert set(NETWORKS) == set(MODELS)  # what the forms offer


def test_unknown_model_is_refused_and_the_known_are_named(
    tiny_config: TrainConfig,
) -> None:
    config = tiny_config.with_changes(model="lrcs11")

    with pytest.raises(
        ValueError,
        match="no model is named 'lrcs11'; known: lrcsnet, segnet, unet, xlearn",
    ):
        create_model(config.network, n_phases=2)


def test_context_slices_are_channels() -> None:
    assert NetworkConfig(context_slices=0).n_channels == 1
    assert NetworkConfig(context_slices=2).n_channels == 5


@pytest.mark.parametrize("name", sorted(MODELS))
def test_all_models_have_one_interface(name: str, tiny_config: TrainConfig) -> None:
    config = tiny_config.with_changes(model=name, context_slices=1)

    model = create_model(config.network, n_phases=4)

    assert isinstance(model, SegmentationNetwork)
    assert model.halo % model.stride == 0
    assert model.n_phases == 4
    assert model.bytes_per_pixel > 0
    assert model(torch.zeros(2, 3, 5, 7)).shape == (2, 4, 5, 7)


def test_segmentpy_fault_5_width_and_kernel_size_are_not_confused(
    tiny_config: TrainConfig,
) -> None:
    config = tiny_config.with_changes(n_filters=4, kernel_size=7, n_bottleneck_convs=3)

    model = create_model(config.network, n_phases=2)

    assert isinstance(model, LRCSNet)
    assert model.encoder[0].weight.shape == (8, 1, 7, 7)
    assert len(model.bottleneck) == 3
