"""What lists show of a training; needs no torch."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from napari_lrcs.config import TrainConfig
from napari_lrcs.models.header import ModelSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How far a training has come, and how good its best network is.

    Parameters
    ----------
    path : Path
        The run folder.
    started, modified : datetime
        When it was begun, and when it last wrote a file; in the local time zone.
    config : TrainConfig, optional
        None for a damaged run.
    parent : str
        Name of the run that it continues with another painting; empty for none.
    n_done : int
        Epochs that are trained and validated.
    seconds : float
        Time that these epochs took, without pauses.
    network : ModelSummary, optional
        The best network; None before there is one.
    is_finished : bool
        Whether all epochs are done, or it has stopped early as it should.
    can_resume : bool
        Whether it is unfinished and its state was saved.
    is_running : bool
        Whether a process is training it.
    damaged : str
        Why nothing else is known of the run; empty for a sound one.
    """

    path: Path
    started: datetime
    modified: datetime
    config: TrainConfig | None = None
    parent: str = ""
    n_done: int = 0
    seconds: float = 0.0
    network: ModelSummary | None = None
    is_finished: bool = False
    can_resume: bool = False
    is_running: bool = False
    damaged: str = ""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @property
    def title(self) -> str:
        """Name and validation score, as lists of networks show them."""
        iou = self.best_mean_iou
        return self.name if iou is None else f"{self.name} · mean IoU {iou:.1%}"

    @property
    def model(self) -> str:
        """Its network, as "lrcsnet, 16 filters, 3×3"."""
        if self.config is None:
            return ""
        network = self.config.network
        size = network.kernel_size
        return f"{network.model}, {network.n_filters} filters, {size}×{size}"

    @property
    def n_epochs(self) -> int:
        """Epochs that are planned."""
        return 0 if self.config is None else self.config.optimisation.n_epochs

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the phases; none before the first checkpoint."""
        return () if self.network is None else self.network.phases.names

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the best network; None before the first one has ended."""
        return None if self.network is None else self.network.epoch

    @property
    def best_mean_iou(self) -> float | None:
        """Validation score of that epoch, 0 to 1; None without a validation."""
        return None if self.network is None else self.network.mean_iou

    @property
    def best_ious(self) -> tuple[float | None, ...]:
        """Validation score of each phase, 0 to 1; None where there is none."""
        return () if self.network is None else self.network.ious

    def __str__(self) -> str:
        """Describe the run line by line, as tooltips do."""
        if self.damaged:
            return self.damaged
        scores = zip(self.phases, self.best_ious, strict=True)
        best = "none yet" if self.best_epoch is None else self.best_epoch
        lines = (
            str(self.path),
            self.model,
            f"continues {self.parent}" if self.parent else "",
            f"best epoch: {best}",
            ", ".join(f"{name} {iou:.1%}" for name, iou in scores if iou is not None),
            "can be continued" if self.can_resume else "",
        )
        return "\n".join(line for line in lines if line)


def rank_runs(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Return the runs that have a network, the best validation score first.

    Those without a score come last; equal ones stay in their order.
    """
    return sorted(
        (run for run in runs if run.best_epoch is not None),
        key=lambda run: -1.0 if run.best_mean_iou is None else run.best_mean_iou,
        reverse=True,
    )


def expected_seconds(config: TrainConfig, runs: Iterable[RunSummary]) -> float | None:
    """Estimate how long a training takes by the first run of the same network.

    Parameters
    ----------
    config : TrainConfig
        What is to be trained, on the device that the runs were trained on.
    runs : iterable of RunSummary
        Trainings on the same volume.

    Returns
    -------
    float or None
        None without such a run.
    """
    for run in runs:
        if run.config is None or not run.n_done or not run.seconds:
            continue
        if run.config.network == config.network:
            share = _voxels_per_epoch(config) / _voxels_per_epoch(run.config)
            return run.seconds / run.n_done * config.optimisation.n_epochs * share
    return None


def _voxels_per_epoch(config: TrainConfig) -> int:
    training = config.optimisation
    return training.patches_per_epoch * training.patch_size**2
