"""A Zarr on disk that keeps in memory what cannot be written, to try again later."""

from pathlib import Path
from typing import Any

from zarr.abc.buffer import Buffer, BufferPrototype
from zarr.abc.store import ByteRequest, Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from napari_lrcs.io.writing import replacing


class KeptStore(WrapperStore[LocalStore]):
    """A Zarr on disk; chunks that cannot be written are kept until `flush` writes them.

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
        """Read a chunk, from memory if it was kept."""
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
        """Delete a chunk, or remember to."""
        try:
            await super().delete(key)
        except OSError:
            self._kept[key] = None
        else:
            self._kept.pop(key, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> Store:
        """Copy everything into memory."""
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
