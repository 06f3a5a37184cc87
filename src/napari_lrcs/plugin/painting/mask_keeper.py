"""The field of view of a painting, kept although its layer may go."""

from collections.abc import Callable

from napari.layers import Layer
from psygnal import Signal

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.parts.layers.layers import volume_of
from napari_lrcs.plugin.parts.workers import Events, Job, Work, start_job
from napari_lrcs.preprocessing.mask import as_mask, open_mask


class MaskKeeper:
    """A field of view; if it is a layer, its mask is copied into the painting's folder.

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
    """The mask could not be copied; what follows from that."""

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
        if isinstance(mask, Layer):
            as_mask(volume_of(mask), shape=shape)
        self.mask = mask
        self._save(None if isinstance(mask, Layer) else mask)
        self._copy(shape)

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

    def _copy(self, shape: tuple[int, int, int]) -> None:
        mask = self.mask
        if self._job is None and isinstance(mask, Layer):
            inside = as_mask(volume_of(mask), shape=shape)
            self._job = start_job(
                Work("Saving the field of view", lambda: self._copying(mask, inside)),
                connect={"yielded": self._on_copied, "errored": self._on_error},
            )

    def _copying(self, mask: Layer, inside: Volume) -> Events:
        self._folder.write_mask(inside)
        yield mask, inside.shape

    def _on_copied(self, event: tuple[Layer, tuple[int, int, int]]) -> None:
        mask, shape = event
        self._job = None
        if mask is not self.mask:  # another one was chosen meanwhile
            self._copy(shape)
            return
        try:
            self._save(str(self._folder.mask))
        except (LrcsError, OSError) as error:
            self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        self._job = None
        self.failed.emit(f"The field of view must be chosen again next time: {error}")
