"""Where a prediction goes: into memory, or to disk so that it can be continued."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.data.slices import AXES
from napari_lrcs.data.specks import remove_specks_slabwise
from napari_lrcs.data.volume import Volume
from napari_lrcs.phases import PhaseTable

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
    labels : ndarray of uint8, the volume's shape
        Specks are removed from the whole array at the end.
    confidence : ndarray of uint8, the volume's shape, optional
        0 to 255 for probabilities 0 to 1 of the predicted phase.
    """

    labels: Labels
    confidence: NDArray[np.uint8] | None = None
    _geometry: Geometry = field(init=False, repr=False)
    _min_size: int = field(init=False, repr=False)

    @property
    def path(self) -> None:
        """Nowhere."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names of the parts to compute."""
        return ("labels",) if self.confidence is None else ("labels", "confidence")

    def open(
        self, geometry: Geometry, identity: Mapping[str, Any], *, min_size: int = 0
    ) -> set[int]:
        """Check the arrays; nothing is there yet."""
        del identity
        self._geometry, self._min_size = geometry, min_size
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

    def publish(self) -> Iterator[float]:
        """Remove the specks; yields the share done, 0 to 1."""
        if self._min_size <= 1:
            return
        raw = self.labels.copy()  # cleaning a slab looks at the raw ones around it
        source = Volume(array=raw, name="labels")
        start = 0
        for slab in cleaned_slabs(source, min_size=self._min_size):
            self.labels[start : start + len(slab)] = slab
            start += len(slab)
            yield start / len(raw)

    def leave(self) -> None:
        """Do nothing: the caller has the arrays."""


def cleaned_slabs(source: Volume, *, min_size: int) -> Iterator[Labels]:
    """Read labels slab by slab, without specks of fewer than `min_size` voxels."""
    n_slices = source.shape[0]
    if min_size > 1:
        yield from remove_specks_slabwise(
            source.slab, n_slices=n_slices, min_size=min_size, slab=COPY_SLICES
        )
        return
    for start in range(0, n_slices, COPY_SLICES):
        yield source.slab(start, min(start + COPY_SLICES, n_slices))
