"""Painted slices, perturbed: the members of a set, and the preview of one slice."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Axis, PerturbConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.counting import count_labels
from napari_lrcs.phases import PhaseTable, phases_up_to
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.uncertainty.perturbation.packed_slices import (
    PaintedSlices,
    dimensions_of,
    planes_in_memory,
)
from napari_lrcs.uncertainty.perturbation.perturb import (
    Perturbation,
    advice,
    changed_share,
    moved_fractions,
    perturb_labels,
)

_AROUND = 5
"""Slices on either side that a preview is perturbed with, if there are so many."""

_PREVIEW_VOXELS = 2**23
"""Voxels that a preview perturbs at most, which takes about a second; a slice of more
than a tenth of them is perturbed alone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberPerturbed:
    """A member of a set is drawn."""

    number: int
    """Place of the member in the set, from 0."""
    n_members: int
    labels: Labels
    """Perturbed labels, of the shape of ``PaintedSlices.labels``."""
    changed_share: float
    """Share of the painted voxels that changed, 0 to 1."""


def perturbed_members(
    painted: PaintedSlices, *, config: PerturbConfig, n_members: int, seed: int
) -> Iterator[MemberPerturbed]:
    """Draw a set of perturbed labels.

    Parameters
    ----------
    n_members : int
        At least 1.
    seed : int
        Member m is drawn with ``np.random.default_rng((seed, m))``.

    Raises
    ------
    ValueError
        If there is no member to draw, or as `Perturbation` does.
    """
    if n_members < 1:
        raise ValueError(f"the number of members must be at least 1, got {n_members}")
    perturbation = Perturbation(painted.labels, config, dimensions=painted.dimensions)
    for number in range(n_members):
        perturbed = perturbation.draw(np.random.default_rng((seed, number)))
        yield MemberPerturbed(
            number=number,
            n_members=n_members,
            labels=perturbed,
            changed_share=changed_share(painted.labels, perturbed),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerturbedSlice:
    """One slice, perturbed as a preview.

    Parameters
    ----------
    labels : ndarray of uint8, shape (rows, columns)
    before, after : ndarray of int64, shape (n_phases,)
        Painted voxels of each phase.
    moved : ndarray of float64, shape (n_phases,)
        By how much of itself each phase grew; NaN for one that is not painted.
    n_changed : int
        Painted voxels that have another label.
    advice : tuple of str
        Sentences of `napari_lrcs.uncertainty.perturbation.perturb.advice`.
    """

    index: int
    labels: Labels
    phases: PhaseTable
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    moved: NDArray[np.float64]
    n_changed: int
    advice: tuple[str, ...]

    @property
    def n_painted(self) -> int:
        """Number of painted voxels."""
        return int(self.before.sum())

    @property
    def changed_share(self) -> float:
        """Share of the painted voxels that changed, 0 to 1."""
        return self.n_changed / self.n_painted

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Shares of the painted voxels before and after, shape (2, n_phases)."""
        return np.array([self.before, self.after]) / self.n_painted

    def in_volume(self, *, shape: tuple[int, ...], axis: Axis) -> zarr.Array[Any]:
        """Put it in its place in the volume; see `planes_in_memory`."""
        return planes_in_memory({self.index: self.labels}, shape=shape, axis=axis)


def perturb_slice(
    labels: Volume,
    index: int,
    *,
    axis: Axis = "z",
    slices: Sequence[int] | None = None,
    config: PerturbConfig,
    seed: int,
) -> PerturbedSlice:
    """Perturb one slice with those around it, as a preview of a set's members.

    Parameters
    ----------
    index : int
        Painted slice.
    axis : {"z", "y", "x"}
        That the slices lie across.
    slices : sequence of int, optional
        That are to be perturbed; all by default.

    Raises
    ------
    ValueError
        If the slice is not painted, or as `Perturbation` does.
    """
    slab, place = _around(labels, index, axis=axis, slices=slices)
    original = slab[place]
    if not original.any():
        raise ValueError(f"slice {axis}={index} is not painted")
    perturbed = perturb_labels(
        slab,
        config=config,
        seed=seed,
        dimensions=dimensions_of(np.flatnonzero(slab.any(axis=(1, 2)))),
    )[place]
    phases = phases_up_to(int(slab.max()), labels.phases)
    sentences = advice(original, perturbed, phases)
    if len(slab) > 1:
        sentences += advice(slab, slab, phases)  # on the number of slices
    before, after = (
        count_labels(plane)[1 : len(phases) + 1] for plane in (original, perturbed)
    )
    return PerturbedSlice(
        index=index,
        labels=perturbed,
        phases=phases,
        before=before,
        after=after,
        moved=moved_fractions(original, perturbed, n_phases=len(phases)),
        n_changed=int(np.count_nonzero(original != perturbed)),
        advice=sentences,
    )


def _around(
    labels: Volume, index: int, *, axis: Axis, slices: Sequence[int] | None
) -> tuple[Labels, int]:
    """Read a slice with those around it; return them and its place among them."""
    n_slices = labels.shape[AXES[axis]]
    area = math.prod(labels.shape) // n_slices
    n_around = _AROUND if area * (2 * _AROUND + 1) <= _PREVIEW_VOXELS else 0
    start, stop = max(index - n_around, 0), min(index + n_around + 1, n_slices)
    slab = labels.slab(start, stop, axis=axis)
    if slices is not None:
        slab[sorted({*range(stop - start)} - {i - start for i in slices})] = 0
    return slab, index - start
