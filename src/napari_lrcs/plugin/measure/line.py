"""The part of the dock "Measure phases" that measures along a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.layers import Image, Shapes
from napari.layers.base import ActionType
from napari.viewer import Viewer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QSpinBox, QWidget
from superqt.utils import qdebounced

from napari_lrcs.comparison.profiles import (
    Line,
    MeasuredProfile,
    Place,
    draw_profile,
    measure_profile,
    width_text,
    write_profile_csv,
    write_profile_figure,
)
from napari_lrcs.io.tables import as_text
from napari_lrcs.plugin.parts.connections import (
    Connections,
    Disconnectable,
    Replaceable,
)
from napari_lrcs.plugin.parts.forms import form_rows, scroll_to
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.hidden import HiddenLayers
from napari_lrcs.plugin.parts.layers.layers import place_of, volume_of
from napari_lrcs.plugin.parts.plots import Plot
from napari_lrcs.plugin.parts.widgets import button, colour, hbox, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, save_files
from napari_lrcs.plugin.project.project import project_of

_PAUSE_MS = 300
"""Time after the last change of a line, before it is measured."""

_MOST_VOXELS = 99

_HIDDEN = "Labels are hidden until the line is drawn"


class LineProfilePart(QWidget):
    """Measures grey levels along a line of a Shapes layer, anew when the line moves.

    Parameters
    ----------
    viewer : Viewer
    """

    work_requested = Signal(str, object)
    """Emitted with a name, and the function that makes the events."""
    copy_requested = Signal(str)
    """Emitted with a table with tabs."""
    save_requested = Signal(str, str, object)
    """Emitted with a file name, kinds of files, and the function that saves."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.measured: MeasuredProfile | None = None
        """What is shown."""
        project = project_of(viewer.layers)
        self.image: LayerChoice[Image] = LayerChoice(
            viewer.layers, Image, propose=project.image, anew=project.changed
        )
        self.lines: LayerChoice[Shapes] = LayerChoice(viewer.layers, Shapes)
        self.width_box = QSpinBox()
        self.width_box.setRange(1, _MOST_VOXELS)
        self.width_box.setValue(3)
        self.width_box.setSuffix(" voxels")
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.plot = Plot(viewer, height=210)
        self._is_busy = self._is_waiting = False
        self._followed = Replaceable()
        self._hidden = HiddenLayers(viewer.layers)
        self._measure_soon = qdebounced(
            self._measure_again, timeout=_PAUSE_MS, parent=self
        )
        self.connections: list[Disconnectable] = [
            *(self.image, self.lines, self.plot, self._followed),
            Connections((viewer.layers.selection.events.active, self._on_tool)),
            self,
        ]
        self._build()
        self.lines.chosen.connect(self._follow)
        for changed in (self.image.chosen, self.width_box.valueChanged):
            changed.connect(lambda *_: self._measure_soon())
        self._follow()
        self.update_buttons(is_busy=False)

    def _build(self) -> None:
        self.draw_button = button(
            "Draw a line",
            "Add a Shapes layer, and select the tool that draws lines in it",
            self.draw_line,
        )
        self.profile_button = button(
            "Profile",
            "Show the grey levels along the selected line, or the newest one, and the "
            "width of the interface that it crosses",
            self.measure,
        )
        self.copy_button = button(
            "Copy table", "Copy all samples, to paste into a spreadsheet", self._copy
        )
        self.csv_button = button("CSV…", "Save all samples as a table", self._ask_csv)
        self.figure_button = button("Figure…", "Save the plot", self._ask_figure)
        layout = vbox(self)
        layout.addLayout(
            form_rows(
                ("Image", self.image, "Image of grey levels"),
                ("Line", self.lines, "Shapes layer with the line"),
                (
                    "Averaged over",
                    self.width_box,
                    "Number of voxels across the line to average over, to reduce noise",
                ),
            )
        )
        layout.addLayout(hbox(self.draw_button, self.profile_button))
        for part in (self.text, self.plot):
            layout.addWidget(part)
        layout.addLayout(hbox(self.copy_button, self.csv_button, self.figure_button))

    def update_buttons(self, *, is_busy: bool) -> None:
        """Show the buttons that make sense now; measure what has waited for them."""
        self._is_busy = is_busy
        if self._is_waiting and not is_busy:
            self._is_waiting = False
            self._measure_soon()
        self.profile_button.setEnabled(not is_busy)
        is_there = self.measured is not None
        self.plot.setVisible(is_there)
        for made in (self.copy_button, self.csv_button, self.figure_button):
            made.setVisible(is_there)
            made.setEnabled(not is_busy)

    # ---- measuring ----

    def draw_line(self) -> None:
        """Select the tool that draws lines, in the chosen layer or a new one.

        The layer comes on top, and labels over the image are hidden meanwhile: grey
        levels are measured.
        """
        layer, image = self.lines.layer, self.image.layer
        if layer is None:
            place: dict[str, Any] = {}
            if image is not None:
                place = {"ndim": image.ndim, **place_of(image)}
            layer = Shapes(name="line", edge_color="#ff3b30", edge_width=2, **place)
            self._viewer.add_layer(layer)
            self.lines.layer = layer
        layers = self._viewer.layers
        layers.move(layers.index(layer), len(layers))
        layers.selection.active = layer
        layer.mode = "add_line"
        if self._hidden.hide_above(image):
            self._show_text(_HIDDEN, is_wrong=False)

    def measure(self) -> None:
        """Measure along the line, or say why that cannot be."""
        try:
            events = self._events()
        except EXPECTED as error:
            self._show_text(str(error), is_wrong=True)
            return
        self.work_requested.emit("Measure a line profile", events)

    def _measure_again(self) -> None:
        if self._is_busy:  # the dock would not begin
            self._is_waiting = True
        elif self.lines.layer is not None and self.isVisibleTo(self.window()):
            self.measure()

    def _events(self) -> Callable[[], Events]:
        image, shapes = self.image.layer, self.lines.layer
        if image is None:
            raise ValueError("no image is chosen; open one")
        if shapes is None or not shapes.nshapes:
            raise ValueError("no line is drawn; draw one across an interface")
        line = _line_in(shapes, image, self._viewer)
        volume, width = volume_of(image), self.width_box.value()

        def events() -> Events:
            yield measure_profile(volume, line, width=width)

        return events

    def show_profile(self, measured: MeasuredProfile) -> None:
        """Show a profile that is measured."""
        is_first, self.measured = self.measured is None, measured
        self._show_text(_summary(measured), is_wrong=measured.fit is None)
        (ax,) = self.plot.axes
        ax.clear()
        draw_profile(ax, measured)
        self.plot.restyle()
        if is_first:
            self.plot.setVisible(True)
            scroll_to(self)

    def _show_text(self, text: str, *, is_wrong: bool) -> None:
        self.text.setText(text[:1].upper() + text[1:])
        colour(self.text, "warning" if is_wrong else "hint")

    def _follow(self) -> None:
        layer = self.lines.layer
        changes = None
        if layer is not None:
            changes = Connections(
                (layer.events.data, self._on_line), (layer.events.mode, self._on_tool)
            )
        self._followed.replace(changes)
        self._on_tool()

    def _on_line(self, event: object = None) -> None:
        if getattr(event, "action", None) == ActionType.ADDED:
            self._show_labels()
        self._measure_soon()

    def _on_tool(self, event: object = None) -> None:
        """Show the labels again once the tool that draws lines is left."""
        del event
        layer, active = self.lines.layer, self._viewer.layers.selection.active
        if layer is None or layer != active or layer.mode != "add_line":
            self._show_labels()

    def _show_labels(self) -> None:
        self._hidden.show()
        if self.text.text() == _HIDDEN:
            self._show_text("", is_wrong=False)

    def disconnect_events(self) -> None:
        """Leave the labels as they were, before Qt deletes the widget."""
        self._hidden.show()

    # ---- what can be taken along ----

    def _copy(self) -> None:
        if self.measured is not None:
            self.copy_requested.emit(as_text(self.measured.rows()))

    def _ask_csv(self) -> None:
        save = self._saving(write_profile_csv)
        self.save_requested.emit("profile.csv", "Tables (*.csv)", save)

    def _ask_figure(self) -> None:
        save = self._saving(write_profile_figure)
        self.save_requested.emit("profile.png", "Figures (*.png *.pdf *.svg)", save)

    def _saving(
        self, write: Callable[[Path, MeasuredProfile], None]
    ) -> Callable[[Path], None]:
        measured = self.measured
        assert measured is not None

        def save(path: Path) -> None:
            self.work_requested.emit(
                "Save the profile",
                lambda: save_files({path: lambda place: write(place, measured)}),
            )

        return save


def _line_in(shapes: Shapes, image: Image, viewer: Viewer) -> Line:
    """Read the selected line, else the newest shape, in voxels of the image."""
    selected = sorted(shapes.selected_data)
    index = selected[0] if len(selected) == 1 else shapes.nshapes - 1
    vertices = shapes.data[index]
    if shapes.shape_type[index] not in ("line", "path") or len(vertices) != 2:
        raise ValueError(
            f"the selected shape in {shapes.name} is not a straight line; draw or "
            "select one"
        )
    start, stop = (_in_image(end, shapes, image, viewer) for end in vertices)
    return Line(start=start, stop=stop)


def _in_image(vertex: Any, shapes: Shapes, image: Image, viewer: Viewer) -> Place:
    world = list(viewer.dims.point)
    world[-shapes.ndim :] = shapes.data_to_world(vertex)
    z, y, x = (0.0, *image.world_to_data(world))[-3:]
    return float(z), float(y), float(x)


def _summary(measured: MeasuredProfile) -> str:
    fit = measured.fit
    if fit is None:
        return measured.reason
    slope = f"slope {fit.steepest:.3g} grey levels per voxel"
    return f"{width_text(measured)}; {slope}"
