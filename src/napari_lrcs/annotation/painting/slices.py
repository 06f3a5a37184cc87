"""Find the slices of a labels volume that are painted."""

import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from napari_lrcs.annotation.annotation import AnnotatedVolume, Role
from napari_lrcs.annotation.left_out import without_checks
from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis
from napari_lrcs.io.volume import Volume, as_labels
from napari_lrcs.preprocessing.slices import AXES

_EVENT_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicesRead:
    """How many slices have been read so far."""

    n_done: int
    n_slices: int

    @property
    def share(self) -> float:
        """Share of the slices that have been read, 0 to 1."""
        return self.n_done / self.n_slices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SliceFound:
    """A slice has labels.

    Parameters
    ----------
    index : int
        Place of the slice along the axis, from 0.
    labels : ndarray of uint8, shape (rows, columns)
        At least one of them is not 0.
    """

    index: int
    labels: Labels


def find_painted(
    labels: Volume, slices: Iterable[int] | None = None, *, axis: Axis = "z"
) -> Iterator[SlicesRead | SliceFound]:
    """Look for slices that have labels, in the given order.

    Parameters
    ----------
    labels : Volume of uint8
        0 where unpainted.
    slices : iterable of int, optional
        Where to look; everywhere by default.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.

    Yields
    ------
    SlicesRead
        Several times a second.
    SliceFound
        For each slice that has labels.

    Raises
    ------
    VolumeError
        If the labels are damaged.
    """
    wanted = list(range(labels.shape[AXES[axis]]) if slices is None else slices)
    reported_at = time.monotonic()
    for n_done, index in enumerate(wanted, start=1):
        plane = labels.slab(index, index + 1, axis=axis)[0]
        if plane.any():
            yield SliceFound(index=index, labels=plane)
        if time.monotonic() - reported_at > _EVENT_SECONDS:
            reported_at = time.monotonic()
            yield SlicesRead(n_done=n_done, n_slices=len(wanted))


def train_on_painted(
    labels: Volume, roles: Mapping[Role, tuple[int, ...]], *, axis: Axis
) -> Generator[SlicesRead, None, dict[Role, tuple[int, ...]]]:
    """Choose all painted slices that have no role yet for training.

    Parameters
    ----------
    labels : Volume of uint8
        0 where unpainted.
    roles : mapping of str to tuple of int
        Slices that have a role already, by role.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.

    Yields
    ------
    SlicesRead
        Several times a second.

    Returns
    -------
    dict of str to tuple of int
        The roles, with the slices for training added.

    Raises
    ------
    ValueError
        If no slice is left that is painted.
    """
    taken = {index for indices in roles.values() for index in indices}
    free = [i for i in range(labels.shape[AXES[axis]]) if i not in taken]
    painted: list[int] = []
    for event in find_painted(labels, free, axis=axis):
        if isinstance(event, SliceFound):
            painted.append(event.index)
        else:
            yield event
    if not painted:
        raise ValueError(
            f"{labels.name} has no painted slice for training; paint at least two "
            "phases on one"
        )
    return {**roles, "train": tuple(painted)}


def copy_painted(
    volume: AnnotatedVolume, *, axis: Axis
) -> Generator[SlicesRead, None, AnnotatedVolume]:
    """Copy the painted slices that have a role into memory, so that one may paint on.

    Parameters
    ----------
    volume : AnnotatedVolume
        Without slices for training, all painted ones that are left are for training.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.

    Yields
    ------
    SlicesRead
        Several times a second.

    Returns
    -------
    AnnotatedVolume
        The same, with labels that nothing else writes to.

    Raises
    ------
    ValueError
        As `train_on_painted` does.
    """
    labels = volume.labels
    roles = {role: tuple(places) for role, places in volume.roles.items()}
    if not roles.get("train"):
        left = without_checks(labels, volume.checks)
        roles = yield from train_on_painted(left, roles, axis=axis)
    copy = SomeSlices(
        labels.shape,
        AXES[axis],
        {
            index: labels.slab(index, index + 1, axis=axis)[0]
            for index in sorted({z for places in roles.values() for z in places})
        },
    )
    painted = as_labels(replace(labels, array=copy, sources=()))
    return replace(volume, labels=painted, roles=roles)


@dataclass(frozen=True, slots=True)
class SomeSlices:
    """Labels of which only some slices are in memory; the others are 0.

    Sent to another process, they take no more space than these slices.
    """

    shape: tuple[int, ...]
    axis: int
    slices: Mapping[int, Labels]
    dtype = np.dtype(np.uint8)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Labels:
        picked = [range(n)[part] for n, part in zip(self.shape, key, strict=True)]
        region = np.zeros([len(places) for places in picked], np.uint8)
        inside = tuple(part for i, part in enumerate(key) if i != self.axis)
        for i, index in enumerate(picked[self.axis]):
            if index in self.slices:
                np.moveaxis(region, self.axis, 0)[i] = self.slices[index][inside]
        return region
