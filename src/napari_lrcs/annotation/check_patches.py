"""Check patches: small squares, placed at random, that judge a segmentation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from json import dumps
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels, Mask
from napari_lrcs.config import Axis
from napari_lrcs.phases import UNPAINTED
from napari_lrcs.preprocessing.slices import AXES

Thickness = Literal[1, 3]
"""Slices of a patch that are painted; of three, the middle one counts."""

MARGIN = 1
"""Pixels around a patch that are painted, so that its own pixels have neighbours."""

Region: TypeAlias = tuple[slice, slice, slice]
"""A block of voxels, along z, y and x."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPatch:
    """A square of one slice, without its margin.

    Parameters
    ----------
    z, y, x : int
        Its first voxel.
    height, width : int
        Rows and columns within its slice, in pixels.
    done : bool
        Whether its painter has finished it.
    """

    z: int
    y: int
    x: int
    height: int
    width: int
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckDesign:
    """How check patches are placed and painted.

    Parameters
    ----------
    shape : tuple of int
        Of the volume, z, y and x.
    axis : {"z", "y", "x"}
        Axis that their slices lie across.
    size : int
        Side of a patch in pixels, at least 8. A slice is divided into equal patches
        whose sides come closest to it.
    thickness : {1, 3}
        Slices that are painted; of three, the middle one counts.
    seed : int
        Seed of the places.
    blind : bool
        Whether the painter starts from nothing. If not, from the prediction, which
        tempts one to leave errors in.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    shape: tuple[int, int, int]
    axis: Axis = "z"
    size: int = 48
    thickness: Thickness = 1
    seed: int = 0
    blind: bool = True

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise ValueError(f"the axis must be z, y or x, got {self.axis!r}")
        if self.size < 8:
            raise ValueError(f"patches must be at least 8 pixels wide, got {self.size}")
        if self.thickness not in get_args(Thickness):
            raise ValueError(
                f"patches must be 1 or 3 slices thick, got {self.thickness}"
            )
        if self.seed < 0:
            raise ValueError(f"the seed must be at least 0, got {self.seed}")

    @property
    def n_slices(self) -> int:
        """Number of slices across the axis."""
        return self.shape[AXES[self.axis]]

    def slice_of(self, patch: CheckPatch) -> int:
        """Return the slice that a patch lies in, across the axis."""
        return (patch.z, patch.y, patch.x)[AXES[self.axis]]

    def region(self, patch: CheckPatch, *, painted: bool = True) -> Region:
        """Return the voxels of a patch.

        Parameters
        ----------
        painted : bool
            Whether with its margin and, of three slices, the outer ones, as far as the
            volume reaches; otherwise only the voxels that count.
        """
        rows, columns = (AXES[name] for name in AXES if name != self.axis)
        lengths, margins = [1, 1, 1], [0, 0, 0]
        lengths[rows], lengths[columns] = patch.height, patch.width
        if painted:
            margins = [MARGIN] * 3
            margins[AXES[self.axis]] = self.thickness // 2
        z, y, x = (
            slice(max(first - margin, 0), min(first + length + margin, n))
            for first, length, margin, n in zip(
                (patch.z, patch.y, patch.x), lengths, margins, self.shape, strict=True
            )
        )
        return z, y, x

    def own_part(self, patch: CheckPatch) -> Region:
        """Return where the voxels that count lie in the painted region of a patch."""
        z, y, x = (
            slice(own.start - whole.start, own.stop - whole.start)
            for own, whole in zip(
                self.region(patch, painted=False), self.region(patch), strict=True
            )
        )
        return z, y, x


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Check patches of a volume: where chance has placed them, and when.

    Parameters
    ----------
    design : CheckDesign
    patches : tuple of CheckPatch
        In the order of their slices.
    drawn_at : datetime
        With its time zone.
    segmentation : str
        Name of the segmentation that they were drawn for.
    n_voxels : int
        Voxels of the field of view, which is what the patches stand for.
    """

    design: CheckDesign
    patches: tuple[CheckPatch, ...]
    drawn_at: datetime
    segmentation: str
    n_voxels: int

    @property
    def id(self) -> str:
        """SHA-256 of everything that was settled when the patches were drawn."""
        d = self.design
        places = [(p.z, p.y, p.x, p.height, p.width) for p in self.patches]
        settled = (
            *(d.shape, d.axis, d.size, d.thickness, d.seed, d.blind, places),
            *(self.drawn_at.isoformat(), self.segmentation, self.n_voxels),
        )
        return sha256(dumps(settled).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tiles:
    """The tiles that patches are drawn from: those with a voxel in the field of view.

    Parameters
    ----------
    design : CheckDesign
    n_tiles, n_voxels : ndarray of int64, shape (n_slices,)
        Such tiles and voxels of the field of view in each slice.
    """

    design: CheckDesign
    n_tiles: NDArray[np.int64]
    n_voxels: NDArray[np.int64]

    def draw(
        self, n_patches: int, *, inside: Callable[[int], Mask]
    ) -> tuple[CheckPatch, ...]:
        """Draw patches: one from each of as many strata, in each uniformly.

        The strata are of equal depth, counted in tiles: each tile of the volume is
        drawn with the same probability, also where the field of view changes from
        slice to slice. No tile is drawn twice.

        Parameters
        ----------
        n_patches : int
            Number of patches, 1 or more.
        inside : callable
            Returns the field of view of a slice, bool (rows, columns).

        Raises
        ------
        ValueError
            If there are fewer tiles.

        References
        ----------
        Särndal, Swensson & Wretman, Model Assisted Survey Sampling (1992), section 3.7.
        """
        ends = np.cumsum(self.n_tiles)
        total = int(ends[-1])
        if not 1 <= n_patches <= total:
            raise ValueError(
                f"{n_patches} patches were requested, but the field of view holds "
                f"{total} of {self.design.size} pixels; choose 1 to {total}, or "
                "smaller patches"
            )
        rng = np.random.default_rng(self.design.seed)
        drawn: list[int] = []
        while len(drawn) < n_patches:
            stratum = len(drawn)
            tile = int((stratum + rng.random()) * total / n_patches)
            # Neighbouring strata may share a tile, which only one of them can have.
            if tile < total and tile not in drawn[-1:]:
                drawn.append(tile)
        return tuple(
            self._patch(int(z), int(tile - (ends[z] - self.n_tiles[z])), inside)
            for tile in drawn
            for z in [np.searchsorted(ends, tile, side="right")]
        )

    def _patch(
        self, index: int, rank: int, inside: Callable[[int], Mask]
    ) -> CheckPatch:
        """Return a tile of a slice; `rank` counts its tiles in random order."""
        size, axis = self.design.size, self.design.axis
        mask = inside(index)
        places = np.argwhere(has_voxel(mask, size))
        rng = np.random.default_rng((self.design.seed, index))
        (row, height), (column, width) = (
            _side(n, size, int(i))
            for n, i in zip(mask.shape, rng.permutation(places)[rank], strict=True)
        )
        corner = [row, column]
        corner.insert(AXES[axis], index)
        z, y, x = corner
        return CheckPatch(z=z, y=y, x=x, height=height, width=width)


def count_tiles(design: CheckDesign, inside: Iterator[Mask]) -> Iterator[Tiles]:
    """Count the tiles of each slice, in one pass over the field of view.

    Parameters
    ----------
    inside : iterator of ndarray of bool
        Field of view of one slice after the other, (rows, columns).

    Yields
    ------
    Tiles
        As counted so far; slices that are still to come have none.
    """
    n_tiles, n_voxels = (np.zeros(design.n_slices, np.int64) for _ in range(2))
    for index, mask in enumerate(inside):
        n_tiles[index] = np.count_nonzero(has_voxel(mask, design.size))
        n_voxels[index] = np.count_nonzero(mask)
        yield Tiles(design=design, n_tiles=n_tiles, n_voxels=n_voxels)


def has_voxel(inside: Mask, size: int) -> Mask:
    """Tell which tiles of a slice have a voxel in the field of view.

    Parameters
    ----------
    inside : ndarray of bool, shape (rows, columns)
    size : int
        Side of a tile in pixels, about; see `tile_edges`.

    Returns
    -------
    ndarray of bool, shape (rows of tiles, columns of tiles)

    Examples
    --------
    >>> has_voxel(np.array([[0, 0, 0, 1], [0, 0, 0, 0]], np.bool_), 2).tolist()
    [[False, True]]
    """
    for axis in (0, 1):
        starts = tile_edges(inside.shape[axis], size)[:-1]
        inside = np.logical_or.reduceat(inside, starts, axis=axis)
    return inside


def tile_edges(length: int, size: int) -> NDArray[np.int64]:
    """Divide a side of a slice into tiles that are equal to within a pixel.

    A small tile at the border would be drawn as often as others and count as one of
    them in Student's degrees of freedom, but tell less.

    Parameters
    ----------
    length : int
        Pixels.
    size : int
        Wanted side of a tile.

    Returns
    -------
    ndarray of int64, shape (n_tiles + 1,)
        From 0 to `length`.

    Examples
    --------
    >>> tile_edges(100, 48).tolist(), tile_edges(20, 48).tolist()
    ([0, 50, 100], [0, 20])
    """
    n_tiles = max(1, int(length / size + 0.5))
    return np.linspace(0, length, n_tiles + 1).astype(np.int64)


def _side(length: int, size: int, number: int) -> tuple[int, int]:
    """Return where a tile starts along a side, and its length."""
    start, stop = tile_edges(length, size)[number : number + 2]
    return int(start), int(stop - start)


def n_unpainted(painting: Labels, inside: Mask | None = None) -> int:
    """Count the voxels of a painted region that are still to be painted.

    Parameters
    ----------
    painting : ndarray of uint8
    inside : ndarray of bool, same shape, optional
        Field of view; outside it nothing is painted.
    """
    is_open = painting == UNPAINTED
    return int(np.count_nonzero(is_open if inside is None else is_open & inside))
