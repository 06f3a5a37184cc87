"""A network that predicts slabs, on a GPU as long as its memory is enough."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage
from napari_lrcs.config import PredictConfig
from napari_lrcs.inference.results.outputs import Output
from napari_lrcs.models.checkpoint import Checkpoint
from napari_lrcs.models.device import (
    device_notices,
    for_prediction,
    free_memory,
    release_memory,
    resolve_device,
    resolve_precision,
)
from napari_lrcs.models.tiles import TiledNetwork
from napari_lrcs.progress import Notice

_MEBI = 2**20
_CPU_MEMORY = 512 * _MEBI


class Predictor:
    """A network on its device, which is the CPU once the GPU's memory is too small.

    Parameters
    ----------
    shape : tuple of two ints
        Rows and columns of the slices.

    Raises
    ------
    ValueError
        If the device is absent.
    """

    network: TiledNetwork

    def __init__(
        self, checkpoint: Checkpoint, config: PredictConfig, shape: tuple[int, int]
    ) -> None:
        self._checkpoint = checkpoint
        self._config = config
        self._shape = shape
        device = resolve_device(config.device)
        self._notices = device_notices(device)
        self._load(device)

    def _load(self, device: torch.device) -> None:
        self.device = device
        precision = resolve_precision(self._config.precision, device)
        model = for_prediction(self._checkpoint.build(), device, precision)
        model.averages_turns = self._config.average_turns
        self.network = TiledNetwork(
            model,
            self._shape,
            precision=precision,
            memory=self._config.memory * _MEBI or _free_memory(device),
            tile_size=self._config.tile_size,
        )

    def predict(
        self, arrays: Mapping[Output, NDArray[Any]], image: GreyImage, n_slices: int
    ) -> Iterator[float | Notice]:
        """Fill arrays from `empty_arrays`; yields as `TiledNetwork.fill` does.

        Parameters
        ----------
        arrays : mapping of Output to ndarray
            Those of a slab.
        image : ndarray of float32, shape (n_slices + context, rows, columns)
            Grey levels, filtered and normalised.
        n_slices : int
            Slices of the slab, without context.
        """
        slab = torch.from_numpy(image)
        n_channels = len(image) - n_slices + 1
        windows = slab.unfold(0, n_channels, 1).movedim(-1, 1)  # (n, C, H, W)
        targets = [
            (torch.from_numpy(a), output.reduced_for(self._checkpoint))
            for output, a in arrays.items()
        ]
        notices, self._notices = self._notices, []
        yield from notices
        try:
            yield from self.network.fill(targets, windows)
            return
        except MemoryError:
            if self.device.type == "cpu":
                raise
        # After the exception, whose traceback holds on to the tensors.
        yield self._leave_gpu()
        yield from self.network.fill(targets, windows)

    def empty_arrays(
        self, outputs: Sequence[Output], n_slices: int
    ) -> dict[Output, NDArray[Any]]:
        """Make room for a slab."""
        n_phases = len(self._checkpoint.phases)
        shape = (n_slices, *self._shape)
        return {
            p: np.empty(p.shape(shape, n_phases=n_phases), p.dtype) for p in outputs
        }

    def _leave_gpu(self) -> Notice:
        gpu = self.device
        self._load(torch.device("cpu"))
        release_memory(gpu)
        return Notice(
            kind="out_of_memory",
            text=f"out of memory on {gpu}; continuing, more slowly, on the CPU",
        )

    def close(self) -> None:
        """Release the device."""
        del self.network
        release_memory(self.device)


def _free_memory(device: torch.device) -> int:
    """Take half of what a GPU has free, and little of a CPU's."""
    if device.type == "cpu":
        return _CPU_MEMORY
    return free_memory(device) // 2
