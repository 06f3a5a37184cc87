"""Checkpoints: one safetensors file whose header says all that prediction needs.

Opening one never runs code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from napari_lrcs import __version__
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.writing import replacing
from napari_lrcs.models.header import (
    HEADER_KEY,
    Header,
    checkpoint_file,
    parse_header,
)
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.registry import create_model

# First bytes of a pickle (protocol 2 and later) and of the zip that torch.save makes.
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


_DTYPES = {torch.float32: "F32", torch.int64: "I64"}
"""Types of a network's tensors, and their names in a safetensors file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Header):
    """A trained network and what it was trained on.

    Parameters
    ----------
    state : mapping of str to Tensor
        The module's state dict.
    versions : mapping of str to str
        Of the libraries that wrote it; by default those that are running.
    """

    state: Mapping[str, Tensor]
    versions: Mapping[str, str] = field(
        default_factory=lambda: {
            "napari-lrcs": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
    )

    def build(self) -> SegmentationNetwork:
        """Make the network with the checkpoint's weights, in evaluation mode.

        Raises
        ------
        CheckpointError
            If the tensors do not fit the network that the header describes.
        """
        with torch.random.fork_rng(devices=[]):
            model = create_model(self.config.network, n_phases=len(self.phases))
        load_weights(model, self.state)
        return model.eval()


def cpu_copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dict, so that further steps do not change it."""
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def load_weights(model: SegmentationNetwork, state: Mapping[str, Tensor]) -> None:
    """Put a checkpoint's tensors into a network, all of them or none.

    Raises
    ------
    CheckpointError
        If a tensor is missing, unexpected or of another shape.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    check_shapes(shapes, model.state_dict())
    model.load_state_dict(dict(state), strict=True)


def check_shapes(
    shapes: Mapping[str, tuple[int, ...]], needed: Mapping[str, Tensor]
) -> None:
    """Compare the shapes of tensors with those that a network needs.

    Raises
    ------
    CheckpointError
        If a tensor is missing, unexpected or of another shape.
    """
    odd = sorted(set(needed) ^ set(shapes))
    if odd:
        raise CheckpointError(
            f"the checkpoint does not fit the network: {len(odd)} tensors are missing "
            f"or unexpected, {odd[0]} among them"
        )
    for name, tensor in needed.items():
        if tuple(tensor.shape) != shapes[name]:
            raise CheckpointError(
                f"the checkpoint does not fit the network: {name} is {shapes[name]}, "
                f"the network needs {tuple(tensor.shape)}"
            )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, atomically."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in checkpoint.state.items()
    }
    metadata = {HEADER_KEY: json.dumps(checkpoint.to_dict())}
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata=metadata))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or the best one of a run folder.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file or a run folder.

    Raises
    ------
    CheckpointError
        If the file is missing, a pickle, not a checkpoint of ours, of another format
        version, or damaged.
    """
    path = checkpoint_file(path)
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint at {path}; choose a .safetensors file or a run "
            "folder"
        )
    with path.open("rb") as file:
        start = file.read(9)
    # The length of a header may look like a pickle, but the header begins with {.
    if start.startswith(_PICKLES) and not start.endswith(b"{"):
        raise CheckpointError(
            f"{path.name} is a pickle, which may run code when opened; only "
            "checkpoints in the safetensors format are read"
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = parse_header(file.metadata() or {}, path)
            needed = _described(header, path)
            # Before anything is built: a small file may describe a huge network.
            _check_tensors(file, needed, path)
            state = {name: file.get_tensor(name) for name in needed}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is not a valid safetensors file: {error}"
        ) from error
    _check_finite(state, path)
    own = {field_.name: getattr(header, field_.name) for field_ in fields(header)}
    return Checkpoint(state=state, **own)


def _described(header: Header, path: Path) -> dict[str, Tensor]:
    """Make the tensors of the network that a header describes, without memory."""
    try:
        with torch.device("meta"):
            model = create_model(header.config.network, n_phases=len(header.phases))
    except ValueError as error:
        raise CheckpointError(
            f"the header of {path.name} is damaged: {error}"
        ) from error
    return dict(model.state_dict())


def _check_tensors(file: Any, needed: Mapping[str, Tensor], path: Path) -> None:
    names: list[str] = file.keys()
    slices = {name: file.get_slice(name) for name in names}
    check_shapes({n: tuple(s.get_shape()) for n, s in slices.items()}, needed)
    for name, tensor in needed.items():
        found, expected = slices[name].get_dtype(), _DTYPES[tensor.dtype]
        if found != expected:
            raise CheckpointError(
                f"{name} in {path.name} is of type {found}, expected {expected}; "
                "convert the weights to float32, or choose another checkpoint"
            )


def _check_finite(state: Mapping[str, Tensor], path: Path) -> None:
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise CheckpointError(
                f"{name} in {path.name} holds NaN or infinity: the training diverged, "
                "or the file is damaged; train again with a lower learning rate, or "
                "choose another checkpoint"
            )
