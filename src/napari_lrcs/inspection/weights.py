"""The kernels, weights and gradients of a network."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_lrcs.annotation.annotation import AnnotatedSlice
from napari_lrcs.inspection.findings import Distribution, Gradients, Kernels
from napari_lrcs.inspection.recording import convolutions_of
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.device import memory_error_for
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.training.augment import augment
from napari_lrcs.training.losses import LOSSES
from napari_lrcs.training.sampling import Patches, PatchSampler, fitting_patch_size
from napari_lrcs.training.schedule import generator_of
from napari_lrcs.training.scoring import phase_weights_of

_CPU = torch.device("cpu")


def first_kernels(checkpoint: Checkpoint) -> Kernels:
    """Return the kernels of the first convolution, which sees the image itself."""
    name, first = convolutions_of(checkpoint.build())[0]
    n_channels = checkpoint.config.network.n_channels  # what follows sees filters
    return Kernels(name=name, values=_array(first.weight)[:, :n_channels])


def weight_distributions(checkpoint: Checkpoint) -> tuple[Distribution, ...]:
    """Summarise the weights of each convolution, from the input to the output."""
    return tuple(
        Distribution.of(name, _array(module.weight))
        for name, module in convolutions_of(checkpoint.build())
    )


def compute_gradients(
    checkpoint: Checkpoint, slices: Sequence[AnnotatedSlice]
) -> Gradients:
    """Compute the gradients of one batch, as the network's training would next.

    The batch has the size, patches, augmentation and loss of that training.

    Parameters
    ----------
    slices : sequence of AnnotatedSlice
        What patches are drawn from, read with the checkpoint's config.

    Raises
    ------
    ValueError
        If a slice is painted with a phase that the network does not have.
    """
    _check_phases(checkpoint, slices)
    network = checkpoint.build()
    batch = draw_batch(checkpoint, slices, stride=network.stride)
    with memory_error_for(_CPU, "for the gradients of a batch; free some"):
        loss = backpropagate(network, checkpoint, batch)
    return Gradients(
        loss=loss,
        distributions=tuple(
            Distribution.of(name, _array(module.weight.grad))
            for name, module in convolutions_of(network)
            if module.weight.grad is not None
        ),
    )


def draw_batch(
    checkpoint: Checkpoint, slices: Sequence[AnnotatedSlice], *, stride: int
) -> Patches:
    """Draw a batch as the first step of the network's training does.

    Parameters
    ----------
    slices : sequence of AnnotatedSlice
        What patches are drawn from.
    stride : int
        Stride of the network, of which the side of a patch is a multiple.
    """
    config = checkpoint.config
    shortest = min(min(s.labels.shape) for s in slices)
    sampler = PatchSampler(
        slices,
        normalisation=checkpoint.normalisation,
        config=config.augmentation,
        patch_size=fitting_patch_size(
            config.optimisation.patch_size, shortest=shortest, stride=stride
        ),
        balance=config.optimisation.balance,
        device=_CPU,
    )
    generator = generator_of(config.seed, 0, device=_CPU)
    drawn = sampler.sample(config.optimisation.batch_size, generator=generator)
    images = augment(drawn.images, config=config.augmentation, generator=generator)
    return Patches(images=images, labels=drawn.labels)


def backpropagate(
    network: SegmentationNetwork, checkpoint: Checkpoint, batch: Patches
) -> float:
    """Leave the gradients of a batch in a network; return its loss."""
    optimisation = checkpoint.config.optimisation
    weights = phase_weights_of(optimisation, network.n_phases, _CPU)
    logits = network.train()(batch.images)
    loss = LOSSES[optimisation.loss](logits, batch.labels, weights)
    torch.autograd.backward(loss)
    return float(loss.detach())


def _check_phases(checkpoint: Checkpoint, slices: Sequence[AnnotatedSlice]) -> None:
    highest = max(int(s.labels.max()) for s in slices)
    if highest > len(checkpoint.phases):
        raise ValueError(
            f"the labels reach {highest}, but the network has "
            f"{len(checkpoint.phases)} phases: {', '.join(checkpoint.phases.names)}; "
            "choose the labels that it was trained on"
        )


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().numpy()
