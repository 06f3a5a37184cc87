"""A scheduler and workers of dask in processes of their own, which tests may kill."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
from distributed import LocalCluster

from scripts import Script, quick_context

SCHEDULER = """
import asyncio
import logging

from distributed import Scheduler

logging.getLogger("distributed").setLevel(logging.CRITICAL)


async def main():
    there = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    async with Scheduler(dashboard=False, **there) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()


asyncio.run(main())
"""

# A worker notes each slab that it has finished. It waits after that, after each part
# that it has measured, and before it notes the end of a trial, so that there is always
# one to be killed.
WORKER = """
import asyncio
import logging
import os
import sys
import time
from pathlib import Path

import torch
from distributed import Worker

from napari_lrcs.comparison import adding
from napari_lrcs.inference.results.partial import PartialFolder
from napari_lrcs.search.folder import SearchFolder

logging.getLogger("distributed").setLevel(logging.CRITICAL)
torch.set_num_threads(1)
note, write = PartialFolder.note_done, SearchFolder.write_result
measure = adding._measure_there


def note_done(self, slab, *, writer=""):
    note(self, slab, writer=writer)
    with (Path(sys.argv[2]) / f"log-{os.getpid()}").open("a") as file:
        print(slab.start, self.path, file=file, flush=True)
    time.sleep(float(sys.argv[3]))


def write_result(self, result):
    time.sleep(float(sys.argv[3]))
    write(self, result)


def measure_there(*given):
    found = measure(*given)
    time.sleep(float(sys.argv[3]))
    return found


adding._measure_there = measure_there
PartialFolder.note_done = note_done
SearchFolder.write_result = write_result


async def main():
    async with Worker(sys.argv[1], nthreads=1, local_directory=sys.argv[2]) as worker:
        print(worker.address, flush=True)
        await worker.finished()


asyncio.run(main())
"""


class Cluster:
    """A scheduler and two workers.

    Parameters
    ----------
    folder : Path
        For the notes of the workers.
    pause : float
        Seconds that a worker waits after each slab or part, and at the end of a trial.
    """

    def __init__(self, folder: Path, *, pause: float = 0.25) -> None:
        self._folder, self._pause = folder, pause
        self.address = ""
        self.scheduler: Script | None = None
        self.workers: list[Script] = []

    def start(self) -> str:
        """Start what does not run; returns the address."""
        if self.scheduler is None or not self.scheduler.is_running:
            self.stop()
            self.scheduler = Script(SCHEDULER)
            self.address = self.scheduler.stdout.readline().strip()
        for worker in [*self.workers]:
            if not worker.is_running:
                worker.close()
                self.workers.remove(worker)
        new = [
            Script(WORKER, self.address, self._folder, self._pause)
            for _ in range(2 - len(self.workers))
        ]
        for worker in new:
            assert worker.stdout.readline().startswith("tcp://")
        self.workers += new
        return self.address

    def stop(self) -> None:
        for script in (*self.workers, self.scheduler):
            if script is not None:
                script.close()
        self.workers, self.scheduler = [], None

    def finished(self, out: Path) -> list[int]:
        """List the starts of the slabs that were written for a result, in order."""
        lines = [
            line.split(maxsplit=1)
            for log in self._folder.glob("log-*")
            for line in log.read_text().splitlines()
        ]
        place = f"{out}.partial"
        return sorted(int(start) for start, path in lines if path == place)


def in_threads(n_threads: int = 1) -> LocalCluster:
    """Start a scheduler and a worker as threads of this process."""
    return LocalCluster(
        n_workers=1,
        threads_per_worker=n_threads,
        processes=False,
        protocol="tcp",
        dashboard_address="127.0.0.1:0",
    )


@contextmanager
def quick_local() -> Iterator[None]:
    """Let the workers of a local cluster start with PyTorch loaded, as scripts do."""
    method = quick_context().get_start_method()
    Script("").close()  # starts the server that has loaded it
    with dask.config.set({"distributed.worker.multiprocessing-method": method}):
        yield
