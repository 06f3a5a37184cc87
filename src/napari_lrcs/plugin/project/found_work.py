"""Find what is on disk of the work on an image: after a crash, or the next day."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_lrcs.annotation.painting.folder import PaintingFolder, PaintingState
from napari_lrcs.annotation.project_file import ProjectFile, ProjectState
from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.errors import LrcsError
from napari_lrcs.plugin.painting.autosave import Counts
from napari_lrcs.plugin.parts.widgets import Kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundPainting:
    """A painting on disk that can be opened again.

    Parameters
    ----------
    folder : PaintingFolder
        Where the painting is.
    state : PaintingState
        What the folder holds.
    counts : mapping of int to ndarray of int64
        Painted voxels of each phase, by slice.
    """

    folder: PaintingFolder
    state: PaintingState
    counts: Counts

    def __str__(self) -> str:
        n = len({*self.counts, *self.state.roles})
        slices = "1 slice" if n == 1 else f"{n} slices"
        return f"{slices}, saved {self.folder.saved_at:%d %b %Y, %H:%M}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoundProject:
    """What was open when an image was last worked on.

    Parameters
    ----------
    folder : Path
        The workspace.
    state : ProjectState
        What was open and is still there.
    painting : FoundPainting or None
        The painting that was open, else the one saved last.
    missing : tuple of str
        Names of what is no longer there.
    """

    folder: Path
    state: ProjectState
    painting: FoundPainting | None
    missing: tuple[str, ...] = ()

    @property
    def others(self) -> tuple[str, ...]:
        """Names of what is there besides the painting."""
        found = (self.state.network, self.state.result)
        return tuple(Path(path).name for path in found if path is not None)

    @property
    def outcome(self) -> tuple[str, Kind]:
        """What to say once it is restored."""
        if not self.missing:
            return "The work is back.", "done"
        return f"Restored, except {', '.join(self.missing)}: not found.", "warning"

    def __str__(self) -> str:
        painting = () if self.painting is None else (f"painting ({self.painting})",)
        return ", ".join((*painting, *self.others))


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something on disk that cannot be read, and why."""

    reason: str


Found = FoundProject | FoundPainting | Damaged


def find_work(
    workspace: Workspace, *, shape: tuple[int, ...]
) -> Generator[Found, None, None]:
    """Read what was open of an image, and its paintings; runs in a thread.

    Parameters
    ----------
    workspace : Workspace
        Of the image.
    shape : tuple of int
        Of the image: what is of an image of the same name is left out.

    Yields
    ------
    FoundProject, FoundPainting or Damaged
        The project, together with its painting; then all paintings: the one that was
        open first, then the one saved last.
    """
    state: ProjectState | None = None
    try:
        state = ProjectFile(workspace.path).read()
    except LrcsError as error:
        yield Damaged(str(error))
    if state is not None and state.image.shape != shape:
        state = None
    folders = workspace.paintings()
    if state is not None:
        first = state.painting
        folders.sort(key=lambda folder: str(folder.path) != first)
    for found in _find_paintings(folders, shape):
        if state is not None and isinstance(found, FoundPainting):
            yield _project(workspace.path, state, found)
            state = None
        yield found
    if state is not None:
        yield _project(workspace.path, state, None)


def _find_paintings(
    folders: Sequence[PaintingFolder], shape: tuple[int, ...]
) -> Generator[FoundPainting | Damaged, None, None]:
    for folder in folders:
        try:
            state = folder.read()
            if state.image.shape != shape:
                continue
            counts = folder.labels.painted_slices()
        except LrcsError as error:
            yield Damaged(str(error))
            continue
        if counts or state.roles:
            yield FoundPainting(folder=folder, state=state, counts=counts)


def _project(
    folder: Path, state: ProjectState, painting: FoundPainting | None
) -> FoundProject:
    places = {
        name: path
        for name in ("painting", "network", "result")
        if (path := getattr(state, name)) is not None
    }
    gone = {name: path for name, path in places.items() if not Path(path).exists()}
    nothing: dict[str, Any] = dict.fromkeys(gone)
    return FoundProject(
        folder=folder,
        state=replace(state, **nothing),
        painting=painting,
        missing=tuple(Path(path).name for path in gone.values()),
    )
