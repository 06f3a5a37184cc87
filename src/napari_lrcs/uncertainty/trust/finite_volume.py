"""How far a fraction of a finite volume may be from that of the material."""

import math
from collections.abc import Callable, Generator, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.comparison.evaluate import nothing_labelled
from napari_lrcs.comparison.measures import Measuring
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.counting import at_interface
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.uncertainty.trust import CONFIDENCE_LEVEL
from napari_lrcs.uncertainty.trust.blocks import (
    Block,
    block_within,
    blocks_of,
    read_layers,
    sum_blocks,
)
from napari_lrcs.uncertainty.trust.covariance import (
    Support,
    mean_variance,
)

Key = TypeVar("Key", bound=Hashable)

Indicator = Callable[[Labels], Mask]
"""Finds the voxels that count for a fraction, in labels of whole slices (z, y, x)."""

_N_BLOCKS = 2**21
"""Most blocks whose covariance is computed: some 600 MB of memory."""

_N_VALUES = 2**26
"""Most blocks of all fields together: a quarter of a GB."""

_FEW, _FEWEST = 10, 3
"""Independent pieces below which an interval is rough, and below which it says nothing.

With fewer than three, Student's t has under two degrees of freedom: no variance.
"""

_READING = 0.3
"""Rough share of the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FiniteVolume:
    """How far a fraction measured in a volume may be from that of the material.

    The volume counts as so many independent pieces, and the interval is Student's for
    the mean of as many values. It holds for a material that is everywhere alike: what
    changes over more than the volume, as a trend does, cannot be seen in it.

    Parameters
    ----------
    fraction : float
        Measured in this volume, 0 to 1.
    integral_range : float
        Size of an independent piece, in voxels (Lantuéjoul 1991, J. Microsc. 161:387,
        doi 10.1111/j.1365-2818.1991.tb03099.x), as far as it lies in the volume: a
        layer that passes through counts up to the border. NaN if there is no telling.
    n_effective : float
        Number of independent pieces of this volume; NaN if there is no telling.
    sd : float
        Standard deviation of the fraction in volumes of this size; NaN if unknown.
    half_width : float
        Of the interval for the material; NaN if there is none.
    reason : str or None
        What the user should know: why there is no interval, or why it is rough.
    """

    fraction: float
    integral_range: float
    n_effective: float
    sd: float
    half_width: float
    reason: str | None = None

    @property
    def is_few(self) -> bool:
        """Whether the volume holds fewer than ten independent pieces."""
        return not self.n_effective >= _FEW


def in_phase(label: int) -> Indicator:
    """Make the indicator of a phase."""
    return lambda labels: labels == label


def in_interface(a: int, b: int) -> Indicator:
    """Make the indicator of the interface of two phases, by the 8 neighbours in y x."""
    return lambda labels: at_interface(labels, a, b, neighbourhood=8)


def finite_volumes(
    labels: Volume,
    indicators: Mapping[Key, Indicator],
    *,
    mask: Volume | None = None,
    confidence_level: float = CONFIDENCE_LEVEL,
) -> Generator[Measuring, None, dict[Key, FiniteVolume]]:
    """Measure fractions of the labelled voxels, and how far the material's may be.

    The volume is read once. Volumes of more than two million voxels are coarsened: the
    sum of the covariance of block means is that of the voxels.

    Parameters
    ----------
    labels : Volume
        Of uint8; a single slice is an area.
    indicators : mapping to callables
        As of `in_phase` and `in_interface`. They are called with whole slices, of a few
        at a time.
    mask : Volume of bool, optional
        Voxels outside count as unpainted.
    confidence_level : float
        How often the interval should contain the fraction of the material, 0 to 1.

    Yields
    ------
    Measuring

    Returns
    -------
    dict of FiniteVolume
        One for each indicator.

    Raises
    ------
    ValueError
        If nothing is labelled.
    """
    most = min(_N_BLOCKS, _N_VALUES // (len(indicators) + 1))
    block = block_within(labels.shape, n_blocks=most)
    functions = [_is_labelled, *indicators.values()]
    counts, *fields = yield from _sums(labels, mask, functions, block)
    n_labelled = int(counts.sum(dtype=np.int64))
    if not n_labelled:
        raise nothing_labelled(labels)
    full = math.prod(block)
    support = Support.of((counts / full).astype(np.float32))
    found: dict[Key, FiniteVolume] = {}
    for key, field in zip(indicators, fields, strict=True):
        share = _READING + (1 - _READING) * len(found) / len(indicators)
        yield Measuring(share=share, text="Finding independent pieces")
        fraction = float(field.sum(dtype=np.int64) / n_labelled)
        if 0 < fraction < 1:
            deviations = ((field - fraction * counts) / full).astype(np.float32)
            variance = mean_variance(deviations, support)
            found[key] = _judged(
                fraction, variance, n_labelled=n_labelled, level=confidence_level
            )
        else:
            where = "everywhere" if fraction else "nowhere"
            reason = (
                f"it is {where} in the volume, which cannot show how other volumes "
                "would differ"
            )
            found[key] = _without_interval(fraction, reason)
    return found


def _is_labelled(labels: Labels) -> Mask:
    is_labelled: Mask = labels != UNPAINTED
    return is_labelled


def _sums(
    labels: Volume, mask: Volume | None, indicators: list[Indicator], block: Block
) -> Generator[Measuring, None, list[np.ndarray]]:
    """Add up each indicator over each block."""
    shape = blocks_of(labels.shape, block)
    totals = [np.zeros(shape, np.uint32) for _ in indicators]
    for start, slab in read_layers(labels, mask, depth=block[0]):
        first = start // block[0]
        for total, indicator in zip(totals, indicators, strict=True):
            sums = sum_blocks(indicator(slab), block)
            total[first : first + len(sums)] += sums
        done = (start + len(slab)) / labels.shape[0]
        yield Measuring(share=_READING * done, text="Reading labels")
    return totals


def _judged(
    fraction: float, variance: float, *, n_labelled: int, level: float
) -> FiniteVolume:
    # A sample's variance about its own mean is too low by the variance of the mean.
    n_pieces = fraction * (1 - fraction) / variance + 1
    if not n_pieces >= _FEWEST:
        return _without_interval(
            fraction,
            "the volume holds fewer than three independent pieces, too few to show how "
            "others would differ",
        )
    sd = math.sqrt(variance)
    rough = f"the volume holds only about {n_pieces:.0f} independent pieces"
    return FiniteVolume(
        fraction=fraction,
        integral_range=n_labelled / n_pieces,
        n_effective=n_pieces,
        sd=sd,
        half_width=float(stats.t.ppf((1 + level) / 2, n_pieces - 1)) * sd,
        reason=rough if n_pieces < _FEW else None,
    )


def _without_interval(fraction: float, reason: str) -> FiniteVolume:
    return FiniteVolume(
        fraction=fraction,
        integral_range=math.nan,
        n_effective=math.nan,
        sd=math.nan,
        half_width=math.nan,
        reason=reason,
    )
