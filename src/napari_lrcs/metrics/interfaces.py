"""Voxels on the interfaces of painted phases, and near them."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.phases import UNPAINTED


def find_interface(labels: Labels, *, dimensions: int) -> Mask:
    """Find the painted voxels with a painted face neighbour of another phase.

    Parameters
    ----------
    labels : ndarray of uint8, shape (y, x) or (z, y, x)
    dimensions : {2, 3}
        Whether voxels have 4 neighbours within their slice, or 6.

    Returns
    -------
    ndarray of bool, shape of `labels`

    Examples
    --------
    >>> labels = np.array([[1, 1, 2, 0, 3]], np.uint8)
    >>> find_interface(labels, dimensions=2).astype(int).tolist()
    [[0, 1, 1, 0, 0]]
    """
    on_interface = np.zeros(labels.shape, np.bool_)
    painted = labels != UNPAINTED
    for axis in range(-dimensions, 0):
        label, paint, found = (
            np.moveaxis(array, axis, 0) for array in (labels, painted, on_interface)
        )
        differ = label[:-1] != label[1:]
        differ &= paint[:-1]
        differ &= paint[1:]
        found[:-1] |= differ
        found[1:] |= differ
    return on_interface


def near_interface(labels: Labels, distances: Sequence[int]) -> Mask:
    """Find the pixels of a slice that are near an interface.

    Parameters
    ----------
    labels : ndarray of uint8, shape (rows, columns)
        Unpainted pixels have no interface.
    distances : sequence of int
        In pixels, Euclidean, between centres; 0 is on the interface, as
        `find_interface` finds it.

    Returns
    -------
    ndarray of bool, shape (len(distances), rows, columns)

    Examples
    --------
    >>> labels = np.array([[1, 1, 1, 2, 2]], np.uint8)
    >>> near_interface(labels, [0, 1]).astype(int).tolist()
    [[[0, 0, 1, 1, 0]], [[0, 1, 1, 1, 1]]]
    """
    on_interface = find_interface(labels, dimensions=2)
    if not on_interface.any():
        return np.zeros((len(distances), *labels.shape), np.bool_)
    away = distance_transform_edt(~on_interface)
    return np.stack([away <= distance for distance in distances])
