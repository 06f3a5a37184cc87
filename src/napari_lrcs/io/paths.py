"""Check the names of outputs, and name our temporary files."""

import os
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from napari_lrcs.errors import VolumeError

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5", ".nxs")
TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")
VOLUME_SUFFIXES = (*TIFF_SUFFIXES, *HDF5_SUFFIXES, ".npy")
"""Suffixes of files of volumes; folders are recognised by their content."""

LABELS_SUFFIXES = (".tif", ".tiff", ".zarr")
"""Suffixes of the formats that labels can be written in."""


def check_outputs(outputs: Sequence[Path], *, inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that would replace an input or one another.

    Parameters
    ----------
    outputs : sequence of Path
        Files and folders to write.
    inputs : iterable of str or Path
        Files and folders to read. Links are resolved on both sides.

    Raises
    ------
    ValueError
        If an output equals, contains or lies within an input or another output.

    Examples
    --------
    >>> check_outputs([Path("scan.zarr")], inputs=["scan.zarr/0"])
    Traceback (most recent call last):
    ValueError: scan.zarr contains the input scan.zarr/0; choose another name
    """
    read = [Path(path) for path in inputs]
    for output in outputs:
        for source in read:
            relation = _relation(output, source)
            if relation == "is":
                raise ValueError(f"{output} is an input; choose another name")
            if relation:
                raise ValueError(
                    f"{output} {relation} the input {source}; choose another name"
                )
    for one, other in combinations(outputs, 2):
        if _relation(one, other):
            raise ValueError(
                f"the outputs {one} and {other} overlap; choose another name for one "
                "of them"
            )


def _relation(output: Path, other: Path) -> str:
    """Describe how an output relates to another path; empty if they do not overlap."""
    place, taken = _resolved(output), _resolved(other)
    if place == taken or _is_same_file(place, taken):
        return "is"
    if place in taken.parents:
        return "contains"
    return "is inside" if taken in place.parents else ""


def _is_same_file(place: Path, other: Path) -> bool:
    # If the system ignores case, two names may be one folder. Files that share their
    # content by a hard link are separate: we replace names, not contents.
    return place.is_dir() and other.is_dir() and place.samefile(other)


def check_destination(
    what: str, path: Path, *, suffixes: tuple[str, ...] = LABELS_SUFFIXES
) -> None:
    """Refuse a name that a result cannot have, or that something else has.

    Parameters
    ----------
    what : str
        What the result is called in the error.
    path : Path
        Where to write it.
    suffixes : tuple of str
        Suffixes of the formats that it can be written in.

    Raises
    ------
    VolumeError
        If the name has another suffix, or if a folder or file of that name exists that
        no result may replace.
    """
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise VolumeError(
            f"the {what} cannot be written to {path.name}: its name must end in "
            f"{' or '.join(suffixes)}"
        )
    fits = is_zarr(path) if suffix == ".zarr" else path.is_file()
    if path.exists() and not fits:
        raise VolumeError(
            f"{path} exists and is not a {suffix} that a result could replace; choose "
            "another name"
        )


def follow_link(path: Path) -> Path:
    """Return where a link points; the path itself if it is not a link."""
    return _resolved(path) if path.is_symlink() else path


def _resolved(path: Path) -> Path:
    # Not Path.resolve: before Python 3.13 it raises RuntimeError for a link to itself.
    return Path(os.path.realpath(path))


# Hidden names next to a result that nobody else uses, so we may remove such files.


def part_of(path: Path) -> Path:
    """Return the name that `path` has until it is complete, with the same suffix."""
    return path.with_name(f".{path.stem}.lrcs-part{path.suffix}")


def former_of(path: Path) -> Path:
    """Return the name for what `path` replaces, with the same suffix."""
    return path.with_name(f".{path.stem}.lrcs-old{path.suffix}")


def lock_of(path: Path) -> Path:
    """Return the name of the file that the writer of `path` locks."""
    return path.with_name(f".{path.name}.lrcs-lock")


def is_zarr(place: Path) -> bool:
    """Return whether a folder is a Zarr array or group, of format 2 or 3."""
    return any((place / file).is_file() for file in ("zarr.json", ".zarray", ".zgroup"))
