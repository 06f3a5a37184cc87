import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_lrcs.config import TrainConfig
from napari_lrcs.models.layers import NormalisedConv, SegmentationNetwork
from napari_lrcs.models.lrcsnet import LRCSNet
from napari_lrcs.models.registry import MODELS

pytestmark = pytest.mark.usefixtures("one_thread")


def n_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv2d)]


def small_net(
    n_channels: int = 1,
    n_phases: int = 3,
    *,
    skip_connections: bool = False,
    **widths: int,
) -> LRCSNet:
    return LRCSNet(
        n_channels=n_channels,
        n_phases=n_phases,
        skip_connections=skip_connections,
        **{"n_filters": 2, "kernel_size": 3, **widths},
    )


def test_paper_network_has_2847395_parameters() -> None:
    assert n_parameters(LRCSNet(n_channels=1, n_phases=3)) == 2_847_395


def test_segmentpy_variant_has_2437667_parameters() -> None:
    variant = LRCSNet(n_channels=1, n_phases=3, n_bottleneck_convs=1)

    assert n_parameters(variant) == 2_437_667


def test_encoder_has_five_convolutions_and_no_normalisation() -> None:
    model = small_net()
    encoder = nn.ModuleList([model.encoder, model.bottleneck])

    widths = [(conv.in_channels, conv.out_channels) for conv in convolutions(encoder)]

    assert widths == [(1, 4), (4, 4), (4, 8), (8, 8), (8, 8)]
    assert all(conv.bias is not None for conv in convolutions(encoder))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules())


def test_decoder_has_eight_normalised_convolutions() -> None:
    model = small_net()

    blocks = [m for m in model.decoder.modules() if isinstance(m, NormalisedConv)]

    widths = [(b.conv.in_channels, b.conv.out_channels) for b in blocks]
    assert widths == [(8, 8), (8, 8), (8, 8), (8, 4), (4, 4), (4, 4), (4, 2), (2, 2)]
    assert all(isinstance(b.norm, nn.BatchNorm2d) for b in blocks)
    assert all(b.conv.bias is None for b in blocks)
    assert model.classifier.bias is not None
    assert model.classifier.kernel_size == (3, 3)


def test_skips_join_the_maps_of_the_encoder_before_their_activation() -> None:
    model = small_net(skip_connections=True)
    seen: list[Tensor] = []
    model.encoder[0].register_forward_hook(lambda *args: seen.append(args[2]))
    model.decoder[3].register_forward_pre_hook(lambda _, args: seen.extend(args))

    model(torch.randn(1, 1, 16, 16))

    maps, raised, beside = seen
    assert torch.equal(beside, maps)
    assert raised.shape == maps.shape
    widths = [convolutions(block)[0].in_channels for block in model.decoder]
    assert widths == [8, 16, 8, 8]  # 8, 4 and 4 of the encoder


def test_encoder_ends_in_a_sigmoid() -> None:
    model = small_net()
    seen: list[Tensor] = []
    model.bottleneck[-1].register_forward_hook(lambda *args: seen.append(args[2]))
    model.decoder[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    model(torch.randn(1, 1, 16, 16))

    before, after = seen
    torch.testing.assert_close(after, before.sigmoid())


def test_initial_weights_fill_glorots_interval() -> None:
    torch.manual_seed(0)
    model = LRCSNet(n_channels=1, n_phases=3, n_filters=8, kernel_size=3)

    for conv in convolutions(model):
        bound = math.sqrt(6 / (9 * (conv.in_channels + conv.out_channels)))
        largest = float(conv.weight.detach().abs().max())
        assert 0.9 * bound < largest <= bound
        assert conv.bias is None or not conv.bias.any()


@pytest.mark.parametrize(("kernel_size", "halo"), [(3, 56), (5, 112)])
def test_halo_follows_from_the_receptive_field(kernel_size: int, halo: int) -> None:
    # k = 3, back from the classifier: 1; 3, 2; 4, 2; 4, 2; four convolutions at the
    # coarsest level: 6; then 12, 13; 26, 27; 54, 55; to the stride of 8: 56.
    # k = 5: 2; 6, 3; 7, 4; 8, 4; 12; 24, 26; 52, 54; 108, 110; 112.
    model = small_net(kernel_size=kernel_size)

    assert (model.stride, model.halo) == (8, halo)


@pytest.mark.parametrize("model_name", sorted(MODELS))
def test_slices_of_one_to_nine_pixels_pass(
    model_name: str,
    tiny_config: TrainConfig,
    settled_model: Callable[..., SegmentationNetwork],
) -> None:
    model = settled_model(tiny_config.with_changes(model=model_name))

    with torch.no_grad():
        for height, width in product(range(1, 10), repeat=2):
            logits = model(torch.randn(1, 1, height, width))

            assert logits.shape == (1, 3, height, width)
            assert logits.isfinite().all()


@pytest.mark.parametrize("model_name", sorted(MODELS))
def test_segmentpy_fault_8_borders_are_padded_and_cropped_back(
    model_name: str,
    tiny_config: TrainConfig,
    settled_model: Callable[..., SegmentationNetwork],
) -> None:
    model = settled_model(tiny_config.with_changes(model=model_name))
    image = np.random.default_rng(0).standard_normal((37, 51)).astype(np.float32)
    padded = np.pad(image, ((0, 64 - 37), (0, 64 - 51)), mode="reflect")

    with torch.no_grad():
        logits = model(torch.from_numpy(image)[None, None])
        width = -(-51 // model.stride) * model.stride
        height = -(-37 // model.stride) * model.stride
        whole = model.logits(torch.from_numpy(padded[:height, :width])[None, None])

    torch.testing.assert_close(logits, whole[..., :37, :51])


@pytest.mark.parametrize(("n_channels", "n_phases"), [(1, 2), (5, 3), (3, 255)])
def test_any_number_of_channels_and_phases(n_channels: int, n_phases: int) -> None:
    model = small_net(n_channels, n_phases)

    logits = model(torch.randn(2, n_channels, 8, 16))

    assert logits.shape == (2, n_phases, 8, 16)


def test_folded_network_gives_the_same_logits(
    tiny_config: TrainConfig, settled_model: Callable[..., SegmentationNetwork]
) -> None:
    model = settled_model(tiny_config)
    x = torch.randn(2, 1, 24, 40)

    with torch.no_grad():
        before = model(x)
        model.fold()
        after = model(x)

    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
