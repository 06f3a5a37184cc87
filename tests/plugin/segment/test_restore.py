"""What was open yesterday is back in two clicks."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from napari import Viewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_lrcs.annotation.painting.folder import (
    ImageIdentity,
    PaintingFolder,
    PaintingState,
)
from napari_lrcs.annotation.project_file import ProjectFile, ProjectState
from napari_lrcs.errors import InUseError, VolumeError
from napari_lrcs.io.formats.tiff import write_labels_tiff
from napari_lrcs.phases import ELECTRODE
from napari_lrcs.plugin.files.reader import choosing
from napari_lrcs.plugin.files.reader import get_reader as get_volume_reader
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.painting.painting import Painting, painting_of
from napari_lrcs.plugin.parts.layers.predicted import file_of
from napari_lrcs.plugin.project.docks import open_dock, open_docks
from napari_lrcs.plugin.project.keeper import keeper_of
from napari_lrcs.plugin.segment.dock import SegmentDock
from napari_lrcs.plugin.segment.reader import get_reader

pytestmark = pytest.mark.gui

SHAPE = (5, 40, 50)
GREY = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
RUN = Path(__file__).parents[2] / "fixtures" / "f39a554" / "run"

MakeViewer = Callable[..., Viewer]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write an image, and beside it two runs and a result."""
    folder = tmp_path / "scan.lrcs"
    for name in ("run-1", "run-2"):
        shutil.copytree(RUN, folder / name, copy_function=shutil.copy)  # dated now
    write_labels_tiff(
        folder / "segmentation-1.tif",
        [np.ones(SHAPE, np.uint8)],
        shape=SHAPE,
        phases=ELECTRODE,
    )
    path = tmp_path / "scan.tif"
    tifffile.imwrite(path, GREY)
    return path


@pytest.fixture
def yesterday(image: Path) -> Path:
    """Leave on disk what `work` leaves, and return the workspace."""
    folder = image.with_suffix(".lrcs")
    identity = ImageIdentity(name="scan", path=str(image), shape=SHAPE)
    painting = PaintingFolder.create(
        folder / "painting-1",
        PaintingState(
            axis="z", phases=ELECTRODE, roles={2: "train"}, mask=None, image=identity
        ),
    )
    painting.labels.array[2, 20, 25] = 1
    ProjectFile(folder).write(
        ProjectState(
            image=identity,
            reader="napari",
            painting=str(painting.path),
            network=str(folder / "run-1"),
            result=str(folder / "segmentation-1.tif"),
            page="Predict",
            docks=("Segment volume", "Compare segmentations"),
        )
    )
    return folder


def segment_dock(viewer: Viewer) -> SegmentDock:
    dock = open_dock(viewer, "Segment volume")
    assert isinstance(dock, SegmentDock)
    return dock


def label_page(dock: SegmentDock) -> LabelDock:
    page = dock.pages["Label"]
    assert isinstance(page, LabelDock)
    return page


def painting_in(viewer: Viewer) -> Painting:
    (painting,) = filter(None, map(painting_of, viewer.layers))
    return painting


def results_in(viewer: Viewer) -> list[Path]:
    return [path for path in map(file_of, viewer.layers) if path is not None]


def is_back(viewer: Viewer, folder: Path) -> bool:
    """Whether painting, roles, network, result and page are as `work` left them."""
    dock = segment_dock(viewer)
    if dock.bar.network.path != folder / "run-1" or not results_in(viewer):
        return False
    painting = painting_in(viewer)
    assert painting.roles == {2: "train"}
    assert painting.plane(2)[20, 25] == 1
    assert dock.bar.painting.layer == painting.layer
    assert results_in(viewer) == [folder / "segmentation-1.tif"]
    result = dock.bar.result.layer
    assert result is not None
    assert file_of(result) == folder / "segmentation-1.tif"
    assert dock.step == "Predict"
    return True


def test_two_clicks_after_opening_the_image_all_is_back(
    make_napari_viewer: MakeViewer, image: Path, yesterday: Path, qtbot: QtBot
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open(image, plugin="napari")

    dock = segment_dock(viewer)  # 1
    line = label_page(dock).restore_line
    qtbot.waitUntil(line.isVisible)
    qtbot.waitUntil(lambda: dock.bar.network.path == yesterday / "run-2")  # by default
    offer = line.text
    keeper_of(viewer).save()  # which may not forget yesterday
    (restore,) = line.findChildren(QPushButton)
    qtbot.mouseClick(restore, Qt.MouseButton.LeftButton)  # 2

    qtbot.waitUntil(lambda: is_back(viewer, yesterday))
    assert offer.startswith("Work on scan was found: painting (1 slice, saved ")
    assert offer.endswith("), run-1, segmentation-1.tif.")
    assert dock.pages["Predict"].message == "The work is back."
    docks = open_docks(viewer)
    assert set(docks) == {"Segment volume", "Compare segmentations"}
    qtbot.waitUntil(lambda: docks["Compare segmentations"]._is_placed)
    qtbot.waitUntil(lambda: not dock.visibleRegion().isEmpty())  # it stays in front
    names = [layer.name for layer in viewer.layers]
    assert names == ["scan", "scan prediction", "scan labels"]
    assert viewer.layers.selection.active == painting_in(viewer).layer
    assert not line.is_offering


def test_what_is_open_is_noted_although_another_window_writes_first(
    make_napari_viewer: MakeViewer,
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    viewer = make_napari_viewer()
    viewer.open(image, plugin="napari")
    label_page(segment_dock(viewer)).new_labels()
    file = image.with_suffix(".lrcs") / "project.json"

    def busy(*_: object) -> None:
        raise InUseError("another window writes")

    with monkeypatch.context() as patch:
        patch.setattr(ProjectFile, "write", busy)
        keeper_of(viewer).save()
    is_written_at_once = file.exists()
    keeper_of(viewer).save()

    assert not is_written_at_once
    assert file.exists()


def test_nothing_is_saved_or_raised_once_the_window_is_gone(
    make_napari_viewer: MakeViewer, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer()
    viewer.open(image, plugin="napari")
    label_page(segment_dock(viewer)).new_labels()
    keeper = keeper_of(viewer)
    keeper.save()
    file = image.with_suffix(".lrcs") / "project.json"
    saved = file.read_bytes()

    def gone(_: object) -> None:
        raise RuntimeError("wrapped C/C++ object has been deleted")  # as Qt says

    with monkeypatch.context() as patch:
        patch.setattr(type(viewer.window), "dock_widgets", property(gone))
        keeper.show_page("Train")  # what an event does that comes late
        keeper.save()

    assert file.read_bytes() == saved


def test_what_is_gone_is_told_and_the_rest_is_back(
    make_napari_viewer: MakeViewer, image: Path, yesterday: Path, qtbot: QtBot
) -> None:
    shutil.rmtree(yesterday / "run-1")
    (yesterday / "segmentation-1.tif").unlink()
    viewer = make_napari_viewer()
    viewer.open(image, plugin="napari")
    dock = segment_dock(viewer)
    line = label_page(dock).restore_line
    qtbot.waitUntil(lambda: line.project is not None)
    offer = line.text

    line.restore()

    assert offer.startswith("A painting of scan was found: 1 slice, saved ")
    assert painting_in(viewer).roles == {2: "train"}
    assert dock.step == "Predict"
    told = dock.pages["Predict"].message
    assert told == "Restored, except run-1, segmentation-1.tif: not found."
    assert not results_in(viewer)


def test_damaged_file_is_told_and_paintings_are_offered(
    make_napari_viewer: MakeViewer, image: Path, yesterday: Path, qtbot: QtBot
) -> None:
    (yesterday / "project.json").write_text("{")
    viewer = make_napari_viewer()
    viewer.open(image, plugin="napari")
    line = label_page(segment_dock(viewer)).restore_line

    qtbot.waitUntil(lambda: bool(line.offered))

    assert "A painting of scan was found" in line.text
    assert "project.json in" in line.text
    assert line.project is None


@pytest.mark.slow
def test_all_is_back_after_a_kill_in_the_middle_of_painting(
    make_napari_viewer: MakeViewer, image: Path, qtbot: QtBot
) -> None:
    script = Path(__file__).parents[2] / "helpers" / "yesterday.py"
    with subprocess.Popen(
        [sys.executable, script, image], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "saved\n"
        process.send_signal(signal.SIGKILL)
    viewer = make_napari_viewer()
    viewer.open(image, plugin="napari")

    line = label_page(segment_dock(viewer)).restore_line
    qtbot.waitUntil(lambda: line.project is not None)
    line.restore()

    qtbot.waitUntil(lambda: is_back(viewer, image.with_suffix(".lrcs")))
    painted = painting_in(viewer).layer
    expected = np.load(image.with_suffix(".npy"))
    assert {*np.unique(expected[2])} == {1, 3}
    assert not expected[3].any()
    np.testing.assert_array_equal(np.asarray(painted.data[:4]), expected)
    painted.paint((3, 5, 5), 1)  # and it can be painted on


# ---- the folder itself ----


def test_folder_opens_its_image_and_restores_all(
    make_napari_viewer: MakeViewer, image: Path, yesterday: Path, qtbot: QtBot
) -> None:
    moved = image.parent / "moved"
    moved.mkdir()
    for path in (image, yesterday):
        path.rename(moved / path.name)
    viewer = make_napari_viewer()

    viewer.open(moved / "scan.lrcs", plugin="napari-lrcs")

    qtbot.waitUntil(lambda: is_back(viewer, moved / "scan.lrcs"))
    viewer.open(moved / "scan.lrcs", plugin="napari-lrcs")  # again
    qtbot.wait(200)
    names = [layer.name for layer in viewer.layers]
    assert names == ["scan", "scan prediction", "scan labels"]


def test_folder_of_an_earlier_version_opens_its_image_and_painting(
    make_napari_viewer: MakeViewer, yesterday: Path, qtbot: QtBot
) -> None:
    (yesterday / "project.json").unlink()
    viewer = make_napari_viewer()

    viewer.open(yesterday, plugin="napari-lrcs")

    qtbot.waitUntil(lambda: any(map(painting_of, viewer.layers)))
    assert painting_in(viewer).roles == {2: "train"}
    assert segment_dock(viewer).step == "Label"


def test_folder_without_its_image_is_told(
    make_napari_viewer: MakeViewer, image: Path, yesterday: Path
) -> None:
    image.unlink()
    viewer = make_napari_viewer()

    with pytest.raises(VolumeError, match=r"image of scan\.lrcs was not found; search"):
        viewer.open(yesterday, plugin="napari-lrcs")
    assert not open_docks(viewer)


def test_volume_that_was_chosen_of_several_is_opened_again(
    make_napari_viewer: MakeViewer, tmp_path: Path, qtbot: QtBot
) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["raw"], file["dark"] = GREY, GREY[:3]
    viewer = make_napari_viewer()
    with choosing("/dark"):
        viewer.open(tmp_path / "scan.h5", plugin="napari-lrcs")
    page = label_page(segment_dock(viewer))
    page.new_labels()
    page.slices.mark("test")
    page.remember()
    viewer.layers.clear()

    viewer.open(tmp_path / "scan.lrcs", plugin="napari-lrcs")

    qtbot.waitUntil(lambda: any(map(painting_of, viewer.layers)))
    assert viewer.layers[0].data.shape == (3, *SHAPE[1:])


def test_folder_of_slices_is_told_from_a_workspace_with_results(
    tmp_path: Path,
) -> None:
    workspace, slices = tmp_path / "scan.lrcs", tmp_path / "slices"
    for folder in (slices, workspace):
        folder.mkdir()
        tifffile.imwrite(folder / "segmentation-1.tif", GREY[0])

    readers = (get_reader, get_volume_reader)
    taken = [
        [get_reads(str(f)) is not None for get_reads in readers]
        for f in (workspace, slices)
    ]
    assert taken == [[True, False], [False, True]]
