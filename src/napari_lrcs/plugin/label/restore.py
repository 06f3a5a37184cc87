"""Offer to open paintings that are on disk: after a crash, or the next day."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QMenu, QVBoxLayout

from napari_lrcs.annotation.painting import PaintingFolder, PaintingState
from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.errors import LrcsError
from napari_lrcs.plugin.painting.autosave import Counts
from napari_lrcs.plugin.parts.layers import volume_of, workspace_for
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.plugin.parts.workers import Job, Work, start_job

_QUIET = "background: transparent; text-align: left; text-decoration: underline"


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


@dataclass(frozen=True, slots=True)
class DamagedPainting:
    """A painting on disk that cannot be read, and why."""

    reason: str


def find_paintings(
    workspace: Workspace, *, shape: tuple[int, ...]
) -> Generator[FoundPainting | DamagedPainting, None, None]:
    """Read the paintings of an image, the one saved last first; runs in a thread."""
    for folder in workspace.paintings():
        try:
            state = folder.read()
            if state.image.shape != shape:  # an image of the same name
                continue
            counts = folder.labels.painted_slices()
        except LrcsError as error:
            yield DamagedPainting(str(error))
            continue
        if counts or state.roles:
            yield FoundPainting(folder=folder, state=state, counts=counts)


class RestoreLine(QFrame):
    """A line that offers what `find_paintings` has found.

    Parameters
    ----------
    is_open : callable
        Returns whether the painting in a folder is in the viewer.
    """

    restore_requested = Signal(object)
    """The `FoundPainting` to open."""

    changed = Signal()
    """Something else is offered, or nothing."""

    failed = Signal(str)
    """A painting is damaged; why."""

    def __init__(self, is_open: Callable[[PaintingFolder], bool]) -> None:
        super().__init__()
        self._is_open = is_open
        self._job: Job | None = None
        self._image_name = ""
        self._place: tuple[Path, tuple[int, ...]] | None = None
        self._found: list[FoundPainting] = []
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._button = button("Restore", "Open the painting again", self.restore)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self._text)
        layout.addWidget(self._button)
        self.set_quiet(is_quiet=False)
        self.setVisible(False)

    def set_quiet(self, *, is_quiet: bool) -> None:
        """Take less room: while another painting is open, this is not the next step."""
        shape = QFrame.Shape.NoFrame if is_quiet else QFrame.Shape.StyledPanel
        self.setFrameShape(shape)
        self._text.setVisible(not is_quiet)
        self._button.setStyleSheet(_QUIET if is_quiet else "")
        self._button.setText("Restore an older painting" if is_quiet else "Restore")

    @property
    def text(self) -> str:
        """The sentence that is shown."""
        return str(self._text.text())

    @property
    def text_is_hidden(self) -> bool:
        """Whether only the button is shown."""
        return bool(self._text.isHidden())

    @property
    def offered(self) -> tuple[FoundPainting, ...]:
        """What can be restored, the one saved last first."""
        return tuple(found for found in self._found if not self._is_open(found.folder))

    def search(self, image: Image | None) -> None:
        """Search for paintings of an image, in a thread; without one, offer nothing."""
        self.disconnect_events()
        self._found = []
        self.refresh()
        if image is None:
            return
        workspace, shape = workspace_for(image), volume_of(image).shape
        self._image_name, self._place = image.name, (workspace.path, shape)
        self._job = start_job(
            Work(
                "Searching for paintings",
                lambda: find_paintings(workspace, shape=shape),
            ),
            connect={"yielded": self._on_found},
        )

    def restore(self) -> None:
        """Request the painting that was saved last."""
        if self.offered:
            self.restore_requested.emit(self.offered[0])

    def refresh(self) -> None:
        """Offer what is not open."""
        offered = self.offered
        self.setVisible(bool(offered))
        self.changed.emit()
        if not offered:
            return
        self._text.setText(f"A painting of {self._image_name} was found: {offered[0]}.")
        self._button.setToolTip(f"Open the painting again: {offered[0]}")
        former = self._button.menu()
        self._button.setMenu(self._menu(offered) if len(offered) > 1 else None)
        if former is not None:
            former.deleteLater()

    def disconnect_events(self) -> None:
        """Stop searching; Qt may have deleted the line by now."""
        self._place = None
        if self._job is not None:
            self._job.quit()
            self._job = None

    def _menu(self, offered: tuple[FoundPainting, ...]) -> QMenu:
        menu = QMenu(self)
        for found in offered:
            action = menu.addAction(str(found))
            assert action is not None
            action.triggered.connect(
                lambda _checked=False, found=found: self.restore_requested.emit(found)
            )
        return menu

    def _on_found(self, event: FoundPainting | DamagedPainting) -> None:
        if isinstance(event, DamagedPainting):
            self.failed.emit(event.reason)
            return
        is_known = any(found.folder == event.folder for found in self._found)
        # An event of the former search may still arrive.
        is_here = self._place == (event.folder.path.parent, event.state.image.shape)
        if is_here and not is_known:
            self._found.append(event)
            self.refresh()
