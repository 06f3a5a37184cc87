import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import tifffile
import zarr

from napari_lrcs.classical.specks import remove_specks
from napari_lrcs.commands import main as program
from napari_lrcs.commands.main import INTERRUPTED, main
from napari_lrcs.commands.parts.progress import RunDisplay
from napari_lrcs.commands.uncertainty import StudyDisplay
from napari_lrcs.config import (
    PRESETS,
    PerturbConfig,
    PredictConfig,
    StudyConfig,
    TrainConfig,
)
from napari_lrcs.inference.partial import PartialFolder
from napari_lrcs.inference.publishing import Publication
from napari_lrcs.io.opening import open_labels, open_volume
from napari_lrcs.io.tiff import write_labels_tiff
from napari_lrcs.io.writing import move_aside
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.phases import PhaseTable
from napari_lrcs.progress import EpochEnded, Publishing, SlabPredicted, TrainEvent
from napari_lrcs.settings import Config, Setting
from napari_lrcs.training.run_folder import RunFolder
from napari_lrcs.uncertainty.perturbation.perturb import changed_share, perturb_labels
from napari_lrcs.uncertainty.study.events import MemberEnded, StudyEvent
from napari_lrcs.uncertainty.study.folder import StudyFolder
from napari_lrcs.uncertainty.study.task import StudyTask
from scripts import Script

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (6, 24, 24)
TINY = (
    "--n-filters 2 --n-epochs 1 --patches-per-epoch 4 --patch-size 16 --batch-size 2 "
    "--context-slices 1 --device cpu --precision float32"
)
SLICES = "--train-z 1 --validation-z 4"
SCORES = {"accuracy", "mean_iou", "phases", "confusion", "never_predicted"}
PHASE_SCORES = {"label", "name", "iou", "dice", "precision", "recall"}

Run = Callable[[str], str]


def write_sample(folder: Path) -> None:
    """Write a volume of two grey levels, dark left and bright right, with labels."""
    labels = np.ones(SHAPE, np.uint8)
    labels[:, :, 12:] = 2
    noise = np.random.default_rng(0).normal(0, 20, SHAPE)
    tifffile.imwrite(folder / "labels.tif", labels)
    tifffile.imwrite(folder / "image.tif", (500.0 * labels + noise).astype(np.uint16))


def call(arguments: str) -> int:
    """Run the command line as a shell would, without what a shell needs."""
    try:
        return main(arguments.split())
    except SystemExit as end:
        return int(end.code or 0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with image.tif, labels.tif and a trained network in run."""
    folder = tmp_path_factory.mktemp("trained")
    write_sample(folder)
    image, labels = folder / "image.tif", folder / "labels.tif"
    command = f"train {image} {labels} {SLICES} {TINY} --n-filters 4 --n-epochs 2"
    budget = "--patches-per-epoch 200 --batch-size 4 --learning-rate 0.02"
    assert call(f"{command} {budget} --out {folder / 'run'}") == 0
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the trained folder."""
    folder = tmp_path / "place"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that must succeed, and give what it prints."""

    def succeed(arguments: str) -> str:
        assert Path.cwd() == place
        capsys.readouterr()
        code = call(arguments)
        printed = capsys.readouterr()
        assert code == 0, printed.err
        assert "error" not in printed.err
        return printed.out

    return succeed


def printed_object(printed: str) -> Any:
    """Read standard output that must be one JSON object on one line."""
    assert printed.count("\n") == 1
    assert "NaN" not in printed
    return json.loads(printed)


# ---- flags and configs ----


def other_value(config: type[Config], setting: Setting) -> tuple[list[str], object]:
    """Choose a value that is not the default, and the words that ask for it."""
    flag, default = "--" + setting.name.replace("_", "-"), setting.default
    if setting.type is bool:
        return [flag if not default else "--no-" + flag[2:]], not default
    if get_origin(setting.type) is Literal:
        value: object = next(v for v in get_args(setting.type) if v != default)
        return [flag, str(value)], value
    if get_origin(setting.type) is tuple:
        return [flag, "1.0", "2.0"], (1.0, 2.0)
    if setting.type is str:
        value = {"device": "cpu", "model": "unet"}[setting.name]
        return [flag, value], value
    start: Any = default
    others = (start + 1, start + 2) if setting.type is int else (start / 2, start + 0.5)
    for value in others:
        try:
            if config().with_changes(**{setting.name: value}) != config():
                return [flag, str(value)], value
        except ValueError:  # an even kernel, or out of bounds
            continue
    raise AssertionError(f"no other value for {setting.name}")


@pytest.fixture
def asked(place: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Gather the configs that training and prediction are asked for; do neither."""
    assert Path.cwd() == place
    configs: list[Any] = []

    def capture(*_: object, config: Any, **__: object) -> Iterator[TrainEvent]:
        configs.append(config)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.training.loop.train", capture)
    monkeypatch.setattr("napari_lrcs.inference.predict.predict_volume", capture)
    return configs


COMMANDS: dict[type[Config], str] = {
    TrainConfig: f"train image.tif labels.tif {SLICES} --out new",
    PredictConfig: "predict image.tif run --out new.tif",
}


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        pytest.param(config, setting, id=f"{config.__name__}.{setting.name}")
        for config in COMMANDS
        for setting in config.settings()
    ],
)
def test_cli_matches_api(
    config: type[Config],
    setting: Setting,
    asked: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = COMMANDS[config]
    words, value = other_value(config, setting)

    call(f"{command.split()[0]} --help")
    call(f"{command} {' '.join(words)}")

    flags = re.findall(r"^\s+(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert flags.count("--" + setting.name.replace("_", "-")) == 1
    assert asked == [config().with_changes(**{setting.name: value})]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_what_the_settings_start_from(
    preset: str, asked: list[Any]
) -> None:
    call(f"{COMMANDS[TrainConfig]} --preset {preset} --seed 7 --no-flip")

    assert asked == [PRESETS[preset].with_changes(seed=7, flip=False)]


def test_the_preset_is_quick_unless_given(asked: list[Any]) -> None:
    call(COMMANDS[TrainConfig])

    assert asked == [PRESETS["quick"]]


def test_initial_weights_bring_their_network_but_not_their_schedule(
    asked: list[Any],
) -> None:
    call(f"{COMMANDS[TrainConfig]} --initial-weights run")

    quick = PRESETS["quick"]
    assert asked == [quick.with_changes(n_filters=4, context_slices=1)]


@pytest.mark.parametrize("command", program.COMMANDS.values(), ids=program.COMMANDS)
def test_every_path_is_checked_as_an_input_or_an_output(
    command: program.Command,
) -> None:
    parser = ArgumentParser()
    command.add_arguments(parser)
    given: dict[str, Any] = {}
    for action in parser._actions:
        value = Path(action.dest) if action.type is Path else action.default
        is_text = not action.option_strings and action.type is None
        given[action.dest] = action.dest if is_text else value

    places = command.places(Namespace(**given))

    paths = {value for value in given.values() if isinstance(value, Path)}
    assert paths <= {*places.read, *places.written}


# ---- the commands and their JSON ----


def test_train_prints_its_last_event(place: Path, run: Run) -> None:
    command = "train image.tif labels.tif --train-z 1 --validation-z 3 --test-z 5"

    ended = printed_object(run(f"{command} --out new {TINY} --json"))

    assert set(ended) == {
        *("best", "epochs", "seconds", "device", "validation", "test"),
    }
    assert ended["best"] == str(Path("new") / "best.safetensors")
    assert (ended["epochs"], ended["device"]) == (1, "cpu")
    assert ended["seconds"] > 0
    for role in ("validation", "test"):
        assert set(ended[role]) == SCORES
        assert np.sum(ended[role]["confusion"]) == 24 * 24
        assert all(set(phase) == PHASE_SCORES for phase in ended[role]["phases"])
    assert {file.name for file in (place / "new").iterdir()} == {
        *("best.safetensors", "config.json", "epoch-0001.safetensors", "history.csv"),
        *("labels.tif", "last.safetensors", "resume.pt"),
    }


def test_without_test_slices_their_scores_are_null(run: Run) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY} --json"

    assert printed_object(run(command))["test"] is None


@pytest.mark.usefixtures("place")
def test_without_validation_slices_a_part_is_held_out_and_this_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = f"train image.tif labels.tif --train-z 1 --out new {TINY} --json"

    assert call(command) == 0

    printed = capsys.readouterr()
    held_out = np.sum(json.loads(printed.out)["validation"]["confusion"])
    assert 0 < held_out < 24 * 24 / 2
    assert "held out" in printed.err


def test_train_prints_a_table_with_the_names_of_the_phases(run: Run) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY}"

    printed = run(f"{command} --phases pore solid")

    assert "Validation of the best model" in printed
    assert re.search(r"pore .* %", printed)
    assert re.search(r"solid .* %", printed)
    assert "mean" in printed


def test_predict_and_evaluate_follow_from_train(run: Run) -> None:
    run("predict image.tif run --out seg.tif --device cpu")

    scores = printed_object(run("evaluate seg.tif labels.tif --json"))

    assert set(scores) == SCORES
    assert np.sum(scores["confusion"]) == np.prod(SHAPE)
    assert scores["accuracy"] > 0.9


def test_scores_that_are_undefined_are_null(run: Run) -> None:
    target = np.array([[[1, 2], [1, 2]]], np.uint8)
    write_labels_tiff(
        Path("target.tif"), [target], shape=(1, 2, 2), phases=PhaseTable.numbered(3)
    )
    tifffile.imwrite("predicted.tif", np.array([[[1, 2], [1, 1]]], np.uint8))

    scores = printed_object(run("evaluate predicted.tif target.tif --json"))

    assert [phase["iou"] for phase in scores["phases"]] == [2 / 3, 1 / 2, None]
    assert scores["mean_iou"] == pytest.approx(7 / 12, abs=1e-15)
    assert scores["accuracy"] == 3 / 4
    assert scores["confusion"] == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_evaluate_names_the_phases_that_are_never_predicted(run: Run) -> None:
    tifffile.imwrite("target.tif", np.array([[[1, 2], [3, 2]]], np.uint8))
    tifffile.imwrite("predicted.tif", np.array([[[1, 1], [3, 3]]], np.uint8))

    scores = printed_object(run("evaluate predicted.tif target.tif --json"))

    assert scores["never_predicted"] == ["phase 2"]


def test_evaluate_prints_a_table(run: Run) -> None:
    printed = run("evaluate labels.tif labels.tif")

    assert "100.0 %" in printed
    assert "phase 2" in printed


def test_measure_gives_volumes_surfaces_and_interfaces(run: Run) -> None:
    measures = printed_object(run("measure labels.tif --json"))

    assert set(measures) == {"phases", "interfaces", "neighbourhood"}
    assert measures["neighbourhood"] == 26
    assert measures["phases"] == [
        {
            "label": label,
            "name": f"phase {label}",
            "volume_fraction": 0.5,
            "surface_fraction": 1 / 24,
            "surface_to_volume": 1 / 12,
        }
        for label in (1, 2)
    ]
    assert measures["interfaces"] == [
        {"phases": [1, 2], "fraction": 1 / 12, "sides": [1 / 24, 1 / 24]}
    ]


def test_measure_takes_a_neighbourhood_and_a_mask(run: Run) -> None:
    measures = printed_object(
        run("measure labels.tif --neighbourhood 4 --mask cylinder --json")
    )

    assert measures["neighbourhood"] == 4
    assert measures["phases"][0]["volume_fraction"] == 0.5
    assert measures["interfaces"][0]["fraction"] > 1 / 12  # of fewer voxels


def test_measure_prints_tables(run: Run) -> None:
    printed = run("measure labels.tif")

    assert "phase 1 – phase 2" in printed
    assert "50.0 %" in printed


@pytest.fixture
def experimenters(place: Path) -> str:
    """Write a copy of the labels, and one whose border is two voxels farther right."""
    labels = tifffile.imread(place / "labels.tif")
    tifffile.imwrite(place / "copy.tif", labels)
    labels[:, :, 12:14] = 1
    tifffile.imwrite(place / "moved.tif", labels)
    return "labels.tif moved.tif copy.tif"


def test_compare_gives_pairs_and_scores(run: Run, experimenters: str) -> None:
    found = printed_object(
        run(f"compare {experimenters} --target moved.tif --near 0 --json")
    )

    assert found["experimenters"] == experimenters.split()
    assert found["disagreement"][1] == [pytest.approx(1 / 12), 0, pytest.approx(1 / 12)]
    first, same, _ = found["pairs"]
    assert [phase["iou"] for phase in first["phases"]] == [12 / 14, 10 / 12]
    assert first["near_interfaces"] == [{"distance": 0, "share": 1}]
    assert same["near_interfaces"] == [{"distance": 0, "share": None}]
    assert found["target"]["name"] == "moved.tif"
    accuracies = [scored["accuracy"] for scored in found["target"]["experimenters"]]
    assert accuracies == [11 / 12, 1, 11 / 12]


def test_compare_writes_what_they_agree_on(run: Run, experimenters: str) -> None:
    printed = run(
        f"compare {experimenters} --z 2:4 --majority vote.tif --agreement a.zarr "
        "--csv table.csv"
    )

    vote, agreement = open_labels("vote.tif"), open_labels("a.zarr").slab(0, 6)
    expected = tifffile.imread("labels.tif")
    expected[[0, 1, 4, 5]] = 0
    np.testing.assert_array_equal(vote.slab(0, 6), expected)
    assert agreement[2, 0, 11:15].tolist() == [255, 170, 170, 255]
    assert not agreement[[0, 1, 4, 5]].any()
    header, *rows = Path("table.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("first,second,voxels,disagreement,mean iou,iou phase 1")
    assert [row.split(",")[2] for row in rows] == [str(2 * 24 * 24)] * 3
    assert "8.3 %" in printed
    assert "1 – 2" in printed


def write_grains(place: Path) -> None:
    """Write two bars of phase 2 in phase 1, one of them at the border."""
    labels = np.ones((3, 6, 6), np.uint8)
    labels[1, 1, 1:3] = labels[:, 4:6, 4:6] = 2
    write_labels_tiff(
        place / "grains.tif",
        [labels],
        shape=labels.shape,
        voxel_size=(0.5, 0.5, 0.5),
        unit="um",
        phases=PhaseTable.named("pore", "grain"),
    )


def test_measure_separates_the_particles_of_a_phase(place: Path, run: Run) -> None:
    write_grains(place)

    measures = printed_object(
        run("measure grains.tif --particles grain --json --csv p.csv")
    )

    particles = measures["particles"]
    assert (particles["phase"], particles["name"]) == (2, "grain")
    assert (particles["count"], particles["at_border"]) == (2, 1)
    assert (particles["unit"], particles["n_axes"]) == ("micrometer", 3)
    sizes = {"mean": 0.875, "median": 0.875, "min": 0.25, "max": 1.5}
    assert particles["volume"] == sizes
    with (place / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["n_voxels"] for row in rows] == ["12", "2"]
    assert (rows[1]["z"], rows[1]["y"], rows[1]["x"]) == ("1.0", "1.0", "1.5")


def test_measure_writes_the_particles_as_labels(place: Path, run: Run) -> None:
    write_grains(place)

    printed = run("measure grains.tif --particles 2 --particles-out grains-2.tif")

    assert "2 particles of grain" in printed
    assert "micrometer³" in printed
    volume = open_volume(place / "grains-2.tif")
    assert volume.voxel_size == (0.5, 0.5, 0.5)
    assert volume.dtype == np.int32
    assert np.bincount(volume.slab(0, 3).ravel()).tolist() == [94, 12, 2]


def test_measure_takes_a_slice_in_2d(place: Path, run: Run) -> None:
    tifffile.imwrite(place / "slice.tif", np.repeat([[1, 2, 1]], 3, 0).astype(np.uint8))

    measures = printed_object(run("measure slice.tif --particles 2 --json"))

    particles = measures["particles"]
    assert particles["n_axes"] == 2
    assert particles["unit"] == "voxel"
    assert particles["volume"]["max"] == 3


def test_particles_that_cannot_be_are_refused_before_anything_is_written(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_grains(place)
    before = {path: path.read_bytes() for path in place.glob("*.tif")}
    refused = {
        "--particles 3": "there is no phase 3; the labels have 1 (pore), 2 (grain)",
        "--csv p.csv": "need particles; add --particles PHASE",
        "--particles 2 --csv image.tif": "image.tif exists already",
        "--particles 2 --overwrite --csv grains.tif": "is an input",
        "--particles 2 --particles-out p.zarr": "cannot be written to p.zarr",
        "--particles 2 --csv p.csv --tortuosity x": "there is no phase x",
    }

    for words, message in refused.items():
        assert call(f"measure grains.tif {words}") == 2
        assert message in capsys.readouterr().err

    assert {path: path.read_bytes() for path in place.glob("*.tif")} == before
    assert not (place / "p.csv").exists()


def test_measure_solves_for_tortuosity(run: Run) -> None:
    pytest.importorskip("taufactor", reason="needs the extra transport")

    measures = printed_object(run("measure labels.tif --tortuosity 1 --json"))
    table = run("measure labels.tif --tortuosity 1")

    paths = measures["tortuosity"]
    assert (paths["phase"], paths["name"]) == (1, "phase 1")
    assert [row["axis"] for row in paths["directions"]] == ["z", "y", "x"]
    assert paths["directions"][0]["tortuosity"] == pytest.approx(1, abs=1e-4)
    assert paths["directions"][2] == {
        "axis": "x",
        "percolates": False,
        "tortuosity": None,
        "effective_diffusivity": 0.0,
    }
    assert "does not percolate" in table


def test_perturb_writes_members_and_says_what_changed(run: Run) -> None:
    command = "perturb labels.tif --out new --n-members 3 --n-simulations 4 --seed 5"

    made = printed_object(run(f"{command} --z 1:5 --json"))

    assert {path.name for path in Path("new").iterdir()} == {
        *(Path(file).name for file in made["files"]),
        "interface-histogram.tif",
    }
    labels, member = (tifffile.imread(f) for f in ("labels.tif", made["files"][2]))
    labels[[0, 5]] = 0
    np.testing.assert_array_equal(member, perturb_labels(labels, seed=(5, 2)))
    assert made["changed_shares"][2] == (member != labels).sum() / (labels > 0).sum()
    assert made["dimensions"] == 3
    assert made["interfaces"]["n_simulations"] == 4
    assert [phase["name"] for phase in made["phases"]] == ["phase 1", "phase 2"]
    assert "painted slices: 4; the paper" in made["advice"][-1]


def test_perturb_has_a_flag_for_every_setting(run: Run) -> None:
    flags = "--kernel cross --picked-fraction 0.2 --n-iterations 2 --max-distance 4"

    made = printed_object(
        run(
            f"perturb labels.tif --out new --n-members 1 --n-simulations 0 {flags} "
            "--growing 1 --dimensions 2 --json"
        )
    )

    asked = PerturbConfig(
        kernel="cross",
        picked_fraction=0.2,
        n_iterations=2,
        max_distance=4.0,
        growing=(1,),
    )
    assert PerturbConfig.from_dict(made["config"]) == asked
    assert made["dimensions"] == 2
    assert made["interfaces"] is None


def test_perturb_finds_the_strength_for_a_share_and_prints_a_table(run: Run) -> None:
    command = "perturb labels.tif --out new --n-members 2 --n-simulations 2"

    printed = run(f"{command} --wanted-share 0.02")
    again = run(f"{command} --overwrite")

    assert "kernel c" in printed
    assert "! painted slices: 6; the paper" in printed
    assert "phase 2" in printed
    assert "kernel ball_5, 10.0 % of the interface voxels in each of 5" in again
    assert "2 members in new" in again


def test_info_is_one_object_of_versions_and_devices(run: Run) -> None:
    pairs = printed_object(run("info --json"))

    assert {"Python", "napari-lrcs", "torch", "GPU", "automatic device"} <= set(pairs)
    assert all(isinstance(value, str) and value for value in pairs.values())


def test_info_prints_a_table(run: Run) -> None:
    assert "torch" in run("info")


# ---- slices, masks, axes ----


@pytest.mark.parametrize(
    ("text", "slices"), [("1", [1]), ("1,4", [1, 4]), ("2:4", [2, 3])]
)
def test_predict_writes_the_full_shape_with_zeros_elsewhere(
    text: str, slices: list[int], run: Run
) -> None:
    run(f"predict image.tif run --out seg.tif --z {text} --device cpu")

    seg = tifffile.imread("seg.tif")
    assert seg.shape == SHAPE
    assert seg.dtype == np.uint8
    assert [z for z in range(SHAPE[0]) if seg[z].any()] == slices
    assert np.all(seg[slices] > 0)


def test_evaluate_counts_the_slices_that_are_named(run: Run) -> None:
    scores = printed_object(run("evaluate labels.tif labels.tif --z 1,3:5 --json"))

    assert np.sum(scores["confusion"]) == 3 * 24 * 24


def test_outside_the_cylinder_nothing_is_trained_or_predicted(run: Run) -> None:
    command = f"train image.tif labels.tif {SLICES} --mask cylinder --out new {TINY}"
    _, y, x = np.indices(SHAPE)
    circle = (y - 11.5) ** 2 + (x - 11.5) ** 2 <= 12**2

    run(command)
    run("predict image.tif new --out seg.tif --mask cylinder --device cpu")

    painted = tifffile.imread("new/labels.tif")
    np.testing.assert_array_equal(painted > 0, circle[:2])
    np.testing.assert_array_equal(tifffile.imread("seg.tif") > 0, circle)


def test_slices_may_lie_across_another_axis(place: Path, run: Run) -> None:
    command = "train image.tif labels.tif --train-z 3 --validation-z 20 --axis y"

    run(f"{command} --out new {TINY}")
    run("predict image.tif new --out seg.tif --z 5:7 --device cpu")

    assert load_checkpoint(place / "new").config.preprocessing.axis == "y"
    seg = tifffile.imread("seg.tif")
    assert np.all(seg[:, 5:7] > 0)
    assert not np.delete(seg, [5, 6], axis=1).any()


# ---- results ----


def test_predict_leaves_confidence_and_probabilities(run: Run) -> None:
    extras = "--confidence certain.tif --probabilities shares.zarr"

    run(f"predict image.tif run --out seg.zarr --device cpu {extras}")

    seg = open_labels("seg.zarr").slab(0, 6)
    certain = tifffile.imread("certain.tif")
    shares = np.asarray(zarr.open_array("shares.zarr/0", mode="r"))
    assert shares.shape == (2, *SHAPE)
    own = np.take_along_axis(shares, seg[np.newaxis].astype(int) - 1, axis=0)[0]
    np.testing.assert_array_equal(own, shares.max(axis=0))
    np.testing.assert_allclose(own.astype(float) * 255, certain, atol=0.6)


@pytest.mark.parametrize("out", ["seg.tif", "seg.zarr"])
def test_overwrite_replaces_a_result(out: str, run: Run) -> None:
    command = f"predict image.tif run --out {out} --device cpu"
    run(f"{command} --z 1")

    run(f"{command} --overwrite")

    assert np.all(open_labels(out).slab(0, 6) > 0)


def test_a_glob_of_images_goes_into_a_folder(place: Path, run: Run) -> None:
    Path("scans").mkdir()
    for i in (9, 10):
        shutil.copy("image.tif", f"scans/hour-{i}.tif")

    run("predict scans/*.tif run --out segs --device cpu --z 0")

    assert sorted(file.name for file in (place / "segs").iterdir()) == [
        *("hour-10.tif", "hour-9.tif")
    ]
    assert np.all(tifffile.imread("segs/hour-9.tif")[0] > 0)


@pytest.fixture
def failed_series(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    """Predict three images, of which the second finds the disk full."""
    Path("scans").mkdir()
    for i in range(3):
        shutil.copy("image.tif", f"scans/t{i}.tif")
    command = "predict scans/*.tif run --out segs --device cpu --z 0"
    run("info")
    write = tifffile.TiffWriter.write
    writes = iter(range(9))

    def fill(*arguments: Any, **options: Any) -> Any:
        if next(writes) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tifffile.TiffWriter, "write", fill)
        assert call(command) == 2
    assert "run the same command again to continue" in capsys.readouterr().err
    assert Path("segs/t0.tif").is_file()
    return command


@pytest.mark.parametrize("is_renamed", [False, True])
def test_a_series_killed_at_the_very_end_of_a_result_leaves_nothing(
    is_renamed: bool, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("scans").mkdir()
    for i in range(2):
        shutil.copy("image.tif", f"scans/t{i}.tif")
    command = "predict scans/*.tif run --out segs --device cpu --z 0"
    run("info")

    def killed(folder: PartialFolder) -> None:
        if not folder.path.exists():
            return  # before it begins
        if is_renamed:
            move_aside(folder.path)
        raise OSError(errno.EIO, "as if it were killed")

    with monkeypatch.context() as patch:
        patch.setattr(PartialFolder, "discard", killed)
        assert call(command) == 2
    assert Path("segs/t0.tif").is_file()
    Path("segs/.t0.tif.lrcs-lock").touch()  # what was killed leaves one

    assert call(command) == 0

    assert {p.name for p in Path("segs").iterdir()} == {"t0.tif", "t1.tif"}


@pytest.mark.parametrize("flag", ["", " --overwrite"])
def test_a_series_goes_on_with_what_is_not_finished(
    flag: str, failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finished = Path("segs/t0.tif").stat().st_mtime_ns

    code = call(failed_series + flag)

    error = capsys.readouterr().err
    assert code == 0, error
    assert f"{Path('segs/t0.tif')} is finished already" in error
    assert "1 were finished before" in error
    assert Path("segs/t0.tif").stat().st_mtime_ns == finished
    assert {p.name for p in Path("segs").iterdir()} == {"t0.tif", "t1.tif", "t2.tif"}


@pytest.mark.parametrize("change", [" --min-size 3", " --mask cylinder", " --z 1"])
def test_another_series_is_refused(
    change: str, failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(failed_series + change) == 2

    assert "t0.tif exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["[]", '{"identity": "a", "former": 5}', "[" * 100_000],
    ids=["list", "number", "deep"],
)
def test_a_series_with_a_damaged_note_is_refused(
    text: str, failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("segs/.series.json").write_text(text, encoding="utf-8")

    assert call(failed_series) == 2

    assert ".series.json is damaged: " in capsys.readouterr().err


def test_a_series_with_an_image_that_changed_is_refused(
    failed_series: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime("scans/t0.tif", ns=(0, 0))

    assert call(failed_series) == 2

    assert "t0.tif exists already" in capsys.readouterr().err


def test_an_interrupted_overwriting_replaces_all(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("scans").mkdir()
    for i in range(2):
        shutil.copy("image.tif", f"scans/t{i}.tif")
    command = "predict scans/*.tif run --out segs --device cpu"
    run(f"{command} --z 0")
    with monkeypatch.context() as patch:

        def interrupt(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("napari_lrcs.commands.parts.progress.follow", interrupt)
        assert call(f"{command} --z 1 --overwrite") == 130

    run(f"{command} --z 1 --overwrite")

    for i in range(2):
        assert np.all(tifffile.imread(f"segs/t{i}.tif")[1] > 0)
    assert "finished already" not in capsys.readouterr().err


def test_publishing_has_a_bar_of_its_own() -> None:
    display = RunDisplay(PhaseTable.numbered(2))
    slab = SlabPredicted(start=0, stop=6, n_done=6, n_slices=6)

    for event in (slab, Publishing(share=0.25), Publishing(share=0.5)):
        display.show(event)

    (task,) = display._progress.tasks
    assert (task.description, task.total, task.completed) == ("writing", 1, 0.5)


def test_a_name_with_brackets_is_a_name_where_it_exists(run: Run) -> None:
    shutil.copy("image.tif", "image[1].tif")

    run("predict image[1].tif run --out seg.tif --device cpu --z 0")

    assert Path("seg.tif").is_file()


def test_min_size_gives_specks_to_what_is_around_them(run: Run) -> None:
    image = tifffile.imread("image.tif")
    image[2:4, 8:14, 16:21] = image[2:4, 8:14, :5]  # dark within bright
    tifffile.imwrite("speck.tif", image)
    command = "predict speck.tif run --device cpu"

    run(f"{command} --out raw.tif")
    run(f"{command} --out clean.tif --min-size 300")

    raw, clean = tifffile.imread("raw.tif"), tifffile.imread("clean.tif")
    np.testing.assert_array_equal(clean, remove_specks(raw, min_size=300))
    assert np.any(clean != raw)


def test_a_project_trains_on_two_volumes(run: Run) -> None:
    shutil.copytree("run", "data")
    for name in ("image.tif", "labels.tif"):
        shutil.copy(name, f"data/{name}")
    entries = [
        'image = "image.tif"\nlabels = "labels.tif"\ntrain = "1"\n',
        'image = "data/image.tif"\nlabels = "data/labels.tif"\ntrain = "0,2"\n'
        'validation = "5"\nmask = "cylinder"\n',
    ]
    text = "".join(f"[[volume]]\n{entry}" for entry in entries)
    Path("project.toml").write_text(text, encoding="utf-8")

    run(f"train project.toml --out new {TINY}")

    with tifffile.TiffFile("new/labels.tif") as tif:
        places = [page.aspage().tags["ImageDescription"].value for page in tif.pages]
    roles = [json.loads(place)["role"] for place in places]
    assert roles == ["train", "train", "train", "validation"]


# ---- overwriting, resuming, interrupting ----


def test_overwrite_replaces_a_run(place: Path, run: Run) -> None:
    (place / "run" / "notes.txt").write_text("mine")
    command = f"train image.tif labels.tif {SLICES} --out run {TINY}"

    run(f"{command} --overwrite")

    assert RunFolder(place / "run").read_config().optimisation.n_epochs == 1
    assert len(load_checkpoint(place / "run").history) == 1
    assert not (place / "run" / "epoch-0002.safetensors").exists()
    assert (place / "run" / "notes.txt").read_text() == "mine"


def test_an_empty_folder_is_a_place_for_a_run(place: Path, run: Run) -> None:
    (place / "new").mkdir()

    run(f"train image.tif labels.tif {SLICES} --out new {TINY}")

    assert (place / "new" / "best.safetensors").is_file()


def test_an_interrupted_run_is_resumed(
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY} --n-epochs 3"

    def interrupt(_: RunDisplay, event: TrainEvent) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDisplay, "show", interrupt)
        assert call(command) == INTERRUPTED
    assert "kept" in capsys.readouterr().err
    assert (place / "new" / "best.safetensors").is_file()

    assert call(f"{command} --resume") == 0

    assert "resumed after step" in capsys.readouterr().err
    history = (place / "new" / "history.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in history] == ["epoch", "1", "2", "3"]


def test_resume_takes_the_settings_from_the_run(run: Run) -> None:
    printed = run(f"train image.tif labels.tif {SLICES} --out run --resume --json")

    assert printed_object(printed)["epochs"] == 2


# ---- a study of uncertainty ----

STUDY = (
    "uncertainty image.tif labels.tif --train-z 1:4 --test-z 5 --out study "
    "--n-members 2 --n-repeats 1 --kernel cross --phases dark bright"
)


def results_of(study: Path) -> list[tuple[Any, ...]]:
    """Read what the members found."""
    members = StudyFolder(study).read_findings().members
    return [(m.name, m.accuracy, m.iou, m.measures) for m in members]


def test_uncertainty_prints_the_summary_of_both_groups(run: Run) -> None:
    printed = printed_object(run(f"{STUDY} {TINY} --json"))

    assert set(printed) == {"phases", "groups", "seconds"}
    groups = printed["groups"]
    assert {name: group["n"] for name, group in groups.items()} == {
        "perturbed": 2,
        "same_labels": 1,
    }
    values = {(q["kind"], q["name"]): q for q in groups["perturbed"]["quantities"]}
    dark = values["iou", "dark"]
    assert dark["mean"] == pytest.approx(np.mean(dark["values"]))
    assert dark["sd"] == pytest.approx(np.std(dark["values"], ddof=1))
    assert [q["sd"] for q in groups["same_labels"]["quantities"]] == [None] * 8


@pytest.mark.usefixtures("place")
def test_flags_reach_all_settings_of_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[StudyTask] = []

    def capture(task: StudyTask, **_: object) -> Iterator[TrainEvent]:
        tasks.append(task)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.uncertainty.study.ensemble.run_study", capture)

    call(
        f"{STUDY} --preset paper --seed 7 --n-iterations 3 --growing 2 1 --device cpu "
        "--mask cylinder"
    )

    (task,) = tasks
    assert task.config == PRESETS["paper"].with_changes(seed=7, device="cpu")
    assert task.perturb == PerturbConfig(kernel="cross", n_iterations=3, growing=(2, 1))
    assert task.study == StudyConfig(n_members=2, n_repeats=1)
    assert task.predict.device == "cpu"
    assert task.phases == PhaseTable.named("dark", "bright")
    assert (task.train, task.test) == ((1, 2, 3), (5,))
    assert task.mask is not None


@pytest.mark.usefixtures("place")
def test_study_takes_the_perturbation_that_changes_a_wanted_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks: list[StudyTask] = []

    def capture(task: StudyTask, **_: object) -> Iterator[TrainEvent]:
        tasks.append(task)
        raise ValueError("captured")

    monkeypatch.setattr("napari_lrcs.uncertainty.study.ensemble.run_study", capture)
    wanted = STUDY.replace("--kernel cross", "--wanted-share 0.05 --n-iterations 1")

    call(f"{wanted} --device cpu")

    (task,) = tasks
    assert task.perturb == task.suggest(wanted_share=0.05).config
    assert task.perturb.n_iterations == 1
    changed = changed_share(task.read_labels(task.painted), task.perturbed(0))
    assert 0.02 < changed < 0.1


def test_a_study_that_was_interrupted_goes_on_with_its_settings(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: StudyDisplay, event: StudyEvent) -> None:
        if isinstance(event, MemberEnded):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudyDisplay, "show", interrupt)
        assert call(f"{STUDY} {TINY} --seed 7") == INTERRUPTED
    assert json.loads((place / "study/study.json").read_text())["state"] == "stopped"

    table = run(
        "uncertainty image.tif labels.tif --train-z 1:4 --test-z 5 --out study --resume"
    )

    assert "IoU, bright" in table
    assert "perturbed labels (2)" in table
    members = StudyFolder(place / "study").read_findings().members
    assert [member.seed for member in members] == [7, 8, 7]


PROGRAM = """
import signal
import sys

import torch

from napari_lrcs.commands.main import main

# A shell that started us in the background made all of its children ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)
sys.exit(main())
"""


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_to_the_same_result(
    place: Path, run: Run
) -> None:
    run(f"{STUDY} {TINY}")
    expected = results_of(place / "study")
    killed = f"{STUDY} {TINY} --overwrite".replace("out study", "out killed")
    first = place / "killed" / "members" / "perturbed-000" / "member.json"

    with Script(PROGRAM, *killed.split()) as process:
        while not first.exists() and process.is_running:
            time.sleep(0.005)
        process.kill()
    record = json.loads((place / "killed" / "study.json").read_text())
    run(killed.replace("--overwrite", "--resume"))

    assert record["state"] == "running"
    assert len(record["members"]) < 3
    assert results_of(place / "killed") == expected


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send")
def test_ctrl_c_keeps_the_best_model(place: Path) -> None:
    command = f"train image.tif labels.tif {SLICES} --out new {TINY} --n-epochs 9999"

    with Script(PROGRAM, *command.split()) as process:
        for line in process.stderr:
            if line.startswith("epoch   2/"):
                break
        process.interrupt()
        code = process.wait(60)
        process.kill()
        printed, told = process.stdout.read(), process.stderr.read()

    assert code == 130
    assert printed == ""
    assert told.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in told
    load_checkpoint(place / "new").build()


@pytest.mark.parametrize("out", ["new.tif", "new.zarr"])
@pytest.mark.parametrize(
    "command",
    ["predict image.tif run", "baseline image.tif --method otsu --n-phases 3"],
)
def test_ctrl_c_at_the_very_end_comes_too_late(
    command: str, out: str, run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = Publication._end

    def interrupt(self: Publication) -> None:
        signal.raise_signal(signal.SIGINT)
        end(self)

    monkeypatch.setattr(Publication, "_end", interrupt)
    before = {path.name for path in place.iterdir()}

    run(f"{command} --out {out}")

    assert {path.name for path in place.iterdir()} - before == {out}


# ---- help ----


@pytest.mark.parametrize(
    "command", ["", "train", "predict", "measure", "compare", "uncertainty"]
)
def test_help_loads_neither_torch_nor_napari(command: str) -> None:
    run = subprocess.run(
        [
            *(sys.executable, "-X", "importtime", "-m", "napari_lrcs"),
            *command.split(),
            "--help",
        ],
        capture_output=True,
        check=True,
        text=True,
    )

    loaded = set(re.findall(r"\|\s+([a-z_0-9]+)$", run.stderr, re.MULTILINE))
    assert "argparse" in loaded
    heavy = {"torch", "napari", "qtpy", "matplotlib", "zarr", "numpy", "rich"}
    assert not loaded & heavy
    assert "usage: napari-lrcs" in run.stdout


def test_commands_that_only_read_labels_load_no_torch(tmp_path: Path) -> None:
    write_sample(tmp_path)
    shutil.copy(tmp_path / "labels.tif", tmp_path / "other.tif")
    commands = [
        "measure labels.tif",
        "evaluate labels.tif other.tif --json",
        "compare labels.tif other.tif",
        "perturb labels.tif --out set --n-members 1 --n-simulations 0",
        "baseline image.tif --method otsu --n-phases 2 --out seg.tif",
    ]
    script = (
        "import sys; from napari_lrcs.commands.main import main; "
        f"codes = [main(command.split()) for command in {commands}]; "
        "sys.exit(str(codes) if any(codes) or 'torch' in sys.modules else 0)"
    )

    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )

    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "command", ["measure labels.tif", "evaluate labels.tif other.tif"]
)
def test_measuring_a_tiff_starts_at_once(command: str, tmp_path: Path) -> None:
    write_sample(tmp_path)
    shutil.copy(tmp_path / "labels.tif", tmp_path / "other.tif")
    slow = {"torch", "zarr", "h5py", "scipy", "skimage", "sklearn", "matplotlib"}
    script = (
        "import sys; from napari_lrcs.commands.main import main; "
        f"main({command.split()}); print(*{slow} & sys.modules.keys(), file=sys.stderr)"
    )

    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        text=True,
    )

    assert run.stderr.split() == []


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0

    assert re.fullmatch(r"[0-9]+\.[0-9.a-z]+\n", capsys.readouterr().out)
