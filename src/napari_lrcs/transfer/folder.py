"""The files of a comparison of transfer learning."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from napari_lrcs.config import TrainConfig
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.records import Record, convert
from napari_lrcs.io.tables import write_csv
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import KeptPart, Origin
from napari_lrcs.transfer.config import TransferConfig
from napari_lrcs.transfer.figures import FIGURE
from napari_lrcs.transfer.plan import Start, TransferTask
from napari_lrcs.transfer.results import TransferFindings, read_result

_RECORD = "transfer.json"
_TABLE = "transfer.csv"


class TransferRecord(TypedDict):
    """What is read of ``transfer.json``."""

    task: dict[str, Any]
    starts: list[Start]
    source: NotRequired[str]
    """Run folder of the earlier training; the first comparisons did not keep it."""


@dataclass(frozen=True, slots=True)
class TransferFolder:
    """The files of a comparison.

    Parameters
    ----------
    path : Path
        The folder; it need not exist yet.
    """

    path: Path

    @property
    def record(self) -> Record[TransferRecord]:
        """File that makes the folder a comparison of transfer learning."""
        return Record(path=self.path / _RECORD, kind=TransferRecord, what="transfer")

    def run_of(self, start: Start, repeat: int) -> RunFolder:
        """Return the folder of a training."""
        return RunFolder(self.path / start.name / f"repeat-{repeat}")

    def begin(self, description: Mapping[str, Any], task: TransferTask) -> None:
        """Write the task, in place of an earlier comparison.

        Parameters
        ----------
        description : mapping
            From `TransferTask.to_dict`.
        """
        if self.record.exists:
            self.remove()
        self.path.mkdir(exist_ok=True)
        self.record.write(
            {
                "task": description,
                "starts": [asdict(start) for start in task.starts],
                "source": str(task.source.path.absolute()),
                "begun_at": task.begun_at.isoformat(),
            }
        )

    def read_settings(self) -> tuple[TrainConfig, TransferConfig]:
        """Read the settings that the comparison was started with, to continue it."""
        task = self.record.read()["task"]
        try:
            return TrainConfig.from_dict(task["config"]), TransferConfig(
                n_moments=len(task["epochs"]), n_repeats=task["n_repeats"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise VolumeError(
                f"{_RECORD} in {self.path} is damaged: {error}"
            ) from error

    def read_origin(self) -> Origin:
        """Read which run the comparison starts from, and what is kept of it."""
        record = self.record.read()
        try:
            values = record["source"], record["task"]["kept"]
            source, kept = convert(values, tuple[str, KeptPart])
            return Origin(path=Path(source), kept=kept)
        except (KeyError, ValueError) as error:
            raise VolumeError(
                f"{_RECORD} in {self.path} does not say where it starts from; continue "
                "it on the command line, with --from"
            ) from error

    @property
    def is_complete(self) -> bool:
        """Whether all trainings have ended."""
        n_repeats = self.record.read()["task"]["n_repeats"]
        results = self.read_findings().results
        return all(len(result.scores) >= n_repeats for result in results)

    def read_findings(self) -> TransferFindings:
        """Read the results so far; trainings may still be running."""
        record = self.record.read()
        return TransferFindings(
            source=record["task"]["source"],
            results=tuple(
                read_result(start, self.path / start.name) for start in record["starts"]
            ),
        )

    def write_table(self, findings: TransferFindings) -> None:
        """Write ``transfer.csv``, one row for each start."""
        write_csv(self.path / _TABLE, findings.rows)

    def remove(self) -> None:
        """Remove the files of the comparison, and nothing else."""
        for start in self.record.read()["starts"]:
            shutil.rmtree(self.path / start.name, ignore_errors=True)
        # `_RECORD` comes last: it marks the folder as a comparison.
        for name in (_TABLE, FIGURE, _RECORD):
            (self.path / name).unlink(missing_ok=True)


def newest_transfer(folder: Path) -> TransferFolder | None:
    """Return the comparison in a folder that was begun last; None without one."""
    files = folder.glob(f"transfer-*/{_RECORD}")
    newest = max(files, key=lambda file: file.stat().st_mtime, default=None)
    return None if newest is None else TransferFolder(newest.parent)
