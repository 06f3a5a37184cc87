"""What an earlier session has left of an image: a run to continue, and its curves."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.header import Row
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.connections import Connections, Replaceable
from napari_lrcs.plugin.parts.layers.layers import RUN_KEY, workspace_for
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.training.run.folder import RunFolder, list_runs
from napari_lrcs.training.run.summary import RunSummary, rank_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """The epochs of a run.

    Parameters
    ----------
    phases : PhaseTable
        Of its network.
    n_epochs : int
        Of which `rows` are those done.
    rows : sequence of mappings
        As `RunFolder.read_history` returns them.
    """

    phases: PhaseTable
    n_epochs: int
    rows: Sequence[Row]


class LastRun(QObject):
    """Finds, in a thread, which run of an image can be continued, and its curves."""

    found = Signal()
    """Emitted when `newest` and `history` were read."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.newest: Path | None = None
        """The newest run that can be continued; None if there is none."""
        self.history: RunHistory | None = None
        """Epochs of the run in use, else of the best; None if none has a network."""
        self._image: Image | None = None
        self._followed = Replaceable()
        self._reader = BackgroundReader("Listing runs", self)
        self._reader.answered.connect(self._show)

    def follow(self, image: Image | None) -> None:
        """Look for the runs of an image, and again whenever they are announced."""
        self._image = image
        self._followed.replace(
            None
            if image is None
            else Connections((image.events.metadata, self._refresh))
        )
        self._refresh()

    def disconnect_events(self) -> None:
        """Ignore the image, and what is still read."""
        self._followed.disconnect_events()
        self._reader.cancel()
        self._image = None

    def _refresh(self, event: object = None) -> None:
        del event
        if self._image is None:
            self._reader.cancel()
            self._show((None, None))
            return
        folder = workspace_for(self._image).path
        in_use = self._image.metadata.get(RUN_KEY)
        self._reader.read(lambda: _read(folder, in_use))

    def _show(self, answer: tuple[Path | None, RunHistory | None]) -> None:
        self.newest, self.history = answer
        self.found.emit()


def _read(folder: Path, in_use: Path | None) -> tuple[Path | None, RunHistory | None]:
    """Read which run can be continued, and the epochs of the one in use or the best."""
    runs = list_runs(folder)
    newest = next((r.path for r in runs if r.can_resume or r.is_finished), None)
    ranked = rank_runs(runs)
    shown = [run for run in ranked if run.path == in_use] or ranked[:1]
    return newest, _history(shown[0]) if shown else None


def _history(run: RunSummary) -> RunHistory | None:
    if run.network is None:
        return None
    rows: Sequence[Row] = ()
    with suppress(CheckpointError):
        rows = RunFolder(run.path).read_history()
    return RunHistory(phases=run.network.phases, n_epochs=run.n_epochs, rows=rows)
