"""How much memory a setting needs, and how long a search takes."""

import math
import time
from collections.abc import Generator, Iterable
from concurrent.futures import Executor, wait
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch.autograd.graph import saved_tensors_hooks

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import NetworkConfig, TrainConfig
from napari_lrcs.inference.estimate import amount, free_memory
from napari_lrcs.models.device import free_memory as free_memory_of
from napari_lrcs.models.device import resolve_device
from napari_lrcs.models.registry import create_model
from napari_lrcs.progress import (
    EpochEnded,
    Scoring,
    StepEnded,
    TrainingStarted,
    result_of,
)
from napari_lrcs.search.events import Estimating
from napari_lrcs.search.space import Choices, Values, describe
from napari_lrcs.search.task import SearchTask
from napari_lrcs.training.loop import train

_OVERHEAD = 1.5
"""Memory of a step per byte that it keeps for the gradients, measured on a CPU."""

_COPIES = 4
"""Of the weights: themselves, their gradients, and two moments of Adam."""

_SHARE = 0.8
"""Of the free memory that a training may take."""

_N_STEPS = 5
"""Steps to time."""

_POLL_SECONDS = 0.5
"""Seconds between events while another process estimates."""

_MEMORY = tuple(NetworkConfig().to_dict())
_MEMORY_OF_BATCH = ("batch_size", "patch_size")
"""Settings that the memory depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the trainings of a search cost.

    Parameters
    ----------
    memory : int
        Bytes that the largest setting needs.
    repeat_seconds : float
        Seconds of a training with the setting in the middle; 0 if it was not timed.
    """

    memory: int
    repeat_seconds: float


def estimate(
    task: SearchTask,
    annotation: Annotation,
    *,
    is_timed: bool,
    executor: Executor | None = None,
) -> Generator[Estimating, None, Estimate]:
    """Refuse settings that do not fit into memory, and time a few steps.

    Parameters
    ----------
    is_timed : bool
        Whether to time steps.
    executor : concurrent.futures.Executor, optional
        Runs the estimate in one of the processes that will train, whose device and
        memory count.

    Raises
    ------
    MemoryError
        As `largest_memory` does.
    LrcsError, ValueError, OSError
        If the other process cannot read the volumes; if the device is absent.
    """
    if executor is not None:
        return (yield from _estimate_by(executor, task, is_timed=is_timed))
    memory = largest_memory(task, n_phases=len(annotation.phases))
    seconds = (yield from time_repeat(task, annotation)) if is_timed else 0.0
    return Estimate(memory=memory, repeat_seconds=seconds)


def _estimate_by(
    executor: Executor, task: SearchTask, *, is_timed: bool
) -> Generator[Estimating, None, Estimate]:
    future = executor.submit(_estimate_there, task, is_timed=is_timed)
    try:
        while not future.done():
            yield Estimating()
            wait([future], timeout=_POLL_SECONDS)
        return future.result()
    finally:
        future.cancel()


def _estimate_there(task: SearchTask, *, is_timed: bool) -> Estimate:
    annotation = task.annotate(task.config_of(task.space.middle))
    return result_of(estimate(task, annotation, is_timed=is_timed))


def memory_needed(config: TrainConfig, *, n_phases: int) -> int:
    """Estimate the memory of a training step.

    The network is run without numbers, on PyTorch's device "meta", to count what a step
    keeps for its gradients.

    Parameters
    ----------
    config : TrainConfig
        Its network, batch and patches count.

    Returns
    -------
    int
        Bytes, in float32.
    """
    optimisation = config.optimisation
    kept, weights = _bytes_of_patch(config.network, optimisation.patch_size, n_phases)
    return round(_OVERHEAD * optimisation.batch_size * kept + _COPIES * weights)


@cache
def _bytes_of_patch(
    network: NetworkConfig, patch_size: int, n_phases: int
) -> tuple[int, int]:
    """Count what a patch keeps for the gradients, and the network's weights."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[id(storage)] = storage
        return tensor

    with torch.device("meta"):
        model = create_model(network, n_phases=n_phases)
        side = -(-patch_size // model.stride) * model.stride
        patch = torch.empty(1, network.n_channels, side, side)
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            model(patch)
    weights = sum(parameter.nbytes for parameter in model.parameters())
    # The weights are among what is kept, but once for all patches.
    return sum(storage.nbytes() for storage in kept.values()) - weights, weights


def largest_memory(task: SearchTask, *, n_phases: int) -> int:
    """Refuse a search with settings that do not fit into memory.

    Returns
    -------
    int
        Bytes that the largest setting needs.

    Raises
    ------
    MemoryError
        If a setting needs more than four fifths of what is free.
    """
    device = resolve_device(task.config.device)
    free = free_memory() if device.type == "cpu" else free_memory_of(device)
    needs = [
        (memory_needed(task.config_of(settings), n_phases=n_phases), settings)
        for settings in _settings_by_memory(task)
    ]
    too_large = [need for need in needs if need[0] > _SHARE * free]
    if too_large:
        needed, settings = min(too_large, key=lambda need: need[0])
        raise MemoryError(
            f"{len(too_large)} of the {len(needs)} combinations of settings that "
            f"memory depends on do not fit: {describe(settings) or 'each'} needs "
            f"about {amount(needed)}, but a training may take only {_SHARE:.0%} of "
            f"the {amount(free)} that are free; search smaller values"
        )
    return max(needed for needed, _ in needs)


def _settings_by_memory(task: SearchTask) -> list[Values]:
    """List the combinations of all settings that the memory depends on."""
    found: list[Values] = [{}]
    for name, field in task.space.fields.items():
        if name in (*_MEMORY, *_MEMORY_OF_BATCH):
            values = field.values if isinstance(field, Choices) else field.grid
            found = [{**other, name: value} for other in found for value in values]
    return found


def time_repeat(
    task: SearchTask, annotation: Annotation
) -> Generator[Estimating, None, float]:
    """Time a few steps with the setting in the middle.

    Returns
    -------
    float
        Seconds that a training takes with that setting.
    """
    config = task.config_of(task.space.middle)
    optimisation = config.optimisation
    n_steps = math.ceil(optimisation.patches_per_epoch / optimisation.batch_size)
    n_timed = min(n_steps, _N_STEPS)
    short = config.with_changes(
        n_epochs=1, patches_per_epoch=n_timed * optimisation.batch_size
    )
    times: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        events = train(annotation, config=short, run=Path(folder) / "run")
        assert isinstance(events, Generator)
        with closing(events):
            for event in _until_validated(events):
                times.setdefault(type(event).__name__, time.monotonic())
                yield Estimating()
    begun, validated = times["TrainingStarted"], times["EpochEnded"]
    first = times.get("StepEnded", begun)
    scored = times.get("Scoring", validated)
    # The first step takes longer than the others.
    step = (scored - first) / (n_timed - 1) if n_timed > 1 else scored - begun
    n_epochs = optimisation.n_epochs
    return n_epochs * n_steps * step + (n_epochs + 1) * (validated - scored)


def _until_validated(events: Iterable[object]) -> Iterable[object]:
    for event in events:
        if isinstance(event, TrainingStarted | StepEnded | Scoring | EpochEnded):
            yield event
        if isinstance(event, EpochEnded):
            return
