"""Lay the slices that a run was trained on over the image."""

from dataclasses import dataclass
from typing import Any

from napari.layers import Image, Labels
from napari.viewer import Viewer

from napari_lrcs.annotation.annotation import ROLES
from napari_lrcs.config import Axis
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.volume import Volume, format_slices
from napari_lrcs.io.writing import create_in_memory
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.parts.layers.current_slice import go_to
from napari_lrcs.plugin.parts.layers.layers import (
    add_result,
    appearance,
    match_ndim,
    place_of,
)
from napari_lrcs.preprocessing.slices import AXES
from napari_lrcs.runs.table import RunRecord
from napari_lrcs.training.run.folder import RunFolder
from napari_lrcs.training.run.labels import LabelledSlice


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunLabels:
    """The painted slices of a run, in their places in a volume.

    Parameters
    ----------
    name : str
        Name of the run.
    array : zarr.Array of uint8, shape (z, y, x)
        In memory; only painted slices take any.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    slices : tuple of LabelledSlice
        The slices.
    phases : PhaseTable or None
        None where the run has no network that names them.
    """

    name: str
    array: Any
    axis: Axis
    slices: tuple[LabelledSlice, ...]
    phases: PhaseTable | None

    def __str__(self) -> str:
        places = {
            role: sorted({s.index for s in self.slices if s.role == role})
            for role in ROLES
        }
        roles = (f"{role} {format_slices(z)}" for role, z in places.items() if z)
        return f"Slices of {self.name} across {self.axis}: {', '.join(roles)}"


def read_run_labels(run: RunRecord, volume: Volume) -> RunLabels:
    """Read the painted slices of a run, in a thread.

    Parameters
    ----------
    volume : Volume
        The image that they are laid over.

    Raises
    ------
    CheckpointError
        If they cannot be read.
    VolumeError
        If they are of another image.
    """
    axis: Axis = run.settings["axis"]
    pages = RunFolder(run.path).read_labels()
    own = {s: page for s, page in pages.items() if s.volume == volume.name} or pages
    array = create_in_memory(volume.shape, across=AXES[axis])
    planes = [n for name, n in zip(AXES, volume.shape, strict=True) if name != axis]
    n_slices = volume.shape[AXES[axis]]
    for s, page in own.items():
        if [*page.shape] != planes or s.index >= n_slices:
            raise VolumeError(
                f"{run.name} was trained on {run.data}, slice {axis}={s.index} of "
                f"{_size(page.shape)}, which {volume.name} of {_size(volume.shape)} "
                "does not have; choose that image above"
            )
        # Where a part of a slice was held out, two pages share the slice.
        place = tuple(s.index if name == axis else slice(None) for name in AXES)
        array[place] = page + array[place] * (page == 0)
    network = run.summary.network
    return RunLabels(
        name=run.name,
        array=array,
        axis=axis,
        slices=tuple(own),
        phases=None if network is None else network.phases,
    )


def show_run_labels(viewer: Viewer, image: Image, labels: RunLabels) -> None:
    """Add a layer with the painted slices over the image, and go to the first one."""
    colours = {} if labels.phases is None else appearance(labels.phases)
    layer = Labels(
        match_ndim(labels.array, image.ndim),
        name=f"{image.name} {labels.name} labels",
        **place_of(image),
        **colours,
    )
    add_result(viewer.layers, layer, above=image)
    go_to(viewer, layer, labels.axis, min(s.index for s in labels.slices))


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
