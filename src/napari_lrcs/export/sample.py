"""A made-up slice with the grey levels that a network expects, to try it on."""

import numpy as np

from napari_lrcs.arrays import GreyImage
from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.models.header import NetworkInfo
from napari_lrcs.models.trained_on import QUANTILES

_FEWEST_SLICES = 8
"""Of a phantom."""

_HOT = np.float32(1e-3)
"""Grey level of a hot pixel: bioimage.io accepts no test image within ±1e-4."""


def sample_slices(network: NetworkInfo, *, side: int) -> GreyImage:
    """Simulate a slice and its neighbours for a network.

    It is the built-in electrode, its grey levels moved to the quantiles of the training
    slices; where these are not known, to their mean and standard deviation. Nothing of
    the user's data is in it. If all of them are tiny, as absorption coefficients in
    1/µm are, one corner is a hot pixel, which the normalisation limits.

    Parameters
    ----------
    side : int
        Rows and columns, at least 32.

    Returns
    -------
    ndarray of float32, shape (n_channels, side, side)
        Grey levels as they are behind the filters and before the normalisation.
    """
    n_channels = network.config.network.n_channels
    shape = (max(n_channels, _FEWEST_SLICES), side, side)
    volume = electrode_phantom(shape=shape).volume[:n_channels].astype(np.float32)
    standard = (volume - volume.mean()) / volume.std()
    if network.trained_on is not None:
        known = np.quantile(standard, QUANTILES)
        standard = np.interp(standard, known, network.trained_on.grey_levels)
    scale = network.normalisation
    grey: GreyImage = (standard * scale.sd + scale.mean).astype(np.float32)
    if np.abs(grey).max() < _HOT:
        grey[0, 0, 0] = _HOT
    return grey
