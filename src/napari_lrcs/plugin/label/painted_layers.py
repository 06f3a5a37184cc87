"""Make labels layers that can be painted: new, opened again, or the user's own."""

import numpy as np
from napari.layers import Image, Labels

from napari_lrcs.annotation.painting.folder import (
    ImageIdentity,
    PaintingFolder,
    PaintingState,
)
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.phases import ELECTRODE, MAX_PHASES, Phase, PhaseTable
from napari_lrcs.plugin.painting.autosave import Counts
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.layers.layers import (
    appearance,
    layer_shape,
    place_of,
    show_phases,
    volume_of,
    workspace_for,
)


def new_painting(image: Image, *, phases: PhaseTable, axis: Axis = "z") -> Labels:
    """Begin a painting of an image.

    Parameters
    ----------
    image : Image
        2D or 3D, of any size: only what is painted takes room, on disk.
    phases : PhaseTable
        What the labels stand for.
    axis : {"z", "y", "x"}
        Axis that the painted slices lie across; z for a 2D image.

    Returns
    -------
    Labels
        In the image's place, not yet in a viewer; see `painting_of`.

    Raises
    ------
    VolumeError
        If the image is in colour or has other axes.
    OSError
        If the painting cannot be saved.
    """
    state, folder = _begin(image, phases=phases, axis=axis)
    return open_painting(folder, image, state=state, counts={})


def open_painting(
    folder: PaintingFolder, image: Image, *, state: PaintingState, counts: Counts
) -> Labels:
    """Make the layer of a painting that is on disk.

    Parameters
    ----------
    folder : PaintingFolder
        Where the painting is.
    image : Image
        The image that is painted on.
    state : PaintingState
        What `folder.read` returns.
    counts : mapping of int to ndarray of int64
        What `folder.labels.painted_slices` returns.

    Returns
    -------
    Labels
        Strokes into a 3D one are on disk at once.

    Raises
    ------
    VolumeError
        If the image is of another shape, or the painting is damaged or open elsewhere.
    OSError
        If its folder cannot be written to.
    """
    if (found := _shape_3d(image)) != state.image.shape:
        raise VolumeError(
            f"the painting {folder.path.name} is of an image of {state.image.shape} "
            f"(z, y, x), and {image.name} is {found}; choose the image it belongs to"
        )
    array = folder.labels.retrying_array
    layer = Labels(
        np.asarray(array[0]) if image.ndim == 2 else array,
        name=f"{image.name} labels",
        **appearance(state.phases),
        **place_of(image),
    )
    Painting(layer, folder, image=image, state=state, counts=counts)
    return layer


def adopt(layer: Labels, image: Image, *, phases: PhaseTable, axis: Axis) -> Painting:
    """Make a painting of a labels layer that lies in memory.

    Parameters
    ----------
    layer : Labels
        What is painted in it is saved within seconds.
    image : Image
        The image that is painted on, of the layer's shape.
    phases : PhaseTable
        What the labels stand for; higher labels become further phases. Labels of fewer
        phases than an electrode has are of something else, and are only numbered.
    axis : {"z", "y", "x"}
        Axis that the painted slices lie across.

    Raises
    ------
    VolumeError
        If the layer is of another shape, not in memory, or holds other than labels.
    OSError
        If the painting cannot be saved.
    """
    if not isinstance(layer.data, np.ndarray):
        raise VolumeError(
            f"{layer.name} is not an array in memory, so its painting cannot be kept; "
            "make a new labels layer"
        )
    if layer_shape(layer) != (found := layer_shape(image)):
        raise VolumeError(
            f"{layer.name} is {layer_shape(layer)}, {image.name} is {found}; expected "
            "labels of the image's shape"
        )
    highest = int(layer.data.max())
    if highest > MAX_PHASES or layer.data.min() < 0:
        raise VolumeError(
            f"{layer.name} holds {int(layer.data.min())} to {highest}; labels are "
            f"whole numbers from 0 to {MAX_PHASES}"
        )
    phases = _fitting(phases, highest)
    state, folder = _begin(image, phases=phases, axis=axis)
    show_phases(layer, phases)
    painting = Painting(layer, folder, image=image, state=state, counts={})
    painting.mark_changed(range(state.n_slices))
    return painting


def _begin(
    image: Image, *, phases: PhaseTable, axis: Axis
) -> tuple[PaintingState, PaintingFolder]:
    volume = volume_of(image)
    shape = _shape_3d(image)
    path = image.source.path
    state = PaintingState(
        axis="z" if image.ndim == 2 else axis,
        phases=phases,
        roles={},
        mask=None,
        image=ImageIdentity(
            name=image.name, path=None if path is None else str(path), shape=shape
        ),
    )
    folder = PaintingFolder.create(
        workspace_for(image).new_painting(),
        state,
        voxel_size=volume.voxel_size,
        unit=volume.unit,
    )
    return state, folder


def _shape_3d(image: Image) -> tuple[int, int, int]:
    if image.ndim > 3:
        sizes = " × ".join(map(str, layer_shape(image)))
        raise VolumeError(
            f"{image.name} has {image.ndim} axes ({sizes}); expected z, y, x: split "
            "the time points or channels into layers of their own"
        )
    z, y, x = (1, *layer_shape(image))[-3:]
    return z, y, x


def _fitting(phases: PhaseTable, highest: int) -> PhaseTable:
    numbered = PhaseTable.numbered(max(highest, 2))
    if phases == ELECTRODE and 0 < highest < len(ELECTRODE):
        return numbered
    further: tuple[Phase, ...] = numbered.phases[len(phases) :]
    return PhaseTable((*phases.phases, *further)) if further else phases
