"""Sample data for napari's File menu."""

import numpy as np
from napari.types import LayerData

from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.parts.layers.layers import appearance
from napari_lrcs.preprocessing.slices import AXES


def nmc_electrode() -> list[LayerData]:
    """Simulate the nano-CT of an NMC electrode, and give its true phases.

    Returns
    -------
    list of LayerData
        The grey volume as an image and its phases as labels, both shape (z, y, x).
    """
    phantom = electrode_phantom(seed=0)
    place = {
        "scale": phantom.voxel_size,
        "units": ("micrometer",) * 3,
        "axis_labels": tuple(AXES),
    }
    # A few extreme voxels must not flatten the contrast of all others.
    contrast_limits = np.percentile(phantom.volume, (0.1, 99.9)).tolist()
    image = {"name": "NMC electrode", "contrast_limits": contrast_limits} | place
    labels = {"name": "NMC electrode phases"} | appearance(ELECTRODE) | place
    return [(phantom.volume, image, "image"), (phantom.labels, labels, "labels")]
