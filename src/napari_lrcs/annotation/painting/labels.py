"""The labels of a painting on disk: an OME-Zarr with one slice per chunk."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.label_metadata import PHASES_KEY
from napari_lrcs.io.formats.ome_zarr import name_phases
from napari_lrcs.io.formats.zarr_stores import RetryingStore
from napari_lrcs.io.lazy_arrays import READ_ERRORS, ArrayLike3D, damaged
from napari_lrcs.io.prompt_array import PromptArray
from napari_lrcs.io.records import convert, read_json, write_json
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import MAX_PHASES, PhaseTable
from napari_lrcs.preprocessing.slices import AXES

METADATA = "zarr.json"
"""File in the Zarr that names the phases and the array in use."""

_LEVELS = ("0", "1")
"""Arrays that the labels may be in; the metadata names the one in use."""


@dataclass(frozen=True, slots=True)
class PaintedLabels:
    """Labels in an OME-Zarr with one slice per chunk, and the phases they stand for.

    The phases are stored in the Zarr alone: `relabel` writes the new labels into a
    second array, and a single write of the metadata then changes array and phases.

    Whatever reads raises a `VolumeError` if the Zarr is missing or damaged.

    Parameters
    ----------
    path : Path
        Folder of the Zarr.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    """

    path: Path
    axis: Axis

    @property
    def array(self) -> zarr.Array[Any]:
        """The labels, uint8, shape (z, y, x), to be written into.

        It is another array after `relabel`.
        """
        return self._open(LocalStore(self.path / self._level()))

    @property
    def retrying_array(self) -> zarr.Array[Any]:
        """The same as `array`; its `store` keeps what cannot be written yet."""
        return self._open(RetryingStore(LocalStore(self.path / self._level())))

    @property
    def phases(self) -> PhaseTable:
        """What the labels stand for."""
        try:
            attributes = self._read_metadata()["attributes"]
            return convert(attributes[PHASES_KEY], PhaseTable)
        except READ_ERRORS as error:
            raise damaged(f"the painting {self.path}", error) from error

    def write_phases(self, phases: PhaseTable) -> None:
        """Replace the phases; the labels stay as they are."""
        self._write_metadata(level=self._level(), phases=phases)

    def painted_slices(self) -> dict[int, NDArray[np.int64]]:
        """Count the voxels of every phase in the slices that have any.

        Slices that were never painted are not read.

        Returns
        -------
        dict of int to ndarray of int64, shape (n_phases,)
            By slice, ascending; entry 0 counts label 1.
        """
        n_phases = len(self.phases)
        counts = {
            index: count_phases(plane, n_phases=n_phases)
            for index, plane in self._planes()
        }
        return {index: count for index, count in counts.items() if count.any()}

    def write_slices(self, labels: ArrayLike3D, indices: Iterable[int]) -> None:
        """Copy slices of labels that lie elsewhere, such as in memory.

        Parameters
        ----------
        labels : array-like of integers, shape (z, y, x) or (y, x)
            0 to 255.
        indices : iterable of int
            Slices across `axis`.

        Raises
        ------
        ValueError
            If a slice does not exist.
        VolumeError
            If the shape is another one, or these are not labels.
        """
        array = self.array
        source = as_labels(as_volume(labels, name="labels"))
        if source.shape != array.shape:
            raise VolumeError(
                f"the labels are {source.shape}; expected the painting's {array.shape}"
            )
        for index in indices:
            plane = source.slab(index, index + 1, axis=self.axis)[0]
            array[slice_key(self.axis, index)] = plane

    def relabel(self, mapping: Mapping[int, int], *, phases: PhaseTable) -> None:
        """Renumber the labels and replace the phases: both or, if killed, neither.

        The labels move to another `array`. Whoever paints must be given it before the
        next stroke, which would be lost in the former one.

        Parameters
        ----------
        mapping : mapping of int to int
            New label by old one, as for `relabelled`.
        phases : PhaseTable
            What the new labels stand for.

        Raises
        ------
        ValueError
            If a label is not 0 to 255.
        VolumeError
            If the labels are damaged.
        """
        level = self._level()
        free = _LEVELS[1 - _LEVELS.index(level)]
        shape = self.array.shape
        renumbered = zarr.create_array(
            self.path / free,
            shape=shape,
            chunks=one_slice(shape, self.axis),
            dtype=np.uint8,
            dimension_names=list(AXES),
            overwrite=True,  # whatever a killed process has left there
        )
        for index, plane in self._planes():
            renumbered[slice_key(self.axis, index)] = relabelled(plane, mapping)
        self._write_metadata(level=free, phases=phases)
        shutil.rmtree(self.path / level, ignore_errors=True)

    def _planes(self) -> Iterator[tuple[int, Labels]]:
        volume = as_labels(as_volume(self.array, name=f"the painting {self.path}"))
        for index in find_chunks(self.path):
            yield index, volume.slab(index, index + 1, axis=self.axis)[0]

    def _open(self, store: LocalStore | RetryingStore) -> zarr.Array[Any]:
        try:
            return PromptArray(zarr.open_array(store, mode="r+").async_array)
        except READ_ERRORS as error:
            raise damaged(f"the painting {self.path}", error) from error

    def _read_metadata(self) -> dict[str, Any]:
        return read_json(self.path / METADATA, dict[str, Any])

    def _level(self) -> str:
        try:
            image = self._read_metadata()["attributes"]["ome"]["multiscales"][0]
            return _LEVELS[_LEVELS.index(image["datasets"][0]["path"])]
        except READ_ERRORS as error:
            raise damaged(f"the painting {self.path}", error) from error

    def _write_metadata(self, *, level: str, phases: PhaseTable) -> None:
        content = self._read_metadata()
        attributes = content["attributes"]
        attributes["ome"]["multiscales"][0]["datasets"][0]["path"] = level
        name_phases(attributes, phases)
        write_json(self.path / METADATA, content)


def find_chunks(path: Path) -> dict[int, Path]:
    """Find a chunk of each slice of a Zarr that may be painted, whatever its axis."""
    found = {}
    for file in path.glob("[01]/c/*/*/*"):
        place = file.parts[-3:]
        if all(part.isdigit() for part in place):  # not the rest of a killed write
            found[max(map(int, place))] = file
    return dict(sorted(found.items()))


def one_slice(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """Return the shape of a chunk that holds one slice across an axis."""
    return tuple(1 if i == AXES[axis] else n for i, n in enumerate(shape))


def slice_key(axis: Axis, index: int) -> tuple[int | slice, ...]:
    """Return the index of a slice in an array (z, y, x)."""
    return tuple(index if name == axis else slice(None) for name in AXES)


def count_phases(labels: Labels, *, n_phases: int) -> NDArray[np.int64]:
    """Count the voxels of each phase.

    Parameters
    ----------
    labels : ndarray of uint8, any shape

    Returns
    -------
    ndarray of int64, shape (n_phases,)
        Entry 0 counts label 1.

    Examples
    --------
    >>> count_phases(np.array([0, 1, 3, 3], np.uint8), n_phases=3).tolist()
    [1, 0, 2]
    """
    # Ten times as fast as bincount, which makes int64 of every voxel.
    counts = [np.count_nonzero(labels == label) for label in range(1, n_phases + 1)]
    return np.array(counts, np.int64)


def relabelled(labels: Labels, mapping: Mapping[int, int]) -> Labels:
    """Renumber labels, as phases are reordered or removed.

    Parameters
    ----------
    labels : ndarray of uint8, any shape
    mapping : mapping of int to int
        New label by old one; 0 removes it. Labels that it leaves out stay.

    Returns
    -------
    ndarray of uint8, shape of `labels`

    Raises
    ------
    ValueError
        If an old label is not 1 to 255, or a new one not 0 to 255.

    Examples
    --------
    >>> relabelled(np.array([0, 1, 2, 3], np.uint8), {1: 2, 2: 0}).tolist()
    [0, 2, 0, 3]
    """
    table = np.arange(MAX_PHASES + 1, dtype=np.uint8)
    for old, new in mapping.items():
        if not (1 <= old <= MAX_PHASES and 0 <= new <= MAX_PHASES):
            raise ValueError(
                f"label {old} cannot become {new}; labels are 1 to {MAX_PHASES}, and 0 "
                "for none"
            )
        table[old] = new
    return table[labels]
