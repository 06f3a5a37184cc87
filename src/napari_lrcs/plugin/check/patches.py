"""The check patches that are painted: a layer shows one at a time, and saves it."""

from typing import Any

import numpy as np
from napari.layers import Image, Labels
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.annotation.check_patches import (
    Check,
    CheckPatch,
    Region,
    n_unpainted,
)
from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.arrays import Mask
from napari_lrcs.errors import InUseError, VolumeError
from napari_lrcs.io.formats.zarr_stores import RetryingStore
from napari_lrcs.io.locks import FileLock
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import appearance, place_of, volume_of
from napari_lrcs.plugin.parts.workers import EXPECTED

_RETRY_MS = 10_000


class CheckPatches:
    """Check patches, of which a labels layer holds one, with its margin.

    The layer holds nothing else, so nothing else can be painted. Each stroke is on disk
    once it ends. The folder is locked until `close`.

    Parameters
    ----------
    folder : CheckFolder
        Where the patches are.
    image : Image
        The image that is painted on; it may be removed later.

    Raises
    ------
    InUseError
        If they are open in another window.
    VolumeError
        If the image is of another shape, or the folder is damaged.
    OSError
        If the folder cannot be written to.
    """

    changed = Signal()
    """Another patch is shown, or one was painted, is done or no longer done."""

    failed = Signal(str)
    """Saving failed, and is tried again; the reason. Empty once it has succeeded."""

    def __init__(self, folder: CheckFolder, image: Image) -> None:
        self.folder = folder
        self.check = folder.read()
        _check_shape(self.check, image)
        self.phases = folder.painting.labels.phases
        self._array = folder.painting.labels.retrying_array
        assert isinstance(self._array.store, RetryingStore)
        self._store = self._array.store
        self._inside = folder.field_of_view()
        self.index = self._first_open()
        """Number of the patch that is shown, from 0."""
        self._n_strokes = 0
        self._saved, self._has_failed = self._read(self.region), False
        self._origin, self._steps = _place_in_world(image)
        self.layer = self._make_layer(image)
        self._lock: FileLock | None = _lock(folder)
        events = self.layer.events
        self._connections = Connections(
            (events.paint, self._on_painted), (events.set_data, self._on_painted)
        )

    # ---- which patch is shown ----

    @property
    def patch(self) -> CheckPatch:
        """The patch that is shown."""
        return self.check.patches[self.index]

    @property
    def n_done(self) -> int:
        """How many patches are done."""
        return sum(patch.done for patch in self.check.patches)

    @property
    def version(self) -> tuple[int, int]:
        """Changes with what is painted, or done, since the folder was opened."""
        return self._n_strokes, self.n_done

    @property
    def region(self) -> Region:
        """Where the patch and its margin lie in the volume."""
        return self.check.design.region(self.patch)

    @property
    def inside(self) -> Mask | None:
        """Field of view of the painted region, as the layer is; None for all of it."""
        if self._inside is None:
            return None
        inside: Mask = self._as_layer(self._inside.region(*self.region))
        return inside

    def show(self, index: int) -> None:
        """Show a patch, once what is painted is saved; the first follows the last."""
        self.save()
        self.index = index % len(self.check.patches)
        self._saved, mode = self._read(self.region), self.layer.mode
        self.layer.data = self._as_layer(self._saved.copy())
        self.layer.translate = self._corner()
        self.layer.editable = False  # empties the undo history, which is of another one
        self.layer.editable = True
        self.layer.mode = mode
        self.changed.emit()

    def next_open(self) -> int:
        """Return the next patch that is not done; the one that is shown, if all are."""
        n = len(self.check.patches)
        following = ((self.index + step) % n for step in range(1, n + 1))
        return next(
            (i for i in following if not self.check.patches[i].done), self.index
        )

    def _first_open(self) -> int:
        patches = self.check.patches
        return next((i for i, patch in enumerate(patches) if not patch.done), 0)

    # ---- what is painted ----

    def unpainted(self) -> NDArray[np.intp]:
        """Find the voxels of the patch and its margin that are still to be painted.

        Returns
        -------
        ndarray of int, shape (n, layer.ndim)
            Their places in the layer; voxels outside the field of view do not count.
        """
        labels, inside = np.asarray(self.layer.data), self.inside
        # What napari lets paint beyond the last phase is transparent, and no phase.
        is_open = (labels == UNPAINTED) | (labels > len(self.phases))
        return np.argwhere(is_open if inside is None else is_open & inside)

    def fill_rest(self) -> int:
        """Give what is unpainted the label of the brush; return how much that is."""
        places = self.unpainted()
        label = int(self.layer.selected_label)
        if len(places) and 1 <= label <= len(self.phases):
            self.layer.data_setitem(tuple(places.T), label)
            self.save()
            return len(places)
        return 0

    def set_done(self, done: bool) -> None:  # noqa: FBT001 as it is kept
        """Note whether the patch that is shown is done; see `CheckFolder.mark_done`."""
        self.folder.mark_done(self.index, done=done)
        self.check = self.folder.read()
        self.changed.emit()

    def save(self) -> bool:
        """Save what is painted, or say that it cannot be, and try again later."""
        labels = np.asarray(self.layer.data).reshape(self._saved.shape)
        try:
            if not np.array_equal(labels, self._saved):
                self._write(labels.copy())
            self._store.flush()
        except EXPECTED as error:
            self._has_failed = True
            self.failed.emit(
                f"Your strokes are only in memory, as they cannot be saved: {error}. "
                "Make room on the disk, or put the folder back; saving will be tried "
                "again."
            )
            QTimer.singleShot(_RETRY_MS, self._save_if_open)
            return False
        if self._has_failed:
            self._has_failed = False
            self.failed.emit("")
        return True

    def _save_if_open(self) -> None:
        if self._lock is not None:
            self.save()

    def _write(self, labels: LabelArray) -> None:
        self._array[self.region] = labels
        self._saved = labels
        self._n_strokes += 1
        for number, patch in enumerate(self.check.patches):
            if patch.done and self._is_open(patch):  # something was erased
                self.folder.mark_done(number, done=False)
                self.check = self.folder.read()
        self.changed.emit()

    def _is_open(self, patch: CheckPatch) -> bool:
        """Whether a patch that overlaps the shown one has unpainted voxels."""
        region = self.check.design.region(patch)
        if not _overlap(region, self.region):
            return False
        inside = None if self._inside is None else self._inside.region(*region)
        return n_unpainted(self._read(region), inside) > 0

    def _on_painted(self, event: object) -> None:
        """Save a stroke, or what was undone, which only sets the data."""
        del event
        self.save()
        # napari may tell of a stroke before it is in the data.
        QTimer.singleShot(0, self._save_if_open)

    def _read(self, region: Region) -> LabelArray:
        return np.array(self._array[region], np.uint8)

    # ---- the layer ----

    def _make_layer(self, image: Image) -> Labels:
        return Labels(
            self._as_layer(self._saved.copy()),
            name=f"{image.name} check patch",
            metadata=marked("check patch"),
            **appearance(self.phases),
            **place_of(image) | {"translate": self._corner()},
        )

    def _as_layer(self, array: NDArray[Any]) -> NDArray[Any]:
        """Give an array (z, y, x) the axes of the layer."""
        return array if len(self._origin) == 3 else array[0]

    def _corner(self) -> NDArray[np.float64]:
        """Return where the layer begins, for its `translate`."""
        start = [part.start for part in self.region][-len(self._origin) :]
        corner: NDArray[np.float64] = self._origin + self._steps @ start
        return corner

    def close(self) -> None:
        """Save, and let the patches be opened elsewhere."""
        if self._lock is not None:
            self.save()
            self._connections.disconnect_events()
            self._lock.release()
            self._lock = None


def _check_shape(check: Check, image: Image) -> None:
    found = volume_of(image).shape
    if found != check.design.shape:
        raise VolumeError(
            f"the patches are for {check.design.shape} voxels (z, y, x), and "
            f"{image.name} has {found}; choose the image that they were drawn on"
        )


def _overlap(one: Region, other: Region) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.start < b.stop and b.start < a.stop for a, b in pairs)


def _lock(folder: CheckFolder) -> FileLock:
    try:
        return folder.painting.lock()
    except InUseError as error:
        raise InUseError(
            f"{folder.path.name} is open in another window; close it there"
        ) from error


def _place_in_world(
    image: Image,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where an image begins, and how far a step along each of its axes goes.

    Both before its affine transformation, as `translate` is.

    Returns
    -------
    origin : ndarray, shape (n_axes,)
    steps : ndarray, shape (n_axes, n_axes)
        A column for each axis.
    """
    n = image.ndim
    start = np.array(image.data_to_world(np.zeros(n)))
    ends = np.array([image.data_to_world(end) for end in np.eye(n)])
    steps = np.linalg.solve(image.affine.linear_matrix, (ends - start).T)
    return np.array(image.translate), steps
