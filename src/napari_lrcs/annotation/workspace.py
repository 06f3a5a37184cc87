"""The folder beside a volume where its paintings, runs and results lie."""

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.errors import InUseError, ResultExistsError
from napari_lrcs.io.locks import check_not_in_use
from napari_lrcs.io.paths import TIFF_SUFFIXES, VOLUME_SUFFIXES, is_zarr
from napari_lrcs.io.records import read_json

_SUFFIX = ".lrcs"
_LONGEST_NAME = 60
"""Characters of a name, so that its UTF-8 fits the 255 bytes of file systems."""

_HASH = 8
"""Hexadecimal digits that tell images of one name apart."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything about one volume is kept.

    Its methods name places without making them. Numbers continue from the highest one
    in use, by a write in progress too.

    Parameters
    ----------
    path : Path
        The folder; it need not exist yet.
    """

    path: Path

    def make(self) -> None:
        """Make the folder, and its parents, where they are missing."""
        self.path.mkdir(parents=True, exist_ok=True)

    def paintings(self) -> list[PaintingFolder]:
        """List the paintings, the one saved last first."""
        folders = map(PaintingFolder, self.path.glob("[!.]*"))
        return sorted(
            (folder for folder in folders if folder.is_painting),
            key=lambda folder: (folder.saved_at, _number(folder.path)),
            reverse=True,
        )

    def checks(self) -> list[CheckFolder]:
        """List the check patches, those changed last first."""
        folders = map(CheckFolder, self.path.glob("[!.]*"))
        return sorted(
            (folder for folder in folders if folder.is_check),
            key=lambda folder: (folder.record.modified, _number(folder.path)),
            reverse=True,
        )

    def read_checks(self, shape: tuple[int, int, int]) -> tuple[Check, ...]:
        """Read the check patches of a volume of this shape: trainings leave them out.

        Raises
        ------
        VolumeError
            If some are damaged: nobody knows what to leave out then.
        """
        checks = (folder.read() for folder in self.checks())
        return tuple(check for check in checks if check.design.shape == shape)

    def volumes_beside(self) -> list[Path]:
        """List the volumes that the workspace may be of, by their names."""
        places = self.path.parent.iterdir() if self.path.parent.is_dir() else ()
        return sorted(
            place
            for place in places
            if _stem(place) + _SUFFIX == self.path.name and _is_volume(place)
        )

    def new_painting(self) -> Path:
        """Return where the next painting goes."""
        return self._free("painting")

    def new_run(self) -> Path:
        """Return where the next training goes."""
        return self._free("run")

    def new_study(self) -> Path:
        """Return where the next study of uncertainty goes."""
        return self._free("study")

    def new_search(self) -> Path:
        """Return where the next search for settings goes."""
        return self._free("search")

    def new_transfer(self) -> Path:
        """Return where the next comparison of initial weights goes."""
        return self._free("transfer")

    def new_perturbed(self) -> Path:
        """Return where the next set of perturbed labels goes."""
        return self._free("perturbed")

    def new_check(self) -> Path:
        """Return where the next check patches go."""
        return self._free("check")

    def new_result(self, suffix: str) -> Path:
        """Return where the next segmentation goes, ``".tif"`` or ``".zarr"``."""
        return self._free("segmentation", suffix)

    def _free(self, kind: str, suffix: str = "") -> Path:
        # Whatever follows the number: segmentation-1-confidence.tif counts, too.
        pattern = re.compile(rf"\.?{kind}-([0-9]+)(?![0-9])")
        there = self.path.iterdir() if self.path.is_dir() else ()
        found = [match for file in there if (match := pattern.match(file.name))]
        highest = max((int(match[1]) for match in found), default=0)
        return self.path / f"{kind}-{highest + 1}{suffix}"


def fallback_folder() -> Path:
    """Return the folder for workspaces that cannot lie beside their volume."""
    return user_data_path("napari-lrcs", appauthor=False)


def is_workspace(path: Path) -> bool:
    """Tell whether a path is the folder of a workspace, by its name."""
    return is_workspace_name(path) and path.is_dir()


def is_workspace_name(path: Path) -> bool:
    """Tell whether a path is named as the folder of a workspace."""
    return path.suffix == _SUFFIX


def workspace_of(source: Path | None, *, name: str, fallback: Path) -> Workspace:
    """Find the workspace of a volume.

    Parameters
    ----------
    source : Path or None
        File or folder of the volume; None where it lies in memory alone.
    name : str
        Name of the volume; used where there is no `source`.
    fallback : Path
        Folder for workspaces that cannot lie beside their volume.

    Returns
    -------
    Workspace
        ``NAME.lrcs`` beside the source (never inside a Zarr). If nothing may be written
        there, the folder that the work went to in `fallback`; else what lies beside the
        source and can only be read; else a new folder in `fallback`, with a hash of the
        source's place in its name.

    Examples
    --------
    >>> workspace_of(None, name="scan [1]", fallback=Path("data")).path.as_posix()
    'data/scan _1_.lrcs'
    """
    if source is None:
        return Workspace(fallback / (_safe(name) + _SUFFIX))
    beside = _beside(source)
    place = beside if beside.exists() else beside.parent
    if _permits(place, os.W_OK | os.X_OK):
        return Workspace(beside)
    elsewhere = _elsewhere(beside, fallback)
    # Work that can only be read is shown, and refuses to be changed: beginning again
    # elsewhere would look as if it were lost.
    if not elsewhere.exists() and _permits(beside, os.R_OK | os.X_OK):
        return Workspace(beside)
    return Workspace(elsewhere)


def _beside(source: Path) -> Path:
    source = source.absolute()
    for parent in source.parents:
        if is_zarr(parent):
            source = parent
    return source.with_name(_stem(source) + _SUFFIX)


def _permits(folder: Path, access: int) -> bool:
    return folder.is_dir() and os.access(folder, access)


def _elsewhere(beside: Path, fallback: Path) -> Path:
    """Name the folder for work that cannot lie `beside` its image.

    Images of one name in several folders differ by a hash. An earlier version wrote
    none: its folder is used if its paintings are of this image.
    """
    name = _safe(beside.stem)
    own = sha256(os.fsencode(beside)).hexdigest()[:_HASH]
    place, former = fallback / f"{name}-{own}{_SUFFIX}", fallback / f"{name}{_SUFFIX}"
    is_former = not place.exists() and beside in map(_beside, _images_of(former))
    return former if is_former else place


def _images_of(folder: Path) -> list[Path]:
    """List the files of the images in a workspace, as far as they are known."""
    # Two images may have shared the folder: its project is of the one opened last.
    painted = [*map(_image_in, folder.glob("[!.]*/painting.json"))]
    known = [image for image in painted if image is not None]
    project = None if known else _image_in(folder / "project.json")
    return known if project is None else [Path(os.path.normpath(folder / project))]


def _image_in(record: Path) -> Path | None:
    try:
        path = read_json(record, dict[str, Any])["image"]["path"]
        return None if path is None else Path(path)
    except (OSError, ValueError, KeyError, TypeError):  # damaged, as is told elsewhere
        return None


def check_idle(folder: Path) -> None:
    """Refuse a run that is being trained, or a painting that is open in a window.

    Raises
    ------
    InUseError
        If a process holds its lock, even this one.
    """
    try:
        check_not_in_use(folder)
    except InUseError as error:
        raise InUseError(
            f"{folder.name} is being written to; wait until that has ended"
        ) from error
    painting = PaintingFolder(folder)
    if painting.is_painting:
        painting.lock().release()


def rename_folder(folder: Path, name: str) -> Path:
    """Give a run or a painting another name.

    Returns
    -------
    Path
        Where it is now.

    Raises
    ------
    ValueError
        If a folder cannot have this name.
    ResultExistsError
        If something has this name.
    InUseError
        If the folder is in use; see `check_idle`.
    OSError
        If it cannot be renamed.
    """
    if name != _safe(name):
        raise ValueError(
            f"{name!r} is not a valid name; use at most {_LONGEST_NAME} letters, "
            "digits, spaces and . - _, and no space or . at an end"
        )
    place = folder.with_name(name)
    # A system that ignores case finds the folder itself under its name in capitals.
    if place.exists() and not place.samefile(folder):
        raise ResultExistsError(f"{name} exists already; choose another name")
    check_idle(folder)
    return folder.rename(place)


def _is_volume(place: Path) -> bool:
    if place.is_file():
        return place.suffix.lower() in VOLUME_SUFFIXES
    return is_zarr(place) or any(
        file.suffix.lower() in TIFF_SUFFIXES for file in place.iterdir()
    )


def _stem(source: Path) -> str:
    """Return the name without the file type; a folder's own dots stay."""
    if source.is_dir() and source.suffix.lower() != ".zarr":
        return source.name
    return re.sub(r"(?<=.)\.ome$", "", source.stem, flags=re.IGNORECASE)


def _safe(name: str) -> str:
    return re.sub(r"[^\w .-]", "_", name)[:_LONGEST_NAME].strip(" .") or "volume"


def _number(path: Path) -> int:
    match = re.search(r"-([0-9]+)$", path.name)
    return int(match[1]) if match else 0
