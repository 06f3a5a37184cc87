"""What belongs to a labels layer that is painted; it saves itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from psygnal import Signal

from napari_lrcs.annotation.annotation import Role
from napari_lrcs.annotation.painting.folder import PaintingFolder, PaintingState
from napari_lrcs.annotation.painting.labels import relabelled
from napari_lrcs.annotation.workspace import rename_folder
from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.config import Axis
from napari_lrcs.io.locks import FileLock
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import Phase, PhaseTable
from napari_lrcs.plugin.painting.autosave import AutoSave, Counts
from napari_lrcs.plugin.painting.mask_keeper import MaskKeeper
from napari_lrcs.plugin.painting.slice_writer import Plane, SliceWriter
from napari_lrcs.plugin.parts.layers.kinds import PAINTING_KEY
from napari_lrcs.plugin.parts.layers.layers import (
    layer_shape,
    show_phases,
    workspace_for,
)
from napari_lrcs.plugin.parts.workers import Events, Job, Work, start_job


def painting_of(layer: Layer | None) -> "Painting | None":
    """Return the painting of a layer; None for other layers, and for copies of it."""
    painting = None if layer is None else layer.metadata.get(PAINTING_KEY)
    # napari copies the metadata along with a layer. Not "is": it gives plugins proxies.
    is_own = isinstance(painting, Painting) and painting.layer == layer
    return painting if is_own else None


class Painting:
    """Phases, roles and field of view of a labels layer, saved in a folder.

    An `AutoSave` counts and saves what is painted. The folder is locked from the start.

    Parameters
    ----------
    layer : Labels
        Carries the painting from now on.
    folder : PaintingFolder
        Where everything is saved.
    image : Image
        The image that is painted on; it may be removed later.
    state : PaintingState
        What the folder holds.
    counts : mapping of int to ndarray of int64
        Painted voxels that the folder holds, by slice.

    Raises
    ------
    VolumeError
        If it is open elsewhere.
    OSError
        If its folder cannot be written to.
    """

    changed = Signal()
    """Roles, phases, counts or the field of view have changed."""

    touched = Signal(tuple)
    """Carries slices that may have changed, as soon as they have."""

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
        self._renumbering: Job | None = None
        self._lock: FileLock | None = folder.lock()
        self._autosave = AutoSave(layer, folder, state=state, counts=counts)
        self._masks = MaskKeeper(
            folder, state.mask, save=lambda mask: self._change(mask=mask)
        )
        self._slice_writer = SliceWriter(layer, state.axis)
        # Not `emit`, which psygnal would call to learn how many arguments it takes.
        self._autosave.changed.connect(self.changed)
        self._autosave.touched.connect(self.touched.emit)
        self._autosave.failed.connect(self.failed)
        self._masks.failed.connect(self.failed)
        layer.metadata[PAINTING_KEY] = self

    @property
    def state(self) -> PaintingState:
        """Everything but the labels, as it is saved."""
        return self._state

    @property
    def phases(self) -> PhaseTable:
        """Names and colours of the labels."""
        return self._state.phases

    @property
    def axis(self) -> Axis:
        """Axis that the slices lie across."""
        return self._state.axis

    @property
    def n_slices(self) -> int:
        """Number of slices across the axis."""
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

    def lock(self) -> None:
        """Lock the folder again after `unlock`; see `PaintingFolder.lock`."""
        if self._lock is None:
            self._lock = self.folder.lock()

    def unlock(self) -> None:
        """Let the painting be opened elsewhere: its layer is not shown any more."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def roles(self) -> Mapping[int, Role]:
        """Role of each slice that has one."""
        return self._state.roles

    def slices_with(self, role: Role) -> tuple[int, ...]:
        """List the slices of one role, ascending."""
        return tuple(sorted(i for i, found in self.roles.items() if found == role))

    def set_role(self, index: int, role: Role | None) -> None:
        """Give a slice a role, and save the painting.

        Raises
        ------
        ValueError
            If the slice does not exist.
        OSError, VolumeError
            If it cannot be saved.
        """
        state = self._state.with_role(index, role)
        self._change(roles=state.roles, propagated=state.propagated)

    def set_roles(self, roles: Mapping[int, Role]) -> None:
        """Give slices their roles, and no other slice one; else as `set_role`."""
        self._change(roles=dict(sorted(roles.items())))

    # ---- field of view ----

    @property
    def mask(self) -> Layer | str | None:
        """Field of view: a layer, "cylinder", a file, or None for everything."""
        return self._masks.mask

    @mask.setter
    def mask(self, mask: Layer | str | None) -> None:
        self._masks.set(mask, shape=self._state.image.shape)

    def mask_volume(self, shape: tuple[int, int, int]) -> Volume | None:
        """Return the field of view of a volume, as `MaskKeeper.volume` does."""
        return self._masks.volume(shape)

    # ---- phases ----

    def rename(self, phases: PhaseTable) -> None:
        """Give the phases other names and colours, or add some at the end.

        Raises as `set_role` does, and a ValueError also if there are fewer phases.
        """
        if (n_missing := len(self.phases) - len(phases)) > 0:
            raise ValueError(f"{n_missing} phases are missing; renumber the labels")
        self._change(phases=phases)
        show_phases(self.layer, phases)

    def renumber(self, mapping: Mapping[int, int], *, phases: PhaseTable) -> None:
        """Renumber the labels in a thread, then emit `changed` or `failed`.

        Nothing can be painted meanwhile. It is completed even if all docks are closed.
        The layer's undo history is emptied: it would bring back former numbers.

        Parameters
        ----------
        mapping : mapping of int to int
            New label by old one; 0 removes it. Labels that it leaves out stay.
        phases : PhaseTable
            What the new labels stand for.

        Raises
        ------
        OSError, VolumeError
            If what is painted cannot be saved before.
        """
        self.save()
        self.layer.editable = False
        self._renumbering = start_job(
            Work(
                "Renumbering the phases",
                lambda: _relabel(self.folder, self.layer.data, mapping, phases),
            ),
            connect={"yielded": self._on_relabelled, "errored": self._on_error},
        )

    @property
    def is_renumbering(self) -> bool:
        """Whether the labels are being renumbered."""
        return self._renumbering is not None

    def _on_relabelled(self, event: tuple[Any, Mapping[int, int], PhaseTable]) -> None:
        labels, mapping, phases = event
        self._renumbering = None
        self._state = replace(self._state, phases=phases)
        self._autosave.renumber(mapping, n_phases=len(phases))
        self.layer.data = labels
        show_phases(self.layer, phases)
        self.layer.editable = False  # empties the undo history
        self.layer.editable = True
        self.changed.emit()

    def _on_error(self, error: Exception) -> None:
        self._renumbering = None
        self.layer.editable = True
        self.failed.emit(f"The phases stay as they are: {error}")

    # ---- labels ----

    def painted(self) -> Counts:
        """Return the painted voxels of each phase in the slices that have any."""
        return self._autosave.counts

    def unpainted_phases(self) -> tuple[Phase, ...]:
        """Return the phases that are painted in no slice."""
        n_painted = sum(self.painted().values(), np.zeros(len(self.phases), np.int64))
        return tuple(p for p in self.phases if not n_painted[p.label - 1])

    def plane(self, index: int) -> LabelArray:
        """Return a copy of the labels of a slice, uint8, shape (rows, columns)."""
        return np.array(self._autosave.plane(index), np.uint8)

    def set_plane(self, index: int, plane: Plane) -> None:
        """Replace the labels of a slice, soon; see `SliceWriter.write`."""
        self._slice_writer.write({index: plane})

    def mark_changed(self, indices: Iterable[int]) -> None:
        """Count and save slices soon: they were changed by other means than strokes."""
        self._autosave.mark_changed(indices)

    def save(self) -> None:
        """Count and save now what has changed.

        Raises
        ------
        OSError, VolumeError
            If it cannot be saved.
        """
        self._slice_writer.finish()
        self._autosave.save()
        self._masks.save()

    def _change(self, **fields: Any) -> None:
        state = replace(self._state, **fields)
        self.folder.write(state)
        self._state = state
        self._autosave.renumber({}, n_phases=len(state.phases))
        self._slice_writer.finish()
        self._autosave.save(has_changed=True)


def _relabel(
    folder: PaintingFolder, labels: Any, mapping: Mapping[int, int], phases: PhaseTable
) -> Events:
    """Renumber the labels on disk, then those in memory, which a layer may have."""
    folder.labels.relabel(mapping, phases=phases)
    if isinstance(labels, np.ndarray):
        labels = relabelled(labels, mapping)
    else:
        labels = folder.labels.retrying_array
    yield labels, mapping, phases


def propagated_slices(painting: Painting) -> tuple[int, ...]:
    """List painted slices that a network has filled, and nobody has gone through yet.

    A slice is gone through once it is given a role, or none.
    """
    painted = painting.painted()
    return tuple(i for i in painting.state.propagated if i in painted)


def propagate_to(painting: Painting, planes: Mapping[int, Plane]) -> None:
    """Replace the labels of slices, soon, as one step of the undo history; mark them.

    Raises
    ------
    OSError, VolumeError
        If the marks cannot be saved.
    """
    marked = tuple(sorted({*painting.state.propagated, *planes}))
    painting._change(propagated=marked)
    painting._slice_writer.write(planes)


def rename_painting(painting: Painting, name: str) -> Path:
    """Give the folder of an open painting another name, and return where it is now.

    Raises
    ------
    ValueError, LrcsError, OSError
        As `rename_folder` does.
    """
    painting.save()
    former, labels = painting.folder, painting.layer
    painting.unlock()
    try:
        painting.folder = PaintingFolder(rename_folder(former.path, name))
    finally:
        painting.lock()
    painting._autosave.folder = painting.folder
    painting._masks.move_to(painting.folder)
    if painting._state.mask == str(former.mask):
        mask = str(painting.folder.mask)
        painting._state = replace(painting._state, mask=mask)
    if not isinstance(labels.data, np.ndarray):
        labels.data = painting.folder.labels.retrying_array
    return painting.folder.path
