import pytest
import torch
from torch import Tensor, nn

from napari_lrcs.models.segnet import SegNet

pytestmark = pytest.mark.usefixtures("one_thread")


def test_original_has_29_million_parameters() -> None:
    # 13 + 12 convolutions of 3×3 without a bias: 14,710,464 weights, and
    # 14,710,464 - 9 · 3 · 64; two numbers a channel to normalise: 2 · 4224 and
    # 2 · 3712; a classifier of 9 · 64 · 12 + 12.
    with torch.device("meta"):
        model = SegNet(n_channels=3, n_phases=12, n_filters=64, kernel_size=3)

    n_parameters = sum(p.numel() for p in model.parameters())

    assert n_parameters == 2 * 14_710_464 - 1728 + 2 * (4224 + 3712) + 6924


def test_decoder_mirrors_the_13_convolutions_of_the_encoder() -> None:
    model = SegNet(n_channels=1, n_phases=3, n_filters=1, kernel_size=3)

    encoder, decoder = (
        [
            (m.in_channels, m.out_channels)
            for m in part.modules()
            if isinstance(m, nn.Conv2d)
        ]
        for part in (model.encoder, nn.ModuleList([model.decoder, model.classifier]))
    )

    assert len(encoder) == 13
    assert decoder[:-1] == [(b, a) for a, b in reversed(encoder[1:])]
    assert decoder[-1] == (1, 3)


def test_halo_follows_from_the_receptive_field() -> None:
    # Back from the classifier: 1; 2, 1; 3, 2; 5, 3; 6, 3; 6, 3; then poolings: 6, 9;
    # 18, 21; 42, 45; 90, 92; 184, 186; to the stride of 32: 192.
    model = SegNet(n_channels=1, n_phases=2, n_filters=1, kernel_size=3)

    assert (model.stride, model.halo) == (32, 192)


def test_maxima_return_to_their_places() -> None:
    model = SegNet(n_channels=1, n_phases=2, n_filters=2, kernel_size=3)
    seen: list[Tensor] = []
    model.encoder[0].register_forward_hook(lambda *args: seen.append(args[2]))
    model.decoder[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    model(torch.randn(1, 1, 32, 32))

    encoded, raised = seen
    windows = encoded.unfold(2, 2, 2).unfold(3, 2, 2)
    is_maximum = encoded == windows.amax((-2, -1)).repeat_interleave(
        2, -1
    ).repeat_interleave(2, -2)
    assert not raised[~is_maximum].any()
    assert raised.any()


def test_negative_values_are_cut_off() -> None:
    model = SegNet(n_channels=1, n_phases=2, n_filters=2, kernel_size=3)
    seen: list[Tensor] = []
    model.encoder[0].register_forward_hook(lambda *args: seen.append(args[2]))

    model(torch.randn(1, 1, 32, 32))

    assert seen[0].min() == 0 < seen[0].max()
