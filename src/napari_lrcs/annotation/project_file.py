"""What was open of the work on a volume, kept in its workspace as ``project.json``."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from napari_lrcs.annotation.painting.folder import ImageIdentity
from napari_lrcs.annotation.workspace import Workspace, workspace_of
from napari_lrcs.errors import VolumeError
from napari_lrcs.io.records import convert, read_json, write_json

_FORMAT_VERSION = 1
_NAME = "project.json"
_DAMAGED = "project-damaged.json"
"""Where a damaged file is kept when it is replaced."""

_PLACES = ("painting", "network", "result")
"""Fields of `ProjectState` that are paths."""


class _NewerVersionError(VolumeError):
    """A file of a version that is not known yet: it must not be replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectState:
    """What a window showed of the work on a volume.

    Parameters
    ----------
    image : ImageIdentity
        The volume.
    dataset : str
        The one that was chosen of several volumes in the image's HDF5 file.
    reader : str
        Name of the napari plugin that opened the image.
    painting, network, result : str or None
        Paths: folder of the painting; run folder or checkpoint, if one was chosen; file
        of the predicted labels.
    page : str
        Page of *Segment volume*.
    docks : tuple of str
        Docks that were open, by their names in the menus.
    """

    image: ImageIdentity
    dataset: str = ""
    reader: str = ""
    painting: str | None = None
    network: str | None = None
    result: str | None = None
    page: str = ""
    docks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """The file ``project.json`` of a workspace.

    In it, paths of what lies in the workspace or beside it are relative, so that the
    workspace and its image can be moved together.

    Parameters
    ----------
    folder : Path
        The workspace; neither it nor the file need exist.
    """

    folder: Path

    def read(self) -> ProjectState | None:
        """Read what was open; None if nothing was saved.

        Raises
        ------
        VolumeError
            If the file is damaged, or a newer version has written it.
        """
        try:
            content = read_json(self._file, dict[str, Any])
            version = convert(content.get("format_version"), int)
            if version <= _FORMAT_VERSION:
                return _with_paths(convert(content, ProjectState), self._absolute)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, OSError) as error:
            raise VolumeError(
                f"{_NAME} in {self.folder} is damaged, so what was open last is not "
                f"known; paintings, runs and results are not affected ({error})"
            ) from error
        raise _NewerVersionError(
            f"{_NAME} in {self.folder} has format {version}, but this version reads "
            f"{_FORMAT_VERSION}: update napari-lrcs to restore what was open"
        )

    def write(self, state: ProjectState) -> None:
        """Save what is open; a painting, network or result that is not open stays.

        Raises
        ------
        VolumeError
            If a newer version has written the file.
        InUseError
            If another window is writing it.
        OSError
            If it cannot be written.
        """
        merged = _with_paths(_merged(state, self._former()), self._relative)
        write_json(self._file, {"format_version": _FORMAT_VERSION, **asdict(merged)})

    def follow_network(self, former: Path, place: Path | None) -> None:
        """Note where the network is now, if it is the one that was open.

        Parameters
        ----------
        former : Path
            Where it was.
        place : Path or None
            Where it is now; None if it was deleted.

        Raises
        ------
        VolumeError, InUseError, OSError
            As `read` and `write` do.
        """
        state = self.read()
        if state is not None and state.network == os.path.abspath(former):  # noqa: PTH100
            network = None if place is None else str(place)
            self.write(replace(state, network=network))

    def find_image(self) -> Path:
        """Find the file or folder of the image.

        Raises
        ------
        VolumeError
            If it is not there; names where it was searched for.
        """
        searched = list(dict.fromkeys(self._places()))
        found = filter(self._is_own, searched)
        image = next(found, None)
        if image is not None:
            return image
        name = f"a volume named {self.folder.stem} in {self.folder.parent}"
        raise VolumeError(
            f"the image of {self.folder.name} was not found; searched for "
            f"{', '.join([*map(str, searched), name])}. Move it there, or open it from "
            "where it is"
        )

    # ---- the image ----

    def _places(self) -> Iterator[Path]:
        """List where the image may be, the most likely place first."""
        workspace = Workspace(self.folder)
        for path in self._known_paths(workspace):
            yield path
            yield self.folder.parent / path.name
        yield from workspace.volumes_beside()

    def _known_paths(self, workspace: Workspace) -> Iterator[Path]:
        try:
            state = self.read()
        except VolumeError:
            state = None
        identities = [] if state is None else [state.image]
        for painting in workspace.paintings():
            try:
                identities.append(painting.read().image)
            except VolumeError:
                continue
        for image in identities:
            if image.path is not None:
                yield Path(self._absolute(image.path))

    def _is_own(self, image: Path) -> bool:
        """Whether an image is there, and works in this folder."""
        if not image.exists():
            return False
        workspace = workspace_of(image, name=image.name, fallback=self.folder.parent)
        return workspace.path == self.folder

    # ---- the record ----

    @property
    def _file(self) -> Path:
        return self.folder / _NAME

    def _former(self) -> ProjectState | None:
        try:
            return self.read()
        except _NewerVersionError:
            raise
        except VolumeError:
            self._file.replace(self.folder / _DAMAGED)
            return None

    def _relative(self, path: str) -> str:
        place = Path(os.path.abspath(path))  # noqa: PTH100 links stay
        if self.folder.parent not in place.parents:
            return str(place)
        return Path(os.path.relpath(place, self.folder)).as_posix()

    def _absolute(self, path: str) -> str:
        return os.path.normpath(self.folder / path)


def _with_paths(state: ProjectState, change: Callable[[str], str]) -> ProjectState:
    def changed(path: str | None) -> str | None:
        return None if path is None else change(path)

    places: dict[str, Any] = {name: changed(getattr(state, name)) for name in _PLACES}
    image = replace(state.image, path=changed(state.image.path))
    return replace(state, image=image, **places)


def _merged(state: ProjectState, former: ProjectState | None) -> ProjectState:
    """Fill in what is not open now and is still there."""
    if former is None or former.image.shape != state.image.shape:
        return state
    kept = {name: getattr(former, name) for name in _PLACES}
    missing: dict[str, Any] = {
        name: path
        for name, path in kept.items()
        if getattr(state, name) is None and path is not None and Path(path).exists()
    }
    return replace(state, **missing)
