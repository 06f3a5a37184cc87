"""The sum of the probabilities of a study's members, and the labels that it gives.

A member's probabilities are counted in steps of 1/255, so that they add up to the same
sum in any order, and are removed once they are in it. Needs no torch.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.classical.specks import remove_specks_slabwise
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import add_levels
from napari_lrcs.io.lazy_arrays import READ_ERRORS
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import PhaseTable

_LEVELS = 255
"""Steps between the probabilities 0 and 1: errors of at most 1/510 in the mean."""

_REGION = (16, 512, 512)
"""Voxels added at once, and a chunk on disk."""

_LABELLED = 0.9
"""Share of the work, about, before coarser levels are added."""

_COMBINED = 3
"""Volumes besides the ensemble that members are combined into, of one byte a voxel."""

_ATTRIBUTE = "napari_lrcs_sum"


def bytes_needed(n_voxels: int, *, n_phases: int, n_members: int) -> int:
    """Return how much disk an ensemble takes at most while its study runs.

    That is the sum and its successor, the probabilities of one member (float16), and
    the labels.

    Examples
    --------
    >>> bytes_needed(1000, n_phases=3, n_members=20)
    19000
    """
    per_phase = 2 * _type_for(n_members).itemsize + np.dtype(np.float16).itemsize
    return n_voxels * (n_phases * per_phase + 1)


def disk_needed(n_voxels: int, *, n_phases: int, n_members: int) -> int:
    """Return how much disk a study takes at most, small files left out.

    That is the labels of each member, majority, agreement, entropy and the ensemble.

    Examples
    --------
    >>> disk_needed(1000, n_phases=3, n_members=20)
    42000
    """
    ensemble = bytes_needed(n_voxels, n_phases=n_phases, n_members=n_members)
    return (n_members + _COMBINED) * n_voxels + ensemble


def _type_for(n_members: int) -> np.dtype[Any]:
    """Return the smallest type of integer that holds the sum of so many members."""
    fits = n_members * _LEVELS <= np.iinfo(np.uint16).max
    return np.dtype(np.uint16 if fits else np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbabilitySum:
    """The file ``probability-sums.zarr`` of a study: uint16, shape (phase, z, y, x).

    It is replaced as a whole by each `add`, together with the names of the members that
    are in it: a study that is killed never counts a member twice or in part.

    Parameters
    ----------
    path : Path
        The file; it need not exist yet.
    task_hash : str
        Hash of the study's task; the sum of another task counts as none.
    """

    path: Path
    task_hash: str

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the members in the sum."""
        with suppress(*READ_ERRORS):
            saved: Any = zarr.open_group(self.path, mode="r").attrs[_ATTRIBUTE]
            if saved["task_hash"] == self.task_hash:
                return tuple(map(str, saved["members"]))
        return ()

    def add(
        self, places: Mapping[str, Path], *, like: Volume
    ) -> Generator[float, None, None]:
        """Add the probabilities of members.

        Parameters
        ----------
        places : mapping of str to Path
            OME-Zarr with the probabilities of each member, float16, shape (phase, z, y,
            x), by its name; of members that are not in the sum.
        like : Volume
            Gives the voxel size.

        Yields
        ------
        float
            Share of the voxels that are done, 0 to 1.
        """
        names = (*self.members, *places)
        added = [zarr.open_array(place / "0", mode="r") for place in places.values()]
        before = [self._array()] if self.members else []
        n_phases, *shape = added[0].shape
        with replacing(self.path) as temporary:
            target = create_ome_zarr(
                temporary,
                shape=(n_phases, *shape),
                chunks=(1, *map(min, _REGION, shape)),
                dtype=_type_for(len(names)),
                voxel_size=like.voxel_size,
                unit=like.unit,
                name="sum of probabilities",
            )
            regions = [*product(*_steps((n_phases, *shape), (1, *_REGION)))]
            for i, region in enumerate(regions, 1):
                total = np.zeros((), target.dtype)
                for array in before:
                    total = total + np.asarray(array[region], target.dtype)
                for array in added:
                    total = total + _levels(np.asarray(array[region]), target.dtype)
                target[region] = total
                yield i / len(regions)
            group = zarr.open_group(temporary, mode="r+")
            group.attrs[_ATTRIBUTE] = {"task_hash": self.task_hash, "members": names}

    def write_labels(
        self, path: Path, *, phases: PhaseTable, like: Volume, min_size: int = 0
    ) -> Iterator[float]:
        """Write the phases with the highest mean probability as OME-Zarr.

        Voxels outside the field of view stay 0; of equal phases, the first is taken.

        Parameters
        ----------
        like : Volume
            Gives shape and voxel size.
        min_size : int
            Smallest speck, in voxels, that is kept, as in the members' predictions.

        Yields
        ------
        float
            Share of the work that is done, 0 to 1.
        """
        with replacing(path) as temporary:
            target = create_ome_zarr(
                temporary,
                shape=like.shape,
                chunks=tuple(map(min, _REGION, like.shape)),
                voxel_size=like.voxel_size,
                unit=like.unit,
                phases=phases,
                name="ensemble",
            )
            start, n_slices = 0, like.shape[0]
            for labels in self._slabs(n_slices, min_size):
                target[start : start + len(labels)] = labels
                start += len(labels)
                yield _LABELLED * start / n_slices
            for share in add_levels(temporary):
                yield _LABELLED + (1 - _LABELLED) * share

    def _slabs(self, n_slices: int, min_size: int) -> Iterator[Labels]:
        depth, array = _REGION[0], self._array()

        def read(start: int, stop: int) -> Labels:
            labels = np.zeros((stop - start, *array.shape[2:]), np.uint8)
            for y, x in product(*_steps(array.shape[2:], _REGION[1:])):
                labels[:, y, x] = most_likely(array[:, start:stop, y, x])
            return labels

        if min_size > 1:
            yield from remove_specks_slabwise(
                read, n_slices=n_slices, min_size=min_size, slab=depth
            )
            return
        for start in range(0, n_slices, depth):
            yield read(start, min(start + depth, n_slices))

    def _array(self) -> zarr.Array[Any]:
        return zarr.open_array(self.path / "0", mode="r")


def most_likely(sums: Any) -> Labels:
    """Return the phase with the largest sum, the first of equal ones.

    Parameters
    ----------
    sums : ndarray of unsigned int, shape (n_phases, …)

    Returns
    -------
    ndarray of uint8, shape (…)
        1 to n_phases; 0 where all are 0.

    Examples
    --------
    >>> most_likely(np.array([[3, 2, 0], [3, 5, 0]], np.uint16)).tolist()
    [1, 2, 0]
    """
    sums = np.asarray(sums)
    labels = sums.argmax(axis=0).astype(np.uint8) + np.uint8(1)
    labelled: Labels = labels * sums.any(axis=0)
    return labelled


def _levels(probabilities: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.rint(probabilities.astype(np.float32) * _LEVELS).astype(dtype)


def _steps(shape: Sequence[int], sides: Sequence[int]) -> list[list[slice]]:
    return [
        [slice(start, min(start + side, n)) for start in range(0, n, side)]
        for n, side in zip(shape, sides, strict=True)
    ]
