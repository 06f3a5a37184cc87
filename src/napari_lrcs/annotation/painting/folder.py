"""A painting on disk that is its own autosave: every stroke is saved as it is made."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

import numpy as np
import zarr

from napari_lrcs.annotation.annotation import ROLES, Role
from napari_lrcs.annotation.painting.labels import (
    METADATA,
    PaintedLabels,
    find_chunks,
    one_slice,
)
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.lazy_arrays import READ_ERRORS, damaged
from napari_lrcs.io.locks import FileLock
from napari_lrcs.io.records import convert, read_json, write_json
from napari_lrcs.io.volume import Volume, VoxelSize
from napari_lrcs.io.writing import check_new, check_writable
from napari_lrcs.phases import PhaseTable
from napari_lrcs.preprocessing.slices import AXES

_FORMAT = 1
_MASK = "mask.zarr"
_SLAB = 16
"""Slices of a mask in a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIdentity:
    """What tells whether a painting belongs to an image.

    Parameters
    ----------
    name : str
        Name of the image's layer.
    path : str or None
        File of the image; None where it is in memory only.
    shape : tuple of int
        Voxels along z, y and x.
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
        Axis that the slices lie across; it never changes.
    phases : PhaseTable
        What the labels stand for.
    roles : mapping of int to {"train", "validation", "test"}
        Role of each slice that has one.
    mask : str or None
        Field of view, as `open_mask` takes it.
    image : ImageIdentity
        The image that is painted on; its shape never changes.
    propagated : tuple of int
        Slices that a network has filled, and nobody has gone through yet.

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
    propagated: tuple[int, ...] = ()

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
        """Number of slices across the axis."""
        return self.image.shape[AXES[self.axis]]

    def with_role(self, index: int, role: Role | None) -> Self:
        """Give a slice a role, or none; then somebody has gone through it."""
        roles = {**self.roles, index: role}
        return replace(
            self,
            roles={i: found for i, found in sorted(roles.items()) if found},
            propagated=tuple(i for i in self.propagated if i != index),
        )


class _PaintingDict(TypedDict):
    """Content of ``painting.json``."""

    axis: Axis
    roles: dict[str, Role]
    mask: str | None
    image: ImageIdentity
    propagated: NotRequired[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class PaintingFolder:
    """A folder with ``painting.json``, ``labels.zarr`` and perhaps ``mask.zarr``.

    If the process is killed at any moment, the folder still opens, with all that was
    written before. It can be moved together with all it holds.

    Whatever reads raises a `VolumeError` if there is no painting, or it is damaged.

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
            The new folder; missing parents are made, too.
        state : PaintingState
            Everything but the labels, which are all unpainted.
        voxel_size : tuple of float, optional
            Voxel size along z, y and x, in `unit`.
        unit : str, optional
            Unit of length, in any known spelling.

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
            folder._zarr,
            shape=state.image.shape,
            chunks=one_slice(state.image.shape, state.axis),
            voxel_size=voxel_size,
            unit=unit,
            phases=state.phases,
        )
        folder._write_json(state)
        return folder

    @property
    def is_painting(self) -> bool:
        """Whether a painting has begun here."""
        return self._json.is_file() and (self._zarr / METADATA).is_file()

    @property
    def labels(self) -> PaintedLabels:
        """The labels, to be painted, counted or renumbered."""
        return PaintedLabels(self._zarr, self.read().axis)

    def lock(self) -> FileLock:
        """Keep other windows from opening the painting, until the lock is released.

        Raises
        ------
        InUseError
            If it is open in another window.
        VolumeError
            If the folder is read-only.
        OSError
            If the folder cannot be written to.
        """
        if self.path.is_dir():
            check_writable(self.path, to_write=self.path)
        return FileLock(
            self.path / "lock",
            refusal=f"{self.path.name} is open in another window (process "
            "{process}); close it there, or begin a new one",
        )

    @property
    def mask(self) -> Path:
        """The copy that `write_mask` makes, for `PaintingState.mask`."""
        return self.path / _MASK

    def write_mask(self, mask: Volume) -> None:
        """Copy a field of view into the folder.

        Parameters
        ----------
        mask : Volume of bool
            Field of view, of the painting's shape.

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
        for part in _slabs(n_slices):
            array[part] = mask.slab(part.start, part.stop).astype(np.uint8)

    def update_mask(self, mask: Volume) -> None:
        """Write what has changed since `write_mask`, of a mask of the same shape.

        All else stays on disk, so that a crash meanwhile loses no more than the change.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        array = zarr.open_array(self.mask / "0", mode="r+")
        for part in _slabs(mask.shape[0]):
            slab = mask.slab(part.start, part.stop).astype(np.uint8)
            if not np.array_equal(array[part], slab):
                array[part] = slab

    @property
    def saved_at(self) -> datetime:
        """When the last stroke, role or phase was saved, in local time."""
        self._check()
        files = (self._json, self._zarr / METADATA, *find_chunks(self._zarr).values())
        latest = max(file.stat().st_mtime for file in files)
        return datetime.fromtimestamp(latest, UTC).astimezone()

    def read(self) -> PaintingState:
        """Read everything but the labels."""
        self._check()
        try:
            state = self._parse()
        except VolumeError:
            raise
        except READ_ERRORS as error:
            raise damaged(f"the painting {self.path}", error) from error
        labels = PaintedLabels(self._zarr, state.axis)
        if (found := labels.array.shape) != state.image.shape:
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
            PaintedLabels(self._zarr, state.axis).write_phases(state.phases)
        self._write_json(state)

    @property
    def _json(self) -> Path:
        return self.path / "painting.json"

    @property
    def _zarr(self) -> Path:
        return self.path / "labels.zarr"

    def _check(self) -> None:
        if not self.is_painting:
            raise VolumeError(
                f"{self.path} is not a painting; expected a folder with painting.json "
                "and labels.zarr"
            )

    def _parse(self) -> PaintingState:
        content = read_json(self._json, dict[str, Any])
        if (found := content.get("format")) != _FORMAT:
            raise VolumeError(
                f"the painting {self.path} is of format {found!r}; this version reads "
                f"format {_FORMAT}: update napari-lrcs"
            )
        saved = convert(content, _PaintingDict)
        axis, mask = saved["axis"], saved["mask"]
        return PaintingState(
            axis=axis,
            phases=PaintedLabels(self._zarr, axis).phases,
            roles={int(index): role for index, role in saved["roles"].items()},
            mask=str(self.mask) if mask == _MASK else mask,
            image=saved["image"],
            propagated=saved.get("propagated", ()),
        )

    def _write_json(self, state: PaintingState) -> None:
        content = {
            "format": _FORMAT,
            "saved_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "axis": state.axis,
            "roles": {str(index): role for index, role in sorted(state.roles.items())},
            "mask": _MASK if state.mask == str(self.mask) else state.mask,
            "image": asdict(state.image),
            "propagated": state.propagated,
        }
        write_json(self._json, content)


def _slabs(n_slices: int) -> Iterator[slice]:
    """Cut a mask into the chunks that it is saved in."""
    for start in range(0, n_slices, _SLAB):
        yield slice(start, min(start + _SLAB, n_slices))
