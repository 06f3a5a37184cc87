"""Names that results may have."""

from pathlib import Path

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.paths import is_zarr

LABELS_SUFFIXES = (".tif", ".tiff", ".zarr")
"""What labels and the like can be written as."""


def check_destination(
    what: str, path: Path, *, suffixes: tuple[str, ...] = LABELS_SUFFIXES
) -> None:
    """Refuse a name that a result cannot have, or that something else has.

    Parameters
    ----------
    what : str
        The result, for the error.
    path : Path
        Where it is to go.
    suffixes : tuple of str
        Endings of the formats that it can be written in.

    Raises
    ------
    VolumeError
        If the name has another ending, or is that of a folder or of a file that no
        result could replace.
    """
    suffix = path.suffix.lower()
    if suffix not in suffixes:
        raise VolumeError(
            f"the {what} cannot go to {path.name}: its name must end in "
            f"{' or '.join(suffixes)}"
        )
    fits = is_zarr(path) if suffix == ".zarr" else path.is_file()
    if path.exists() and not fits:
        raise VolumeError(
            f"{path} is there and is no {suffix} that a result could replace; choose "
            "another name"
        )
