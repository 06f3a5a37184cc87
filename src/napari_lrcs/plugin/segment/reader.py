"""Open the workspace of a volume: its image, and the work on it that was open."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from napari import current_viewer
from napari.layers import Image
from napari.types import LayerData
from napari.viewer import Viewer
from npe2 import PluginManager

from napari_lrcs.annotation.project_file import ProjectFile, ProjectState
from napari_lrcs.annotation.workspace import is_workspace
from napari_lrcs.errors import VolumeError
from napari_lrcs.plugin.files.reader import NOTHING, choosing
from napari_lrcs.plugin.files.reader import get_reader as get_volume_reader
from napari_lrcs.plugin.parts.layers.layers import DATASET_KEY
from napari_lrcs.plugin.project.docks import open_dock
from napari_lrcs.plugin.project.project import project_of
from napari_lrcs.plugin.segment.dock import SegmentDock


def get_reader(
    path: str | Sequence[str],
) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Offer to open a folder ``NAME.lrcs``.

    Returns
    -------
    callable or None
        `open_workspace`.
    """
    is_ours = isinstance(path, str) and is_workspace(Path(path))
    return open_workspace if is_ours else None


def open_workspace(path: str | Sequence[str]) -> list[LayerData]:
    """Open the image of a workspace and *Segment volume*, and restore what was open.

    Parameters
    ----------
    path : str
        A folder ``NAME.lrcs``.

    Returns
    -------
    list of LayerData
        No layer: the image is opened from its own file, which it is known by.

    Raises
    ------
    VolumeError
        If the image is not found, or there is no window.
    """
    folder = Path(os.path.abspath(str(path)))  # noqa: PTH100 links stay
    viewer = current_viewer()
    if viewer is None:
        raise VolumeError(f"{folder.name} opens in a window of napari only")
    image = _open_image(viewer, ProjectFile(folder))
    if image is not None:  # else the user has chosen none of its volumes
        project_of(viewer.layers).choose("image", image)
        dock = open_dock(viewer, "Segment volume")
        assert isinstance(dock, SegmentDock)
        dock.restore()
    return NOTHING


def _open_image(viewer: Viewer, project: ProjectFile) -> Image | None:
    place = project.find_image()
    try:
        state = project.read()
    except VolumeError:  # the dock reports it
        state = None
    dataset = "" if state is None else state.dataset
    for layer in viewer.layers:
        if isinstance(layer, Image) and _is_at(layer, place, dataset):
            return layer
    with choosing(dataset):
        opened = viewer.open(place, plugin=_plugin_for(place, state))
    return next((layer for layer in opened if isinstance(layer, Image)), None)


def _is_at(image: Image, place: Path, dataset: str) -> bool:
    source = image.source.path
    is_there = source is not None and Path(source).absolute() == place
    return is_there and image.metadata.get(DATASET_KEY, "") == dataset


def _plugin_for(place: Path, state: ProjectState | None) -> str:
    """Name the plugin that opened the image before, else ours if it can, or napari."""
    readers = PluginManager.instance().iter_compatible_readers([str(place)])
    if state is not None and state.reader in {r.plugin_name for r in readers}:
        return state.reader
    return "napari" if get_volume_reader(str(place)) is None else "napari-lrcs"
