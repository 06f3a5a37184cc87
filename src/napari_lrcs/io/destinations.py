"""Check the names that results may have."""

from pathlib import Path

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.paths import is_zarr

LABELS_SUFFIXES = (".tif", ".tiff", ".zarr")
"""Suffixes of the formats that labels can be written in."""


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
