"""The trainings of a volume, and what can be done with each."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image, Layer
from qtpy.QtCore import Signal

from napari_lrcs.annotation.project_file import ProjectFile
from napari_lrcs.errors import CheckpointError, LrcsError
from napari_lrcs.models.header import Row
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layers import RUN_KEY
from napari_lrcs.plugin.parts.tables import FolderTable
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.training.run_folder import RunFolder, list_runs
from napari_lrcs.training.run_summary import RunSummary, rank_runs


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """The epochs of a run.

    Parameters
    ----------
    name : str
        Of its folder.
    phases : PhaseTable or None
        None of a damaged run.
    n_epochs : int
        Of which `rows` are those done.
    rows : sequence of mappings
        As `RunFolder.read_history` returns them.
    """

    name: str
    phases: PhaseTable | None
    n_epochs: int
    rows: Sequence[Row]


class RunsTable(FolderTable[RunSummary]):
    """A table of runs."""

    resume_requested = Signal(object)
    """Continue this run; the signals carry its path."""
    transfer_requested = Signal(object)
    """Start another training from its best network."""
    predict_requested = Signal(object)
    """Predict with its best network."""
    compared = Signal(object)
    """The histories (list of `RunHistory`) of the ticked runs."""
    history_read = Signal(object)
    """The `RunHistory` that `read_history_of` was asked for."""

    def __init__(self) -> None:
        super().__init__(
            ("Run", "Mean IoU", "Epochs", "When"),
            list_items=list_runs,
            row=_row,
            hint="No run yet: each training is kept and listed here.",
            can_tick=True,
            select_first=True,
        )
        self._histories = BackgroundReader("Reading histories", self)
        self._histories.answered.connect(self.compared.emit)
        self._history = BackgroundReader("Reading a history", self)
        self._history.answered.connect(self.history_read.emit)
        self.predict_button = self.add_button(
            "Use to predict",
            "Choose the best network of this run in the dock Predict volume",
            self.predict_requested,
            allow=_has_network,
            while_busy=True,
        )
        self.compare_button = button(
            "Compare curves",
            "Draw the validation curves of the ticked runs",
            self._compare,
        )
        self.place_button(self.compare_button)
        self.compare_button.setEnabled(False)
        self.listed.connect(self._allow_to_compare)
        self.resume_button = self.add_button(
            "Continue",
            "Continue this run, with its own settings; with new strokes, as a new run",
            self.resume_requested,
            allow=_can_continue,
        )
        self.transfer_button = self.add_button(
            "Start from it",
            "Let the next training begin with the best network of this run",
            self.transfer_requested,
            allow=_has_network,
        )
        self.add_folder_buttons(self._content)

    @property
    def newest(self) -> Path | None:
        """The newest run that can be continued; None if there is none."""
        return next((run.path for run in self.items if _can_continue(run)), None)

    def _content(self, run: RunSummary) -> str:
        """Say what is lost with a run."""
        score = run.best_mean_iou
        iou = "" if score is None else f" (mean IoU {score:.1%})"
        network = f"a network{iou}" if _has_network(run) else "a run without a network"
        heirs = [other.name for other in self.items if other.parent == run.name]
        others = f"; the runs that continue it are kept: {', '.join(heirs)}"
        epochs = f"{run.n_done} of {run.n_epochs} epochs"
        return f"{network} after {epochs}{others if heirs else ''}"

    def _allow_to_compare(self) -> None:
        self.compare_button.setEnabled(bool(self.items))

    def _compare(self) -> None:
        runs = self.ticked
        self._histories.read(lambda: [read_history(run) for run in runs])

    def read_history_of(self, path: Path | None) -> None:
        """Read the epochs of a run in a thread; of the best one if it is not there."""
        runs = rank_runs(self.items)
        if runs:
            chosen = next((run for run in runs if run.path == path), runs[0])
            self._history.read(lambda: read_history(chosen))

    def disconnect_events(self) -> None:
        """Ignore what is still read."""
        super().disconnect_events()
        for reader in (self._histories, self._history):
            reader.cancel()


def follow_run(layers: Iterable[Layer], former: Path, place: Path | None) -> None:
    """Let images and projects that a run is to predict keep to it; list runs anew.

    Parameters
    ----------
    former : Path
        Where the run was.
    place : Path or None
        Where it is now; None if it was deleted.
    """
    for image in layers:
        if isinstance(image, Image):
            if image.metadata.get(RUN_KEY) == former:
                image.metadata[RUN_KEY] = place
            image.events.metadata()
    with suppress(LrcsError, OSError):  # what was open matters less than the run
        ProjectFile(former.parent).follow_network(former, place)


def _can_continue(run: RunSummary) -> bool:
    return run.can_resume or run.is_finished


def _has_network(run: RunSummary) -> bool:
    return run.best_epoch is not None


def _row(run: RunSummary) -> tuple[str, ...]:
    best = run.best_mean_iou
    return (
        run.name,
        "damaged" if run.damaged else "–" if best is None else f"{best:.1%}",
        f"{run.n_done} of {run.n_epochs}",
        f"{run.modified:%d %b %H:%M}",
    )


def read_history(run: RunSummary) -> RunHistory:
    """Read the epochs of a run; none of a damaged one."""
    phases = None if run.network is None else run.network.phases
    rows: Sequence[Row] = ()
    if phases is not None:
        with suppress(CheckpointError):
            rows = RunFolder(run.path).read_history()
    return RunHistory(name=run.name, phases=phases, n_epochs=run.n_epochs, rows=rows)
