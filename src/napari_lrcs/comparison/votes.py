"""What several experimenters agree on: majority vote, its agreement, and STAPLE."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from napari_lrcs.arrays import Labels
from napari_lrcs.errors import LrcsError
from napari_lrcs.io.formats.ome_zarr import create_ome_zarr
from napari_lrcs.io.formats.pyramid import add_levels
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.paths import check_destination, check_outputs
from napari_lrcs.io.provenance import combined
from napari_lrcs.io.volume import Volume, sources_of
from napari_lrcs.io.writing import check_new, replacing
from napari_lrcs.phases import UNPAINTED, PhaseTable
from napari_lrcs.progress import Publishing

_SLAB, _CHUNK = 16, 512
"""Slices that are written at once, and the sides of a chunk in a Zarr."""

_PAUSE_SECONDS = 0.3
"""Between two events while a thread works."""

_MOST_ITERATIONS = 100
"""Limit of STAPLE's iterations; it settles within some tens."""


def majority_vote(labels: Labels) -> tuple[Labels, NDArray[np.uint8]]:
    """Give each voxel the label that most experimenters gave it.

    Parameters
    ----------
    labels : ndarray of uint8, shape (n_experimenters, …)
        0 where an experimenter has not painted.

    Returns
    -------
    majority : ndarray of uint8, shape (…)
        The lowest of labels that were given equally often; 0 where nobody painted.
    agreement : ndarray of uint8, shape (…)
        255 times the share of those who painted the voxel that gave it this label,
        rounded, halves up; 0 where nobody painted.

    Examples
    --------
    >>> labels = np.array([[1, 2, 0, 0], [1, 1, 3, 0], [2, 0, 3, 0]], np.uint8)
    >>> majority, agreement = majority_vote(labels)
    >>> majority.tolist(), agreement.tolist()
    ([1, 1, 3, 0], [170, 128, 255, 0])
    """
    given = np.flatnonzero(np.bincount(labels.ravel(), minlength=1))
    votes = (
        (int(label), np.count_nonzero(labels == label, axis=0).astype(np.uint16))
        for label in given[given != UNPAINTED]
    )
    majority, n_votes = most_voted(votes, shape=labels.shape[1:])
    n_painted = np.count_nonzero(labels, axis=0)
    return majority, as_level(n_votes / np.maximum(n_painted, 1))


def most_voted(
    votes: Iterable[tuple[int, NDArray[np.uint16]]], *, shape: tuple[int, ...]
) -> tuple[Labels, NDArray[np.uint16]]:
    """Give each voxel the label with the most votes, the lowest of several.

    Parameters
    ----------
    votes : iterable of (int, ndarray of uint16)
        Labels, ascending, and how many voted for each.
    shape : tuple of int
        Of the votes.

    Returns
    -------
    majority : ndarray of uint8
        0 where there is no vote.
    n_votes : ndarray of uint16
        Votes for that label.
    """
    majority, most = np.zeros(shape, np.uint8), np.zeros(shape, np.uint16)
    for label, n in votes:
        majority[n > most] = label
        np.maximum(most, n, out=most)
    return majority, most


def as_level(share: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Scale shares of 0 to 1 to 0 to 255, rounded."""
    # Halves go up: rint would make 128 of 127.5 but 126 of 126.5.
    level: NDArray[np.uint8] = np.floor(255 * share + 0.5).clip(0, 255).astype(np.uint8)
    return level


def consensus(labels: Labels) -> Labels:
    """Estimate the truth from experimenters, each weighted by its reliability (STAPLE).

    Parameters
    ----------
    labels : ndarray of uint8, shape (n_experimenters, …)
        At least three, to tell the reliable ones from the others. All are in memory,
        and take three times their size meanwhile.

    Returns
    -------
    ndarray of uint8, shape (…)
        0 where not all experimenters have painted. What stays undecided is as
        `majority_vote` has it.

    Raises
    ------
    LrcsError
        If SimpleITK is not installed.
    ValueError
        If no voxel is painted by all.

    References
    ----------
    Warfield, Zou and Wells 2004, 10.1109/TMI.2004.828354; for several labels Rohlfing,
    Russakoff and Maurer 2003, 10.1007/978-3-540-45087-0_18. As in SimpleITK.
    """
    itk = load_simpleitk()
    by_all = labels.all(axis=0)
    if not by_all.any():
        raise ValueError(
            "no voxel is painted by all experimenters, as a consensus needs; choose "
            "slices that all have painted"
        )
    painted = labels[:, by_all]
    # Voxel by voxel, whatever its neighbours: all may lie in one row.
    rows = [itk.GetImageFromArray(row[np.newaxis]) for row in painted]
    staple = itk.MultiLabelSTAPLEImageFilter()
    staple.SetLabelForUndecidedPixels(UNPAINTED)
    staple.SetMaximumNumberOfIterations(_MOST_ITERATIONS)
    decided: Labels = itk.GetArrayFromImage(staple.Execute(rows))[0]
    undecided = decided == UNPAINTED
    decided[undecided] = majority_vote(painted[:, undecided])[0]
    found = np.zeros(labels.shape[1:], np.uint8)
    found[by_all] = decided
    return found


def load_simpleitk() -> ModuleType:
    """Import SimpleITK, which few need.

    Raises
    ------
    LrcsError
        If it is not installed.
    """
    try:
        import SimpleITK
    except ImportError as error:
        raise LrcsError(
            "a weighted consensus needs SimpleITK, which is not installed; install it: "
            'pip install "napari-lrcs[consensus]"'
        ) from error
    module: ModuleType = SimpleITK
    return module


# ---- files ----


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteFiles:
    """Where to write votes, each as ``.tif`` or ``.zarr``.

    Parameters
    ----------
    consensus : Path, optional
        Of `consensus`; needs the labels of all experimenters in memory.
    majority, agreement : Path, optional
        Of `majority_vote`.
    """

    # In the order of writing: what may fail comes first.
    consensus: Path | None = None
    majority: Path | None = None
    agreement: Path | None = None

    @property
    def wanted(self) -> Mapping[str, Path]:
        """The requested files, by name."""
        every = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: path for name, path in every.items() if path is not None}

    def check_new(self, *, overwrite: bool) -> None:
        """Refuse places that are taken, before any work is done.

        Parameters
        ----------
        overwrite : bool
            Whether what is there may be replaced.

        Raises
        ------
        ResultExistsError, VolumeError
            If something is in a place that may not be replaced, a folder is missing or
            read-only, or a name has another ending.
        LrcsError
            If a consensus is wanted without SimpleITK.
        """
        for name, path in self.wanted.items():
            check_destination(name, path)
            check_new(path, overwrite=overwrite)
        if self.consensus is not None:
            load_simpleitk()


def write_votes(
    files: VoteFiles,
    experimenters: Sequence[Volume],
    *,
    phases: PhaseTable,
    slices: Sequence[int] | None = None,
    mask: Volume | None = None,
    overwrite: bool = True,
) -> Iterator[Publishing]:
    """Write what experimenters agree on; all files, once they are complete.

    Parameters
    ----------
    experimenters : sequence of Volume
        Labels of the same shape. The first one's voxel size is kept.
    phases : PhaseTable
        Names and colours that the labels take along.
    slices : sequence of int, optional
        Slices along z; all by default. The files have the full shape, 0 elsewhere.
    mask : Volume of bool, optional
        Voxels outside are 0.
    overwrite : bool
        Whether what is in the places may be replaced.

    Raises
    ------
    ValueError
        If a file would replace an input, or another output.
    ResultExistsError, InUseError
        If a place is taken, or another one writes to it.
    OSError
        If the disk is full, or the like.
    LrcsError, ValueError
        As `consensus`, or if labels are damaged.
    """
    first = experimenters[0]
    provenance = combined([volume.provenance for volume in experimenters])
    wanted = sorted(set(range(first.shape[0]) if slices is None else slices))

    def read(z: int) -> Labels:
        labels = np.concatenate([volume.slab(z, z + 1) for volume in experimenters])
        return labels if mask is None else labels * mask.slab(z, z + 1)

    @cache
    def consensus_of_all() -> Labels:
        return consensus(np.stack([read(z) for z in wanted], axis=1))

    made: Mapping[str, Callable[[int], NDArray[np.uint8]]] = {
        "consensus": lambda z: consensus_of_all()[wanted.index(z)],
        "majority": lambda z: majority_vote(read(z))[0],
        "agreement": lambda z: majority_vote(read(z))[1],
    }
    check_outputs([*files.wanted.values()], inputs=sources_of(*experimenters, mask))
    with ExitStack() as stack:
        places = {
            name: stack.enter_context(replacing(path, overwrite=overwrite))
            for name, path in files.wanted.items()
        }
        for i, (name, path) in enumerate(places.items()):
            like = replace(
                first,
                name=files.wanted[name].stem,
                phases=None if name == "agreement" else phases,
                provenance=None if name == "agreement" else provenance,
            )
            slabs = _Slabs(make=made[name], wanted=frozenset(wanted), shape=first.shape)
            for share in _write(path, slabs, like=like):
                yield Publishing(share=(i + share) / len(files.wanted))


@dataclass(slots=True, kw_only=True)
class _Slabs:
    """Slices made one by one, handed out some at once; 0 where none is wanted."""

    make: Callable[[int], NDArray[np.uint8]]
    wanted: frozenset[int]
    shape: tuple[int, int, int]
    n_done: int = 0
    is_stopped: bool = False

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        n_slices, *sides = self.shape
        for start in range(0, n_slices, _SLAB):
            stop = min(start + _SLAB, n_slices)
            slab = np.zeros((stop - start, *sides), np.uint8)
            for z in self.wanted.intersection(range(start, stop)):
                if self.is_stopped:
                    raise CancelledError
                slab[z - start] = self.make(z)
            yield slab
            self.n_done = stop


def _write(path: Path, slabs: _Slabs, *, like: Volume) -> Iterator[float]:
    """Write in a thread, so that there is something to yield meanwhile."""
    with ThreadPoolExecutor(1, "votes") as pool:
        writing = pool.submit(_write_all, path, slabs, like)
        try:
            while wait([writing], _PAUSE_SECONDS).not_done:
                yield slabs.n_done / slabs.shape[0]
        finally:
            slabs.is_stopped = True
        writing.result()
    yield 1.0


def _write_all(path: Path, slabs: _Slabs, like: Volume) -> None:
    if path.suffix.lower() != ".zarr":
        write_labels_tiff(
            path,
            slabs,
            shape=like.shape,
            voxel_size=like.voxel_size,
            unit=like.unit,
            phases=like.phases,
            provenance=like.provenance,
        )
        return
    target = create_ome_zarr(
        path,
        shape=like.shape,
        chunks=(_SLAB, *(min(n, _CHUNK) for n in like.shape[1:])),
        voxel_size=like.voxel_size,
        unit=like.unit,
        phases=like.phases,
        provenance=like.provenance,
        name=like.name,
    )
    for start, slab in zip(range(0, like.shape[0], _SLAB), slabs, strict=True):
        target[start : start + _SLAB] = slab
    for _ in add_levels(path):
        pass
