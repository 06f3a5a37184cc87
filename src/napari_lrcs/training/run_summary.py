"""What run folders hold, for lists and curves; read without torch."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.records import read_json
from napari_lrcs.models.header import Row, read_header


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How far a training has come, and how good its best network is.

    Parameters
    ----------
    path : Path
        The run folder.
    started, modified : datetime
        When it was begun, and when it last wrote a file; in the local time zone.
    model : str
        Its network, as "lrcsnet, 16 filters, 3×3".
    phases : tuple of str
        Names; none before the first checkpoint.
    n_epochs, n_done : int
        Planned, and done.
    best_epoch : int, optional
        Epoch that ``best.safetensors`` is of; None before the first one has ended.
    best_mean_iou : float, optional
        Of that epoch's validation, 0 to 1; None without a validation.
    best_ious : tuple of float or None
        The same, one a phase.
    is_finished : bool
        Whether all epochs are done, or it has stopped early as it should.
    can_resume : bool
    damaged : str
        Why nothing else is known of the run; empty for a sound one.
    """

    path: Path
    started: datetime
    modified: datetime
    model: str = ""
    phases: tuple[str, ...] = ()
    n_epochs: int = 0
    n_done: int = 0
    best_epoch: int | None = None
    best_mean_iou: float | None = None
    best_ious: tuple[float | None, ...] = ()
    is_finished: bool = False
    can_resume: bool = False
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


def list_runs(folder: Path) -> list[RunSummary]:
    """Summarise the runs in a folder, the one that was modified last first.

    Parameters
    ----------
    folder : Path
        Holds run folders, and what else there may be; it need not exist.

    Returns
    -------
    list of RunSummary
        Those of damaged runs say why in `damaged`.
    """
    runs = [_summarise_any(path.parent) for path in folder.glob("*/config.json")]
    return sorted(runs, key=lambda run: run.modified, reverse=True)


def networks_of(runs: Iterable[RunSummary]) -> list[RunSummary]:
    """Return the runs that have a network, the best validation score first.

    Those without a score come last; equal ones stay in their order.
    """
    return sorted(
        (run for run in runs if run.best_epoch is not None),
        key=lambda run: -1.0 if run.best_mean_iou is None else run.best_mean_iou,
        reverse=True,
    )


def _summarise_any(path: Path) -> RunSummary:
    try:
        return summarise_run(path)
    except CheckpointError as error:
        started, modified = _times(path)
        return RunSummary(
            path=path, started=started, modified=modified, damaged=str(error)
        )


def summarise_run(path: Path) -> RunSummary:
    """Read what a run folder says about its training.

    Raises
    ------
    CheckpointError
        If there is no run, or a file that it needs is damaged.
    """
    config = read_run_config(path)
    n_done = len(read_history(path))
    best, phases = _read_best(path)
    epoch = best.get("epoch")
    best_epoch = epoch if isinstance(epoch, int) else None
    n_without_better = n_done - (best_epoch or 0)
    is_finished = n_done >= config.n_epochs or 0 < config.patience <= n_without_better
    started, modified = _times(path)
    size = config.kernel_size
    return RunSummary(
        path=path,
        started=started,
        modified=modified,
        model=f"{config.model}, {config.n_filters} filters, {size}×{size}",
        phases=phases,
        n_epochs=config.n_epochs,
        n_done=n_done,
        best_epoch=best_epoch,
        best_mean_iou=best.get("validation_mean_iou"),
        best_ious=tuple(
            best.get(f"validation_iou_{label}") for label in range(1, len(phases) + 1)
        ),
        is_finished=is_finished,
        can_resume=not is_finished and (path / "resume.pt").is_file(),
    )


def read_history(path: Path) -> list[Row]:
    """Read the epochs of a run.

    Parameters
    ----------
    path : Path
        The run folder.

    Returns
    -------
    list of mappings
        The rows of ``history.csv``: numbers, and None where a cell is empty. None at
        all before the first epoch has ended.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    place = path / "history.csv"
    if not place.is_file():
        return []
    try:
        with place.open(newline="", encoding="utf-8") as file:
            names, *rows = csv.reader(file, strict=True)
        return [dict(zip(names, map(_number, row), strict=True)) for row in rows]
    except (csv.Error, ValueError) as error:
        raise CheckpointError(f"history.csv in {path} is damaged: {error}") from error


def _number(cell: str) -> float | int | None:
    if not cell:
        return None
    return int(cell) if cell.isdigit() else float(cell)


def read_run_config(path: Path) -> TrainConfig:
    """Read the config that a run was begun with.

    Raises
    ------
    CheckpointError
        If the folder holds no run or its config is damaged.
    """
    try:
        return TrainConfig.from_dict(read_json(path / "config.json", object))
    except FileNotFoundError as error:
        raise CheckpointError(
            f"there is no run in {path}; choose a run folder"
        ) from error
    except (ValueError, OSError) as error:
        raise CheckpointError(f"config.json in {path} is damaged: {error}") from error


def _read_best(path: Path) -> tuple[Row, tuple[str, ...]]:
    """Read the best epoch's row of the history, empty if none, and the phases."""
    place = path / "best.safetensors"
    if not place.is_file():
        return {}, ()
    header = read_header(place)
    # A checkpoint carries the history up to its own epoch.
    return header.history[-1] if header.history else {}, header.phases.names


def _times(path: Path) -> tuple[datetime, datetime]:
    # The config is written once, when all else that a start writes is there.
    started = (path / "config.json").stat().st_mtime
    names = ("history.csv", "resume.pt", "best.safetensors", "last.safetensors")
    files = [file for name in names if (file := path / name).is_file()]
    modified = max([started, *(file.stat().st_mtime for file in files)])
    return _local(started), _local(modified)


def _local(timestamp: float) -> datetime:
    return datetime.fromtimestamp(timestamp, UTC).astimezone()
