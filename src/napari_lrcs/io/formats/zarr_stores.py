"""Zarrs on disk: one notices changes, one keeps in memory what cannot be written yet.

They are here and not in `watching`, because zarr is slow to import.
"""

import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.watching import METADATA, changed, last_change
from napari_lrcs.io.writing import replacing

_ARRAY = "zarr.json"
"""File of an array, or of the Zarr that it is in."""


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


class RetryingStore(WrapperStore[LocalStore]):
    """A Zarr on disk; chunks that cannot be written are kept until `flush` writes them.

    If the array is moved, removed or unmounted meanwhile, nothing is written in its
    former place, where nobody would look for it.

    A deep copy, which napari's "Duplicate layer" makes, is in memory, so that two
    layers never write to the same file.

    Parameters
    ----------
    store : LocalStore
        Store whose chunks are read and written whole.
    """

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self._kept: dict[str, Buffer | None] = {}  # None: delete the chunk

    @property
    def _root(self) -> Path:
        return self._store.root

    def flush(self) -> None:
        """Write the chunks that were kept.

        Raises
        ------
        OSError
            If one cannot be written; it is kept on.
        """
        if self._kept:
            self._check_there()
        for key, value in list(self._kept.items()):
            path = self._root / key
            if value is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary:
                    temporary.write_bytes(value.to_bytes())
            del self._kept[key]

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read a chunk, from memory if it was kept; None if it was never written.

        Raises
        ------
        VolumeError
            If the array is gone; all of it would be read as unpainted.
        """
        with suppress(KeyError):
            return self._kept[key]
        value = await super().get(key, prototype, byte_range)
        if value is None and Path(key).name not in METADATA:
            self._check_not_lost()
        return value

    async def set(self, key: str, value: Buffer) -> None:
        """Write a chunk, or keep it."""
        try:
            self._check_there()
            await super().set(key, value)
        except OSError:
            self._kept[key] = value
        else:
            self._kept.pop(key, None)

    async def delete(self, key: str) -> None:
        """Delete a chunk, or remember to."""
        try:
            self._check_there()
            await super().delete(key)
        except OSError:
            self._kept[key] = None
        else:
            self._kept.pop(key, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Store:
        """Copy everything into memory."""
        self._check_there()
        buffer = default_buffer_prototype().buffer
        files = (path for path in self._root.rglob("*") if path.is_file())
        content: dict[str, Buffer] = {
            path.relative_to(self._root).as_posix(): buffer.from_bytes(
                path.read_bytes()
            )
            for path in files
        }
        for key, value in self._kept.items():
            content.pop(key, None)
            if value is not None:
                content[key] = value
        return MemoryStore(content)

    def _check_there(self) -> None:
        """Raise an `OSError` if the array is not in its place."""
        (self._root / _ARRAY).stat()

    def _check_not_lost(self) -> None:
        try:
            self._check_there()
        except NotADirectoryError:  # a disk in disorder, which `flush` reports
            return
        except OSError as error:
            # In its Zarr, a renumbered array has replaced it just now.
            if not (self._root.parent / _ARRAY).is_file():
                raise VolumeError(
                    f"{self._root} is not there any more; put it back, or mount its "
                    "disk again"
                ) from error
