"""What to predict, with which network, and where to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Image
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QWidget,
)

from napari_lrcs.config import Axis, PredictConfig
from napari_lrcs.errors import LrcsError
from napari_lrcs.inference.estimate import amount, fits_memory, memory_needed
from napari_lrcs.inference.foreign import warn_of_grey_levels, warn_of_voxel_size
from napari_lrcs.io.volume import SLICE_EXAMPLES, Volume, parse_slices
from napari_lrcs.models.header import ModelSummary
from napari_lrcs.plugin.painting.field_of_view import ABOUT_Z, FieldOfView
from napari_lrcs.plugin.painting.role_fields import HOW
from napari_lrcs.plugin.parts.computing.compute_on import ComputeOn
from napari_lrcs.plugin.parts.dock import restore_forms, settings_of
from napari_lrcs.plugin.parts.forms import ConfigForm, Fold, form_rows, hide_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.current_slice import nearest_slice, place_in_view
from napari_lrcs.plugin.parts.layers.layers import (
    n_slices_of,
    volume_of,
)
from napari_lrcs.plugin.parts.model_choice import ModelChoice
from napari_lrcs.plugin.parts.widgets import choice, vbox
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.plugin.predict.more_volumes import MoreVolumes
from napari_lrcs.plugin.predict.place import MEMORY, ZARR, ResultPlace
from napari_lrcs.plugin.project.project import project_of

THIS, RANGE, ALL = "This slice", "Some slices", "All slices"


class PredictSetup(QWidget):
    """The form of the dock."""

    failed = Signal(str)
    """Emitted with the reason when something that was chosen cannot be used."""
    compared = Signal(object)
    """Emitted with notices on what makes the image foreign to the network, if any."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer, project = viewer, project_of(viewer.layers)
        self.image_choice: LayerChoice[Image] = LayerChoice(
            viewer.layers, Image, propose=project.image, anew=project.changed
        )
        self.model_choice = ModelChoice(layers=viewer.layers)
        self.region = choice(ALL, THIS, RANGE)
        self.range = QLineEdit()
        self.field_of_view = FieldOfView(viewer.layers)
        self.place = ResultPlace()
        self.where, self.file = self.place.where, self.place.file
        self.overwrite = QCheckBox("Overwrite an existing file")
        self.confidence = QCheckBox("Confidence")
        self.probabilities = QCheckBox("Probabilities")
        self.form = ConfigForm(PredictConfig(), main=("average_turns", "min_size"))
        self.compute_on = ComputeOn()
        self.more = MoreVolumes()
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        self._reader = BackgroundReader("Comparing the image with the network", self)
        self._reader.answered.connect(self.compared.emit)
        self._build()
        self._connect()
        self._follow_image()

    def _build(self) -> None:
        self.range.setPlaceholderText(SLICE_EXAMPLES)
        self._rows = form_rows(*self._fields())
        self.overwrite.setToolTip("Replace the file if it exists")
        self.confidence.setToolTip(
            "Also keep the probability that the predicted phase is right, 0 to 255"
        )
        self.probabilities.setToolTip(
            "Also write the probability of each phase, as OME-Zarr beside the labels"
        )
        layout = vbox(self, top=4)
        layout.addLayout(self._rows)
        for part in (
            self.overwrite,
            self.confidence,
            self.probabilities,
            self.place.unfinished,
            self._hint,
            self.form,
            self.compute_on,
            Fold("More volumes", self.more),
        ):
            layout.addWidget(part)
        layout.addStretch()

    def _fields(self) -> list[tuple[str, QWidget, str]]:
        return [
            ("Image", self.image_choice, "Grey volume or image to predict"),
            ("Model", self.model_choice, "Trained networks, the best score first"),
            ("Region", self.region, "Slices to predict; the others stay empty"),
            ("Slices", self.range, HOW),
            ("Field of view", self.field_of_view, "Nothing is predicted outside"),
            (
                "Save result",
                self.where,
                "Where the labels go; files can be of any size",
            ),
            ("File", self.place, "For the labels; other results go next to it"),
        ]

    def _connect(self) -> None:
        self.image_choice.chosen.connect(self._follow_image)
        self.model_choice.failed.connect(self.failed.emit)
        for box in (self.region, self.where):
            box.currentTextChanged.connect(lambda _text: self._update())
        self.range.textChanged.connect(lambda _text: self._update())
        self.confidence.toggled.connect(lambda _is_on: self._update())
        self.model_choice.changed.connect(self._update)
        self.model_choice.changed.connect(self._compare)
        self.form.changed.connect(self._update)
        self.compute_on.changed.connect(self._follow_computing)

    def hide_layers(self) -> None:
        """Hide what the bar of the project shows."""
        hide_rows(self._rows, self.image_choice, self.model_choice)
        self._compare()

    # ---- what is chosen ----

    def image(self) -> Image:
        """Return the image; ValueError if there is none."""
        image = self.image_choice.layer
        if image is None:
            raise ValueError("choose an image: open one, or File > Open Sample")
        return image

    def volume(self) -> Volume:
        """Wrap the image under a name that stays when the layer is renamed meanwhile.

        Raises
        ------
        ValueError, VolumeError
            If there is no image, or it is not a grey volume.
        """
        image = self.image()
        source = image.source.path
        name = "the image" if source is None else Path(source).name
        return replace(volume_of(image), name=name)

    def model(self) -> ModelSummary:
        """Return the network; ValueError if there is none."""
        model = self.model_choice.model
        if model is None:
            raise ValueError("no model is chosen; train one, or choose a file")
        return model

    def slices(self, axis: Axis) -> tuple[int, ...] | None:
        """Return the slices to predict across an axis; None for all.

        Raises
        ------
        ValueError
            If the range cannot be read, or leaves the image.
        """
        image = self.image()
        n_slices = n_slices_of(image, axis)
        chosen = self.region.currentText()
        if chosen == ALL:
            return None
        if chosen == RANGE:
            return parse_slices(self.range.text(), n_slices=n_slices)
        return (nearest_slice(image, place_in_view(self._viewer, image), axis),)

    @property
    def is_whole(self) -> bool:
        """Whether all slices are to be predicted."""
        return bool(self.region.currentText() == ALL)

    def needed(self) -> int:
        """Return the bytes that the result needs in memory."""
        axis = self.model().config.preprocessing.axis
        slices = self.slices(axis)
        return memory_needed(
            volume_of(self.image()).shape,
            n_slices=None if slices is None else len(slices),
            axis=axis,
            confidence=self.confidence.isChecked(),
            min_size=self.form.config.min_size,
        )

    # ---- following ----

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        self._reader.cancel()
        choices = (self.image_choice, self.field_of_view.layers, self.model_choice)
        for part in choices:
            part.disconnect_events()

    def _follow_image(self) -> None:
        image = self.image_choice.layer
        self.place.follow(image)
        self.model_choice.follow(image)
        if image is not None and self.where.currentText() == MEMORY:
            try:
                is_too_large = not fits_memory(memory_needed(volume_of(image).shape))
            except LrcsError:  # told when it is to be predicted
                is_too_large = False
            if is_too_large:
                self.where.setCurrentText(ZARR)
        self.place.new_file()
        self._update()
        self._compare()

    def _follow_computing(self) -> None:
        """Let the result go to a file where other processes write it."""
        if self.compute_on.is_elsewhere and self.where.currentText() == MEMORY:
            self.where.setCurrentText(ZARR)

    def _compare(self) -> None:
        """Compare the image with what the network was trained on, in a thread."""
        self._reader.cancel()
        try:
            volume, model = self.volume(), self.model()
            mask = self.field_of_view.volume(volume.shape)
        except (ValueError, LrcsError):  # told when it is to be predicted
            self.compared.emit([])
            return
        # The choice of the network warns of it itself, where it is shown.
        size = warn_of_voxel_size(volume, model) if self.model_choice.isHidden() else []
        self.compared.emit(size)
        self._reader.read(
            lambda: [*size, *warn_of_grey_levels(volume, model, mask=mask)]
        )

    def _update(self) -> None:
        """Show the fields that matter now, and what the result needs."""
        to_disk = self.where.currentText() != MEMORY
        self._rows.setRowVisible(self.range, self.region.currentText() == RANGE)
        self._rows.setRowVisible(self.place, to_disk)
        self.place.offer_unfinished()
        self.overwrite.setVisible(to_disk)
        self.probabilities.setVisible(to_disk)
        self._hint.setText("" if to_disk else _need_text(self))
        self._hint.setVisible(bool(self._hint.text()))

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return what to remember; nothing while a field cannot be read."""
        settings = settings_of(config=self.form)
        return settings and {
            **settings,
            **{name: box.currentText() for name, box in self._boxes.items()},
            **{name: box.isChecked() for name, box in self._ticks.items()},
            "field": self.field_of_view.kind.currentText(),
            "range": self.range.text(),
            "compute_on": self.compute_on.settings(),
        }

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Restore remembered settings, unless another version wrote them."""
        if not restore_forms(settings, config=self.form):
            return
        self.range.setText(str(settings.get("range", "")))
        for name, box in self._boxes.items():
            box.setCurrentText(str(settings.get(name)))
        for name, tick in self._ticks.items():
            tick.setChecked(bool(settings.get(name)))
        if settings.get("field") == ABOUT_Z:  # a layer may be another one by now
            self.field_of_view.kind.setCurrentText(ABOUT_Z)
        self.compute_on.restore(settings.get("compute_on", {}))
        self._follow_image()  # what was chosen for another one may not fit

    @property
    def _boxes(self) -> Mapping[str, QComboBox]:
        return {"region": self.region, "where": self.where}

    @property
    def _ticks(self) -> Mapping[str, QCheckBox]:
        # Not `overwrite`: that is asked for each time.
        return {"confidence": self.confidence, "probabilities": self.probabilities}


def _need_text(setup: PredictSetup) -> str:
    try:
        return f"Needs {amount(setup.needed())} of memory."
    except ValueError:  # something is not chosen yet
        return ""
