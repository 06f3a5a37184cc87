"""What a study takes: how many trainings, how long and how much space."""

import math
from collections.abc import Sequence

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QLabel

from napari_lrcs.config import StudyConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.inference.estimate import amount
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.forms import ConfigForm
from napari_lrcs.plugin.parts.layers.layers import (
    phases_shown,
    volume_of,
    workspace_for,
)
from napari_lrcs.plugin.parts.training_form import TrainingForm
from napari_lrcs.plugin.parts.widgets import clock
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.plugin.project.training_layers import TrainingLayers
from napari_lrcs.training.run.folder import list_runs
from napari_lrcs.training.run.summary import RunSummary, expected_seconds
from napari_lrcs.uncertainty.study.probabilities import disk_needed


class StudyEstimate(QLabel):
    """A sentence on what will be made; empty while a setting cannot be read.

    Parameters
    ----------
    layers : TrainingLayers
    study : ConfigForm of StudyConfig
    training : TrainingForm
    """

    def __init__(
        self,
        layers: TrainingLayers,
        *,
        study: ConfigForm[StudyConfig],
        training: TrainingForm,
    ) -> None:
        super().__init__()
        self._layers, self._study, self._training = layers, study, training
        self._runs: Sequence[RunSummary] = ()
        """Trainings on the image, the newest first, which tell how long more take."""
        self._reader = BackgroundReader("Listing runs", self)
        self._reader.answered.connect(self._show_runs)
        self.setWordWrap(True)
        layers.image.chosen.connect(self._follow_image)
        study.changed.connect(self._update)
        training.form.changed.connect(self._update)
        self._follow_image()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802 Qt's name
        """Look for trainings that there were meanwhile."""
        super().showEvent(event)
        self._list_runs()

    def disconnect_events(self) -> None:
        """Stop reading; the layers stop to tell by themselves."""
        self._reader.cancel()

    def _follow_image(self) -> None:
        self._runs = ()
        self._list_runs()
        self._update()

    def _list_runs(self) -> None:
        image = self._layers.image.layer
        if image is not None:
            folder = workspace_for(image).path
            self._reader.read(lambda: list_runs(folder))

    def _show_runs(self, runs: Sequence[RunSummary]) -> None:
        self._runs = runs
        self._update()

    def _update(self) -> None:
        try:
            study = self._study.config
            seconds = expected_seconds(self._training.config, self._runs)
            n_bytes = self._bytes(study)
        except (LrcsError, ValueError):  # told when it is to be run
            self.clear()
            return
        self.setText(_estimate(study, n_bytes, seconds))

    def _bytes(self, study: StudyConfig) -> int:
        image, labels = self._layers.image.layer, self._layers.labels.layer
        if image is None:
            return 0
        table = None if labels is None else phases_shown(labels)
        return disk_needed(
            math.prod(volume_of(image).shape),
            n_phases=len(table or PhaseTable.numbered(2)),
            n_members=study.n_members + study.n_repeats,
        )


def _estimate(study: StudyConfig, n_bytes: int, seconds: float | None = None) -> str:
    """Say what a study makes, and how long its trainings take if that is known.

    Examples
    --------
    >>> _estimate(StudyConfig(n_members=2, n_repeats=0), 2**21, 90.0)
    'Trains 2 networks, each on different labels, and predicts the whole volume with \
each: at most 2.0 MiB on disk. The trainings take about 3:00.'
    """
    n = study.n_members + study.n_repeats
    parts = (
        f"{study.n_members} on perturbed labels, {study.n_repeats} on the labels as "
        "painted"
        if study.n_repeats
        else "each on different labels"
    )
    disk = f": at most {amount(n_bytes)} on disk" if n_bytes else ""
    time = "" if seconds is None else f" The trainings take about {clock(n * seconds)}."
    return (
        f"Trains {n} networks, {parts}, and predicts the whole volume with each{disk}."
        f"{time}"
    )
