"""Where the members of a study agree: computed region by region, at any size."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison.votes import as_level, most_voted
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import add_levels
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.provenance import combined
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.phases import PhaseTable

VOLUMES = ("majority", "agreement", "entropy")
"""Names of the volumes, which lie in ``NAME.zarr``."""

_REGION = (16, 512, 512)
"""Voxels computed at once, and a chunk on disk."""

_VOTED = 0.9
"""Share of the work, about, before coarser levels are added."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Agreement:
    """What several segmentations say about each voxel.

    Parameters
    ----------
    majority : ndarray of uint8
        The label that most give, the lowest of several; 0 where any gives 0.
    agreement : ndarray of uint8
        255 times the share that give the majority's label, rounded; 0 where any
        gives 0.
    entropy : ndarray of uint8
        255 times the entropy of the labels given, over that of all phases given
        equally often, rounded: 0 where all agree, and where any gives 0.
    """

    majority: Labels
    agreement: NDArray[np.uint8]
    entropy: NDArray[np.uint8]


def find_agreement(
    segmentations: Iterable[Labels], *, n_members: int, n_phases: int
) -> Agreement:
    """Count the labels that segmentations give to each voxel.

    Parameters
    ----------
    segmentations : iterable of ndarray of uint8, all of one shape
        Labels up to `n_phases`; read one after another.
    n_members : int
        How many there are.

    Examples
    --------
    >>> first, second = np.array([[1, 2, 0], [1, 1, 0]], np.uint8)
    >>> found = find_agreement([first, second], n_members=2, n_phases=2)
    >>> found.majority.tolist(), found.agreement.tolist(), found.entropy.tolist()
    ([1, 1, 0], [255, 128, 0], [0, 255, 0])
    """
    votes = _count_votes(segmentations, n_phases=n_phases)
    share = np.arange(n_members + 1) / n_members
    with np.errstate(divide="ignore", invalid="ignore"):
        surprise = np.nan_to_num(-share * np.log(share)) / math.log(n_phases)
    majority, most = most_voted(enumerate(votes, 1), shape=votes.shape[1:])
    entropy = np.zeros(votes.shape[1:], np.float32)
    for count in votes:
        entropy += surprise.astype(np.float32)[count]
    is_labelled = votes.sum(axis=0, dtype=np.uint16) == n_members
    return Agreement(
        majority=majority * is_labelled,
        agreement=as_level(share)[most] * is_labelled,
        entropy=as_level(entropy) * is_labelled,
    )


def _count_votes(
    segmentations: Iterable[Labels], *, n_phases: int
) -> NDArray[np.uint16]:
    votes: NDArray[np.uint16] | None = None
    for labels in segmentations:
        if votes is None:
            votes = np.zeros((n_phases, *labels.shape), np.uint16)
        for i in range(n_phases):
            votes[i] += labels == i + 1
    if votes is None:
        raise ValueError("an agreement needs at least one segmentation, got none")
    return votes


def write_agreement(
    segmentations: Sequence[Path], *, out: Path, phases: PhaseTable
) -> Iterator[float]:
    """Write majority, agreement and entropy of whole volumes as OME-Zarr.

    Parameters
    ----------
    segmentations : sequence of Path
        Labels of one shape.
    out : Path
        Folder of ``majority.zarr``, ``agreement.zarr`` and ``entropy.zarr``, which are
        replaced when all are complete.

    Yields
    ------
    float
        Share of the work that is done, 0 to 1.
    """
    volumes = [open_labels(path) for path in segmentations]
    provenance = combined([volume.provenance for volume in volumes])
    like = replace(volumes[0], provenance=provenance)
    with ExitStack() as stack:
        places = {
            name: stack.enter_context(replacing(out / f"{name}.zarr"))
            for name in VOLUMES
        }
        targets = {
            name: _create(place, like, name, phases) for name, place in places.items()
        }
        for share in _vote(volumes, targets, n_phases=len(phases)):
            yield _VOTED * share
        for i, place in enumerate(places.values()):
            for share in add_levels(place):
                yield _VOTED + (1 - _VOTED) * (i + share) / len(places)


def _create(
    place: Path, like: Volume, name: str, phases: PhaseTable
) -> zarr.Array[Any]:
    return create_ome_zarr(
        place,
        shape=like.shape,
        chunks=tuple(map(min, _REGION, like.shape)),
        voxel_size=like.voxel_size,
        unit=like.unit,
        phases=phases if name == "majority" else None,
        provenance=like.provenance if name == "majority" else None,
        name=name,
    )


def _vote(
    volumes: Sequence[Volume], targets: dict[str, zarr.Array[Any]], *, n_phases: int
) -> Iterator[float]:
    shape = volumes[0].shape
    starts = [range(0, n, step) for n, step in zip(shape, _REGION, strict=True)]
    n_regions = math.prod(map(len, starts))
    for i, corner in enumerate(product(*starts), 1):
        region = tuple(
            slice(start, start + step)
            for start, step in zip(corner, _REGION, strict=True)
        )
        found = find_agreement(
            (volume.region(*region) for volume in volumes),
            n_members=len(volumes),
            n_phases=n_phases,
        )
        for name, target in targets.items():
            target[region] = getattr(found, name)
        yield i / n_regions
