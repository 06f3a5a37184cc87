"""The docks hold no computation: they, the API and the command line do the same."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import tifffile
from napari import Viewer
from numpy.typing import NDArray
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication

from napari_lrcs.__main__ import main
from napari_lrcs.annotation.annotation import Role, read_annotation
from napari_lrcs.annotation.project import open_annotated
from napari_lrcs.config import PRESETS, PredictConfig, TrainConfig
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.compare.dock import CompareDock
from napari_lrcs.plugin.parts.dock import Dock
from napari_lrcs.plugin.parts.layers.layers import (
    appearance,
    phases_shown,
    workspace_for,
)
from napari_lrcs.plugin.predict.dock import PredictDock
from napari_lrcs.plugin.train.dock import TrainDock
from napari_lrcs.training.run.folder import list_runs

AnyDock = TypeVar("AnyDock", bound=Dock)

pytestmark = [
    pytest.mark.gui,
    pytest.mark.slow,
    pytest.mark.usefixtures("one_thread", "scan"),
]

PHASES = PhaseTable.named("pore", "CBD", "NMC")
ROLES: dict[Role, str] = {"train": "1,3", "validation": "5"}
PREDICT = PredictConfig(device="cpu", min_size=4)
SHAPE = (7, 40, 48)


@pytest.fixture
def config(tiny_config: TrainConfig) -> TrainConfig:
    """Leave something to chance, so that the seed has to be the same as well."""
    return tiny_config.with_changes(
        context_slices=1,
        n_filters=4,
        n_epochs=6,
        patches_per_epoch=24,
        weight_averaging=0.0,  # too few steps for an average
        flip=True,
        seed=3,
    )


@pytest.fixture
def scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a noisy volume of squares, its phases and a painting of three slices."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    squares = rng.integers(1, 4, (SHAPE[0], 5, 6)).astype(np.uint8)
    truth = np.kron(squares, np.ones((1, 8, 8), np.uint8))
    painted = np.zeros_like(truth)
    painted[[1, 3, 5], :, 4:40] = truth[[1, 3, 5], :, 4:40]
    grey = (truth + 0.4 * rng.standard_normal(SHAPE)).astype(np.float32)
    for name, array in {"scan": grey, "truth": truth, "painted": painted}.items():
        tifffile.imwrite(f"{name}.tif", array, photometric="minisblack")


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Viewer], qtbot: QtBot) -> Iterator[Viewer]:
    viewer = make_napari_viewer(show=True)
    viewer.open("scan.tif", plugin="napari")
    yield viewer
    viewer.close()
    qtbot.wait(50)  # the docks let go of the window


def test_dock_api_and_command_line_find_the_same_weights_and_labels(
    viewer: Viewer,
    config: TrainConfig,
    capsys: pytest.CaptureFixture[str],
    qtbot: QtBot,
) -> None:
    by_dock, dock_labels = with_docks(viewer, config, qtbot)
    by_api, api_labels = with_api(config)
    by_command, command_labels = with_commands(config)
    capsys.readouterr()

    assert set(np.unique(dock_labels)) == {1, 2, 3}
    for other in (by_api, by_command):
        assert other.keys() == by_dock.keys()
        for name, weights in by_dock.items():
            np.testing.assert_array_equal(other[name], weights, err_msg=name)
    np.testing.assert_array_equal(api_labels, dock_labels)
    np.testing.assert_array_equal(command_labels, dock_labels)


def with_docks(
    viewer: Viewer, config: TrainConfig, qtbot: QtBot
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    viewer.add_labels(
        tifffile.imread("painted.tif"), name="painted", **appearance(PHASES)
    )
    train = open_dock(viewer, TrainDock)
    train.setup.form.config = config
    for role, text in ROLES.items():
        train.setup.roles.fields[role].setText(text)
    train.buttons.train.click()
    end(train, qtbot)
    (run,) = (run.path for run in list_runs(workspace_for(viewer.layers["scan"]).path))
    predict = open_dock(viewer, PredictDock)
    predict.setup.model_choice.choose(run)
    predict.setup.form.config = PREDICT
    predict.predict()
    end(predict, qtbot)
    layer = viewer.layers["scan prediction"]
    assert phases_shown(layer) == PHASES
    return weights_of(run), np.asarray(layer.data)


def with_api(config: TrainConfig) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    from napari_lrcs.inference.predict import predict_volume
    from napari_lrcs.models.checkpoint import load_checkpoint
    from napari_lrcs.training.loop import train

    painted = open_annotated(Path("scan.tif"), Path("painted.tif"), slices=ROLES)
    annotation = read_annotation([painted], config=config, phases=PHASES)
    list(train(annotation, config=config, run=Path("api")))
    result = MemoryResult(labels=np.zeros(SHAPE, np.uint8))
    list(
        predict_volume(
            open_volume(Path("scan.tif")),
            load_checkpoint(Path("api")),
            result=result,
            config=PREDICT,
        )
    )
    return weights_of(Path("api")), result.labels


def with_commands(config: TrainConfig) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    roles = [word for role in ROLES for word in (f"--{role}-z", ROLES[role])]
    phases = ["--phases", *PHASES.names]
    train = ["train", "scan.tif", "painted.tif", "--out", "command", *roles, *phases]
    predict = ["predict", "scan.tif", "command", "--out", "command.tif"]

    assert main([*train, *flags(config, PRESETS["quick"])]) == 0
    assert main([*predict, *flags(PREDICT, PredictConfig())]) == 0

    labels = open_labels(Path("command.tif")).slab(0, SHAPE[0])
    return weights_of(Path("command")), labels


def flags(config: Any, default: Any) -> list[str]:
    """Ask for a config on the command line."""
    words = []
    defaults = default.to_dict()
    for name, value in config.to_dict().items():
        if value != defaults[name]:
            flag = name.replace("_", "-")
            words += [f"--no-{flag}"] if value is False else [f"--{flag}", str(value)]
    return words


def test_compare_dock_shows_the_numbers_of_evaluate_and_measure(
    viewer: Viewer,
    capsys: pytest.CaptureFixture[str],
    qtbot: QtBot,
) -> None:
    truth = tifffile.imread("truth.tif")
    predicted = np.roll(truth, (1, 2, 3), axis=(0, 1, 2))
    predicted[2, :5] = 2
    tifffile.imwrite("predicted.tif", predicted, photometric="minisblack")
    viewer.add_labels(truth, name="truth", **appearance(PHASES))
    viewer.add_labels(predicted, name="predicted", **appearance(PHASES))
    dock = open_dock(viewer, CompareDock)

    dock.compare_button.click()
    end(dock, qtbot)
    dock.copy()

    scores = printed(capsys, "evaluate", "predicted.tif", "truth.tif")
    assert dock.comparison is not None
    assert dock.comparison.accuracy == scores["accuracy"] < 1
    assert dock.comparison.mean_iou == scores["mean_iou"]
    rows = copied()
    for row, score in zip(rows, scores["phases"], strict=False):
        for name in ("iou", "dice", "precision", "recall"):
            assert float(row[name]) == score[name]
    for side, file in (("predicted", "predicted.tif"), ("target", "truth.tif")):
        measures = printed(capsys, "measure", file)
        found = [*measures["phases"], *measures["interfaces"]]
        assert len(rows) == len(found) == 6
        for row, measure in zip(rows, found, strict=True):
            for name in ("volume_fraction", "surface_fraction"):
                if name in measure:
                    assert float(row[f"{side}_{name}"]) == measure[name]
            if "fraction" in measure:
                shown = float(row[f"{side}_interface_fraction"])
                assert shown == measure["fraction"]


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    """Run a command; return the object that it prints."""
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def copied() -> list[Mapping[str, str]]:
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    return list(csv.DictReader(StringIO(clipboard.text()), delimiter="\t"))


def open_dock(viewer: Viewer, kind: type[AnyDock]) -> AnyDock:
    dock = kind(viewer)
    viewer.window.add_dock_widget(dock)
    return dock


def end(dock: Dock, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.is_busy)


def weights_of(run: Path) -> dict[str, Any]:
    from napari_lrcs.models.checkpoint import load_checkpoint

    state = load_checkpoint(run).state
    return {name: tensor.numpy() for name, tensor in state.items()}
