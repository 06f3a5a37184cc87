"""Checkpoints: one safetensors file whose header says all that prediction needs.

Opening one never runs code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from napari_lrcs import __version__
from napari_lrcs.config import TrainConfig
from napari_lrcs.data.normalisation import Normalisation
from napari_lrcs.data.writing import replacing
from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.header import FORMAT_VERSION, HEADER_KEY, parse_header
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.registry import create_model
from napari_lrcs.phases import PhaseTable

# First bytes of a pickle (protocol 2 and later) and of the zip that torch.save makes.
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A trained network and what it was trained on.

    Parameters
    ----------
    config : TrainConfig
        Network, filters, axis and context included.
    phases : PhaseTable
    normalisation : Normalisation
    state : mapping of str to Tensor
        The module's state dict.
    voxel_size : tuple of three floats, optional
        z, y, x of the training volume.
    unit : str, optional
    labels_hash : str
        SHA-256 of the painting.
    history : tuple of dict
        A row an epoch, as in the run's ``history.csv``.
    versions : mapping of str to str
        Of the libraries that wrote it.
    """

    config: TrainConfig
    phases: PhaseTable
    normalisation: Normalisation
    state: Mapping[str, Tensor]
    voxel_size: tuple[float, float, float] | None = None
    unit: str | None = None
    labels_hash: str = ""
    history: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(
        default_factory=lambda: {
            "napari-lrcs": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
    )

    def with_state(
        self, state: Mapping[str, Tensor], history: tuple[Mapping[str, Any], ...]
    ) -> "Checkpoint":
        """Return the same checkpoint at another moment of its training."""
        return replace(self, state=state, history=history)

    def build(self) -> SegmentationNetwork:
        """Make the network with the checkpoint's weights, in evaluation mode.

        Raises
        ------
        CheckpointError
            If the tensors do not fit the network that the header describes.
        """
        with torch.random.fork_rng(devices=[]):
            model = create_model(self.config, n_phases=len(self.phases))
        load_weights(model, self.state)
        return model.eval()


def load_weights(model: SegmentationNetwork, state: Mapping[str, Tensor]) -> None:
    """Put a checkpoint's tensors into a network, all of them or none.

    Raises
    ------
    CheckpointError
        If a tensor is missing, unexpected or of another shape.
    """
    own = model.state_dict()
    odd = sorted(set(own) ^ set(state))
    if odd:
        raise CheckpointError(
            f"the checkpoint does not fit the network: {len(odd)} tensors are missing "
            f"or unexpected, {odd[0]} among them"
        )
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise CheckpointError(
                f"the checkpoint does not fit the network: {name} is "
                f"{tuple(state[name].shape)}, the network needs {tuple(tensor.shape)}"
            )
    model.load_state_dict(dict(state), strict=True)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, atomically."""
    header = {
        "format_version": FORMAT_VERSION,
        "config": checkpoint.config.to_dict(),
        "phases": checkpoint.phases.to_dicts(),
        "normalisation": checkpoint.normalisation.to_dict(),
        "voxel_size": checkpoint.voxel_size,
        "unit": checkpoint.unit,
        "labels_hash": checkpoint.labels_hash,
        "history": checkpoint.history,
        "versions": dict(checkpoint.versions),
    }
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in checkpoint.state.items()
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={HEADER_KEY: json.dumps(header)}))


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
    if path.is_dir():
        path = path / "best.safetensors"
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint at {path}; name a .safetensors file or a run "
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
            metadata = file.metadata() or {}
        state = load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is no safetensors file, or a damaged one: {error}"
        ) from error
    return _from_header(parse_header(metadata, path), state, path)


def _from_header(
    header: Mapping[str, Any], state: Mapping[str, Tensor], path: Path
) -> Checkpoint:
    size = header.get("voxel_size")
    try:
        return Checkpoint(
            config=TrainConfig.from_dict(header["config"]),
            phases=PhaseTable.from_dicts(header["phases"]),
            normalisation=Normalisation(**header["normalisation"]),
            state=state,
            voxel_size=None if size is None else tuple(size),
            unit=header.get("unit"),
            labels_hash=header.get("labels_hash", ""),
            history=tuple(header.get("history", ())),
            versions=header.get("versions", {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"the header of {path.name} is damaged: {error}"
        ) from error
