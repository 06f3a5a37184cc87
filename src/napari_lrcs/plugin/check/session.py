"""Going from check patch to check patch, in a viewer."""

from collections.abc import Callable
from functools import partial

from napari.layers import Image
from napari.viewer import Viewer
from psygnal import Signal
from qtpy.QtWidgets import QWidget

from napari_lrcs.plugin.check.patches import CheckPatches
from napari_lrcs.plugin.check.view import PatchView
from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.keys import DONE, NEXT, PHASE_ACTIONS, PREVIOUS, Keys
from napari_lrcs.plugin.parts.workers import EXPECTED


class PatchSession:
    """What its user does with the patches that are open.

    Parameters
    ----------
    patches : CheckPatches
        Closed together with the session.
    image : Image
        The image that they are painted on.
    dock : QWidget
        A widget in the window of the viewer.
    """

    changed = Signal()
    """Another patch is shown or done, one was painted, or the brush has another label,
    or the keys are others."""

    left = Signal()
    """Its user has finished a patch, or goes from one to another."""

    told = Signal(str, str)
    """A sentence, and the kind of message that it is."""

    closed = Signal()
    """Its layer has left the viewer."""

    def __init__(
        self,
        viewer: Viewer,
        patches: CheckPatches,
        image: Image,
        *,
        dock: QWidget,
    ) -> None:
        self.patches, self._viewer = patches, viewer
        self._view = PatchView(viewer, patches, image, dock=dock)
        layer = patches.layer
        layer.brush_size = max(2, patches.check.design.size // 10)
        self.paint_with(1)
        # Of the layer, before those of the viewer, where Label phases has the same.
        self._keys = Keys(layer, self._actions(), on_change=self.changed.emit)
        self._connections = Connections(
            (patches.changed, self._on_changed),
            (patches.failed, self._on_failed),
            (layer.events.selected_label, self._on_changed),
            (viewer.layers.events.removed, self._on_removed),
        )

    def _actions(self) -> dict[str, Callable[[], None]]:
        n_phases = len(self.patches.phases)
        return {
            NEXT: partial(self.step, 1),
            PREVIOUS: partial(self.step, -1),
            DONE: self.finish_patch,
            **{
                action: partial(self.paint_with, label)
                for label, action in enumerate(PHASE_ACTIONS[:n_phases], start=1)
            },
        }

    def step(self, direction: int) -> None:
        """Go to the next patch, or with -1 to the one before."""
        self._go_to(self.patches.index + direction)

    def paint_with(self, label: int) -> None:
        """Paint with a phase."""
        layer = self.patches.layer
        self._viewer.layers.selection.active = layer
        layer.selected_label = label
        if layer.mode not in ("paint", "fill", "polygon"):
            layer.mode = "paint"

    def fill_rest(self) -> None:
        """Give the unpainted rest of the patch the phase of the brush."""
        if not self.patches.fill_rest() and len(self.patches.unpainted()):
            self.told.emit("Choose a phase first, to fill the rest with", "warning")

    def finish_patch(self) -> None:
        """Mark the patch as done and go on, or show what is unpainted."""
        patches = self.patches
        missing = patches.unpainted()
        if not patches.save():  # the reason is told
            return
        if len(missing):
            self._view.mark(missing[0].tolist())
            self.told.emit(_what_is_missing(len(missing)), "warning")
            return
        try:
            patches.set_done(True)
        except EXPECTED as error:
            self.told.emit(str(error), "error")
            return
        self.told.emit("", "hint")
        self._go_to(patches.next_open())

    def show(self) -> None:
        """Show the patch again, if its user has gone elsewhere."""
        self._view.show()

    def _go_to(self, index: int) -> None:
        if index != self.patches.index:
            self.patches.show(index)
            self._view.show()
        self.left.emit()

    def _on_changed(self, event: object = None) -> None:
        del event
        self._view.unmark()
        self.changed.emit()

    def _on_failed(self, text: str) -> None:
        """Tell why strokes are not saved; an empty text means that they are again."""
        self.told.emit(text or "Saving works again.", "error" if text else "done")

    def _on_removed(self, event: object) -> None:
        if getattr(event, "value", None) == self.patches.layer:
            self.close()

    def disconnect_events(self) -> None:
        """Save, and let the patches be opened elsewhere; the view stays as it is."""
        self._keys.disconnect_events()
        self._connections.disconnect_events()
        self.patches.close()

    def close(self) -> None:
        """Leave the patches, and show what was there before."""
        self.disconnect_events()
        try:
            self._view.close()
        finally:
            self.closed.emit()


def _what_is_missing(n: int) -> str:
    voxels = "1 voxel of this patch is" if n == 1 else f"{n:,} voxels of this patch are"
    return (
        f"{voxels} not painted yet, the margin included: one is in the red square. "
        "Fill rest paints all of them."
    )
