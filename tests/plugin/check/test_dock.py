"""Check patches from the first click to the last, in windows."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tifffile
from napari import Viewer
from napari.layers import Image, Labels, Shapes
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QPushButton
from zarr.storage import LocalStore

from napari_lrcs.annotation.check_folder import CheckFolder, draw_check
from napari_lrcs.annotation.check_patches import CheckDesign
from napari_lrcs.annotation.painting.folder import ImageIdentity
from napari_lrcs.io.formats.zarr_stores import RetryingStore
from napari_lrcs.io.provenance import Learnt, LearntSlice, Provenance
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.phases import ELECTRODE, PhaseTable
from napari_lrcs.plugin.check.dock import CheckDock
from napari_lrcs.plugin.check.form import OVER_PREDICTION
from napari_lrcs.plugin.check.job import save_budget
from napari_lrcs.plugin.check.patches import CheckPatches
from napari_lrcs.plugin.check.session import PatchSession
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.painting.layer_checks import LayerChecks
from napari_lrcs.plugin.parts.layers.camera import camera_of, shorter_side
from napari_lrcs.plugin.parts.layers.choice import LayerChoice
from napari_lrcs.plugin.parts.layers.kinds import kind_of, marked
from napari_lrcs.plugin.parts.layers.layers import (
    PROVENANCE_KEY,
    appearance,
    checks_of,
    place_of,
    workspace_for,
)
from napari_lrcs.plugin.project.docks import open_dock
from napari_lrcs.plugin.project.project import project_of

pytestmark = pytest.mark.gui

MakeViewer = Callable[..., Viewer]

STUDY = Path(__file__).parents[2] / "fixtures" / "f39a554" / "study"
SHAPE = (12, 40, 48)
SIZE = 16
PLACE = {"scale": (2.0, 0.5, 0.5), "translate": (3.0, 1.0, -4.0), "rotate": 20.0}
TRUTH = np.broadcast_to(np.arange(48) // 4 % 3 + 1, SHAPE).astype(np.uint8)
PREDICTED = np.roll(TRUTH, 1, axis=2)
GREY = TRUTH * 50.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, GREY.astype(np.float32))
    return path


def opened(
    viewer: Viewer,
    file: Path,
    labels: Any = PREDICTED,
    phases: PhaseTable = ELECTRODE,
) -> CheckDock:
    """Open an image that lies askew, its prediction, and the dock."""
    (image,) = viewer.open(file, plugin="napari", **PLACE)
    viewer.add_labels(
        labels.copy(),
        name="scan prediction",
        metadata=marked("prediction"),
        **appearance(phases),
        **place_of(image),
    )
    dock = open_dock(viewer, "Check segmentation")
    assert isinstance(dock, CheckDock)
    dock.form.patch_size.setValue(SIZE)
    dock.form.n_patches.setValue(6)
    return dock


def draw(dock: CheckDock, qtbot: QtBot) -> PatchSession:
    dock.draw_button.click()
    wait(dock, qtbot)
    assert dock.session is not None, dock.message
    return dock.session


def wait(dock: CheckDock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy)


def paint_patch(session: PatchSession) -> None:
    """Paint all of a patch with the layer's own tools: stripes, then between them."""
    layer, truth = session.patches.layer, TRUTH[session.patches.region]
    for label in (2, 3):
        session.paint_with(label)
        layer.brush_size = 1
        for place in np.argwhere(truth == label):
            layer.paint(tuple(place), label, refresh=False)
    for place in np.argwhere(truth == 1):
        if not layer.data[tuple(place)]:
            layer.fill(tuple(place), 1)


def cells(dock: CheckDock) -> dict[str, list[str]]:
    table, found, group = dock.results.table, {}, ""
    for row in range(table.rowCount()):
        items = [table.item(row, column) for column in range(table.columnCount())]
        texts = [item.text() for item in items if item is not None]
        if len(texts) == 1:
            (group,) = texts
        else:
            found[f"{group}: {texts[0]}"] = texts[1:]
    return found


def on_disk(session: PatchSession) -> Any:
    return session.patches.folder.open_painting().slab(0, SHAPE[0])


# ---- the whole way ----


def test_three_painted_patches_correct_a_prediction_and_are_continued_elsewhere(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot, tmp_path: Path
) -> None:
    first = make_napari_viewer(show=True)
    dock = opened(first, file)
    session = draw(dock, qtbot)
    assert_begun(first, dock, session)
    for _ in range(3):
        paint_patch(session)
        dock.tools.done_button.click()
        wait(dock, qtbot)
    assert dock.tools.title.endswith(": 3 of 6 done")
    assert_judged(dock, n=3)
    assert_painted(session, n=3)

    second = make_napari_viewer()
    later = opened(second, file)
    qtbot.waitUntil(lambda: bool(later.offer.checks))
    assert later.offer.text() == "Continue check-1: 3 of 6 done"
    later.offer.click()
    assert "check-1 is open in another window" in later.message
    first.close()
    qtbot.wait(50)
    later.offer.click()
    wait(later, qtbot)

    assert later.session is not None, later.message
    assert later.session.patches.index == 3
    assert_judged(later, n=3)
    for _ in range(3):
        paint_patch(later.session)
        later.tools.done_button.click()
    qtbot.waitUntil(lambda: later.message == "All 6 patches are painted.")
    assert_judged(later, n=6)
    assert_needed(later, tmp_path, qtbot)
    assert_saved(later, tmp_path, qtbot)
    assert_left(second, later, qtbot)


def assert_begun(viewer: Viewer, dock: CheckDock, session: PatchSession) -> None:
    """The first patch is empty, in sight, and can be painted at once."""
    layer = session.patches.layer
    assert viewer.layers.selection.active == layer
    assert (layer.mode, layer.selected_label) == ("paint", 1)
    assert not viewer.layers["scan prediction"].visible
    assert not layer.data.any()
    assert dock.tools.title.endswith(": 0 of 6 done")
    assert dock.results.judged is None
    assert_in_view(viewer, session.patches, dock)


def assert_painted(session: PatchSession, *, n: int) -> None:
    """The first patches are on disk, and nothing else."""
    painted, check = on_disk(session), session.patches.check
    for patch in check.patches[:n]:
        region = check.design.region(patch)
        np.testing.assert_array_equal(painted[region], TRUTH[region])
        painted[region] = 0
    assert not painted.any()


def assert_left(viewer: Viewer, dock: CheckDock, qtbot: QtBot) -> None:
    """Patches that are closed leave everything as it was, and can be opened again."""
    dock.tools.close_button.click()
    assert [kind_of(x) for x in viewer.layers] == [None, "prediction"]
    assert viewer.layers["scan prediction"].visible
    assert viewer.layers.selection.active == viewer.layers["scan prediction"]
    qtbot.waitUntil(lambda: dock.offer.text() == "Open check-1: 6 of 6 done")


def assert_in_view(viewer: Viewer, patches: CheckPatches, dock: CheckDock) -> None:
    """The patch lies in the middle, in its slice, and fills a third of the canvas."""
    layer, region = patches.layer, patches.region
    image = viewer.layers["scan"]
    start = [part.start for part in region]
    np.testing.assert_allclose(
        layer.data_to_world((0, 0, 0)), image.data_to_world(start)
    )
    middle = image.data_to_world([(p.start + p.stop - 1) / 2 for p in region])
    camera = camera_of(viewer)
    np.testing.assert_allclose(camera.center[-2:], middle[-2:])
    assert viewer.dims.point[0] == pytest.approx(middle[0])
    height = shorter_side(dock)
    turned = np.cos(np.pi / 9) + np.sin(np.pi / 9)  # a square turned by 20 degrees
    # The canvas may still shrink by some pixels once the dock has its buttons.
    shown = camera.zoom * SIZE * 0.5 * turned
    assert shown == pytest.approx(height / 3, rel=0.03)


def assert_judged(dock: CheckDock, *, n: int) -> None:
    """The stripes are predicted in the right amount, a voxel beside their place."""
    assert not dock.results.isHidden()
    assert dock.results.title.endswith(f"judged by {n} of 6 patches")
    table = dock.results.table
    assert table.minimumWidth() > sum(map(table.sizeHintForColumn, range(4)))
    shown = cells(dock)
    predicted, correction, corrected = shown["Volume (%): pore"][:3]
    assert predicted == "33.3"
    assert correction[0] in "+−"
    value, half_width = map(float, corrected.split(" ± "))
    assert value - half_width <= 100 / 3 <= value + half_width
    assert shown["IoU (%): pore"][0] == "–"  # the prediction alone has no scores
    (ax,) = dock.results.plot.axes
    assert len(ax.get_yticks()) == 6


def assert_budgeted(dock: CheckDock, folder: Path, qtbot: QtBot) -> None:
    """The budget is there at once, and with the finite volume when it is asked for."""
    page = dock.results.budget
    (table, _) = page.tables.tables.values()
    rows = [item.text() for i in range(9) if (item := table.item(i, 0)) is not None]
    assert rows == ["Prediction", "Correction", "This volume", "Material"]
    assert any("no study of this image" in text for text in page.notices.texts)
    page.material_button.click()
    wait(dock, qtbot)
    rows = [item.text() for i in range(9) if (item := table.item(i, 0)) is not None]
    assert rows[2:] == ["Finite volume", "This volume", "Material", "1×, 2×, 4×"]
    assert page.material_button.isHidden()
    assert page.sentence.text().startswith("Volume fractions with 95% intervals: pore")
    dock.save(folder / "budget.csv", save_budget)
    wait(dock, qtbot)
    saved = (folder / "budget.csv").read_text()
    assert "finite_volume_half_width" in saved
    assert "'" not in saved


def assert_needed(dock: CheckDock, folder: Path, qtbot: QtBot) -> None:
    """The number of patches for a half-width is told once it is asked for."""
    assert all(len(texts) == 3 for texts in cells(dock).values())
    dock.results.half_width = 0.01
    qtbot.waitUntil(lambda: dock.results.table.columnCount() == 5)
    wait(dock, qtbot)
    assert int(cells(dock)["IoU (%): pore"][3]) > 0
    assert_budgeted(dock, folder, qtbot)


def assert_saved(dock: CheckDock, folder: Path, qtbot: QtBot) -> None:
    for name in ("check.csv", "check.json", "check.png"):
        dock.save(folder / name)
        wait(dock, qtbot)
        assert dock.message == f"Saved {name} in {folder.name}"
    quantities = json.loads((folder / "check.json").read_text())["quantities"]
    pore = next(q for q in quantities if q["kind"] == "volume_fraction")
    assert pore["predicted"] == pytest.approx(1 / 3)
    assert plt.imread(folder / "check.png").std() > 0
    (copy,) = (x for x in dock.findChildren(QPushButton) if x.text() == "Copy table")
    copy.click()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    rows = [line.split("\t") for line in clipboard.text().splitlines()]
    with (folder / "check.csv").open(encoding="utf-8") as file:
        assert rows == list(csv.reader(file))


# ---- painting ----


def test_keys_act_on_the_patch_while_it_is_selected(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    label_dock = open_dock(viewer, "Label phases")
    assert isinstance(label_dock, LabelDock)
    dock = opened(viewer, file)
    label_dock.new_labels()  # its keys are the same
    assert label_dock.painting is not None
    session = draw(dock, qtbot)
    patches, layer, tools = session.patches, session.patches.layer, dock.tools
    press = Presses(viewer, qtbot)

    press("W")
    assert layer.selected_label == 2
    assert [made.isChecked() for made in tools.phase_buttons] == [False, True, False]
    assert label_dock.painting.layer.selected_label == 1
    press("N")
    press("N")
    press("N", Qt.KeyboardModifier.ShiftModifier)
    assert patches.index == 1
    tools.fill_button.click()
    press("D")
    assert (patches.index, patches.n_done) == (2, 1)
    press("N", Qt.KeyboardModifier.ShiftModifier)
    assert tools.title.startswith("<b>Patch 2 of 6</b>")
    layer.paint((0, 5, 5), 0)
    qtbot.wait(10)
    assert patches.n_done == patches.folder.read().patches[1].done == 0
    viewer.layers.remove(layer)
    assert dock.session is None
    assert dock.draw_button.isVisible()
    assert sorted(map(str, map(kind_of, viewer.layers))) == [
        *("None", "painting", "prediction")
    ]


def test_a_patch_is_done_once_all_of_it_is_painted_and_nothing_beyond(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock = opened(viewer, file)
    session = draw(dock, qtbot)
    patches, layer = session.patches, session.patches.layer

    layer.brush_size = 12
    layer.paint((0, 0, 0), 3)
    layer.fill((0, -3, -3), 3)
    qtbot.wait(10)
    painted = on_disk(session)
    assert 0 < np.count_nonzero(painted) == np.count_nonzero(painted[patches.region])

    session.finish_patch()
    assert patches.index == 0
    n = layer.data.size - np.count_nonzero(layer.data)
    assert dock.message.startswith(f"{n} voxels of this patch are not painted yet")
    assert mark_of(viewer) == patches.unpainted()[0].tolist()
    session.fill_rest()
    assert layer.data.all()
    assert mark_of(viewer) is None
    layer.undo()
    qtbot.wait(10)
    np.testing.assert_array_equal(on_disk(session), painted)
    layer.redo()
    session.finish_patch()
    assert (patches.index, patches.n_done) == (1, 1)
    layer.undo()  # nothing of the patch before
    assert not layer.data.any()


class Presses:
    """Presses keys over the canvas."""

    def __init__(self, viewer: Viewer, qtbot: QtBot) -> None:
        self._viewer, self._qtbot = viewer, qtbot

    def __call__(
        self,
        key: str,
        modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
    ) -> None:
        canvas = self._viewer.window._qt_viewer
        self._qtbot.keyClick(canvas, getattr(Qt.Key, f"Key_{key}"), modifier)


def mark_of(viewer: Viewer) -> list[int] | None:
    """Return the voxel of the patch that is marked as unpainted."""
    (frame,) = (x for x in viewer.layers if isinstance(x, Shapes))
    (layer,) = (x for x in viewer.layers if kind_of(x) == "check patch" and x != frame)
    red = [i for i, edge in enumerate(frame.edge_color) if edge[1] < 0.5 < edge[0]]
    if not red:
        return None
    middle = frame.data_to_world(np.mean(frame.data[red[0]], axis=0))
    return [round(place) for place in layer.world_to_data(middle)]


def test_patches_are_offered_nowhere_else(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock = opened(viewer, file)
    layer = draw(dock, qtbot).patches.layer
    others = [
        open_dock(viewer, name)
        for name in ("Train LRCS-Net", "Measure phases", "Compare segmentations")
    ]

    labels = [x for x in viewer.layers if isinstance(x, Labels)]
    assert layer in labels
    project = project_of(viewer.layers)
    chosen = [
        project.painting(labels, None),
        project.result(labels),
        project.judged(labels),
        project.target(labels, viewer.layers["scan prediction"]),
    ]
    assert layer not in chosen
    for other in others:
        assert other is not None
        boxes = other.findChildren(LayerChoice)
        lists = other.findChildren(LayerChecks)
        assert boxes or lists
        assert not any(box.offers(layer) for box in boxes)
        anyway = Qt.MatchFlag.MatchStartsWith
        assert not any(found.findItems(layer.name, anyway) for found in lists)


def test_patches_are_closed_after_a_layer_with_more_axes_has_gone(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock = opened(viewer, file)
    probabilities = viewer.add_image(np.zeros((3, *SHAPE)), name="probabilities")
    project_of(viewer.layers).choose("image", viewer.layers["scan"])
    folder = draw(dock, qtbot).patches.folder
    viewer.layers.remove(probabilities)

    dock.close_check()
    is_closed = dock.session is None
    point = viewer.dims.point
    dock.open_check(folder)

    assert is_closed
    assert len(point) == 3
    assert dock.session is not None


def test_patches_stay_those_of_an_image_in_memory_that_is_renamed(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock = opened(viewer, file)
    viewer.layers.remove("scan")
    image = viewer.add_image(GREY, name="in memory", **PLACE)
    project_of(viewer.layers).choose("image", image)
    draw(dock, qtbot)
    before = workspace_for(image).path

    image.name = "my cathode"
    copy = Image(GREY, name="copy", metadata=image.metadata)

    assert workspace_for(image).path == before
    assert len(checks_of(image)) == 1
    assert workspace_for(copy).path.name == "copy.lrcs"


# ---- what is wrong is told ----


def test_why_no_patches_can_be_drawn_is_told(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    dock = open_dock(viewer, "Check segmentation")
    assert isinstance(dock, CheckDock)
    dock.draw()
    assert "no segmentation is chosen" in dock.message
    viewer.add_labels(PREDICTED[:5], metadata=marked("prediction"), name="other")
    dock.draw()
    assert "the image of other is not open" in dock.message
    viewer.layers.clear()
    opened(viewer, file)
    dock.form.n_patches.setValue(1000)
    dock.draw()
    wait(dock, qtbot)
    assert "1000 patches were requested, but the field of view holds" in dock.message
    assert not list(file.with_suffix(".lrcs").iterdir())  # nothing half-drawn


def test_a_prediction_that_changes_is_judged_again_beside_the_newest_study(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    shutil.copytree(STUDY, file.with_suffix(".lrcs") / "study-1")
    dock = opened(viewer, file, PREDICTED % 2 + 1, phases=PhaseTable.numbered(2))
    dock.form.n_patches.setValue(3)
    dock.form.start.setCurrentText(OVER_PREDICTION)
    session = draw(dock, qtbot)
    prediction = viewer.layers["scan prediction"]
    region = session.patches.region
    np.testing.assert_array_equal(session.patches.layer.data, prediction.data[region])
    for _ in range(3):
        session.finish_patch()
    qtbot.waitUntil(lambda: dock.message == "All 3 patches are painted.")
    assert any("painted over the prediction" in x for x in dock.results.notices.texts)
    legend = dock.results.plot.axes[0].get_legend()
    assert legend is not None
    assert "study, mean ± sd" in [text.get_text() for text in legend.get_texts()]

    prediction.data[:] = TRUTH % 2 + 1
    prediction.paint((0, 5, 5), 1)
    assert "scan prediction has changed since it was judged" in dock.message
    assert not dock.results.isEnabled()
    before = cells(dock)["IoU (%): phase 1"]
    judge_again(dock, qtbot)
    assert dock.results.isEnabled()
    assert cells(dock)["IoU (%): phase 1"] != before
    prediction.data[3] = 0
    prediction.paint((0, 5, 5), 2)
    judge_again(dock, qtbot)
    assert "scan prediction has no prediction for" in dock.message
    assert_refused_if_learnt_from(dock, session, qtbot)


def assert_refused_if_learnt_from(
    dock: CheckDock, session: PatchSession, qtbot: QtBot
) -> None:
    """A network that has learnt from a patch since it was drawn is not judged."""
    unknown = "it is not known what scan prediction was trained on"
    assert any(unknown in text for text in dock.results.notices.texts)
    layer, index = dock.form.segmentation.layer, session.patches.check.patches[1].z
    assert layer is not None
    learnt = LearntSlice(
        volume="scan",
        fingerprint="of the scan",
        axis="z",
        index=index,
        rows=(0, 40),
        columns=(0, 48),
        begun_at=datetime.now(UTC),
    )
    layer.metadata[PROVENANCE_KEY] = Provenance(
        image="scan", fingerprint="of the scan", learnt=Learnt(slices=(learnt,))
    )
    judge_again(dock, qtbot)
    assert "a network that has learnt from check patch" in dock.message


def judge_again(dock: CheckDock, qtbot: QtBot) -> None:
    dock.judge_button.click()
    wait(dock, qtbot)


def test_strokes_that_the_disk_does_not_take_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    monkeypatch.setattr("napari_lrcs.plugin.check.patches._RETRY_MS", 50)
    image = Image(GREY, name="scan")
    patches = CheckPatches(drawn(tmp_path / "check-1"), image)
    told: list[str] = []
    patches.failed.connect(told.append)
    with monkeypatch.context() as full:
        full.setattr(LocalStore, "set", _refuse)
        full.setattr(RetryingStore, "flush", _refuse)
        patches.layer.fill((0, 3, 3), 2)
        qtbot.waitUntil(lambda: len(told) > 1)
    qtbot.waitUntil(lambda: told[-1] == "")

    patches.close()
    assert "only in memory, as they cannot be saved: the disk is full" in told[0]
    kept = patches.folder.open_painting().region(*patches.region)
    assert (kept == 2).all()


def _refuse(*_: object) -> None:
    raise OSError("the disk is full")


_CHILD = """
import sys
from itertools import count
from pathlib import Path

import numpy as np
from napari.layers import Image

from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.plugin.check.patches import CheckPatches

folder = CheckFolder(Path(sys.argv[1]))
patches = CheckPatches(folder, Image(np.zeros(folder.read().design.shape)))
patches.layer.brush_size = 1
for stroke in count():
    patches.show(stroke)
    with patches.layer.block_history():  # as the mouse does
        patches.layer.paint((0, stroke // 6 % 16, 3), 1 + stroke // 96 % 3)
    print(stroke, flush=True)
"""


@pytest.mark.slow
def test_killed_while_painting_loses_no_stroke(tmp_path: Path) -> None:
    folder = drawn(tmp_path / "check-1")
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, folder.path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        told = [int(line) for line in islice(child.stdout, 40)]
        child.kill()
        told += map(int, child.stdout.readlines())

    patches = CheckPatches(folder, Image(GREY))
    for stroke in told[-90:]:
        patches.show(stroke)
        assert patches.layer.data[0, stroke // 6 % 16, 3]
    patches.close()


# ---- where patches lie ----


@pytest.mark.parametrize("thickness", [1, 3])
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_layer_lies_in_the_world_where_the_patch_does(
    axis: Any, thickness: Any, tmp_path: Path
) -> None:
    affine = np.diag([1.0, 2.0, 1.0, 1.0])
    affine[:3, 3] = (7, 0, 5)
    affine[1, 2] = 0.5
    image = Image(GREY, affine=affine, **PLACE)
    folder = drawn(tmp_path / "check-1", axis=axis, thickness=thickness, size=8)
    patches = CheckPatches(folder, image)

    for index in range(len(patches.check.patches)):
        patches.show(index)
        layer, region = patches.layer, patches.region
        assert layer.data.shape == TRUTH[region].shape
        for corner in (np.zeros(3), np.array(layer.data.shape)):
            start = [part.start for part in region]
            np.testing.assert_allclose(
                layer.data_to_world(corner), image.data_to_world(start + corner)
            )
    patches.close()


def test_what_lies_outside_the_field_of_view_needs_no_paint(
    make_napari_viewer: MakeViewer, file: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer()
    labels = PREDICTED.copy()
    labels[:, :, 20:] = 0
    labels[:, 5:, 18:] = 0
    dock = opened(viewer, file, labels)
    session = draw(dock, qtbot)

    session.patches.show(next(_at_the_border(session.patches)))
    inside = labels[session.patches.region] > 0
    assert len(session.patches.unpainted()) == np.count_nonzero(inside)
    session.fill_rest()
    np.testing.assert_array_equal(session.patches.layer.data > 0, inside)
    session.finish_patch()
    assert session.patches.n_done == 1


def _at_the_border(patches: CheckPatches) -> Iterator[int]:
    return (i for i, patch in enumerate(patches.check.patches) if patch.x == SIZE)


def test_what_is_erased_from_a_margin_opens_the_patch_beside(tmp_path: Path) -> None:
    patches = CheckPatches(drawn(tmp_path / "check-1", n=60), Image(GREY, name="scan"))
    places = [(p.z, p.y, p.x) for p in patches.check.patches]
    left, right = next(
        (places.index((z, y, x)), places.index((z, y, x + SIZE)))
        for z, y, x in places
        if (z, y, x + SIZE) in places
    )
    for number in (left, right):
        patches.show(number)
        patches.layer.selected_label = 1
        patches.fill_rest()
        patches.set_done(True)
    assert patches.n_done == 2

    patches.layer.data_setitem(tuple(np.array([[0], [5], [0]])), 0)
    patches.save()

    assert patches.n_done == sum(p.done for p in patches.folder.read().patches) == 0
    patches.close()


def drawn(path: Path, *, n: int = 6, **design: Any) -> CheckFolder:
    """Draw patches on the prediction, without a window."""
    settings = CheckDesign(shape=SHAPE, **{"size": SIZE, **design})
    for _ in draw_check(
        path,
        as_labels(as_volume(PREDICTED, name="prediction")),
        design=settings,
        n_patches=n,
        phases=ELECTRODE,
        image=ImageIdentity(name="scan", path=None, shape=SHAPE),
    ):
        pass
    return CheckFolder(path)
