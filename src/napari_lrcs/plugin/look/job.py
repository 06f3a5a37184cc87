"""What the dock "Look inside the network" does in a thread."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.inspection.findings import Distribution, Kernels, Layer
from napari_lrcs.io.volume import Volume
from napari_lrcs.plugin.parts.workers import Events, load_torch

if TYPE_CHECKING:  # loading torch takes seconds
    from napari_lrcs.inspection.look import LookTask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inside:
    """What can be told of a network without an image."""

    layers: tuple[Layer, ...]
    kernels: Kernels
    weights: tuple[Distribution, ...]


def read_inside(model: Path) -> Inside:
    """List the layers of a network, and summarise its weights."""
    load_torch()
    from napari_lrcs.inspection.recording import layers_of
    from napari_lrcs.inspection.weights import first_kernels, weight_distributions
    from napari_lrcs.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(model)
    return Inside(
        layers=layers_of(checkpoint.build()),
        kernels=first_kernels(checkpoint),
        weights=weight_distributions(checkpoint),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookRequest:
    """A slice, and the network to show it to.

    Parameters
    ----------
    model : Path
        A checkpoint.
    labels : Volume, optional
        Painted labels, for the gradients alone.
    mask : Volume, optional
        Field of view.
    """

    image: Volume
    model: Path
    index: int
    labels: Volume | None = None
    mask: Volume | None = None

    def maps(self, layer: str) -> Events:
        """Compute the maps of a layer."""
        yield from self._task().maps(layer)

    def gradients(self) -> Events:
        """Compute the gradients of a batch of the slice."""
        yield self._task().gradients()

    def way(self) -> Events:
        """Follow the slice through the network."""
        task = self._task()
        from napari_lrcs.inspection.maps import compute_way

        yield compute_way(task.image, task.checkpoint, task.index, mask=task.mask)

    def _task(self) -> "LookTask":
        load_torch()
        from napari_lrcs.inspection.look import LookTask
        from napari_lrcs.models.checkpoint import load_checkpoint

        return LookTask(
            image=self.image,
            checkpoint=load_checkpoint(self.model),
            index=self.index,
            labels=self.labels,
            mask=self.mask,
        )
