from itertools import pairwise
from typing import Literal

import pytest
import torch

from napari_lrcs.config import OptimisationConfig
from napari_lrcs.training.schedule import generator_of, learning_rate_at

CPU = torch.device("cpu")
ScheduleName = Literal["one_cycle", "step", "exponential", "constant"]


def rates(
    schedule: ScheduleName, *, n_epochs: int = 2, steps_per_epoch: int = 4
) -> list[float]:
    config = OptimisationConfig(
        schedule=schedule, learning_rate=1e-2, decay_ratio=0.3, n_epochs=n_epochs
    )
    return [
        learning_rate_at(step, config=config, steps_per_epoch=steps_per_epoch)
        for step in range(n_epochs * steps_per_epoch)
    ]


def test_step_decays_at_the_end_of_every_epoch() -> None:
    assert rates("step", n_epochs=3, steps_per_epoch=2) == pytest.approx(
        [1e-2, 1e-2, 3e-3, 3e-3, 9e-4, 9e-4]
    )


def test_exponential_decays_by_the_same_in_an_epoch_but_smoothly() -> None:
    assert rates("exponential", steps_per_epoch=2) == pytest.approx(
        [1e-2, 1e-2 * 0.3**0.5, 3e-3, 1e-2 * 0.3**1.5]
    )


def test_constant_stays() -> None:
    assert rates("constant") == [1e-2] * 8


def test_one_cycle_is_pytorchs_to_within_a_step() -> None:
    n_steps = 400
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=1e-2, total_steps=n_steps
    )
    expected = []
    for _ in range(n_steps):
        expected.append(float(reference.get_last_lr()[0]))
        optimiser.step()
        if len(expected) < n_steps:
            reference.step()

    ours = rates("one_cycle", n_epochs=4, steps_per_epoch=100)

    # PyTorch is highest at step 0.3 n - 1, we at 0.3 (n - 1).
    largest_change = max(abs(b - a) for a, b in pairwise(expected))
    assert ours == pytest.approx(expected, abs=largest_change)
    assert ours[0] == pytest.approx(1e-2 / 25)
    assert max(ours) == pytest.approx(1e-2, rel=1e-3)
    assert ours[-1] == pytest.approx(1e-2 / 25 * 1e-4)


def test_one_cycle_of_a_single_step_is_finite() -> None:
    assert rates("one_cycle", n_epochs=1, steps_per_epoch=1) == pytest.approx([4e-4])


def draw(seed: int, step: int) -> list[float]:
    return torch.rand(4, generator=generator_of(seed, step, device=CPU)).tolist()


def test_random_numbers_of_a_step_depend_on_seed_and_step_alone() -> None:
    forwards = [draw(1, step) for step in (0, 1, 2)]
    torch.rand(17)
    backwards = [draw(1, step) for step in (2, 1, 0)]

    assert forwards == backwards[::-1]


def test_steps_and_seeds_have_random_numbers_of_their_own() -> None:
    draws = {tuple(draw(seed, step)) for seed in range(30) for step in range(30)}

    assert len(draws) == 900


def test_largest_seed_is_taken() -> None:
    assert len(draw(2**31, 10**9)) == 4
