import pytest
import torch
from torch import Tensor, nn

from napari_lrcs.models.xlearn import XlearnNet

pytestmark = pytest.mark.usefixtures("one_thread")


def test_widths_are_those_of_xlearn() -> None:
    model = XlearnNet(n_channels=1, n_phases=3, n_filters=1, kernel_size=3)

    widths = [
        (m.in_channels, m.out_channels)
        for m in model.modules()
        if isinstance(m, nn.Conv2d)
    ]

    assert widths == [
        *((1, 1), (1, 1), (1, 2), (2, 2), (2, 2), (2, 2)),
        *((2, 4), (4, 4), (4, 4), (4, 8)),
        *((8 + 2, 2), (2, 2), (2 + 2, 2), (2, 2), (2 + 1, 1), (1, 1)),
        (1, 3),
    ]


def test_halo_follows_from_the_receptive_field() -> None:
    # Back from the classifier: 1; 3, 2; 4, 2; 4, 2; the bottleneck: 6; then poolings:
    # 12, 14; 28, 30; 60, 62; to the stride of 8: 64.
    model = XlearnNet(n_channels=1, n_phases=2, n_filters=1, kernel_size=3)

    assert (model.stride, model.halo) == (8, 64)


def test_maps_of_the_encoder_are_copied_to_the_decoder() -> None:
    model = XlearnNet(n_channels=1, n_phases=2, n_filters=2, kernel_size=3)
    seen: list[Tensor] = []
    encoder, decoder = (
        [m for m in part.modules() if isinstance(m, nn.Conv2d)]
        for part in (model.encoder, model.decoder)
    )
    encoder[1].register_forward_hook(lambda *args: seen.append(args[2]))
    decoder[-2].register_forward_pre_hook(lambda _, args: seen.append(args[0]))

    model(torch.randn(1, 1, 16, 16))

    encoded, joined = seen
    assert torch.equal(joined[:, -2:], encoded)
    # The coarser maps are doubled by repetition.
    raised = joined[:, :-2]
    assert torch.equal(raised[..., ::2, ::2], raised[..., 1::2, 1::2])
