"""The layer of the voxels in which two compared layers differ."""

from uuid import uuid4

import dask.array as da
import numpy as np
from napari.layers import Labels

from napari_lrcs.arrays import Labels as LabelArray
from napari_lrcs.comparison.compare import difference
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.compare.form import ComparedLayers
from napari_lrcs.plugin.parts.layer_kinds import marked
from napari_lrcs.plugin.parts.layers import appearance, layer_shape, place_of


def differences_layer(compared: ComparedLayers, phases: PhaseTable) -> Labels:
    """Make a layer that is compared slice by slice, as it is looked at."""
    request, target = compared.request, compared.target
    n_z, n_y, n_x = request.target.shape

    def compare_slice(block_id: tuple[int, ...]) -> LabelArray:
        z = block_id[0]
        painted: LabelArray = request.target.slab(z, z + 1)
        if request.mask is not None:
            painted *= request.mask.slab(z, z + 1)
        return difference(request.predicted.slab(z, z + 1), painted)

    array = da.map_blocks(
        compare_slice,
        chunks=((1,) * n_z, (n_y,), (n_x,)),
        meta=np.empty((0, 0, 0), np.uint8),
        name=f"differences-{uuid4().hex}",  # a hash would read all voxels
    )
    return Labels(
        array.reshape(layer_shape(target)),
        name=f"differences: {compared.predicted.name} vs {target.name}",
        metadata=marked("difference map"),
        **appearance(phases),
        **place_of(target),
    )
