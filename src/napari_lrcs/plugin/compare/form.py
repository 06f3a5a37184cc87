"""The form of a comparison: which layers, which slices, what counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtWidgets import QLabel, QLineEdit, QWidget

from napari_lrcs.annotation.painting.slices import SliceFound, find_painted
from napari_lrcs.comparison.compare import compare_volumes
from napari_lrcs.comparison.evaluate import check_comparable, nothing_painted, phases_of
from napari_lrcs.io.volume import SLICE_EXAMPLES, Volume, parse_slices
from napari_lrcs.metrics.composition import Neighbourhood
from napari_lrcs.plugin.painting.field_of_view import WhatCounts
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.connections import Connections, Disconnectable
from napari_lrcs.plugin.parts.forms import form_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.layers import labels_of, n_slices_of, volume_of
from napari_lrcs.plugin.parts.layers.predicted import confidence_of
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.plugin.project.project import project_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparisonRequest:
    """What is compared, where and how."""

    predicted: Volume
    target: Volume
    slices: tuple[int, ...] | None
    """Slices that were requested; None for all."""
    candidates: Sequence[int]
    """Slices that may be painted; those without a prediction are left out."""
    mask: Volume | None
    neighbourhood: Neighbourhood
    confidence: Volume | None = None
    """That of the prediction, where it is in the viewer."""

    def events(self) -> Events:
        """Yield the phases, then the events of `compare_volumes`."""
        phases = phases_of(self.target, self.predicted)
        yield phases
        slices = self.slices
        if slices is None:
            slices = yield from self._predicted_slices()
        yield from compare_volumes(
            self.predicted,
            self.target,
            phases=phases,
            slices=slices,
            mask=self.mask,
            neighbourhood=self.neighbourhood,
            confidence=self.confidence,
        )

    def _predicted_slices(self) -> Events:
        if not self.candidates:
            raise nothing_painted(self.target)
        found = []
        for event in find_painted(self.predicted, self.candidates):
            if isinstance(event, SliceFound):
                found.append(event.index)
            else:
                yield event
        if not found:
            raise ValueError(
                f"{self.predicted.name} is empty on the slices that are painted in "
                f"{self.target.name}; predict one of them first"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedLayers:
    """The layers of the comparison that is shown."""

    predicted: Labels
    target: Labels
    request: ComparisonRequest


class ComparisonForm(QWidget):
    """Which layers are compared, on which slices, and what counts as a neighbour.

    Parameters
    ----------
    viewer : Viewer
    """

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._layers = viewer.layers
        self._project = project = project_of(viewer.layers)
        self.predicted: LayerChoice[Labels] = LayerChoice(
            viewer.layers, Labels, propose=project.judged, anew=project.changed
        )
        self.target: LayerChoice[Labels] = LayerChoice(
            viewer.layers, Labels, propose=self._propose_target, anew=project.changed
        )
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        self.slices = QLineEdit()
        self.slices.setPlaceholderText("those for the test, else all that are painted")
        self.what_counts = WhatCounts(viewer.layers)
        self.connections: list[Disconnectable] = [
            self.predicted,
            self.target,
            self.what_counts.field_of_view.layers,
        ]
        self._build()
        events = viewer.layers.events
        self.connections.append(
            Connections(
                (events.inserted, self._show_hint), (events.removed, self._show_hint)
            )
        )
        self.predicted.chosen.connect(self.target.propose_again)
        self.target.chosen.connect(self._on_target)
        self._on_target()

    def _build(self) -> None:
        layout = vbox(self)
        layout.addLayout(
            form_rows(
                ("Predicted", self.predicted, "Labels to score, such as a result"),
                (
                    "Target",
                    self.target,
                    "Labels to compare with, such as a painting or another result; "
                    "only voxels that are painted in it count",
                ),
                (
                    "Slices",
                    self.slices,
                    f"Slices to compare, like {SLICE_EXAMPLES}; empty for those marked "
                    "Test in the target, or else for all that are painted; only "
                    "predicted ones count",
                ),
            )
        )
        layout.addWidget(self.hint)
        layout.addWidget(self.what_counts)

    def request(self) -> ComparedLayers:
        """Return what is to be compared.

        Raises
        ------
        ValueError, VolumeError
            If a layer is missing, twice the same, or cannot be compared, or the text of
            the slices cannot be read.
        """
        predicted, target = self.predicted.layer, self.target.layer
        if predicted is None:
            raise ValueError("no prediction is chosen; predict, or open labels")
        if target is None:
            raise ValueError(
                f"no target is chosen to compare {predicted.name} with; paint some "
                "slices, or choose labels"
            )
        if predicted is target:
            raise ValueError(
                f"{target.name} is chosen twice; choose two different labels layers"
            )
        request = self._request(predicted, target)
        check_comparable(request.predicted, request.target, slices=request.slices)
        return ComparedLayers(predicted=predicted, target=target, request=request)

    def _request(self, predicted: Labels, target: Labels) -> ComparisonRequest:
        n_slices = n_slices_of(target, "z")
        text = self.slices.text().strip() if self.slices.isEnabled() else ""
        painting = painting_of(target)
        is_known = painting is not None and painting.axis == "z"
        confidence = confidence_of(predicted, self._layers)
        return ComparisonRequest(
            predicted=labels_of(predicted),
            target=labels_of(target),
            slices=parse_slices(text, n_slices=n_slices) if text else None,
            candidates=(
                _slices_to_judge_on(painting)
                if painting is not None and is_known
                else range(n_slices)
            ),
            mask=self.what_counts.field_of_view.volume(labels_of(target).shape),
            neighbourhood=self.what_counts.neighbours.neighbourhood,
            confidence=None if confidence is None else volume_of(confidence),
        )

    # ---- settings ----

    def settings(self) -> dict[str, Any]:
        """Return the neighbourhood and the field of view."""
        return self.what_counts.settings()

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Show settings, as far as they are known."""
        self.what_counts.restore(settings)

    # ---- following the choices ----

    def _show_hint(self, event: object = None) -> None:
        """Name the images that could be the target, while a painting is."""
        del event
        target = self.target.layer
        is_learnt = target is None or painting_of(target) is not None
        names = [image.name for image in self.target.images] if is_learnt else []
        self.hint.setText(
            f"{' and '.join(names)} was opened as an image but looks like labels: to "
            "compare with it, choose it as the target."
        )
        self.hint.setVisible(bool(names))

    def _propose_target(self, labels: Sequence[Labels]) -> Labels | None:
        return self._project.target(labels, self.predicted.layer)

    def _on_target(self) -> None:
        target = self.target.layer
        self._show_hint()
        is_flat = target is not None and n_slices_of(target, "z") == 1
        self.slices.setEnabled(not is_flat)
        painting = painting_of(target)
        mask = None if painting is None else painting.mask
        self.what_counts.follow(mask, is_flat=is_flat)


def _slices_to_judge_on(painting: Painting) -> tuple[int, ...]:
    """Return the painted slices that are for the test; all if none is."""
    painted = painting.painted()
    kept = tuple(i for i in painting.slices_with("test") if i in painted)
    return kept or tuple(painted)
