"""Between napari's layers and the core's volumes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from napari.components import LayerList
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import DirectLabelColormap

from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.workspace import Workspace, fallback_folder, workspace_of
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume, VoxelSize, as_labels, as_volume
from napari_lrcs.phases import UNPAINTED, Phase, PhaseTable
from napari_lrcs.plugin.parts.layers.kinds import kind_of, marked
from napari_lrcs.preprocessing.slices import AXES

RUN_KEY = "napari_lrcs_run"
"""Key of an image's metadata for the `Path` of the run that is to predict it."""

PROVENANCE_KEY = "napari_lrcs_provenance"
"""Key of the metadata of a segmentation's layer for its `Provenance`."""

DATASET_KEY = "napari_lrcs_dataset"
"""Key of a layer's metadata for the dataset that was chosen in its file."""

_FILE_KEY = "napari_lrcs_file"
"""Key of the metadata of labels for the file that they were opened from as an image."""

_WORKSPACE_KEY = "napari_lrcs_workspace"
"""Key of an image's metadata for its ID and the name that its workspace has."""

_OTHER_LABEL = "#9a9a9a"
"""Colour of labels that are no known phase."""


def appearance(phases: PhaseTable) -> dict[str, Any]:
    """Colour a labels layer, and name the phase under the cursor.

    Returns
    -------
    dict
        `colormap` and `features`, as arguments or attributes of a Labels layer.
    """
    nothing = {None: "transparent", UNPAINTED: "transparent"}
    return {
        "colormap": DirectLabelColormap(
            color_dict=nothing | {phase.label: phase.colour for phase in phases}
        ),
        "features": {
            "index": [UNPAINTED, *(phase.label for phase in phases)],
            "phase": ["unpainted", *phases.names],
        },
    }


def show_phases(layer: Labels, phases: PhaseTable) -> None:
    """Give a labels layer the names and colours of phases."""
    for name, value in appearance(phases).items():
        setattr(layer, name, value)


def phases_shown(layer: Labels) -> PhaseTable | None:
    """Read the phases that `appearance` gave to a layer; None for another layer."""
    features = layer.features
    if not {"index", "phase"} <= set(features.columns):
        return None
    rows = zip(features["index"], features["phase"], strict=True)
    try:
        return PhaseTable(
            tuple(
                Phase(label=int(label), name=str(name), colour=_hex(layer, int(label)))
                for label, name in rows
                if label != UNPAINTED
            )
        )
    except ValueError:  # another plugin's columns of the same names
        return None


def _hex(layer: Labels, label: int) -> str:
    colour = layer.get_color(label)
    shades = (0, 0, 0) if colour is None else colour[:3]
    return "#" + "".join(f"{round(255 * float(shade)):02x}" for shade in shades)


def place_of(layer: Layer) -> dict[str, Any]:
    """Return the place of a layer in the world, as arguments of another layer.

    Returns
    -------
    dict
        `scale`, `translate`, `rotate`, `shear`, `affine`, `units`, `axis_labels`.
    """
    return {
        "scale": layer.scale,
        "translate": layer.translate,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine.affine_matrix,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


@contextmanager
def selection_kept(
    layers: LayerList, *, heirs: Mapping[Layer, Layer] | None = None
) -> Iterator[None]:
    """Leave selected what the user may be painting just now, while layers are added.

    Where nothing is selected, napari selects what is added.

    Parameters
    ----------
    heirs : mapping of Layer to Layer, optional
        Layers that are selected in place of others, which they replace.
    """
    selected = set(layers.selection)
    yield
    if selected:
        layers.selection = {(heirs or {}).get(layer, layer) for layer in selected}


def add_result(layers: LayerList, result: Layer, *, above: Layer | None) -> None:
    """Add a result above what it is of and below paintings, and leave the selection.

    Previews of a training are hidden: two overlays would mix their colours.

    Parameters
    ----------
    layers : LayerList
        Layers of a viewer.
    result : Layer
        Layer to add.
    above : Layer or None
        Layer that the result is of; it may be gone.
    """
    for layer in layers:
        if kind_of(layer) == "training preview":
            layer.visible = False
    lowest = layers.index(above) + 1 if above in layers else 0
    paintings = (
        place
        for place in range(lowest, len(layers))
        if kind_of(layers[place]) in ("painting", "check patch")
    )
    with selection_kept(layers):
        layers.insert(next(paintings, len(layers)), result)


def use_as_labels(layers: LayerList, image: Image) -> Labels:
    """Replace an image by a labels layer of its data, as *Convert to Labels* does.

    Lazy data stays lazy.

    Parameters
    ----------
    layers : LayerList
        Layers of a viewer.
    image : Image
        One of them that `looks_like_labels`.

    Returns
    -------
    Labels
        In the image's place.
    """
    kind = kind_of(image)
    array = [*map(_whole, image.data)] if image.multiscale else _whole(image.data)
    labels = Labels(
        array,
        name=image.name,
        multiscale=image.multiscale,
        metadata={
            **image.metadata,
            **({} if kind is None else marked(kind)),
            _FILE_KEY: image.source.path,
        },
        **place_of(image),
        **_colours_beside(layers, layer_shape(image)),
    )
    with selection_kept(layers, heirs={image: labels}):
        place = layers.index(image)
        layers.remove(image)  # first, so that its name is free
        layers.insert(place, labels)
    return labels


def _colours_beside(layers: LayerList, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return a colormap with the colours of phases in the newest layer of a shape.

    Without the names: nothing tells that the labels of a file mean the same phases.
    """
    fitting = (
        phases_shown(layer)
        for layer in reversed(layers)
        if isinstance(layer, Labels) and layer_shape(layer) == shape
    )
    phases = next(filter(None, fitting), None)
    if phases is None:
        return {}
    colours = {phase.label: phase.colour for phase in phases}
    nothing = {None: _OTHER_LABEL, UNPAINTED: "transparent"}
    return {"colormap": DirectLabelColormap(color_dict=nothing | colours)}


def _whole(array: Any) -> Any:
    """Give an array the whole numbers that a labels layer takes."""
    if np.dtype(array.dtype).kind in "biu":
        return array
    if not isinstance(array, np.ndarray | da.Array):
        array = da.from_array(array, chunks=array.chunks, name=False)
    return array.astype(np.int32)


def volume_of(layer: Image | Labels) -> Volume:
    """Wrap what a layer shows, without reading a voxel.

    Parameters
    ----------
    layer : Image or Labels
        2D or 3D, in memory or lazy; of a pyramid, the full resolution.

    Returns
    -------
    Volume
        Of the layer's name, voxel size, unit and file; a 2D layer is one slice.

    Raises
    ------
    VolumeError
        If it is in colour, or has other axes than z, y and x.
    """
    if getattr(layer, "rgb", False):
        raise VolumeError(
            f"{layer.name} is a colour image; convert it to grey, or split its channels"
        )
    voxel_size, unit = _physical(layer)
    array = layer.data[0] if layer.multiscale else layer.data
    volume = as_volume(array, name=layer.name, voxel_size=voxel_size, unit=unit)
    return replace(
        volume,
        provenance=layer.metadata.get(PROVENANCE_KEY),
        sources=_files_of(layer, array),
    )


def _files_of(layer: Image | Labels, array: Any) -> tuple[Path, ...]:
    """List where a layer was opened from, and where its array lies."""
    store = getattr(array, "store", None)
    places = [file_opened(layer), getattr(store, "root", None)]
    return tuple(Path(place).absolute() for place in places if place is not None)


def file_opened(layer: Layer) -> str | None:
    """Return the file that a layer was opened from, even if as an image."""
    opened: str | None = layer.source.path or layer.metadata.get(_FILE_KEY)
    return opened


def named_by_file(image: Image) -> Volume:
    """Wrap an image under a name that outlives the layer's: runs remember it."""
    volume = volume_of(image)
    source = image.source.path
    return volume if source is None else replace(volume, name=Path(source).name)


def labels_of(layer: Labels) -> Volume:
    """Wrap a labels layer, with the phases that it names; see `volume_of`."""
    return replace(as_labels(volume_of(layer)), phases=phases_shown(layer))


def n_slices_of(layer: Layer, axis: Axis) -> int:
    """Count the slices of a layer across an axis; a 2D layer is one slice."""
    shape = (1, *layer_shape(layer))[-3:]
    return int(shape[AXES[axis]])


def prefer_run(image: Image, run: Path | None) -> None:
    """Choose the run, or checkpoint, that is to predict an image, in all docks."""
    image.metadata[RUN_KEY] = run
    image.events.metadata()


def layer_shape(layer: Layer) -> tuple[int, ...]:
    """Return the shape of a layer's full resolution."""
    return tuple((layer.data[0] if layer.multiscale else layer.data).shape)


def match_ndim(array: Any, n_axes: int) -> Any:
    """Give an array (z, y, x), or each array of a pyramid, the axes of a layer."""
    if isinstance(array, Sequence):
        return [match_ndim(level, n_axes) for level in array]
    if n_axes == 3:
        return array
    if not isinstance(array, np.ndarray | da.Array):
        array = da.from_array(array, chunks=array.chunks, name=False)
    return array[0] if n_axes < 3 else array[(np.newaxis,) * (n_axes - 3)]


def workspace_for(image: Layer) -> Workspace:
    """Find the folder for the paintings, runs and results of an image layer.

    It lies beside the file that the layer was opened from, or in the user's data folder
    where the layer comes from no file or nothing may be written beside it; see
    `workspace_of`.
    """
    source = image.source.path
    return workspace_of(
        None if source is None else Path(source),
        name=image.name if source is not None else _first_name(image),
        fallback=fallback_folder(),
    )


def _first_name(image: Layer) -> str:
    """Return the name that a layer had when its workspace was first looked for."""
    named: tuple[object, str] | None = image.metadata.get(_WORKSPACE_KEY)
    # napari copies the metadata along with a layer: a copy has its own workspace.
    if named is None or named[0] != image.unique_id:
        named = image.unique_id, image.name
        image.metadata[_WORKSPACE_KEY] = named
    return named[1]


def checks_of(image: Layer) -> tuple[Check, ...]:
    """Read the check patches of an image, which no training may learn from.

    Raises
    ------
    VolumeError
        If some are damaged.
    """
    n_z, n_y, n_x = (1, *layer_shape(image))[-3:]
    return workspace_for(image).read_checks((n_z, n_y, n_x))


def _physical(layer: Layer) -> tuple[VoxelSize | None, str | None]:
    units = {str(unit) for unit in layer.units[-3:]}
    unit = units.pop() if len(units) == 1 else None
    if unit in (None, "pixel") and np.allclose(layer.scale, 1):
        return None, None
    size: Mapping[int, float] = dict(enumerate((1.0, *map(float, layer.scale))[-3:]))
    return (size[0], size[1], size[2]), unit
