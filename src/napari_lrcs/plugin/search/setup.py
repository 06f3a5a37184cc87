"""What to search: layers, slices, the settings that vary, and how many are tried."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QWidget

from napari_lrcs.annotation.annotation import AnnotatedVolume
from napari_lrcs.config import SearchConfig
from napari_lrcs.inference.estimate import amount
from napari_lrcs.io.records import convert
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.painting.role_fields import RoleFields
from napari_lrcs.plugin.parts.computing.compute_on import ComputeOn
from napari_lrcs.plugin.parts.dock import restore_forms, settings_of
from napari_lrcs.plugin.parts.forms import ConfigForm, form_rows
from napari_lrcs.plugin.parts.layers.layers import (
    checks_of,
    labels_of,
    named_by_file,
    workspace_for,
)
from napari_lrcs.plugin.parts.training_form import TrainingForm
from napari_lrcs.plugin.parts.widgets import button, clock, vbox
from napari_lrcs.plugin.project.training_layers import TrainingLayers
from napari_lrcs.plugin.search.job import Estimated, SearchJob
from napari_lrcs.plugin.search.space_form import SpaceForm
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.search.events import SearchStarted
from napari_lrcs.setting_names import rename_settings

SAMPLERS = (
    ("Random", "random"),
    ("Grid: all combinations", "grid"),
    ("From earlier scores (TPE)", "tpe"),
    ("From earlier scores (Gaussian process)", "bayes"),
)
"""Titles of the samplers in `napari_lrcs.config.Sampler`."""

_PRESET = "Settings that are not varied; those that are vary around it"


class SearchSetup(QWidget):
    """The form of the dock."""

    estimate_requested = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.layers = TrainingLayers(viewer.layers)
        self.image_choice, self.labels_choice = self.layers.image, self.layers.labels
        self.roles = RoleFields()
        self.training = TrainingForm(("device",))
        self.space = SpaceForm(self.training.config)
        self.search = ConfigForm(
            SearchConfig(),
            main=("sampler", "n_trials", "n_repeats", "minutes"),
            choices={"sampler": SAMPLERS},
        )
        self.compute_on = ComputeOn()
        self.estimate_button = button(
            "How long will it take?",
            "Time a few steps, and find out how much memory the largest setting needs; "
            "the search does so, too, before it begins",
            self.estimate_requested.emit,
        )
        self._plan = QLabel()
        self._build()
        self._connect()
        self._follow_painting()
        self._follow_config()

    def _build(self) -> None:
        self._plan.setWordWrap(True)
        roles = self.roles.fields.items()
        layout = vbox(self, top=4)
        layout.addLayout(
            form_rows(
                ("Image", self.image_choice, "Grey volume or image to learn from"),
                ("Labels", self.labels_choice, "Layer with the painted phases"),
                *((f"{r.capitalize()} slices", f, f.toolTip()) for r, f in roles),
                ("Preset", self.training.preset, _PRESET),
            )
        )
        layout.addWidget(QLabel("Settings to vary, and their values:"))
        for part in (self.space, self.search, self._plan, self.estimate_button):
            layout.addWidget(part)
        layout.addWidget(self.training)
        layout.addWidget(self.compute_on)
        layout.addStretch()

    def _connect(self) -> None:
        self.image_choice.chosen.connect(self._compare_slices)
        self.labels_choice.chosen.connect(self._follow_painting)
        self.training.form.changed.connect(self._follow_config)
        self.space.changed.connect(self._show_plan)
        self.search.changed.connect(self._show_plan)

    # ---- what is chosen ----

    @property
    def plan(self) -> str:
        """The sentence on what will be tried."""
        return str(self._plan.text())

    def new_search(self) -> SearchJob:
        """Make a search of what the form says, in a new folder.

        Raises
        ------
        ValueError, LrcsError, OSError
            If something is missing or cannot be read, or the folder cannot be made.
        """
        search = self._job_on_cluster()
        # Made at once, so that a second window chooses another one.
        search.out.mkdir(parents=True, exist_ok=True)
        return search

    def resumed_search(self, out: Path) -> SearchJob:
        """Make a search that continues one, with its own settings."""
        job = self._job_on_cluster()
        return replace(job, out=out, is_resumed=True, fits_context=False)

    def _job_on_cluster(self) -> SearchJob:
        job, (image, _) = self.job(), self.layers.read()
        return replace(job, cluster=self.compute_on.cluster(image))

    def job(self) -> SearchJob:
        """Return what is to be searched; nothing is made, no voxel is read."""
        image, labels = self.layers.read()
        config = self.training.config
        volume, painting = named_by_file(image), painting_of(labels)
        if painting is not None:
            painting.save()
        mask = None if painting is None else painting.mask_volume(volume.shape)
        n_slices = volume.shape[AXES[config.preprocessing.axis]]
        return SearchJob(
            volume=AnnotatedVolume(
                image=volume,
                labels=labels_of(labels),
                roles=self.roles.read(n_slices),
                mask=mask,
                checks=checks_of(image),
            ),
            space=self.space.space,
            config=config,
            search=self.search.config,
            out=workspace_for(image).new_search(),
            fits_context=self.training.context.is_fitted,
        )

    @property
    def folder(self) -> Path | None:
        """Where searches are kept; None without an image."""
        image = self.image_choice.layer
        return None if image is None else workspace_for(image).path

    # ---- following ----

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        for part in (self.image_choice, self.labels_choice, self.roles, self.training):
            part.disconnect_events()

    def _follow_painting(self) -> None:
        painting = painting_of(self.labels_choice.layer)
        self.roles.follow(painting)
        if painting is not None:
            self.training.form["axis"].value = painting.axis
        self._compare_slices()

    def _compare_slices(self) -> None:
        self.training.context.follow(*self.layers.to_compare())

    def _follow_config(self) -> None:
        try:
            config = self.training.config
        except ValueError:  # being typed
            return
        self.space.follow(config)

    def _show_plan(self) -> None:
        try:
            n_trials = self._n_trials()
            n_repeats = self.search.config.n_repeats
        except ValueError as error:  # shown again when it is to be run
            text = rename_settings(str(error), lambda setting: setting.title)
            self._plan.setText(f"{text}.")
            return
        self._plan.setText(plan_text(n_trials, n_repeats))

    def _n_trials(self) -> int:
        search, space = self.search.config, self.space.space
        return len(space.grid) if search.sampler == "grid" else search.n_trials

    def show_estimate(self, found: Estimated) -> None:
        """Say what the search takes, until something is changed."""
        self._plan.setText(estimate_text(found))

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return what to remember; nothing while a field cannot be read."""
        forms = settings_of(config=self.training, search=self.search)
        if not forms:
            return {}
        return {
            **self.training.context.remembered(forms),
            "space": self.space.to_list(),
            "compute_on": self.compute_on.settings(),
        }

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Restore remembered settings, unless another version wrote them."""
        if not restore_forms(settings, config=self.training, search=self.search):
            return
        self.training.context.restore(settings)
        self.compute_on.restore(settings.get("compute_on", {}))
        self._follow_painting()
        try:
            self.space.restore(convert(settings["space"], list[tuple[str, str]]))
        except (KeyError, ValueError):
            return


def plan_text(n_trials: int, n_repeats: int) -> str:
    """Say what a search tries.

    Examples
    --------
    >>> plan_text(20, 3)
    'Tries 20 settings with 3 trainings each: 60 trainings.'
    """
    n = n_trials * n_repeats
    each = f" with {n_repeats} trainings each" if n_repeats > 1 else ""
    return f"Tries {n_trials} settings{each}: {n} trainings."


def estimate_text(found: Estimated | SearchStarted) -> str:
    """Say what a search takes.

    Examples
    --------
    >>> estimate_text(
    ...     Estimated(n_trials=20, n_repeats=1, seconds=4000, memory=3 * 2**28)
    ... )
    'Tries 20 settings: 20 trainings. They take about 1:06:40 (hours:minutes:seconds) \
and up to 768 MiB of memory.'
    """
    units = "hours:minutes:seconds" if found.seconds >= 3600 else "minutes:seconds"
    who = "They take"
    if isinstance(found, SearchStarted) and found.n_done:
        who = f"{found.n_done} settings have been tried before; the others take"
    return (
        f"{plan_text(found.n_trials, found.n_repeats)} {who} about "
        f"{clock(found.seconds)} ({units}) and up to {amount(found.memory)} of memory."
    )
