"""Compare the confidence of a prediction with how often it is right."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison.evaluate import (
    check_comparable,
    nothing_painted,
    read_pair,
)
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume
from napari_lrcs.metrics.calibration import Reliability, count_reliability
from napari_lrcs.phases import UNPAINTED


def evaluate_confidence(
    predicted: Volume,
    target: Volume,
    confidence: Volume,
    *,
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
) -> Reliability:
    """Count how often voxels of each confidence are predicted right, slice by slice.

    Parameters
    ----------
    predicted, target, slices, mask
        As of `evaluate_volume`.
    confidence : Volume of uint8
        That of the prediction, 0 to 255, as ``predict --confidence`` writes it.

    Raises
    ------
    ValueError
        As `evaluate_volume` and `check_confidence` do, and if the confidence is 0
        where the target is painted.
    """
    check_comparable(predicted, target, slices=slices)
    check_confidence(confidence, predicted)
    total = None
    for z in range(target.shape[0]) if slices is None else slices:
        painted, answer = read_pair(predicted, target, z, z + 1, mask=mask)
        values = _read_confidence(confidence, painted, z)
        counts = count_reliability(painted, answer, values)
        total = counts if total is None else total + counts
    if total is None or not total.n.any():
        raise nothing_painted(target)
    return total


def check_confidence(confidence: Volume, predicted: Volume) -> None:
    """Refuse what cannot be the confidence of a prediction, without reading a voxel.

    Raises
    ------
    VolumeError
        If it has another shape, or is not uint8.
    """
    advice = "choose the file that predict --confidence has written with it"
    if confidence.shape != predicted.shape:
        raise VolumeError(
            f"the confidence {confidence.name} is {confidence.shape} voxels (z, y, x), "
            f"the prediction {predicted.name} {predicted.shape}; {advice}"
        )
    if confidence.dtype != np.uint8:
        raise VolumeError(
            f"the confidence {confidence.name} holds {confidence.dtype}, expected "
            f"uint8, 0 to 255; {advice}"
        )


def _read_confidence(confidence: Volume, painted: Labels, z: int) -> NDArray[np.uint8]:
    values: NDArray[np.uint8] = confidence.slab(z, z + 1)
    if ((painted != UNPAINTED) & (values == 0)).any():
        raise VolumeError(
            f"the confidence {confidence.name} is 0 in painted voxels of slice z={z}, "
            "so it is not that of this prediction; choose the one that predict "
            "--confidence has written with it"
        )
    return values
