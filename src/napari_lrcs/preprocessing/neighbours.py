"""Whether neighbouring slices resemble each other: only then does a network gain."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.config import Axis, NetworkConfig, PreprocessingConfig
from napari_lrcs.io.volume import Volume
from napari_lrcs.preprocessing.slices import SliceReader, sampled

_ALIKE = 0.4
"""Least `Resemblance.share` of neighbours that resemble each other.

Measured. In order: a cathode .98, a Ni-YSZ anode .99 and, with much noise, .97; stacks
of 2 to 10 of their slices, at least .75; every fifth slice, .65 and .88. Shuffled: .04,
also beside a bright edge. Single slices of real cathodes: .09 and .12; serial sections
of tissue, .25; every tenth slice of the cathode, .24.
"""

_BLOCK = 4
"""Side of the blocks whose means are compared: noise, which neighbours do not share,
averages out."""

_FEWEST_BLOCKS = 8
"""Along the shorter side of a slice; smaller slices are compared voxel by voxel."""

_THIN = 8
"""Slices below which a volume has no distant ones."""

_MOST_PAIRS = 8
_MOST_VOXELS = 2**24
"""Voxels to read, if two pairs of slices have no more: a fraction of a second."""

_Blocks = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resemblance:
    """How far neighbouring slices of a volume resemble each other.

    Parameters
    ----------
    volume : str
        Name of the volume.
    n_slices : int
        Slices of the volume.
    near : float
        Correlation of neighbouring slices, -1 to 1.
    distant : float
        Correlation of slices that are far apart, at least 0: what all slices share,
        such as a field of view, a sample's edge or rings.
    """

    volume: str
    n_slices: int
    near: float
    distant: float

    @property
    def share(self) -> float:
        """Share of what distant slices lack that neighbours have in common; up to 1."""
        if self.distant >= 1:
            return 0.0
        return (self.near - self.distant) / (1 - self.distant)

    @property
    def is_alike(self) -> bool:
        """Whether neighbours tell something of a slice."""
        return self.share >= _ALIKE

    @property
    def context_slices(self) -> int:
        """Neighbours on either side that suit the volume."""
        return NetworkConfig().context_slices if self.is_alike else 0

    def describe_use(self, n: int) -> str:
        """Say that `n` neighbours on either side are used, and what was measured.

        Examples
        --------
        >>> found = Resemblance(volume="a.tif", n_slices=5, near=0.12, distant=0.0)
        >>> found.describe_use(0)
        'no neighbours: neighbouring slices of a.tif resemble each other hardly more \
than distant ones (correlation 0.12 against 0.00)'
        """
        used = f"{n} neighbour{'s' * (n > 1)} on either side" if n else "no neighbours"
        if n == 0 and self.is_alike:
            return f"{used}, although {self}"
        if n == 0 or self.is_alike:
            return f"{used}: {self}"
        return f"{used}, but {self}; set the context slices to 0"

    def __str__(self) -> str:
        """Return a clause for a message."""
        if self.n_slices == 1:
            return f"{self.volume} has a single slice"
        how = "more" if self.is_alike else "hardly more"
        return (
            f"neighbouring slices of {self.volume} resemble each other {how} than "
            f"distant ones (correlation {self.near:.2f} against {self.distant:.2f})"
        )


def measure_resemblance(
    volume: Volume,
    *,
    axis: Axis = "z",
    painted: Sequence[int] = (),
    mask: Volume | None = None,
) -> Resemblance | None:
    """Compare the correlation of neighbouring slices with that of distant ones.

    Few pairs of slices are read, of however large a volume.

    Parameters
    ----------
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    painted : sequence of int
        Slices that are learnt from; half of the pairs lie there.
    mask : Volume of bool, optional
        Field of view; outside, nothing is compared.

    Returns
    -------
    Resemblance or None
        None if nothing can be told: the slices are constant.

    Raises
    ------
    VolumeError
        If the file is damaged.
    """
    reader = SliceReader(
        volume=sampled(volume, axis=axis),
        preprocessing=PreprocessingConfig(axis=axis),
        mask=mask and sampled(mask, axis=axis),
    )
    n_slices = reader.n_slices
    if n_slices == 1:
        return Resemblance(volume=volume.name, n_slices=1, near=0, distant=0)
    starts = _starts(reader, painted)
    pairs = {start: _read_pair(reader, start) for start in starts}
    near = _mean(_correlation(*pair) for pair in pairs.values())
    if near is None:
        return None
    far = _mean(
        _correlation(one, turned)
        for one, turned in (
            # Of a thin stack: what two slices share that are turned by half.
            [(a, b[::-1, ::-1]) for a, b in pairs.values()]
            if n_slices < _THIN
            else [
                (pairs[i][0], pairs[j][0])
                for i, j in combinations(starts, 2)
                if j - i >= n_slices // 4
            ]
        )
    )
    return Resemblance(
        volume=volume.name, n_slices=n_slices, near=near, distant=max(far or 0, 0)
    )


def _starts(reader: SliceReader, painted: Sequence[int]) -> list[int]:
    """Choose the first slices of the pairs: half of them painted, the others spread."""
    rows, columns = reader.slice_shape
    n = int(np.clip(_MOST_VOXELS // (2 * rows * columns), 2, _MOST_PAIRS))
    last = reader.n_slices - 2
    learnt = sorted({max(0, min(z, last)) for z in painted})
    places = np.linspace(0, len(learnt) - 1, min(n // 2, len(learnt)))
    chosen = {learnt[round(place)] for place in places}
    return sorted(chosen | {round(z) for z in np.linspace(0, last, n - len(chosen))})


def _read_pair(reader: SliceReader, start: int) -> tuple[_Blocks, _Blocks]:
    slab = reader.volume.slab(start, start + 2, axis=reader.axis)
    inside = reader.inside(start, start + 2)
    image = np.where(
        np.isfinite(slab) & (True if inside is None else inside), slab, np.nan
    )
    height, width = reader.slice_shape
    side = _BLOCK if min(height, width) >= _FEWEST_BLOCKS * _BLOCK else 1
    rows, columns = height // side, width // side
    cut = image[:, : rows * side, : columns * side]
    # A block that is not all inside is NaN. Float16 cannot hold sums of squares.
    blocks = cut.reshape(2, rows, side, columns, side)
    one, other = blocks.mean(axis=(2, 4), dtype=np.float64)
    return one, other


def _correlation(one: _Blocks, other: _Blocks) -> float | None:
    """Correlate what both have; None where one is constant."""
    is_in = np.isfinite(one) & np.isfinite(other)
    if not is_in.any():
        return None
    first, second = (blocks[is_in] - blocks[is_in].mean() for blocks in (one, other))
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm else None


def _mean(correlations: Iterable[float | None]) -> float | None:
    known = [value for value in correlations if value is not None]
    return float(np.mean(known)) if known else None
