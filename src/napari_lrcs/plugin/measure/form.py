"""The form of a measurement: which labels, which phases, and what counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import QComboBox, QLabel, QSizePolicy, QWidget
from superqt.utils import signals_blocked

from napari_lrcs.comparison.evaluate import phases_in
from napari_lrcs.comparison.measures import (
    Extras,
    Measuring,
    Separated,
    check_memory_for_particles,
    measure_labels,
)
from napari_lrcs.comparison.transport import check_labels, measure_transport
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import Neighbourhood
from napari_lrcs.metrics.transport import PhaseTransport
from napari_lrcs.phases import Phase
from napari_lrcs.plugin.painting.distant_slices import DistantSlicesLine
from napari_lrcs.plugin.painting.field_of_view import WhatCounts
from napari_lrcs.plugin.painting.layer_checks import LayerChecks
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.connections import Disconnectable
from napari_lrcs.plugin.parts.forms import form_rows
from napari_lrcs.plugin.parts.layers.layers import labels_of, n_slices_of, phases_shown
from napari_lrcs.plugin.parts.widgets import button, vbox
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.progress import Notice

_MOST_VOXELS = 2**22
"""Largest volume whose particles are separated unless a phase is chosen: of more, all
phases take minutes."""

EVERY_PHASE, NO_PHASE, FIRST_PHASE = "every phase", "no phase", "the first phase"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransportFound:
    """Diffusion is solved for along one more axis."""

    name: str
    """Name of the labels."""
    through: PhaseTransport


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasureRequest:
    """Which labels are measured, and how.

    Parameters
    ----------
    labels : tuple of Volume
    masks : tuple of (Volume of bool or None)
        One for each of `labels`; voxels outside do not count.
    neighbourhood : Neighbourhood
    particles, transport : str
        Name of a phase, `EVERY_PHASE`, `NO_PHASE` or `FIRST_PHASE`.
    """

    labels: tuple[Volume, ...]
    masks: tuple[Volume | None, ...]
    neighbourhood: Neighbourhood
    particles: str
    transport: str

    def events(self) -> Events:
        """Measure one volume after another."""
        for place, volumes in enumerate(zip(self.labels, self.masks, strict=True)):
            yield from self._placed(place, self._measure(*volumes))

    def transport_events(self, known: Sequence[str]) -> Events:
        """Solve for diffusion in one volume after another.

        Parameters
        ----------
        known : sequence of str
            Names of the volumes whose fractions are measured already.
        """
        volumes = list(zip(self.labels, self.masks, strict=True))
        for place, (labels, mask) in enumerate(volumes):
            if labels.name not in known:
                yield from self._placed(place, self._measure_fractions(labels, mask))
        for labels, mask in volumes:  # before minutes are spent on any of them
            _check_transport(labels, mask)
        for place, (labels, mask) in enumerate(volumes):
            yield from self._placed(place, self._solve(labels, mask))

    def _placed(self, place: int, events: Events) -> Events:
        """Report the progress of one volume as that of all."""
        n = len(self.labels)
        for event in events:
            match event:
                case Measuring():
                    which = f"{place + 1} of {n}: " if n > 1 else ""
                    share = (place + event.share) / n
                    yield Measuring(share=share, text=which + event.text)
                case Separated():
                    pass  # it holds a volume; its sizes come with the measures
                case _:
                    yield event

    def _measure(self, labels: Volume, mask: Volume | None) -> Events:
        phases = phases_in(labels)
        particles = _phases_called(self.particles, phases)
        reason = self._why_no_particles(labels) if particles else ""
        if reason:
            yield Notice(kind="advice", text=reason)
            particles = ()
        yield from measure_labels(
            labels,
            phases=phases,
            mask=mask,
            neighbourhood=self.neighbourhood,
            extras=Extras(surface_area=True, particles=particles),
        )

    def _why_no_particles(self, labels: Volume) -> str:
        if self.particles == EVERY_PHASE and math.prod(labels.shape) > _MOST_VOXELS:
            return (
                f"{labels.name} is large, so its particles are left out: choose a "
                "phase under Particles of, and press Measure again"
            )
        try:
            check_memory_for_particles(labels)
        except ValueError as error:
            return str(error)
        return ""

    def _measure_fractions(self, labels: Volume, mask: Volume | None) -> Events:
        return measure_labels(
            labels,
            phases=phases_in(labels),
            mask=mask,
            neighbourhood=self.neighbourhood,
        )

    def _solve(self, labels: Volume, mask: Volume | None) -> Events:
        for phase in _phases_called(self.transport, phases_in(labels)):
            for event in measure_transport(labels, phase=phase, mask=mask):
                if isinstance(event, PhaseTransport):
                    yield TransportFound(name=labels.name, through=event)
                else:
                    yield event


def _check_transport(labels: Volume, mask: Volume | None) -> None:
    try:
        check_labels(labels, mask=mask)
    except ValueError as error:
        raise ValueError(f"{labels.name}: {error}") from error


def _phases_called(name: str, phases: Sequence[Phase]) -> tuple[Phase, ...]:
    if name == EVERY_PHASE:
        return tuple(phases)
    if name == FIRST_PHASE:
        return tuple(phases[:1])
    return tuple(phase for phase in phases if phase.name == name)


class MeasureForm(QWidget):
    """Which labels are measured, which phases further, and what counts.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._project = project = project_of(viewer.layers)
        self.layers = LayerChecks(
            viewer.layers,
            one_shape=False,
            propose=project.measured,
            anew=project.changed,
        )
        self.particles, self.transport = QComboBox(), QComboBox()
        self.what_counts = WhatCounts(viewer.layers)
        self.distant = DistantSlicesLine(
            "only the volume fractions are meaningful, since all else is measured in "
            "3D."
        )
        self.connections: list[Disconnectable] = [
            self.distant,
            self.layers.connections,
            self.what_counts.field_of_view.layers,
        ]
        self._build()
        self.layers.changed.connect(self._on_layers)
        self._on_layers()

    def _build(self) -> None:
        label = QLabel("Labels to measure")
        tip = "Check one or more labels layers; each becomes a column of the table"
        for widget in (label, self.layers):
            widget.setToolTip(tip)
        self.all_button = button(
            "All of this shape",
            "Check all labels layers of the shape of the first checked one",
            self.layers.check_all_of_shape,
        )
        for choice in (self.particles, self.transport):
            choice.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
        layout = vbox(self, label, self.layers, self.all_button)
        layout.addLayout(
            form_rows(
                (
                    "Particles of",
                    self.particles,
                    "Phases that are separated into particles, for their number and "
                    "sizes; takes the longest",
                ),
                (
                    "Tortuosity of",
                    self.transport,
                    "Phase in which the button Tortuosity solves for diffusion: in an "
                    "electrode, the pores",
                ),
            )
        )
        layout.addWidget(self.what_counts)
        layout.addWidget(self.distant)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def request(self) -> MeasureRequest:
        """Return what is to be measured.

        Raises
        ------
        ValueError, VolumeError
            If no layer is checked, or one cannot be measured.
        """
        layers = self.layers.layers
        if not layers:
            raise ValueError(
                "no labels layer is checked; check one under Labels to measure, or "
                "predict, paint or open labels first"
            )
        labels = tuple(labels_of(layer) for layer in layers)
        view = self.what_counts.field_of_view
        masks = tuple(view.volume(volume.shape) for volume in labels)
        return MeasureRequest(
            labels=labels,
            masks=masks,
            neighbourhood=self.what_counts.neighbours.neighbourhood,
            particles=self.particles.currentText(),
            transport=self.transport.currentText(),
        )

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return the neighbourhood, the field of view and the phases."""
        return {
            **self.what_counts.settings(),
            "particles": self.particles.currentText(),
        }

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Show settings, as far as they are known."""
        self.what_counts.restore(settings)
        place = self.particles.findText(str(settings.get("particles")))
        self.particles.setCurrentIndex(max(place, 0))

    # ---- following the choices ----

    def _on_layers(self) -> None:
        layers = self.layers.layers
        self.all_button.setVisible(self.layers.count() > 1)
        table = phases_shown(layers[0]) if layers else None
        names = () if table is None else table.names
        _offer(self.particles, [EVERY_PHASE, NO_PHASE, *names])
        _offer(self.transport, [*(names or [FIRST_PHASE]), EVERY_PHASE])
        is_flat = bool(layers) and all(n_slices_of(layer, "z") == 1 for layer in layers)
        painting = painting_of(layers[0]) if layers else None
        mask = None if painting is None else painting.mask
        self.what_counts.follow(mask, is_flat=is_flat)
        self.distant.follow(self._project.image_of(layers[0]) if layers else None)


def _offer(choice: QComboBox, texts: Sequence[str]) -> None:
    """Offer other texts; the chosen one stays, if it is among them."""
    chosen = choice.currentText()
    with signals_blocked(choice):
        choice.clear()
        choice.addItems(list(texts))
        choice.setCurrentIndex(max(choice.findText(chosen), 0))
