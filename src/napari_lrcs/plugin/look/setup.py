"""Which slice to show to which network, and which of its layers to look at."""

from collections.abc import Sequence

from napari.layers import Image, Labels
from napari.viewer import Viewer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QLabel, QWidget

from napari_lrcs.inspection.findings import Layer
from napari_lrcs.plugin.look.job import Inside, LookRequest, read_inside
from napari_lrcs.plugin.painting.field_of_view import FieldOfView
from napari_lrcs.plugin.parts.connections import Disconnectable
from napari_lrcs.plugin.parts.forms import Fold, form_rows
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.current_slice import slice_in_view
from napari_lrcs.plugin.parts.layers.layers import labels_of, layer_shape, named_by_file
from napari_lrcs.plugin.parts.model_choice import ModelChoice
from napari_lrcs.plugin.parts.tables import Table, make_dense
from napari_lrcs.plugin.parts.widgets import vbox
from napari_lrcs.plugin.parts.workers import BackgroundReader
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.preprocessing.slices import AXES

_MOST_ROWS = 8


class LookSetup(QWidget):
    """The form of the dock, and the layers of the network.

    Parameters
    ----------
    viewer : Viewer
    """

    listed = Signal(object)
    """Emitted with the `Inside` of another network; None while there is none."""
    layer_changed = Signal()
    """Emitted when another layer is selected."""
    failed = Signal(str)
    """Emitted with the reason why a network cannot be read."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer, project = viewer, project_of(viewer.layers)
        self._layers: Sequence[Layer] = ()
        self.preferred = ""
        """Name of the layer to select when a network is listed."""
        self.image_choice: LayerChoice[Image] = LayerChoice(
            viewer.layers,
            Image,
            without=("stack of maps",),
            propose=project.image,
            anew=project.changed,
        )
        self.model_choice = ModelChoice("Look inside a network", in_one_line=True)
        self.labels_choice: LayerChoice[Labels] = LayerChoice(
            viewer.layers,
            Labels,
            propose=lambda labels: project.painting(labels, self.image_choice.layer),
            anew=project.changed,
        )
        self.field_of_view = FieldOfView(viewer.layers)
        self.table = Table(("Layer", "Maps", "Size"), most_rows=_MOST_ROWS)
        make_dense(self.table)
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._hint = QLabel()
        self._hint.setWordWrap(True)
        self._reader = BackgroundReader("Reading a network", self)
        self.connections: tuple[Disconnectable, ...] = (
            *(self.image_choice, self.model_choice, self.labels_choice),
            self.field_of_view.layers,
        )
        self._build()
        self._connect()
        self._follow_image()

    def _build(self) -> None:
        more = QWidget()
        more.setLayout(
            form_rows(
                (
                    "Painting",
                    self.labels_choice,
                    "Painted labels of the slice, for the gradients",
                ),
                ("Field of view", self.field_of_view, "Outside, voxels may be NaN"),
            )
        )
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        layout = vbox(self, top=4)
        layout.addLayout(
            form_rows(
                (
                    "Image",
                    self.image_choice,
                    "Image whose slice in view the network is given",
                ),
                ("Model", self.model_choice, "Trained network to look into"),
            )
        )
        for part in (Fold("More", more), self._hint, self.table):
            layout.addWidget(part)

    def _connect(self) -> None:
        self.image_choice.chosen.connect(self._follow_image)
        self.model_choice.failed.connect(self.failed.emit)
        self.model_choice.changed.connect(self._read)
        self._reader.answered.connect(self._show)
        self._reader.failed.connect(self._fail)
        self.table.itemSelectionChanged.connect(self.layer_changed.emit)

    # ---- what is chosen ----

    @property
    def layer(self) -> Layer | None:
        """The layer that is selected."""
        rows = {index.row() for index in self.table.selectedIndexes()}
        return self._layers[rows.pop()] if rows else None

    def request(self, *, with_labels: bool = False) -> LookRequest:
        """Return what is to be looked at, in the slice in view.

        Raises
        ------
        ValueError, VolumeError
            If something is not chosen, or the view shows no such slice.
        """
        image, model = self.image_choice.layer, self.model_choice.model
        if image is None:
            raise ValueError("choose an image: open one, or File > Open Sample")
        if model is None:
            raise ValueError("choose a model: train one in Train LRCS-Net, or a file")
        axis = model.config.preprocessing.axis
        index = slice_in_view(self._viewer, image, axis)
        if index is None:
            raise ValueError(
                f"the view shows no slice of {image.name} along {axis}; show it in 2D, "
                "and move the slider"
            )
        volume = named_by_file(image)
        return LookRequest(
            image=volume,
            model=model.path,
            index=index,
            labels=labels_of(self._labels()) if with_labels else None,
            mask=self.field_of_view.volume(volume.shape),
        )

    def _labels(self) -> Labels:
        labels = self.labels_choice.layer
        if labels is None:
            raise ValueError(
                "choose a painting under More: gradients need a slice that is painted"
            )
        return labels

    # ---- following ----

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        self._reader.cancel()
        for part in self.connections:
            part.disconnect_events()

    def _follow_image(self) -> None:
        self.model_choice.follow(self.image_choice.layer)
        self.labels_choice.propose_again()
        self._show_layers(self._layers)

    def _read(self) -> None:
        self._reader.cancel()
        self._show_layers(())
        self.listed.emit(None)
        model = self.model_choice.model
        if model is not None:
            path = model.path
            self._hint.setText("Reading the network…")
            self._reader.read(lambda: read_inside(path))

    def _show(self, inside: Inside) -> None:
        self._show_layers(inside.layers)
        self.listed.emit(inside)

    def _fail(self, text: str) -> None:
        self._show_layers(())
        self.failed.emit(text)

    def _show_layers(self, layers: Sequence[Layer]) -> None:
        """List layers, and keep the one of the selected name selected."""
        name = self.preferred if self.layer is None else self.layer.name
        self.preferred, self._layers = name, layers
        self.table.fill(
            [[x.name, x.n_maps, self._size(x)] for x in layers],
            tips=[f"{x.name}: {x.kind}" for x in layers],
        )
        self.table.setVisible(bool(layers))
        self._hint.setText("" if layers else "Choose a model to see its layers.")
        self._hint.setVisible(not layers)
        if layers:
            names = [x.name for x in layers]
            self.table.selectRow(names.index(name) if name in names else 0)

    def _size(self, layer: Layer) -> str:
        image, model = self.image_choice.layer, self.model_choice.model
        if image is None or model is None:
            return f"1/{layer.step}"
        shape = (1, *layer_shape(image))[-3:]
        across = AXES[model.config.preprocessing.axis]
        sides = layer.shape([n for i, n in enumerate(shape) if i != across])
        return " × ".join(map(str, sides))
