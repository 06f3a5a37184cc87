"""Keep what a viewer works on in the workspace of its image, and restore it."""

from collections.abc import Generator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, ref
from zlib import crc32

import numpy as np
from napari.components import LayerList
from napari.layers import Image, Labels
from napari.utils.notifications import show_warning
from napari.viewer import Viewer
from psygnal import Signal
from superqt.utils import qthrottled

from napari_lrcs.annotation.painting.folder import ImageIdentity
from napari_lrcs.annotation.project_file import ProjectFile, ProjectState
from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.errors import InUseError, LrcsError, VolumeError
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.files.reader import read_layers
from napari_lrcs.plugin.files.writer import write_labels
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.connections import Connections, Replaceable
from napari_lrcs.plugin.parts.layers.layers import (
    DATASET_KEY,
    RUN_KEY,
    layer_shape,
    prefer_run,
    workspace_for,
)
from napari_lrcs.plugin.parts.layers.predicted import (
    PredictedLayers,
    Region,
    file_of,
    is_in_memory_alone,
)
from napari_lrcs.plugin.parts.workers import EXPECTED, Work, start_job
from napari_lrcs.plugin.project.docks import open_dock, open_docks
from napari_lrcs.plugin.project.found_work import FoundProject
from napari_lrcs.plugin.project.project import project_of

_PAUSE_MS = 500
"""Time from a change until it is saved."""


class ProjectKeeper:
    """Saves what is open in a viewer while it changes, and restores it.

    It saves once there is a painting, or a result in a file: before, what was open in
    an earlier session is to be restored, not replaced.

    Parameters
    ----------
    viewer : Viewer
        Not kept alive.
    """

    restored = Signal(object)
    """A `FoundProject` is restored; its page is to be shown."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = ref(viewer)
        self._project = project_of(viewer.layers)
        self._page = ""
        self._saved: tuple[Path, ProjectState] | None = None
        self._files: WeakKeyDictionary[Labels, tuple[Path, int]] = WeakKeyDictionary()
        """Where results in memory were saved before the window closed; their CRC."""
        self._image_followed = Replaceable()
        # Not debounced: who paints without a pause would have nothing saved.
        self._save_soon = qthrottled(self.save, timeout=_PAUSE_MS, leading=False)
        events = viewer.layers.events
        for event in (self._project.changed, events.inserted, events.removed):
            event.connect(self.handle_change)
        self.handle_change()

    def show_page(self, page: str) -> None:
        """Note which page of *Segment volume* is shown."""
        self._page = page
        self.handle_change()

    def handle_change(self, event: object = None) -> None:
        """Save soon."""
        del event
        self._save_soon()

    # ---- saving ----

    def save(self) -> None:
        """Save now what is open, unless nothing has changed or it cannot be written."""
        self._save_soon.cancel()
        viewer = self._viewer()
        image = None if viewer is None else self._image(viewer)
        if viewer is None or image is None:
            self._image_followed.disconnect_events()
            return
        self._image_followed.replace(
            Connections((image.events.metadata, self.handle_change))
        )
        try:
            state = self._state(viewer, image)
        except RuntimeError:  # the window is gone; what was open was saved when it went
            return
        folder = workspace_for(image).path
        if state is None or (folder, state) == self._saved:
            return
        try:
            ProjectFile(folder).write(state)
        except InUseError:  # another window writes just now
            self._save_soon()
            return
        except (LrcsError, OSError):  # all that matters more is saved elsewhere
            return
        self._saved = folder, state

    def save_results(self) -> None:
        """Write predictions to files that are in memory alone: the window closes."""
        viewer = self._viewer()
        layers = [] if viewer is None else list(viewer.layers)
        for image in (layer for layer in layers if isinstance(layer, Image)):
            for layer in layers:
                if isinstance(layer, Labels) and is_in_memory_alone(layer, image):
                    self._save_result(layer, workspace_for(image))
        self.save()

    def _save_result(self, layer: Labels, workspace: Workspace) -> None:
        data, meta, _ = layer.as_layer_data_tuple()
        checksum = crc32(np.ascontiguousarray(data).data)
        # The window may stay open after all: then the same file is written again.
        path, written = self._files.get(layer, (None, None))
        if checksum == written:  # by another dock that closes
            return
        path = path or workspace.new_result(".zarr")
        try:
            workspace.make()
            write_labels(str(path), data, meta)
        except EXPECTED as error:
            _warn(error)
        else:
            self._files[layer] = path, checksum

    def _file_of(self, layer: Labels) -> Path | None:
        return self._files[layer][0] if layer in self._files else file_of(layer)

    def _result(self, viewer: Viewer) -> Labels | None:
        return self._project.result([x for x in viewer.layers if isinstance(x, Labels)])

    def _image(self, viewer: Viewer) -> Image | None:
        return self._project.image([x for x in viewer.layers if isinstance(x, Image)])

    def _state(self, viewer: Viewer, image: Image) -> ProjectState | None:
        """Describe what is open; None if nothing is that could be restored."""
        labels = [layer for layer in viewer.layers if isinstance(layer, Labels)]
        painting = painting_of(self._project.painting(labels, image))
        layer = self._result(viewer)
        result = None if layer is None else self._file_of(layer)
        is_complete = result is not None and result.exists()
        if painting is None and not is_complete:
            return None
        network = image.metadata.get(RUN_KEY)
        return ProjectState(
            image=_identity(image),
            dataset=image.metadata.get(DATASET_KEY, ""),
            reader=image.source.reader_plugin or "",
            painting=None if painting is None else str(painting.folder.path),
            network=None if network is None else str(network),
            result=str(result) if is_complete else None,
            page=self._page,
            docks=tuple(open_docks(viewer)),
        )

    # ---- restoring ----

    def is_shown(self, result: str | None) -> bool:
        """Whether a result is in the viewer; None for no result."""
        viewer = self._viewer()
        layers = () if viewer is None else viewer.layers
        return result is None or Path(result) in map(file_of, layers)

    def restore(self, found: FoundProject) -> None:
        """Choose the network, add the result, and open the docks and the page."""
        viewer = self._viewer()
        image = None if viewer is None else _image_of(viewer, found)
        if viewer is None or image is None:
            return
        state = found.state
        if state.network is not None and Path(state.network).exists():
            prefer_run(image, Path(state.network))
        if state.result is not None and not self.is_shown(state.result):
            self._open_result(Path(state.result), image)
        for name in state.docks:
            open_dock(viewer, name, in_front=False)
        self.restored.emit(found)

    def _open_result(self, path: Path, image: Image) -> None:
        def show(opened: tuple[Any, PhaseTable, Provenance | None]) -> None:
            viewer = self._viewer()
            if viewer is not None and image in viewer.layers:
                _show_result(viewer, image, path, *opened)

        start_job(
            Work(f"Opening {path.name}", lambda: _read_result(path)),
            connect={"yielded": show, "errored": _warn},
        )


def _identity(image: Image) -> ImageIdentity:
    z, y, x = (1, *layer_shape(image))[-3:]
    return ImageIdentity(name=image.name, path=image.source.path, shape=(z, y, x))


def _image_of(viewer: Viewer, found: FoundProject) -> Image | None:
    shape = found.state.image.shape
    for layer in viewer.layers:
        if (
            isinstance(layer, Image)
            and _identity(layer).shape == shape
            and workspace_for(layer).path == found.folder
        ):
            return layer
    return None


def _read_result(
    path: Path,
) -> Generator[tuple[Any, PhaseTable, Provenance | None]]:
    """Open a prediction, in a thread."""
    ((data, *_),) = read_layers(str(path))
    volume = open_volume(path)
    if volume.phases is None:
        raise VolumeError(
            f"{path.name} names no phases, so it is not shown as a result; open it "
            "with File > Open File(s)…"
        )
    yield data, volume.phases, volume.provenance


def _warn(error: Exception) -> None:
    if isinstance(error, EXPECTED):  # others are reported by the job
        show_warning(str(error))


def _show_result(
    viewer: Viewer,
    image: Image,
    path: Path,
    data: Any,
    phases: PhaseTable,
    provenance: Provenance | None,
) -> None:
    layers = PredictedLayers(
        viewer, image, phases=phases, region=Region(axis="z"), path=path
    )
    layers.show(data)
    layers.set_provenance(provenance)
    layers.disconnect_events()


_KEEPERS: "WeakKeyDictionary[LayerList, ProjectKeeper]" = WeakKeyDictionary()


def keeper_of(viewer: Viewer) -> ProjectKeeper:
    """Return the keeper of a viewer."""
    own = getattr(viewer, "__wrapped__", viewer)  # napari gives plugins proxies
    if own.layers not in _KEEPERS:
        _KEEPERS[own.layers] = ProjectKeeper(own)
    return _KEEPERS[own.layers]
