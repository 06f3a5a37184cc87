"""Run scripts in processes of their own, which start with PyTorch and Zarr loaded.

Where the system can fork, a server that has imported them and computed nothing makes
the processes: importing them anew would take each process seconds.
"""

import os
import signal
import sys
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Self, TextIO, cast

PRELOADED = [
    "napari_lrcs.annotation.painting.folder",
    "napari_lrcs.__main__",
    "napari_lrcs.inference.predict",
    "napari_lrcs.search.search",
    "napari_lrcs.training.loop",
    "napari_lrcs.uncertainty.study.ensemble",
    "torch._dynamo",  # which the first step of a training loads
]


def quick_context() -> BaseContext:
    """Give the way to start processes that have loaded most where they start."""
    can_fork = "forkserver" in get_all_start_methods()
    context = get_context("forkserver" if can_fork else "spawn")
    context.set_forkserver_preload(PRELOADED)
    return context


class Script:
    """A script that runs; it is killed where the ``with`` block ends.

    Parameters
    ----------
    code : str
        Source of the script.
    *arguments : object
        What ``sys.argv`` holds from 1 on, as text.
    """

    def __init__(self, code: str, *arguments: object) -> None:
        context = quick_context()
        pipes = [context.Pipe(duplex=False) for _ in range(2)]
        words = [str(argument) for argument in arguments]
        writing = [end for _, end in pipes]
        self._process = context.Process(  # type: ignore[attr-defined]
            target=_run, args=(code, words, *writing)
        )
        self._process.start()
        for end in writing:
            end.close()
        self.stdout, self.stderr = (_open(end, "r") for end, _ in pipes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill it, and show what it has said of errors."""
        self.kill()
        self.wait()
        sys.stderr.write(self.stderr.read())  # for whoever looks for a reason
        self.stdout.close()
        self.stderr.close()

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        os.kill(self._process.pid, signal.SIGINT)

    def kill(self) -> None:
        self._process.kill()

    def wait(self, seconds: float | None = None) -> int | None:
        """Wait for the end; returns the exit code, negative for a signal."""
        self._process.join(seconds)
        code: int | None = self._process.exitcode
        return code

    @property
    def is_running(self) -> bool:
        return bool(self._process.is_alive())


def _open(end: Connection, mode: str) -> TextIO:
    """Open what a connection reads from or writes to as text."""
    with end:
        file = os.fdopen(os.dup(end.fileno()), mode, buffering=1, encoding="utf-8")
    return cast(TextIO, file)


def _run(code: str, words: list[str], output: Connection, errors: Connection) -> None:
    for number, end in ((1, output), (2, errors)):
        os.dup2(end.fileno(), number)
    sys.stdout, sys.stderr = _open(output, "w"), _open(errors, "w")
    sys.argv = ["-c", *words]
    exec(compile(code, "<script>", "exec"), {"__name__": "__main__"})
