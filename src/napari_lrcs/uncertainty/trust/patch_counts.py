"""What check patches hold, as painted and as predicted: counts of each patch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.annotation.check_patches import Check, CheckPatch, n_unpainted
from napari_lrcs.arrays import Labels
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.composition import Composition, Neighbourhood
from napari_lrcs.metrics.counting import compose_inner
from napari_lrcs.metrics.overlap import confusion_matrix
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.preprocessing.slices import AXES


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintedPatch:
    """A patch whose every voxel is painted.

    Parameters
    ----------
    number : int
        Place among the patches of the check, from 0.
    labels : ndarray of uint8, shape (z, y, x)
        As painted, with its margin; 0 outside the field of view.
    """

    number: int
    patch: CheckPatch
    labels: Labels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatchCounts:
    """Counts of a segmentation in the patches, beside those of their painting.

    Parameters
    ----------
    painted, predicted : tuple of Composition
        Of each patch.
    confusion : ndarray of int64, shape (n_patches, n_phases, n_phases)
        Entry ``[i, t - 1, p - 1]`` counts voxels of patch i painted t, predicted p.
    """

    painted: tuple[Composition, ...]
    predicted: tuple[Composition, ...]
    confusion: NDArray[np.int64]

    @property
    def area(self) -> NDArray[np.int64]:
        """Voxels of each patch that count, shape (n_patches,)."""
        area: NDArray[np.int64] = self.confusion.sum(axis=(1, 2))
        return area


def read_painted(
    check: Check, painting: Volume, view: Volume | None, *, only_done: bool
) -> list[PaintedPatch]:
    """Read the patches that are painted as a whole.

    Parameters
    ----------
    painting : Volume of uint8
        Labels of the check's shape.
    view : Volume of bool, optional
        Field of view.
    only_done : bool
        Whether a patch must be marked as done, too.

    Raises
    ------
    VolumeError
        If a patch is marked as done but has unpainted voxels, or the shape is another.
    """
    if painting.shape != check.design.shape:
        raise VolumeError(
            f"the painting {painting.name} is {painting.shape} voxels (z, y, x), but "
            f"the patches are for {check.design.shape}; give labels of that shape"
        )
    found = []
    for number, patch in enumerate(check.patches):
        region = check.design.region(patch)
        inside = None if view is None else view.region(*region)
        labels = painting.region(*region)
        if inside is not None:
            labels = labels * inside
        missing = n_unpainted(labels, inside)
        if missing and patch.done:
            raise VolumeError(
                f"check patch {number + 1} ({_place(patch)}) is marked as done, but "
                f"{missing} of its voxels are unpainted; paint them, the margin of one "
                "pixel too"
            )
        if not missing and (patch.done or not only_done):
            found.append(PaintedPatch(number=number, patch=patch, labels=labels))
    return found


def count_patches(
    check: Check,
    painted: Sequence[PaintedPatch],
    segmentation: Volume,
    *,
    n_phases: int,
    neighbourhood: Neighbourhood,
) -> PatchCounts:
    """Count what a segmentation predicts in the painted patches.

    Parameters
    ----------
    segmentation : Volume of uint8
        Labels of the check's shape, 1 to `n_phases`.
    neighbourhood : {8, 4, 6, 18, 26}
        Within the slice, unless the patches are three slices thick.

    Raises
    ------
    ValueError
        If a patch has unknown labels, or voxels without a prediction.
    """
    known = range(1, n_phases + 1)
    rows = []
    for part in painted:
        own = check.design.own_part(part.patch)
        labels = segmentation.region(*check.design.region(part.patch))
        labels = labels * (part.labels != UNPAINTED)
        _check_predicted(labels, part, segmentation, n_phases=n_phases)
        compositions = [
            compose_inner(
                _slices_first(block, check),
                _slices_first_key(own, check),
                labels=known,
                neighbourhood=neighbourhood,
            )
            for block in (part.labels, labels)
        ]
        confusion = confusion_matrix(part.labels[own], labels[own], n_phases=n_phases)
        rows.append((*compositions, confusion))
    painted_counts, predicted_counts, confusions = zip(*rows, strict=True)
    return PatchCounts(
        painted=painted_counts,
        predicted=predicted_counts,
        confusion=np.stack(confusions),
    )


def _check_predicted(
    labels: Labels, part: PaintedPatch, segmentation: Volume, *, n_phases: int
) -> None:
    for name, block in (("the painting", part.labels), (segmentation.name, labels)):
        highest = int(block.max(initial=0))
        if highest > n_phases:
            raise ValueError(
                f"{name} has the label {highest} in check patch {part.number + 1}, but "
                f"there are {n_phases} phases; labels must be 1 to {n_phases}"
            )
    missing = n_unpainted(labels, part.labels != UNPAINTED)
    if missing:
        raise ValueError(
            f"{segmentation.name} has no prediction for {missing} voxels of check "
            f"patch {part.number + 1} ({_place(part.patch)}); predict the whole field "
            "of view"
        )


def _place(patch: CheckPatch) -> str:
    return f"z={patch.z}, y={patch.y}, x={patch.x}"


def _slices_first(block: Labels, check: Check) -> Labels:
    """Move the axis of the slices to the front, as neighbours within slices need."""
    return np.moveaxis(block, AXES[check.design.axis], 0)


def _slices_first_key(key: tuple[slice, ...], check: Check) -> tuple[slice, ...]:
    across = AXES[check.design.axis]
    return (key[across], *(part for i, part in enumerate(key) if i != across))
