import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from napari_lrcs.io.prompt_array import PromptArray

PLANES = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)


class Told(WrapperStore[Any]):
    """Notes which threads read from it."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.threads: set[int] = set()

    async def get(self, *args: Any, **kwargs: Any) -> Any:
        self.threads.add(threading.get_ident())
        return await super().get(*args, **kwargs)


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Told:
    is_in_memory = request.param == "memory"
    return Told(MemoryStore() if is_in_memory else LocalStore(tmp_path / "array"))


@pytest.fixture
def array(store: Told) -> PromptArray:
    """Three compressed slices."""
    made = zarr.create_array(store, shape=(3, 4, 5), chunks=(1, 4, 5), dtype=np.uint8)
    made[:] = PLANES
    store.threads.clear()
    return PromptArray(made.async_array)


@pytest.mark.parametrize(
    "selection",
    [
        1,
        -1,
        (2, slice(None), slice(1, 3)),
        slice(0, 2),
        (slice(None), 3),
        ...,
        (1, 2, 3),
    ],
)
def test_it_reads_what_numpy_reads(array: PromptArray, selection: Any) -> None:
    np.testing.assert_array_equal(array[selection], PLANES[selection])


def test_it_reads_in_the_thread_that_asks(array: PromptArray, store: Told) -> None:
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(threading.get_ident).result()
        pool.submit(lambda: array[1]).result()
        assert store.threads == {reader}
    store.threads.clear()

    array[2]

    assert store.threads == {threading.get_ident()}


def test_no_thread_is_begun_for_it(
    array: PromptArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither to open a file nor to decompress it."""
    begun: list[threading.Thread] = []
    start = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)

    np.testing.assert_array_equal(array[1], PLANES[1])

    assert begun == []


def test_it_reads_where_a_loop_runs_already(array: PromptArray) -> None:
    """As in a notebook."""

    async def read() -> Any:
        return array[1]

    np.testing.assert_array_equal(asyncio.run(read()), PLANES[1])


def test_what_is_written_is_read(array: PromptArray) -> None:
    array[1] = 7
    array[np.array([2, 2]), np.array([0, 3]), np.array([1, 4])] = 9

    assert np.all(array[1] == 7)
    assert array[2, 0, 1] == array[2, 3, 4] == 9
    np.testing.assert_array_equal(array[0], PLANES[0])


def test_an_error_of_the_store_is_raised(
    array: PromptArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise OSError("no such disk")

    monkeypatch.setattr(Told, "get", broken)

    with pytest.raises(OSError, match="no such disk"):
        array[1]


def test_it_leaves_the_loop_of_the_thread_alone(array: PromptArray) -> None:
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)
    try:
        array[1]
        assert asyncio.get_event_loop() is own
    finally:
        asyncio.set_event_loop(None)
        own.close()


def test_a_copy_is_its_own(array: PromptArray) -> None:
    for twin in (copy.deepcopy(array), pickle.loads(pickle.dumps(array))):
        assert isinstance(twin, zarr.Array)
        np.testing.assert_array_equal(twin[1], PLANES[1])


def test_libraries_take_it_for_a_zarr(array: PromptArray) -> None:
    """napari goes by the name of the module, dask by the class."""
    assert array.__module__.startswith("zarr")
    lazy: da.Array = da.from_zarr(array)  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(lazy[:, 2].compute(), PLANES[:, 2])
