"""Tell volumes that are foreign to a network: from grey levels, and from the result."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.header import NetworkInfo
from napari_lrcs.models.trained_on import grey_quantiles
from napari_lrcs.preprocessing.slices import SliceReader, sampled
from napari_lrcs.progress import Notice

_FAR = 0.75
"""Distance of foreign grey levels, in standard deviations of the training slices.

Measured between single slices and the volume that they are of: a cathode at most .07, a
Ni-YSZ anode .14, real cathodes .29 and .35, serial sections of uneven brightness .69.
Between volumes of different kinds at least 1.2; between two real cathodes .4 to 1.1. A
factor of 1.1 on the grey levels makes .3 and costs no accuracy; 1.3 makes .8 to .9, and
a network found .64, .19 and .85 of the phases (IoU) instead of .85, .31 and .88.
"""

_OTHER_FRACTION = 0.2
"""Difference of a phase's share that makes a result foreign.

Measured, with networks of 60 steps: single slices of the volume differ by at most .04
(cathode), .05 (Ni-YSZ) and .14 (real cathodes), the two real cathodes by .11 and .18;
volumes of other kinds by at least .26.
"""

_MOST_SLICES = 5
_MOST_VOXELS = 2**24
"""Voxels to read for grey levels, unless two slices have more."""


def warn_of_voxel_size(volume: Volume, network: NetworkInfo) -> list[Notice]:
    """Warn of a volume whose voxel size is not that of the training."""
    warning = network.warn_of_voxel_size(volume)
    text = f"the network was {network.size_text}{warning}"
    return [Notice(kind="foreign", text=text)] if warning else []


def warn_of_grey_levels(
    volume: Volume,
    network: NetworkInfo,
    *,
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
) -> list[Notice]:
    """Warn of a volume whose grey levels are far from those of the training.

    Few slices are read, of however large a volume.

    Parameters
    ----------
    network : NetworkInfo
        Without `trained_on`, there is no warning.
    slices : sequence of int, optional
        Slices to be predicted; by default all.
    mask : Volume of bool, optional
        Field of view.

    Raises
    ------
    VolumeError
        If a voxel in the field of view is NaN or infinite, or the file is damaged.
    """
    known, normalisation = network.trained_on, network.normalisation
    if known is None:
        return []
    preprocessing = network.config.preprocessing
    reader = SliceReader(
        volume=sampled(volume, axis=preprocessing.axis),
        preprocessing=preprocessing,
        mask=mask and sampled(mask, axis=preprocessing.axis),
    )
    sample = _read_some(reader, range(reader.n_slices) if slices is None else slices)
    if not sample or known.distance_to(grey_quantiles(sample, normalisation)) <= _FAR:
        return []
    low, high = np.percentile(np.concatenate(sample), [0.5, 99.5])
    text = (
        f"the grey levels of {volume.name} ({_range(low, high)}) are far from those "
        "that the network was trained on "
        f"({_range(normalisation.low, normalisation.high)}): paint a slice of it, and "
        "start a training from this network"
    )
    return [Notice(kind="foreign", text=text)]


def _range(*levels: float) -> str:
    """Write two grey levels, whole numbers if they are large.

    Examples
    --------
    >>> _range(-0.1234, 19943.2)
    '-0.123 to 19943'
    """
    return " to ".join(
        f"{level:.0f}" if abs(level) >= 100 else f"{level:.3g}" for level in levels
    )


def _read_some(reader: SliceReader, slices: Sequence[int]) -> list[GreyImage]:
    """Read evenly spread slices in the field of view, flat."""
    rows, columns = reader.slice_shape
    n = int(np.clip(_MOST_VOXELS // (rows * columns), 2, _MOST_SLICES))
    places = {int((i + 0.5) * len(slices) / n) for i in range(n)}
    sample = []
    for z in sorted(slices[place] for place in places):
        inside = reader.inside(z, z + 1)
        image = reader.read(z, z + 1)
        sample.append(image[... if inside is None else inside].ravel())
    return [values for values in sample if values.size]


@dataclass(slots=True, eq=False)
class PredictedPhases:
    """Counts what a network predicts, to warn of a result that is foreign to it."""

    network: NetworkInfo
    counts: NDArray[np.int64] = field(init=False)
    """Voxels of each label, from 0."""

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.network.phases) + 1, np.int64)

    def count(self, labels: Labels, inside: Mask | None) -> None:
        """Take in labels of any shape, in the field of view."""
        for i, plane in enumerate(labels):
            seen = plane if inside is None else plane[inside[i]]
            self.counts += np.bincount(seen.ravel(), minlength=len(self.counts))

    def warn_after(self, name: str) -> list[Notice]:
        """Warn of phases whose share is far from what the network was trained on.

        Parameters
        ----------
        name : str
            Name of the volume.
        """
        counts, known = self.counts[1:], self.network.trained_on
        if known is None or not known.fractions or not counts.any():
            return []
        found = [
            (phase.name, here, there)
            for phase, here, there in zip(
                self.network.phases, counts / counts.sum(), known.fractions, strict=True
            )
            if abs(here - there) > _OTHER_FRACTION
        ]
        if not found:
            return []
        (first, here, there), *others = found
        clauses = [
            f"{first} covers {here:.0%} of {name} ({there:.0%} where the network was "
            "trained)",
            *(f"{other} {here:.0%} ({there:.0%})" for other, here, there in others),
        ]
        text = (
            f"{', '.join(clauses)}: check the result; if it is wrong, paint a slice "
            "and train on it"
        )
        return [Notice(kind="foreign", text=text)]
