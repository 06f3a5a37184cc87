"""Filter responses, on images whose derivatives are known."""

import pytest
import torch
from torch import Tensor

from napari_lrcs.models.responses import N_RESPONSES, append_responses, reach_of

SIDE = 64


def responses(image: Tensor, *, n_scales: int) -> Tensor:
    """Return those of each scale, shape (n_scales, N_RESPONSES, H, W)."""
    found = append_responses(image[None, None], n_scales=n_scales)[0, 1:]
    return found.view(n_scales, N_RESPONSES, *image.shape)


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_derivatives_are_those_of_the_image_times_the_scale(scale: int) -> None:
    # 1 + 2 y + 3 x²/2, far from the border.
    y, x = torch.meshgrid(*[torch.arange(SIDE).double() - SIDE // 2] * 2, indexing="ij")
    inside = (slice(SIDE // 2 - 3, SIDE // 2 + 3),) * 2

    _, gradient, greatest, least = responses(1 + 2 * y + 1.5 * x**2, n_scales=3)[scale]

    sigma = 2.0**scale
    expected = sigma * torch.sqrt(4 + (3 * x) ** 2)
    torch.testing.assert_close(gradient[inside], expected[inside])
    torch.testing.assert_close(
        greatest[inside], torch.full_like(greatest[inside], 3 * sigma**2)
    )
    torch.testing.assert_close(least[inside], torch.zeros_like(least[inside]))


def test_a_constant_image_responds_with_its_grey_level_alone() -> None:
    found = responses(torch.full((5, 7), 3.0), n_scales=2)

    torch.testing.assert_close(found[:, 0], torch.full((2, 5, 7), 3.0))
    torch.testing.assert_close(found[:, 1:], torch.zeros(2, 3, 5, 7))


def test_responses_turn_with_the_image() -> None:
    image = torch.rand((20, 30), generator=torch.Generator().manual_seed(0))

    turned = responses(image.rot90(), n_scales=2)

    torch.testing.assert_close(turned, responses(image, n_scales=2).rot90(1, (2, 3)))


def test_a_pixel_is_seen_as_far_as_the_reach_and_no_farther() -> None:
    image = torch.zeros(SIDE, SIDE)
    image[0] = 1.0
    reach = reach_of(3)

    rows = responses(image, n_scales=3).abs().amax(dim=(0, 1, 3))

    assert rows[reach] > 0
    assert not rows[reach + 1 :].any()


def test_the_slice_in_the_middle_responds_and_none_is_changed() -> None:
    slices = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))

    found = append_responses(slices, n_scales=1)

    assert found.shape == (2, 3 + N_RESPONSES, 8, 8)
    assert torch.equal(found[:, :3], slices)
    torch.testing.assert_close(
        found[:, 3:], append_responses(slices[:, 1:2], n_scales=1)[:, 1:]
    )
    assert append_responses(slices, n_scales=0) is slices


def test_bfloat16_is_filtered_in_float32() -> None:
    image = torch.rand((1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    short = image.bfloat16()

    with torch.autocast("cpu", torch.bfloat16):
        found = append_responses(short, n_scales=2)

    expected = append_responses(short.float(), n_scales=2)
    assert torch.equal(found, expected.bfloat16())
