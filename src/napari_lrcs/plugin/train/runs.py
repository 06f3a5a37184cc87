"""The trainings of a volume, and what can be done with each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image, Layer
from qtpy.QtCore import Signal

from napari_lrcs.errors import CheckpointError
from napari_lrcs.models.header import Row
from napari_lrcs.plugin.parts.layers import RUN_KEY
from napari_lrcs.plugin.parts.tables import FolderTable
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.training.run_folder import RunFolder, list_runs
from napari_lrcs.training.run_summary import RunSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHistory:
    """The epochs of a run.

    Parameters
    ----------
    name : str
        Of its folder.
    colours : tuple of str
        Of its phases, in the order of the labels.
    rows : sequence of mappings
        As `RunFolder.read_history` returns them.
    """

    name: str
    colours: tuple[str, ...]
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

    def __init__(self) -> None:
        super().__init__(
            ("Run", "Mean IoU", "Epochs", "When"),
            list_items=list_runs,
            row=_row,
            hint="No run yet: each training is kept and listed here.",
            can_tick=True,
        )
        self._histories = BackgroundReader("Reading histories", self)
        self._histories.answered.connect(self.compared.emit)
        self.add_button(
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
            allow=lambda run: run.can_resume or run.is_finished,
        )
        self.add_button(
            "Start from it",
            "Let the next training begin with the best network of this run",
            self.transfer_requested,
            allow=_has_network,
        )
        self.add_folder_buttons(self._content)

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

    def disconnect_events(self) -> None:
        """Ignore what is still read."""
        super().disconnect_events()
        self._histories.cancel()


def follow_run(layers: Iterable[Layer], former: Path, place: Path | None) -> None:
    """Let images that a run is to predict keep to it, and docks list the runs anew.

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
    if run.network is None:
        return RunHistory(name=run.name, colours=(), rows=())
    try:
        rows = RunFolder(run.path).read_history()
    except CheckpointError:
        rows = []
    colours = tuple(phase.colour for phase in run.network.phases)
    return RunHistory(name=run.name, colours=colours, rows=rows)
