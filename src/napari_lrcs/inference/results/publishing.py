"""From a prediction's folder to its places, in a way that can be cut off anywhere.

- Outputs are made ready inside the folder, each by a rename once it is whole; what is
  moved as it was computed gets its levels there, announced by a rename.
- When all are, this is noted, with the places. From then on an output that is no longer
  ready has been moved, since one rename takes it from the folder.
- The labels go last: until then other specks can be removed from the raw ones.
- When all are in place, one rename ends the folder.
"""

import errno
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np

from napari_lrcs.arrays import Labels
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.results.cleaning import COPY_SLICES, cleaned_slabs
from napari_lrcs.inference.results.outputs import LABELS, Output
from napari_lrcs.inference.results.partial import PartialFolder
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import add_levels, has_levels, written_chunks
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.paths import former_of
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import (
    put_in_place,
    remove,
    replacing,
    uninterrupted,
    written_beside,
)

_FINEST = 0.8
"""Share of the work on a Zarr with levels that the finest one takes, about."""


@dataclass(slots=True, kw_only=True)
class Publication:
    """The complete outputs of a prediction, on the way to their places.

    Parameters
    ----------
    folder : PartialFolder
        Where they are computed.
    paths : mapping of Output to Path
        Their places, the labels first.
    geometry : Geometry
        Of the volume.
    min_size : int
        The labels go without specks of fewer voxels.
    """

    folder: PartialFolder
    paths: Mapping[Output, Path]
    geometry: Geometry
    min_size: int
    is_complete: bool = field(init=False, default=False)
    """Whether all outputs have reached their places."""

    def run(self) -> Iterator[float]:
        """Put the outputs in their places and remove the folder.

        Yields
        ------
        float
            Share of the voxels that are made ready, 0 to 1.
        """
        waiting = [
            output
            for output in self.paths
            if not (self._is_ready(output) or self.is_in_place(output))
        ]
        for i, output in enumerate(waiting):
            for share in self._make_ready(output):
                yield (i + share) / len(waiting)
        self.folder.write_places(
            {output.name: self._place(output) for output in self.paths}
        )
        with uninterrupted():
            for output in reversed(list(self.paths)):
                if not self.is_in_place(output):
                    _move(self._ready(output), self.paths[output])
            self._end()

    def _end(self) -> None:
        # Large ones first, so that what names the prediction is there to the last.
        for output in self.folder.path.glob("*.zarr"):
            remove(output)
        self.folder.discard()
        for path in self.paths.values():
            remove(former_of(path))
        self.is_complete = True

    # ---- where an output is ----

    def is_in_place(self, output: Output) -> bool:
        """Tell whether this prediction has moved an output to its place."""
        return (
            self.folder.read_places().get(output.name) == self._place(output)
            and not self._ready(output).exists()
            and self.paths[output].exists()
        )

    def _place(self, output: Output) -> tuple[str, str]:
        return str(self.paths[output].absolute()), self._ready(output).name

    def _ready(self, output: Output) -> Path:
        """Name what only needs to be moved: the raw output if nothing is done to it."""
        cleaned = f"-{self.min_size}" if self._cleans(output) else ""
        suffix = self.paths[output].suffix.lower()
        return self.folder.path / f"{output.name}{cleaned}{suffix}"

    def _is_ready(self, output: Output) -> bool:
        ready = self._ready(output)
        # Viewers show the levels of what has no channels.
        needs_levels = ready.suffix == ".zarr" and not output.is_per_phase
        return ready.exists() and (not needs_levels or has_levels(ready))

    def _cleans(self, output: Output) -> bool:
        return output is LABELS and self.min_size > 1

    # ---- how it is made ready ----

    def _make_ready(self, output: Output) -> Iterator[float]:
        """Write what is to be moved; yields the share done, 0 to 1."""
        raw, ready = self.folder.raw(output), self._ready(output)
        if ready == raw:
            yield from add_levels(ready)
            return
        source = open_volume(raw)
        slabs = cleaned_slabs(
            lambda slab: source.slab(slab.start, slab.stop),
            self._written_slices(output),
            min_size=self.min_size if self._cleans(output) else 0,
        )
        if ready.suffix == ".zarr":
            yield from self._write_zarr(ready, slabs, source)
            return
        n_done = 0
        for n in _write_tiff(ready, _without_gaps(slabs, source), source):
            n_done += n
            yield n_done / source.shape[0]

    def _written_slices(self, output: Output) -> list[int]:
        """List the slices along z that an output has any chunk of."""
        array = self.folder.array(output)
        written = {chunk[0] for chunk in written_chunks(self.folder.raw(output) / "0")}
        return [z for z in range(array.shape[0]) if z // array.chunks[0] in written]

    def _write_zarr(
        self, path: Path, slabs: Iterator[tuple[Slab, Labels]], source: Volume
    ) -> Iterator[float]:
        n_slices = source.shape[0]
        with replacing(path) as temporary:
            target = create_ome_zarr(
                temporary,
                shape=source.shape,
                chunks=(COPY_SLICES, *self.geometry.chunks[1:]),
                voxel_size=source.voxel_size,
                unit=source.unit,
                phases=source.phases,
                provenance=source.provenance,
            )
            finest = 1.0 if has_levels(temporary) else _FINEST
            for slab, labels in slabs:
                target[slab.start : slab.stop] = labels
                yield finest * slab.stop / n_slices
            for share in add_levels(temporary):
                yield finest + (1 - finest) * share


def _without_gaps(
    slabs: Iterator[tuple[Slab, Labels]], source: Volume
) -> Iterator[Labels]:
    """Put empty slices where there is no slab: a TIFF must hold all."""
    n_slices, *shape = source.shape

    def empty(start: int, stop: int) -> Iterator[Labels]:
        for first in range(start, stop, COPY_SLICES):
            yield np.zeros((min(COPY_SLICES, stop - first), *shape), np.uint8)

    done = 0
    for slab, labels in slabs:
        yield from empty(done, slab.start)
        yield labels
        done = slab.stop
    yield from empty(done, n_slices)


def _write_tiff(path: Path, slabs: Iterator[Labels], source: Volume) -> Iterator[int]:
    """Compress in a thread, so that there is something to yield meanwhile."""
    queue: Queue[Labels | None] = Queue(1)
    with ThreadPoolExecutor(1, "write-behind") as behind:
        writing = behind.submit(
            write_labels_tiff,
            path,
            _taken(queue),
            shape=source.shape,
            voxel_size=source.voxel_size,
            unit=source.unit,
            phases=source.phases,
            provenance=source.provenance,
        )
        try:
            for slab in slabs:
                _offer(queue, slab, to=writing)
                if writing.done():
                    break
                yield len(slab)
        finally:
            # Before the last slab, this makes the file too short: it is thrown away.
            _offer(queue, None, to=writing)
        writing.result()


def _offer(
    queue: Queue[Labels | None], slab: Labels | None, *, to: Future[Any]
) -> None:
    while not to.done():  # what has failed takes no more
        try:
            queue.put(slab, timeout=0.1)
        except Full:
            continue
        return


def _taken(queue: Queue[Labels | None]) -> Iterator[Labels]:
    while (slab := queue.get()) is not None:
        yield slab


def _move(source: Path, path: Path) -> None:
    """Take an output to its place by one rename, after a copy from another disk."""
    try:
        put_in_place(source, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with written_beside(path) as temporary:
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, temporary)
        source.replace(source.with_name(f"moved-{source.name}"))
