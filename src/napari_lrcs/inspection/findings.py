"""What is found inside a network, as plain arrays; needs no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import GreyImage, Labels
from napari_lrcs.config import Axis
from napari_lrcs.phases import PhaseTable

N_BINS = 80
"""Bins of a distribution."""

_PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A step of a network whose maps can be shown.

    Parameters
    ----------
    name : str
        Path of the module, as in ``network.named_modules()``. A function that is called
        after a module adds its own name: ``encoder.0.max_pool``.
    kind : str
        What it does, in PyTorch's words.
    n_maps : int
        Channels of its output.
    step : int
        Pixels of the slice along the side of one pixel of a map.
    """

    name: str
    kind: str
    n_maps: int
    step: int

    @property
    def offset(self) -> float:
        """Centre of the first pixel of a map, in pixels of the slice.

        A pixel covers `step` pixels of the slice in either direction.

        Examples
        --------
        >>> Layer(name="encoder.1", kind="convolution", n_maps=8, step=2).offset
        0.5
        """
        return (self.step - 1) / 2

    def shape(self, slice_shape: Sequence[int]) -> tuple[int, int]:
        """Return the rows and columns of the maps of a slice of this shape."""
        rows, columns = (math.ceil(n / self.step) for n in slice_shape)
        return rows, columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """A share of the work is done."""

    share: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Maps:
    """The maps of a layer for one slice.

    Parameters
    ----------
    layer : Layer
        Its `step` and `offset` place the maps on the slice.
    values : ndarray of float32, shape (n_maps, rows, columns)
    axis : {"z", "y", "x"}
        Axis that the slice lies across.
    index : int
        Place of the slice along the axis, from 0.
    """

    layer: Layer
    values: NDArray[np.float32]
    axis: Axis
    index: int

    @property
    def contrast_limits(self) -> tuple[float, float]:
        """Values that all but the extreme half percent lie between."""
        low, high = np.percentile(self.values, [0.5, 99.5])
        return (float(low), float(high)) if high > low else (float(low), float(low) + 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernels:
    """The kernels of the first convolution.

    Parameters
    ----------
    name : str
        Path of the convolution.
    values : ndarray of float32, shape (n_filters, n_channels, side, side)
    """

    name: str
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Distribution:
    """How the weights of a convolution, or their gradients, are distributed.

    Parameters
    ----------
    name : str
        Path of the convolution.
    n : int
        Number of weights.
    mean, sd : float
    counts : ndarray of int64, shape (N_BINS,)
    edges : ndarray of float64, shape (N_BINS + 1,)
        Symmetric around 0.
    sizes : tuple of five floats
        Percentiles 5, 25, 50, 75 and 95 of the absolute values.
    """

    name: str
    n: int
    mean: float
    sd: float
    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    sizes: tuple[float, ...]

    @classmethod
    def of(cls, name: str, values: NDArray[np.floating]) -> "Distribution":
        """Summarise values of any shape."""
        flat = values.ravel().astype(np.float64)
        largest = float(np.abs(flat).max()) or 1.0
        counts, edges = np.histogram(flat, N_BINS, range=(-largest, largest))
        sizes = np.percentile(np.abs(flat), _PERCENTILES)
        return cls(
            name=name,
            n=flat.size,
            mean=float(flat.mean()),
            sd=float(flat.std()),
            counts=counts.astype(np.int64),
            edges=edges,
            sizes=tuple(sizes.tolist()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON values, without the histogram."""
        percentiles = dict(zip(map(str, _PERCENTILES), self.sizes, strict=True))
        return {
            "name": self.name,
            "n": self.n,
            "mean": self.mean,
            "sd": self.sd,
            "percentiles_of_sizes": percentiles,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gradients:
    """The gradients of one batch.

    Parameters
    ----------
    loss : float
        Of the batch.
    distributions : tuple of Distribution
        One per convolution, from the input to the output.
    """

    loss: float
    distributions: tuple[Distribution, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stop:
    """A layer on the way of an image, and its most varied maps.

    Parameters
    ----------
    layer : Layer
    numbers : tuple of int
        Channels of the maps that are shown, from 0.
    values : ndarray of float32, shape (n_shown, rows, columns)
    """

    layer: Layer
    numbers: tuple[int, ...]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Way:
    """The way of an image through a network.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
        What the network sees of the slice: grey levels, filtered and normalised.
    stops : tuple of Stop
        In the order of the computation.
    labels : ndarray of uint8, shape (rows, columns)
        What the network predicts.
    phases : PhaseTable
        Phases of the labels.
    """

    image: GreyImage
    stops: tuple[Stop, ...]
    labels: Labels
    phases: PhaseTable
