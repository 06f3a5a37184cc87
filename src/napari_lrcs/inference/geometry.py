"""Slabs: the runs of slices that a volume is computed and written in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.config import Axis
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.slices import AXES, SliceReader, runs_of

_SLAB_SLICES = 16
_SLAB_BYTES = 2**25
"""Most slices of a slab, and bytes of its grey levels in float32: a few slabs are under
way at once."""

_CHUNK_SIDE = 512


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
    voxel_size : tuple of three floats, optional
        Along z, y and x, in `unit`.
    unit : str, optional
        Of the voxel size.
    phases : PhaseTable
        Of the labels.
    provenance : Provenance, optional
        Of the labels.
    """

    shape: tuple[int, int, int]
    axis: Axis
    depth: int
    voxel_size: tuple[float, float, float] | None
    unit: str | None
    phases: PhaseTable
    provenance: Provenance | None = None

    @classmethod
    def of(
        cls,
        reader: SliceReader,
        phases: PhaseTable,
        provenance: Provenance | None = None,
    ) -> "Geometry":
        """Choose slabs for the slices that a reader reads."""
        rows, columns = reader.slice_shape
        depth = min(_SLAB_SLICES, reader.n_slices, _SLAB_BYTES // (4 * rows * columns))
        return cls(
            shape=reader.volume.shape,
            axis=reader.axis,
            depth=max(1, depth),
            voxel_size=reader.volume.voxel_size,
            unit=reader.volume.unit,
            phases=phases,
            provenance=provenance,
        )

    def metadata(self) -> dict[str, Any]:
        """Return the voxel size, unit and phases that the result carries, as JSON."""
        return {
            "voxel_size": self.voxel_size,
            "unit": self.unit,
            "phases": self.phases.to_dicts(),
        }

    def slabs(self, slices: Sequence[int]) -> Iterator[Slab]:
        """Group slices into runs that do not cross the edges of chunks."""
        for run in runs_of(slices, depth=self.depth):
            yield Slab(start=run.start, stop=run.stop)

    def region(self, slab: Slab) -> tuple[slice, slice, slice]:
        """Locate a slab in the volume."""
        places = [slice(0, n) for n in self.shape]
        places[AXES[self.axis]] = slice(slab.start, slab.stop)
        z, y, x = places
        return z, y, x

    def put(self, array: Any, slab: Slab, values: NDArray[Any]) -> None:
        """Write a slab (…, slices, rows, columns) into an array (…, z, y, x)."""
        moved = np.moveaxis(values, -3, AXES[self.axis] - 3)
        array[(..., *self.region(slab))] = moved

    def take(self, array: Any, slab: Slab) -> NDArray[Any]:
        """Copy a slab (slices, rows, columns) from an array (z, y, x)."""
        part = np.asarray(array[self.region(slab)])
        return np.moveaxis(part, AXES[self.axis], 0).copy()

    @property
    def chunks(self) -> tuple[int, int, int]:
        """Shape of a chunk on disk."""
        sides = [min(n, _CHUNK_SIDE) for n in self.shape]
        sides[AXES[self.axis]] = self.depth
        z, y, x = sides
        return z, y, x
