"""What a comparison of transfer learning trains."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_lrcs.annotation.annotation import AnnotatedVolume, Annotation
from napari_lrcs.annotation.compared import describe_compared, read_compared
from napari_lrcs.config import OptimisationConfig, TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.phases import PhaseTable
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import KeptPart, Origin
from napari_lrcs.transfer.config import TransferConfig

_LOWEST_RATE = 1e-8
"""That `OptimisationConfig` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a training begins.

    Parameters
    ----------
    epoch : int
        Epoch of the earlier training after which its weights were saved; 0 for random
        weights.
    learning_rate : float
        Initial learning rate.
    """

    epoch: int
    learning_rate: float

    @property
    def name(self) -> str:
        """Name of its folder, such as ``epoch-0012-rate-3.6e-05``."""
        if not self.epoch:
            return "scratch"
        return f"epoch-{self.epoch:04d}-rate-{self.learning_rate:.6g}"

    def __str__(self) -> str:
        """Return it for a table or a legend."""
        where = f"from epoch {self.epoch}" if self.epoch else "from scratch"
        return f"{where}, rate {self.learning_rate:.2g}"


def starts_from(
    moments: Mapping[int, int], optimisation: OptimisationConfig
) -> tuple[Start, ...]:
    """List the starts that the paper compares, from scratch first.

    From each moment of the earlier training it takes "a descending order of starting
    learning-rate": r, r × 0.3^(N-1) and r × 0.3^N, where "N is epoch number".

    Parameters
    ----------
    moments : mapping of int to int
        N of each moment, by its epoch.
    optimisation : OptimisationConfig
        Of the new trainings: r is its `learning_rate`, and 0.3 its `decay_ratio`.

    Examples
    --------
    >>> optimisation = OptimisationConfig(learning_rate=1e-2, decay_ratio=0.3)
    >>> starts = starts_from({3: 1, 6: 2}, optimisation)
    >>> [(start.epoch, round(start.learning_rate, 5)) for start in starts]
    [(0, 0.01), (3, 0.01), (3, 0.003), (6, 0.01), (6, 0.003), (6, 0.0009)]
    """
    rate, ratio = optimisation.learning_rate, optimisation.decay_ratio
    starts = [Start(epoch=0, learning_rate=rate)]
    for epoch, n in moments.items():
        powers = (0, n - 1, n)
        rates = {max(rate * ratio**power, _LOWEST_RATE): None for power in powers}
        starts += [Start(epoch=epoch, learning_rate=r) for r in rates]
    return tuple(starts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransferTask:
    """Trainings on new volumes, from the moments of an earlier training and scratch.

    Parameters
    ----------
    volumes : tuple of AnnotatedVolume
        Volumes to train on.
    source : RunFolder
        The earlier training.
    config : TrainConfig
        Settings of the new trainings; repeat r is trained with ``config.seed + r``.
    transfer : TransferConfig
        How many trainings.
    kept : {"all", "encoder"}
        What to take over of the earlier network.
    phases : PhaseTable, optional
        Phases of the labels; by default those named in the file, or numbered ones.
    begun_at : datetime
        When it began; check patches that were drawn later are not left out.

    Raises
    ------
    CheckpointError
        If the earlier training has saved no moments, or cannot be read.
    """

    volumes: tuple[AnnotatedVolume, ...]
    source: RunFolder
    config: TrainConfig
    transfer: TransferConfig = field(default_factory=TransferConfig)
    kept: KeptPart = "all"
    phases: PhaseTable | None = None
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        if not self.source.moments:
            raise CheckpointError(
                f"the run in {self.source.path} has saved no moments to start from "
                "(epoch-N.safetensors); give a run that has trained an epoch or more"
            )

    @property
    def moments(self) -> dict[int, Path]:
        """Checkpoints to start from, by their epochs, ascending."""
        return dict([*self.source.moments.items()][-self.transfer.n_moments :])

    @property
    def starts(self) -> tuple[Start, ...]:
        """How the trainings begin.

        N is the epoch only where the earlier rate fell after each one, as the paper's.
        Otherwise it is the number of the moment, 1 to 4: 0.3 to the power of twelve
        epochs would teach nothing.
        """
        is_by_epoch = self.source.read_config().optimisation.schedule == "step"
        numbers = {epoch: n for n, epoch in enumerate(self.source.moments, start=1)}
        moments = {
            epoch: epoch if is_by_epoch else numbers[epoch] for epoch in self.moments
        }
        return starts_from(moments, self.config.optimisation)

    def origin_of(self, start: Start) -> Origin | None:
        """Return the network that a training starts from; None for random weights."""
        moment = self.moments.get(start.epoch)
        return None if moment is None else Origin(path=moment, kept=self.kept)

    def config_of(self, start: Start, repeat: int) -> TrainConfig:
        """Return what a training is trained with."""
        return self.config.with_changes(
            learning_rate=start.learning_rate,
            seed=self.config.seed + repeat,
            # A restart would begin with random weights.
            pitfall_restarts=0,
        )

    def annotate(self) -> Annotation:
        """Read and check the painted slices.

        Raises
        ------
        ValueError
            As `read_compared` does.
        """
        return read_compared(
            self.volumes,
            config=self.config,
            phases=self.phases,
            begun_at=self.begun_at,
        )

    def to_dict(self, annotation: Annotation) -> dict[str, Any]:
        """Describe everything that the results depend on, as JSON values."""
        task = {
            **describe_compared(self.volumes, annotation, config=self.config),
            "source": self.source.path.name,
            "epochs": [*self.moments],
            "weights": [_digest(file) for file in self.moments.values()],
            "kept": self.kept,
            "n_repeats": self.transfer.n_repeats,
        }
        json_values: dict[str, Any] = json.loads(json.dumps(task))
        return json_values


def _digest(file: Path) -> str:
    """Hash a checkpoint: another network may take the place of one of its name."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
