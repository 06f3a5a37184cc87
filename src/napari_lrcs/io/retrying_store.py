"""A Zarr on disk that keeps in memory what the disk does not take."""

from pathlib import Path
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from napari_lrcs.io.writing import replacing


class KeptStore(WrapperStore[LocalStore]):
    """A folder; chunks that cannot be written are kept, and written by `flush`.

    A deep copy, which is what napari's "Duplicate layer" makes, lies in memory: two
    layers never write into one file.

    Parameters
    ----------
    store : LocalStore
        Of chunks that are read and written whole.
    """

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self._kept: dict[str, Buffer | None] = {}  # None is to be deleted

    @property
    def _root(self) -> Path:
        return self._store.root

    def flush(self) -> None:
        """Write what is kept.

        Raises
        ------
        OSError
            If it cannot be written; it stays kept.
        """
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
        """Read a chunk; the kept one comes first."""
        if key in self._kept:
            return self._kept[key]
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a chunk, or keep it."""
        try:
            await super().set(key, value)
        except OSError:
            self._kept[key] = value
        else:
            self._kept.pop(key, None)

    async def delete(self, key: str) -> None:
        """Delete a chunk, or keep in mind to do so."""
        try:
            await super().delete(key)
        except OSError:
            self._kept[key] = None
        else:
            self._kept.pop(key, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Store:
        """Return all of it in memory."""
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
