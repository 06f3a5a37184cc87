"""Tell volumes that are foreign to a network: from grey levels, and from the result."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Labels, Mask
from napari_lrcs.io.volume import Volume
from napari_lrcs.models.header import NetworkInfo
from napari_lrcs.models.trained_on import grey_quantiles
from napari_lrcs.preprocessing.slices import SliceReader
from napari_lrcs.progress import Notice

_FAR = 0.75
"""Distance of foreign grey levels, in standard deviations."""

_OTHER_FRACTION = 0.2
"""Difference of a phase's share that makes a result foreign."""

_MOST_SLICES = 5
_MOST_VOXELS = 2**24
"""Voxels to read for grey levels, unless two slices have more."""

_CURE = "paint a slice of it, and start a training from this network"


def warn_before(
    volume: Volume,
    network: NetworkInfo,
    *,
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
) -> list[Notice]:
    """Warn of a volume whose voxels or grey levels are foreign to a network.

    Few slices are read, of however large a volume.

    Parameters
    ----------
    network : NetworkInfo
        One that does not know what it was trained on only warns of its voxel size.
    slices : sequence of int, optional
        Slices to be predicted; by default all.
    mask : Volume of bool, optional
        Field of view.

    Raises
    ------
    VolumeError
        If a voxel in the field of view is NaN or infinite, or the file is damaged.
    """
    texts = [_size_warning(volume, network)]
    if network.trained_on is not None:
        texts.append(_grey_warning(volume, network, slices=slices, mask=mask))
    return [Notice(kind="foreign", text=text) for text in texts if text]


def _size_warning(volume: Volume, network: NetworkInfo) -> str:
    warning = network.warn_of_voxel_size(volume)
    return warning and f"the network was {network.size_text}{warning}"


def _grey_warning(
    volume: Volume,
    network: NetworkInfo,
    *,
    slices: Sequence[int] | None,
    mask: Volume | None,
) -> str:
    reader = SliceReader(
        volume=volume, preprocessing=network.config.preprocessing, mask=mask
    )
    sample = _read_some(reader, range(reader.n_slices) if slices is None else slices)
    known, normalisation = network.trained_on, network.normalisation
    if not sample or known is None:
        return ""
    if known.distance_to(grey_quantiles(sample, normalisation)) <= _FAR:
        return ""
    low, high = np.percentile(np.concatenate(sample), [0.5, 99.5])
    return (
        f"the grey levels of {volume.name} ({low:.4g} to {high:.4g}) are far from "
        f"those that the network was trained on ({normalisation.low:.4g} to "
        f"{normalisation.high:.4g}): {_CURE}"
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
    _counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._counts = np.zeros(len(self.network.phases) + 1, np.int64)

    def count(self, labels: Labels, inside: Mask | None) -> None:
        """Take in labels of any shape, in the field of view."""
        for i, plane in enumerate(labels):
            seen = plane if inside is None else plane[inside[i]]
            self._counts += np.bincount(seen.ravel(), minlength=len(self._counts))

    def warn_after(self, name: str) -> list[Notice]:
        """Warn of phases whose share is far from what the network was trained on.

        Parameters
        ----------
        name : str
            Name of the volume.
        """
        counts, known = self._counts[1:], self.network.trained_on
        if known is None or not known.fractions or not counts.any():
            return []
        shares = zip(
            self.network.phases, counts / counts.sum(), known.fractions, strict=True
        )
        found = [
            f"{phase.name} covers {here:.0%} of {name}, {there:.0%} where the network "
            "was trained"
            for phase, here, there in shares
            if abs(here - there) > _OTHER_FRACTION
        ]
        if not found:
            return []
        text = f"{'; '.join(found)}: check the result; if it is wrong, {_CURE}"
        return [Notice(kind="foreign", text=text)]
