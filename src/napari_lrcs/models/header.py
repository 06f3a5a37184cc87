"""The header of a checkpoint: read without its tensors, and without torch."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import safetensors

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.provenance import Learnt, to_json
from napari_lrcs.io.records import convert, parse_json
from napari_lrcs.io.units import METRES, SYMBOLS, known_unit
from napari_lrcs.io.volume import Volume, VoxelSize
from napari_lrcs.metrics.calibration import UNCALIBRATED, ConfidenceCurve
from napari_lrcs.models.trained_on import TrainedOn
from napari_lrcs.phases import Phase, PhaseTable
from napari_lrcs.preprocessing.normalisation import Normalisation

FORMAT_VERSION = 1
HEADER_KEY = "napari_lrcs"

BEST_CHECKPOINT = "best.safetensors"
"""Name of the checkpoint that is used when a run folder is given as a model."""

_TOLERANCE = 0.1
"""Relative tolerance of the voxel size: networks learn sizes in voxels."""

Row = Mapping[str, float | int | None]
"""An epoch in ``history.csv``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """What a network predicts, and what it was trained on.

    Parameters
    ----------
    config : TrainConfig
        Settings of the training, including network, filters, axis and context.
    phases : PhaseTable
        Phases that the network predicts.
    normalisation : Normalisation
        How grey levels are normalised.
    voxel_size : tuple of three floats, optional
        Voxel size of the training volume along z, y and x, in `unit`.
    unit : str, optional
        Unit of the voxel size; None if it has none.
    trained_on : TrainedOn, optional
        Grey levels and phases of the training; None for checkpoints that were written
        before these were kept.
    temperature : float
        What the logits are divided by for calibrated probabilities, from
        `metrics.calibration.fit_temperature`; 1 where none was fitted.
    confidence_curve : ConfidenceCurve
        What the largest of these probabilities becomes as a confidence, from
        `metrics.calibration.fit_confidence_curve`.

    Raises
    ------
    ValueError
        If `trained_on` has fractions, but not one a phase, or the temperature is not a
        positive number.
    """

    config: TrainConfig
    phases: PhaseTable
    normalisation: Normalisation
    voxel_size: VoxelSize | None = None
    unit: str | None = None
    trained_on: TrainedOn | None = None
    temperature: float = 1.0
    confidence_curve: ConfidenceCurve = UNCALIBRATED

    def __post_init__(self) -> None:
        object.__setattr__(self, "unit", known_unit(self.unit))
        fractions = () if self.trained_on is None else self.trained_on.fractions
        if len(fractions) not in (0, len(self.phases)):
            raise ValueError(
                f"expected fractions of {len(self.phases)} phases, got {len(fractions)}"
            )
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"expected a temperature above 0, got {self.temperature}")

    def warn_of_voxel_size(self, image: Volume) -> str:
        """Describe how an image's voxel size differs from that of the training.

        Returns
        -------
        str
            Second half of a sentence; empty if the sizes agree or one is unknown.
        """
        here, there = image.voxel_size, self.voxel_size
        is_comparable = (image.unit is None) == (self.unit is None)
        if here is None or there is None or not is_comparable:
            return ""
        ratio = np.array(here) / np.array(there)
        ratio *= _metres(image.unit) / _metres(self.unit)
        if np.all(abs(ratio - 1) <= _TOLERANCE):
            return ""
        return (
            f", but this image has {_size_text(here, image.unit)}: resample it, or "
            "train on it"
        )

    @property
    def size_text(self) -> str:
        """At which voxel size the network was trained; empty if that is unknown."""
        if self.voxel_size is None:
            return ""
        return f"trained at {_size_text(self.voxel_size, self.unit)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header(NetworkInfo):
    """The metadata of a checkpoint.

    Parameters
    ----------
    labels_hash : str
        SHA-256 of the painting.
    learnt : Learnt
        Painted slices that it was trained and validated on.
    history : tuple of dict
        One row per epoch, as in the run's ``history.csv``.
    versions : mapping of str to str
        Versions of the libraries that wrote it.
    """

    labels_hash: str = ""
    learnt: Learnt = field(default_factory=Learnt)
    history: tuple[Row, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the format version as JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_dict(),
            "phases": self.phases.to_dicts(),
            "normalisation": self.normalisation.to_dict(),
            "voxel_size": self.voxel_size,
            "unit": self.unit,
            "trained_on": None if self.trained_on is None else asdict(self.trained_on),
            "temperature": self.temperature,
            "confidence_curve": asdict(self.confidence_curve),
            "labels_hash": self.labels_hash,
            "learnt": to_json(self.learnt),
            "history": self.history,
            "versions": dict(self.versions),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary(NetworkInfo):
    """The metadata of a checkpoint that lists and forms show.

    Parameters
    ----------
    path : Path
        The ``.safetensors`` file.
    scores : mapping of str to number
        Row of the history for the epoch of the weights; empty if the training was
        stopped during its first epoch.
    """

    path: Path
    scores: Row = field(default_factory=dict)

    def __str__(self) -> str:
        n = self.config.network.context_slices
        parts = [
            ", ".join(self.phases.names),
            f"slices across {self.config.preprocessing.axis}"
            + (f" with {n} neighbour{'s' * (n > 1)} on either side" if n else ""),
            self.size_text,
        ]
        return "; ".join(filter(None, parts))

    @property
    def epoch(self) -> int | None:
        """Epoch of the weights, from 1; None if the first one was not completed."""
        epoch = self.scores.get("epoch")
        return epoch if isinstance(epoch, int) else None

    @property
    def mean_iou(self) -> float | None:
        """Mean IoU on the validation slices, 0 to 1; None without validation."""
        return self.scores.get("validation_mean_iou")

    @property
    def ious(self) -> tuple[float | None, ...]:
        """IoU of each phase on the validation slices, 0 to 1; None if undefined."""
        labels = (phase.label for phase in self.phases)
        return tuple(self.scores.get(f"validation_iou_{label}") for label in labels)


class _HeaderDict(TypedDict):
    config: dict[str, Any]
    phases: tuple[Phase, ...]
    normalisation: Normalisation
    voxel_size: NotRequired[VoxelSize | None]
    unit: NotRequired[str | None]
    trained_on: NotRequired[TrainedOn | None]
    temperature: NotRequired[float]
    confidence_curve: NotRequired[ConfidenceCurve]
    labels_hash: NotRequired[str]
    learnt: NotRequired[Learnt]
    history: NotRequired[tuple[dict[str, float | int | None], ...]]
    versions: NotRequired[dict[str, str]]


def checkpoint_file(path: Path) -> Path:
    """Return the best checkpoint of a run folder, or the file itself."""
    return path / BEST_CHECKPOINT if path.is_dir() else path


def read_summary(path: Path) -> ModelSummary:
    """Read the metadata of a checkpoint that lists and forms show.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file, or a run folder, whose best checkpoint is read.

    Raises
    ------
    CheckpointError
        As `read_header` does.
    """
    path = checkpoint_file(path)
    header = read_header(path)
    shared = {f.name: getattr(header, f.name) for f in fields(NetworkInfo)}
    # A checkpoint carries the history up to its own epoch.
    scores = header.history[-1] if header.history else {}
    return ModelSummary(path=path, scores=scores, **shared)


def read_header(path: Path) -> Header:
    """Read the metadata of a checkpoint.

    Parameters
    ----------
    path : Path
        A ``.safetensors`` file.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, is not a checkpoint of napari-lrcs, or has
        another format version.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is not a valid safetensors file: {error}"
        ) from error
    return parse_header(metadata, path)


def parse_header(metadata: Mapping[str, str], path: Path) -> Header:
    """Parse the metadata of a safetensors file.

    Raises
    ------
    CheckpointError
        If it is damaged, is not that of a checkpoint of napari-lrcs, or has another
        format version.
    """
    if HEADER_KEY not in metadata:
        raise CheckpointError(
            f"{path.name} holds tensors, but is not a checkpoint of napari-lrcs"
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


def _metres(unit: str | None) -> float:
    return 1.0 if unit is None else METRES[unit]


def _size_text(size: VoxelSize, unit: str | None) -> str:
    lengths = size[:1] if len(set(size)) == 1 else size
    symbol = "" if unit is None else f" {SYMBOLS[unit]}"
    return f"{' × '.join(f'{length:.3g}' for length in lengths)}{symbol} voxels"
