import torch
from torch import Tensor

from napari_lrcs.models.turns import average_turns


def test_each_corner_is_the_first_in_two_of_eight_views() -> None:
    def first_pixel(x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), 2, *x.shape[-2:])
        logits[:, 0, 0, 0], logits[:, 1, 0, 0] = 50, -50
        return logits

    mean = average_turns(first_pixel, torch.zeros(1, 1, 3, 4)).softmax(dim=1)[0, 0]

    expected = torch.full((3, 4), 0.5)
    expected[::2, ::3] = (2 * 1 + 6 * 0.5) / 8
    torch.testing.assert_close(mean, expected)


def test_what_no_turn_changes_stays() -> None:
    image = torch.rand(2, 1, 5, 7)

    def by_grey_level(x: Tensor) -> Tensor:
        return torch.cat([4 * x, 1 - x], dim=1)

    mean = average_turns(by_grey_level, image).softmax(dim=1)

    torch.testing.assert_close(mean, by_grey_level(image).softmax(dim=1))
