"""A Zarr on disk that notices changes; a separate module, as zarr is slow to import."""

import stat
import time
from pathlib import Path

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest
from zarr.storage import LocalStore, WrapperStore

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.watching import METADATA, changed, last_change


class WatchedStore(WrapperStore[LocalStore]):
    """A Zarr on disk that refuses to read what has changed since it was opened.

    A missing chunk stands for the fill value, so without this check a chunk that was
    removed would be read as zeros.

    Parameters
    ----------
    store : LocalStore
        Store to read from.
    opened : int
        Time of opening, from `moment_of_opening`.
    """

    def __init__(self, store: LocalStore, opened: int) -> None:
        super().__init__(store)
        self._opened = opened

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a chunk or metadata, None if absent.

        Raises
        ------
        VolumeError
            If it is not a regular file, or has been changed or removed.
        """
        path = self._store.root / key
        self._check_regular(path)
        value = await super().get(key, prototype, byte_range)
        if path.name not in METADATA:
            self._check_as_opened(path, is_absent=value is None)
        return value

    def _with_store(self, store: LocalStore) -> "WatchedStore":
        return type(self)(store, self._opened)

    def _check_regular(self, path: Path) -> None:
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if not stat.S_ISREG(mode):
            raise VolumeError(
                f"{path.relative_to(self._store.root.parent)} is not a regular file; "
                "expected a chunk of a Zarr array: copy or write the Zarr again"
            )

    def _check_as_opened(self, path: Path, *, is_absent: bool) -> None:
        try:
            if not is_absent:
                modified = path.stat().st_mtime_ns
            else:
                modified = last_change(self._nearest_folder(path).stat())
        except OSError as error:
            raise changed(self._store.root) from error
        # A time in the future comes from a wrong clock, not from a recent change.
        if self._opened < modified <= time.time_ns():
            raise changed(self._store.root)

    def _nearest_folder(self, path: Path) -> Path:
        """Find the folder of a chunk or, if it is missing, its nearest parent."""
        root = self._store.root
        below = (folder for folder in path.parents if folder.is_relative_to(root))
        return next((folder for folder in below if folder.is_dir()), root)
