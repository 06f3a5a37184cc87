import os
import sys
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from distributed import LocalCluster
from distributed.scheduler import KilledWorker

from clusters import in_threads
from napari_lrcs import __version__, distributed
from napari_lrcs.distributed import ClusterExecutor, connect
from napari_lrcs.errors import ClusterError, LrcsError


@pytest.fixture(scope="module")
def scheduler() -> Iterator[LocalCluster]:
    with in_threads(1) as cluster:
        yield cluster


@pytest.fixture
def executor(scheduler: LocalCluster) -> Iterator[ClusterExecutor]:
    with connect(scheduler.scheduler_address) as executor:
        yield executor


def fail() -> None:
    raise OSError(28, "No space left on device", "out.zarr")


# ---- it is an executor ----


def test_functions_run_on_the_workers(executor: ClusterExecutor) -> None:
    futures = [executor.submit(divmod, n, 3) for n in range(5)]
    wait(futures)

    assert executor.n_workers == 1
    assert [future.result() for future in futures] == [divmod(n, 3) for n in range(5)]
    assert executor.submit(sorted, [1, 2], reverse=True).result() == [2, 1]


def test_errors_come_back_as_they_are(executor: ClusterExecutor) -> None:
    with pytest.raises(OSError, match="No space left") as raised:
        executor.submit(fail).result()

    assert (raised.value.errno, raised.value.filename) == (28, "out.zarr")


def test_the_file_of_a_scheduler_stands_for_it(
    scheduler: LocalCluster, tmp_path: Path
) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(f'{{"address": "{scheduler.scheduler_address}", "id": "x"}}')

    with connect(str(file)) as executor:
        assert executor.submit(os.getpid).result() == os.getpid()


def test_local_workers_neither_run_our_script_nor_change_our_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"open({str(tmp_path / 'run-again')!r}, 'w')")
    main, before = sys.modules["__main__"], dict(os.environ)
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.setattr(main, "__file__", str(script), raising=False)

    with connect("local", n_workers=1) as executor:
        worker = executor.submit(os.getpid).result()

    assert worker != os.getpid()
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]
    assert (main.__spec__, dict(os.environ)) == (None, before)
    assert not psutil.pid_exists(worker)


def test_work_that_kills_its_workers_is_told_in_a_sentence() -> None:
    error = distributed._in_our_words(KilledWorker("run", cast(Any, None), 3))

    assert isinstance(error, LrcsError)
    assert "workers have died on the same work 4 times" in str(error)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("address", "reason"),
    [("tcp://127.0.0.1:9", "TimeoutError"), ("head", "missing port number")],
)
def test_no_scheduler_is_one_line(
    address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "_ANSWER_SECONDS", 0.2)

    with (
        pytest.raises(ClusterError, match=f"answers at {address} .{reason}"),
        connect(address),
    ):
        pass


def test_the_address_of_a_worker_is_refused(scheduler: LocalCluster) -> None:
    address = scheduler.workers[0].address

    with pytest.raises(ClusterError, match=f"{address} is a worker"), connect(address):
        pass


def test_another_version_is_refused(
    executor: ClusterExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = f"has napari-lrcs 0.1, and this process {__version__}"
    monkeypatch.setattr(executor, "_on_workers", lambda *_: {"tcp://one:1": "0.1"})
    with pytest.raises(LrcsError, match=rf"tcp://one:1 {both}"):
        executor.check_workers()

    with pytest.raises(LrcsError, match=f"{__version__}, and this process 0.1"):
        distributed._run("0.1", sum, [[1, 2]], {})


def test_workers_keep_freed_memory(
    executor: ClusterExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(distributed, "keep_freed_memory", lambda: calls.append(None))

    assert executor.submit(sum, [1, 2]).result() == 3

    assert len(calls) == 1


def test_worker_of_several_threads_is_refused() -> None:
    with (
        in_threads(2) as cluster,
        pytest.raises(LrcsError, match=r"runs 2 tasks at once.*--nthreads 1"),
        connect(cluster.scheduler_address),
    ):
        pass


@pytest.mark.parametrize("is_image", [True, False])
def test_files_that_a_worker_does_not_see_are_refused(
    is_image: bool,
    executor: ClusterExecutor,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    image = tmp_path / "image.tif"
    image.write_bytes(b"12345")
    executor.check_files([image, tmp_path], folder=tmp_path)

    def elsewhere(path: Path) -> int:
        return 7 if (path == image) == is_image else 5 * (path == image)

    there: Any = distributed._size
    monkeypatch.setattr(distributed, "_size", elsewhere)
    monkeypatch.setattr(
        distributed,
        "_find_missing",
        lambda sizes: [path for path, size in sizes.items() if there(path) != size],
    )

    name = "image.tif" if is_image else tmp_path.name
    with pytest.raises(LrcsError, match=rf"does not see \S*{name} as it is here"):
        executor.check_files([image], folder=tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["image.tif"]


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "napari_lrcs.distributed")

    with pytest.raises(LrcsError, match=r'pip install "napari-lrcs\[cluster\]"'):
        __import__("napari_lrcs.distributed")
