"""Compute in other processes, on this or other computers, by dask.distributed."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, ParamSpec, TypedDict, TypeVar

from napari_lrcs import __version__
from napari_lrcs.errors import ClusterError, LrcsError, one_line
from napari_lrcs.heap import keep_freed_memory
from napari_lrcs.io.records import read_json

try:
    from distributed import Client, LocalCluster
    from distributed import Future as RemoteFuture
    from distributed.core import rpc
    from distributed.scheduler import KilledWorker
except ModuleNotFoundError as error:
    raise LrcsError(
        f"a cluster needs dask.distributed ({error}); install it: "
        'pip install "napari-lrcs[cluster]"'
    ) from error

LOCAL = "local"
"""The cluster that is started on this computer, and ends with its user."""

_LOGGERS = ("distributed", "distributed.client", "tornado", "tornado.application")
"""Those that dask.distributed configures."""

_IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""Run by local workers: whoever started them ends them."""

_ANSWER_SECONDS = 20
"""Seconds for a scheduler to answer."""

T = TypeVar("T")
P = ParamSpec("P")


class _SchedulerFile(TypedDict):
    """What is read of what ``dask scheduler --scheduler-file`` writes."""

    address: str


@contextmanager
def connect(
    address: str, *, n_workers: int | None = None
) -> Iterator["ClusterExecutor"]:
    """Connect to a cluster.

    Parameters
    ----------
    address : str
        "local", which starts processes of one thread each on this computer; the
        address of a scheduler, such as ``tcp://host:8786``; or its file.
    n_workers : int, optional
        Processes on this computer; by default one per core.

    Yields
    ------
    ClusterExecutor
        It, and what runs on this computer, ends with the block.

    Raises
    ------
    ClusterError
        If no scheduler answers.
    LrcsError
        If a worker runs several tasks at once, or another version of the package.
    """
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        client = stack.enter_context(_client(address, n_workers))
        executor = ClusterExecutor(client, address)
        executor.check_workers()
        yield executor


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave it to our own errors to tell what has happened."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _client(address: str, n_workers: int | None) -> Iterator[Client]:
    with ExitStack() as stack:
        scheduler: str | LocalCluster
        if address == LOCAL:
            with _untouched():
                scheduler = stack.enter_context(_local(n_workers))
        else:
            scheduler = _scheduler_at(address)
        client = Client(scheduler, timeout=_ANSWER_SECONDS, set_as_default=False)
        yield stack.enter_context(client)


@contextmanager
def _untouched() -> Iterator[None]:
    """Keep local workers from running our script, and dask from changing `os.environ`.

    `multiprocessing` runs the file that a process was started with in each new process,
    unless that is the ``__main__`` of a package: a script that opens napari would open
    it once per worker. dask sets variables here that are meant for the workers.
    """
    main = sys.modules["__main__"]
    spec, before = main.__spec__, dict(os.environ)
    main.__spec__ = ModuleSpec("napari_lrcs.__main__", None)
    try:
        yield
    finally:
        main.__spec__ = spec
        for name in {*os.environ} - {*before}:
            del os.environ[name]
        os.environ.update(before)


def _local(n_workers: int | None) -> LocalCluster:
    return LocalCluster(
        n_workers=n_workers or os.cpu_count(),
        threads_per_worker=1,
        processes=True,
        memory_limit=0,  # predictions keep within their own
        dashboard_address="127.0.0.1:0",  # any free port, as None would not do
        scheduler_kwargs={"dashboard": False},
        silence_logs=logging.CRITICAL,
        preload=[_IGNORE_CTRL_C],
    )


def _scheduler_at(address: str) -> str:
    """Return the address of a scheduler that answers, which may be in a file."""
    try:
        if "://" not in address and Path(address).is_file():
            address = read_json(Path(address), _SchedulerFile)["address"]
        found = asyncio.run(asyncio.wait_for(_ask(address), _ANSWER_SECONDS))
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no scheduler answers at {address} ({one_line(error)}); check the "
            "address, or start one with: dask scheduler"
        ) from error
    if found != "Scheduler":
        raise ClusterError(
            f"{address} is a {found.lower()}; give the address of the scheduler"
        )
    return address


async def _ask(address: str) -> str:
    """Ask what is at an address; `Client` would wait for long after no answer."""
    async with rpc(address) as remote:
        return str((await remote.identity())["type"])


class ClusterExecutor(Executor):
    """Runs functions on the workers of a cluster.

    A function whose worker dies is run again by another one, so it must go on from
    what is on disk.

    Parameters
    ----------
    client : distributed.Client
    address : str
        Of the scheduler, for messages.
    """

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self._address = address

    @property
    def n_workers(self) -> int:
        """How many workers there are now.

        Raises
        ------
        ClusterError
            If the scheduler is lost.
        """
        try:
            return len(self._client.nthreads(callback_timeout=_ANSWER_SECONDS))
        except (OSError, CancelledError) as error:
            raise self._lost() from error

    def submit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Run a function on a worker; see `concurrent.futures.Executor.submit`.

        The future raises `ClusterError` once the scheduler is lost.
        """
        future: Future[T] = Future()
        remote = self._client.submit(_run, __version__, fn, args, kwargs, pure=False)
        loop = self._client.loop
        assert loop is not None  # of a client that runs in a thread of its own
        loop.add_callback(self._pass_on, remote, future)
        future.add_done_callback(lambda own: own.cancelled() and remote.cancel())
        return future

    async def _pass_on(self, remote: RemoteFuture[Any], future: Future[Any]) -> None:
        """Wait for the outcome, and tell it in our own words."""
        result: Any = None
        error: BaseException | None
        try:
            error = await remote.exception()
            if error is None:
                result = await remote
        except CancelledError:
            error = self._lost()
        if not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(_in_our_words(error))

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"the scheduler at {self._address} does not answer any more"
        )

    # ---- checks ----

    def check_workers(self) -> None:
        """Refuse workers that cannot compute what this process asks for.

        Raises
        ------
        LrcsError
            If they run several tasks at once, or another version of the package.
        """
        several = {w: n for w, n in self._client.nthreads().items() if n > 1}
        for worker, n in several.items():
            raise LrcsError(
                f"the worker {worker} runs {n} tasks at once, which would share one "
                "process; start workers with --nthreads 1, as many as there are cores "
                "or GPUs"
            )
        for worker, version in self._on_workers(_version).items():
            _check_version(version, here=__version__, worker=worker)

    def check_files(self, read: Sequence[Path], *, folder: Path | None = None) -> None:
        """Refuse workers that do not see the same files.

        Parameters
        ----------
        read : sequence of Path
            Files and folders to read.
        folder : Path, optional
            Where workers write results; a hidden file is written there for a moment.

        Raises
        ------
        LrcsError
            If one is missing on a worker, is of another size, or cannot be written to.
        """
        with _sign_in(folder) as signs:
            sizes = {path.absolute(): _size(path) for path in (*signs, *read)}
            found = self._on_workers(_find_missing, sizes)
        for worker, missing in found.items():
            for path in missing[:1]:
                place = path.parent if path in signs else path
                raise LrcsError(
                    f"the worker {worker} does not see {place} as it is here; files "
                    "to read and to write must be on a disk that all workers share, "
                    "under the same names"
                )

    def _on_workers(self, function: Callable[..., T], *args: Any) -> dict[str, T]:
        try:
            found: dict[str, T] = self._client.run(function, *args)
        except ImportError as error:
            raise LrcsError(
                f"a worker cannot run napari-lrcs ({one_line(error)}); install "
                f"version {__version__} there"
            ) from error
        except (OSError, CancelledError) as error:
            raise self._lost() from error
        return found


@contextmanager
def _sign_in(folder: Path | None) -> Iterator[list[Path]]:
    """Put a temporary file into a folder, for workers to find there."""
    if folder is None:
        yield []
        return
    with NamedTemporaryFile(dir=folder, prefix=".napari-lrcs-") as sign:
        yield [Path(sign.name).absolute()]


def _in_our_words(error: BaseException) -> BaseException:
    if not isinstance(error, KilledWorker):
        return error
    n = error.allowed_failures + 1
    return LrcsError(
        f"workers have died on the same work {n} times; check that they have enough "
        "memory"
    )


# ---- on the workers ----


def _run(
    version: str, function: Callable[..., T], args: Sequence[Any], named: dict[str, Any]
) -> T:
    """Run a function on a worker, which may have come after the others were checked."""
    _check_version(__version__, here=version, worker=f"on {socket.gethostname()}")
    keep_freed_memory()
    return function(*args, **named)


def _version() -> str:
    return __version__


def _check_version(version: str, *, here: str, worker: str) -> None:
    if version != here:
        raise LrcsError(
            f"the worker {worker} has napari-lrcs {version}, and this process {here}; "
            "install the same version everywhere"
        )


def _find_missing(sizes: dict[Path, int]) -> list[Path]:
    """List the files that are not here, or are others."""
    return [path for path, size in sizes.items() if _size(path) != size]


def _size(path: Path) -> int:
    """Return the size of a file, 0 for a folder, and -1 where there is neither."""
    if path.is_dir():
        return 0
    return path.stat().st_size if path.exists() else -1
