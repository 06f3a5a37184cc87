"""How the fractions of phases depend on the size of voxels."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison.evaluate import (
    nothing_labelled,
    read_inside,
    slices_at_once,
)
from napari_lrcs.comparison.measures import Measuring
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import Phase
from napari_lrcs.uncertainty.trust.blocks import sum_blocks

FACTORS = (1, 2, 4)
"""How many voxels along each axis become one."""

_COARSEST = max(FACTORS)

_VALUES = 2**25
"""Counts of voxels and phases at once: 4 bytes each, and as much again."""


def coarsened_fractions(
    labels: Volume, *, phases: Sequence[Phase], mask: Volume | None = None
) -> Generator[Measuring, None, dict[int, NDArray[np.float64]]]:
    """Measure volume fractions as if voxels were as large, twice and four times so.

    A larger voxel becomes the phase that most of its labelled voxels have; where phases
    are equal, each gets the same share of it. It counts as much as it has labelled
    voxels, so that border and mask matter as little as they can. The trend shows what
    a finer scan might change; it says nothing of detail that this one did not resolve.

    Parameters
    ----------
    labels : Volume
        Of uint8, read once.
    phases : sequence of Phase
    mask : Volume of bool, optional
        Voxels outside count as unpainted.

    Yields
    ------
    Measuring

    Returns
    -------
    dict of ndarray of float64, shape (n_phases,)
        Fractions, 0 to 1, in the order of `phases`, for each of `FACTORS`.

    Raises
    ------
    ValueError
        If no voxel has one of the phases.
    """
    n_slices, n_rows, n_columns = labels.shape
    depth = max(1, slices_at_once(labels) // 4 // _COARSEST) * _COARSEST
    height = max(1, _VALUES // (depth * n_columns * len(phases) * _COARSEST))
    sums = {factor: np.zeros(len(phases)) for factor in FACTORS}
    for start in range(0, n_slices, depth):
        stop = min(start + depth, n_slices)
        slab = read_inside(labels, mask, start, stop)
        for row in range(0, n_rows, height * _COARSEST):
            band = slab[:, row : row + height * _COARSEST]
            for factor, of_phases in _sums_by_factor(band, phases).items():
                sums[factor] += of_phases
        yield Measuring(share=stop / n_slices, text="Coarsening labels")
    if not sums[1].any():
        raise nothing_labelled(labels)
    return {factor: of_phases / of_phases.sum() for factor, of_phases in sums.items()}


def _sums_by_factor(
    labels: Labels, phases: Sequence[Phase]
) -> dict[int, NDArray[np.float64]]:
    counts: list[NDArray[Any]] = [labels == phase.label for phase in phases]
    sums = {1: np.array([np.count_nonzero(count) for count in counts], np.float64)}
    for factor in FACTORS[1:]:  # each is twice the one before
        counts = [sum_blocks(count, (2, 2, 2)) for count in counts]
        sums[factor] = _sums_of_majorities(np.stack(counts))
    return sums


def _sums_of_majorities(counts: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Give the labelled voxels of each block to the phases that have most of them.

    Parameters
    ----------
    counts : ndarray of uint32, shape (n_phases, z, y, x)
    """
    most = counts == counts.max(axis=0)
    weights = counts.sum(axis=0) / most.sum(axis=0)
    return np.array([weights[has_most].sum() for has_most in most])
