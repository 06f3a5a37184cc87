from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from napari_lrcs.config import TrainConfig
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.unet import UNet

pytestmark = pytest.mark.usefixtures("one_thread")


def test_levels_have_64_to_1024_channels() -> None:
    with torch.device("meta"):
        model = UNet(n_channels=1, n_phases=3, n_filters=64, kernel_size=3)

    widths = [block[-1].conv.out_channels for block in (model.first, *model.encoder)]

    assert widths == [64, 128, 256, 512, 1024]


def test_lrcsnet_has_a_tenth_of_its_parameters() -> None:
    with torch.device("meta"):
        models = (
            UNet(n_channels=1, n_phases=3, n_filters=64, kernel_size=3),
            LRCSNet(n_channels=1, n_phases=3),
        )

    of_unet, of_lrcsnet = (sum(p.numel() for p in m.parameters()) for m in models)

    assert of_lrcsnet < of_unet / 10


def test_halo_follows_from_the_receptive_field() -> None:
    # Back from the 1×1 classifier: 0; 2, 1; 3, 2; 4, 2; 4, 2; the coarsest block: 4;
    # 8, 10; 20, 22; 44, 46; 92, 94; to the stride of 16: 96.
    model = UNet(n_channels=1, n_phases=2, n_filters=1, kernel_size=3)

    assert (model.stride, model.halo) == (16, 96)


def test_maps_of_the_encoder_are_copied_to_the_decoder() -> None:
    model = UNet(n_channels=1, n_phases=2, n_filters=2, kernel_size=3)
    seen: list[Tensor] = []
    model.first.register_forward_hook(lambda *args: seen.append(args[2]))
    model.decoder[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    model(torch.randn(1, 1, 32, 32))

    encoded, joined = seen
    assert torch.equal(joined[:, :2], encoded)


def test_folded_network_gives_the_same_logits(
    tiny_config: TrainConfig, settled_model: Callable[..., SegmentationNetwork]
) -> None:
    model = settled_model(tiny_config.with_changes(model="unet"))
    x = torch.randn(2, 1, 32, 48)

    with torch.no_grad():
        before = model(x)
        model.fold()
        after = model(x)

    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
