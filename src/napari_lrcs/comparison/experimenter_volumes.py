"""Labels of several experimenters: opened, checked and read, all errors at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from napari_lrcs.arrays import Labels
from napari_lrcs.comparison.evaluate import check_comparable, named_phases
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.opening import open_labels
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import check_same_numbers

T = TypeVar("T")


def open_experimenters(*paths: str | Path) -> tuple[Volume, ...]:
    """Open the labels of several experimenters; one error names all that fail.

    Parameters
    ----------
    *paths : str or Path
        As for `open_labels`.

    Returns
    -------
    tuple of Volume
        Each with a name of its own: its file's, or the path where names are the same.

    Raises
    ------
    VolumeError
        If one or several cannot be opened; names each of them, and why.
    """
    files = [Path(path).name for path in paths]
    names = [
        str(path) if files.count(file) > 1 else file
        for path, file in zip(paths, files, strict=True)
    ]
    opened = [_attempt(partial(open_labels, path)) for path in paths]
    _raise_unreadable(
        {i: found for i, found in enumerate(opened) if isinstance(found, VolumeError)},
        names=names,
    )
    return tuple(
        replace(volume, name=name)
        for volume, name in zip(opened, names, strict=True)
        if isinstance(volume, Volume)
    )


def check_experimenters(
    experimenters: Sequence[Volume],
    *,
    target: Volume | None = None,
    slices: Sequence[int] | None = None,
) -> None:
    """Refuse what `compare_experimenters` would, without reading a voxel.

    Raises
    ------
    ValueError
        If there are fewer than two, one is given twice, shapes differ, a slice is out
        of range, or the same phase has different numbers.
    """
    if len(experimenters) < 2:
        raise ValueError(
            "a comparison needs the labels of two experimenters or more, got those of "
            f"{len(experimenters)}"
        )
    names = [volume.name for volume in experimenters]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"{twice[0]} is given twice; give the labels of each experimenter once"
        )
    volumes = [*experimenters, *([] if target is None else [target])]
    shapes: dict[tuple[int, ...], list[str]] = {}
    for volume in volumes:
        shapes.setdefault(volume.shape, []).append(volume.name)
    if len(shapes) > 1:
        found = "; ".join(
            f"{', '.join(names)}: {shape}" for shape, names in shapes.items()
        )
        raise VolumeError(
            "only labels of one shape can be compared; found, in voxels (z, y, x): "
            f"{found}"
        )
    check_comparable(volumes[0], volumes[1], slices=slices)
    check_same_numbers(*named_phases(*volumes))


def slices_of_all(
    volumes: Sequence[Volume], wanted: Sequence[int], *, mask: Volume | None = None
) -> Iterator[tuple[int, Labels | None]]:
    """Read slices of all volumes.

    Parameters
    ----------
    volumes : sequence of Volume
        Of one shape.
    wanted : sequence of int
        Slices along z.
    mask : Volume of bool, optional
        Voxels outside are 0.

    Yields
    ------
    int
        Place of the slice.
    ndarray of uint8, shape (len(volumes), y, x), or None
        None from the first slice on in which a volume is damaged.

    Raises
    ------
    VolumeError
        At the end, if volumes are damaged; names each of them.
    """
    errors: dict[int, VolumeError] = {}
    for z in wanted:
        slabs = {
            i: _attempt(partial(volume.slab, z, z + 1))
            for i, volume in enumerate(volumes)
            if i not in errors
        }
        errors |= {i: s for i, s in slabs.items() if isinstance(s, VolumeError)}
        if errors:
            yield z, None
            continue
        good = [s for s in slabs.values() if not isinstance(s, VolumeError)]
        labels = np.concatenate(good)
        yield z, labels if mask is None else labels * mask.slab(z, z + 1)
    _raise_unreadable(errors, names=[volume.name for volume in volumes])


def _attempt(read: Callable[[], T]) -> T | VolumeError:
    try:
        return read()
    except VolumeError as error:
        return error


def _raise_unreadable(errors: Mapping[int, Exception], names: Sequence[str]) -> None:
    if len(errors) == 1:
        raise next(iter(errors.values()))
    if errors:
        reasons = "; ".join(
            str(error) if names[i] in str(error) else f"{names[i]}: {error}"
            for i, error in errors.items()
        )
        raise VolumeError(
            f"{len(errors)} of {len(names)} files cannot be used; fix them, or leave "
            f"them out: {reasons}"
        )
