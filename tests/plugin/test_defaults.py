"""What docks propose, by the steps of a user who presses the next obvious button."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import tifffile
from napari import Viewer
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QLabel, QMessageBox, QPushButton, QWidget

from napari_lrcs.config import StudyConfig, TrainConfig
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.metrics.counting import compose
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.compare.dock import CompareDock
from napari_lrcs.plugin.label.dock import LabelDock
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.painting.painting import painting_of
from napari_lrcs.plugin.parts.dock import Dock
from napari_lrcs.plugin.parts.layers.layers import place_of, workspace_for
from napari_lrcs.plugin.parts.widgets import COLOURS
from napari_lrcs.plugin.parts.workers import Events
from napari_lrcs.plugin.perturb.dock import PerturbDock
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.study.dock import StudyDock
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.plugin.train.job import TrainingJob
from napari_lrcs.plugin.train.preview import PREVIEW_NAME
from napari_lrcs.progress import Notice, NotLearnt, TrainingEnded, TrainingStarted
from napari_lrcs.training.run.folder import RunFolder, list_runs
from napari_lrcs.uncertainty.study.events import StudyEnded
from napari_lrcs.uncertainty.study.summary import Member, summarise

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("one_thread")]

SHAPE = (24, 32, 40)
PAINTED, TEST = 20, 23
"""Slices."""
PHASES = PhaseTable.named("pore", "NMC")
NOT_LEARNT = NotLearnt(label=2, name="crack", iou=0.0)
BALANCE = "Balance phases and train again"
STARTED = TrainingStarted(
    device="cpu",
    precision="float32",
    rounds_alike=True,
    n_parameters=1,
    n_epochs=1,
    steps_per_epoch=1,
    first_epoch=1,
)
TOLD = Notice(kind="not_learnt", text=f"{NOT_LEARNT}; paint more of it")

AnyDock = TypeVar("AnyDock", bound=QWidget)
RareCrack = tuple[NDArray[np.float32], NDArray[np.uint8], PhaseTable]


def stripes() -> NDArray[np.uint8]:
    return np.broadcast_to(np.arange(SHAPE[2]) // 5 % 2 + 1, SHAPE).astype(np.uint8)


def grey_levels() -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal(SHAPE)
    return (stripes() + 0.1 * noise).astype(np.float32)


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Iterator[Viewer]:
    viewer = make_napari_viewer(show=True)
    yield viewer
    viewer.close()
    pool = QThreadPool.globalInstance()
    assert pool is not None
    pool.waitForDone(5000)
    qtbot.wait(50)  # docks let go of the window


@pytest.fixture
def model(
    make_checkpoint: Callable[..., Any], tiny_config: TrainConfig, tmp_path: Path
) -> Path:
    from napari_lrcs.models.checkpoint import save_checkpoint

    path = tmp_path / "model.safetensors"
    save_checkpoint(path, make_checkpoint(tiny_config, n_phases=2))
    return path


def open_dock(viewer: Viewer, name: str, kind: type[AnyDock]) -> AnyDock:
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrcs", name)
    assert isinstance(dock, kind)
    return dock


def open_train(viewer: Viewer, config: TrainConfig) -> TrainDock:
    dock = open_dock(viewer, "Train LRCS-Net", TrainDock)
    dock.setup.form.config = config
    return dock


def press(dock: QWidget, text: str) -> None:
    (found,) = [b for b in dock.findChildren(QPushButton) if b.text() == text]
    assert found.isEnabled(), f"{text} cannot be pressed"
    found.click()


def finish(dock: Dock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy)


def paint(painting: Labels, index: int) -> None:
    """Paint a slice, and save what is painted."""
    painting.data_setitem(
        (np.full(SHAPE[1:], index), *np.indices(SHAPE[1:])), stripes()[index]
    )
    known = painting_of(painting)
    assert known is not None
    known.save()


def predict(viewer: Viewer, model: Path, slices: str, qtbot: QtBot) -> Labels:
    dock = open_dock(viewer, "Predict volume", PredictDock)
    dock.setup.model_choice.choose(model)
    dock.setup.region.setCurrentText("Some slices")
    dock.setup.range.setText(slices)
    known = set(viewer.layers)
    press(dock, "Predict")
    finish(dock, qtbot)
    (layer,) = set(viewer.layers) - known
    assert isinstance(layer, Labels)
    return layer


def perturb_once(viewer: Viewer, painting: Labels, qtbot: QtBot) -> None:
    dock = open_dock(viewer, "Perturb labels", PerturbDock)
    dock.preview.box.setChecked(False)
    dock.members.n_members.setValue(1)
    assert dock.setup.labels.layer == painting
    press(dock, "Perturb")
    finish(dock, qtbot)
    assert "perturbed-000" in viewer.layers[-1].name


def paint_scan(viewer: Viewer) -> tuple[Image, Labels]:
    image = viewer.add_image(grey_levels(), name="scan")
    painting = new_painting(image, phases=PHASES)
    viewer.add_layer(painting)
    paint(painting, PAINTED)
    return image, painting


# ---- what is learnt from ----


@pytest.mark.slow
def test_training_and_study_learn_from_the_painting_whatever_was_made_since(
    viewer: Viewer, model: Path, tiny_config: TrainConfig, qtbot: QtBot
) -> None:
    image = viewer.add_image(grey_levels(), name="scan")
    label = open_dock(viewer, "Label phases", LabelDock)
    label.phases.phases = PHASES
    press(label, "New labels layer")
    painting = viewer.layers[-1]
    paint(painting, PAINTED)
    predict(viewer, model, f"{PAINTED}:{PAINTED + 3}", qtbot)
    train = open_train(viewer, tiny_config.with_changes(n_epochs=1))
    press(train, "Train")
    finish(train, qtbot)

    (run,) = (run.path for run in list_runs(workspace_for(image).path))
    assert RunFolder(run).read_roles()["train"] == (PAINTED,)

    perturb_once(viewer, painting, qtbot)
    paint(painting, TEST)
    viewer.dims.set_current_step(0, TEST)
    press(label, "Test")
    study = open_dock(viewer, "Uncertainty study", StudyDock)
    assert study.setup.labels_choice.layer == painting
    study.setup.training.config = tiny_config
    study.setup.study.config = StudyConfig(n_members=2, n_repeats=0)
    press(study, "Run")
    record = workspace_for(image).path / "study-1" / "study.json"
    qtbot.waitUntil(record.is_file)
    press(study, "Stop")
    finish(study, qtbot)

    assert json.loads(record.read_text())["task"]["training slices"] == [PAINTED]


@pytest.mark.slow
def test_a_prediction_is_learnt_from_only_when_its_user_agrees_once(
    viewer: Viewer,
    model: Path,
    tiny_config: TrainConfig,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: QtBot,
) -> None:
    image = viewer.add_image(grey_levels(), name="scan")
    prediction = predict(viewer, model, f"{PAINTED}:{PAINTED + 2}", qtbot)
    train = open_train(viewer, tiny_config.with_changes(n_epochs=1))
    assert train.setup.labels_choice.layer is None
    press(train, "Train")
    assert "no labels are chosen for scan" in train.message
    questions: list[str] = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]

    def ask(_parent: QWidget, _title: str, text: str, *_: Any) -> Any:
        questions.append(text)
        return answers[len(questions) - 1]

    monkeypatch.setattr(QMessageBox, "question", ask)
    train.setup.labels_choice.layer = prediction

    press(train, "Train")
    refused = train.is_busy, list_runs(workspace_for(image).path)
    for _ in range(2):
        press(train, "Train")
        finish(train, qtbot)

    assert refused == (False, [])
    assert len(list_runs(workspace_for(image).path)) == 2
    assert len(questions) == 2
    assert questions[0] == (
        "scan prediction is a prediction; a network that learns from it repeats its "
        "errors. Train on it anyway?"
    )


def test_results_opened_from_their_files_and_copies_are_no_default(
    viewer: Viewer, model: Path, tmp_path: Path, qtbot: QtBot
) -> None:
    image = viewer.add_image(grey_levels(), name="scan")
    prediction = predict(viewer, model, str(PAINTED), qtbot)
    viewer.add_layer(Layer.create(*prediction.as_layer_data_tuple()))
    folder = tmp_path / "scan.lrcs"
    (folder / "perturbed-1").mkdir(parents=True)
    for name in ("segmentation-1.tif", "perturbed-1/member-000.tif"):
        tifffile.imwrite(folder / name, stripes())
        viewer.open(folder / name, plugin="napari", layer_type="labels")
    train = open_dock(viewer, "Train LRCS-Net", TrainDock)
    assert train.setup.labels_choice.layer is None

    own = viewer.add_labels(stripes(), name="truth", **place_of(image))

    assert train.setup.labels_choice.layer == own
    viewer.add_labels(stripes(), name="other truth", **place_of(image))
    assert train.setup.labels_choice.layer is None  # which one, only its user knows


def test_labels_follow_the_image_that_is_chosen(viewer: Viewer) -> None:
    first, on_first = paint_scan(viewer)
    second = viewer.add_image(grey_levels(), name="second")
    on_second = new_painting(second, phases=PHASES)
    viewer.add_layer(on_second)
    setup = open_dock(viewer, "Train LRCS-Net", TrainDock).setup
    proposed = setup.image_choice.layer, setup.labels_choice.layer

    setup.image_choice.setCurrentText("scan")
    followed = setup.image_choice.layer, setup.labels_choice.layer
    setup.labels_choice.layer = on_second  # of a like image, perhaps filtered

    assert proposed == (second, on_second)
    assert followed == (first, on_first)
    assert setup.image_choice.layer == first
    setup.image_choice.setCurrentText("second")
    setup.image_choice.setCurrentText("scan")
    assert setup.labels_choice.layer == on_first


# ---- which image ----


@pytest.mark.slow
def test_labels_opened_as_an_image_are_not_taken_for_the_grey_image(
    viewer: Viewer, tiny_config: TrainConfig, tmp_path: Path, qtbot: QtBot
) -> None:
    grey = (60 * grey_levels()).clip(0, 255).astype(np.uint8)
    for name, data in (("raw", grey), ("labels", stripes())):
        tifffile.imwrite(tmp_path / f"nmc-{name}.tif", data, photometric="minisblack")
    (raw,) = viewer.open(tmp_path / "nmc-raw.tif", plugin="napari")
    (labels,) = viewer.open(tmp_path / "nmc-labels.tif", plugin="napari")
    assert isinstance(labels, Image)
    predict_dock = open_dock(viewer, "Predict volume", PredictDock)
    assert predict_dock.setup.image_choice.layer == raw
    viewer.layers.move(1, 0)
    assert predict_dock.setup.image_choice.layer == raw  # in whatever order they are
    painting = new_painting(raw, phases=PHASES)
    viewer.add_layer(painting)
    paint(painting, PAINTED)
    train = open_train(viewer, tiny_config.with_changes(n_epochs=1))
    assert train.setup.image_choice.layer == raw

    press(train, "Train")
    finish(train, qtbot)

    assert (tmp_path / "nmc-raw.lrcs" / "run-1" / "best.safetensors").is_file()
    assert not (tmp_path / "nmc-labels.lrcs").exists()


# ---- what is compared ----


def test_a_result_is_judged_by_the_painting_and_never_a_preview(
    viewer: Viewer, model: Path, qtbot: QtBot
) -> None:
    image, painting = paint_scan(viewer)
    dock = open_dock(viewer, "Compare segmentations", CompareDock)
    prediction = predict(viewer, model, str(PAINTED), qtbot)
    preview = _preview_of(viewer, image, painting)

    later = open_dock(viewer, "Compare segmentations", CompareDock)
    pairs = [(d.form.predicted.layer, d.form.target.layer) for d in (dock, later)]

    assert pairs == [(prediction, painting)] * 2
    assert later.form.target.offers(preview)  # by hand
    viewer.layers.remove(painting)
    truth = viewer.add_labels(stripes(), name="truth", **place_of(image))
    assert (later.form.predicted.layer, later.form.target.layer) == (prediction, truth)


def _preview_of(viewer: Viewer, image: Image, painting: Labels) -> Labels:
    from napari_lrcs.io.writing import create_in_memory
    from napari_lrcs.plugin.train.preview import PreviewLayer, SlicePreview

    array = create_in_memory(SHAPE, across=0)
    PreviewLayer(viewer, image, phases=PHASES, below=painting).show(
        SlicePreview(index=PAINTED, axis="z", array=array)
    )
    layer = viewer.layers[PREVIEW_NAME]
    assert isinstance(layer, Labels)
    return layer


# ---- a phase that is not learnt ----


def test_a_training_that_never_predicts_a_phase_does_not_end_as_done(
    viewer: Viewer, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    paint_scan(viewer)
    ended = TrainingEnded(
        best=Path(),
        epochs=1,
        seconds=12,
        device="cpu",
        validation=np.array([[8, 0], [2, 0]]),
        test=None,
        not_learnt=(NOT_LEARNT,),
    )

    def events(_self: TrainingJob) -> Events:
        yield from (STARTED, TOLD, ended)

    monkeypatch.setattr(TrainingJob, "events", events)
    dock = open_dock(viewer, "Train LRCS-Net", TrainDock)

    press(dock, "Train")
    finish(dock, qtbot)

    assert dock.message == (
        "Done in 0:12: validation mean IoU 40.0%, but crack is never predicted where "
        "it is painted: see Curves."
    )
    assert COLOURS["warning"] in _message(dock).styleSheet()
    assert dock.notices.texts == (TOLD.text,)
    assert COLOURS["warning"] in dock.notices.text()
    assert dock.notices.isVisible()


def test_a_study_whose_networks_have_not_learnt_a_phase_does_not_end_as_done(
    viewer: Viewer,
) -> None:
    dock = open_dock(viewer, "Uncertainty study", StudyDock)
    measures = measure_dict(compose(stripes()[0], n_phases=2), PHASES)
    members = [
        Member(
            name=f"perturbed-00{i}",
            group="perturbed",
            number=i,
            seed=i,
            iou=(0.5, 0.0),
            measures=measures,
            not_learnt=(2,),
        )
        for i in range(2)
    ]
    ended = StudyEnded(summary=summarise(members, PHASES), out=Path(), seconds=60)

    dock.handle(ended)
    dock.handle(TOLD)
    dock.finish("done")

    assert dock.results.notices.texts == (TOLD.text,)
    assert dock.message.startswith(
        "Done in 1:00, but 2 of 2 networks have not learnt NMC. The networks differ"
    )
    assert COLOURS["warning"] in _message(dock).styleSheet()


def paint_crack(
    viewer: Viewer,
    grey: NDArray[np.float32],
    labels: NDArray[np.uint8],
    phases: PhaseTable,
) -> Image:
    image = viewer.add_image(grey, name="scan")
    painting = new_painting(image, phases=phases)
    viewer.add_layer(painting)
    known = painting_of(painting)
    assert known is not None
    painting.data[:] = labels
    known.mark_changed([0, 1])
    known.set_role(0, "train")
    known.set_role(1, "validation")
    return image


@pytest.mark.slow
def test_balancing_the_phases_by_the_button_teaches_a_rare_phase(
    viewer: Viewer,
    rare_crack: RareCrack,
    crack_config: TrainConfig,
    qtbot: QtBot,
) -> None:
    image = paint_crack(viewer, *rare_crack)
    dock = open_train(viewer, crack_config)

    press(dock, "Train")
    finish(dock, qtbot)
    first = dock.message, _message(dock).styleSheet(), dock.notices.texts
    dock.setup.form["n_epochs"].value = 1  # what was trained counts, not the form
    press(dock, BALANCE)
    while_busy = dock.buttons.balance.isVisible()
    finish(dock, qtbot)

    assert "but crack is never predicted where it is painted" in first[0]
    assert COLOURS["warning"] in first[1]
    assert any("crack is never predicted" in text for text in first[2])
    assert not while_busy
    again, before = list_runs(workspace_for(image).path)
    assert RunFolder(before.path).read_config() == crack_config
    assert RunFolder(again.path).read_config() == crack_config.with_changes(balance=0.5)
    ious = [
        RunFolder(run.path).read_history()[-1]["validation_iou_3"]
        for run in (before, again)
    ]
    assert ious[0] == 0
    assert ious[1] is not None
    assert ious[1] > 0
    assert dock.message.endswith("Next: Predict volume.")
    assert COLOURS["done"] in _message(dock).styleSheet()
    assert not any("crack is never" in text for text in dock.notices.texts)
    assert not dock.buttons.balance.isVisible()


def _message(dock: Dock) -> QLabel:
    (label,) = [
        made for made in dock.findChildren(QLabel) if made.text() == dock.message
    ]
    return label
