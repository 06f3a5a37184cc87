"""The dock "Look inside the network": maps on their slice, kernels and weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from napari.layers import Image
from napari.viewer import Viewer

from napari_lrcs.inspection.findings import Computing, Gradients, Maps, Way
from napari_lrcs.inspection.folder import maps_file, write_maps
from napari_lrcs.plugin.look.job import Inside, LookRequest
from napari_lrcs.plugin.look.layers import CHANNEL, MapsLayer
from napari_lrcs.plugin.look.results import LookResults, Write
from napari_lrcs.plugin.look.setup import LookSetup
from napari_lrcs.plugin.parts.dock import Dock, Outcome
from napari_lrcs.plugin.parts.widgets import button, hbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Saved, save_files

_FIGURES = "Figures (*.png *.pdf *.svg)"


class LookDock(Dock):
    """Show the maps of a layer on the slice in view, and what the network has learnt.

    Parameters
    ----------
    viewer : Viewer
    """

    key: ClassVar[str] = "look"

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer)
        self.setup = LookSetup(viewer)
        self.results = LookResults(viewer)
        self.maps: Maps | None = None
        """What was shown last."""
        self._maps_layer = MapsLayer(viewer)
        self._running: tuple[LookRequest, Image] | None = None
        self._shown: LookRequest | None = None
        self._build()
        self.setup.preferred = str(self.recall().get("layer", ""))
        self._connect()
        self.update_buttons()

    def _build(self) -> None:
        self.show_button = button(
            "Show maps",
            "Compute the maps of the selected layer for the slice in view, and show "
            f"them as a layer; the slider “{CHANNEL}” goes through them",
            self.show_maps,
        )
        self.stop_button = button("Stop", "Stop; nothing is changed", self.stop)
        self.save_button = button(
            "Save maps…", "Save the maps that are shown as a TIFF", self._ask_for_maps
        )
        for part in (self.setup, self.results):
            self.body.addWidget(part)
        self.body.addStretch()
        self.footer.addLayout(
            hbox(
                self.show_button, self.save_button, self.stop_button, stretch=(2, 1, 1)
            )
        )

    def _connect(self) -> None:
        self.setup.failed.connect(lambda text: self.show_message(text, "error"))
        self.setup.listed.connect(self._on_listed)
        self.setup.layer_changed.connect(self.update_buttons)
        self.results.compute_requested.connect(self._compute)
        self.results.save_requested.connect(self._ask_for_figure)
        self.connections += [self.setup, *self.results.plots.values()]

    # ---- what the buttons do ----

    def show_maps(self) -> None:
        """Compute the maps of the selected layer, or say why that cannot be."""
        layer = self.setup.layer
        if layer is not None:
            name = layer.name
            self._begin(f"Computing {name}", lambda request: request.maps(name))

    def compute_gradients(self) -> None:
        """Compute the gradients of a batch of the slice in view."""
        self._begin("Computing gradients", LookRequest.gradients, with_labels=True)

    def draw_way(self) -> None:
        """Follow the slice in view through the network."""
        self._begin("Following the slice", LookRequest.way)

    def _compute(self, tab: str) -> None:
        if tab == "Gradients":
            self.compute_gradients()
        else:
            self.draw_way()

    def _begin(
        self,
        name: str,
        events: Callable[[LookRequest], Events],
        *,
        with_labels: bool = False,
    ) -> None:
        if self.is_busy:
            return
        try:
            request = self.setup.request(with_labels=with_labels)
        except EXPECTED as error:
            self.show_error(error)
            return
        image = self.setup.image_choice.layer
        assert image is not None
        self._running = request, image
        self.remember()
        self.begin(name, lambda: events(request))
        self.progress.begin(f"{name}…")

    # ---- running ----

    def handle(self, event: Any) -> None:
        """Show what is computed, or a file as saved."""
        match event:
            case Computing():
                self.progress.show_share(event.share, "Computing the maps")
            case Maps():
                self._show_maps(event)
            case Gradients() | Way() if not self._is_of_chosen_model:
                self.show_message("The model was changed meanwhile; nothing is shown")
            case Gradients():
                self.results.show_gradients(event)
                self.show_message(f"The loss of the batch is {event.loss:.3g}", "done")
            case Way():
                self.results.show_way(event)
                self.show_message(
                    "Read row by row; the saved figure has full names and arrows"
                )
            case Saved():
                self.show_message(str(event), "done")

    @property
    def _is_of_chosen_model(self) -> bool:
        """Whether what runs was begun with the model that is chosen now."""
        model = self.setup.model_choice.model
        return (
            self._running is not None
            and model is not None
            and model.path == self._running[0].model
        )

    def finish(self, outcome: Outcome) -> None:
        """Say so if the work was stopped."""
        self._running = None
        if outcome == "stopped":
            self.show_message("Stopped")

    def update_buttons(self) -> None:
        """Enable the buttons that make sense now."""
        has_layer = self.setup.layer is not None
        self.show_button.setEnabled(has_layer and not self.is_busy)
        self.save_button.setEnabled(self.maps is not None and not self.is_busy)
        self.stop_button.setEnabled(self.is_busy and not self.is_stopping)
        self.results.set_busy(self.is_busy)

    def _show_maps(self, maps: Maps) -> None:
        assert self._running is not None
        self._shown, image = self._running
        if image not in self.viewer.layers:
            self.show_message("The image was removed; its maps are not shown")
            return
        self.maps = maps
        self._maps_layer.show(image, maps)
        layer = maps.layer
        self.show_message(
            f"{layer.n_maps} maps of {layer.name} are on slice {maps.axis}="
            f"{maps.index}; move the slider “{CHANNEL}” to see them",
            "done",
        )

    def _on_listed(self, inside: Inside | None) -> None:
        self.results.show_inside(inside)
        self.update_buttons()

    # ---- what can be taken along ----

    def save_maps(self, path: Path) -> None:
        """Write the maps that were shown last."""
        maps, shown = self.maps, self._shown
        if maps is None or shown is None:
            return

        def write(place: Path) -> None:
            write_maps(place, maps, shown.image)

        self._save(path, write)

    def _save(self, path: Path, write: Write) -> None:
        if not self.is_busy:
            self.begin(f"Saving {path.name}", lambda: save_files({path: write}))

    def _ask_for_maps(self) -> None:
        if self.maps is not None:
            name = maps_file(self.maps.layer.name)
            self.ask_where_to_save(name, "TIFF files (*.tif *.tiff)", self.save_maps)

    def _ask_for_figure(self, name: str, write: Write) -> None:
        self.ask_where_to_save(
            f"{name}.png", _FIGURES, lambda path: self._save(path, write)
        )

    # ---- the rest ----

    def settings(self) -> dict[str, Any]:
        """Return the name of the layer."""
        layer = self.setup.layer
        return {"layer": self.setup.preferred if layer is None else layer.name}
