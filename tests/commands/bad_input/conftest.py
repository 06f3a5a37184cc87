"""Mistakes: one line on standard error, exit code 2, and nothing touched."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from command_line import call
from mistakes import Mistake, contents, train
from napari_lrcs.annotation.check_folder import CheckFolder
from napari_lrcs.commands.parts.terminal import BAD_INPUT
from napari_lrcs.models import header
from napari_lrcs.models.checkpoint import load_checkpoint, save_checkpoint

SHAPE = (6, 24, 24)

LABELS = np.repeat(np.array([[[1] * 12 + [2] * 12]], np.uint8), 6, 0).repeat(24, 1)

GREY = (500 * LABELS.astype(np.uint16)) + np.random.default_rng(0).integers(
    0, 50, SHAPE, np.uint16
)


def write_images() -> None:
    tifffile.imwrite("image.tif", GREY)
    Path("empty.tif").touch()
    Path("text.tif").write_text("not a picture")
    Path("image.xyz").write_bytes(b"1234")
    tifffile.imwrite("whole.tif", GREY, compression="zlib")
    whole = Path("whole.tif").read_bytes()
    Path("truncated.tif").write_bytes(whole[: len(whole) // 2])
    with tifffile.TiffFile("whole.tif") as tif:
        first = tif.pages.first
        middle = first.dataoffsets[0] + first.databytecounts[0] // 2
    Path("corrupt.tif").write_bytes(whole[:middle] + b"?" * 99 + whole[middle + 99 :])
    tifffile.imwrite("colour.tif", np.zeros((32, 32, 3), np.uint8), photometric="rgb")
    for name, array in arrays().items():
        np.save(f"{name}.npy", array)
    with h5py.File("several.h5", "w") as file:
        file["raw"], file["flat"] = GREY, GREY
    zarr.create_group("group.zarr").create_array("a", data=GREY)
    for folder in ("first", "second"):
        Path(folder).mkdir()
        tifffile.imwrite(f"{folder}/scan.tif", GREY)


def arrays() -> dict[str, NDArray[Any]]:
    nan, inf = GREY.astype(np.float32), GREY.astype(np.float32)
    nan[1, 2, 3], inf[1, 2, 3] = np.nan, -np.inf
    far = GREY.astype(np.float32)
    far[5, 0, 0] = np.nan
    return {
        "nan": nan,
        "inf": inf,
        "far": far,
        "constant": np.full(SHAPE, 7, np.uint8),
        "complex": GREY.astype(np.complex64),
        "four": np.stack([GREY, GREY]),
        "hollow": np.empty((0, 24, 24), np.uint8),
    }


def write_labels() -> None:
    tifffile.imwrite("labels.tif", LABELS)
    tifffile.imwrite("short.tif", LABELS[:5])
    tifffile.imwrite("float.tif", LABELS.astype(np.float32))
    tifffile.imwrite("one.tif", np.ones_like(LABELS))
    tifffile.imwrite("zero.tif", np.zeros_like(LABELS))
    apart = LABELS.copy()
    apart[:, :, 11:13] = 0
    tifffile.imwrite("apart.tif", apart)
    tifffile.imwrite("later.tif", LABELS + 1)
    some = LABELS.copy()
    some[3] = 0
    tifffile.imwrite("some.tif", some)
    for name, value in (("negative", -1), ("high", 300), ("three", 3)):
        labels = LABELS.astype(np.int16)
        labels[1, 0, 0] = value
        tifffile.imwrite(f"{name}.tif", labels)


def write_models() -> None:
    assert call(train(out="run")) == 0
    model = Path("run/best.safetensors")
    Path("model.safetensors").write_bytes(model.read_bytes())
    Path("cut.safetensors").write_bytes(model.read_bytes()[:-100])
    Path("pickle.safetensors").write_bytes(pickle.dumps({"weights": [1.0]}))
    torch.save({"weights": torch.zeros(2)}, "zip.safetensors")
    save_file({"weights": torch.zeros(2)}, "foreign.safetensors")
    ours = load_checkpoint(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(header, "FORMAT_VERSION", 99)
        save_checkpoint(Path("future.safetensors"), ours)
    smaller = replace(ours, config=ours.config.with_changes(n_filters=1))
    save_checkpoint(Path("mixed.safetensors"), smaller)
    nameless = {"napari_lrcs": json.dumps({"format_version": 1})}
    save_file(load_file(model), "bare.safetensors", metadata=nameless)


def write_places() -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    Path("mine.zarr").mkdir()
    Path("mine.zarr/thesis.txt").write_text("years of work")
    Path("mine.tif").mkdir()
    Path("folder.onnx").mkdir()
    Path("taken.onnx").write_bytes(b"a network")
    tifffile.imwrite("done.tif", LABELS)
    zarr.create_array("done.zarr", data=LABELS)
    shutil.copytree("run", "damaged")
    Path("damaged/resume.pt").write_bytes(Path("run/resume.pt").read_bytes()[:99])
    shutil.copytree("run", "garbled")
    Path("garbled/config.json").write_text("{")
    Path("taken.tif.partial").mkdir()
    Path("taken.tif.partial/thesis.txt").write_text("years of work")
    Path("link.tif").symlink_to("several.h5")
    os.mkfifo("pipe")
    shutil.copytree("run", "inputs")
    Path("config-of-another-kind").mkdir()
    Path("config-of-another-kind/config.json").write_text('{"colour": "red"}')


def write_checks() -> None:
    """Write check patches: a painted one, and others that cannot judge."""
    for name in ("check", "empty", "moved", "torn", "open", "future"):
        draw = f"check draw labels.tif --out {name}-check --n-patches 5 --size 8"
        assert call(draw) == 0
        if name != "empty":
            CheckFolder(Path(f"{name}-check")).painting.labels.array[:] = LABELS
    moved, torn, future = (
        Path(f"{name}-check/check.json") for name in ("moved", "torn", "future")
    )
    content = json.loads(moved.read_text())
    content["patches"][0]["z"] = 5
    moved.write_text(json.dumps(content))
    torn.write_text(torn.read_text()[:99])
    future.write_text(json.dumps(content | {"format_version": 9}))
    incomplete = CheckFolder(Path("open-check"))
    first = incomplete.read().patches[0]
    incomplete.painting.labels.array[first.z, first.y, first.x] = 0
    incomplete.mark_done(0)


def write_projects() -> None:
    entry = '[[volume]]\nimage = "image.tif"\n'
    for name, text in {
        "broken": "[[volume]\n",
        "unknown": f'{entry}labels = "labels.tif"\ntrian = "1"\n',
        "missing": entry,
        "single": entry.replace("[[volume]]", "[volume]"),
        "lost": f'{entry}labels = "nowhere.tif"\ntrain = "1"\n',
        "untrained": f'{entry}labels = "labels.tif"\nvalidation = "1"\n',
        "binary": "\x80",
        "all": f'{entry}labels = "inputs/labels.tif"\ntrain = "1"\n',
    }.items():
        Path(f"{name}.toml").write_text(text, encoding="latin-1")


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder of good and bad files, with a trained network in run."""
    folder = tmp_path_factory.mktemp("bad")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_images()
        write_labels()
        write_models()
        write_places()
        write_projects()
        write_checks()
    return folder


@pytest.fixture
def place(bad_files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in the folder of good and bad files, which nothing may change."""
    monkeypatch.chdir(bad_files)
    return bad_files


@pytest.fixture(scope="session")
def before(bad_files: Path) -> dict[str, bytes | None]:
    """Take what the place holds before the first mistake."""
    return contents(bad_files)


@pytest.fixture
def copy(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the place, where something may be left."""
    folder = tmp_path / "copy"
    shutil.copytree(place, folder, ignore=shutil.ignore_patterns("pipe"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def assert_refused(
    place: Path, before: dict[str, bytes | None], capsys: pytest.CaptureFixture[str]
) -> Callable[[Mistake], None]:
    """Run a command with a mistake: one line of error, and nothing is touched."""

    def run(mistake: Mistake) -> None:
        capsys.readouterr()

        code = call(mistake.command)

        printed = capsys.readouterr()
        *progress, error = printed.err.splitlines()
        assert error.startswith("error: ")
        assert mistake.says in error
        assert not [line for line in progress if not line.startswith("predicting ")]
        assert (code, printed.out) == (BAD_INPUT, "")
        assert contents(place) == before

    return run
