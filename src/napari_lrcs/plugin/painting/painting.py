"""What belongs to a labels layer that is painted; it saves itself."""

import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_lrcs.annotation.annotation import Role
from napari_lrcs.annotation.painting import (
    PaintingFolder,
    PaintingState,
    count_phases,
    relabelled,
)
from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.config import Axis
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.locks import FileLock
from napari_lrcs.io.retrying_store import KeptStore
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.painting.slice_writer import SlicePutter
from napari_lrcs.plugin.parts.layer_kinds import PAINTING_KEY
from napari_lrcs.plugin.parts.layers import (
    layer_shape,
    show_phases,
    volume_of,
    workspace_for,
)
from napari_lrcs.plugin.parts.workers import Events, Job, Work, start_job
from napari_lrcs.preprocessing.mask import as_mask, open_mask
from napari_lrcs.preprocessing.slices import AXES

Counts = Mapping[int, NDArray[np.int64]]
"""Painted voxels of each phase, by slice."""

_SOON_MS = 1000
"""From a stroke to its being counted and, if it lies in memory, written."""
_RETRY_MS = 10_000
_TELL_SECONDS = 0.5


def painting_of(layer: Layer | None) -> "Painting | None":
    """Return the painting of a layer; None for other layers, and for copies of it."""
    painting = None if layer is None else layer.metadata.get(PAINTING_KEY)
    # napari copies the metadata along with a layer. Not "is": it gives plugins proxies.
    is_own = isinstance(painting, Painting) and painting.layer == layer
    return painting if is_own else None


class Painting:
    """Phases, roles and field of view of a labels layer, kept in a folder.

    Whatever is painted is counted, and what lies in memory is written, about a second
    later; in a 3D layer that lies on disk a stroke is saved at once. What the disk does
    not take stays in memory and is tried again. The painting is claimed from the start.

    Parameters
    ----------
    layer : Labels
        Carries the painting from now on.
    folder : PaintingFolder
    image : Image
        It is painted on; it may be removed later.
    state : PaintingState
        What the folder holds.
    counts : mapping of int to ndarray of int64
        The same.

    Raises
    ------
    VolumeError
        If it is open elsewhere.
    OSError
        If its folder cannot be written to.
    """

    changed = Signal()
    """Roles, phases, counts or the field of view are others."""

    failed = Signal(str)
    """Saving failed, and is tried again; the reason. Empty once it has succeeded."""

    def __init__(
        self,
        layer: Labels,
        folder: PaintingFolder,
        *,
        image: Image,
        state: PaintingState,
        counts: Counts,
    ) -> None:
        self.layer = layer
        self.folder = folder
        self._image_id = image.unique_id  # not the image: it may be removed
        self._state = state
        self._counts = dict(counts)
        self._mask: Layer | str | None = state.mask
        self._written: dict[int, int] = {}  # checksums of slices in memory
        self._touched: set[int] = set()
        self._stale: set[int] = set()
        self._is_due = False
        self._job: Job | None = None
        self._mask_job: Job | None = None
        self._putter = SlicePutter(layer, state.axis)
        self._told = 0.0
        self._has_news = False
        self._has_failed = False
        self._claim: FileLock | None = folder.claim()
        if self._is_in_memory:
            self._written = {index: self._checksum(index) for index in counts}
        layer.metadata[PAINTING_KEY] = self
        layer.events.paint.connect(self._on_paint)
        layer.events.set_data.connect(self._on_refresh)
        layer.events.data.connect(self._on_data)

    # ---- what it is ----

    @property
    def state(self) -> PaintingState:
        """Everything but the labels, as it is saved."""
        return self._state

    @property
    def phases(self) -> PhaseTable:
        """Names and colours of the labels."""
        return self._state.phases

    @property
    def roles(self) -> Mapping[int, Role]:
        """What slices serve for."""
        return self._state.roles

    @property
    def axis(self) -> Axis:
        """Axis that the slices lie across."""
        return self._state.axis

    @property
    def n_slices(self) -> int:
        """Slices across the axis."""
        return self._state.n_slices

    def image_among(self, images: Sequence[Image]) -> Image | None:
        """Return the image that it is painted on, or None if it is not there."""
        same = (image for image in images if image.unique_id == self._image_id)
        return next(same, next(filter(self.is_of, images), None))

    def is_of(self, image: Image) -> bool:
        """Whether it is painted on an image, or on the same one opened before."""
        if image.unique_id == self._image_id:
            return True
        has_shape = (1, *layer_shape(image))[-3:] == self._state.image.shape
        return has_shape and workspace_for(image).path == self.folder.path.parent

    def claim(self) -> None:
        """Have the painting's folder alone, again after `release`; errors as there."""
        if self._claim is None:
            self._claim = self.folder.claim()

    def release(self) -> None:
        """Let the painting be opened elsewhere: its layer is out of sight."""
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def slices_with(self, role: Role) -> tuple[int, ...]:
        """List the slices of one role, ascending."""
        return tuple(sorted(i for i, found in self.roles.items() if found == role))

    def set_role(self, index: int, role: Role | None) -> None:
        """Mark a slice, and save the painting.

        Raises
        ------
        ValueError
            If the slice does not exist.
        OSError, VolumeError
            If it cannot be saved.
        """
        roles = {i: found for i, found in self.roles.items() if i != index}
        if role is not None:
            roles[index] = role
        self._write(replace(self._state, roles=dict(sorted(roles.items()))))

    def painted(self) -> Counts:
        """Return the painted voxels of each phase in the slices that have any."""
        return dict(sorted(self._counts.items()))

    # ---- field of view ----

    @property
    def mask(self) -> Layer | str | None:
        """Field of view: a layer, "cylinder", a file, or None for everything."""
        return self._mask

    @mask.setter
    def mask(self, mask: Layer | str | None) -> None:
        is_text = mask is None or isinstance(mask, str)
        if not is_text:
            as_mask(volume_of(mask), shape=self._state.image.shape)
        self._mask = mask
        self._write(replace(self._state, mask=mask if is_text else None))
        self._keep_mask()

    def mask_volume(self, shape: tuple[int, int, int]) -> Volume | None:
        """Return the field of view of a volume; None for everything.

        Raises
        ------
        VolumeError
            If the mask is of another shape, or its file is missing.
        """
        if self._mask is None or isinstance(self._mask, str):
            return open_mask(self._mask, shape=shape)
        return as_mask(volume_of(self._mask), shape=shape)

    def _keep_mask(self) -> None:
        """Copy the layer of the field of view into the folder, in a thread."""
        mask = self._mask
        if self._mask_job is None and isinstance(mask, Layer):
            inside = as_mask(volume_of(mask), shape=self._state.image.shape)
            self._mask_job = start_job(
                Work("Keeping the field of view", lambda: self._keeping(mask, inside)),
                connect={"yielded": self._on_kept, "errored": self._on_not_kept},
            )

    def _keeping(self, mask: Layer, inside: Volume) -> Events:
        self.folder.write_mask(inside)
        yield mask

    def _on_kept(self, mask: Layer) -> None:
        self._mask_job = None
        if mask is not self._mask:  # another one was chosen meanwhile
            self._keep_mask()
            return
        try:
            self._write(replace(self._state, mask=str(self.folder.mask)))
        except (LrcsError, OSError) as error:
            self._on_not_kept(error)

    def _on_not_kept(self, error: Exception) -> None:
        self._mask_job = None
        self.failed.emit(f"The field of view must be chosen again next time: {error}")

    # ---- phases ----

    def rename(self, phases: PhaseTable) -> None:
        """Give the phases other names and colours, or add some at the end.

        Raises
        ------
        ValueError
            If there are fewer; see `renumber`.
        OSError, VolumeError
            If it cannot be saved.
        """
        if (n_more := len(phases) - len(self.phases)) < 0:
            raise ValueError(f"{-n_more} phases are missing; renumber the labels")
        self._counts = {i: np.pad(n, (0, n_more)) for i, n in self._counts.items()}
        self._write(replace(self._state, phases=phases))
        show_phases(self.layer, phases)

    def begin_to_renumber(
        self, mapping: Mapping[int, int], *, phases: PhaseTable
    ) -> None:
        """Renumber the labels in a thread; `changed` or `failed` tells the end.

        Until then nothing can be painted. It ends well even if all docks are closed.
        Parameters are those of `PaintingFolder.relabel`.

        Raises
        ------
        OSError, VolumeError
            If what is painted cannot be saved before.
        """
        self.save()
        self.layer.editable = False
        self._job = start_job(
            Work(
                "Renumbering the phases",
                lambda: self._renumbering(mapping, phases=phases),
            ),
            connect={"yielded": self._on_renumbered, "errored": self._on_error},
        )

    @property
    def is_renumbering(self) -> bool:
        """Whether the labels are being renumbered."""
        return self._job is not None

    def renumber(self, mapping: Mapping[int, int], *, phases: PhaseTable) -> Any:
        """Renumber the labels on disk, in a thread; `take` then shows them.

        Nothing may be painted meanwhile. Parameters and errors as those of
        `PaintingFolder.relabel`.

        Returns
        -------
        array-like
            The new labels, for `take`.
        """
        self.folder.relabel(mapping, phases=phases)
        if self._is_in_memory:
            return relabelled(np.asarray(self.layer.data), mapping)
        return self.folder.kept_array

    def take(
        self, labels: Any, mapping: Mapping[int, int], *, phases: PhaseTable
    ) -> None:
        """Show renumbered labels.

        The layer's undo history is emptied: it would bring back former numbers.
        """
        self._state = replace(self._state, phases=phases)
        moved = {
            index: _moved(counts, mapping, n_phases=len(phases))
            for index, counts in self._counts.items()
        }
        self._counts = {
            index: counts for index, counts in moved.items() if counts.any()
        }
        self.layer.data = labels
        show_phases(self.layer, phases)
        self.layer.editable = False  # empties the history
        self.layer.editable = True
        self.changed.emit()

    # ---- labels ----

    def plane(self, index: int) -> LabelArray:
        """Read the labels of a slice.

        Returns
        -------
        ndarray of uint8, shape (rows, columns)
        """
        return np.array(self.layer.data[self._place(index)], np.uint8)

    def put(self, index: int, labels: LabelArray) -> None:
        """Replace the labels of a slice, soon; see `SlicePutter.put`."""
        self._putter.put(index, labels)

    def check(self, indices: Iterable[int]) -> None:
        """Count slices, and write those that lie in memory, soon."""
        self._stale.update(indices)
        self._plan(_SOON_MS)

    def save(self) -> None:
        """Count and write now what has changed.

        Raises
        ------
        OSError, VolumeError
            If it cannot be saved.
        """
        self._putter.finish()
        while self._stale:
            self._settle(min(self._stale))
        self._tell()

    # ---- the rest ----

    def _renumbering(self, mapping: Mapping[int, int], *, phases: PhaseTable) -> Events:
        yield self.renumber(mapping, phases=phases), mapping, phases

    def _on_renumbered(self, event: tuple[Any, Mapping[int, int], PhaseTable]) -> None:
        labels, mapping, phases = event
        self._job = None
        self.take(labels, mapping, phases=phases)

    def _on_error(self, error: Exception) -> None:
        self._job = None
        self.layer.editable = True
        self.failed.emit(f"The phases stay as they are: {error}")

    @property
    def _is_in_memory(self) -> bool:
        return isinstance(self.layer.data, np.ndarray)

    def _place(self, index: int) -> tuple[int | slice, ...]:
        if self.layer.ndim == 2:
            return (slice(None), slice(None))
        return tuple(index if name == self.axis else slice(None) for name in AXES)

    def _write(self, state: PaintingState) -> None:
        self.folder.write(state)
        self._state = state
        self._has_news = True
        self.save()

    def _on_paint(self, event: Any) -> None:
        touched = {index for atom in event.value for index in self._slices_in(atom[0])}
        self._touched |= touched
        self.check(touched)

    def _slices_in(self, region: tuple[Any, ...]) -> list[int]:
        """List the slices of a stroke: of slices, or of indices of voxels."""
        if self.layer.ndim == 2:
            return [0]
        across = region[AXES[self.axis]]
        if isinstance(across, slice):
            return list(range(self.n_slices)[across])
        return [int(index) for index in np.unique(across)]

    def _on_refresh(self, event: object) -> None:
        """Look again: undoing emits nothing else."""
        del event
        if self._touched:
            self.check(self._touched)

    def _on_data(self, event: object) -> None:
        del event
        self.check(range(self.n_slices) if self._is_in_memory else self._counts)

    def _plan(self, pause: int) -> None:
        if self._stale and not self._is_due:
            self._is_due = True
            # Not a QTimer of its own: that must not be collected in another thread.
            QTimer.singleShot(pause, self._catch_up)

    def _catch_up(self) -> None:
        """Count or write one slice, and leave the window some time."""
        self._is_due = False
        if not self._stale:  # saved meanwhile
            return
        try:
            self._settle(min(self._stale))
        except (LrcsError, OSError, ValueError) as error:
            self._has_failed = True
            self.failed.emit(
                f"What you paint stays in memory, as it cannot be saved: {error}. Make "
                "room on the disk; it is tried again."
            )
            self._plan(_RETRY_MS)
            return
        if self._has_failed:
            self._has_failed = False
            self.failed.emit("")
        if not self._stale or time.monotonic() - self._told > _TELL_SECONDS:
            self._tell()
        self._plan(0)

    def _settle(self, index: int) -> None:
        self._check(index)
        store = getattr(self.layer.data, "store", None)
        if isinstance(store, KeptStore):
            store.flush()
        self._stale.discard(index)

    def _check(self, index: int) -> None:
        plane = np.asarray(self.layer.data[self._place(index)])
        counts = count_phases(plane, n_phases=len(self.phases))
        if self._is_in_memory:
            self._write_if_new(index, is_empty=not plane.any())
        former = self._counts.pop(index, np.zeros_like(counts))
        if counts.any():
            self._counts[index] = counts
        self._has_news |= not np.array_equal(former, counts)

    def _write_if_new(self, index: int, *, is_empty: bool) -> None:
        checksum = self._checksum(index)
        is_new = index not in self._written and not is_empty
        if is_new or self._written.get(index, checksum) != checksum:
            self.folder.write_slices(self.layer.data, [index])
            self._written[index] = checksum

    def _checksum(self, index: int) -> int:
        plane = np.asarray(self.layer.data[self._place(index)])
        return zlib.crc32(plane.tobytes())

    def _tell(self) -> None:
        self._told = time.monotonic()
        if self._has_news:
            self._has_news = False
            self.changed.emit()


def _moved(
    counts: NDArray[np.int64], mapping: Mapping[int, int], *, n_phases: int
) -> NDArray[np.int64]:
    moved = np.zeros(n_phases + 1, np.int64)
    for label, count in enumerate(counts, start=1):
        moved[mapping.get(label, label)] += count
    return moved[1:]
