"""Shares of volume, surface and interfaces, from counts of voxels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.phases import Phase

Neighbourhood = Literal[4, 8, 6, 18, 26]
"""How many neighbours a voxel has: 4 and 8 within its slice, 6, 18 and 26 around it."""


class PhaseMeasuresDict(TypedDict):
    """Measures of one phase as they stand in JSON."""

    label: int
    name: str
    volume_fraction: float
    surface_fraction: float
    surface_to_volume: float


class InterfaceDict(TypedDict):
    """Measures of one interface as they stand in JSON."""

    phases: list[int]
    fraction: float
    sides: list[float]


class MeasuresDict(TypedDict):
    """What ``measure --json`` prints."""

    phases: list[PhaseMeasuresDict]
    interfaces: list[InterfaceDict]
    neighbourhood: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Composition:
    """Counts of voxels, from which all fractions follow; those of slabs add up.

    All fractions are of labelled voxels, 0 to 1, and NaN where there are none.

    Parameters
    ----------
    n_voxels : ndarray of int64, shape (n_phases,)
        Voxels of each phase.
    n_surface : ndarray of int64, shape (n_phases,)
        Voxels of each phase with at least one neighbour of another phase.
    n_touching : ndarray of int64, shape (n_phases, n_phases)
        Entry ``[a - 1, b - 1]`` counts the voxels of phase a with at least one
        neighbour of phase b; the diagonal is 0.
    neighbourhood : {4, 8, 6, 18, 26}
        Which voxels were neighbours.
    """

    n_voxels: NDArray[np.int64]
    n_surface: NDArray[np.int64]
    n_touching: NDArray[np.int64]
    neighbourhood: Neighbourhood

    def __add__(self, other: Self) -> Self:
        if self.neighbourhood != other.neighbourhood:
            raise ValueError(
                f"neighbourhoods {self.neighbourhood} and {other.neighbourhood} do not "
                "add up; count both parts with the same"
            )
        return type(self)(
            n_voxels=self.n_voxels + other.n_voxels,
            n_surface=self.n_surface + other.n_surface,
            n_touching=self.n_touching + other.n_touching,
            neighbourhood=self.neighbourhood,
        )

    @property
    def volume_fraction(self) -> NDArray[np.float64]:
        """Share of each phase, shape (n_phases,)."""
        return self._of_labelled(self.n_voxels)

    @property
    def surface_fraction(self) -> NDArray[np.float64]:
        """Share of the voxels on the surface of each phase, shape (n_phases,)."""
        return self._of_labelled(self.n_surface)

    @property
    def surface_to_volume(self) -> NDArray[np.float64]:
        """Share of each phase's own voxels that are surface, shape (n_phases,).

        A ratio of voxels, not an area: NaN for a phase that is absent.
        """
        ratio: NDArray[np.float64] = self.n_surface / np.where(
            self.n_voxels > 0, self.n_voxels, np.nan
        )
        return ratio

    @property
    def interface_fraction(self) -> dict[tuple[int, int], float]:
        """Share of the voxels on the interface of phases (a, b), a < b."""
        both = self._of_labelled(self.n_touching + self.n_touching.T)
        return {(a, b): float(both[a - 1, b - 1]) for a, b in self._pairs()}

    @property
    def interface_sides(self) -> dict[tuple[int, int], tuple[float, float]]:
        """The parts of `interface_fraction` that lie in a and in b."""
        side = self._of_labelled(self.n_touching)
        return {
            (a, b): (float(side[a - 1, b - 1]), float(side[b - 1, a - 1]))
            for a, b in self._pairs()
        }

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return combinations(range(1, self.n_voxels.size + 1), 2)

    def _of_labelled(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        return counts / (int(self.n_voxels.sum()) or np.nan)


def measure_dict(composition: Composition, phases: Iterable[Phase]) -> MeasuresDict:
    """Gather all fractions for JSON, unrounded; NaN where undefined.

    Parameters
    ----------
    phases : iterable of Phase
        Those that are counted, in the order of the counts.

    Raises
    ------
    ValueError
        If no voxel is labelled.
    """
    if not composition.n_voxels.any():
        raise ValueError("no voxel is labelled: all are 0, so there are no shares")
    sides, counted = composition.interface_sides, tuple(phases)
    return MeasuresDict(
        phases=[
            PhaseMeasuresDict(
                label=phase.label,
                name=phase.name,
                volume_fraction=float(volume),
                surface_fraction=float(surface),
                surface_to_volume=float(ratio),
            )
            for phase, volume, surface, ratio in zip(
                counted,
                composition.volume_fraction,
                composition.surface_fraction,
                composition.surface_to_volume,
                strict=True,
            )
        ],
        interfaces=[
            InterfaceDict(
                phases=[counted[place - 1].label for place in pair],
                fraction=fraction,
                sides=[*sides[pair]],
            )
            for pair, fraction in composition.interface_fraction.items()
        ],
        neighbourhood=composition.neighbourhood,
    )
