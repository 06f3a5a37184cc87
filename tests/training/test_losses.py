import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from napari_lrcs.training.losses import (
    LOSSES,
    cross_entropy,
    dice_cross_entropy,
    dice_loss,
)

Loss = Callable[..., Tensor]

every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


def logits_of(*pixels: tuple[float, ...]) -> Tensor:
    """Make logits, shape (1, K, 1, n), whose soft-max is the given probabilities."""
    return torch.tensor(pixels).log().T[None, :, None, :]


def labels_of(*labels: int) -> Tensor:
    return torch.tensor(labels, dtype=torch.uint8)[None, None, :]


TWO_PAINTED = logits_of((0.75, 0.25), (0.5, 0.5), (0.9, 0.1))
PAINTING = labels_of(1, 2, 0)


def test_dice_is_averaged_over_the_phases() -> None:
    # Phase 1: 2 × ¾ / (¾ + ½ + 1) = ⅔; phase 2: 2 × ½ / (¼ + ½ + 1) = 4/7.
    loss = dice_loss(TWO_PAINTED, PAINTING)

    assert loss.item() == pytest.approx(1 - (2 / 3 + 4 / 7) / 2)


def test_cross_entropy_is_averaged_over_painted_voxels() -> None:
    loss = cross_entropy(TWO_PAINTED, PAINTING)

    assert loss.item() == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


def test_phases_weigh_in_the_average() -> None:
    weights = torch.tensor([3.0, 1.0])

    dice = dice_loss(TWO_PAINTED, PAINTING, weights)
    entropy = cross_entropy(TWO_PAINTED, PAINTING, weights)

    assert dice.item() == pytest.approx((3 * (1 - 2 / 3) + (1 - 4 / 7)) / 4)
    assert entropy.item() == pytest.approx(-(3 * math.log(0.75) + math.log(0.5)) / 4)


def test_sum_of_both_is_their_sum() -> None:
    weights = torch.tensor([3.0, 1.0])

    both = dice_cross_entropy(TWO_PAINTED, PAINTING, weights)

    parts = [f(TWO_PAINTED, PAINTING, weights) for f in (dice_loss, cross_entropy)]
    assert both.item() == pytest.approx(sum(part.item() for part in parts))


def test_phase_that_is_painted_nowhere_is_left_out_of_dice() -> None:
    logits = logits_of((0.5, 0.2, 0.3), (0.7, 0.2, 0.1))

    loss = dice_loss(logits, labels_of(1, 1))

    assert loss.item() == pytest.approx(1 - 2 * 1.2 / (1.2 + 2))


@every_loss
def test_perfect_prediction_costs_nothing(loss: Loss) -> None:
    logits = logits_of((1.0, 1e-30), (1e-30, 1.0))

    assert loss(logits, labels_of(1, 2)).item() == pytest.approx(0, abs=1e-6)


@every_loss
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2, 3])])
def test_unpainted_voxels_do_not_count(loss: Loss, weights: Tensor | None) -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(0, 4, (2, 4, 5), dtype=torch.uint8)
    unpainted = (labels == 0)[:, None].expand_as(logits)

    value = loss(logits, labels, weights)
    elsewhere = loss(torch.where(unpainted, 7 * logits + 5, logits), labels, weights)
    (slope,) = torch.autograd.grad(value, logits)

    assert value.item() == elsewhere.item()
    assert not slope[unpainted].any()
    assert slope[~unpainted].any()


@every_loss
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2])])
def test_nothing_painted_costs_nothing(loss: Loss, weights: Tensor | None) -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)

    value = loss(logits, torch.zeros(1, 3, 3, dtype=torch.uint8), weights)
    (slope,) = torch.autograd.grad(value, logits)

    assert value.item() == 0
    assert not slope.any()


@every_loss
def test_only_painted_phase_of_weight_zero_costs_nothing(loss: Loss) -> None:
    logits = torch.randn(1, 2, 1, 2, requires_grad=True)

    value = loss(logits, labels_of(1, 1), torch.tensor([0.0, 1]))
    (slope,) = torch.autograd.grad(value, logits)

    assert value.item() == 0
    assert slope.isfinite().all()


@every_loss
def test_extreme_logits_have_a_finite_gradient(loss: Loss) -> None:
    logits = torch.tensor([[[[300.0, -300]], [[-300.0, 300]]]], requires_grad=True)

    (slope,) = torch.autograd.grad(loss(logits, labels_of(2, 1)), logits)

    assert slope.isfinite().all()
