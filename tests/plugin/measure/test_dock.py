import csv
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from matplotlib.image import imread
from napari import Viewer
from napari.layers import Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from scipy.special import erf

from napari_lrcs.__main__ import main
from napari_lrcs.comparison.measures import Measuring, measure_labels
from napari_lrcs.comparison.profiles import measure_profile
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.io.volume import Volume
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.measure import form
from napari_lrcs.plugin.measure.dock import MeasureDock
from napari_lrcs.plugin.measure.form import EVERY_PHASE, NO_PHASE
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.layers import appearance

pytestmark = pytest.mark.gui

SIZE = (0.5, 0.25, 0.25)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer]) -> Viewer:
    made: Viewer = make_napari_viewer()
    return made


@pytest.fixture
def dock(viewer: Viewer) -> MeasureDock:
    _, made = viewer.window.add_plugin_dock_widget("napari-lrcs", "Measure phases")
    assert isinstance(made, MeasureDock)
    return made


def electrode(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    blocks = rng.choice([1, 2, 3], (3, 4, 5), p=[0.5, 0.2, 0.3])
    return blocks.repeat(4, 0).repeat(4, 1).repeat(4, 2).astype(np.uint8)


def add(viewer: Viewer, labels: Any, name: str, **options: Any) -> Labels:
    placed = {"scale": SIZE, "units": ("um",) * 3} | appearance(ELECTRODE) | options
    return viewer.add_labels(labels, name=name, **placed)


def press(made: Any, dock: MeasureDock, qtbot: Any) -> None:
    made.click()
    qtbot.waitUntil(lambda: not dock.is_busy)


def shown(dock: MeasureDock, tab: str) -> dict[str, list[str]]:
    """Return the cells of each row by its title and phase."""
    table, found, title = dock.results.tables[tab], {}, ""
    for row in range(table.rowCount()):
        items = [table.item(row, column) for column in range(table.columnCount())]
        texts = [item.text() for item in items if item is not None]
        if len(texts) == 1:
            (title,) = texts
        else:
            found[f"{title}: {texts[0]}"] = texts[1:]
    return found


def test_all_is_as_measure_prints_it(
    viewer: Viewer,
    dock: MeasureDock,
    qtbot: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = electrode()
    file = tmp_path / "labels.tif"
    write_labels_tiff(
        file,
        [labels],
        shape=labels.shape,
        voxel_size=SIZE,
        unit="um",
        phases=ELECTRODE,
    )
    stored = zarr.array(labels, chunks=(5, 8, 8))
    add(viewer, stored, "pyramid", multiscale=False)

    press(dock.measure_button, dock, qtbot)
    dock.save_json(tmp_path / "measures.json")
    qtbot.waitUntil(lambda: not dock.is_busy)

    flags = " ".join(f"--particles {name}" for name in ELECTRODE.names)
    capsys.readouterr()
    assert main(f"measure {file} --surface-area {flags} --json".split()) == 0
    assert (tmp_path / "measures.json").read_text() == capsys.readouterr().out
    counts = np.bincount(labels.ravel())[1:] / labels.size
    volumes = [shown(dock, "Fractions")[f"Volume (%): {n}"] for n in ELECTRODE.names]
    assert volumes == [[f"{100 * share:.1f}"] for share in counts]
    assert len(shown(dock, "Fractions")) == 9
    assert "Surface area / volume (1/µm): pore" in shown(dock, "Areas")
    assert "Median diameter (µm): NMC" in shown(dock, "Particles")
    (ax,) = dock.results.plot.axes
    assert len(ax.patches) == 3
    assert ax.get_xlabel() == "Equivalent diameter (µm)"


def test_newest_result_is_measured_else_the_painting(
    viewer: Viewer, dock: MeasureDock, qtbot: Any
) -> None:
    image = viewer.add_image(np.zeros((3, 8, 8), np.float32), name="image")
    painting = new_painting(image, phases=ELECTRODE)
    viewer.add_layer(painting)
    assert set(dock.form.layers.layers) == {painting}

    press(dock.measure_button, dock, qtbot)
    assert "no voxel of" in dock.message

    result = add(viewer, electrode(), "result", metadata=marked("prediction"))
    assert set(dock.form.layers.layers) == {result}
    assert dock.form.transport.currentText() == "pore"
    item = dock.form.layers.item(0)
    assert item is not None
    item.setCheckState(Qt.CheckState.Checked)
    assert set(dock.form.layers.layers) == {painting, result}


def test_layers_stand_side_by_side_and_can_be_taken_along(
    viewer: Viewer, dock: MeasureDock, qtbot: Any, tmp_path: Path
) -> None:
    names = ["one", "second of the same shape, with a long name"]
    for seed, name in enumerate(names):
        add(viewer, electrode(seed), name)
    add(viewer, electrode()[:4], "of another shape")
    dock.form.layers.check(viewer.layers[0])
    dock.form.particles.setCurrentText(NO_PHASE)
    dock.form.all_button.click()

    press(dock.measure_button, dock, qtbot)
    for save, file in (
        (dock.save_csv, "m.csv"),
        (dock.save_json, "m.json"),
        (dock.save_figure, "m.png"),
    ):
        save(tmp_path / file)
        qtbot.waitUntil(lambda: not dock.is_busy)

    assert [measures.name for measures in dock.measured] == names
    table = dock.results.tables["Fractions"]
    headers = [table.horizontalHeaderItem(column) for column in (1, 2)]
    assert [header.text() for header in headers if header] == ["one", "second…g name"]
    assert [header.toolTip() for header in headers if header] == names
    assert all(len(cells) == 2 for cells in shown(dock, "Fractions").values())
    assert dock.message == f"Saved m.png in {tmp_path.name}"
    assert list(json.loads((tmp_path / "m.json").read_text())) == names
    assert imread(tmp_path / "m.png").std() > 0
    dock.copy_button.click()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    with (tmp_path / "m.csv").open(encoding="utf-8") as table_file:
        rows = list(csv.reader(table_file))
    assert [line.split("\t") for line in clipboard.text().splitlines()] == rows
    assert rows[0] == ["quantity", "phase", "unit", *names]


def test_numbers_of_labels_that_have_changed_are_no_longer_offered(
    viewer: Viewer, dock: MeasureDock, qtbot: Any
) -> None:
    former = add(viewer, electrode(), "result", metadata=marked("prediction"))
    press(dock.measure_button, dock, qtbot)
    viewer.layers.remove(former)
    removed = dock.is_current  # the numbers are all that is left of it

    changed = add(viewer, electrode(1), "result", metadata=marked("prediction"))
    replaced, message = dock.is_current, dock.message
    offered = dock.csv_button.isEnabled()
    press(dock.measure_button, dock, qtbot)
    again = dock.is_current
    changed.paint((0, 0, 0), 2)

    assert (removed, replaced, again, dock.is_current) == (True, False, True, False)
    assert message.startswith("result has changed since it was measured")
    assert not offered


def test_numbers_of_labels_that_change_meanwhile_or_are_undone_are_not_offered(
    viewer: Viewer, dock: MeasureDock, qtbot: Any
) -> None:
    labels = add(viewer, electrode(), "result")

    dock.measure()
    labels.paint((0, 0, 0), 2)
    qtbot.waitUntil(lambda: not dock.is_busy)
    meanwhile = dock.is_current, dock.message
    press(dock.measure_button, dock, qtbot)
    viewer.dims.set_current_step(0, 1)
    scrolled = dock.is_current
    labels.undo()

    message = "result has changed since it was measured; press Measure for its numbers"
    assert meanwhile == (False, f"{message} as they are now")
    assert scrolled
    assert not dock.is_current
    assert dock.message == meanwhile[1]


def test_outdated_numbers_do_not_come_back_with_tortuosity(
    viewer: Viewer, dock: MeasureDock, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = add(viewer, electrode(), "result")
    press(dock.measure_button, dock, qtbot)
    labels.paint((0, 0, 0), 2)

    def solve_for_ever(*args: Any, **options: Any) -> Iterator[Any]:
        del args, options
        while True:
            time.sleep(0.01)
            yield Measuring(share=0.5, text="Solving for ever")

    monkeypatch.setattr(form.MeasureRequest, "transport_events", solve_for_ever)
    dock.measure_tortuosity()
    dock.stop_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert dock.measured == ()
    assert dock.results.isHidden()


def test_tortuosity_joins_what_is_measured(
    viewer: Viewer, dock: MeasureDock, qtbot: Any
) -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")
    labels = np.full((6, 8, 8), 3, np.uint8)
    labels[:, 2:6, 2:6] = 1  # a channel along z
    add(viewer, labels, "channel")
    dock.form.particles.setCurrentText(NO_PHASE)

    press(dock.tortuosity_button, dock, qtbot)

    assert dock.message == ""
    assert shown(dock, "Fractions")["Volume (%): pore"] == ["25.0"]
    found = shown(dock, "Tortuosity")
    assert found["Tortuosity along z: pore"] == ["1.00"]
    assert found["Tortuosity along x: pore"] == ["no path"]
    assert dock.results.tabs.currentIndex() == 3


def test_missing_extra_and_holes_are_explained(
    viewer: Viewer, dock: MeasureDock, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = electrode()
    labels[0] = 0
    add(viewer, labels, "holed")
    monkeypatch.setitem(__import__("sys").modules, "taufactor", None)

    press(dock.tortuosity_button, dock, qtbot)

    assert 'pip install "napari-lrcs[transport]"' in dock.message
    assert dock.results.isVisibleTo(dock)  # the fractions are measured by then


def test_holes_are_told_before_any_tortuosity_is_solved_for(
    viewer: Viewer, dock: MeasureDock, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")
    holed = electrode()
    holed[0] = 0
    add(viewer, electrode(), "whole")
    add(viewer, holed, "holed")
    dock.form.all_button.click()
    solved: list[object] = []

    def solve(labels: object, **_: object) -> Iterator[Any]:
        solved.append(labels)
        return iter(())

    monkeypatch.setattr(form, "measure_transport", solve)

    press(dock.tortuosity_button, dock, qtbot)

    assert dock.message.startswith("holed: ")
    assert "unpainted" in dock.message
    assert not solved
    assert {measured.name for measured in dock.measured} == {"whole", "holed"}


def test_particles_of_a_large_volume_are_left_out_unless_chosen(
    viewer: Viewer, dock: MeasureDock, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "_MOST_VOXELS", 100)
    add(viewer, electrode(), "large")
    assert dock.form.particles.currentText() == EVERY_PHASE

    press(dock.measure_button, dock, qtbot)
    assert "choose a phase under Particles of" in dock.message
    assert shown(dock, "Particles") == {}

    dock.form.particles.setCurrentText("NMC")
    press(dock.measure_button, dock, qtbot)
    assert dock.message == ""
    assert {key.split(": ")[1] for key in shown(dock, "Particles")} == {"NMC"}


def test_what_is_measured_before_a_stop_stays(
    viewer: Viewer, dock: MeasureDock, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, name in enumerate(("quick", "endless")):
        add(viewer, electrode(seed), name)

    def measure_until_stopped(labels: Volume, **options: Any) -> Iterator[Any]:
        yield from measure_labels(labels, **options)
        while labels.name == "endless":
            time.sleep(0.01)
            yield Measuring(share=0.5, text="Counting for ever")

    monkeypatch.setattr(form, "measure_labels", measure_until_stopped)
    dock.form.all_button.click()

    dock.measure()
    qtbot.waitUntil(lambda: dock.progress.text.startswith("2 of 2: Counting for ever"))
    dock.stop_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert [measures.name for measures in dock.measured] == ["quick", "endless"]
    assert dock.message == "Stopped; the results so far are shown"
    assert dock.csv_button.isEnabled()


def test_line_across_an_interface_has_its_width(
    viewer: Viewer, dock: MeasureDock, qtbot: Any
) -> None:
    x = np.arange(60.0)
    row = 500 + 100 * erf((x - 30) / (3 * np.sqrt(2)))
    image = np.tile(row, (5, 40, 1)).astype(np.float32)
    viewer.add_image(image, name="image", scale=SIZE, units=("um",) * 3)
    dock.line_fold.unfold()
    line = dock.line

    line.profile_button.click()
    assert line.text.text() == "No line is drawn; draw one across an interface"

    line.draw_button.click()
    shapes = viewer.layers["line"]
    assert shapes.mode == "add_line"
    shapes.add(np.array([[2, 20, 5], [2, 20, 55]]), shape_type="line")
    qtbot.waitUntil(lambda: line.measured is not None)  # without a click
    qtbot.waitUntil(lambda: not dock.is_busy)

    fit = line.measured.fit if line.measured else None
    assert fit is not None
    assert fit.width == pytest.approx(2.5631 * 3, rel=0.05)
    assert line.text.text() == (
        "Width, 10 to 90%: 7.69 voxels, 1.92 µm; slope 26.6 grey levels per voxel"
    )

    shapes.add(np.array([[1, 5, 5], [3, 25, 50]]), shape_type="line")
    line.profile_button.click()
    assert "draw it within one slice" in line.text.text()


def test_line_that_is_moved_while_it_is_measured_is_measured_again(
    viewer: Viewer, dock: MeasureDock, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()

    def measure_when_told(*args: Any, **options: Any) -> Any:
        assert may_go_on.wait(10)
        return measure_profile(*args, **options)

    monkeypatch.setattr(
        "napari_lrcs.plugin.measure.line.measure_profile", measure_when_told
    )
    viewer.add_image(electrode().astype(np.float32), name="image")
    dock.line_fold.unfold()
    lines = viewer.add_shapes(ndim=3, name="line")
    lines.add(np.array([[2, 2, 5], [2, 2, 15]]), shape_type="line")
    qtbot.waitUntil(lambda: dock.is_busy)

    lines.data = [np.array([[2, 9, 5], [2, 9, 15]])]
    qtbot.wait(600)  # longer than the dock waits after a change
    may_go_on.set()

    qtbot.waitUntil(
        lambda: dock.line.measured is not None and dock.line.measured.line.start[1] == 9
    )
    qtbot.waitUntil(lambda: not dock.is_busy)


def test_labels_over_the_image_are_hidden_only_while_a_line_is_drawn(
    viewer: Viewer, dock: MeasureDock
) -> None:
    below = add(viewer, electrode(), "below")
    viewer.add_image(electrode().astype(np.float32), name="image", scale=SIZE)
    lines = viewer.add_shapes(ndim=3, name="line", scale=SIZE)
    faint, closed = (add(viewer, electrode(), name) for name in ("faint", "closed"))
    faint.opacity, closed.visible = 0.3, False
    layers = [below, faint, closed]
    before = [True, True, False]
    draw = dock.line.draw_button.click

    draw()

    assert viewer.layers[-1] is lines
    assert [layer.visible for layer in layers] == [True, False, False]
    assert dock.line.text.text().startswith("Labels are hidden until")
    lines.add(np.array([[2, 2, 5], [2, 9, 5]]), shape_type="line")
    assert [layer.visible for layer in layers] == before
    assert faint.opacity == 0.3
    for leave in (
        lambda: setattr(lines, "mode", "select"),
        lambda: setattr(viewer.layers.selection, "active", faint),
        lambda: viewer.layers.remove(lines),
    ):
        draw()
        assert not faint.visible
        leave()
        assert [layer.visible for layer in layers] == before
        assert not dock.line.text.text()
    draw()
    dock.shut_down()
    assert [layer.visible for layer in layers] == before
