"""Offer the check patches of an image that are on disk."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton

from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.annotation.check_patches import Check
from napari_lrcs.annotation.workspace import Workspace
from napari_lrcs.errors import LrcsError
from napari_lrcs.plugin.parts.layers.layers import volume_of, workspace_for
from napari_lrcs.plugin.parts.workers import EXPECTED, BackgroundReader


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCheck:
    """Check patches on disk."""

    folder: CheckFolder
    check: Check

    def __str__(self) -> str:
        patches = self.check.patches
        n_done = sum(patch.done for patch in patches)
        return f"{self.folder.path.name}: {n_done} of {len(patches)} done"

    @property
    def is_unfinished(self) -> bool:
        """Whether patches are still to be painted."""
        return not all(patch.done for patch in self.check.patches)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundChecks:
    """All check patches of an image, those that are unfinished first."""

    checks: tuple[FoundCheck, ...]
    damaged: tuple[str, ...]
    """Why others cannot be read."""


def find_checks(
    workspace: Workspace, *, shape: tuple[int, ...]
) -> Generator[None, None, FoundChecks]:
    """Read the check patches of an image; pauses after each."""
    found, damaged = [], []
    for folder in workspace.checks():
        try:
            check = folder.read()
        except LrcsError as error:
            damaged.append(str(error))
        else:
            if check.design.shape == shape:
                found.append(FoundCheck(folder=folder, check=check))
        yield
    found.sort(key=lambda one: not one.is_unfinished)
    return FoundChecks(checks=tuple(found), damaged=tuple(damaged))


class CheckOffer(QPushButton):
    """A button that continues check patches; of several, it opens a menu."""

    open_requested = Signal(object)
    """The `CheckFolder` to open."""

    failed = Signal(str)
    """Why something on disk cannot be read."""

    searched = Signal()
    """The search has ended."""

    def __init__(self) -> None:
        super().__init__()
        self._checks: tuple[FoundCheck, ...] = ()
        self._place: tuple[Path, tuple[int, ...]] | None = None
        self._reader = BackgroundReader("Searching for check patches", self)
        self._reader.answered.connect(self._show)
        self._reader.failed.connect(self.failed)
        self.clicked.connect(self._on_click)
        self._show(FoundChecks(checks=(), damaged=()))

    @property
    def checks(self) -> tuple[FoundCheck, ...]:
        """What is offered, the one to continue first."""
        return self._checks

    def search(self, image: Image | None, *, anew: bool = False) -> None:
        """Search for the patches of an image, unless that was done before."""
        place = None
        try:
            if image is not None:
                place = (workspace_for(image).path, volume_of(image).shape)
        except EXPECTED:  # an image in colour has no patches
            pass
        if place == self._place and not anew:
            return
        self._place = place
        if place is None:
            self._reader.cancel()
            self._show(FoundChecks(checks=(), damaged=()))
        else:
            path, shape = place
            self._reader.read(lambda: find_checks(Workspace(path), shape=shape))

    def disconnect_events(self) -> None:
        """Stop searching."""
        self._reader.cancel()

    def _show(self, found: FoundChecks) -> None:
        self._checks = found.checks
        former = self.menu()
        self.setMenu(self._menu() if len(found.checks) > 1 else None)
        if former is not None:
            former.deleteLater()
        if found.checks:
            self.setText(_title(found.checks[0]))
            self.setToolTip("Go on painting these patches, and see what they tell")
        for reason in found.damaged:
            self.failed.emit(reason)
        self.searched.emit()

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        for found in self._checks:
            action = menu.addAction(_title(found))
            assert action is not None
            action.triggered.connect(
                lambda _checked=False, folder=found.folder: self.open_requested.emit(
                    folder
                )
            )
        return menu

    def _on_click(self) -> None:
        if len(self._checks) == 1:
            self.open_requested.emit(self._checks[0].folder)


def _title(found: FoundCheck) -> str:
    return f"{'Continue' if found.is_unfinished else 'Open'} {found}"
