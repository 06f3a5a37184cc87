"""Where painting would teach most: squares of slices, and the choice among them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_lrcs.arrays import Labels, Mask

SPOT_SIZE = 32
"""Side of a square in pixels.

It is painted in about a minute, and holds both sides of an interface and what lies
around them; the network sees about 50 pixels around each of them anyway.
"""

_DISTANCES = (1, 2, 4, 8)
"""Pixels from the predicted interface at which the ranges begin that are averaged."""

_MOST_PAINTED = 0.1
"""Largest painted share of a square with as much around it as it is wide.

One painted square beside it has a share of 1/8, at its corner of 1/16.
"""

_KNOWN = 0.5
"""Painted share from which a square is one that the network has learnt from."""

_MOST_TRIED = 500
"""Free squares that are compared, at most: as many are enough to find a typical one."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A square of a slice that should be painted next.

    Parameters
    ----------
    index : int
        Place of the slice along the painting's axis, from 0.
    row, column : int
        Its first pixel.
    height, width : int
        In pixels.
    entropy : float
        Mean entropy of the network's probabilities, in nats.
    between : tuple of two ints
        Labels of the phases that the network hesitates between.
    """

    index: int
    row: int
    column: int
    height: int
    width: int
    entropy: float
    between: tuple[int, int]

    @property
    def rows(self) -> slice:
        """Its rows."""
        return slice(self.row, self.row + self.height)

    @property
    def columns(self) -> slice:
        """Its columns."""
        return slice(self.column, self.column + self.width)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """A part of a slice: what a network makes of it, and what is painted there.

    Parameters
    ----------
    index : int
        Place of the slice along the axis.
    row, column : int
        First pixel of the part.
    probabilities : ndarray, shape (n_phases, rows, columns)
        Calibrated, 0 to 1.
    grey : ndarray of float32, shape (rows, columns)
        Normalised grey levels.
    painted : ndarray of bool, shape (rows, columns)
        What is painted already, or was suggested before.
    forbidden : ndarray of bool, shape (rows, columns)
        What must not be painted.
    """

    index: int
    row: int
    column: int
    probabilities: NDArray[np.floating]
    grey: NDArray[np.float32]
    painted: Mask
    forbidden: Mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Squares:
    """Squares of some slices, half a side apart, and what a network makes of them.

    Parameters
    ----------
    shape : tuple of two ints
        Rows and columns of each.
    places : ndarray of int64, shape (n, 3)
        Slice, first row and first column.
    n_at : ndarray of float64, shape (n, n_ranges)
        Pixels in each range of distances from the predicted interface.
    entropy_at : ndarray of float64, shape (n, n_ranges)
        Sum of their entropy in nats.
    looks : ndarray of float64, shape (n, n_looks)
        How it looks to the network: mean probability of each phase, mean and standard
        deviation of the grey levels, and share of the pixels at interfaces.
    doubt : ndarray of float64, shape (n, n_phases)
        Probabilities, summed over the pixels with their entropy as weight.
    is_free : ndarray of bool, shape (n,)
        Whether it may be suggested.
    is_known : ndarray of bool, shape (n,)
        Whether most of it is painted.
    """

    shape: tuple[int, int]
    places: NDArray[np.int64]
    n_at: Floats
    entropy_at: Floats
    looks: Floats
    doubt: Floats
    is_free: Mask
    is_known: Mask

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the squares of several windows, of the same shape."""
        names = [name for name in cls.__slots__ if name != "shape"]
        arrays = {name: [getattr(part, name) for part in parts] for name in names}
        return cls(
            shape=parts[0].shape, **{n: np.concatenate(a) for n, a in arrays.items()}
        )

    @property
    def entropy(self) -> Floats:
        """Mean entropy of each square, in nats."""
        entropy: Floats = self.entropy_at.sum(axis=1) / self.n_at.sum(axis=1)
        return entropy

    @property
    def excess(self) -> Floats:
        """Entropy above what the distance from the interface explains, in nats.

        Each interface has a rim of a pixel or two where no network is sure, and none
        can learn to be. What is left is where the network does not know its material.
        """
        n = self.n_at.sum(axis=0)
        usual = self.entropy_at.sum(axis=0) / np.maximum(n, 1)
        expected: Floats = (self.n_at * usual).sum(axis=1) / self.n_at.sum(axis=1)
        return self.entropy - expected

    def spot(self, number: int) -> Spot:
        """Describe a square."""
        index, row, column = self.places[number].tolist()
        first, second = np.argsort(-self.doubt[number], kind="stable")[:2] + 1
        height, width = self.shape
        return Spot(
            index=index,
            row=row,
            column=column,
            height=height,
            width=width,
            entropy=float(self.entropy[number]),
            between=(min(int(first), int(second)), max(int(first), int(second))),
        )


def measure_squares(window: Window, *, size: int = SPOT_SIZE) -> Squares:
    """Measure the squares of a window, half a side apart.

    Parameters
    ----------
    size : int
        Side of a square, at least 2; a smaller window is one square.
    """
    shape = window.painted.shape
    height, width = (min(size, n) for n in shape)
    rows, columns = (_starts(n, size) for n in shape)
    places = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    p = window.probabilities.astype(np.float32)
    entropy = entropy_of(p)
    distance = _distance_range(p)
    near = [distance == i for i in range(len(_DISTANCES) + 1)]
    sums = _Sums(places, (height, width))
    n_at, entropy_at = sums.of(near), sums.of([entropy * part for part in near])
    grey, n = window.grey, height * width
    mean, square = (sums.of([g])[:, 0] / n for g in (grey, grey * grey))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    around = _Sums(places - (height // 2, width // 2), (2 * height, 2 * width))
    share = around.of([window.painted])[:, 0] / (4 * n)
    corner = (window.row, window.column)
    return Squares(
        shape=(height, width),
        places=np.insert(np.add(places, corner), 0, window.index, axis=1),
        n_at=n_at,
        entropy_at=entropy_at,
        looks=np.column_stack([sums.of(p) / n, mean, deviation, n_at[:, 0] / n]),
        doubt=sums.of(p * entropy),
        is_free=(share <= _MOST_PAINTED) & (sums.of([window.forbidden])[:, 0] == 0),
        is_known=sums.of([window.painted])[:, 0] >= _KNOWN * n,
    )


def choose_square(squares: Squares) -> int | None:
    """Choose the square that should be painted next.

    Of the squares that may be painted, it is the one that is like most of what the
    network is not sure of and nothing painted is like: a step of greedy k-medoids in
    the space of how squares look, with the entropy as weights. So a single odd square
    counts little, and what looks like paint counts nothing.

    Returns
    -------
    int or None
        Its number; None if none is free.

    References
    ----------
    Prabhu, V. et al. Active Domain Adaptation via Clustering Uncertainty-weighted
    Embeddings. ICCV 2021. https://doi.org/10.48550/arXiv.2010.08666
    """
    free = np.flatnonzero(squares.is_free)
    if not len(free):
        return None
    looks = squares.looks / np.maximum(squares.looks.std(axis=0), 1e-9)
    # Without anything known, all squares are as far from it as any is from the mean.
    near = np.full(len(looks), _distances(looks, looks.mean(axis=0)).max())
    for known in looks[squares.is_known]:
        near = np.minimum(near, _distances(looks, known))
    if len(free) > _MOST_TRIED:
        rng = np.random.default_rng(0)
        free = np.sort(rng.choice(free, _MOST_TRIED, replace=False))
    gains = [
        squares.entropy @ np.maximum(near - _distances(looks, one), 0)
        for one in looks[free]
    ]
    return int(free[int(np.argmax(gains))])


def _distances(looks: Floats, one: Floats) -> Floats:
    distances: Floats = np.linalg.norm(looks - one, axis=1)
    return distances


def entropy_of(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the entropy of probabilities along the first axis, in nats.

    Examples
    --------
    >>> entropy_of(np.array([[1.0, 0.5], [0.0, 0.5]], np.float32)).round(4).tolist()
    [0.0, 0.6930999755859375]
    """
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    entropy: NDArray[np.float32] = -(probabilities * logs).sum(axis=0)
    return np.maximum(entropy, 0)


def plan_slices(
    n_slices: int,
    *,
    n: int,
    painted: Collection[int],
    left_out: Collection[int],
    rng: np.random.Generator,
) -> list[int]:
    """Choose the slices to search: a third near painted ones, the others anywhere.

    Parameters
    ----------
    n_slices : int
        Slices that there are.
    n : int
        Slices to search, at most.
    painted, left_out : collection of int
        Slices that are painted, and those that must not be painted.

    Returns
    -------
    list of int
        Ascending, none of `left_out`.
    """
    allowed = [i for i in range(n_slices) if i not in left_out]
    if len(allowed) <= n:
        return allowed
    own = [i for i in allowed if i in painted]
    if len(own) > (n_own := max(1, n // 3)):
        own = rng.choice(own, n_own, replace=False).tolist()
    others = np.array([i for i in allowed if i not in own])
    n_others = n - len(own)
    # One of each of as many parts of equal depth, so that all of the volume has a turn.
    places = (np.arange(n_others) + rng.random(n_others)) * len(others) / n_others
    return sorted({*own, *others[places.astype(np.int64)].tolist()})


def _starts(length: int, size: int) -> NDArray[np.int64]:
    """Return where squares begin along a side: half a side apart, and at its end."""
    last = max(length - size, 0)
    return np.unique(np.append(np.arange(0, last + 1, max(size // 2, 1)), last))


class _Sums:
    """Sums over rectangles of equal shape, cut where they reach beyond the image."""

    def __init__(self, corners: NDArray[np.int64], shape: tuple[int, int]) -> None:
        self._corners, self._shape = corners, shape

    def of(self, images: Sequence[NDArray[np.generic]] | NDArray[np.generic]) -> Floats:
        """Sum images, each (rows, columns); returns (n rectangles, n images)."""
        return np.stack([self._of(np.asarray(image)) for image in images], axis=1)

    def _of(self, image: NDArray[np.generic]) -> Floats:
        table = np.zeros(np.add(image.shape, 1), np.float64)
        table[1:, 1:] = image.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
        (top, left), (bottom, right) = (
            np.clip(places, 0, image.shape).T
            for places in (self._corners, self._corners + self._shape)
        )
        sums: Floats = (
            table[bottom, right] - table[top, right] - table[bottom, left]
        ) + table[top, left]
        return sums


def _distance_range(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the range of each pixel's distance from the predicted interface."""
    labels: Labels = probabilities.argmax(axis=0).astype(np.uint8)
    lowest = ndimage.minimum_filter(labels, 3, mode="nearest")
    is_rim = lowest != ndimage.maximum_filter(labels, 3, mode="nearest")
    if not is_rim.any():
        return np.full(labels.shape, len(_DISTANCES))
    ranges: NDArray[np.int64] = np.digitize(
        ndimage.distance_transform_edt(~is_rim), _DISTANCES
    )
    return ranges
