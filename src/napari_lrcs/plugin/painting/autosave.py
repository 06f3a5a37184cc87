"""Count what is painted in a labels layer, and save what is in memory."""

import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_lrcs.annotation.painting.folder import PaintingFolder, PaintingState
from napari_lrcs.annotation.painting.labels import count_phases, slice_key
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.formats.zarr_stores import RetryingStore
from napari_lrcs.preprocessing.slices import AXES

Counts = Mapping[int, NDArray[np.int64]]
"""Painted voxels of each phase, by slice."""

_SOON_MS = 1000
"""Time from a stroke to its being counted and, if it is in memory, written."""
_RETRY_MS = 10_000
_REPORT_SECONDS = 0.5


class AutoSave:
    """Counts the slices of a painted layer that have changed, and saves them.

    Both happen about a second after a stroke; only one slice at a time, so that the
    window stays responsive. What the disk does not take stays in memory and is tried
    again.

    Parameters
    ----------
    layer : Labels
        The painted layer. In a 3D layer on disk, napari saves each stroke at once.
    folder : PaintingFolder
        Where slices in memory are saved.
    state : PaintingState
        What the folder holds.
    counts : mapping of int to ndarray of int64
        Painted voxels that the folder holds.
    """

    touched = Signal(tuple)
    """Carries slices that may have changed: at once, and also when they are shown."""

    changed = Signal()
    """Other voxels are painted, or `save` was called after another change."""

    failed = Signal(str)
    """Saving failed, and is tried again; the reason. Empty once it has succeeded."""

    def __init__(
        self,
        layer: Labels,
        folder: PaintingFolder,
        *,
        state: PaintingState,
        counts: Counts,
    ) -> None:
        self._layer = layer
        self.folder = folder
        """Where slices in memory are saved; it may be renamed."""
        self._axis, self._n_slices = state.axis, state.n_slices
        self._n_phases = len(state.phases)
        self._counts = dict(counts)
        self._checksums: dict[int, int] = {}  # of slices in memory, as written
        self._touched: set[int] = set()
        self._stale: set[int] = set()
        self._is_scheduled = False
        self._reported_at = 0.0
        self._has_changed = False
        self._has_failed = False
        if self._is_in_memory:
            self._checksums = {index: _checksum(self.plane(index)) for index in counts}
        layer.events.paint.connect(self._on_paint)
        layer.events.set_data.connect(self._on_set_data)
        layer.events.data.connect(self._on_data)

    @property
    def counts(self) -> Counts:
        """Painted voxels of each phase, by slice; slices without any are left out."""
        return dict(sorted(self._counts.items()))

    def plane(self, index: int) -> NDArray[Any]:
        """Read the labels of a slice."""
        is_2d = self._layer.ndim == 2
        return np.asarray(
            self._layer.data[... if is_2d else slice_key(self._axis, index)]
        )

    def mark_changed(self, indices: Iterable[int]) -> None:
        """Count and save some slices soon."""
        touched = tuple(indices)
        self._stale.update(touched)
        self._schedule(_SOON_MS)
        self.touched.emit(touched)

    def save(self, *, has_changed: bool = False) -> None:
        """Count and save now what has changed.

        Parameters
        ----------
        has_changed : bool
            Whether to emit `changed` in any case.

        Raises
        ------
        OSError, VolumeError
            If it cannot be saved.
        """
        self._has_changed |= has_changed
        while self._stale:
            self._save_slice(min(self._stale))
        self._report()

    def renumber(self, mapping: Mapping[int, int], *, n_phases: int) -> None:
        """Renumber the counts, without reading the labels again.

        Parameters
        ----------
        mapping : mapping of int to int
            New label by old one; 0 removes it. Labels that it leaves out stay.
        n_phases : int
            Number of phases from now on.
        """
        self._n_phases = n_phases
        renumbered = {
            index: _renumbered(counts, mapping, n_phases=n_phases)
            for index, counts in self._counts.items()
        }
        self._counts = {i: counts for i, counts in renumbered.items() if counts.any()}

    @property
    def _is_in_memory(self) -> bool:
        return isinstance(self._layer.data, np.ndarray)

    def _on_paint(self, event: Any) -> None:
        touched = {index for atom in event.value for index in self._slices_in(atom[0])}
        self._touched |= touched
        self.mark_changed(touched)

    def _slices_in(self, region: tuple[Any, ...]) -> list[int]:
        """List the slices of a stroke: of slices, or of indices of voxels."""
        if self._layer.ndim == 2:
            return [0]
        across = region[AXES[self._axis]]
        if isinstance(across, slice):
            return list(range(self._n_slices)[across])
        return [int(index) for index in np.unique(across)]

    def _on_set_data(self, event: object) -> None:
        """Check what was painted once more: undoing emits nothing else."""
        del event
        if self._touched:
            self.mark_changed(self._touched)

    def _on_data(self, event: object) -> None:
        del event
        self.mark_changed(range(self._n_slices) if self._is_in_memory else self._counts)

    def _schedule(self, pause: int) -> None:
        if self._stale and not self._is_scheduled:
            self._is_scheduled = True
            # Not a QTimer of its own: that must not be collected in another thread.
            QTimer.singleShot(pause, self._save_next)

    def _save_next(self) -> None:
        """Count and save one slice, and give the window time before the next."""
        self._is_scheduled = False
        if not self._stale:  # saved meanwhile
            return
        try:
            self._save_slice(min(self._stale))
        except (LrcsError, OSError, ValueError) as error:
            self._has_failed = True
            self.failed.emit(
                f"Your painting is only in memory, as it cannot be saved: {error}. "
                "Make room on the disk, or put the folder back; saving will be tried "
                "again."
            )
            self._schedule(_RETRY_MS)
            return
        if self._has_failed:
            self._has_failed = False
            self.failed.emit("")
        if not self._stale or time.monotonic() - self._reported_at > _REPORT_SECONDS:
            self._report()
        self._schedule(0)

    def _save_slice(self, index: int) -> None:
        plane = self.plane(index)
        if self._is_in_memory:
            self._write(index, plane)
        self._count(index, plane)
        store = getattr(self._layer.data, "store", None)
        if isinstance(store, RetryingStore):
            store.flush()
        self._stale.discard(index)

    def _write(self, index: int, plane: NDArray[Any]) -> None:
        checksum, written = _checksum(plane), self._checksums.get(index)
        # What was painted before the layer came into memory has no checksum.
        is_known = written is not None or index in self._counts
        is_empty = not is_known and not plane.any()
        if not is_empty and checksum != written:
            self.folder.labels.write_slices(self._layer.data, [index])
            self._checksums[index] = checksum

    def _count(self, index: int, plane: NDArray[Any]) -> None:
        counts = count_phases(plane, n_phases=self._n_phases)
        former = self._counts.pop(index, np.zeros_like(counts))
        if counts.any():
            self._counts[index] = counts
        self._has_changed |= not np.array_equal(former, counts)

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        if self._has_changed:
            self._has_changed = False
            self.changed.emit()


def _checksum(plane: NDArray[Any]) -> int:
    return zlib.crc32(plane.tobytes())


def _renumbered(
    counts: NDArray[np.int64], mapping: Mapping[int, int], *, n_phases: int
) -> NDArray[np.int64]:
    renumbered = np.zeros(n_phases + 1, np.int64)
    for label, count in enumerate(counts, start=1):
        renumbered[mapping.get(label, label)] += count
    return renumbered[1:]
