"""Where a prediction goes: into memory, or to disk so that it can be continued."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.specks import remove_specks_slabwise
from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.slices import AXES

Parts = Mapping[str, NDArray[Any]]
"""Arrays of one slab, slice axis first: "labels", and "confidence" or "probabilities"
(then the phases come before the slices) where they are wanted."""

_CHUNK_SIDE = 512
COPY_SLICES = 16


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
        return _runs(slices, depth=self.depth)

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
    def places(self) -> tuple[Path, ...]:
        """Files and folders that are written to; none in memory."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts to compute."""

    def open(
        self, geometry: Geometry, identity: Mapping[str, Any], *, min_size: int = 0
    ) -> set[int]:
        """Make ready; return the starts of the slabs that are already there.

        Specks of fewer than `min_size` voxels are to be removed on publishing.
        """

    def write(self, slab: Slab, parts: Parts) -> None:
        """Take a slab."""

    def publish(self) -> Iterator[float]:
        """Put the complete result in its place; yields the share done, 0 to 1."""

    def leave(self) -> None:
        """Tidy up, however the prediction ended."""


@dataclass(slots=True, kw_only=True)
class MemoryResult:
    """A prediction into arrays that the caller made.

    Parameters
    ----------
    labels : ndarray or Zarr array of uint8, the volume's shape
        Only slices that are predicted are written to, and cleaned of specks.
    confidence : the same, optional
        0 to 255 for probabilities 0 to 1 of the predicted phase.

    Notes
    -----
    An interrupted prediction is continued by the same call with the same result.
    """

    labels: Labels
    confidence: NDArray[np.uint8] | None = None
    _geometry: Geometry = field(init=False, repr=False)
    _min_size: int = field(init=False, repr=False)
    _identity: Mapping[str, Any] = field(init=False, repr=False, default_factory=dict)
    _slabs: dict[int, Slab] = field(init=False, repr=False, default_factory=dict)

    @property
    def path(self) -> None:
        """Nowhere."""

    @property
    def places(self) -> tuple[()]:
        """None."""
        return ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts to compute."""
        return ("labels",) if self.confidence is None else ("labels", "confidence")

    def open(
        self, geometry: Geometry, identity: Mapping[str, Any], *, min_size: int = 0
    ) -> set[int]:
        """Check the arrays; nothing is there yet, unless it was interrupted."""
        self._geometry, self._min_size = geometry, min_size
        for array in (self.labels, self.confidence):
            if array is not None and array.shape != geometry.shape:
                raise ValueError(
                    f"the result is {array.shape}, the volume {geometry.shape}"
                )
        if identity != self._identity:
            self._identity = dict(identity)
            self._slabs = {}
        return set(self._slabs)

    def write(self, slab: Slab, parts: Parts) -> None:
        """Take a slab."""
        axis = AXES[self._geometry.axis]
        region = self._geometry.region(slab)
        self.labels[region] = np.moveaxis(parts["labels"], 0, axis)
        if self.confidence is not None:
            self.confidence[region] = np.moveaxis(parts["confidence"], 0, axis)
        self._slabs[slab.start] = slab

    def publish(self) -> Iterator[float]:
        """Remove the specks; yields the share done, 0 to 1."""
        slabs = self._slabs.values()
        slices = [z for slab in slabs for z in range(slab.start, slab.stop)]
        self._slabs = {}  # what is cleaned in part cannot be continued
        axis = AXES[self._geometry.axis]

        def read(run: Slab) -> Labels:
            part = np.asarray(self.labels[self._geometry.region(run)])
            return np.moveaxis(part, axis, 0).copy()

        n_done = 0
        for slab, labels in _cleaned_runs(read, slices, min_size=self._min_size):
            self.labels[self._geometry.region(slab)] = np.moveaxis(labels, 0, axis)
            n_done += len(slab)
            yield n_done / len(slices)

    def leave(self) -> None:
        """Do nothing: the caller has the arrays."""


@dataclass(slots=True, kw_only=True)
class SliceResult:
    """A prediction of some slices of a volume, whose size costs no memory.

    Parameters
    ----------
    confidence : bool
        Whether to keep it, too.
    """

    confidence: bool = False
    slices: dict[int, Labels] = field(init=False, default_factory=dict)
    """The predicted labels (rows, columns) of each slice, by its place on the axis."""
    confidences: dict[int, NDArray[np.uint8]] = field(init=False, default_factory=dict)
    """0 to 255 for probabilities 0 to 1 of the predicted phase; empty if not kept."""
    _min_size: int = field(init=False, repr=False)

    @property
    def path(self) -> None:
        """Nowhere."""

    @property
    def places(self) -> tuple[()]:
        """None."""
        return ()

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts to compute."""
        return ("labels", "confidence") if self.confidence else ("labels",)

    def open(
        self, geometry: Geometry, identity: Mapping[str, Any], *, min_size: int = 0
    ) -> set[int]:
        """Begin anew."""
        del geometry, identity
        self._min_size = min_size
        self.slices, self.confidences = {}, {}
        return set()

    def write(self, slab: Slab, parts: Parts) -> None:
        """Take a slab."""
        places = range(slab.start, slab.stop)
        self.slices.update(zip(places, parts["labels"], strict=True))
        if self.confidence:
            self.confidences.update(zip(places, parts["confidence"], strict=True))

    def publish(self) -> Iterator[float]:
        """Remove the specks; yields the share done, 0 to 1."""

        def read(run: Slab) -> Labels:
            return np.stack([raw[z] for z in range(run.start, run.stop)])

        raw = dict(self.slices)
        n_done = 0
        for slab, labels in _cleaned_runs(read, raw, min_size=self._min_size):
            places = range(slab.start, slab.stop)
            self.slices.update(zip(places, labels, strict=True))
            n_done += len(slab)
            yield n_done / len(raw)

    def leave(self) -> None:
        """Do nothing: the caller has the slices."""


def _cleaned_runs(
    read: Callable[[Slab], Labels], slices: Iterable[int], *, min_size: int
) -> Iterator[tuple[Slab, Labels]]:
    """Clean neighbouring slices together; nothing if there are no specks to remove."""
    if min_size <= 1:
        return
    for run in _runs(sorted(slices)):
        # All of the run first: cleaning a slab looks at the raw ones around it.
        raw = read(run)
        cleaned = remove_specks_slabwise(
            Volume(array=raw, name="labels").slab,
            n_slices=len(run),
            min_size=min_size,
            slab=COPY_SLICES,
        )
        start = run.start
        for labels in cleaned:
            yield Slab(start=start, stop=start + len(labels)), labels
            start += len(labels)


def _runs(slices: Sequence[int], *, depth: float = math.inf) -> Iterator[Slab]:
    first = previous = slices[0]
    for place in slices[1:]:
        if place != previous + 1 or place % depth == 0:
            yield Slab(start=first, stop=previous + 1)
            first = place
        previous = place
    yield Slab(start=first, stop=previous + 1)


def cleaned_slabs(
    source: Volume, slices: Sequence[int], *, min_size: int
) -> Iterator[tuple[Slab, Labels]]:
    """Read labels slab by slab, without specks of fewer than `min_size` voxels.

    Parameters
    ----------
    source : Volume of uint8
        Labels.
    slices : sequence of int
        Slices along z that are not empty, ascending; only these are read.
    min_size : int
        As of `remove_specks`.

    Yields
    ------
    slab : Slab
        In order, along z.
    labels : ndarray of uint8, shape (len(slab), y, x)
    """
    # Empty slices lend nobody a label, so what lies between them is cleaned by itself.
    for run in _runs(slices) if slices else ():
        start = run.start
        for labels in _cleaned(source, run, min_size):
            yield Slab(start=start, stop=start + len(labels)), labels
            start += len(labels)


def _cleaned(source: Volume, run: Slab, min_size: int) -> Iterator[Labels]:
    def read(start: int, stop: int) -> Labels:
        return source.slab(run.start + start, run.start + stop)

    n_slices = len(run)
    if min_size > 1:
        yield from remove_specks_slabwise(
            read, n_slices=n_slices, min_size=min_size, slab=COPY_SLICES
        )
        return
    for start in range(0, n_slices, COPY_SLICES):
        yield read(start, min(start + COPY_SLICES, n_slices))
