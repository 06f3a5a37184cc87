"""The paintings of an image: opened, renamed and deleted."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from qtpy.QtCore import Signal

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.errors import LrcsError
from napari_lrcs.plugin.label.layers import LayersPart
from napari_lrcs.plugin.label.painting_controller import PaintingController
from napari_lrcs.plugin.parts.connections import Connections
from napari_lrcs.plugin.parts.folder_tables import FolderTable
from napari_lrcs.plugin.parts.forms import Fold
from napari_lrcs.plugin.parts.layers.layers import workspace_for
from napari_lrcs.plugin.project.found_work import FoundPainting


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintingEntry:
    """A painting in the table.

    Parameters
    ----------
    path : Path
        Its folder.
    saved_at : datetime
        When it was last saved.
    found : FoundPainting or None
        None if it is damaged.
    damaged : str
        Why it cannot be opened; empty if it can.
    """

    path: Path
    saved_at: datetime
    found: FoundPainting | None = None
    damaged: str = ""

    @property
    def n_painted(self) -> int:
        """Number of painted slices."""
        return 0 if self.found is None else len(self.found.counts)

    def __str__(self) -> str:
        return self.damaged or str(self.path)


def list_paintings(folder: Path) -> list[PaintingEntry]:
    """Read all paintings of a workspace, the one saved last first."""
    return [_read(painting) for painting in Workspace(folder).paintings()]


def _read(painting: PaintingFolder) -> PaintingEntry:
    path, saved_at = painting.path, painting.saved_at
    try:
        found = FoundPainting(
            folder=painting,
            state=painting.read(),
            counts=painting.labels.painted_slices(),
        )
    except LrcsError as error:
        return PaintingEntry(path=path, saved_at=saved_at, damaged=str(error))
    return PaintingEntry(path=path, saved_at=saved_at, found=found)


class PaintingsTable(FolderTable[PaintingEntry]):
    """A table of paintings, of which some are open."""

    open_requested = Signal(object)
    """Carries the path of a painting to open."""

    def __init__(self, paintings: PaintingController) -> None:
        super().__init__(
            ("Painting", "Slices", "Saved"),
            list_items=list_paintings,
            row=self._cells,
            hint="No painting yet.",
        )
        self._paintings = paintings
        self.add_button(
            "Open",
            "Open this painting to continue it",
            self.open_requested,
            allow=lambda entry: not (entry.damaged or self._is_open(entry)),
        )
        self.add_folder_buttons(_content)

    def rename(self, path: Path, name: str) -> Path:
        """Rename the folder of a painting, which may be open."""
        return self._paintings.rename(path, name)

    def delete(self, path: Path) -> None:
        """Close a painting, and delete its folder."""
        self._paintings.delete(path)

    def _is_open(self, entry: PaintingEntry) -> bool:
        return entry.found is not None and self._paintings.is_open(entry.found.folder)

    def _cells(self, entry: PaintingEntry) -> Sequence[str]:
        is_open = " (open)" if self._is_open(entry) else ""
        slices = "damaged" if entry.damaged else str(entry.n_painted)
        return entry.path.name + is_open, slices, f"{entry.saved_at:%d %b %H:%M}"


def _content(entry: PaintingEntry) -> str:
    if entry.damaged:
        return "a painting that is damaged"
    n = entry.n_painted
    return f"a painting with {n or 'no'} painted slice{'' if n == 1 else 's'}"


class PaintingsFold(Fold):
    """The table of the paintings of the chosen image, folded away.

    Parameters
    ----------
    choices : LayersPart
        What the user has chosen.
    """

    open_requested = Signal(object)
    """Carries the `FoundPainting` to open."""

    def __init__(self, paintings: PaintingController, choices: LayersPart) -> None:
        self.table = PaintingsTable(paintings)
        super().__init__("All paintings", self.table)
        self._choices = choices
        self._connections = Connections(
            (paintings.opened, self.refresh), (paintings.closed, self.refresh)
        )
        choices.image.chosen.connect(self.refresh)
        self.table.listed.connect(self._on_listed)
        self.table.open_requested.connect(self._open)
        self.refresh()

    def unfold(self, shown: bool = True) -> None:  # noqa: FBT001, FBT002 a Qt slot
        """Show the table as it is now, or fold it away."""
        super().unfold(shown)
        if shown:
            self.refresh()

    def refresh(self, *_: object) -> None:
        """List the paintings of the chosen image."""
        image = None if self._choices.complaint else self._choices.image.layer
        self.table.refresh(None if image is None else workspace_for(image).path)

    def disconnect_events(self) -> None:
        """Stop listening to the viewer."""
        self._connections.disconnect_events()
        self.table.disconnect_events()

    def _on_listed(self) -> None:
        self.setVisible(bool(self.table.items))

    def _open(self, path: Path) -> None:
        entries = (entry for entry in self.table.items if entry.path == path)
        self.open_requested.emit(next(entries).found)
