import math

import pytest

from napari_lrcs.search.results import TrialResult, find_hopeless


def trial(
    *curves: tuple[float, ...], number: int = 0, state: str = "complete"
) -> TrialResult:
    return TrialResult(number=number, settings={}, state=state, curves=curves)  # type: ignore[arg-type]


def test_a_score_is_the_mean_of_the_best_epochs() -> None:
    result = trial((0.2, 0.6, 0.5), (0.8, 0.7))

    assert result.scores == (0.6, 0.8)
    assert result.score == pytest.approx(0.7)
    assert result.sd == pytest.approx(math.sqrt(0.02))
    assert math.isnan(trial((0.2,)).sd)
    assert math.isnan(trial().score)


OTHERS = [trial((n / 10, 0.9), number=n) for n in range(1, 6)]
"""Median 0.3 after the first epoch, 0.9 after the second."""


def test_a_trial_below_the_median_at_the_same_epoch_is_hopeless() -> None:
    assert find_hopeless(trial((0.3,)), OTHERS) == ""
    assert find_hopeless(trial((0.2, 0.9)), OTHERS) == ""
    assert find_hopeless(trial((0.29,)), OTHERS) == (
        "its first training reached a mean IoU of 29.0%, less than 30.0%, the median "
        "of 5 other trials"
    )


def test_nothing_is_hopeless_compared_with_a_few_or_with_failed_trials() -> None:
    failed = trial((0.9,), number=9, state="failed")

    assert find_hopeless(trial((0.0,)), OTHERS[:4]) == ""
    assert find_hopeless(trial((0.0,)), [*OTHERS[:4], failed]) == ""
