"""A widget that notices that it, or its window, is closed."""

from weakref import ref

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QDockWidget, QMainWindow, QMessageBox, QTabBar, QWidget

from napari_lrcs.plugin.parts.widgets import recolour

_CLOSES = "napari_lrcs_closes_without_saving"
"""Property of a window whose user accepts that what cannot be saved is lost."""

_TABS = "QTabBar::tab { min-width: 6em }"
"""Tabs of docks show some letters of each name at least; those beyond scroll."""


class Closable(QWidget):
    """A widget that notices that it, or its window, is closed.

    napari asks before it closes a window in which a job runs (with the text of `Work`),
    but not before it closes a dock: so it is asked here, and the dock is put back if
    its user wants that. It is also asked before a window closes with something that
    cannot be saved.
    """

    in_front_changed = Signal(bool)
    """Another dock is in front of it now, or none any more."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self._title = ""
        """Name of the dock, by which napari knows it too."""
        # Weak: napari's window holds its canvas, which must go once it is closed.
        self._window_ref: ref[QWidget] | None = None
        self._is_placed = False
        self.comes_to_front = True
        """Whether it is shown before the docks whose place it shares."""

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or is just stopping."""
        return False

    @property
    def loss(self) -> str:
        """What closing now stops, in sentences; empty if that is next to nothing."""
        return ""

    @property
    def unsaved(self) -> str:
        """What `save_before_close` could not save, in sentences; empty if nothing."""
        return ""

    def remember(self) -> None:
        """Keep the settings; called before the widget or its window is closed."""

    def save_before_close(self) -> None:
        """Keep what would be lost; called before the window is closed."""
        self.remember()

    def shut_down(self) -> None:
        """Stop all work; called after the widget or its window was closed."""

    def show_page(self, name: str) -> "Closable | None":
        """Show the page that is the dock of this name; None if there is none such."""
        del name
        return None

    def bring_to_front(self) -> None:
        """Show the dock before those whose place it shares."""
        own = _dock_around(self)
        if own is not None:
            own.show()
            own.raise_()

    def event(self, event: QEvent | None) -> bool:
        """Notice being put into a window, or taken out of it, and another theme."""
        assert event is not None
        if event.type() == QEvent.Type.ParentChange:
            # napari closes a dock by taking its widget out.
            if self.parent() is None and self._window is not None:
                self.remember()
                self._ask_or_leave(self._window)
        elif event.type() == QEvent.Type.Show and self.window() is not self:
            self._follow(self.window())
        elif event.type() == QEvent.Type.StyleChange:  # napari has applied a theme
            recolour(self, theme=self.viewer.theme)
        return bool(super().event(event))

    def _ask_or_leave(self, window: QWidget) -> None:
        if not self.loss:
            self._leave()
            return
        box = QMessageBox(window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle(f"Close {self._title}?")
        box.setText(f"{self.loss} Stop it and close the dock?")
        stop = box.addButton("Stop and close", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(
            box.addButton("Keep it open", QMessageBox.ButtonRole.RejectRole)
        )
        box.finished.connect(
            lambda _: self._leave() if box.clickedButton() == stop else self._return()
        )
        box.open()  # not exec: a script that closes a dock must not wait

    def _leave(self) -> None:
        self._follow(None)
        self.shut_down()

    def _return(self) -> None:
        """Go back into the window that the dock was taken out of."""
        self._follow(None)
        self._is_placed = False
        self.viewer.window.add_dock_widget(self, name=self._title)

    @property
    def _window(self) -> QWidget | None:
        """The window that the dock is in, if it is still there."""
        window = None if self._window_ref is None else self._window_ref()
        return window if window is not None and isalive(window) else None

    def _follow(self, window: QWidget | None) -> None:
        former = self._window
        if window is former:
            return
        if former is not None:
            former.removeEventFilter(self)
        self._window_ref = None if window is None else ref(window)
        if window is not None:
            window.installEventFilter(self)
            if not self._is_placed:
                self._is_placed = True
                self._join_tabs(window)

    def _join_tabs(self, window: QWidget) -> None:
        """Share a place with the docks that are open: below them it would be tight."""
        own = _dock_around(self)
        if own is None or not isinstance(window, QMainWindow):
            return
        self._title = own.windowTitle()
        own.visibilityChanged.connect(self.in_front_changed)
        if own.isFloating():
            return
        area = window.dockWidgetArea(own)
        for other in window.findChildren(Closable):
            around = _dock_around(other)
            if around in (None, own) or around.isFloating():
                continue
            if window.dockWidgetArea(around) == area:
                window.tabifyDockWidget(around, own)
                _keep_names_legible(window, self._title)
                in_front = own if self.comes_to_front else around
                QTimer.singleShot(0, in_front.raise_)
                return

    def eventFilter(  # noqa: N802 Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Notice that the window closes, unless its user says no."""
        assert event is not None
        window = self._window
        is_closing = event.type() == QEvent.Type.Close and watched is window
        if window is not None and is_closing:
            if not self._may_close(window):
                event.ignore()
                return True
            # Not the bound method: Qt drops its call if the dock is deleted first.
            QTimer.singleShot(0, lambda: self._shut_down_if_closed())  # noqa: PLW0108
        return bool(super().eventFilter(watched, event))

    def _may_close(self, window: QWidget) -> bool:
        """Save, and ask what to do if that fails; another dock may have asked it."""
        self.save_before_close()
        while self.unsaved and not window.property(_CLOSES):
            match _answer_to(self.unsaved, window):
                case QMessageBox.ButtonRole.AcceptRole:
                    self.save_before_close()
                case QMessageBox.ButtonRole.DestructiveRole:
                    window.setProperty(_CLOSES, "yes")
                    # napari may ask next, and then not close.
                    QTimer.singleShot(0, lambda: _forget_answer(window))
                case _:
                    return False
        return True

    def _shut_down_if_closed(self) -> None:
        window = self._window
        if window is not None and window.isVisible():
            return
        self._window_ref = None
        self.shut_down()

    def delete_if_removed(self) -> None:
        """Delete the widget, or the one it is a page of, once taken out and idle."""
        # PySide6 keeps what a lambda refers to, a dock's button its dock: for ever.
        outer = self.window() if isalive(self) else None
        if isinstance(outer, Closable) and not outer.is_busy:
            outer.deleteLater()


def _answer_to(unsaved: str, window: QWidget) -> QMessageBox.ButtonRole:
    """Ask whether to try again, to close without saving, or neither."""
    box = QMessageBox(window)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle("Close without saving?")
    box.setText(unsaved)
    box.setInformativeText(
        "Make room on the disk, or bring its folder back, and try again. To save "
        "elsewhere, keep the window open, select the layer, and choose File → Save "
        "Selected Layers."
    )
    roles = QMessageBox.ButtonRole
    box.setDefaultButton(box.addButton("Try again", roles.AcceptRole))
    box.addButton("Close without saving", roles.DestructiveRole)
    box.setEscapeButton(box.addButton("Keep it open", roles.RejectRole))
    box.exec()
    answer = box.buttonRole(box.clickedButton())
    box.deleteLater()
    return answer


def _forget_answer(window: QWidget) -> None:
    if isalive(window):
        window.setProperty(_CLOSES, "")


def _keep_names_legible(window: QMainWindow, title: str) -> None:
    """Let the tabs that a dock is among scroll before their names are too short."""
    directly = Qt.FindChildOption.FindDirectChildrenOnly
    for tabs in window.findChildren(QTabBar, options=directly):
        if title in [tabs.tabText(i) for i in range(tabs.count())]:
            tabs.setStyleSheet(_TABS)


def _dock_around(widget: QWidget) -> QDockWidget | None:
    """Find the dock widget that a widget lies in, unless it is a page of another."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget | Closable):
        parent = parent.parentWidget()
    return parent if isinstance(parent, QDockWidget) else None
