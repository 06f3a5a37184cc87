import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image, Labels
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt, QThreadPool
from qtpy.QtWidgets import QApplication

from clusters import quick_local
from napari_lrcs.annotation.annotation import Role
from napari_lrcs.config import AlsoMeasureConfig, StudyConfig, TrainConfig
from napari_lrcs.io.opening import open_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.layers.layers import appearance, place_of, workspace_for
from napari_lrcs.plugin.parts.tables import Table
from napari_lrcs.plugin.study import also_measure, job
from napari_lrcs.plugin.study.dock import StudyDock
from napari_lrcs.plugin.study.job import read_study
from napari_lrcs.progress import Notice
from napari_lrcs.uncertainty.study.ensemble import run_study
from napari_lrcs.uncertainty.study.events import (
    MemberEnded,
    MemberProgress,
    MemberStarted,
    StudyStarted,
)
from napari_lrcs.uncertainty.study.folder import StudyFolder
from napari_lrcs.uncertainty.study.summary import Member

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

FILES = Path(__file__).parents[2] / "fixtures" / "f39a554"
SHAPE = (6, 32, 40)
PHASES = PhaseTable.named("pore", "NMC")
PLACE = {"scale": (2.0, 0.5, 0.5), "translate": (5.0, 1.0, -3.0), "rotate": 20.0}
TRAIN, TEST = "1:3", "4"
SOON = 2000
"""Milliseconds in which a button takes effect."""


def _truth() -> NDArray[np.uint8]:
    return np.broadcast_to(np.arange(SHAPE[2]) // 10 % 2 + 1, SHAPE).astype(np.uint8)


def _grey() -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    return (_truth() + 0.1 * noise).astype(np.float32)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Iterator[Viewer]:
    viewer = make_napari_viewer(show=True)
    yield viewer
    viewer.close()
    _wait_for_threads()
    qtbot.wait(50)  # docks let go of the window


@pytest.fixture
def image(viewer: Viewer) -> Image:
    """Add a volume of stripes that lies askew in the world."""
    return viewer.add_image(
        _grey(),
        name="scan",
        units=("micrometer",) * 3,
        **PLACE,
    )


@pytest.fixture
def labels(viewer: Viewer, image: Image) -> Labels:
    return viewer.add_labels(
        _truth(), name="painted", **appearance(PHASES), **place_of(image)
    )


@pytest.fixture
def dock(
    viewer: Viewer, labels: Labels, tiny_config: TrainConfig, qtbot: QtBot
) -> StudyDock:
    """Open the dock on painted slices, to study three networks and a repeat."""
    assert labels in viewer.layers
    return _open(viewer, tiny_config, qtbot)


# The whole way


@pytest.mark.slow
def test_a_study_is_stopped_and_continued_in_another_window(
    dock: StudyDock,
    make_napari_viewer: Callable[..., Viewer],
    image: Image,
    labels: Labels,
    tmp_path: Path,
    qtbot: QtBot,
) -> None:
    dock.work.run_button.click()
    _wait_for_networks(dock, 1, qtbot)
    dock.work.stop_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=SOON)

    out = workspace_for(image).path / "study-1"
    n_kept = len(list(out.glob("members/*/member.json")))
    assert 1 <= n_kept < 4
    assert f"{n_kept} of 4 networks are kept" in dock.message
    qtbot.waitUntil(dock.work.continue_button.isVisible, timeout=SOON)

    # Another window, as after napari was closed; its settings are others.
    second = make_napari_viewer(show=True)
    for layer in (image, labels):
        second.add_layer(type(layer)(layer.data, name=layer.name, **_look(layer)))
    later = _open(second, TrainConfig(device="cpu"), qtbot, study=StudyConfig())
    qtbot.waitUntil(lambda: len(later.studies.items) == 1, timeout=SOON)
    assert later.work.continue_button.text() == "Continue study-1"
    painting = second.layers.selection.active
    later.work.continue_button.click()
    qtbot.waitUntil(lambda: not later.is_busy)

    assert "Done" in later.message
    assert json.loads((out / "study.json").read_text())["state"] == "complete"
    _assert_layers(second, later)
    _assert_budget(later)
    assert second.layers.selection.active is painting
    _assert_tables(later, tmp_path, qtbot)
    second.close()


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a local cluster have a single worker, which soon begins."""
    monkeypatch.setattr("napari_lrcs.distributed.os.cpu_count", lambda: 1)
    with quick_local():
        yield


@pytest.mark.slow
def test_a_study_in_other_processes_goes_on_in_another_window(
    make_napari_viewer: Callable[..., Viewer],
    tiny_config: TrainConfig,
    tmp_path: Path,
    one_worker: None,
    qtbot: QtBot,
) -> None:
    del one_worker
    np.save(tmp_path / "scan.npy", _grey())
    study = StudyConfig(n_members=4, n_repeats=0)

    def open_window() -> tuple[Viewer, StudyDock]:
        viewer = make_napari_viewer(show=True)
        viewer.open(tmp_path / "scan.npy", plugin="napari")
        viewer.add_labels(_truth(), name="painted", **appearance(PHASES))
        return viewer, _open(viewer, tiny_config, qtbot)

    viewer, dock = open_window()
    dock.setup.study.config = study
    dock.setup.compute_on.where.setCurrentIndex(1)
    dock.work.run_button.click()
    _wait_for_networks(dock, 1, qtbot)
    viewer.close()
    assert _wait_for_threads(60 * 1000)
    out = tmp_path / "scan.lrcs" / "study-1"
    kept = _ended(out)
    assert kept
    assert json.loads((out / "study.json").read_text())["state"] == "stopped"
    assert not active_children()

    viewer, dock = open_window()
    assert dock.setup.compute_on.is_elsewhere  # as remembered
    qtbot.waitUntil(dock.work.continue_button.isVisible, timeout=SOON)
    dock.work.continue_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "Done" in dock.message
    assert kept.items() <= _ended(out).items()
    dock.setup.study.config = study
    list(run_study(dock.setup.task(), out=tmp_path / "alone"))
    assert _found(out) == _found(tmp_path / "alone")
    viewer.close()


def _ended(out: Path) -> dict[str, int]:
    """Tell which networks have ended, and when."""
    files = out.glob("members/*/member.json")
    return {file.parent.name: file.stat().st_mtime_ns for file in files}


def _found(out: Path) -> list[Any]:
    """Read what does not depend on how long it took."""
    members = StudyFolder(out).read_findings().members
    volumes = StudyFolder(out).volumes.values()
    return [
        *(replace(member, seconds=0.0) for member in members),
        *(open_volume(path).slab(0, SHAPE[0]).tolist() for path in volumes),
    ]


def _text(table: Table, row: int, column: int) -> str:
    item = table.item(row, column)
    assert item is not None
    return item.text()


def _assert_budget(dock: StudyDock) -> None:
    """Check that the networks' own scatter is told, and no total of it alone."""
    table = dock.budget.tables.tables["volume_fraction"]
    cells = [
        [_text(table, r, c) for c in range(table.columnCount())]
        for r in range(table.rowCount())
    ]
    volumes = {first: rest for first, *rest in cells}
    found = {row[0]: row[1] for row in dock.results.table.texts}
    mean, _ = found["Volume pore"].split(" ± ")
    assert volumes["Prediction"][0] == mean
    assert volumes["This volume"] == volumes["Material"] == ["unknown", "unknown"]
    assert "Correction" not in volumes


def _assert_layers(viewer: Viewer, dock: StudyDock) -> None:
    ensemble = viewer.layers["scan ensemble"]
    assert (ensemble.visible, ensemble.editable) == (False, False)
    assert not dock.setup.labels_choice.offers(ensemble)
    names = ("majority vote", "agreement", "disagreement")
    majority, agreement, disagreement = (viewer.layers[f"scan {n}"] for n in names)
    assert [m.visible for m in (majority, agreement, disagreement)] == [0, 0, 1]
    for layer in (majority, agreement, disagreement):
        for name, value in place_of(viewer.layers["scan"]).items():
            np.testing.assert_array_equal(place_of(layer)[name], value)
    for layer in (agreement, disagreement):
        assert tuple(layer.contrast_limits) == (0, 255)
        assert not dock.setup.image_choice.offers(layer)
    assert not dock.setup.labels_choice.offers(majority)
    assert not majority.editable
    np.testing.assert_allclose(
        majority.get_color(2), viewer.layers["painted"].get_color(2)
    )
    # Three networks of two phases: two thirds agree at least, and the entropy tells.
    agreed, differ = np.asarray(agreement.data), np.asarray(disagreement.data)
    assert set(np.unique(agreed)) <= {170, 255}
    np.testing.assert_array_equal(agreed == 255, differ == 0)
    assert set(np.unique(majority.data)) <= {1, 2}


def _assert_tables(dock: StudyDock, folder: Path, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: "4 of 4" in dock.results.title.text(), timeout=SOON)
    rows = dock.results.table.texts
    assert [row[0] for row in rows] == [
        "Accuracy",
        *(f"{kind} {p}" for kind in ("IoU", "Volume", "Surface") for p in PHASES.names),
        "pore – NMC",
    ]
    assert all("±" in row[1] for row in rows)
    assert not any("±" in row[2] for row in rows)  # one repeat has no deviation
    assert all(row[3].endswith("%") and "±" not in row[3] for row in rows)  # ensemble
    assert "not how far they are from the truth" in dock.results.caveat.text()

    clipboard = QApplication.clipboard()
    assert clipboard is not None
    dock.results.table.selectRow(0)
    qtbot.keyClick(
        dock.results.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier
    )
    assert clipboard.text() == "\t".join(rows[0])
    dock.copy()
    assert clipboard.text().splitlines()[1].startswith("perturbed\taccuracy\tall\t3\t0")

    dock.save_csv(folder / "out.csv")
    qtbot.waitUntil((folder / "out-networks.csv").exists)
    with (folder / "out-networks.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 4
    for place, suffix in enumerate(("png", "svg", "pdf")):
        dock.results.tabs.setCurrentIndex(place)
        dock.save_figure(folder / f"plot.{suffix}")
        qtbot.waitUntil((folder / f"plot.{suffix}").exists)
    qtbot.waitUntil(lambda: dock.message.startswith("Saved plot.pdf in "))


@pytest.mark.slow
def test_a_failed_network_is_shown_and_the_rest_goes_on(
    dock: StudyDock, image: Image, viewer: Viewer, qtbot: QtBot
) -> None:
    dock.work.run_button.click()
    _wait_for_networks(dock, 1, qtbot)
    dock.work.stop_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=SOON)
    in_the_way = workspace_for(image).path / "study-1" / "members" / "repeat-000"
    in_the_way.write_text("no folder")
    qtbot.waitUntil(dock.work.continue_button.isVisible, timeout=SOON)

    dock.work.continue_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "Done" in dock.message
    (told,) = dock.results.failed.texts
    assert told.startswith("repeat-000 failed: ")
    qtbot.waitUntil(
        lambda: dock.results.title.text() == "study-1: 3 of 4 networks, 1 failed",
        timeout=SOON,
    )

    # Mended, it is tried again; layers that are there are replaced.
    n_layers = len(viewer.layers)
    in_the_way.unlink()
    qtbot.waitUntil(lambda: dock.studies.items[0].n_done == 3, timeout=SOON)
    dock.studies.select(0)
    dock.studies.continue_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    qtbot.waitUntil(
        lambda: dock.results.title.text() == "study-1: 4 of 4 networks", timeout=SOON
    )
    assert dock.results.failed.texts == ()
    assert len(viewer.layers) == n_layers


@pytest.mark.slow
def test_a_finished_study_is_opened(
    dock: StudyDock, image: Image, viewer: Viewer, qtbot: QtBot
) -> None:
    dock.setup.study.config = StudyConfig(n_members=2, n_repeats=0)
    dock.work.run_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)
    for layer in list(viewer.layers)[2:]:
        viewer.layers.remove(layer)
    dock.results.clear()
    qtbot.waitUntil(lambda: len(dock.studies.items) == 1, timeout=SOON)
    assert not dock.work.continue_button.isVisible()
    assert not dock.studies.continue_button.isEnabled()

    dock.studies.open_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy, timeout=SOON)

    assert "scan disagreement" in viewer.layers
    qtbot.waitUntil(lambda: dock.results.table.rowCount() == 8, timeout=SOON)
    assert dock.setup.out == workspace_for(image).path / "study-2"


# Layers, docks and viewers that go


@pytest.mark.slow
def test_layers_and_dock_may_go_while_a_study_runs(
    dock: StudyDock, image: Image, labels: Labels, viewer: Viewer, qtbot: QtBot
) -> None:
    out = workspace_for(image).path / "study-1"
    _run_without_end(dock, qtbot)
    viewer.layers.remove(labels)
    viewer.layers.remove(image)
    n_told = len(dock.results.notices.texts)

    viewer.window.remove_dock_widget(dock)

    assert n_told
    assert _wait_for_threads()
    qtbot.wait(50)
    assert json.loads((out / "study.json").read_text())["state"] == "stopped"
    assert not viewer.layers


@pytest.mark.slow
def test_closing_the_viewer_stops_the_study(
    dock: StudyDock, image: Image, viewer: Viewer, qtbot: QtBot
) -> None:
    out = workspace_for(image).path / "study-1"
    _run_without_end(dock, qtbot)

    viewer.close()
    qtbot.wait(50)

    assert _wait_for_threads()
    qtbot.wait(50)
    assert json.loads((out / "study.json").read_text())["state"] == "stopped"


# What cannot be studied


@pytest.mark.slow
def test_slices_that_do_not_fit_are_told_and_nothing_is_begun(
    dock: StudyDock, labels: Labels, image: Image, qtbot: QtBot
) -> None:
    labels.data[0], labels.data[5] = 1, 0
    told = {
        ("1:3", ""): "Test slice: none is given",
        ("", "4"): "Training slices: none is given",
        ("1:3", "60"): "slice 60 of '60' does not exist",
        ("1:x", "4"): "slices must look like",
        ("1:3", "2"): "slice 2 has more than one role",
        ("1:3", "5"): "has no painted voxel",
        ("0", "4"): "only phase 1",
    }

    said = {}
    for train, test in told:
        dock.setup.slices.train.setText(train)
        dock.setup.slices.test.setText(test)
        dock.work.run_button.click()
        qtbot.waitUntil(lambda: not dock.is_busy)
        said[train, test] = dock.message

    for case, words in told.items():
        assert words in said[case]
    assert dock.work.run_button.isVisible()
    assert not list(workspace_for(image).path.glob("*"))


@pytest.mark.slow
def test_phases_that_do_not_touch_have_no_interface(
    dock: StudyDock, labels: Labels, image: Image, qtbot: QtBot
) -> None:
    labels.data[1:3] = 0
    labels.data[1:3, 2:20, 2:8], labels.data[1:3, 2:20, 12:18] = 1, 2

    dock.work.run_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "no interface to perturb" in dock.message
    assert not list(workspace_for(image).path.glob("*"))


@pytest.mark.slow
def test_labels_of_another_shape_are_refused(
    dock: StudyDock, viewer: Viewer, image: Image, qtbot: QtBot
) -> None:
    dock.setup.labels_choice.layer = viewer.add_labels(_truth()[:, :20], name="cut")

    dock.work.run_button.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    assert "20" in dock.message
    assert not list(workspace_for(image).path.glob("*"))


def test_a_study_without_layers_is_refused(
    viewer: Viewer, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    dock = _open(viewer, tiny_config, qtbot)

    dock.work.run_button.click()

    assert "choose an image" in dock.message
    assert not dock.is_busy


def test_a_damaged_study_is_told_and_hides_no_other(
    dock: StudyDock, image: Image, qtbot: QtBot
) -> None:
    place = workspace_for(image).path / "study-7"
    place.mkdir(parents=True)
    (place / "study.json").write_text("{")

    dock.setup.new_folder()
    qtbot.waitUntil(lambda: len(dock.studies.items) == 1, timeout=SOON)

    assert "damaged" in dock.studies.items[0].damaged
    assert not dock.studies.open_button.isEnabled()
    assert not dock.work.continue_button.isVisible()
    assert dock.setup.out.name == "study-8"


# Setup


def test_slices_follow_the_roles_of_a_painting(
    viewer: Viewer, image: Image, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    layer = new_painting(image, phases=PHASES)
    viewer.add_layer(layer)
    painting = painting_of(layer)
    assert painting is not None
    dock = _open(viewer, tiny_config, qtbot)
    roles: dict[int, Role] = {1: "train", 2: "train", 3: "validation", 5: "test"}

    for index, role in roles.items():
        painting.set_role(index, role)

    slices = dock.setup.slices
    assert (slices.train.text(), slices.test.text()) == ("1:4", "5")
    assert slices.read(SHAPE[0]) == ((1, 2, 3), (5,))


def test_time_left_is_counted_from_the_first_step(
    dock: StudyDock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("napari_lrcs.plugin.parts.widgets.time.monotonic", lambda: now)

    def train(share: float) -> None:
        event = MemberProgress(name="a", share=share, text="training", event=None)
        dock.steps.handle(event)

    dock.steps.handle(StudyStarted(out=Path(), names=("a",), n_done=0, phases=PHASES))
    dock.steps.handle(MemberStarted(name="a", number=1, n_members=1))
    now = 1000.0  # loading PyTorch, perturbing the labels
    train(0.1)
    now = 1010.0
    train(0.2)

    assert dock.progress.text == "Network 1 of 1 · 1:20 left"


def test_of_several_networks_at_once_the_first_to_be_done_is_shown(
    dock: StudyDock,
) -> None:
    names = ("a", "b", "c")
    dock.steps.handle(StudyStarted(out=Path(), names=names, n_done=0, phases=PHASES))
    for number, name in enumerate(names, start=1):
        dock.steps.handle(MemberStarted(name=name, number=number, n_members=3))

    seen = []
    for name, share in (("a", 0.0), ("b", 0.5), ("a", 0.25), ("c", 0.0)):
        event = MemberProgress(name=name, share=share, text=f"{share}", event=None)
        dock.steps.handle(event)
        seen.append((dock.steps.own.text, dock.progress.text))

    assert seen == [
        ("a: 0.0", "Network 1 of 3"),
        *[("b: 0.5", "Network 1 of 3")] * 3,
    ]
    assert dock.steps.done == pytest.approx(0.75 / 3)
    member = Member(name="b", group="perturbed", number=1, seed=1, error="none")
    dock.steps.handle(MemberEnded(member=member))
    assert dock.steps.done == pytest.approx(1.25 / 3)


def test_the_sentence_tells_what_will_be_made(dock: StudyDock) -> None:
    dock.setup.study.config = StudyConfig(n_members=15, n_repeats=5)

    told = dock.setup.estimate.text()

    assert "20 networks" in told
    assert "15 on perturbed labels" in told
    assert "5 on the labels as painted" in told


def test_phases_whose_tortuosity_is_measured_are_those_of_the_labels(
    dock: StudyDock, viewer: Viewer
) -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")
    choice = dock.setup.also_measure.tortuosity
    texts = [choice.itemText(i) for i in range(choice.count())]

    choice.setCurrentText("every phase")
    every = dock.setup.task().also_measure
    dock.setup.labels_choice.layer = viewer.add_labels(_truth(), name="unnamed")

    assert texts == ["no phase", "pore", "NMC", "every phase"]
    assert every.tortuosity == ("pore", "NMC")
    assert dock.setup.task().also_measure == AlsoMeasureConfig()


@pytest.mark.usefixtures("viewer")
def test_without_taufactor_the_dock_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(also_measure, "find_spec", lambda _: None)

    part = also_measure.AlsoMeasure()

    assert not part.tortuosity.isEnabled()
    assert "napari-lrcs[transport]" in part.tortuosity.toolTip()
    part.close()


def test_a_tenth_is_suggested(dock: StudyDock, qtbot: QtBot) -> None:
    dock.setup.suggest.click()
    qtbot.waitUntil(lambda: not dock.is_busy)

    (share,) = (word for word in dock.message.split() if word.endswith("%"))
    assert 5 <= float(share.removesuffix("%")) <= 15
    assert dock.setup.perturb.config.kernel != "auto"


def test_settings_are_kept_and_studies_go_where_they_are_told(
    dock: StudyDock, viewer: Viewer, tmp_path: Path, qtbot: QtBot
) -> None:
    dock.setup.training.preset.choose("paper")
    dock.setup.study.config = StudyConfig(n_members=7, n_repeats=0)
    dock.setup.also_measure.area.setChecked(True)
    dock.setup.also_measure.tortuosity.setCurrentText("NMC")
    dock.setup.choose_folder(tmp_path / "elsewhere")
    assert dock.setup.out == tmp_path / "elsewhere" / "study-1"

    viewer.window.remove_dock_widget(dock)
    again = StudyDock(viewer)
    viewer.window.add_dock_widget(again)

    assert again.setup.training.preset.currentText() == "paper"
    assert again.setup.study.config == StudyConfig(n_members=7, n_repeats=0)
    is_installed = find_spec("taufactor") is not None
    assert again.setup.also_measure.config == AlsoMeasureConfig(
        surface_area=True, tortuosity=("NMC",) if is_installed else ()
    )
    qtbot.wait(50)


# Helpers


def _open(
    viewer: Viewer, config: TrainConfig, qtbot: QtBot, study: StudyConfig | None = None
) -> StudyDock:
    dock = StudyDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.setup.training.config = config
    dock.setup.study.config = study or StudyConfig(n_members=3, n_repeats=1)
    if study is None and viewer.layers and painting_of(viewer.layers[-1]) is None:
        dock.setup.slices.train.setText(TRAIN)
        dock.setup.slices.test.setText(TEST)
    qtbot.waitUntil(dock.isVisible)
    return dock


def _look(layer: Any) -> dict[str, Any]:
    return place_of(layer) | (appearance(PHASES) if isinstance(layer, Labels) else {})


def _run_without_end(dock: StudyDock, qtbot: QtBot) -> None:
    config = dock.setup.training.config
    dock.setup.training.config = config.with_changes(n_epochs=1000)
    dock.work.run_button.click()
    qtbot.waitUntil(lambda: "epoch" in dock.steps.own.text)


def _wait_for_networks(dock: StudyDock, n: int, qtbot: QtBot) -> None:
    def there() -> bool:
        found = dock.results.found
        return found is not None and len(found.members) >= n

    qtbot.waitUntil(there)


def _wait_for_threads(milliseconds: int = SOON) -> bool:
    pool = QThreadPool.globalInstance()
    assert pool is not None
    return bool(pool.waitForDone(milliseconds))


# What networks have not learnt


@pytest.mark.parametrize(
    ("not_learnt", "expected"),
    [
        (None, []),  # an older version wrote it
        ([2], ["2 of 2 networks have not learnt phase 2"]),
    ],
)
def test_a_study_that_is_read_says_what_its_networks_have_not_learnt(
    not_learnt: list[int] | None,
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "study"
    shutil.copytree(FILES / "study", out)
    record = json.loads((out / "study.json").read_text("utf-8"))
    record["state"] = "complete"
    for member in record["members"]:
        member.update({} if not_learnt is None else {"not_learnt": not_learnt})
    (out / "study.json").write_text(json.dumps(record), "utf-8")
    # Its volumes are no fixtures.
    monkeypatch.setattr(job, "_opened", Path)
    monkeypatch.setattr(job, "_provenance_of", lambda _: None)

    told = [event.text for event in read_study(out) if isinstance(event, Notice)]

    assert [text.partition(";")[0] for text in told] == expected
