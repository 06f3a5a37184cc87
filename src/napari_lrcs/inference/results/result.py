"""Where a prediction goes: what all results have in common, and results in memory."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.inference.geometry import Geometry, Slab
from napari_lrcs.inference.results.cleaning import cleaned_slabs
from napari_lrcs.inference.results.outputs import CONFIDENCE, LABELS, Arrays, Output
from napari_lrcs.io.provenance import Provenance
from napari_lrcs.preprocessing.slices import runs_of


class Sink(Protocol):
    """A result that is open: takes slabs, and is complete once it is published."""

    @property
    def done(self) -> set[int]:
        """Starts of the slabs that it has."""

    def write(self, slab: Slab, arrays: Arrays) -> None:
        """Take a slab."""

    def publish(self) -> Iterator[float]:
        """Put the complete result in its place; yields the share done, 0 to 1."""


class Result(Protocol):
    """What `predict_volume` and `segment_volume` write to."""

    @property
    def path(self) -> Path | None:
        """Where the labels end up; None in memory."""

    @property
    def paths(self) -> Mapping[Output, Path]:
        """Where each output ends up; empty in memory."""

    @property
    def places(self) -> tuple[Path, ...]:
        """Files and folders that are written to; none in memory."""

    @property
    def wanted(self) -> tuple[Output, ...]:
        """Outputs to compute."""

    @property
    def is_unfinished(self) -> bool:
        """Whether there is an interrupted prediction to continue from."""

    def arrays(self) -> list[Any]:
        """Open the labels, and the confidence if it is wanted, while they fill up.

        Empty before a result on disk is begun, and once it is complete.
        """

    def open(
        self,
        geometry: Geometry,
        identity: Mapping[str, Any] | None,
        *,
        min_size: int = 0,
    ) -> AbstractContextManager[Sink]:
        """Continue an interrupted prediction, or begin a new one.

        Parameters
        ----------
        geometry : Geometry
            Of the volume.
        identity : mapping or None
            As JSON; a prediction is continued only if all of this agrees. One without
            an identity is never continued, and leaves nothing if it is interrupted.
        min_size : int
            Specks of fewer voxels are removed on publishing.

        Returns
        -------
        context manager of Sink
            Tidies up, however its block ends.
        """


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
    provenance: Provenance | None = field(init=False, default=None)
    """Of the labels, once the prediction has begun."""
    _identity: Mapping[str, Any] | None = field(init=False, repr=False, default=None)
    _slabs: dict[int, Slab] = field(init=False, repr=False, default_factory=dict)

    @property
    def path(self) -> None:
        """Nowhere."""

    @property
    def paths(self) -> dict[Output, Path]:
        """None."""
        return {}

    @property
    def places(self) -> tuple[()]:
        """None."""
        return ()

    @property
    def wanted(self) -> tuple[Output, ...]:
        """Outputs to compute."""
        return (LABELS,) if self.confidence is None else (LABELS, CONFIDENCE)

    @property
    def is_unfinished(self) -> bool:
        """Whether some slabs are there, of a prediction that was interrupted."""
        return bool(self._slabs)

    def arrays(self) -> list[Any]:
        """Return the labels, and the confidence if it is wanted."""
        return [a for a in (self.labels, self.confidence) if a is not None]

    @contextmanager
    def open(
        self,
        geometry: Geometry,
        identity: Mapping[str, Any] | None,
        *,
        min_size: int = 0,
    ) -> Iterator[Sink]:
        """Check the arrays; see `Result.open`.

        Raises
        ------
        ValueError
            If the arrays do not have the volume's shape.
        """
        arrays = dict(zip(self.wanted, self.arrays(), strict=True))
        for array in arrays.values():
            if array.shape != geometry.shape:
                raise ValueError(
                    f"the result is {array.shape}, the volume {geometry.shape}"
                )
        if identity is None or identity != self._identity:
            self._identity, self._slabs = identity, {}
        self.provenance = geometry.provenance
        yield _MemorySink(
            arrays=arrays, geometry=geometry, min_size=min_size, slabs=self._slabs
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _MemorySink:
    arrays: Mapping[Output, Any]
    geometry: Geometry
    min_size: int
    slabs: dict[int, Slab]

    @property
    def done(self) -> set[int]:
        return set(self.slabs)

    def write(self, slab: Slab, arrays: Arrays) -> None:
        for output, array in self.arrays.items():
            self.geometry.put(array, slab, arrays[output])
        self.slabs[slab.start] = slab

    def publish(self) -> Iterator[float]:
        slices = sorted(
            z for slab in self.slabs.values() for z in range(slab.start, slab.stop)
        )
        self.slabs.clear()  # what is cleaned in part cannot be continued
        n_done = 0
        for run in runs_of(slices) if self.min_size > 1 else ():
            for n in self._clean(run):
                n_done += n
                yield n_done / len(slices)

    def _clean(self, run: range) -> Iterator[int]:
        target = self.arrays[LABELS]
        # All of the run first: cleaning a slab looks at the raw ones around it.
        raw = self.geometry.take(target, Slab(start=run.start, stop=run.stop))

        def read(slab: Slab) -> Labels:
            return raw[slab.start - run.start : slab.stop - run.start]

        for slab, labels in cleaned_slabs(read, run, min_size=self.min_size):
            self.geometry.put(target, slab, labels)
            yield len(slab)
