"""Memory that a prediction into memory needs, and whether it is there."""

import math

import psutil

from napari_lrcs.config import Axis
from napari_lrcs.inference.results.cleaning import COPY_SLICES
from napari_lrcs.preprocessing.slices import AXES

_SHARE = 0.5
"""Of the free memory: the image, the network and the window need some, too."""

_SPECK_BYTES = 8
"""A voxel of the window in which specks are found: numbered components (int32), sizes,
masks and labels within a border, measured with `tracemalloc`."""


def memory_needed(
    shape: tuple[int, int, int],
    *,
    n_slices: int | None = None,
    axis: Axis = "z",
    confidence: bool = False,
    min_size: int = 0,
) -> int:
    """Estimate the memory of a prediction's result.

    Parameters
    ----------
    shape : tuple of three ints
        Of the volume, z, y, x.
    n_slices : int, optional
        Slices that are predicted; all by default.
    axis : {"z", "y", "x"}
        Axis that the slices lie across.
    confidence : bool
        Whether it is kept, too.
    min_size : int
        Specks of fewer voxels are removed, for which the labels are copied.

    Returns
    -------
    int
        Bytes, those for reading and computing a slab left out: they are the same where
        the result goes to disk.

    Examples
    --------
    >>> memory_needed((100, 200, 300), confidence=True)
    12000000
    """
    n_there = shape[AXES[axis]]
    n = n_there if n_slices is None else n_slices
    area = math.prod(shape) // n_there
    needed = n * area * (2 if confidence else 1)
    if min_size > 1:
        window = min(n, COPY_SLICES + 4 * min_size)
        needed += n * area + window * area * _SPECK_BYTES
    return needed


def free_memory() -> int:
    """Return the bytes that can be had without pushing anything out of memory."""
    return int(psutil.virtual_memory().available)


def fits_memory(needed: int) -> bool:
    """Tell whether half of the free memory is enough."""
    return needed <= _SHARE * free_memory()


def check_memory(needed: int) -> None:
    """Refuse a prediction into memory that would not fit.

    Parameters
    ----------
    needed : int
        Bytes, of `memory_needed`.

    Raises
    ------
    MemoryError
        If that is more than half of the free memory.
    """
    if not fits_memory(needed):
        raise MemoryError(
            f"the result needs {amount(needed)} of memory, but may take only half of "
            f"the {amount(free_memory())} that are free; predict to OME-Zarr or TIFF, "
            "or fewer slices"
        )


def amount(n_bytes: int) -> str:
    """Write an amount of memory as people read it.

    Examples
    --------
    >>> amount(8_000_000_000), amount(30_000_000)
    ('7.5 GiB', '28.6 MiB')
    """
    units = ["KiB", "MiB", "GiB", "TiB"]
    size = n_bytes / 1024
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.1f} {units[0]}"
