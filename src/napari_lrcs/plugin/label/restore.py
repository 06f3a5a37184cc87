"""Offer to restore what is on disk of the work on an image."""

from collections.abc import Callable
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QMenu, QVBoxLayout

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.plugin.parts.layers.layers import volume_of, workspace_for
from napari_lrcs.plugin.parts.widgets import button
from napari_lrcs.plugin.parts.workers import Job, Work, start_job
from napari_lrcs.plugin.project.found_work import (
    Damaged,
    Found,
    FoundPainting,
    FoundProject,
    find_work,
)
from napari_lrcs.plugin.project.keeper import ProjectKeeper

_QUIET = "background: transparent; text-align: left; text-decoration: underline"


class RestoreLine(QFrame):
    """A line that offers what `find_work` has found.

    Parameters
    ----------
    is_open : callable
        Returns whether the painting in a folder is in the viewer.
    keeper : ProjectKeeper
        Restores what belongs to a project besides its painting.
    """

    restore_requested = Signal(object)
    """The `FoundPainting` to open."""

    changed = Signal()
    """Something else is offered, or nothing."""

    failed = Signal(str)
    """Something is damaged or missing; what, and why."""

    def __init__(
        self, is_open: Callable[[PaintingFolder], bool], keeper: ProjectKeeper
    ) -> None:
        super().__init__()
        self._is_open, self._keeper = is_open, keeper
        self._job: Job | None = None
        self._image_name = ""
        self._place: tuple[Path, tuple[int, ...]] | None = None
        self._found: list[FoundPainting] = []
        self._project: FoundProject | None = None
        self._damaged = ""
        self._search: object = None
        """The search that is running, or was the last."""
        self._is_quiet = self._restores = False
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
        self._is_quiet = is_quiet
        shape = QFrame.Shape.NoFrame if is_quiet else QFrame.Shape.StyledPanel
        self.setFrameShape(shape)
        self._text.setVisible(not is_quiet)
        self._button.setStyleSheet(_QUIET if is_quiet else "")
        self._button.setText("Restore an older painting" if is_quiet else "Restore")
        self.refresh()

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
        """Paintings that can be opened: the project's, then the one saved last."""
        return tuple(found for found in self._found if not self._is_open(found.folder))

    @property
    def project(self) -> FoundProject | None:
        """What was open last, while nothing of it is open."""
        project = self._project
        if project is None or self._is_quiet:
            return None
        painting = project.painting
        is_there = (
            self._keeper.is_shown(project.state.result)
            if painting is None
            else self._is_open(painting.folder)
        )
        return None if is_there else project

    @property
    def is_offering(self) -> bool:
        """Whether there is something to restore."""
        return bool(self.offered) or self.project is not None

    @property
    def next_step(self) -> str:
        """What to do next; empty if there is nothing to restore."""
        if self._restores:
            return "Opening your earlier work…"
        if self.is_offering:
            return "Click Restore, or start again with New labels layer."
        return ""

    def search(self, image: Image | None, *, restores: bool = False) -> None:
        """Search for work on an image, in a thread; without one, offer nothing.

        Parameters
        ----------
        image : Image or None
            The image.
        restores : bool
            Whether to restore what is found first, without a click.
        """
        self.disconnect_events()
        self._found, self._project, self._damaged = [], None, ""
        self._restores = restores
        self.refresh()
        if image is None:
            return
        workspace, shape = workspace_for(image), volume_of(image).shape
        self._image_name, self._place = image.name, (workspace.path, shape)
        self._search = search = object()
        self._job = start_job(
            Work(
                "Searching for paintings",
                lambda: find_work(workspace, shape=shape),
            ),
            connect={
                "yielded": self._on_found,
                "finished": lambda: self._on_searched(search),
            },
        )

    def restore(self) -> None:
        """Restore what was open last, or request the painting that was saved last."""
        project = self.project
        if project is None:
            if self.offered:
                self.restore_requested.emit(self.offered[0])
            return
        painting = project.painting
        if painting is not None:
            self.restore_requested.emit(painting)
            if not self._is_open(painting.folder):  # the reason is told
                return
        self._project = None
        self._keeper.restore(project)
        text, kind = project.outcome
        if kind == "warning":
            self.failed.emit(text)
        self.refresh()

    def refresh(self) -> None:
        """Offer what is not open."""
        project, offered = self.project, self.offered
        self.setVisible(self.is_offering)
        self.changed.emit()
        if project is not None and project.others:
            self._show(f"Work on {self._image_name} was found: {project}.")
        elif offered:
            self._show(f"A painting of {self._image_name} was found: {offered[0]}.")
        former = self._button.menu()
        is_choice = project is None and len(offered) > 1
        self._button.setMenu(self._menu(offered) if is_choice else None)
        if former is not None:
            former.deleteLater()

    def _show(self, text: str) -> None:
        self._text.setText(f"{text} {self._damaged}".strip())
        self._button.setToolTip(f"{text} Open it again")

    def disconnect_events(self) -> None:
        """Stop searching; Qt may have deleted the line by now."""
        self._place = self._search = None
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

    def _on_found(self, found: Found) -> None:
        match found:
            case Damaged():
                self._damaged = f"{found.reason}."
                self.failed.emit(found.reason)
            # An event of the former search may still arrive.
            case FoundProject() if self._is_here(found.folder, found.state.image.shape):
                self._project = found
            case FoundPainting() if self._is_new(found):
                self._found.append(found)
        self.refresh()
        if self._restores and self.is_offering and not self._is_quiet:
            self._restores = False
            self.restore()

    def _on_searched(self, search: object) -> None:
        if search is self._search and self._restores:  # and nothing was found
            self._restores = False
            self.refresh()

    def _is_here(self, folder: Path, shape: tuple[int, ...]) -> bool:
        return self._place == (folder, shape)

    def _is_new(self, found: FoundPainting) -> bool:
        is_known = any(known.folder == found.folder for known in self._found)
        is_here = self._is_here(found.folder.path.parent, found.state.image.shape)
        return is_here and not is_known
