"""The run folder: what a training leaves, and what it resumes from."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import tifffile
import torch
from torch import Tensor

from napari_lrcs.annotation.annotation import Annotation
from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import CheckpointError, ResultExistsError
from napari_lrcs.io.writing import replacing
from napari_lrcs.models.checkpoint import Checkpoint, save_checkpoint
from napari_lrcs.models.header import Row, read_header
from napari_lrcs.training.resume import ResumeState
from napari_lrcs.training.run_summary import read_run_config

N_TRANSFER_CHECKPOINTS = 4
"""The paper saves a training at "four different advancements" for transfer learning."""

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


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of a run, and atomic writing of what belongs there.

    Parameters
    ----------
    path : Path
        The folder; it need not exist yet.
    """

    path: Path

    @property
    def best(self) -> Path:
        """Checkpoint with the best validation score."""
        return self.path / "best.safetensors"

    @property
    def last(self) -> Path:
        """Checkpoint of the last epoch."""
        return self.path / "last.safetensors"

    @property
    def is_run(self) -> bool:
        """Whether a training has begun here."""
        return (self.path / "config.json").is_file()

    @property
    def is_vacant(self) -> bool:
        """Whether a run may begin here: nothing is there, or what a start left."""
        if not self.path.exists():
            return True
        if not self.path.is_dir():
            return False
        names = {f.name for f in self.path.iterdir() if not f.name.startswith(".")}
        # In the order in which a start writes them.
        return names in (set(), {"resume.pt"}, {"resume.pt", "labels.tif"})

    def check_place(self, *, overwrite: bool) -> None:
        """Refuse a folder that a new run may not take.

        Raises
        ------
        ResultExistsError
            If it holds a run that is not to be replaced, or something else.
        CheckpointError
            If it is to be replaced and its ``config.json`` is not that of a run.
        """
        if self.is_vacant:
            return
        if self.is_run and overwrite:
            self.read_config()
            return
        if self.is_run:
            raise ResultExistsError(
                f"{self.path} holds a run already; resume it, overwrite it or choose "
                "another folder"
            )
        raise ResultExistsError(
            f"{self.path} exists and is not a run folder; choose another place"
        )

    def read_config(self) -> TrainConfig:
        """Read the config that the run was begun with.

        Raises
        ------
        CheckpointError
            If the folder holds no run or its config is damaged.
        """
        if not self.is_run:
            raise CheckpointError(
                f"there is no run in {self.path} to resume; start one without resuming"
            )
        return read_run_config(self.path)

    def begin(self) -> None:
        """Make the folder, without the files of an earlier run."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.is_run:
            self.remove()

    def write_task(self, annotation: Annotation, config: TrainConfig) -> None:
        """Write labels and config; the config makes the folder a run that resumes."""
        self._write_labels(annotation)
        with replacing(self.path / "config.json") as temporary:
            temporary.write_text(
                json.dumps(config.to_dict(), indent=2) + "\n", encoding="utf-8"
            )

    def remove(self) -> None:
        """Remove the files of an earlier run, and nothing else."""
        epochs = filter(_is_of_epoch, self.path.glob("epoch-*.safetensors"))
        names = ("resume.pt", "history.csv", "labels.tif")
        for file in (*epochs, self.best, self.last, *(self.path / n for n in names)):
            file.unlink(missing_ok=True)
        (self.path / "config.json").unlink(missing_ok=True)

    def write_history(self, rows: Sequence[Row]) -> None:
        """Write a row an epoch."""
        if not rows:
            return
        with (
            replacing(self.path / "history.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def write_epoch(self, checkpoint: Checkpoint, *, epoch: int, is_best: bool) -> None:
        """Write the checkpoints that an epoch leaves."""
        n_epochs = checkpoint.config.n_epochs
        save_checkpoint(self.last, checkpoint)
        if is_best:
            save_checkpoint(self.best, checkpoint)
        if epoch in transfer_epochs(n_epochs):
            save_checkpoint(self.path / f"epoch-{epoch:04d}.safetensors", checkpoint)

    def write_resume(self, state: Mapping[str, Any]) -> None:
        """Write the state to resume from."""
        # In memory first: on a full disk, torch.save raises no OSError.
        buffer = BytesIO()
        torch.save(dict(state), buffer)
        with replacing(self.path / "resume.pt") as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def read_resume(self) -> ResumeState:
        """Read the state to resume from.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged or holds something else.
        """
        path = self.path / "resume.pt"
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is damaged: it is not a regular file")
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except _UNREADABLE as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise CheckpointError(f"{path} is damaged: {reason}") from error
        try:
            return ResumeState.from_saved(saved)
        except ValueError as error:
            raise CheckpointError(
                f"resume.pt in {self.path} is not of this run: {error}"
            ) from error

    def _write_labels(self, annotation: Annotation) -> None:
        with (
            replacing(self.path / "labels.tif") as temporary,
            tifffile.TiffWriter(temporary) as tiff,
        ):
            for s in annotation.slices:
                place = {"volume": s.volume, "index": s.index, "role": s.role}
                tiff.write(
                    s.labels,
                    photometric="minisblack",
                    compression="zlib",
                    description=json.dumps(place),
                    metadata=None,
                )


def _is_of_epoch(file: Path) -> bool:
    """Tell our networks from files of the user's that are named alike."""
    if not re.fullmatch(r"epoch-[0-9]{4,}\.safetensors", file.name):
        return False
    try:
        read_header(file)
    except CheckpointError:
        return False
    return True


def transfer_epochs(n_epochs: int) -> list[int]:
    """Choose the epochs after which a checkpoint is kept for transfer learning.

    Examples
    --------
    >>> transfer_epochs(20)
    [5, 10, 15, 20]
    >>> transfer_epochs(2)
    [1, 2]
    """
    quarters = range(1, N_TRANSFER_CHECKPOINTS + 1)
    return sorted({max(1, n_epochs * i // N_TRANSFER_CHECKPOINTS) for i in quarters})


def cpu_copy(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dict, so that further steps do not change it."""
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
