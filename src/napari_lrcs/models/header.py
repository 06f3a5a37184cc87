"""The header of a checkpoint: read without its tensors, and without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import safetensors

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.records import convert, parse_json
from napari_lrcs.io.units import known_unit
from napari_lrcs.io.volume import VoxelSize
from napari_lrcs.phases import Phase, PhaseTable
from napari_lrcs.preprocessing.normalisation import Normalisation

FORMAT_VERSION = 1
HEADER_KEY = "napari_lrcs"

Row = Mapping[str, float | int | None]
"""An epoch in ``history.csv``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a checkpoint says about itself.

    Parameters
    ----------
    config : TrainConfig
        Network, filters, axis and context included.
    phases : PhaseTable
    normalisation : Normalisation
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
    voxel_size: VoxelSize | None = None
    unit: str | None = None
    labels_hash: str = ""
    history: tuple[Row, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", known_unit(self.unit))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the version of the format as JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "phases": self.phases.to_dicts(),
            "normalisation": self.normalisation.to_dict(),
            "voxel_size": self.voxel_size,
            "unit": self.unit,
            "labels_hash": self.labels_hash,
            "history": self.history,
            "versions": dict(self.versions),
        }


class _HeaderDict(TypedDict):
    config: dict[str, Any]
    phases: tuple[Phase, ...]
    normalisation: Normalisation
    voxel_size: NotRequired[VoxelSize | None]
    unit: NotRequired[str | None]
    labels_hash: NotRequired[str]
    history: NotRequired[tuple[dict[str, float | int | None], ...]]
    versions: NotRequired[dict[str, str]]


def read_header(path: Path) -> Header:
    """Read what a checkpoint says about itself.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file.

    Raises
    ------
    CheckpointError
        If the file is missing, no checkpoint of ours, of another format version, or
        damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is no safetensors file, or a damaged one: {error}"
        ) from error
    return parse_header(metadata, path)


def parse_header(metadata: Mapping[str, str], path: Path) -> Header:
    """Decode the metadata of a checkpoint's file.

    Raises
    ------
    CheckpointError
        If it is not a checkpoint of ours, of another format version, or damaged.
    """
    if HEADER_KEY not in metadata:
        raise CheckpointError(
            f"{path.name} holds tensors, but not a checkpoint of napari-lrcs"
        )
    try:
        values = parse_json(metadata[HEADER_KEY], dict[str, Any])
        version = convert(values.get("format_version"), int)
        if version == FORMAT_VERSION:
            return _from_dict(convert(values, _HeaderDict))
    except ValueError as error:
        raise CheckpointError(
            f"the header of {path.name} is damaged: {error}"
        ) from error
    raise CheckpointError(
        f"{path.name} has checkpoint format {version}; this version of napari-lrcs "
        f"reads format {FORMAT_VERSION}"
    )


def _from_dict(values: _HeaderDict) -> Header:
    own: dict[str, Any] = {
        **values,
        "config": TrainConfig.from_dict(values["config"]),
        "phases": PhaseTable(values["phases"]),
    }
    return Header(**own)
