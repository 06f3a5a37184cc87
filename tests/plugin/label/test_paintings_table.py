"""The table of paintings, without a window."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from pytestqt.qtbot import QtBot

from napari_lrcs.annotation.painting.folder import PaintingFolder
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.label.layers import LayersPart
from napari_lrcs.plugin.label.painting_controller import PaintingController
from napari_lrcs.plugin.label.paintings_table import PaintingsTable, list_paintings
from napari_lrcs.plugin.painting.painting import Painting
from napari_lrcs.plugin.parts.layers.layers import workspace_for

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("own_settings")]

PHASES = PhaseTable.named("a", "b")


class Bench:
    """A viewer with an image, and what shows and changes its paintings."""

    def __init__(self) -> None:
        self.viewer = ViewerModel()
        noise = np.random.default_rng(0).normal(size=(4, 20, 30))
        self.image = self.viewer.add_layer(Image(noise, name="scan"))
        self.choices = LayersPart(self.viewer.layers, on_use=lambda: None)
        self.paintings = PaintingController(self.viewer, self.choices)
        self.table = PaintingsTable(self.paintings)

    def begin(self) -> Painting:
        self.paintings.begin(self.image, PHASES)
        assert self.paintings.painting is not None
        return self.paintings.painting

    @property
    def folder(self) -> Path:
        return workspace_for(self.image).path

    def names(self) -> list[str]:
        return sorted(entry.path.name for entry in list_paintings(self.folder))

    def close(self) -> None:
        for part in (self.choices.image, self.choices.labels, self.paintings):
            part.disconnect_events()
        self.table.disconnect_events()
        for widget in (self.choices, self.table):
            widget.deleteLater()


@pytest.fixture
def bench(qtbot: QtBot) -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()
    qtbot.wait(10)  # Qt deletes the widgets from its event loop


def paint(painting: Painting, z: int = 1) -> None:
    painting.layer.paint((z, 5, 5), 1)
    painting.save()


def test_empty_painting_is_gone_to_instead_of_beginning_another(bench: Bench) -> None:
    first = bench.begin()
    again = bench.begin()
    paint(first)
    second = bench.begin()
    paint(second)

    assert again is first
    assert bench.names() == ["painting-1", "painting-2"]
    assert bench.viewer.layers.selection.active is second.layer
    second.set_role(0, "train")
    bench.paintings.painting = None
    assert bench.begin().folder.path.name == "painting-3"


def test_open_painting_goes_on_under_its_new_name(bench: Bench) -> None:
    painting = bench.begin()
    paint(painting, 1)
    painting.mask = "cylinder"

    place = bench.table.rename(painting.folder.path, "first day")
    paint(painting, 2)
    painting.set_role(2, "train")

    assert painting.folder == PaintingFolder(place)
    assert bench.names() == ["first day"]
    folder = PaintingFolder(place)
    assert set(folder.labels.painted_slices()) == {1, 2}
    assert folder.read().roles == {2: "train"}
    painting.layer.undo()
    painting.save()
    assert set(folder.labels.painted_slices()) == {1}
    assert bench.paintings.is_open(folder)


def test_open_painting_stays_where_it_is_if_the_name_is_taken(bench: Bench) -> None:
    painting = bench.begin()
    paint(painting)
    paint(bench.begin())

    with pytest.raises(Exception, match="painting-2 exists already"):
        bench.table.rename(painting.folder.path, "painting-2")

    paint(painting, 3)
    assert set(painting.folder.labels.painted_slices()) == {1, 3}
    with pytest.raises(Exception, match="is open in another window"):
        painting.folder.lock()


def test_deleting_an_open_painting_closes_its_layer(bench: Bench) -> None:
    painting, other = bench.begin(), None
    paint(painting)
    other = bench.begin()

    bench.table.delete(painting.folder.path)

    assert bench.names() == ["painting-2"]
    assert [x for x in bench.viewer.layers if isinstance(x, Labels)] == [other.layer]


def test_table_tells_what_is_painted_open_and_damaged(
    bench: Bench, qtbot: QtBot
) -> None:
    painted = bench.begin()
    paint(painted)
    bench.viewer.layers.remove(painted.layer)
    damaged = bench.begin()
    paint(damaged)
    bench.viewer.layers.remove(damaged.layer)
    (damaged.folder.path / "painting.json").write_text("{")
    bench.begin()

    with qtbot.waitSignal(bench.table.listed):
        bench.table.refresh(bench.folder)

    rows = {tuple(bench.table._row(entry))[:2] for entry in bench.table.items}
    assert rows == {
        ("painting-1", "1"),
        ("painting-2", "damaged"),
        ("painting-3 (open)", "0"),
    }
