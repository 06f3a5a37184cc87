"""What belongs to a labels layer that is painted; it saves itself."""

import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication

from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.config import Axis
from napari_lrcs.data.annotation import Role
from napari_lrcs.data.mask import as_mask, open_mask
from napari_lrcs.data.painting import (
    ImageIdentity,
    PaintingFolder,
    PaintingState,
    count_phases,
    relabelled,
)
from napari_lrcs.data.slices import AXES
from napari_lrcs.data.volume import Volume
from napari_lrcs.errors import LrcsError, VolumeError
from napari_lrcs.phases import MAX_PHASES, Phase, PhaseTable
from napari_lrcs.plugin.layers import (
    appearance,
    layer_shape,
    place_of,
    show_phases,
    volume_of,
    workspace_for,
)
from napari_lrcs.plugin.workers import Events, Job, Work, start_job

Counts = Mapping[int, NDArray[np.int64]]
"""Painted voxels of each phase, by slice."""

_KEY = "napari_lrcs"
_SOON_MS = 1000
"""From a stroke to its being counted and, if it lies in memory, written."""
_RETRY_MS = 10_000
_STROKE_MS = 50
_TELL_SECONDS = 0.5
_BAND_VOXELS = 100_000
"""That napari replaces in about 25 ms, undo history included."""
_END = object()


def painting_of(layer: Layer | None) -> "Painting | None":
    """Return the painting of a layer; None for other layers, and for copies of it."""
    painting = None if layer is None else layer.metadata.get(_KEY)
    # napari copies the metadata along with a layer.
    is_own = isinstance(painting, Painting) and painting.layer == layer
    return painting if is_own else None


def new_painting(image: Image, *, phases: PhaseTable, axis: Axis = "z") -> Labels:
    """Begin a painting of an image.

    Parameters
    ----------
    image : Image
        2D or 3D, of any size: only what is painted takes room, on disk.
    phases : PhaseTable
    axis : {"z", "y", "x"}
        Axis that the painted slices lie across; z for a 2D image.

    Returns
    -------
    Labels
        In the image's place, not yet in a viewer; see `painting_of`.

    Raises
    ------
    VolumeError
        If the image is in colour or has other axes.
    OSError
        If the painting cannot be saved.
    """
    state, folder = _begin(image, phases=phases, axis=axis)
    return open_painting(folder, image, state=state, counts={})


def open_painting(
    folder: PaintingFolder, image: Image, *, state: PaintingState, counts: Counts
) -> Labels:
    """Make the layer of a painting that is on disk.

    Parameters
    ----------
    folder : PaintingFolder
    image : Image
        Of the painting's shape.
    state : PaintingState
        What `folder.read` returns.
    counts : mapping of int to ndarray of int64
        What `folder.painted_slices` returns.

    Returns
    -------
    Labels
        Strokes into a 3D one are on disk at once.

    Raises
    ------
    VolumeError
        If the image is of another shape, or the painting is damaged.
    """
    if (found := _shape_3d(image)) != state.image.shape:
        raise VolumeError(
            f"the painting {folder.path.name} is of an image of {state.image.shape} "
            f"(z, y, x), and {image.name} is {found}; choose the image it belongs to"
        )
    array = folder.array
    layer = Labels(
        np.asarray(array[0]) if image.ndim == 2 else array,
        name=f"{image.name} labels",
        **appearance(state.phases),
        **place_of(image),
    )
    Painting(layer, folder, state=state, counts=counts)
    return layer


def adopt(layer: Labels, image: Image, *, phases: PhaseTable, axis: Axis) -> "Painting":
    """Make a painting of a labels layer that lies in memory.

    Parameters
    ----------
    layer : Labels
        Of the image's shape; what is painted in it is saved within seconds.
    image : Image
    phases : PhaseTable
        Labels beyond them become further phases.
    axis : {"z", "y", "x"}

    Raises
    ------
    VolumeError
        If the layer is of another shape, not in memory, or holds other than labels.
    OSError
        If the painting cannot be saved.
    """
    if not isinstance(layer.data, np.ndarray):
        raise VolumeError(
            f"{layer.name} is read from disk, where nothing can be painted into it; "
            "make a new labels layer"
        )
    if layer_shape(layer) != (found := layer_shape(image)):
        raise VolumeError(
            f"{layer.name} is {layer_shape(layer)}, {image.name} is {found}; expected "
            "labels of the image's shape"
        )
    highest = int(layer.data.max())
    if highest > MAX_PHASES or layer.data.min() < 0:
        raise VolumeError(
            f"{layer.name} holds {int(layer.data.min())} to {highest}; labels are "
            f"whole numbers from 0 to {MAX_PHASES}"
        )
    phases = _with_further(phases, highest)
    state, folder = _begin(image, phases=phases, axis=axis)
    show_phases(layer, phases)
    painting = Painting(layer, folder, state=state, counts={})
    painting.check(range(state.n_slices))
    return painting


class Painting:
    """Phases, roles and field of view of a labels layer, kept in a folder.

    Whatever is painted is counted, and what lies in memory is written, about a second
    later; in a 3D layer that lies on disk a stroke is saved at once.

    Parameters
    ----------
    layer : Labels
        Carries the painting from now on.
    folder : PaintingFolder
    state : PaintingState
        What the folder holds.
    counts : mapping of int to ndarray of int64
        The same.
    """

    changed = Signal()
    """Roles, phases, counts or the field of view are others."""

    failed = Signal(str)
    """Saving failed, and is tried again; the reason."""

    def __init__(
        self,
        layer: Labels,
        folder: PaintingFolder,
        *,
        state: PaintingState,
        counts: Counts,
    ) -> None:
        self.layer = layer
        self.folder = folder
        self._state = state
        self._counts = dict(counts)
        self._mask: Layer | str | None = state.mask
        self._written: dict[int, int] = {}  # checksums of slices in memory
        self._touched: set[int] = set()
        self._stale: set[int] = set()
        self._is_due = False
        self._job: Job | None = None
        self._waiting: deque[tuple[int, LabelArray]] = deque()
        self._puts: Iterator[None] | None = None
        self._told = 0.0
        self._has_news = False
        if self._is_in_memory:
            self._written = {index: self._checksum(index) for index in counts}
        layer.metadata[_KEY] = self
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
        spec = mask
        if mask is not None and not isinstance(mask, str):
            as_mask(volume_of(mask), shape=self._state.image.shape)
            spec = mask.source.path
        self._mask = mask
        self._write(replace(self._state, mask=spec))

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
        return self.folder.array

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
        """Replace the labels of a slice, as one step of the layer's undo history.

        A large slice is replaced in bands of rows, so that the window stays alive; in
        the meantime the layer's brush is put aside.

        Parameters
        ----------
        index : int
        labels : ndarray of uint8, shape (rows, columns)
        """
        self._waiting.append((index, labels))
        if self._puts is None:
            self._puts = self._put_all()
            self._put_some()

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
        for _ in self._puts or ():
            pass
        self._puts = None
        while self._stale:
            index = min(self._stale)
            self._check(index)
            self._stale.discard(index)
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

    def _put_some(self) -> None:
        if self._puts is None:  # saved meanwhile
            return
        # napari's strokes and ours must not overlap: each opens and closes the history.
        is_drawing = QApplication.mouseButtons() != Qt.MouseButton.NoButton
        if is_drawing or next(self._puts, _END) is not _END:
            QTimer.singleShot(_STROKE_MS if is_drawing else 0, self._put_some)
        else:
            self._puts = None

    def _put_all(self) -> Iterator[None]:
        while self._waiting:
            index, labels = self._waiting.popleft()
            height = max(1, _BAND_VOXELS // labels.shape[1])
            with self._brush_aside(), self.layer.block_history():
                for start in range(0, len(labels), height):
                    if start:
                        yield
                    self._put_band(index, start, labels[start : start + height])
            if self._waiting:
                yield

    def _put_band(self, index: int, start: int, labels: LabelArray) -> None:
        rows, columns = np.indices(labels.shape, np.int32)
        indices = [(rows + start).ravel(), columns.ravel()]
        if self.layer.ndim == 3:
            indices.insert(AXES[self.axis], np.full(labels.size, index, np.int32))
        self.layer.data_setitem(tuple(indices), labels.ravel())

    @contextmanager
    def _brush_aside(self) -> Iterator[None]:
        mode = self.layer.mode
        self.layer.mode = "pan_zoom"
        try:
            yield
        finally:
            if self.layer.mode == "pan_zoom":
                self.layer.mode = mode

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
        index = min(self._stale)
        try:
            self._check(index)
        except (LrcsError, OSError, ValueError) as error:
            self.failed.emit(f"The painting cannot be saved: {error}")
            self._plan(_RETRY_MS)
            return
        self._stale.discard(index)
        if not self._stale or time.monotonic() - self._told > _TELL_SECONDS:
            self._tell()
        self._plan(0)

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


def _begin(
    image: Image, *, phases: PhaseTable, axis: Axis
) -> tuple[PaintingState, PaintingFolder]:
    volume = volume_of(image)
    shape = _shape_3d(image)
    path = image.source.path
    state = PaintingState(
        axis="z" if image.ndim == 2 else axis,
        phases=phases,
        roles={},
        mask=None,
        image=ImageIdentity(
            name=image.name, path=None if path is None else str(path), shape=shape
        ),
    )
    folder = PaintingFolder.create(
        workspace_for(image).new_painting(),
        state,
        voxel_size=volume.voxel_size,
        unit=volume.unit,
    )
    return state, folder


def _shape_3d(image: Image) -> tuple[int, int, int]:
    if image.ndim > 3:
        sizes = " × ".join(map(str, layer_shape(image)))
        raise VolumeError(
            f"{image.name} has {image.ndim} axes ({sizes}); expected z, y, x: split "
            "the time points or channels into layers of their own"
        )
    z, y, x = (1, *layer_shape(image))[-3:]
    return z, y, x


def _with_further(phases: PhaseTable, highest: int) -> PhaseTable:
    numbered = PhaseTable.numbered(max(highest, 2))
    further: tuple[Phase, ...] = numbered.phases[len(phases) :]
    return PhaseTable((*phases.phases, *further)) if further else phases


def _moved(
    counts: NDArray[np.int64], mapping: Mapping[int, int], *, n_phases: int
) -> NDArray[np.int64]:
    moved = np.zeros(n_phases + 1, np.int64)
    for label, count in enumerate(counts, start=1):
        moved[mapping.get(label, label)] += count
    return moved[1:]
