"""Averages of weights, by values worked out by hand."""

import pytest
import torch
from torch import Tensor, nn

from napari_lrcs.config import NetworkConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.registry import create_model
from napari_lrcs.training.averaging import WeightAverage


@pytest.fixture
def model() -> SegmentationNetwork:
    """Make a small network whose weights are all 0."""
    model = create_model(NetworkConfig(n_filters=1, context_slices=0), n_phases=2)
    set_weights(model, 0.0)
    return model


def set_weights(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_first_steps_count_more_than_the_random_start(
    model: SegmentationNetwork,
) -> None:
    average = WeightAverage(model, kept=0.99)

    set_weights(model, 1.0)
    average.update(0)  # keeps 1 / 10
    after_one = weights(average.network)
    set_weights(model, 2.0)
    average.update(1)  # keeps 2 / 11

    torch.testing.assert_close(after_one, torch.full_like(after_one, 0.9))
    expected = torch.full_like(after_one, 2 / 11 * 0.9 + 9 / 11 * 2.0)
    torch.testing.assert_close(weights(average.network), expected)


def test_later_steps_keep_the_share_that_is_set(model: SegmentationNetwork) -> None:
    average = WeightAverage(model, kept=0.75)

    set_weights(model, 1.0)
    average.update(10_000)

    expected = torch.full_like(weights(model), 0.25)
    torch.testing.assert_close(weights(average.network), expected)


def test_normalisations_are_averaged_and_batches_counted(
    model: SegmentationNetwork,
) -> None:
    average = WeightAverage(model, kept=0.5)

    model.train()(torch.ones(1, 1, 16, 16))
    average.update(10_000)

    state, averaged = model.state_dict(), average.network.state_dict()
    (mean, *_), (count, *_) = (
        [name for name in state if name.endswith(ending)]
        for ending in ("running_var", "num_batches_tracked")
    )
    torch.testing.assert_close(averaged[mean], (1 + state[mean]) / 2)
    assert averaged[count] == state[count] == 1


def test_average_of_a_share_of_zero_is_the_network_itself(
    model: SegmentationNetwork,
) -> None:
    average = WeightAverage(model, kept=0.0)

    average.update(0)

    assert average.network is model
    assert average.state() == {}


def test_state_without_an_average_is_not_gone_on_from(
    model: SegmentationNetwork,
) -> None:
    average = WeightAverage(model, kept=0.5)

    with pytest.raises(CheckpointError, match="tensors are missing"):
        average.restore({})
