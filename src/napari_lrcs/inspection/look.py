"""Write all that can be seen inside a network for a slice: a generator of events."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_slices
from napari_lrcs.inspection.findings import Computing, Gradients, Maps
from napari_lrcs.inspection.folder import LookFolder, check_place
from napari_lrcs.inspection.maps import compute_maps, compute_way, read_image
from napari_lrcs.inspection.recording import layer_named, layers_of
from napari_lrcs.inspection.weights import (
    compute_gradients,
    first_kernels,
    weight_distributions,
)
from napari_lrcs.io.volume import Volume
from napari_lrcs.io.writing import replacing
from napari_lrcs.models.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookTask:
    """What to look at.

    Parameters
    ----------
    image : Volume
        Grey levels.
    index : int
        Place of the slice along the checkpoint's axis.
    layers : tuple of str
        Names of the layers whose maps are written.
    labels : Volume, optional
        Painted labels; the slice is painted there, if gradients are wanted.
    mask : Volume of bool, optional
        Field of view.
    """

    image: Volume
    checkpoint: Checkpoint
    index: int
    layers: tuple[str, ...] = ()
    labels: Volume | None = None
    mask: Volume | None = None

    def maps(self, layer: str) -> Iterator[Computing | Maps]:
        """Compute the maps of a layer; see `compute_maps`."""
        return compute_maps(
            self.image, self.checkpoint, self.index, layer=layer, mask=self.mask
        )

    def gradients(self) -> Gradients | None:
        """Compute the gradients of a batch of the slice; None without labels.

        Raises
        ------
        ValueError
            If the slice is not painted, or with a phase that the network lacks.
        """
        if self.labels is None:
            return None
        annotated = AnnotatedVolume(
            image=self.image,
            labels=self.labels,
            roles={"train": (self.index,)},
            mask=self.mask,
        )
        slices = read_slices(annotated, self.checkpoint.config)
        return compute_gradients(self.checkpoint, slices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """All files are written.

    Parameters
    ----------
    out : Path
        Their folder.
    record : dict
        What is in the folder's ``look.json``.
    """

    out: Path
    record: dict[str, Any]


def write_look(
    task: LookTask, *, out: Path, overwrite: bool = False
) -> Iterator[Computing | Looked]:
    """Write maps, kernels, distributions and the way of the slice into a folder.

    Parameters
    ----------
    out : Path
        Folder to make.
    overwrite : bool
        Whether a folder that this function wrote may be replaced.

    Yields
    ------
    Computing or Looked
        The share that is done; at the end, what is written.

    Raises
    ------
    ValueError, LrcsError or MemoryError
        If something that is asked for is not there, or too large. Nothing is written.
    """
    check_place(out, overwrite=overwrite)
    layers = layers_of(task.checkpoint.build())
    for name in task.layers:
        layer_named(layers, name)
    read_image(task.image, task.checkpoint, task.index, mask=task.mask)
    n_parts = len(task.layers) + 3
    with replacing(out, overwrite=overwrite) as temporary:
        temporary.mkdir()
        folder = LookFolder(temporary, task.image)
        gradients = task.gradients()
        if gradients is not None:
            folder.add_gradients(gradients)
        yield Computing(share=1 / n_parts)
        for n_done, name in enumerate(task.layers, start=1):
            for event in task.maps(name):
                if isinstance(event, Maps):
                    folder.add_maps(event)
                else:
                    yield Computing(share=(n_done + event.share) / n_parts)
        folder.add_kernels(first_kernels(task.checkpoint))
        folder.add_weights(weight_distributions(task.checkpoint))
        yield Computing(share=1 - 1 / n_parts)
        folder.add_way(
            compute_way(task.image, task.checkpoint, task.index, mask=task.mask)
        )
        record = folder.write_record(
            axis=task.checkpoint.config.preprocessing.axis, index=task.index
        )
    yield Looked(out=out, record=record)
