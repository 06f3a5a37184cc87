"""Where a prediction goes: into memory, or to disk so that it can be continued."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.data.opening import is_zarr, open_volume
from napari_lrcs.data.slices import AXES
from napari_lrcs.data.specks import remove_specks_slabwise
from napari_lrcs.data.volume import Volume
from napari_lrcs.data.writing import create_ome_zarr, replacing, write_labels_tiff
from napari_lrcs.errors import VolumeError
from napari_lrcs.phases import PhaseTable

Parts = Mapping[str, NDArray[Any]]
"""Arrays of one slab, slice axis first: "labels", and "confidence" or "probabilities"
(then the phases come before the slices) where they are wanted."""

_CHUNK_SIDE = 512
_COPY_SLICES = 16
_DTYPES: Mapping[str, type[np.generic]] = {
    "labels": np.uint8,
    "confidence": np.uint8,
    "probabilities": np.float16,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Slab:
    """A run of slices that is computed and written at once."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What a result has in common with the volume that it comes from.

    Parameters
    ----------
    shape : tuple of three ints
        z, y, x.
    axis : {"z", "y", "x"}
        Axis that slabs are cut across.
    depth : int
        Largest number of slices in a slab, and a chunk's along the axis.
    """

    shape: tuple[int, int, int]
    axis: Axis
    depth: int
    voxel_size: tuple[float, float, float] | None
    unit: str | None
    phases: PhaseTable

    def slabs(self, slices: Sequence[int]) -> Iterator[Slab]:
        """Group slices into runs that do not cross the edges of chunks."""
        first = previous = slices[0]
        for place in slices[1:]:
            if place != previous + 1 or place % self.depth == 0:
                yield Slab(start=first, stop=previous + 1)
                first = place
            previous = place
        yield Slab(start=first, stop=previous + 1)

    def region(self, slab: Slab) -> tuple[slice, slice, slice]:
        """Locate a slab in the volume."""
        places = [slice(0, n) for n in self.shape]
        places[AXES[self.axis]] = slice(slab.start, slab.stop)
        z, y, x = places
        return z, y, x

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Shape of a chunk on disk."""
        sides = [min(n, _CHUNK_SIDE) for n in self.shape]
        sides[AXES[self.axis]] = self.depth
        z, y, x = sides
        return z, y, x


class Result(Protocol):
    """What `predict_volume` writes to."""

    @property
    def path(self) -> Path | None:
        """Where the labels end up; None in memory."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts to compute."""

    def open(self, geometry: Geometry, identity: Mapping[str, Any]) -> set[int]:
        """Make ready; return the starts of the slabs that are already there."""

    def write(self, slab: Slab, parts: Parts) -> None:
        """Take a slab."""

    def publish(self) -> None:
        """Put the complete result in its place."""

    def leave(self) -> None:
        """Tidy up, however the prediction ended."""


@dataclass(slots=True, kw_only=True)
class MemoryResult:
    """A prediction into arrays that the caller made.

    Parameters
    ----------
    labels : ndarray of uint8, the volume's shape
    confidence : ndarray of uint8, the volume's shape, optional
        0 to 255 for probabilities 0 to 1 of the predicted phase.
    """

    labels: Labels
    confidence: NDArray[np.uint8] | None = None
    _geometry: Geometry = field(init=False, repr=False)

    @property
    def path(self) -> None:
        """Nowhere."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts to compute."""
        return ("labels",) if self.confidence is None else ("labels", "confidence")

    def open(self, geometry: Geometry, identity: Mapping[str, Any]) -> set[int]:
        """Check the arrays; nothing is there yet."""
        del identity
        self._geometry = geometry
        for array in (self.labels, self.confidence):
            if array is not None and array.shape != geometry.shape:
                raise ValueError(
                    f"the result is {array.shape}, the volume {geometry.shape}"
                )
        return set()

    def write(self, slab: Slab, parts: Parts) -> None:
        """Take a slab."""
        axis = AXES[self._geometry.axis]
        region = self._geometry.region(slab)
        self.labels[region] = np.moveaxis(parts["labels"], 0, axis)
        if self.confidence is not None:
            self.confidence[region] = np.moveaxis(parts["confidence"], 0, axis)

    def publish(self) -> None:
        """Do nothing: the caller has the arrays."""

    def leave(self) -> None:
        """Do nothing: the caller has the arrays."""


@dataclass(slots=True, kw_only=True)
class DiskResult:
    """A prediction into files, gathered in a folder beside them until it is complete.

    The folder, ``NAME.partial``, is what an interrupted prediction is continued from.
    All parts are OME-Zarr there; complete, they are moved, or streamed into TIFF.

    Parameters
    ----------
    labels : Path
        ``.tif`` or ``.zarr``.
    confidence : Path, optional
        ``.tif`` or ``.zarr``; 0 to 255 for probabilities 0 to 1 of the predicted phase.
    probabilities : Path, optional
        ``.zarr``; float16, one channel a phase.
    min_size : int
        Specks of fewer voxels are given to the phase around them at the end.

    Raises
    ------
    VolumeError
        If a name has another ending, stands twice, or is that of something else than
        a result: a folder, or one that is no Zarr.
    """

    labels: Path
    confidence: Path | None = None
    probabilities: Path | None = None
    min_size: int = 0
    _geometry: Geometry = field(init=False, repr=False)
    _arrays: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
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

    def open(self, geometry: Geometry, identity: Mapping[str, Any]) -> set[int]:
        """Continue the same prediction, or begin; another one's remains are removed."""
        self._geometry = geometry
        text = json.dumps({**identity, "parts": self.wanted}, sort_keys=True)
        if not self._is_same(text):
            self._begin(text)
        self._arrays = {
            name: zarr.open_array(self.partial / f"{name}.zarr" / "0", mode="r+")
            for name in self.wanted
        }
        done = self.partial / "done.txt"
        *lines, torn = done.read_text(encoding="ascii").split("\n")
        if torn:  # by a crash: what is noted next must begin a line
            done.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        return {int(line) for line in lines}

    def _is_same(self, identity: str) -> bool:
        try:
            saved = (self.partial / "identity.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        # A part that is missing was published already.
        parts = (self.partial / f"{name}.zarr" for name in self.wanted)
        return saved == identity and all(part.is_dir() for part in parts)

    def _begin(self, identity: str) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        geometry = self._geometry
        for name in self.wanted:
            shape: tuple[int, ...] = geometry.shape
            chunks: tuple[int, ...] = geometry.chunks
            if name == "probabilities":
                shape, chunks = (len(geometry.phases), *shape), (1, *chunks)
            create_ome_zarr(
                self.partial / f"{name}.zarr",
                shape=shape,
                chunks=chunks,
                dtype=_DTYPES[name],
                voxel_size=geometry.voxel_size,
                unit=geometry.unit,
                phases=geometry.phases if name == "labels" else None,
                name=name,
            )
        (self.partial / "done.txt").touch()
        # Last: only a folder that is whole can be continued.
        (self.partial / "identity.json").write_text(identity, encoding="utf-8")

    def write(self, slab: Slab, parts: Parts) -> None:
        """Take a slab, and note that it is there."""
        axis = AXES[self._geometry.axis]
        region = self._geometry.region(slab)
        for name, array in self._arrays.items():
            if name == "probabilities":
                moved = np.moveaxis(parts[name], 1, axis + 1)
                array[(slice(None), *region)] = moved
            else:
                array[region] = np.moveaxis(parts[name], 0, axis)
        with (self.partial / "done.txt").open("a", encoding="ascii") as file:
            file.write(f"{slab.start}\n")

    def publish(self) -> None:
        """Put the complete parts in their places and remove the folder."""
        self._arrays = {}
        for name, path in self._paths.items():
            part = self.partial / f"{name}.zarr"
            cleans = name == "labels" and self.min_size > 1
            if path.suffix.lower() != ".zarr":
                self._stream_to_tiff(part, path, cleans=cleans)
            elif cleans:
                self._stream_to_zarr(part, path)
            else:
                with replacing(path) as temporary:
                    shutil.move(part, temporary)  # from another disk, too
        shutil.rmtree(self.partial)

    def leave(self) -> None:
        """Remove the folder if it holds nothing to continue from."""
        done = self.partial / "done.txt"
        if not done.is_file() or not done.stat().st_size:
            shutil.rmtree(self.partial, ignore_errors=True)

    def _stream_to_tiff(self, part: Path, path: Path, *, cleans: bool) -> None:
        source = open_volume(part)
        write_labels_tiff(
            path,
            self._slabs(source, cleans=cleans),
            shape=source.shape,
            voxel_size=source.voxel_size,
            unit=source.unit,
            phases=source.phases,
        )

    def _stream_to_zarr(self, part: Path, path: Path) -> None:
        source = open_volume(part)
        with replacing(path) as temporary:
            target = create_ome_zarr(
                temporary,
                shape=source.shape,
                chunks=(_COPY_SLICES, *self._geometry.chunks[1:]),
                voxel_size=source.voxel_size,
                unit=source.unit,
                phases=source.phases,
            )
            start = 0
            for slab in self._slabs(source, cleans=True):
                target[start : start + len(slab)] = slab
                start += len(slab)

    def _slabs(self, source: Volume, *, cleans: bool) -> Iterator[Labels]:
        n_slices = source.shape[0]
        if cleans:
            yield from remove_specks_slabwise(
                source.slab,
                n_slices=n_slices,
                min_size=self.min_size,
                slab=_COPY_SLICES,
            )
            return
        for start in range(0, n_slices, _COPY_SLICES):
            yield source.slab(start, min(start + _COPY_SLICES, n_slices))
