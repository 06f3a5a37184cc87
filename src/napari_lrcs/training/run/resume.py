"""The state that a training resumes from, checked before any of it is used."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any, Literal, Self, TypedDict

import torch
from msgspec import Meta
from torch import Tensor, nn

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError, one_line
from napari_lrcs.io.records import convert
from napari_lrcs.io.writing import replacing
from napari_lrcs.models.checkpoint import check_shapes
from napari_lrcs.models.header import Row

MAX_THREADS = 1024
"""More than any machine has cores; PyTorch ends the process where it cannot start as
many as it is told to."""

# What PyTorch raises for files that are no state, or a damaged one.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    UnpicklingError,
    ValueError,
)

_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Seconds = Annotated[float, Meta(ge=0, le=1e12)]


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """All that changes during a training, and so all that resuming needs."""

    step: _Count = 0
    seed: _Count = 0
    n_micro_batches: Annotated[int, Meta(ge=1, le=2**53)] = 1
    best_score: float = -math.inf
    best_loss: float = math.inf
    best_epoch: _Count = 0
    n_pitfalls: _Count = 0
    """Validations in a row that show the major-class pitfall."""
    escaped: bool = False
    """Whether a validation has shown more than one phase, or another network was the
    start."""
    n_restarts: _Count = 0
    seconds: _Seconds = 0.0
    loss_sum: float = 0.0
    training: list[list[_Count]] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)

    def check(self, *, n_phases: int, n_epochs: int, steps_per_epoch: int) -> None:
        """Compare it with the training that is to go on.

        Raises
        ------
        ValueError
            If a training like that has no such state.
        """
        n_done = len(self.history)
        begun = self.step - n_done * steps_per_epoch
        if n_done > n_epochs or not 0 <= begun <= steps_per_epoch:
            raise ValueError(
                f"step {self.step} does not follow {n_done} epochs of "
                f"{steps_per_epoch} steps"
            )
        widths = [len(row) for row in self.training]
        if (begun or widths) and widths != [n_phases] * n_phases:
            raise ValueError(f"the counts of {n_phases} phases have {widths} columns")
        if len({tuple(row) for row in self.history}) > 1:
            raise ValueError("the epochs of the history have different columns")


class _Moments(TypedDict):
    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor


class _Group(TypedDict):
    lr: Annotated[float, Meta(ge=0, le=1e9)]


class _Optimiser(TypedDict):
    state: dict[int, _Moments]
    param_groups: tuple[_Group]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeState:
    """What ``resume.pt`` holds.

    Parameters
    ----------
    model : dict of str to Tensor
        Its state dict.
    optimiser : dict
        Adam's state dict; of its groups, only the learning rate.
    precision : {"float32", "tf32", "bf16"}
        Arithmetic of the convolutions.
    labels_hash : str
        SHA-256 of the painting.
    n_threads : int
        1 to `MAX_THREADS`, which may be more than this machine has cores: with
        another number, the last bits differ.
    averaged : dict of str to Tensor
        State dict of the averaged network; empty without averaging.
    """

    state: TrainingState
    model: dict[str, Tensor]
    optimiser: _Optimiser
    precision: Literal["float32", "tf32", "bf16"]
    labels_hash: str
    n_threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)]
    averaged: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def from_saved(cls, saved: object) -> Self:
        """Check what ``torch.load`` returned.

        Raises
        ------
        ValueError
            If it is anything else, or tensors of it do not fit one another.
        """
        if not isinstance(saved, dict):
            raise ValueError(f"expected a dict, got a {type(saved).__name__}")
        return convert(saved, cls)

    def check_tensors(self, model: nn.Module) -> None:
        """Compare the tensors with those of the network that is to go on.

        Raises
        ------
        ValueError
            If one is missing, unexpected, or of another shape or type.
        """
        needed = model.state_dict()
        check_shapes({n: tuple(t.shape) for n, t in self.model.items()}, needed)
        for name, tensor in self.model.items():
            _check_alike(name, tensor, needed[name])
        parameters = dict(enumerate(model.parameters()))
        for index, moments in self.optimiser["state"].items():
            if index not in parameters:
                raise ValueError(f"the optimiser has a state of parameter {index}")
            _check_alike("exp_avg", moments["exp_avg"], parameters[index])
            _check_alike("exp_avg_sq", moments["exp_avg_sq"], parameters[index])
            _check_alike("step", moments["step"], torch.zeros(()))
            if not moments["step"] >= 0:
                raise ValueError(f"the optimiser is at step {moments['step']:g}")

    def restore(self, model: nn.Module, optimiser: torch.optim.Adam) -> None:
        """Put the tensors into the network and its optimiser.

        Raises
        ------
        ValueError
            As `check_tensors` does.
        """
        self.check_tensors(model)
        model.load_state_dict(self.model)
        # The options are the optimiser's own, but for the learning rate.
        (own,) = optimiser.state_dict()["param_groups"]
        (saved,) = self.optimiser["param_groups"]
        optimiser.load_state_dict(
            {
                "state": self.optimiser["state"],
                "param_groups": [{**own, "lr": saved["lr"]}],
            }
        )


def _check_alike(name: str, found: Tensor, needed: Tensor) -> None:
    kinds = [(*t.shape, t.dtype, t.layout) for t in (found, needed)]
    if kinds[0] != kinds[1] or found.is_meta:
        raise ValueError(f"{name} is {kinds[0]}, expected {kinds[1]}")


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what `ResumeState` holds, as plain types and tensors."""
    # In memory first: on a full disk, torch.save raises no OSError.
    buffer = BytesIO()
    torch.save(dict(state), buffer)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_state(path: Path) -> ResumeState:
    """Read what `save_state` wrote; runs no code.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged or holds something else.
    """
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is damaged: it is not a regular file")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged: {one_line(error)}") from error
    try:
        return ResumeState.from_saved(saved)
    except ValueError as error:
        raise CheckpointError(
            f"{path.name} in {path.parent} does not belong to this run: {error}"
        ) from error


def check_same_config(begun: TrainConfig, wanted: TrainConfig) -> None:
    """Refuse to resume with another config; the device alone may differ.

    Raises
    ------
    CheckpointError
        If they differ; names the first field that does.
    """
    same_device = replace(begun, device=wanted.device)
    old, new = same_device.to_dict(), wanted.to_dict()
    changed = [name for name in old if old[name] != new[name]]
    if changed:
        name = changed[0]
        raise CheckpointError(
            f"the run was started with {name} = {old[name]}, now it is {new[name]}; "
            "resume without changes, or start a new run"
        )
