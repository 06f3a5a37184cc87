"""The form to compare several experimenters: whose labels, against what, and where."""

from dataclasses import dataclass
from typing import Any

import zarr
from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtWidgets import QLabel, QLineEdit, QSizePolicy, QWidget

from napari_lrcs.comparison.experimenter_volumes import check_experimenters
from napari_lrcs.comparison.experimenters import (
    ExperimentersCompared,
    SliceVoted,
    compare_experimenters,
)
from napari_lrcs.io.volume import SLICE_EXAMPLES, Volume, parse_slices
from napari_lrcs.io.writing import create_in_memory
from napari_lrcs.plugin.painting.field_of_view import FieldOfView
from napari_lrcs.plugin.painting.layer_checks import LayerChecks
from napari_lrcs.plugin.parts.connections import Disconnectable
from napari_lrcs.plugin.parts.forms import Fold, form_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.layers import (
    labels_of,
    layer_shape,
    n_slices_of,
    place_of,
)
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.plugin.parts.workers import Events


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voted:
    """All is compared, and voted on."""

    compared: ExperimentersCompared
    majority: zarr.Array[Any]
    agreement: zarr.Array[Any]
    place: dict[str, Any]
    """Place of the first experimenter's layer in the world."""
    n_axes: int
    """Number of axes of that layer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExperimentersRequest:
    """Whose labels are compared, against what, and where."""

    experimenters: tuple[Volume, ...]
    target: Volume | None
    slices: tuple[int, ...] | None
    """Slices that were requested; None for all."""
    mask: Volume | None
    place: dict[str, Any]
    n_axes: int
    """Number of axes of the first experimenter's layer, whose place `place` is."""

    def events(self) -> Events:
        """Yield the shares that are compared, then `Voted`."""
        shape = self.experimenters[0].shape
        majority = create_in_memory(shape, across=0)
        agreement = create_in_memory(shape, across=0)
        for event in compare_experimenters(
            self.experimenters, target=self.target, slices=self.slices, mask=self.mask
        ):
            match event:
                case SliceVoted():
                    majority[event.index] = event.majority
                    agreement[event.index] = event.agreement
                case ExperimentersCompared():
                    yield Voted(
                        compared=event,
                        majority=majority,
                        agreement=agreement,
                        place=self.place,
                        n_axes=self.n_axes,
                    )
                case _:
                    yield event


class ExperimentersForm(QWidget):
    """Whose labels are compared, against what, and where.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.experimenters = LayerChecks(viewer.layers)
        self.target = LayerChoice(viewer.layers, Labels, none="none")
        self.slices = QLineEdit()
        self.slices.setPlaceholderText("all that are painted")
        self.field_of_view = FieldOfView(viewer.layers)
        self.connections: list[Disconnectable] = [
            self.experimenters.connections,
            self.target,
            self.field_of_view.layers,
        ]
        self._build()

    def _build(self) -> None:
        label = QLabel("Labels of each experimenter")
        tip = "Check two or more labels layers of the same shape, one per experimenter"
        for widget in (label, self.experimenters):
            widget.setToolTip(tip)
        rows = form_rows(
            (
                "Target",
                self.target,
                "Labels to score each experimenter against, if there are any",
            ),
            (
                "Slices",
                self.slices,
                f"Slices to compare, like {SLICE_EXAMPLES}; empty for all",
            ),
        )
        more = QWidget()
        more.setLayout(
            form_rows(("Field of view", self.field_of_view, "Where voxels count"))
        )
        layout = vbox(self, label, self.experimenters)
        layout.addLayout(rows)
        layout.addWidget(Fold("More", more))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    @property
    def compared_layers(self) -> tuple[Labels, ...]:
        """The checked layers, and the target if there is one."""
        target = self.target.layer
        return (*self.experimenters.layers, *(() if target is None else (target,)))

    def request(self) -> ExperimentersRequest:
        """Return what is to be compared.

        Raises
        ------
        ValueError, VolumeError
            If fewer than two layers are checked, they cannot be compared, or the text
            of the slices cannot be read.
        """
        layers, target = self.experimenters.layers, self.target.layer
        if len(layers) < 2:
            raise ValueError("check two or more labels layers, one per experimenter")
        if target is not None and target in layers:
            raise ValueError(
                f"{target.name} is both checked and the target; uncheck it, or choose "
                "no target"
            )
        text = self.slices.text().strip()
        n_slices = n_slices_of(layers[0], "z")
        request = ExperimentersRequest(
            experimenters=tuple(labels_of(layer) for layer in layers),
            target=None if target is None else labels_of(target),
            slices=parse_slices(text, n_slices=n_slices) if text else None,
            mask=self.field_of_view.volume(labels_of(layers[0]).shape),
            place=place_of(layers[0]),
            n_axes=len(layer_shape(layers[0])),
        )
        check_experimenters(request.experimenters, target=request.target)
        return request
