"""Find the perturbation that changes a wanted share of the painted voxels."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from napari_lrcs.arrays import Labels
from napari_lrcs.config import Kernel, PerturbConfig
from napari_lrcs.metrics.interfaces import find_interface
from napari_lrcs.uncertainty.perturbation.perturb import (
    ENOUGH_SLICES,
    Dimensions,
    changed_share,
    perturb_labels,
    usual_dimensions,
)

_FROM_SMALL_TO_LARGE: tuple[Kernel, ...] = (
    "cross",
    "cube_3",
    "ball_5",
    "cube_5",
    "cube_7",
)
"""Kernels that are suggested; the other balls hardly differ from one of these."""

_ADJUSTMENTS, _NEAR_ENOUGH = 5, 0.05
"""Attempts at the wanted share of changed voxels, and the relative error allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A perturbation that changes about a wanted share of the painted voxels."""

    config: PerturbConfig
    share: float
    """Of the painted voxels, 0 to 1, that it changed when it was tried."""


def suggest_perturbation(
    labels: Labels,
    *,
    config: PerturbConfig = PerturbConfig(),  # noqa: B008 frozen
    wanted_share: float = 0.1,
    seed: int = 0,
    dimensions: Dimensions | None = None,
) -> Suggestion:
    """Find a kernel and a picked fraction that change a wanted share of the voxels.

    Of the kernels, the one that comes nearest with the paper's picked fraction is
    taken; then the fraction is adjusted unless the share is within a twentieth.

    Parameters
    ----------
    labels, dimensions
        As of `Perturbation`; of a volume, ten slices in its middle are tried.
    config : PerturbConfig
        All but kernel and picked fraction stay as they are here.
    wanted_share : float
        Share of the painted voxels, above 0 and below 1. 0.1 is by how much
        experimenters differ (the paper's Fig. 1).

    Returns
    -------
    Suggestion
        The nearest that was found; ``share`` says how near that is.

    Raises
    ------
    ValueError
        If the wanted share is out of its range, or as `Perturbation` does.
    """
    if not 0 < wanted_share < 1:
        raise ValueError(
            "the wanted share of changed voxels must be above 0 and below 1, got "
            f"{wanted_share}"
        )
    resolved: Dimensions = dimensions or usual_dimensions(labels)
    sample = _middle_slices(labels, dimensions=resolved)

    def attempt(kernel: Kernel, picked_fraction: float) -> Suggestion:
        tried = config.with_changes(kernel=kernel, picked_fraction=picked_fraction)
        perturbed = perturb_labels(sample, config=tried, seed=seed, dimensions=resolved)
        return Suggestion(config=tried, share=changed_share(sample, perturbed))

    def error(suggestion: Suggestion) -> float:
        return abs(suggestion.share - wanted_share)

    best = last = min(_up_to(attempt, wanted_share), key=error)
    for _ in range(_ADJUSTMENTS):
        if error(best) < _NEAR_ENOUGH * wanted_share or last.share == 0:
            break
        fraction = last.config.picked_fraction * wanted_share / last.share
        last = attempt(best.config.kernel, min(float(f"{fraction:.3g}"), 1.0))
        best = min(best, last, key=error)
    return best


def _up_to(
    attempt: Callable[[Kernel, float], Suggestion], wanted_share: float
) -> Iterator[Suggestion]:
    """Try ever larger kernels until one changes more than is wanted."""
    for kernel in _FROM_SMALL_TO_LARGE:
        tried = attempt(kernel, PerturbConfig().picked_fraction)
        yield tried
        if tried.share > wanted_share:
            return


def _middle_slices(labels: Labels, *, dimensions: Dimensions) -> Labels:
    """Return the slices around the middle one of those with an interface."""
    if labels.ndim == 2 or len(labels) <= ENOUGH_SLICES:
        return labels
    on_interface = find_interface(labels, dimensions=dimensions)
    places = np.flatnonzero(on_interface.any(axis=(1, 2)))
    if len(places) == 0:  # which is refused, but not here
        return labels
    first = max(int(places[len(places) // 2]) - ENOUGH_SLICES // 2, 0)
    return labels[first : first + ENOUGH_SLICES]
