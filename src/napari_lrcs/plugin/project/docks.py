"""The docks of a window, by the names that they have in the menus."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from napari.viewer import Viewer
from npe2 import PluginManager

from napari_lrcs.plugin.parts.closable import Closable

_PLUGIN = "napari-lrcs"


@runtime_checkable
class TrainsFromRuns(Protocol):
    """A dock that trains, for docks that list runs."""

    def start_from(self, run: Path) -> None:
        """Let the next training start from the best network of a run."""

    def continue_run(self, run: Path) -> None:
        """Continue a run that was stopped."""


def open_docks(viewer: Viewer) -> dict[str, Closable]:
    """Return the docks of this package that are open in a window, by name."""
    return {
        title.rpartition(" (")[0] or title: dock  # napari adds the name of the plugin
        for title, dock in viewer.window.dock_widgets.items()
        if isinstance(dock, Closable)
    }


def open_dock(viewer: Viewer, name: str, *, in_front: bool = True) -> Closable | None:
    """Open a dock as the menus do, unless it is open; None if there is none such."""
    is_open = open_docks(viewer).get(name)
    if is_open is not None:
        return is_open
    manifest = PluginManager.instance().get_manifest(_PLUGIN)
    for widget in manifest.contributions.widgets or ():
        if widget.display_name == name:
            dock = widget.get_callable()(viewer)
            assert isinstance(dock, Closable)
            dock.comes_to_front = in_front
            title = f"{name} ({manifest.display_name})"  # so that its menu closes it
            viewer.window.add_dock_widget(dock, name=title, area="right")
            return dock
    return None


def show_dock(viewer: Viewer, name: str) -> object:
    """Show a dock in front: as the page of a dock that has it, else on its own.

    Returns
    -------
    Closable or None
        The page or the dock; None if there is none such.
    """
    docks = open_docks(viewer)
    for dock in docks.values():
        page = dock.show_page(name)
        if page is not None:
            dock.bring_to_front()
            return page
    if name in docks:
        docks[name].bring_to_front()
    return open_dock(viewer, name)
