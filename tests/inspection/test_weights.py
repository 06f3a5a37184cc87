"""Kernels, weights and gradients, and how they are drawn."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import nn

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.inspection.figures import (
    Grid,
    write_gradients_figure,
    write_kernels_figure,
    write_way_figure,
    write_weights_figure,
)
from napari_lrcs.inspection.findings import N_BINS, Distribution
from napari_lrcs.inspection.maps import compute_way
from napari_lrcs.inspection.weights import (
    compute_gradients,
    draw_batch,
    first_kernels,
    weight_distributions,
)
from napari_lrcs.io.volume import as_volume
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.registry import MODELS
from napari_lrcs.training.losses import LOSSES

pytestmark = pytest.mark.usefixtures("one_thread")

MakeCheckpoint = Callable[..., Checkpoint]
MakeAnnotation = Callable[..., Annotation]

every_network = pytest.mark.parametrize("name", sorted(MODELS))


def test_distribution_counts_all_values_around_zero() -> None:
    values = np.array([[-2.0, 0.5], [0.0, 1.0]], np.float32)

    found = Distribution.of("a", values)

    assert (found.n, found.counts.sum()) == (4, 4)
    assert (found.edges[0], found.edges[-1]) == (-2, 2)
    assert found.counts[0] == 1
    assert found.mean == pytest.approx(-0.125)
    assert found.sizes[2] == pytest.approx(0.75)  # of 0, 0.5, 1 and 2
    assert Distribution.of("b", np.zeros(3)).counts[N_BINS // 2] == 3


@every_network
def test_first_kernels_and_weights_are_those_of_the_state(
    name: str, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    config = tiny_config.with_changes(model=name, context_slices=1)
    checkpoint = make_checkpoint(config)

    kernels = first_kernels(checkpoint)
    weights = weight_distributions(checkpoint)

    assert kernels.values.shape[1:] == (3, 3, 3)
    state = checkpoint.state[f"{kernels.name}.weight"]
    np.testing.assert_array_equal(kernels.values, state)
    in_state = {n for n, tensor in checkpoint.state.items() if tensor.dim() == 4}
    assert {f"{found.name}.weight" for found in weights} == in_state
    for found in weights:
        tensor = checkpoint.state[f"{found.name}.weight"].numpy()
        assert found.n == tensor.size
        assert found.mean == pytest.approx(tensor.mean(), abs=1e-6)


@every_network
def test_gradients_are_those_of_the_loss_of_the_batch(
    name: str,
    make_checkpoint: MakeCheckpoint,
    striped_annotation: MakeAnnotation,
    tiny_config: TrainConfig,
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(model=name, patch_size=32))
    slices = striped_annotation(n_phases=3, shape=(64, 80)).slices

    found = compute_gradients(checkpoint, slices)

    network = checkpoint.build()
    batch = draw_batch(checkpoint, slices, stride=network.stride)
    loss = LOSSES["dice_cross_entropy"](
        network.train()(batch.images), batch.labels, None
    )
    loss.backward()  # type: ignore[no-untyped-call]
    assert found.loss == pytest.approx(loss.item())
    for distribution in found.distributions:
        module = network.get_submodule(distribution.name)
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        assert module.weight.grad is not None
        largest = module.weight.grad.abs().max().item()
        assert distribution.edges[-1] == pytest.approx(largest or 1.0, rel=1e-4)
    # The checkpoint itself is as it was.
    assert not any(isinstance(t, nn.Parameter) for t in checkpoint.state.values())
    torch.testing.assert_close(compute_gradients(checkpoint, slices).loss, found.loss)


def test_labels_beyond_the_phases_of_the_network_are_refused(
    make_checkpoint: MakeCheckpoint, striped_annotation: MakeAnnotation
) -> None:
    slices = striped_annotation(n_phases=4).slices

    with pytest.raises(ValueError, match="labels reach 4, but the network has 3 phas"):
        compute_gradients(make_checkpoint(), slices)


def test_figures_are_drawn(
    make_checkpoint: MakeCheckpoint,
    striped_annotation: MakeAnnotation,
    tiny_config: TrainConfig,
    tmp_path: Path,
) -> None:
    config = tiny_config.with_changes(model="segnet", patch_size=32)
    checkpoint = make_checkpoint(config)
    annotation = striped_annotation(n_phases=3, shape=(64, 80))
    gradients = compute_gradients(checkpoint, annotation.slices)
    volume = as_volume(annotation.slices[0].image)

    write_kernels_figure(tmp_path / "kernels.png", first_kernels(checkpoint))
    write_weights_figure(tmp_path / "weights.png", weight_distributions(checkpoint))
    write_gradients_figure(tmp_path / "gradients.png", gradients.distributions)
    write_way_figure(tmp_path / "way.png", compute_way(volume, checkpoint, 0))

    for path in tmp_path.iterdir():
        assert imread(path).std() > 0.02, f"{path.name} is empty"


@every_network
def test_layers_on_the_way_have_places_of_their_own(
    name: str, make_checkpoint: MakeCheckpoint, tiny_config: TrainConfig
) -> None:
    checkpoint = make_checkpoint(tiny_config.with_changes(model=name))
    way = compute_way(as_volume(np.zeros((1, 32, 40))), checkpoint, 0)

    grid = Grid(way.stops)

    n_columns, n_rows = grid.size
    ends = {(0, 0), (n_columns - 1, 0)}  # the slice and its prediction
    places = [grid.places[i] for i in range(len(way.stops))]
    assert len({*places} | ends) == len(places) + 2
    assert n_rows == len({stop.layer.step for stop in way.stops})
    assert all(column < n_columns and row < n_rows for column, row in places)
