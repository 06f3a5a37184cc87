"""The field of view of a painting, kept although its layer may go."""

from collections.abc import Callable
from threading import Lock

from napari.layers import Layer
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.parts.connections import LayerChanges, Replaceable
from napari_lrcs.plugin.parts.layers.layers import volume_of
from napari_lrcs.plugin.parts.workers import Events, Job, Work, start_job
from napari_lrcs.preprocessing.mask import as_mask, open_mask

_SOON_MS = 1000
"""Time from a stroke in a mask layer to its being copied."""


class MaskKeeper:
    """A field of view; if it is a layer, its mask is copied into the painting's folder.

    The copy is made anew about a second after the layer is painted on.

    Parameters
    ----------
    folder : PaintingFolder
        Where the mask is copied to.
    mask : str or None
        Field of view at first, as `open_mask` takes it.
    save : callable
        Saves the field of view, as `open_mask` takes it, with the painting.
    """

    failed = Signal(str)
    """The mask could not be copied as it is now; what follows from that."""

    def __init__(
        self,
        folder: PaintingFolder,
        mask: str | None,
        *,
        save: Callable[[str | None], None],
    ) -> None:
        self._folder = folder
        self._save = save
        self._job: Job | None = None
        self._changes = Replaceable()
        self._is_stale = self._is_scheduled = False
        self._copied: Layer | None = None
        self._writing = Lock()
        self.mask: Layer | str | None = mask
        """A layer, "cylinder", a file, or None for everything."""

    def set(self, mask: Layer | str | None, *, shape: tuple[int, int, int]) -> None:
        """Replace the field of view, save it, and copy that of a layer in a thread.

        Raises
        ------
        VolumeError
            If a layer is not a volume of this shape.
        OSError
            If the painting cannot be saved.
        """
        changes = None
        if isinstance(mask, Layer):
            as_mask(volume_of(mask), shape=shape)
            changes = LayerChanges(mask, self._on_change)
        self.mask, self._shape, self._copied = mask, shape, None
        self._is_stale = changes is not None
        self._changes.replace(changes)
        self._save(None if isinstance(mask, Layer) else mask)
        self._copy()

    def save(self) -> None:
        """Copy a mask layer now, unless that is done; wait for a copy in progress.

        Raises
        ------
        VolumeError
            If the layer has another shape now.
        OSError
            If it cannot be saved.
        """
        mask = self.mask
        if isinstance(mask, Layer) and (self._is_stale or self._job is not None):
            self._is_stale = True  # until it is saved
            self._write(mask, as_mask(volume_of(mask), shape=self._shape))
            self._save(str(self._folder.mask))
            self._is_stale = False

    def volume(self, shape: tuple[int, int, int]) -> Volume | None:
        """Return the field of view of a volume; None for everything.

        Raises
        ------
        VolumeError
            If the mask is of another shape, or its file is missing.
        """
        if isinstance(self.mask, Layer):
            return as_mask(volume_of(self.mask), shape=shape)
        return open_mask(self.mask, shape=shape)

    def move_to(self, folder: PaintingFolder) -> None:
        """Follow the painting to another folder."""
        if self.mask == str(self._folder.mask):
            self.mask = str(folder.mask)
        self._folder = folder

    def _on_change(self) -> None:
        self._is_stale = True
        if not self._is_scheduled:
            self._is_scheduled = True
            QTimer.singleShot(_SOON_MS, self._copy)

    def _copy(self) -> None:
        self._is_scheduled = False
        mask = self.mask
        if self._job is not None or not self._is_stale or not isinstance(mask, Layer):
            return
        try:
            inside = as_mask(volume_of(mask), shape=self._shape)
        except (LrcsError, ValueError) as error:
            self._on_error(error)
            return
        self._is_stale = False
        self._job = start_job(
            Work("Saving the field of view", lambda: self._copying(mask, inside)),
            connect={"yielded": self._on_copied, "errored": self._on_error},
        )

    def _copying(self, mask: Layer, inside: Volume) -> Events:
        self._write(mask, inside)
        yield mask

    def _write(self, mask: Layer, inside: Volume) -> None:
        with self._writing:
            if mask is self._copied:
                self._folder.update_mask(inside)
            else:
                self._folder.write_mask(inside)
                self._copied = mask

    def _on_copied(self, mask: Layer) -> None:
        self._job = None
        if mask is not self.mask:  # another one was chosen meanwhile
            self._copy()
            return
        try:
            self._save(str(self._folder.mask))
        except (LrcsError, OSError) as error:
            self._on_error(error)
            return
        if self._is_stale:
            self._on_change()

    def _on_error(self, error: Exception) -> None:
        self._job, self._is_stale = None, True
        self.failed.emit(
            "The field of view is not saved as it is now, so choose it again next "
            f"time: {error}"
        )
