"""The folder of a live training: that of a run, with the strokes that it took in."""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from napari_lrcs.errors import CheckpointError
from napari_lrcs.io.writing import replacing
from napari_lrcs.training.run.folder import RunFolder

if TYPE_CHECKING:
    from napari_lrcs.models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class StrokeRow:
    """When a stroke was taken in; a row of ``strokes.csv``.

    Parameters
    ----------
    seconds : float
        Of training when it was, without the time that the training has rested.
    step : int
        First step that could draw it.
    slice : int
        Place of the slice along the axis of the run, from 0.
    voxels : int
        Whose label it has changed.
    """

    seconds: float
    step: int
    slice: int
    voxels: int


@dataclass(frozen=True, slots=True)
class LiveRunFolder(RunFolder):
    """The files of a live run.

    It keeps no networks for transfer learning: nobody knows how many epochs it has.
    """

    def write_epoch(
        self, checkpoint: "Checkpoint", *, epoch: int, is_best: bool
    ) -> None:
        """Write the checkpoints that an epoch leaves."""
        from napari_lrcs.models.checkpoint import save_checkpoint

        del epoch
        save_checkpoint(self.last, checkpoint)
        if is_best:
            save_checkpoint(self.best, checkpoint)

    def write_strokes(self, rows: Sequence[StrokeRow]) -> None:
        """Write one row per stroke."""
        with (
            replacing(self.strokes) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, [f.name for f in fields(StrokeRow)])
            writer.writeheader()
            writer.writerows(map(asdict, rows))

    def read_strokes(self) -> list[StrokeRow]:
        """Read one row per stroke.

        Raises
        ------
        CheckpointError
            If the file is missing or damaged.
        """
        try:
            with self.strokes.open(newline="", encoding="utf-8") as file:
                return [_row(values) for values in csv.DictReader(file, strict=True)]
        except (csv.Error, OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.strokes.name} in {self.path} is missing or damaged: {error}"
            ) from error


def _row(values: dict[str, str]) -> StrokeRow:
    return StrokeRow(
        seconds=float(values["seconds"]),
        step=int(values["step"]),
        slice=int(values["slice"]),
        voxels=int(values["voxels"]),
    )
