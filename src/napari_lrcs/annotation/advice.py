"""What a user should know of the painting before a training."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np

from napari_lrcs.arrays import Labels
from napari_lrcs.io.volume import format_slices
from napari_lrcs.phases import PhaseTable

Name = TypeVar("Name", bound=str)

_FEW_VOXELS = 100
"""Painted voxels of a phase below which its scores and its training are noise."""


def advise_on_phases(
    painted: Mapping[str, Sequence[Labels]], phases: PhaseTable
) -> list[str]:
    """Name phases that are painted too little, or not at all.

    Parameters
    ----------
    painted : mapping of str to sequence of ndarray of uint8
        Painted slices by what they serve for.
    """
    advice = []
    for use, slices in painted.items():
        if not slices:
            continue
        flat = np.concatenate([labels.ravel() for labels in slices])
        counts = np.bincount(flat, minlength=len(phases) + 1)
        for phase in phases:
            n = int(counts[phase.label])
            if n == 0:
                advice.append(f"{phase.name} is painted on no {use} slice")
            elif n < _FEW_VOXELS:
                advice.append(f"{phase.name} has only {n} painted voxels for {use}")
    return advice


def advise_on_distance(
    name: str, roles: Mapping[Name, Sequence[int]], *, n_slices: int
) -> list[str]:
    """Name roles whose slices are less than a tenth of the volume apart.

    Parameters
    ----------
    name : str
        Of the volume.
    roles : mapping of str to sequence of int
        Slices of each role.
    """
    advice = []
    for (role, places), (other_role, others) in combinations(roles.items(), 2):
        gap = min((abs(a - b) for a in places for b in others), default=n_slices)
        if gap < n_slices / 10:
            advice.append(
                f"{role} and {other_role} slices of {name} are {gap} apart, less than "
                f"a tenth of its {n_slices} slices: if they look alike, the scores are "
                "too good"
            )
    return advice


def advise_on_checks(taken: Mapping[int, int]) -> list[str]:
    """Say how many painted voxels check patches take, if any.

    Parameters
    ----------
    taken : mapping of int to int
        Voxels of each slice.

    Examples
    --------
    >>> advise_on_checks({10: 2304, 12: 50, 14: 0})
    ['2,354 painted voxels of slices 10,12 lie in check patches and are left out of \
training and validation; they only judge']
    >>> advise_on_checks({10: 0})
    []
    """
    hit = sorted(index for index, n in taken.items() if n)
    if not hit:
        return []
    n = sum(taken.values())
    return [
        f"{n:,} painted voxel{'s' * (n != 1)} of slice{'s' * (len(hit) != 1)} "
        f"{format_slices(hit)} lie in check patches and are left out of training and "
        "validation; they only judge"
    ]
