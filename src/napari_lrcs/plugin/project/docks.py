"""The docks of a window, by the names that they have in the menus."""

from napari.viewer import Viewer
from npe2 import PluginManager

from napari_lrcs.plugin.parts.closable import Closable

_PLUGIN = "napari-lrcs"


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
