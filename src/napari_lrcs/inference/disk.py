"""A prediction into files that an interruption does not cost."""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from queue import Full, Queue
from typing import Any

import numpy as np
import zarr

from napari_lrcs.arrays import Labels
from napari_lrcs.errors import ResultExistsError, VolumeError
from napari_lrcs.inference.results import (
    COPY_SLICES,
    Geometry,
    Parts,
    Slab,
    cleaned_slabs,
)
from napari_lrcs.io.lazy_arrays import READ_ERRORS
from napari_lrcs.io.locks import only_writer
from napari_lrcs.io.ome_zarr import create_ome_zarr
from napari_lrcs.io.opening import open_volume
from napari_lrcs.io.paths import follow_link, former_of, is_zarr
from napari_lrcs.io.pyramid import add_levels, has_levels, levels_of, written_chunks
from napari_lrcs.io.records import read_json, read_text
from napari_lrcs.io.tiff import write_labels_tiff
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import (
    check_free,
    check_new,
    move_aside,
    naming,
    remove,
    replacing,
    uninterrupted,
    written_beside,
)
from napari_lrcs.preprocessing.slices import AXES

_DTYPES: Mapping[str, type[np.generic]] = {
    "labels": np.uint8,
    "confidence": np.uint8,
    "probabilities": np.float16,
}

_FINEST = 0.8
"""Share of the work on a Zarr with levels that the finest one takes, about."""


@dataclass(slots=True, kw_only=True)
class DiskResult:
    """A prediction into files, gathered in a folder beside them until it is complete.

    The folder, ``NAME.partial``, is what an interrupted prediction is continued from.
    All parts are OME-Zarr there; complete, they are made ready in the folder, as TIFF
    or without specks where this is asked for, and then moved to their places.

    Parameters
    ----------
    labels : Path
        ``.tif`` or ``.zarr``; the latter, as that of `confidence`, gets coarser levels.
    confidence : Path, optional
        ``.tif`` or ``.zarr``; 0 to 255 for probabilities 0 to 1 of the predicted phase.
    probabilities : Path, optional
        ``.zarr``; float16, one channel a phase.
    overwrite : bool
        Whether what is in the places may be replaced. What this same prediction has
        put there before it was interrupted is accepted either way.

    Raises
    ------
    VolumeError
        If a name has another ending, stands twice, or is that of something else than
        a result: a folder, or one that is no Zarr.
    """

    labels: Path
    confidence: Path | None = None
    probabilities: Path | None = None
    overwrite: bool = True
    is_complete: bool = field(init=False, default=False)
    """Whether all parts have reached their places."""
    _geometry: Geometry = field(init=False, repr=False)
    _min_size: int = field(init=False, repr=False)
    _arrays: dict[str, Any] = field(init=False, repr=False)
    _lock: ExitStack | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        self._follow_links()
        for name, path in self._paths.items():
            known = (
                (".zarr",) if name == "probabilities" else (".tif", ".tiff", ".zarr")
            )
            if path.suffix.lower() not in known:
                raise VolumeError(
                    f"the {name} cannot go to {path.name}: its name must end in "
                    f"{' or '.join(known)}"
                )
            if path.exists() and not (
                is_zarr(path) if path.suffix.lower() == ".zarr" else path.is_file()
            ):
                raise VolumeError(
                    f"{path} is there and is no {path.suffix} that a result could "
                    "replace; choose another name"
                )
        if len(set(self._paths.values())) < len(self._paths):
            raise VolumeError(
                f"{' and '.join(self._paths)} need a file each, got "
                f"{', '.join(map(str, self._paths.values()))}"
            )

    def _follow_links(self) -> None:
        self.labels = follow_link(self.labels)
        self.confidence = self.confidence and follow_link(self.confidence)
        self.probabilities = self.probabilities and follow_link(self.probabilities)

    @property
    def _paths(self) -> dict[str, Path]:
        every = {
            "labels": self.labels,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
        }
        return {name: path for name, path in every.items() if path is not None}

    @property
    def path(self) -> Path:
        """Where the labels end up."""
        return self.labels

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts to compute."""
        return tuple(self._paths)

    @property
    def partial(self) -> Path:
        """Folder of an incomplete prediction."""
        return self.labels.with_name(f"{self.labels.name}.partial")

    @property
    def places(self) -> tuple[Path, ...]:
        """All that is written to, or removed, until the prediction is complete."""
        return (*self._paths.values(), self.partial)

    def check_new(self) -> None:
        """Refuse places that are taken, before any work is done.

        Raises
        ------
        ResultExistsError
            If something is there that may not be replaced, a folder ``NAME.partial``
            that no prediction has made among it.
        VolumeError
            If a parent folder is missing or read-only.
        """
        self._check_partial()
        moved = self._moved()
        left = former_of(self.partial)
        if left.exists() and not self.partial.exists():
            remove(left)  # by one that was killed at its very end
        for name, path in self._paths.items():
            # `open` finds out whether it was this very prediction that moved it.
            check_new(path, overwrite=self.overwrite or name in moved)

    def open(
        self, geometry: Geometry, identity: Mapping[str, Any], *, min_size: int = 0
    ) -> set[int]:
        """Continue the same prediction, or begin; another one's remains are removed.

        Raises
        ------
        ResultExistsError
            If something else is in the places and `overwrite` is False, or as
            `check_new` does.
        InUseError
            If another one writes to one of the places.
        """
        if self._lock is None:
            with ExitStack() as lock:
                lock.enter_context(only_writer(*self._paths.values()))
                self._lock = lock.pop_all()
        self._check_partial()
        self._geometry, self._min_size = geometry, min_size
        text = json.dumps({**identity, "parts": self.wanted}, sort_keys=True)
        is_same = self._is_same(text)
        for name, path in self._paths.items():
            if not (is_same and self._is_in_place(name)):
                check_free(path, overwrite=self.overwrite)
        if not is_same:
            self._begin(text)
        done = self.partial / "done.txt"
        try:
            self._check_files()
            self._arrays = {
                name: zarr.open_array(self.raw(name) / "0", mode="r+")
                for name in self.wanted
                if self.raw(name).is_dir()
            }
            self._check_arrays()
            *lines, torn = read_text(done).split("\n")
            starts = {int(line) for line in lines}
        except READ_ERRORS as error:
            raise self._damaged(error) from error
        if torn:  # by a crash: what is noted next must begin a line
            done.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        return starts

    def _check_files(self) -> None:
        """Refuse pipes and the like, which Zarr would wait for without end."""
        for path in self.partial.rglob("*"):
            if not (path.is_file() or path.is_dir()):
                raise VolumeError(f"{path.name} is not a regular file")

    def _check_arrays(self) -> None:
        for name, array in self._arrays.items():
            levels_of(self.raw(name))  # its metadata can be read
            found, expected = (array.shape, array.chunks), self._layout(name)
            if found != expected or array.dtype != _DTYPES[name]:
                raise VolumeError(
                    f"{name} is {found} of {array.dtype}, expected {expected}"
                )

    def _layout(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shape of a part, and that of its chunks."""
        geometry = self._geometry
        if name == "probabilities":
            return (len(geometry.phases), *geometry.shape), (1, *geometry.chunks)
        return geometry.shape, geometry.chunks

    def _check_partial(self) -> None:
        """Refuse a folder of that name that is somebody else's."""
        if self.partial.exists() and not self._is_ours():
            raise ResultExistsError(
                f"{self.partial} is in the way: it is not of an interrupted "
                "prediction; move it, or choose another name for the result"
            )

    def _is_ours(self) -> bool:
        try:
            identity = read_json(self.partial / "identity.json", dict[str, object])
        except (OSError, ValueError):
            return False
        return "parts" in identity

    def _is_same(self, identity: str) -> bool:
        try:
            saved = (self.partial / "identity.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        except ValueError as error:
            raise self._damaged(error) from error
        return saved == identity and all(
            self.raw(name).is_dir() or self._is_in_place(name) for name in self.wanted
        )

    def _begin(self, identity: str) -> None:
        self._discard()
        # By one rename: only a folder that is whole can be continued.
        with replacing(self.partial) as folder:
            folder.mkdir()
            for name in self.wanted:
                self._create(name, folder / self.raw(name).name)
            (folder / "done.txt").touch()
            (folder / "identity.json").write_text(identity, encoding="utf-8")

    def _create(self, name: str, place: Path) -> None:
        geometry = self._geometry
        shape, chunks = self._layout(name)
        create_ome_zarr(
            place,
            shape=shape,
            chunks=chunks,
            dtype=_DTYPES[name],
            voxel_size=geometry.voxel_size,
            unit=geometry.unit,
            phases=geometry.phases if name == "labels" else None,
            name=name,
        )

    def write(self, slab: Slab, parts: Parts) -> None:
        """Take a slab, and note that it is there."""
        axis = AXES[self._geometry.axis]
        region = self._geometry.region(slab)
        for name, array in self._arrays.items():
            with naming(self.partial):
                if name == "probabilities":
                    moved = np.moveaxis(parts[name], 1, axis + 1)
                    array[(slice(None), *region)] = moved
                else:
                    array[region] = np.moveaxis(parts[name], 0, axis)
        with (self.partial / "done.txt").open("a", encoding="ascii") as file:
            file.write(f"{slab.start}\n")

    # Publishing can be cut off at any point and continued by the same calls:
    # - Parts are made ready inside the folder, each by a rename once it is whole; what
    #   is moved as it was computed gets its levels there, announced by a rename.
    # - When all are, this is noted, with the places. From then on a part that is no
    #   longer ready has been moved, since one rename takes it from the folder.
    # - The labels go last: until then other specks can be removed from the raw ones.
    # - When all are in place, one rename ends the folder.

    def publish(self) -> Iterator[float]:
        """Put the complete parts in their places and remove the folder.

        Yields
        ------
        float
            Share of the voxels that are made ready, 0 to 1.
        """
        self._arrays = {}
        waiting = [
            name
            for name in self.wanted
            if not (self._is_ready(name) or self._is_in_place(name))
        ]
        for i, name in enumerate(waiting):
            for share in self._make_ready(name):
                yield (i + share) / len(waiting)
        with replacing(self._note) as temporary:
            places = {name: self._place(name) for name in self.wanted}
            temporary.write_text(json.dumps(places), encoding="utf-8")
        with uninterrupted():
            for name in reversed(self.wanted):
                if not self._is_in_place(name):
                    _move(self._ready(name), self._paths[name])
            self._end()

    def _end(self) -> None:
        # Large ones first, so that what names the prediction is there to the last.
        for part in self.partial.glob("*.zarr"):
            remove(part)
        self._discard()
        for path in self._paths.values():
            remove(former_of(path))
        self.is_complete = True

    def _discard(self) -> None:
        """Remove the folder; half removed, it bears another name."""
        if self.partial.exists():
            move_aside(self.partial)
        remove(former_of(self.partial))

    def raw(self, name: str) -> Path:
        """Locate a part as it is computed: OME-Zarr of one level."""
        return self.partial / f"{name}.zarr"

    def _ready(self, name: str) -> Path:
        """Name what only needs to be moved: the raw part if nothing is done to it."""
        cleaned = f"-{self._min_size}" if self._cleans(name) else ""
        suffix = self._paths[name].suffix.lower()
        return self.partial / f"{name}{cleaned}{suffix}"

    def _is_ready(self, name: str) -> bool:
        ready = self._ready(name)
        return ready.exists() and (not self._has_levels(name) or has_levels(ready))

    def _has_levels(self, name: str) -> bool:
        """Tell whether viewers will show the part, and from disk."""
        return name != "probabilities" and self._ready(name).suffix == ".zarr"

    def _cleans(self, name: str) -> bool:
        return name == "labels" and self._min_size > 1

    @property
    def _note(self) -> Path:
        return self.partial / "places.json"

    def _place(self, name: str) -> tuple[str, str]:
        return str(self._paths[name].absolute()), self._ready(name).name

    def _noted(self) -> dict[str, tuple[str, str]]:
        if not self._note.is_file():
            return {}
        try:
            return read_json(self._note, dict[str, tuple[str, str]])
        except ValueError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> VolumeError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return VolumeError(
            f"the unfinished prediction in {self.partial} is damaged: {reason}; remove "
            "this folder to predict anew"
        )

    def _moved(self) -> set[str]:
        """Name the parts that a prediction, whichever, has moved to their places."""
        return {
            name
            for name, (place, ready) in self._noted().items()
            if name in self._paths
            and place == str(self._paths[name].absolute())
            and not (self.partial / ready).exists()
        }

    def _is_in_place(self, name: str) -> bool:
        return (
            self._noted().get(name) == self._place(name)
            and not self._ready(name).exists()
            and self._paths[name].exists()
        )

    def leave(self, *, keep: bool = True) -> None:
        """Let others write; remove the folder if it holds nothing to continue from.

        Parameters
        ----------
        keep : bool
            Whether an interrupted prediction may be continued.
        """
        if self._lock is None:  # what is there is another one's
            return
        with self._lock:
            self._lock = None
            done = self.partial / "done.txt"
            is_empty = done.is_file() and not done.stat().st_size
            if self._is_ours() and (is_empty or not keep):
                self._discard()

    def _make_ready(self, name: str) -> Iterator[float]:
        """Write what is to be moved; yields the share done, 0 to 1."""
        ready = self._ready(name)
        if ready == self.raw(name):
            yield from add_levels(ready)
            return
        source = open_volume(self.raw(name))
        slabs = cleaned_slabs(
            source,
            self._written(name),
            min_size=self._min_size if self._cleans(name) else 0,
        )
        if ready.suffix == ".zarr":
            yield from self._write_zarr(ready, slabs, source)
            return
        n_done = 0
        for n in _write_tiff(ready, _without_gaps(slabs, source), source):
            n_done += n
            yield n_done / source.shape[0]

    def _written(self, name: str) -> list[int]:
        """List the slices along z that a part has any chunk of."""
        array = zarr.open_array(self.raw(name) / "0", mode="r")
        depth = array.chunks[0]
        written = {chunk[0] for chunk in written_chunks(self.raw(name) / "0")}
        return [z for z in range(array.shape[0]) if z // depth in written]

    def _write_zarr(
        self, path: Path, slabs: Iterator[tuple[Slab, Labels]], source: Volume
    ) -> Iterator[float]:
        n_slices = source.shape[0]
        with replacing(path) as temporary:
            target = create_ome_zarr(
                temporary,
                shape=source.shape,
                chunks=(COPY_SLICES, *self._geometry.chunks[1:]),
                voxel_size=source.voxel_size,
                unit=source.unit,
                phases=source.phases,
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
    """Take a part to its place by one rename, after a copy from another disk."""
    try:
        _rename(source, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with written_beside(path) as temporary:
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, temporary)
        source.replace(source.with_name(f"moved-{source.name}"))


def _rename(source: Path, path: Path) -> None:
    if not path.is_dir():
        source.replace(path)
        return
    # No rename replaces a full folder. What is set aside is removed at the end.
    move_aside(path)
    try:
        source.replace(path)
    except OSError:
        former_of(path).replace(path)
        raise


def last_unfinished(folder: Path, suffix: str) -> Path | None:
    """Find the result in a folder whose prediction was interrupted last.

    Parameters
    ----------
    folder : Path
        Where results lie; it need not exist.
    suffix : {".tif", ".zarr"}
        Type of the result.

    Returns
    -------
    Path or None
        Where the labels were to go; None where everything is finished.
    """
    begun = folder.glob(f"*{suffix}.partial/identity.json")
    last = max(begun, key=lambda file: file.stat().st_mtime, default=None)
    return None if last is None else last.parent.with_suffix("")
