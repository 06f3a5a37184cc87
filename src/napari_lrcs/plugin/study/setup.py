"""What to study: layers, slices, networks and perturbation, and where to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QLineEdit, QWidget

from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.config import PerturbConfig, PredictConfig, StudyConfig, TrainConfig
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.computing.cluster import Cluster
from napari_lrcs.plugin.parts.computing.compute_on import ComputeOn
from napari_lrcs.plugin.parts.dock import restore_forms, settings_of
from napari_lrcs.plugin.parts.forms import KERNELS, ConfigForm, form_rows
from napari_lrcs.plugin.parts.layers.layers import (
    checks_of,
    labels_of,
    named_by_file,
    volume_of,
    workspace_for,
)
from napari_lrcs.plugin.parts.training_form import TrainingForm
from napari_lrcs.plugin.parts.widgets import button, path_row, vbox
from napari_lrcs.plugin.project.training_layers import TrainingLayers
from napari_lrcs.plugin.study.also_measure import AlsoMeasure
from napari_lrcs.plugin.study.estimate import StudyEstimate
from napari_lrcs.plugin.study.job import StudyJob
from napari_lrcs.plugin.study.slices import StudySlices
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.uncertainty.study.folder import StudyFolder
from napari_lrcs.uncertainty.study.task import StudyTask

_PRESET = (
    "quick: a minute or two per network, on a CPU too; best: up to ten minutes on a "
    "CPU; paper: the published network and schedule, for a GPU"
)
_FOLDER = "Folder for the study and all its results"


class StudySetup(QWidget):
    """The form of the dock."""

    folder_changed = Signal()
    """Emitted when studies go to another folder."""
    suggest_requested = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.layers = TrainingLayers(
            viewer.layers,
            without=(
                "majority vote of networks",
                "mean prediction of networks",
                "agreement of networks",
            ),
        )
        self.image_choice, self.labels_choice = self.layers.image, self.layers.labels
        self.slices = StudySlices()
        self.study = ConfigForm(StudyConfig(), main=("n_members", "n_repeats"))
        self.perturb = ConfigForm(
            PerturbConfig(),
            main=("kernel", "picked_fraction"),
            choices={"kernel": KERNELS},
        )
        self.training = TrainingForm(("device",))
        self.also_measure = AlsoMeasure()
        self.compute_on = ComputeOn()
        self.estimate = StudyEstimate(
            self.layers, study=self.study, training=self.training
        )
        self.suggest = button(
            "Suggest 10%",
            "Find the kernel and the picked fraction that change 10% of the painted "
            "voxels, as much as experimenters differ",
            self.suggest_requested.emit,
        )
        self.folder = QLineEdit()
        self._has_own_folder = False
        self._build()
        self._connect()
        self._follow_painting()
        self._follow_image()

    def _build(self) -> None:
        folder = path_row(self.folder, "Where to keep studies", self._ask_for_folder)
        layout = vbox(self, top=4)
        layout.addLayout(
            form_rows(
                ("Image", self.image_choice, "Grey volume or image to learn from"),
                ("Labels", self.labels_choice, "Layer with the painted phases"),
                ("Training slices", self.slices.train, self.slices.train.toolTip()),
                ("Test slice", self.slices.test, self.slices.test.toolTip()),
            )
        )
        for part in (
            self.study,
            self.estimate,
            QLabel("How far painted interfaces move:"),
            self.perturb,
            self.suggest,
        ):
            layout.addWidget(part)
        layout.addLayout(form_rows(("Preset", self.training.preset, _PRESET)))
        layout.addWidget(self.training)
        layout.addWidget(self.also_measure)
        layout.addWidget(self.compute_on)
        layout.addLayout(form_rows(("Folder", folder, _FOLDER)))
        layout.addStretch()

    def _connect(self) -> None:
        self.image_choice.chosen.connect(self._follow_image)
        self.labels_choice.chosen.connect(self._follow_painting)
        self.folder.textEdited.connect(self._note_own_folder)
        self.folder.editingFinished.connect(self.folder_changed.emit)

    # ---- what is chosen ----

    @property
    def out(self) -> Path:
        """The folder of the next study; ValueError if none is given."""
        text = self.folder.text().strip()
        if not text:
            raise ValueError("Folder: none is given; name one for the study")
        return Path(text)

    def task(self) -> StudyTask:
        """Return what is to be studied; reads no voxel.

        Raises
        ------
        ValueError
            If something is missing, or cannot be read.
        VolumeError
            If a layer is no volume.
        """
        config = self.training.config
        image, _ = self.layers.read()
        n_slices = volume_of(image).shape[AXES[config.preprocessing.axis]]
        train, test = self.slices.read(n_slices)
        return self._task(
            config,
            train=train,
            test=test,
            perturb=self.perturb.config,
            study=self.study.config,
            also_measure=self.also_measure.config,
        )

    def new_study(self) -> StudyJob:
        """Make a study of what the form says, in a new folder.

        Raises
        ------
        ValueError, VolumeError, OSError
            As `task` does, or if the folder cannot be made.
        """
        task, out, cluster = self.task(), self.out, self._cluster()
        # Made at once, so that a second window chooses another one.
        out.mkdir(parents=True, exist_ok=True)
        is_fitted = self.training.context.is_fitted
        return StudyJob(
            make_task=task.with_fitted_context if is_fitted else lambda: task,
            out=out,
            cluster=cluster,
        )

    def resumed_study(self, out: Path) -> StudyJob:
        """Make a study that continues one, with its own settings."""
        task = self._task(self.training.config, train=(), test=())
        return StudyJob(
            make_task=lambda: StudyFolder(out).read_settings().for_task(task),
            out=out,
            is_resumed=True,
            cluster=self._cluster(),
        )

    def _cluster(self) -> Cluster | None:
        image, _ = self.layers.read()
        return self.compute_on.cluster(image)

    def _task(self, config: TrainConfig, **settings: Any) -> StudyTask:
        layer, labels = self.layers.read()
        image, painting = named_by_file(layer), painting_of(labels)
        if painting is not None:
            painting.save()
        painted = labels_of(labels)
        return StudyTask(
            image=image,
            labels=painted,
            config=config,
            predict=PredictConfig(device=config.device, precision=config.precision),
            phases=painted.phases,
            mask=None if painting is None else painting.mask_volume(image.shape),
            checks=checks_of(layer),
            **settings,
        )

    # ---- the folder ----

    def new_folder(self) -> None:
        """Name a folder that is not there, beside the last one if the user chose it."""
        image = self.image_choice.layer
        if self._has_own_folder:
            folder = Workspace(self.out.parent).new_study()
        elif image is None:
            return
        else:
            folder = workspace_for(image).new_study()
        self.folder.setText(str(folder))
        self.folder_changed.emit()

    def choose_folder(self, parent: Path) -> None:
        """Let studies lie in another folder than the image's own."""
        self._has_own_folder = True
        self.folder.setText(str(Workspace(parent).new_study()))
        self.folder_changed.emit()

    def _ask_for_folder(self) -> None:
        there = str(Path(self.folder.text()).parent)
        parent = QFileDialog.getExistingDirectory(self, "Where to keep studies", there)
        if parent:
            self.choose_folder(Path(parent))

    def _note_own_folder(self, text: str) -> None:
        self._has_own_folder = bool(text.strip())

    # ---- following ----

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        for part in (
            self.estimate,
            self.image_choice,
            self.labels_choice,
            self.slices,
            self.training,
        ):
            part.disconnect_events()

    def _follow_image(self) -> None:
        self._has_own_folder = False
        self.new_folder()
        self._compare_slices()

    def _follow_painting(self) -> None:
        labels = self.labels_choice.layer
        painting = painting_of(labels)
        self.also_measure.follow(labels)
        self.slices.follow(painting)
        if painting is not None:
            self.training.form["axis"].value = painting.axis
        self._compare_slices()

    def _compare_slices(self) -> None:
        self.training.context.follow(*self.layers.to_compare())

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return what to remember; nothing while a field cannot be read."""
        settings = self.training.context.remembered(settings_of(**self._forms))
        return settings and {**settings, "compute_on": self.compute_on.settings()}

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Restore remembered settings, unless another version wrote them."""
        known = {"also_measure": {}, **settings}  # earlier versions had none
        if restore_forms(known, **self._forms):
            self.training.context.restore(settings)
            self.compute_on.restore(settings.get("compute_on", {}))
            self._follow_painting()

    @property
    def _forms(self) -> dict[str, Any]:
        return {
            "config": self.training,
            "perturb": self.perturb,
            "study": self.study,
            "also_measure": self.also_measure,
        }
