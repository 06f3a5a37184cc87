"""A Zarr array that is read in the thread that asks for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import zarr


class PromptArray(zarr.Array[Any]):
    """An array whose slices are read in the thread that asks for them.

    zarr lets one thread of its own read, and others open files and decompress. While a
    network trains on all cores, each of them has to wait for its turn, and with them
    the window that shows the slice: twice as long as reading takes. It is for arrays
    with one chunk per slice: several are better decompressed in parallel.

    Parameters
    ----------
    async_array : AsyncArray
        Of the array that it stands for.
    """

    __module__ = zarr.Array.__module__  # by which napari tells what a Zarr is

    def get_orthogonal_selection(self, *args: Any, **kwargs: Any) -> Any:
        """Read what integers and slices select, as `zarr.Array` does."""
        if _is_in_loop():
            return super().get_orthogonal_selection(*args, **kwargs)
        loop = asyncio.SelectorEventLoop()  # which leaves signals alone everywhere
        loop.set_default_executor(_Here())
        try:
            read = self.async_array.get_orthogonal_selection
            return loop.run_until_complete(read(*args, **kwargs))
        finally:
            loop.close()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Copy as the plain array, which has a name in the module that it tells."""
        return zarr.Array, (self.async_array,)


def _is_in_loop() -> bool:
    """Whether a loop runs in this thread already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Here(ThreadPoolExecutor):
    """Runs what it is given at once, in the thread that gives it."""

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
