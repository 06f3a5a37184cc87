"""Run the command line in forked processes: quick to start, limited, and observed.

The parent imports everything once and computes nothing, since the threads of NumPy,
PyTorch and Zarr do not survive a fork.
"""

import faulthandler
import gc
import json
import os
import re
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

# One thread each: tiny arrays gain nothing from more, and idle ones block a fork.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{_library}_NUM_THREADS"] = "1"
# What is printed must not depend on the terminal of whoever runs the tests.
for _name in ("FORCE_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
    os.environ.pop(_name, None)

GIB = 2**30
MEMORY_LIMIT = 4 * GIB
"""A process that has ever held more in memory has failed."""

TEMPORARY = re.compile(r"(^|/)\.[^/]*(part|old|lock|tmp)|\.partial(/|$)")
"""Names that must be gone when a command has succeeded."""

_REFUSED = 8 * GIB
"""What a process cannot get, lest it harms the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is known of a process that has ended."""

    pid: int
    code: int
    """Exit code; negative for the number of the signal that ended it."""
    out: bytes
    err: bytes
    seconds: float
    at: float
    """When it ended, by the monotonic clock."""
    peak: int
    """Most memory that it held, in bytes."""
    timed_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that was started."""

    pid: int
    streams: Path
    """Its standard output and error, with the suffixes ``.out`` and ``.err``."""
    started: float

    def wait(self, limit: float) -> Ended:
        """Wait for the end, and kill the process and its children at the limit."""
        ended = self._has_ended(max(0.0, self.started + limit - time.monotonic()))
        if not ended:
            os.kill(self.pid, signal.SIGUSR1)  # asks where it hangs
            self._has_ended(1.0)
            self.kill()
        _, status, usage = os.wait4(self.pid, 0)
        at = time.monotonic()
        return Ended(
            pid=self.pid,
            code=os.waitstatus_to_exitcode(status),
            out=self.streams.with_suffix(".out").read_bytes(),
            err=self.streams.with_suffix(".err").read_bytes(),
            seconds=at - self.started,
            at=at,
            peak=usage.ru_maxrss * 1024,
            timed_out=not ended,
        )

    def kill(self) -> None:
        """Send SIGKILL to the process and its children."""
        os.killpg(self.pid, signal.SIGKILL)

    def _has_ended(self, seconds: float) -> bool:
        descriptor = os.pidfd_open(self.pid)
        try:
            return bool(select.select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)


def wait_for_all(running: Sequence[Running], limit: float) -> list[Ended]:
    """Wait for several processes; returns them in the order in which they ended."""
    left = {os.pidfd_open(process.pid): process for process in running}
    ended = []
    stop = time.monotonic() + limit
    while left:
        ready, _, _ = select.select(left, [], [], max(0.0, stop - time.monotonic()))
        for descriptor in ready or list(left):
            os.close(descriptor)
            ended.append(left.pop(descriptor).wait(limit))
    return ended


def start_command(words: Sequence[str], *, folder: Path, streams: Path) -> Running:
    """Start a command line in a folder, as if it were a process of its own."""
    from napari_lrcs.__main__ import main

    return start(lambda: main(words), folder=folder, streams=streams)


def start(work: Callable[[], int], *, folder: Path, streams: Path) -> Running:
    """Fork a process whose exit code is what a function returns."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_child(work, folder, streams)
    os.setpgid(pid, pid)  # as the child does: whoever comes first
    return Running(pid=pid, streams=streams, started=time.monotonic())


def _be_child(work: Callable[[], int], folder: Path, streams: Path) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        _redirect(streams)
        _limit_memory()
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 as the interpreter does
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _redirect(streams: Path) -> None:
    for number, path in enumerate(
        (Path(os.devnull), streams.with_suffix(".out"), streams.with_suffix(".err"))
    ):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if number else os.O_RDONLY
        os.dup2(os.open(path, flags), number)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(
        2, "w", encoding="utf-8", errors="backslashreplace", buffering=1
    )
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)


def _limit_memory() -> None:
    n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = n_pages * resource.getpagesize() + _REFUSED
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def preload(work: Callable[[], int], *, folder: Path) -> None:
    """Do some work in a process, and import here what it imported there."""
    for name in ("torch", "zarr", "sklearn.ensemble", "matplotlib.pyplot"):
        import_module(name)  # here first, not twice
    names = folder / "modules.json"

    def listed() -> int:
        code = work()
        names.write_text(json.dumps(list(sys.modules)), encoding="utf-8")
        return code

    ended = start(listed, folder=folder, streams=folder / "preload").wait(600)
    if ended.code != 0:
        raise RuntimeError(f"the corpus was not built: {ended.err.decode()}")
    for name in json.loads(names.read_text(encoding="utf-8")):
        if name not in sys.modules:
            _import_if_possible(name)
    gc.freeze()  # what is never collected stays shared with the children


def _import_if_possible(name: str) -> None:
    try:
        import_module(name)
    except ImportError:  # made by its parent, not a file
        return
