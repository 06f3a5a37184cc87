"""Painted labels without the voxels of check patches, which only judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from napari_lrcs.annotation.check_patches import Check, Region
from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import Axis
from napari_lrcs.io.lazy_arrays import Wrapper
from napari_lrcs.io.provenance import Learnt, LearntSlice
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.preprocessing.slices import SliceReader


def drawn_before(checks: Sequence[Check], moment: datetime) -> tuple[Check, ...]:
    """Return the check patches that were drawn when some work began.

    Work that is continued leaves out what it has left out from its beginning: its
    painting must not change under it.
    """
    return tuple(check for check in checks if check.drawn_at <= moment)


def without_checks(labels: Volume, checks: Sequence[Check]) -> Volume:
    """Leave the voxels of check patches unpainted, with margin and thickness.

    Parameters
    ----------
    labels : Volume of uint8
        Not changed: the voxels are cleared as they are read.
    checks : sequence of Check
        Their patches may lie across any axis.

    Raises
    ------
    ValueError
        If patches are of a volume of another shape.
    """
    for check in checks:
        if check.design.shape != labels.shape:
            raise ValueError(
                f"the check patches for {check.segmentation} are for "
                f"{check.design.shape} voxels (z, y, x), but {labels.name} is "
                f"{labels.shape}; choose patches of the same volume"
            )
    regions = [
        check.design.region(patch) for check in checks for patch in check.patches
    ]
    if not regions:
        return labels
    return replace(labels, array=_Cleared(labels.array, tuple(regions)))


def check_pixels(
    volume: Volume, checks: Sequence[Check], index: int, *, axis: Axis
) -> Mask:
    """Find the pixels of a slice that lie in check patches, or in their margins.

    Parameters
    ----------
    volume : Volume
        The image, or its painting, for its shape.
    index : int
        Place of the slice along `axis`.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    everything = np.broadcast_to(np.uint8(1), volume.shape)
    whole = without_checks(replace(volume, array=everything), checks)
    is_in_checks: Mask = whole.slab(index, index + 1, axis=axis)[0] == UNPAINTED
    return is_in_checks


def read_painting(labels: Volume, reader: SliceReader, index: int) -> Labels:
    """Read the labels of a slice; they are 0 outside the field of view."""
    painting: Labels = labels.slab(index, index + 1, axis=reader.axis)[0]
    inside = reader.inside(index, index + 1)
    if inside is None:
        return painting
    return np.where(inside[0], painting, UNPAINTED).astype(np.uint8)


def learnt_from(
    image: Volume,
    painted: Mapping[int, Labels | Mask],
    *,
    axis: Axis,
    begun_at: datetime,
    checks: Sequence[Check],
) -> Learnt:
    """Describe what is learnt from the painted slices of an image.

    Parameters
    ----------
    painted : mapping of int to ndarray of uint8 or bool, shape (rows, columns)
        Slices with a painted voxel or more, by their places along the axis.
    begun_at : datetime
        When that began, with its time zone.
    checks : sequence of Check
        Those whose voxels are not among the painted ones.
    """
    fingerprint = image.fingerprint()
    boxes = {index: _painted_box(labels) for index, labels in painted.items()}
    return Learnt(
        slices=tuple(
            LearntSlice(
                volume=image.name,
                fingerprint=fingerprint,
                axis=axis,
                index=index,
                rows=rows,
                columns=columns,
                begun_at=begun_at,
                left_out=tuple(check.id for check in checks),
            )
            for index, (rows, columns) in boxes.items()
        ),
        is_complete=True,
    )


def _painted_box(labels: Labels | Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = (np.flatnonzero(labels.any(axis=axis)).tolist() for axis in (1, 0))
    return (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)


@dataclass(frozen=True, slots=True)
class _Cleared(Wrapper):
    """Labels that are 0 in some regions."""

    regions: tuple[Region, ...]

    def __getitem__(self, key: Region) -> Labels:
        part: Labels = np.array(self.array[key])
        wanted = [range(n)[some] for n, some in zip(self.shape, key, strict=True)]
        for region in self.regions:
            part[
                tuple(
                    slice(max(own.start - w.start, 0), max(own.stop - w.start, 0))
                    for own, w in zip(region, wanted, strict=True)
                )
            ] = UNPAINTED
        return part
