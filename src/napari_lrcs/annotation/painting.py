"""A painting on disk that is its own autosave: every stroke is saved as it is made."""

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from napari_lrcs.annotation.annotation import ROLES, Role
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.lazy_arrays import READ_ERRORS, ArrayLike3D, damaged
from napari_lrcs.io.locks import FileLock
from napari_lrcs.io.ome_zarr import create_ome_zarr, name_phases
from napari_lrcs.io.records import convert, read_json
from napari_lrcs.io.retrying_store import KeptStore
from napari_lrcs.io.volume import PHASES_KEY, Volume, VoxelSize, as_labels, as_volume
from napari_lrcs.io.writing import check_new, replacing
from napari_lrcs.phases import MAX_PHASES, PhaseTable
from napari_lrcs.preprocessing.slices import AXES

_FORMAT = 1
_LEVELS = ("0", "1")
"""Arrays in the Zarr that the labels may lie in: the one that its metadata names."""
_MASK = "mask.zarr"
_SLAB = 16
"""Slices of a mask in a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIdentity:
    """What tells whether a painting belongs to an image.

    Parameters
    ----------
    name : str
    path : str or None
        None where the image lies in memory alone.
    shape : tuple of int
        z, y and x.
    """

    name: str
    path: str | None
    shape: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaintingState:
    """Everything about a painting but its labels.

    Parameters
    ----------
    axis : {"z", "y", "x"}
        Axis that the slices lie across; a painting keeps it.
    phases : PhaseTable
    roles : mapping of int to {"train", "validation", "test"}
        By slice.
    mask : str or None
        As `open_mask` takes it.
    image : ImageIdentity
        A painting keeps its shape.

    Raises
    ------
    ValueError
        If the axis, a role or its slice does not exist.
    """

    axis: Axis
    phases: PhaseTable
    roles: Mapping[int, Role]
    mask: str | None
    image: ImageIdentity

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise ValueError(f"the axis must be z, y or x, got {self.axis!r}")
        for index, role in self.roles.items():
            if role not in ROLES or not 0 <= index < self.n_slices:
                raise ValueError(
                    f"slice {self.axis}={index} is for {role!r}; expected a slice of 0 "
                    f"to {self.n_slices - 1}, for {', '.join(ROLES)}"
                )

    @property
    def n_slices(self) -> int:
        """Slices across the axis."""
        return self.image.shape[AXES[self.axis]]


class _PaintingDict(TypedDict):
    """What ``painting.json`` holds."""

    axis: Axis
    roles: dict[str, Role]
    mask: str | None
    image: ImageIdentity


@dataclass(frozen=True, slots=True)
class PaintingFolder:
    """A folder with ``labels.zarr``, one slice a chunk, and ``painting.json``.

    Killed at any moment, it opens with all that was written before. The phases stand
    in the Zarr alone, with the labels that they name, so that both change at once. It
    may hold a ``mask.zarr`` too, and can be moved with all it holds.

    Parameters
    ----------
    path : Path
        The folder; see `create`.
    """

    path: Path

    @classmethod
    def create(
        cls,
        path: Path,
        state: PaintingState,
        *,
        voxel_size: VoxelSize | None = None,
        unit: str | None = None,
    ) -> Self:
        """Begin a painting.

        Parameters
        ----------
        path : Path
            Made, and its parents, too.
        state : PaintingState
        voxel_size : tuple of float, optional
            Along z, y and x, in `unit`.
        unit : str, optional
            Of any known spelling.

        Raises
        ------
        ResultExistsError
            If something is at `path`.
        VolumeError, OSError
            If the folder cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        check_new(path, overwrite=False)
        path.mkdir()
        folder = cls(path)
        create_ome_zarr(
            folder.labels,
            shape=state.image.shape,
            chunks=_chunk_shape(state),
            voxel_size=voxel_size,
            unit=unit,
            phases=state.phases,
        )
        folder._write_json(state)
        return folder

    @property
    def labels(self) -> Path:
        """The OME-Zarr of the labels, as `open_labels` takes it."""
        return self.path / "labels.zarr"

    @property
    def is_painting(self) -> bool:
        """Whether a painting has begun here."""
        return self._json.is_file() and self._metadata.is_file()

    @property
    def array(self) -> zarr.Array[Any]:
        """The labels, uint8, shape (z, y, x), to be written into.

        It is another array after `relabel`.

        Raises
        ------
        VolumeError
            If it is missing or damaged.
        """
        return self._open_array(LocalStore(self.labels / self._level()))

    @property
    def kept_array(self) -> zarr.Array[Any]:
        """As `array`, and its `store` keeps what cannot be written; see `KeptStore`."""
        return self._open_array(KeptStore(LocalStore(self.labels / self._level())))

    def claim(self) -> FileLock:
        """Have the painting alone, until the lock is released.

        Raises
        ------
        InUseError
            If it is being painted in another window.
        OSError
            If the folder cannot be written to.
        """
        return FileLock(
            self.path / "lock",
            refusal=f"{self.path.name} is open in another window (process "
            "{process}); close it there, or begin a new one",
        )

    @property
    def mask(self) -> Path:
        """Where `write_mask` writes, for `PaintingState.mask`."""
        return self.path / _MASK

    def write_mask(self, mask: Volume) -> None:
        """Keep a field of view in the folder.

        Parameters
        ----------
        mask : Volume of bool
            Of the painting's shape.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        n_slices, rows, columns = mask.shape
        array = create_ome_zarr(
            self.mask,
            shape=mask.shape,
            chunks=(min(_SLAB, n_slices), rows, columns),
            name="mask",
        )
        for start in range(0, n_slices, _SLAB):
            stop = min(start + _SLAB, n_slices)
            array[start:stop] = mask.slab(start, stop).astype(np.uint8)

    @property
    def saved_at(self) -> datetime:
        """When the last stroke, role or phase was saved, in local time.

        Raises
        ------
        VolumeError
            If there is no painting.
        """
        self._check()
        files = (self._json, self._metadata, *self._slice_files().values())
        latest = max(file.stat().st_mtime for file in files)
        return datetime.fromtimestamp(latest, UTC).astimezone()

    def read(self) -> PaintingState:
        """Read everything but the labels.

        Raises
        ------
        VolumeError
            If there is no painting, or it is damaged.
        """
        self._check()
        try:
            state = self._parse()
        except VolumeError:
            raise
        except READ_ERRORS as error:
            raise damaged(f"the painting {self.path}", error) from error
        if (found := self.array.shape) != state.image.shape:
            raise VolumeError(
                f"the painting {self.path} has labels of {found} for an image of "
                f"{state.image.shape}; expected the same shape"
            )
        return state

    def write(self, state: PaintingState) -> None:
        """Replace everything but the labels.

        Raises
        ------
        ValueError
            If the axis or the shape is another one.
        VolumeError
            If there is no painting, or it is damaged.
        """
        former = self.read()
        if (state.axis, state.image.shape) != (former.axis, former.image.shape):
            raise ValueError(
                f"the painting is across {former.axis} of {former.image.shape}, not "
                f"across {state.axis} of {state.image.shape}; begin another one"
            )
        if state.phases != former.phases:
            self._write_metadata(level=self._level(), phases=state.phases)
        self._write_json(state)

    def painted_slices(self) -> dict[int, NDArray[np.int64]]:
        """Count the voxels of every phase in the slices that have any.

        Slices that were never painted are not read.

        Returns
        -------
        dict of int to ndarray of int64, shape (n_phases,)
            By slice, ascending; entry 0 counts label 1.

        Raises
        ------
        VolumeError
            If there is no painting, or it is damaged.
        """
        state = self.read()
        counts = {
            index: count_phases(plane, n_phases=len(state.phases))
            for index, plane in self._painted(state.axis)
        }
        return {index: count for index, count in counts.items() if count.any()}

    def write_slices(self, labels: ArrayLike3D, indices: Iterable[int]) -> None:
        """Copy slices of labels that lie elsewhere, such as in memory.

        Parameters
        ----------
        labels : array-like of integers, shape (z, y, x) or (y, x)
            0 to 255.
        indices : iterable of int
            Slices across the painting's axis.

        Raises
        ------
        ValueError
            If a slice does not exist.
        VolumeError
            If the shape is another one, or these are no labels.
        """
        state, array = self.read(), self.array
        source = as_labels(as_volume(labels, name="labels"))
        if source.shape != array.shape:
            raise VolumeError(
                f"the labels are {source.shape}; expected the painting's {array.shape}"
            )
        for index in indices:
            plane = source.slab(index, index + 1, axis=state.axis)[0]
            array[_place(state.axis, index)] = plane

    def relabel(self, mapping: Mapping[int, int], *, phases: PhaseTable) -> None:
        """Renumber the labels and replace the phases: both or, if killed, neither.

        The labels move to another `array`. Who paints must be given it before the next
        stroke, which would be lost in the former one.

        Parameters
        ----------
        mapping : mapping of int to int
            As for `relabelled`.
        phases : PhaseTable
            What the new labels stand for.

        Raises
        ------
        ValueError
            If a label is not 0 to 255.
        VolumeError
            If there is no painting, or it is damaged.
        """
        state, level = self.read(), self._level()
        free = _LEVELS[1 - _LEVELS.index(level)]
        renumbered = zarr.create_array(
            self.labels / free,
            shape=state.image.shape,
            chunks=_chunk_shape(state),
            dtype=np.uint8,
            dimension_names=list(AXES),
            overwrite=True,  # what a killed one has left
        )
        for index, plane in self._painted(state.axis):
            renumbered[_place(state.axis, index)] = relabelled(plane, mapping)
        self._write_metadata(level=free, phases=phases)
        shutil.rmtree(self.labels / level, ignore_errors=True)

    def _open_array(self, store: LocalStore | KeptStore) -> zarr.Array[Any]:
        try:
            return zarr.open_array(store, mode="r+")
        except READ_ERRORS as error:
            raise damaged(f"the painting {self.labels}", error) from error

    @property
    def _json(self) -> Path:
        return self.path / "painting.json"

    @property
    def _metadata(self) -> Path:
        return self.labels / "zarr.json"

    def _check(self) -> None:
        if not self.is_painting:
            raise VolumeError(
                f"{self.path} is no painting; expected a folder with painting.json and "
                "labels.zarr"
            )

    def _slice_files(self) -> dict[int, Path]:
        """Find a chunk of each slice that may be painted, whatever the axis."""
        found = {}
        for file in self.labels.glob("[01]/c/*/*/*"):
            place = file.parts[-3:]
            if all(part.isdigit() for part in place):  # not what a killed one has left
                found[max(map(int, place))] = file
        return dict(sorted(found.items()))

    def _painted(self, axis: Axis) -> Iterator[tuple[int, Labels]]:
        volume = as_labels(as_volume(self.array, name=f"the painting {self.path}"))
        for index in self._slice_files():
            yield index, volume.slab(index, index + 1, axis=axis)[0]

    def _read_metadata(self) -> dict[str, Any]:
        return read_json(self._metadata, dict[str, Any])

    def _level(self) -> str:
        try:
            image = self._read_metadata()["attributes"]["ome"]["multiscales"][0]
            return _LEVELS[_LEVELS.index(image["datasets"][0]["path"])]
        except READ_ERRORS as error:
            raise damaged(f"the painting {self.labels}", error) from error

    def _write_metadata(self, *, level: str, phases: PhaseTable) -> None:
        content = self._read_metadata()
        attributes = content["attributes"]
        attributes["ome"]["multiscales"][0]["datasets"][0]["path"] = level
        name_phases(attributes, phases)
        _write_json(self._metadata, content)

    def _parse(self) -> PaintingState:
        content = read_json(self._json, dict[str, Any])
        if (found := content.get("format")) != _FORMAT:
            raise VolumeError(
                f"the painting {self.path} is of format {found!r}; this version reads "
                f"format {_FORMAT}: update napari-lrcs"
            )
        saved = convert(content, _PaintingDict)
        attributes = self._read_metadata()["attributes"]
        mask = saved["mask"]
        return PaintingState(
            axis=saved["axis"],
            phases=convert(attributes[PHASES_KEY], PhaseTable),
            roles={int(index): role for index, role in saved["roles"].items()},
            mask=str(self.mask) if mask == _MASK else mask,
            image=saved["image"],
        )

    def _write_json(self, state: PaintingState) -> None:
        content = {
            "format": _FORMAT,
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "axis": state.axis,
            "roles": {str(index): role for index, role in sorted(state.roles.items())},
            "mask": _MASK if state.mask == str(self.mask) else state.mask,
            "image": asdict(state.image),
        }
        _write_json(self._json, content)


def count_phases(labels: Labels, *, n_phases: int) -> NDArray[np.int64]:
    """Count the voxels of each phase.

    Parameters
    ----------
    labels : ndarray of uint8, any shape
    n_phases : int

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


def suggest_slices(
    n_slices: int, *, n: int, taken: Collection[int] = ()
) -> tuple[int, ...]:
    """Choose slices as far as possible from each other and from those taken.

    The volume's ends are kept off by half as much.

    Parameters
    ----------
    n_slices : int
        Slices that there are.
    n : int
        Slices to choose.
    taken : collection of int
        Slices that are painted already.

    Returns
    -------
    tuple of int
        Ascending; fewer than `n` where no more are left.

    Examples
    --------
    >>> suggest_slices(100, n=3)
    (16, 50, 83)
    >>> suggest_slices(100, n=2, taken=(50,))
    (16, 83)
    """
    middles = [index + 0.5 for index in sorted(set(taken))]
    gaps = [_Gap(*ends) for ends in pairwise([0.0, *middles, float(n_slices)])]
    gaps[0].before = gaps[-1].after = 0.5
    for _ in range(n):
        widest = max(gaps, key=lambda gap: gap.distance(gap.n + 1))
        if widest.distance(widest.n + 1) < 1:
            break
        widest.n += 1
    return tuple(index for gap in gaps for index in gap.slices())


@dataclass(slots=True)
class _Gap:
    """Room between two taken slices, or a taken slice and an end of the volume."""

    start: float
    stop: float
    before: float = 1.0
    """Distances, in those between chosen slices, that are kept from `start`."""
    after: float = 1.0
    n: int = 0
    """Slices that are chosen in it."""

    def distance(self, n: int) -> float:
        """Distance between `n` slices that are chosen in it."""
        return (self.stop - self.start) / (self.before + n - 1 + self.after)

    def slices(self) -> list[int]:
        step = self.distance(self.n) if self.n else 0.0
        return [int(self.start + (self.before + i) * step) for i in range(self.n)]


def _chunk_shape(state: PaintingState) -> tuple[int, ...]:
    across = AXES[state.axis]
    return tuple(1 if i == across else n for i, n in enumerate(state.image.shape))


def _place(axis: Axis, index: int) -> tuple[int | slice, ...]:
    return tuple(index if name == axis else slice(None) for name in AXES)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
