"""Learning rates and random numbers as functions of the step, so that runs resume."""

import math

import numpy as np
import torch

from napari_lrcs.config import OptimisationConfig

_WARM_UP = 0.3
_START_RATIO = 1 / 25
_END_RATIO = 1e-4
"""The one-cycle schedule as PyTorch's OneCycleLR has it: Smith & Topin,
https://arxiv.org/abs/1708.07120."""

_UP_STEPS = 20
DOWN_EPOCHS = 3
"""Steps up and epochs down of the trapezoidal schedule: Hägele et al., "Scaling laws
and compute-optimal training beyond fixed training durations",
https://arxiv.org/abs/2405.18392. A training that nobody knows the length of can end
at any time after so many more epochs."""


def learning_rate_at(
    step: int, *, config: OptimisationConfig, steps_per_epoch: int
) -> float:
    """Compute the learning rate of a step.

    Parameters
    ----------
    step : int
        Steps done since the training began, from 0.

    Returns
    -------
    float
        ``step``: multiplied by `decay_ratio` at the end of every epoch, as in the
        paper ("decay applied at the end of each epoch"); ``exponential``: the same,
        smoothly; ``one_cycle``: a cosine up and a longer one down; ``trapezoidal``:
        up within some steps, and down to 0 in the last epochs; ``constant``.

    Examples
    --------
    >>> paper = OptimisationConfig(schedule="step", learning_rate=1e-4, decay_ratio=0.3)
    >>> [
    ...     round(learning_rate_at(s, config=paper, steps_per_epoch=10), 8)
    ...     for s in (9, 10)
    ... ]
    [0.0001, 3e-05]
    """
    match config.schedule:
        case "step":
            factor = config.decay_ratio ** (step // steps_per_epoch)
        case "exponential":
            factor = config.decay_ratio ** (step / steps_per_epoch)
        case "one_cycle":
            factor = _one_cycle(step / max(1, config.n_epochs * steps_per_epoch - 1))
        case "trapezoidal":
            n_left = config.n_epochs * steps_per_epoch - step
            factor = _trapezoid(step, n_left, n_down=DOWN_EPOCHS * steps_per_epoch)
        case "constant":
            factor = 1.0
    return config.learning_rate * factor


def _one_cycle(progress: float) -> float:
    if progress < _WARM_UP:
        return _cosine(_START_RATIO, 1.0, progress / _WARM_UP)
    end = _START_RATIO * _END_RATIO
    return _cosine(1.0, end, (progress - _WARM_UP) / (1 - _WARM_UP))


def _trapezoid(n_done: int, n_left: int, *, n_down: int) -> float:
    return max(0.0, min(1.0, (1 + n_done) / _UP_STEPS, n_left / (n_down + 1)))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def generator_of(seed: int, step: int, *, device: torch.device) -> torch.Generator:
    """Make the random numbers of one step: they depend on nothing but these two."""
    state = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    generator = torch.Generator(device)
    generator.manual_seed(int(state[0] >> np.uint64(1)))
    return generator
