"""What to train, from what, and how."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.config import TrainConfig
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.painting.role_fields import RoleFields
from napari_lrcs.plugin.parts.dock import restore_forms, settings_of
from napari_lrcs.plugin.parts.forms import form_rows, hide_rows
from napari_lrcs.plugin.parts.layers.current_slice import SliceInView
from napari_lrcs.plugin.parts.layers.layers import (
    checks_of,
    labels_of,
    layer_shape,
    n_slices_of,
    named_by_file,
    workspace_for,
)
from napari_lrcs.plugin.parts.model_choice import ModelChoice
from napari_lrcs.plugin.parts.training_form import TrainingForm
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.plugin.project.training_layers import TrainingLayers
from napari_lrcs.plugin.train.advised_rate import AdvisedRate
from napari_lrcs.plugin.train.job import TrainingJob
from napari_lrcs.plugin.train.preview import PreviewSource
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.training.not_learnt import SUGGESTED_BALANCE
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.transfer import Origin

_MAIN = (
    "n_epochs",
    "patches_per_epoch",
    "patch_size",
    "batch_size",
    "learning_rate",
    "n_filters",
    "device",
)


class TrainSetup(QWidget):
    """Layers, roles, preset, settings and device of a training."""

    failed = Signal(str)
    """Emitted with the reason when something that was chosen cannot be used."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._project = project_of(viewer.layers)
        self.layers = TrainingLayers(viewer.layers)
        self.image_choice, self.labels_choice = self.layers.image, self.layers.labels
        self.roles = RoleFields()
        self.start = ModelChoice(
            "Start from a network", none="random weights", layers=viewer.layers
        )
        self.kept = QComboBox()
        for text, kept in (("all layers", "all"), ("the encoder alone", "encoder")):
            self.kept.addItem(text, kept)
        self.training = TrainingForm(_MAIN)
        self.form, self.preset = self.training.form, self.training.preset
        self.advised_rate = AdvisedRate(self.form)
        self.device_line = self.training.device_line
        self._build()
        self.labels_choice.chosen.connect(self._follow_painting)
        self.image_choice.chosen.connect(self._follow_image)
        self.start.changed.connect(self._use_network)
        self.start.failed.connect(self.failed.emit)
        self._project.settings_found.connect(self.use)
        self._follow_painting()
        self._follow_image()

    def _build(self) -> None:
        roles = self.roles.fields.items()
        layout = vbox(self, top=4)
        self._rows = form_rows(
            ("Image", self.image_choice, "Grey volume or image to learn from"),
            ("Labels", self.labels_choice, "Layer with the painted phases"),
            *((f"{role.capitalize()} slices", f, f.toolTip()) for role, f in roles),
            (
                "Preset",
                self.preset,
                "quick: minutes, on a CPU too; best: about five times as long; paper: "
                "the published network and schedule, for a GPU",
            ),
            (
                "Start from",
                self.start,
                "Begin with the weights of an earlier network (transfer learning)",
            ),
            (
                "Keep",
                self.kept,
                "What to take over from that network; phases that it does not know "
                "start fresh in any case",
            ),
        )
        hide_rows(self._rows, self.kept)
        layout.addLayout(self._rows)
        layout.addWidget(self.advised_rate)
        layout.addWidget(self.training)
        layout.addStretch()

    def hide_layers(self) -> None:
        """Hide what the bar of the project shows."""
        hide_rows(self._rows, self.image_choice, self.labels_choice)

    # ---- what is to be trained ----

    def new_training(self, in_view: Callable[[Image], SliceInView]) -> TrainingJob:
        """Make a training of what the form says, in a new run folder.

        Parameters
        ----------
        in_view : callable
            Follows the slice of an image that is looked at.

        Raises
        ------
        ValueError, LrcsError, OSError
            If something is missing or cannot be read, or the folder cannot be made.
        """
        image, _ = self.layers.read()
        config = self.form.config
        self.roles.save(n_slices_of(image, config.preprocessing.axis))
        training = self._training(config, workspace_for(image).new_run(), in_view)
        return replace(training, fits_context=self.training.context.is_fitted)

    def resumed_training(
        self, run: Path, in_view: Callable[[Image], SliceInView]
    ) -> TrainingJob:
        """Make a training that continues a run; as `new_training` otherwise."""
        training = self._training(RunFolder(run).read_config(), run, in_view)
        return replace(training, is_resumed=True, origin=None)

    def _training(
        self, config: TrainConfig, run: Path, in_view: Callable[[Image], SliceInView]
    ) -> TrainingJob:
        image, labels = self.layers.read()
        painted = self.painted(config)
        training = TrainingJob(
            labels=painted.labels,
            checks=painted.checks,
            source=PreviewSource(
                volume=painted.image,
                mask=painted.mask,
                shape=layer_shape(image),
                in_view=in_view(image),
            ),
            roles={role: tuple(places) for role, places in painted.roles.items()},
            config=config,
            run=run,
            new_run=workspace_for(image).new_run,
            painted=_slices_to_learn(painting_of(labels)),
            origin=self.origin,
        )
        # Made at once, so that a second window chooses another one.
        run.mkdir(parents=True, exist_ok=True)
        return training

    def painted(self, config: TrainConfig) -> AnnotatedVolume:
        """Return what is painted, for a training.

        Raises
        ------
        ValueError, LrcsError
            As `new_training` does.
        """
        image, labels = self.layers.read()
        volume, painting = named_by_file(image), painting_of(labels)
        if painting is not None:
            painting.save()
        return AnnotatedVolume(
            image=volume,
            labels=labels_of(labels),
            roles=self.roles.read(volume.shape[AXES[config.preprocessing.axis]]),
            mask=None if painting is None else painting.mask_volume(volume.shape),
            checks=checks_of(image),
        )

    # ---- transfer ----

    @property
    def initial_weights(self) -> Path | None:
        """Where the next training starts from; None for random weights."""
        return self.start.path

    @property
    def origin(self) -> Origin | None:
        """The network that the next training starts from; None for random weights."""
        if self.initial_weights is None:
            return None
        return Origin(path=self.initial_weights, kept=self.kept.currentData())

    def start_from(self, path: Path) -> None:
        """Begin the next training with a network's weights, and with its shape.

        Parameters
        ----------
        path : Path
            A checkpoint or a run folder.

        Raises
        ------
        CheckpointError
            If it is not a checkpoint, or a damaged one.
        """
        self.start.choose(path)

    def _use_network(self) -> None:
        """Give the form the shape of the network that the weights are of."""
        self._rows.setRowVisible(self.kept, self.start.model is not None)
        if self.start.model is None:
            self.advised_rate.follow(None)
            return
        try:
            own = self.form.config
        except ValueError as error:
            self.start.clear()
            self.failed.emit(str(error))
        else:
            config = self.start.model.config
            self.form.config = replace(own, network=config.network)
            self.training.context.hold()
            self.advised_rate.follow(config.optimisation.learning_rate)

    # ---- presets and settings ----

    def show_settings(self, config: TrainConfig) -> None:
        """Show other settings; only the device stays."""
        self.form.config = config.with_changes(device=self.form["device"].value)

    def use(self, config: TrainConfig) -> None:
        """Show settings that a search has found, and keep their context slices."""
        self.show_settings(config)
        self.training.context.hold()

    def balance(self, config: TrainConfig) -> None:
        """Show the settings of a training, but with patches balanced between phases."""
        self.show_settings(config.with_changes(balance=SUGGESTED_BALANCE))

    def settings(self) -> dict[str, Any]:
        """Return what to remember; nothing while a field cannot be read."""
        settings = self.training.context.remembered(settings_of(config=self.training))
        return self.advised_rate.remembered(settings)

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Restore remembered settings, unless another version wrote them."""
        if restore_forms(settings, config=self.training):
            self.training.context.restore(settings)
            self._follow_painting()

    # ---- following ----

    def disconnect_events(self) -> None:
        """Stop listening to the viewer and its project."""
        self._project.settings_found.disconnect(self.use)
        for part in (
            self.image_choice,
            self.labels_choice,
            self.roles,
            self.start,
            self.training,
        ):
            part.disconnect_events()

    def _follow_image(self) -> None:
        self.start.follow(self.image_choice.layer)
        self._compare_slices()

    def _follow_painting(self) -> None:
        painting = painting_of(self.labels_choice.layer)
        self.roles.follow(painting)
        if painting is not None:
            self.form["axis"].value = painting.axis
        self._compare_slices()

    def _compare_slices(self) -> None:
        self.training.context.follow(*self.layers.to_compare())


def _slices_to_learn(painting: Painting | None) -> frozenset[int]:
    """Return the painted slices for training and validation: all, if none is marked."""
    if painting is None:
        return frozenset()
    roles = painting.state.roles
    learnt = {z for z, role in roles.items() if role != "test"}
    has_training = "train" in roles.values()
    others = set() if has_training else {*painting.painted()} - {*roles}
    return frozenset(({*painting.painted()} & learnt) | others)
