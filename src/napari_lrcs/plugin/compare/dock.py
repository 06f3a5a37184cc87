"""The dock "Compare segmentations": scores, shares and differences of two layers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import dask.array as da
import numpy as np
from napari.layers import Labels
from napari.viewer import Viewer
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from napari_lrcs.annotation.painted_slices import SlicesRead
from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.comparison.compare import (
    SliceCompared,
    as_text_table,
    difference,
    write_comparison_csv,
    write_slices_csv,
)
from napari_lrcs.comparison.experimenter_tables import write_experimenters_csv
from napari_lrcs.figures import write_comparison_figure
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.comparison import Comparison
from napari_lrcs.metrics.overlap import mean_iou
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.compare.experimenters import ExperimentersPart
from napari_lrcs.plugin.compare.form import Asked, ComparisonForm
from napari_lrcs.plugin.compare.results import ComparisonResults, percent
from napari_lrcs.plugin.parts.dock import Dock, Outcome, button
from napari_lrcs.plugin.parts.layer_kinds import marked
from napari_lrcs.plugin.parts.layers import appearance, layer_shape, place_of
from napari_lrcs.plugin.parts.workers import EXPECTED, Events

_KINDS = {
    "Two layers": "Score a segmentation against a target, and show where they differ",
    "Several experimenters": "How far people who painted the same slices agree",
}

_MOST_RUNS = 4
"""Of slices that are told one by one."""


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """Files are written."""

    paths: tuple[Path, ...]


class CompareDock(Dock):
    """Score a segmentation against a target, or compare several experimenters.

    Parameters
    ----------
    viewer : Viewer
    """

    key = "compare"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.comparison: Comparison | None = None
        """What is shown."""
        self._asked: Asked | None = None
        self._compared: Asked | None = None
        self._differences: Labels | None = None
        self.form = ComparisonForm(viewer)
        self.results = ComparisonResults(viewer)
        self.results.slice_wanted.connect(self.go_to_slice)
        self.several = ExperimentersPart(self, ask_for_csv=self._ask_for_their_csv)
        self._build()
        self._set_up()
        viewer.layers.events.removed.connect(self._on_removed)
        self.followers += [self, *self.form.followers, *self.results.plots]
        self.followers += self.several.form.followers

    def _build(self) -> None:
        self.compare_button = button(
            "Compare", "Score the predicted labels against the target", self.compare
        )
        self.stop_button = button("Stop", "Stop comparing; nothing is kept", self.stop)
        self.differences_button = button(
            "Show differences",
            "Add a layer of the voxels that differ, each in the colour of the phase "
            "that it has in the target",
            self.show_differences,
        )
        self.worst_button = button(
            "Go to worst slice",
            "Show the slice with the lowest mean IoU",
            self.go_to_worst_slice,
        )
        self.copy_button = button(
            "Copy table", "Copy all numbers, to paste into a spreadsheet", self.copy
        )
        self.csv_button = button(
            "Save CSV…",
            "Save all numbers, and those of each slice beside them in …-slices.csv",
            self._ask_for_csv,
        )
        self.figure_button = button(
            "Save figure…", "Save the plots as one figure", self._ask_for_figure
        )
        self._two = QWidget()
        column = QVBoxLayout(self._two)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.form)
        column.addWidget(self.results)
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        for name, tooltip in _KINDS.items():
            self.tabs.setTabToolTip(self.tabs.addTab(name), tooltip)
        self.tabs.currentChanged.connect(self._turn_to)
        for part in (self.tabs, self._two, self.several):
            self.body.addWidget(part)
        self.body.addStretch()
        self.results.add_buttons(self.differences_button, self.worst_button)
        self.results.add_buttons(self.copy_button, self.csv_button)
        self.results.add_buttons(self.figure_button)
        row = QHBoxLayout()
        row.addWidget(self.compare_button, stretch=2)
        row.addWidget(self.stop_button, stretch=1)
        self.footer.addLayout(row)
        self._turn_to(0)

    def _turn_to(self, place: int) -> None:
        self._two.setVisible(place == 0)
        self.several.setVisible(place == 1)
        self.say("")

    def _set_up(self) -> None:
        self.form.take(self.recall())
        self.results.setVisible(False)
        self.update_buttons()

    # ---- comparing ----

    def compare(self) -> None:
        """Compare the chosen layers, or say why they cannot be."""
        if self.tabs.currentIndex() == 1:
            self.several.compare()
            return
        try:
            self._asked = self.form.request()
        except EXPECTED as error:
            self.say(str(error), "error")
            return
        self.comparison = self._compared = self._differences = None
        self.results.clear()
        self.results.setVisible(False)
        self.begin("Compare segmentations", self._asked.request.events)
        self.progress.begin("Looking for phases …")

    def handle(self, event: Any) -> None:
        """Show the phases, a slice or the end of a comparison, or files as saved."""
        match event:
            case PhaseTable():
                self.results.phases = event
            case SlicesRead():
                self.progress.show_share(event.share, "Looking for predicted slices")
            case SliceCompared():
                share = event.n_done / event.n_slices
                text = f"Slice {event.n_done} of {event.n_slices}"
                self.progress.show_share(share, text)
                self.results.add(event.index, event.confusion)
            case Comparison():
                self._show(event)
            case _Saved():
                names = " and ".join(path.name for path in event.paths)
                self.say(f"Saved {names}", "done")
            case _:
                self.several.handle(event)

    def finish(self, outcome: Outcome) -> None:
        """Show nothing of a comparison without a result."""
        self._asked = None
        if self.comparison is None:
            self.results.setVisible(False)
        if outcome == "stopped":
            self.say("Stopped")

    def update_buttons(self) -> None:
        """Enable the buttons that make sense now."""
        can_go_on = not self.is_busy and self.comparison is not None
        self.compare_button.setEnabled(not self.is_busy)
        self.stop_button.setEnabled(self.is_busy and not self.is_stopping)
        for made in (self.copy_button, self.csv_button, self.figure_button):
            made.setEnabled(can_go_on)
        self._offer_layers()
        self.several.update_buttons()

    def _offer_layers(self) -> None:
        compared = self._compared
        are_there = compared is not None and not self.is_busy
        self.differences_button.setEnabled(are_there)
        # A 2D layer has no other slice.
        has_slices = compared is not None and compared.target.ndim > 2
        self.worst_button.setEnabled(are_there and has_slices)

    def _show(self, comparison: Comparison) -> None:
        asked = self._asked
        assert asked is not None
        self.comparison = comparison
        self.say("")
        self.results.show_comparison(comparison, title=_title(asked, comparison))
        self.results.setVisible(True)
        note = _note(asked.request.predicted, asked.request.target)
        self.say(note, "warning")
        if {asked.predicted, asked.target} <= set(self.viewer.layers):
            self._compared = asked

    # ---- layers ----

    def show_differences(self) -> None:
        """Add a layer of the voxels that differ; one that is there is shown again.

        The compared layers are hidden: the differences have the target's colours.
        """
        if self._compared is None or self.comparison is None:
            return
        if self._differences is None:
            self._differences = _differences_layer(
                self._compared, self.comparison.phases
            )
            self.viewer.add_layer(self._differences)
            self._differences.editable = False
        self._differences.visible = True
        for layer in (self._compared.predicted, self._compared.target):
            layer.visible = False
        self.say("The compared layers are hidden, so that the differences stand out")

    def go_to_worst_slice(self) -> None:
        """Show the slice with the lowest mean IoU."""
        if self.comparison is not None:
            worst = min(self.comparison.per_slice, key=lambda found: mean_iou(found[1]))
            self.go_to_slice(worst[0])

    def go_to_slice(self, index: int) -> None:
        """Show a slice of the target."""
        layer = None if self._compared is None else self._compared.target
        if layer is None or layer.ndim < 3:
            return
        dims, across = self.viewer.dims, layer.ndim - 3
        place = list(layer.world_to_data(dims.point))
        place[across] = index
        dims.set_point(dims.ndim - 3, layer.data_to_world(place)[across])

    def _on_removed(self, event: Any) -> None:
        """Forget a removed layer, whose voxels may take much memory."""
        removed = event.value
        if removed is self._differences:
            self._differences = None
        compared = self._compared
        if compared and removed in (compared.predicted, compared.target):
            self._compared = None
            self._offer_layers()

    # ---- what can be taken along ----

    def copy(self) -> None:
        """Copy all numbers as a table with tabs."""
        clipboard = QApplication.clipboard()
        if self.comparison is None or clipboard is None:
            return
        clipboard.setText(as_text_table(self.comparison))
        self.say("Copied; paste it into a spreadsheet", "done")

    def save_csv(self, path: Path) -> None:
        """Write all numbers to `path`, those of each slice beside it."""
        slices = path.with_name(f"{path.stem}-slices{path.suffix}")
        self._save(
            self.comparison, {path: write_comparison_csv, slices: write_slices_csv}
        )

    def save_figure(self, path: Path) -> None:
        """Write the plots as a figure."""
        self._save(self.comparison, {path: write_comparison_figure})

    def save_their_csv(self, path: Path) -> None:
        """Write all numbers of several experimenters to `path`."""
        self._save(self.several.compared, {path: write_experimenters_csv})

    def _save(
        self, found: Found | None, writers: Mapping[Path, Callable[[Path, Found], None]]
    ) -> None:
        if found is not None:
            self.begin("Save the comparison", lambda: _save(writers, found))

    def _ask_for_csv(self) -> None:
        self._ask("comparison.csv", "Tables (*.csv)", self.save_csv)

    def _ask_for_their_csv(self) -> None:
        self._ask("experimenters.csv", "Tables (*.csv)", self.save_their_csv)

    def _ask_for_figure(self) -> None:
        kinds = "Figures (*.png *.pdf *.svg)"
        self._ask("comparison.png", kinds, self.save_figure)

    def _ask(self, default: str, kinds: str, save: Callable[[Path], None]) -> None:
        text, _ = QFileDialog.getSaveFileName(self, "Save", default, kinds)
        if not text:
            return
        path = Path(text)
        named = path if path.suffix else path.with_suffix(Path(default).suffix)
        if named != path and named.exists():  # the dialog asked about another name
            self.say(f"{named.name} is there; choose another name", "error")
            return
        save(named)

    # ---- the rest ----

    def settings(self) -> dict[str, Any]:
        """Return the neighbourhood and the field of view."""
        return self.form.settings()

    def follow_no_more(self) -> None:
        """Stop listening to the viewer."""
        self.viewer.layers.events.removed.disconnect(self._on_removed)


def _title(compared: Asked, comparison: Comparison) -> str:
    request = compared.request
    scores = (
        f"Accuracy {percent(comparison.accuracy)} %, "
        f"mean IoU {percent(comparison.mean_iou)} %"
    )
    lines = [f"{request.predicted.name} against {request.target.name}", scores]
    if request.target.shape[0] > 1:
        lines.append(_told([index for index, _ in comparison.per_slice]))
    return "\n".join(lines)


def _told(slices: Sequence[int]) -> str:
    """Tell slices, in runs.

    Examples
    --------
    >>> _told([3, 4, 5, 9])
    'Slices 3–5, 9'
    """
    ends = [i for i, (a, b) in enumerate(pairwise(slices)) if b > a + 1]
    starts = [0, *(i + 1 for i in ends)]
    runs = [
        str(slices[i]) if i == j else f"{slices[i]}–{slices[j]}"
        for i, j in zip(starts, [*ends, len(slices) - 1], strict=True)
    ]
    if len(runs) > _MOST_RUNS:
        return f"{len(slices)} slices from {slices[0]} to {slices[-1]}"
    return f"Slice{'s' if len(slices) > 1 else ''} {', '.join(runs)}"


def _note(predicted: Volume, target: Volume) -> str:
    """Warn of phases that are not the same."""
    if predicted.phases is None or target.phases is None:
        return ""
    ours, theirs = predicted.phases.names, target.phases.names
    if ours == theirs:
        return ""
    return (
        f"{predicted.name} has {len(ours)} phases ({', '.join(ours)}), {target.name} "
        f"{len(theirs)} ({', '.join(theirs)}); labels of the same number are compared"
    )


def _differences_layer(compared: Asked, phases: PhaseTable) -> Labels:
    """Make a layer that is compared slice by slice, as it is looked at."""
    request, target = compared.request, compared.target
    n_z, n_y, n_x = request.target.shape

    def compare_slice(block_id: tuple[int, ...]) -> LabelArray:
        z = block_id[0]
        painted: LabelArray = request.target.slab(z, z + 1)
        if request.mask is not None:
            painted *= request.mask.slab(z, z + 1)
        return difference(request.predicted.slab(z, z + 1), painted)

    array = da.map_blocks(
        compare_slice,
        chunks=((1,) * n_z, (n_y,), (n_x,)),
        meta=np.empty((0, 0, 0), np.uint8),
        name=f"differences-{uuid4().hex}",  # a hash would read all voxels
    )
    return Labels(
        array.reshape(layer_shape(target)),
        name=f"differences: {compared.predicted.name} vs {target.name}",
        metadata=marked("difference map"),
        **appearance(phases),
        **place_of(target),
    )


def _save(
    writers: Mapping[Path, Callable[[Path, Found], None]], found: Found
) -> Events:
    for path, write in writers.items():
        write(path, found)
    yield _Saved(paths=tuple(writers))
