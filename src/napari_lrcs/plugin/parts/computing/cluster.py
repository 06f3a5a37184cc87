"""Run a dock's work in other processes; all of this happens in its job's thread.

Other processes read the image from its file, and write their results to files.
"""

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.opening import open_to_share, split_dataset
from napari_lrcs.io.volume import Volume, sources_of
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.preprocessing.mask import open_mask
from napari_lrcs.progress import Notice

if TYPE_CHECKING:  # needs the extra cluster
    from napari_lrcs.distributed import ClusterExecutor

LOCAL = "local"
"""Address of the processes that are started on this computer."""

_POLL_SECONDS = 0.2
"""Seconds between events while a cluster is connected to."""

Begin: TypeAlias = "Callable[[Volume, Volume | None, ClusterExecutor], Events]"
"""Makes the events, given an image and a field of view that can be sent."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """A cluster is being connected to, or started."""

    address: str

    def __str__(self) -> str:
        """Tell it in the line of a progress bar."""
        if self.address == LOCAL:
            return "Starting one process per core…"
        return f"Connecting to {self.address}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Other processes, and the files from which they read what a dock shows.

    Parameters
    ----------
    address : str
        As `napari_lrcs.distributed.connect` takes it.
    image : str
        File of the image, as `open_to_share` takes it.
    mask : str, optional
        File of the layer that is the field of view.
    """

    address: str
    image: str
    mask: str | None = None

    def events(
        self, begin: Begin, *, image: Volume, mask: Volume | None, folder: Path
    ) -> Events:
        """Connect, and yield the events of what is begun there.

        Parameters
        ----------
        begin : callable
            Called once everything is checked.
        image, mask : Volume
            What the layers show.
        folder : Path
            Where results go.

        Yields
        ------
        Connecting
            Several times a second; then what `begin` yields.

        Raises
        ------
        LrcsError
            If there is no such cluster, or its workers cannot do the work.
        VolumeError
            If a layer is not what its file holds.
        """
        image = _read_from(self.image, image, open_to_share(self.image))
        if self.mask is not None and mask is not None:
            opened = open_mask(self.mask, shape=image.shape)
            assert opened is not None
            mask = _read_from(self.mask, mask, opened)
        with ExitStack() as stack:
            executor = yield from self._connected(stack)
            read = [split_dataset(self.image)[0], *sources_of(mask)]
            executor.check_files(read, folder=folder)
            if not executor.n_workers:
                text = f"no worker has joined {self.address} yet: waiting for one"
                yield Notice(kind="advice", text=text)
            yield from begin(image, mask, executor)

    def _connected(
        self, stack: ExitStack
    ) -> "Generator[Connecting, None, ClusterExecutor]":
        """Connect until the stack is closed, in a thread: that can take 20 seconds."""
        from napari_lrcs.distributed import connect

        connection = connect(self.address)
        thread = ThreadPoolExecutor(1, "connect")
        entering = thread.submit(connection.__enter__)
        thread.shutdown(wait=False)
        try:
            while not entering.done():
                yield Connecting(self.address)
                wait([entering], timeout=_POLL_SECONDS)
        except GeneratorExit:  # nobody waits any more
            entering.add_done_callback(lambda entered: _leave(connection, entered))
            raise
        executor = entering.result()
        stack.push(connection)
        return executor


def _leave(connection: AbstractContextManager[Any], entered: Future[Any]) -> None:
    if entered.exception() is None:
        connection.__exit__(None, None, None)


def _read_from(file: str, shown: Volume, opened: Volume) -> Volume:
    """Let a volume be read from its file, if that holds what the layer shows."""
    if shown.fingerprint() != opened.fingerprint():
        raise VolumeError(
            f"the layer of {shown.name} no longer shows what is in {file}, which other "
            "processes would read; save the layer and open the new file"
        )
    return replace(shown, array=opened.array)
