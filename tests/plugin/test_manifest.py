from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from napari import Viewer
from napari._app_model.constants import MenuId
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QMenu, QPushButton

pytestmark = pytest.mark.gui

MANIFEST = PluginManifest.from_file(Path(__file__).parents[2] / "napari.yaml")
CONTRIBUTIONS = MANIFEST.contributions
COMMANDS = {command.id: command for command in CONTRIBUTIONS.commands or ()}
DOCKS = [widget.display_name for widget in CONTRIBUTIONS.widgets or ()]
BUTTONS = [
    *("New labels layer", "New labels layer", "Train", "Predict"),
    *("Measure", "Compare", "Draw patches", "Perturb", "Run", "Predict with it"),
    "Search",
    "Show maps",
]

VERBS = {
    *("Check", "Compare", "Label", "Look", "Measure", "Open"),
    *("Perturb", "Predict", "Save", "Search", "Segment", "Train"),
}


def test_docks_stand_in_the_order_of_their_use() -> None:
    assert DOCKS == [
        "Segment volume",
        "Label phases",
        "Train LRCS-Net",
        "Predict volume",
        "Measure phases",
        "Compare segmentations",
        "Check segmentation",
        "Perturb labels",
        "Uncertainty study",
        "Training runs",
        "Search for settings",
        "Look inside the network",
    ]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_command_exists(command: Any) -> None:
    assert callable(import_python_name(command.python_name))


def test_titles_are_imperatives() -> None:
    titles = {command.title for command in COMMANDS.values()}
    titles -= {"Uncertainty study", "Training runs"}

    assert {title.split()[0] for title in titles} <= VERBS


def test_dock_and_its_command_have_one_name() -> None:
    assert [COMMANDS[w.command].title for w in CONTRIBUTIONS.widgets or ()] == DOCKS


def test_every_command_serves_something() -> None:
    used = {
        contribution.command
        for contributions in (
            CONTRIBUTIONS.readers,
            CONTRIBUTIONS.writers,
            CONTRIBUTIONS.widgets,
            CONTRIBUTIONS.sample_data,
        )
        for contribution in contributions or ()
    }

    assert used == set(COMMANDS)


def test_menus_are_open_to_plugins_and_offer_docks() -> None:
    menus = CONTRIBUTIONS.menus

    assert set(menus) <= {str(menu) for menu in MenuId.contributables()}
    offered = {item.command for items in menus.values() for item in items}
    assert offered == {widget.command for widget in CONTRIBUTIONS.widgets or ()}


def test_plain_tiff_files_are_not_claimed() -> None:
    patterns = {
        pattern
        for reader in CONTRIBUTIONS.readers or ()
        for pattern in reader.filename_patterns
    }

    assert "*.h5" in patterns
    assert not {"*", "*.tif", "*.tiff", "*.npy"} & patterns


def test_what_needs_a_file_is_not_offered_in_the_command_palette() -> None:
    on_files = [*(CONTRIBUTIONS.readers or ()), *(CONTRIBUTIONS.writers or ())]

    hidden = {key for key, command in COMMANDS.items() if command.enablement == "False"}
    assert hidden == {contribution.command for contribution in on_files}


def test_docks_open_by_name_with_their_main_button_in_sight(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)

    for name, button in zip(DOCKS, BUTTONS, strict=True):
        shown, dock = viewer.window.add_plugin_dock_widget("napari-lrcs", name)

        qtbot.waitUntil(shown.isVisible)
        buttons = shown.findChildren(QPushButton)
        assert button in {found.text() for found in buttons if found.isVisible()}
        viewer.window.remove_dock_widget(dock)


MENUS = [
    ("plugins_menu", "LRCS-Net", DOCKS),
    ("layers_menu", "Annotate", ["Label phases"]),
    ("layers_menu", "Segment", [*DOCKS[:4], "Training runs", "Search for settings"]),
    (
        "layers_menu",
        "Measure",
        [
            *("Measure phases", "Compare segmentations", "Check segmentation"),
            *("Perturb labels", "Uncertainty study", "Look inside the network"),
        ],
    ),
]


def test_menus_open_the_docks(
    make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)

    for menu, title, docks in MENUS:
        offered = _submenu(getattr(viewer.window, menu), title).actions()

        actions = [action for action in offered if "LRCS-Net)" in action.text()]
        titles = [f"{dock} (LRCS-Net)" for dock in docks]
        assert [action.text() for action in actions] == titles
        for name, action in zip(titles, actions, strict=True):
            assert name not in viewer.window.dock_widgets
            action.trigger()
            qtbot.waitUntil(viewer.window.dock_widgets[name].isVisible)
        for name in titles:
            viewer.window.remove_dock_widget(viewer.window.dock_widgets[name])


def _submenu(menu: QMenu, title: str) -> QMenu:
    # Filled when it is about to be shown.
    menu.aboutToShow.emit()
    (found,) = (a.menu() for a in menu.actions() if a.text() == title)
    assert isinstance(found, QMenu)
    found.aboutToShow.emit()
    return found
