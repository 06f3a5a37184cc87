"""The preview of a perturbation on the slice in view, made in a thread."""

from collections.abc import Callable
from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import QCheckBox, QWidget
from superqt.utils import qdebounced

from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.layers.current_slice import go_to, slice_in_view
from napari_lrcs.plugin.parts.widgets import button, vbox
from napari_lrcs.plugin.parts.workers import EXPECTED, Events, Job, Work, start_job
from napari_lrcs.plugin.perturb.job import Previewed, preview
from napari_lrcs.plugin.perturb.layers import PreviewLayer
from napari_lrcs.plugin.perturb.results import Report
from napari_lrcs.plugin.perturb.setup import PerturbRequest, PerturbSetup

_SOON_MS = 150
"""Time from the last change to its preview: a slider passes many slices."""

MakePreview = Callable[[], Events]


class Previewer:
    """Makes previews in a thread, one at a time; of many that are asked for, the last.

    Parameters
    ----------
    show : callable
        Takes each event.
    fail : callable
        Takes an error.
    """

    def __init__(
        self, show: Callable[[Any], None], fail: Callable[[Exception], None]
    ) -> None:
        self._show, self._fail = show, fail
        self._next: MakePreview | None = None
        self._job: Job | None = None
        self._is_stale = False
        self._start_soon = qdebounced(self._start, timeout=_SOON_MS)

    @property
    def is_busy(self) -> bool:
        """Whether a preview is made or is about to be."""
        return self._job is not None or self._next is not None

    def request(self, make: MakePreview) -> None:
        """Make a preview soon, in place of those asked for before."""
        self._is_stale = True
        self._next = make
        self._start_soon()

    def forget(self) -> None:
        """Make none, and show none that is being made."""
        self._start_soon.cancel()
        self._next = None
        self._is_stale = True
        if self._job is not None:
            self._job.quit()

    def _start(self) -> None:
        if self._job is not None or self._next is None:
            return
        make, self._next = self._next, None
        self._is_stale = False
        self._job = start_job(
            Work("Previewing perturbed labels", make),
            connect={
                "yielded": self._on_event,
                "errored": self._on_error,
                "finished": self._on_finished,
            },
        )

    def _on_event(self, event: Any) -> None:
        if not self._is_stale:
            self._show(event)

    def _on_error(self, error: Exception) -> None:
        if not self._is_stale:
            self._fail(error)

    def _on_finished(self) -> None:
        self._job = None
        if self._next is not None:
            self._start_soon()


class PreviewPart(QWidget):
    """The preview of the slice in view: whether to show it, and what it changes.

    Parameters
    ----------
    setup : PerturbSetup
        The form that the preview follows.
    request : callable
        Returns what is to be perturbed; ValueError or VolumeError if it cannot be.
    """

    def __init__(
        self,
        viewer: Viewer,
        setup: PerturbSetup,
        request: Callable[[], PerturbRequest],
    ) -> None:
        super().__init__()
        self._viewer, self._setup, self._request = viewer, setup, request
        self._nearest: int | None = None
        self.previewer = Previewer(self._show, self._show_error)
        self.layer = PreviewLayer(viewer)
        self.report = Report()
        self.box = QCheckBox("Preview on the slice in view")
        self.box.setToolTip(
            "Show how this slice would change, in a separate layer; your labels stay "
            "as they are"
        )
        self.box.setChecked(True)
        self.box.toggled.connect(self.update_preview)
        self.go_button = button(
            "", "Show the nearest slice that is painted", self._go_to_painted
        )
        vbox(self, self.box, self.report, self.go_button)
        dims, layers = viewer.dims.events, viewer.layers.events
        self._connections = Connections(
            (dims.point, self.update_preview),
            (dims.ndisplay, self.update_preview),
            (dims.order, self.update_preview),
            (layers.removed, self._on_removed),
        )

    def disconnect_events(self) -> None:
        """Stop, and take the preview out of the viewer."""
        self._connections.disconnect_events()
        self.previewer.forget()
        self.layer.remove()

    def update_preview(self, event: object = None) -> None:
        """Bring the preview in line with the form and the view, soon."""
        del event
        self._nearest = None
        self.go_button.setVisible(False)
        if not self.box.isChecked():
            self._end("")
            return
        try:
            request = self._request()
        except EXPECTED as error:
            self._end(str(error))
            return
        index = slice_in_view(self._viewer, request.layer, request.axis)
        if index is None:
            self._end(f"No preview: the view shows no slice across {request.axis}")
        elif request.slices is not None and index not in request.slices:
            self._offer_another(request.slices, index)
        else:
            self.previewer.request(lambda: preview(request, index))

    def _offer_another(self, slices: tuple[int, ...], index: int) -> None:
        axis = self._setup.axis
        if not slices:
            self._end("No preview: nothing is painted yet")
            return
        self._end(f"No preview: slice {axis}={index} is not among the chosen slices")
        self._nearest = min(slices, key=lambda i: abs(i - index))
        self.go_button.setText(f"Go to slice {axis}={self._nearest}")
        self.go_button.setVisible(True)

    def _go_to_painted(self) -> None:
        layer = self._setup.labels.layer
        if layer is not None and self._nearest is not None:
            go_to(self._viewer, layer, self._setup.axis, self._nearest)

    def _show(self, made: Previewed) -> None:
        if made.request.layer is not self._setup.labels.layer:
            return
        self.report.show_slice(made.slice, axis=made.request.axis)
        self.report.setVisible(True)
        self.layer.show(made.request.layer, made.slice, made.array)

    def _show_error(self, error: Exception) -> None:
        text = str(error) if isinstance(error, EXPECTED) else repr(error)
        self._end(f"No preview: {text}")

    def _end(self, why: str) -> None:
        self.previewer.forget()
        self.layer.remove()
        self.report.show_message(why)
        self.report.setVisible(bool(why))

    def _on_removed(self, event: Any) -> None:
        """Make no more previews if their layer was removed by hand."""
        if event.value is self.layer.layer:
            self.layer.layer = None
            self.box.setChecked(False)
