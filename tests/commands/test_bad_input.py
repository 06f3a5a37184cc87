"""Mistakes: one line on standard error, exit code 2, and nothing touched."""

import errno
import json
import os
import pickle
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from napari_lrcs.commands.main import main
from napari_lrcs.commands.parts.terminal import BAD_INPUT
from napari_lrcs.io.volume import Volume
from napari_lrcs.models import header
from napari_lrcs.models.checkpoint import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (6, 24, 24)
LABELS = np.repeat(np.array([[[1] * 12 + [2] * 12]], np.uint8), 6, 0).repeat(24, 1)
GREY = (500 * LABELS.astype(np.uint16)) + np.random.default_rng(0).integers(
    0, 50, SHAPE, np.uint16
)
TINY = (
    "--n-filters 2 --n-epochs 1 --patches-per-epoch 4 --patch-size 16 --batch-size 2 "
    "--context-slices 0 --device cpu --precision float32"
)


def call(arguments: str) -> int:
    """Run the command line as a shell would, without what a shell needs."""
    try:
        return main(arguments.split())
    except SystemExit as end:
        return int(end.code or 0)


def train(
    image: str = "image.tif",
    labels: str = "labels.tif",
    *,
    slices: str = "--train-z 1 --validation-z 4",
    out: str = "new",
    flags: str = "",
) -> str:
    return f"train {image} {labels} {slices} --out {out} {TINY} {flags}"


def predict(
    image: str = "image.tif",
    model: str = "run",
    *,
    out: str = "new.tif",
    flags: str = "",
) -> str:
    return f"predict {image} {model} --out {out} --device cpu {flags}"


def baseline(flags: str, *, image: str = "image.tif", out: str = "new.tif") -> str:
    return f"baseline {image} {flags} --out {out}"


def uncertainty(
    image: str = "image.tif",
    labels: str = "labels.tif",
    *,
    slices: str = "--train-z 1:3 --test-z 5",
    out: str = "new",
    flags: str = "",
) -> str:
    return f"uncertainty {image} {labels} {slices} --out {out} {TINY} {flags}"


# ---- a folder of good and bad files ----


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


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Work in a folder of good and bad files, with a trained network in run."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_images()
        write_labels()
        write_models()
        write_places()
        write_projects()
        yield folder


def contents(folder: Path) -> dict[str, bytes | None]:
    """Take all names under a folder, and the bytes of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def before(place: Path) -> dict[str, bytes | None]:
    """Take what the place holds before the first mistake; nothing may change it."""
    return contents(place)


# ---- mistakes that are found before any work is done ----


class Mistake(NamedTuple):
    command: str
    says: str


MISTAKES = {
    # images
    "missing image": Mistake(train("nowhere.tif"), "no file or folder nowhere.tif"),
    "empty image": Mistake(train("empty.tif"), "empty.tif is empty (0 bytes)"),
    "truncated image": Mistake(train("truncated.tif"), "truncated.tif"),
    "corrupt image": Mistake(
        train("corrupt.tif", slices="--train-z 0"), "cannot be read"
    ),
    "text named TIFF": Mistake(train("text.tif"), "text.tif cannot be read"),
    "unknown type": Mistake(train("image.xyz"), "not of a known type; expected .tif"),
    "colour": Mistake(train("colour.tif"), "colour image (32, 32, 3); convert it"),
    "4D": Mistake(train("four.npy"), "4 axes of 2 × 6 × 24 × 24; expected z, y, x"),
    "no voxel": Mistake(train("hollow.npy"), "has no voxels"),
    "complex": Mistake(train("complex.npy"), "complex numbers; expected integers"),
    "NaN": Mistake(train("nan.npy"), "NaN or infinity (1 voxels, the first in slice z"),
    "infinity": Mistake(train("inf.npy"), "replace them, or leave them outside a mask"),
    "constant": Mistake(train("constant.npy"), "constant (7) on the training slices"),
    "several datasets": Mistake(train("several.h5"), "/raw (6, 24, 24)"),
    "absent dataset": Mistake(
        train("several.h5:/dark"), "no dataset /dark; it holds /"
    ),
    "group": Mistake(train("group.zarr"), "open an array in it, as in group.zarr/0"),
    "folder without slices": Mistake(train("mine"), "neither TIFF slices nor a Zarr"),
    # labels
    "missing labels": Mistake(
        train(labels="nowhere.tif"), "no file or folder nowhere.tif"
    ),
    "no labels": Mistake(train(labels=""), "LABELS is missing; give IMAGE LABELS"),
    "labels of another shape": Mistake(
        train(labels="short.tif"), "short.tif is (5, 24, 24)"
    ),
    "labels of float": Mistake(
        train(labels="float.tif"), "float32 values; labels are whole"
    ),
    "negative labels": Mistake(train(labels="negative.tif"), "holds -1 in slice z = 1"),
    "labels above 255": Mistake(train(labels="high.tif"), "holds 300 in slice z = 1"),
    "one phase": Mistake(train(labels="one.tif"), "only phase 1; paint at least two"),
    "nothing painted": Mistake(train(labels="zero.tif"), "no painted voxel; paint it"),
    "unpainted slice": Mistake(
        train(labels="some.tif", slices="--train-z 3"), "slice z=3 of some.tif has no"
    ),
    "too few names": Mistake(
        train(labels="three.tif", flags="--phases pore solid"), "only 2 phases are name"
    ),
    "one name twice": Mistake(train(flags="--phases a a"), "share a name: a, a"),
    # slices
    "slice out of range": Mistake(
        train(slices="--train-z 6"), "slice 6 is out of range: image.tif has slices 0"
    ),
    "slice of another axis": Mistake(
        train(slices="--train-z 1 --test-z 24", flags="--axis x"),
        "slices 0 to 23 along x",
    ),
    "open range": Mistake(train(slices="--train-z 50:"), "must look like 10, 10,30 or"),
    "word for a slice": Mistake(train(slices="--train-z a"), "got 'a'"),
    "empty range": Mistake(train(slices="--train-z 60:50"), "the range 60:50 of slice"),
    "slipped digit": Mistake(
        train(slices="--train-z 0:99999999999"),
        "more than any volume has; check the number",
    ),
    "shared slice": Mistake(
        train(slices="--train-z 1:3 --test-z 2"), "slice 2 has more than one role"
    ),
    "no training slice": Mistake(train(slices="--test-z 1"), "--train-z is missing"),
    "mask of another shape": Mistake(
        train(flags="--mask short.tif"), "the mask short.tif is (5, 24, 24)"
    ),
    "mask around nothing": Mistake(
        train(flags="--mask zero.tif"), "no painted voxel inside the mask"
    ),
    # settings
    "unknown value": Mistake(train(flags="--loss focal"), "invalid choice: 'focal'"),
    "unknown preset": Mistake(train(flags="--preset best"), "invalid choice: 'best'"),
    "unknown flag": Mistake(train(flags="--epochs 3"), "--epochs 3; see napari-lrcs"),
    "even kernel": Mistake(train(flags="--kernel-size 4"), "must be odd, got 4"),
    "negative epochs": Mistake(train(flags="--n-epochs -1"), "at least 1, got -1"),
    "epochs in words": Mistake(train(flags="--n-epochs many"), "invalid int value"),
    "NaN for a rate": Mistake(train(flags="--learning-rate nan"), "learning_rate must"),
    "weights of the wrong length": Mistake(
        train(flags="--phase-weights 1 2 3"), "must be 2 numbers, one a phase"
    ),
    "unknown model": Mistake(train(flags="--model resnet"), "known: lrcsnet, unet"),
    "unknown device": Mistake(train(flags="--device tpu"), "auto, cpu, cuda or cuda:N"),
    "absent device": Mistake(train(flags="--device cuda:99"), "use auto or cpu"),
    # runs
    "existing run": Mistake(train(out="run"), "run holds a run already; resume it"),
    "existing file for a run": Mistake(
        train(out="done.tif"), "done.tif exists and is not a run folder"
    ),
    "no run to overwrite": Mistake(
        train(out="mine", flags="--overwrite"), "mine exists and is not a run folder"
    ),
    "overwriting in vain": Mistake(
        train("constant.npy", out="run", flags="--overwrite"), "constant"
    ),
    "no folder for a run": Mistake(train(out="no/where"), "there is no folder"),
    "no run to resume": Mistake(train(flags="--resume"), "no run in new to resume"),
    "another config": Mistake(
        train(out="run", flags="--resume --seed 5"),
        "started with seed = 0, now it is 5",
    ),
    "other labels": Mistake(
        train(labels="three.tif", out="run", flags="--resume"), "the labels differ from"
    ),
    "resuming and overwriting": Mistake(
        train(out="run", flags="--resume --overwrite"), "leave one of them out"
    ),
    "damaged state": Mistake(train(out="damaged", flags="--resume"), "is damaged"),
    "damaged config": Mistake(
        train(out="garbled", flags="--resume"), "config.json in garbled is damaged"
    ),
    "foreign config": Mistake(
        train(out="config-of-another-kind", flags="--resume"), "no field colour"
    ),
    # transfer
    "no initial weights": Mistake(
        train(flags="--initial-weights no.safetensors"), "no checkpoint at no.safeten"
    ),
    "other channels": Mistake(
        train(flags="--initial-weights run --context-slices 1"),
        "sees 1 slices at once, this training 3; set context_slices to 0",
    ),
    "other filters": Mistake(
        train(flags="--initial-weights run --n-filters 4"), "the network needs"
    ),
    "other phases": Mistake(
        train(labels="three.tif", flags="--initial-weights run"), "predicts 2 phases"
    ),
    # projects
    "no project": Mistake("train no.toml --out new", "no.toml: No such file"),
    "broken project": Mistake(
        "train broken.toml --out new", "is not a valid TOML file"
    ),
    "binary project": Mistake(
        "train binary.toml --out new", "is not a valid TOML file"
    ),
    "unknown key": Mistake("train unknown.toml --out new", "unknown: ['trian']"),
    "missing key": Mistake("train missing.toml --out new", "missing: ['labels']"),
    "single table": Mistake("train single.toml --out new", "expected [[volume]] table"),
    "missing file of a project": Mistake("train lost.toml --out new", "nowhere.tif"),
    "project without training": Mistake(
        "train untrained.toml --out new", "no slice is for training"
    ),
    "slices beside a project": Mistake(
        "train unknown.toml --train-z 1 --out new", "belong in the TOML file"
    ),
    # models
    "missing model": Mistake(predict(model="no"), "no checkpoint at no; choose a"),
    "folder without a model": Mistake(predict(model="mine"), "no checkpoint at mine"),
    "pickle": Mistake(
        predict(model="pickle.safetensors"), "is a pickle, which may run"
    ),
    "saved by torch": Mistake(predict(model="zip.safetensors"), "is a pickle"),
    "another version": Mistake(
        predict(model="future.safetensors"), "checkpoint format 99; this version of"
    ),
    "foreign tensors": Mistake(
        predict(model="foreign.safetensors"), "not a checkpoint of napari-lrcs"
    ),
    "truncated model": Mistake(
        predict(model="cut.safetensors"), "is not a valid safetensors file"
    ),
    "weights of another network": Mistake(
        predict(model="mixed.safetensors"), "does not fit the network"
    ),
    "bare header": Mistake(predict(model="bare.safetensors"), "header of bare.safeten"),
    "image for a model": Mistake(
        predict(model="image.tif"), "not a valid safetensors file"
    ),
    # predictions
    "existing TIFF": Mistake(predict(out="done.tif"), "done.tif exists already"),
    "existing Zarr": Mistake(predict(out="done.zarr"), "done.zarr exists already"),
    "folder named TIFF": Mistake(
        predict(out="mine.tif", flags="--overwrite"), "choose another name"
    ),
    "folder named Zarr": Mistake(
        predict(out="mine.zarr", flags="--overwrite"), "choose another name"
    ),
    "unknown ending": Mistake(predict(out="new.png"), "end in .tif or .tiff or .zarr"),
    "probabilities to TIFF": Mistake(
        predict(flags="--probabilities p.tif"),
        "the probabilities cannot be written to p.tif",
    ),
    "one file for two": Mistake(
        predict(flags="--confidence new.tif"), "overlap; choose another name"
    ),
    "over the image": Mistake(
        predict(out="image.tif", flags="--overwrite"), "image.tif is an input"
    ),
    "existing confidence": Mistake(
        predict(flags="--confidence done.tif"), "done.tif exists already"
    ),
    "no folder for a result": Mistake(predict(out="no/new.tif"), "there is no folder"),
    "missing image to predict": Mistake(predict("nowhere.tif"), "nowhere.tif"),
    "slice that is not there": Mistake(predict(flags="--z 4:9"), "between 0 and 5"),
    "malformed slices": Mistake(predict(flags="--z 1-3"), "got '1-3'"),
    "mask of another volume": Mistake(predict(flags="--mask short.tif"), "the mask sh"),
    "unknown device to predict": Mistake(predict(flags="--device tpu"), "got 'tpu'"),
    "glob without a file": Mistake(
        predict("no*.tif", out="segs"), "no file matches no*"
    ),
    "confidence of a series": Mistake(
        predict("*/scan.tif", out="segs", flags="--confidence c.tif"), "a single image"
    ),
    "a series with one name": Mistake(
        predict("*/scan.tif", out="segs"), "would go to scan.tif"
    ),
    "a bad image in a series": Mistake(predict("[et]*.tif", out="segs"), "empty.tif"),
    "unknown device for a series": Mistake(
        predict("f*/*.tif", out="segs", flags="--device tpu"), "got 'tpu'"
    ),
    "NaN to predict": Mistake(predict("nan.npy"), "NaN or infinity"),
    "NaN in the last slice": Mistake(predict("far.npy"), "the first in slice z=5"),
    "corrupt image to predict": Mistake(predict("corrupt.tif"), "cannot be read"),
    # scores and measures
    "scores of other shapes": Mistake("evaluate short.tif labels.tif", "of one shape"),
    "scores of no prediction": Mistake(
        "evaluate some.tif labels.tif", "no prediction for painted voxels of slice z=3"
    ),
    "scores of nothing": Mistake("evaluate labels.tif zero.tif", "is painted on these"),
    "scores out of range": Mistake(
        "evaluate one.tif labels.tif --z 9", "slices 0 to 5"
    ),
    "scores of grey levels": Mistake("evaluate image.tif labels.tif", "from 0 to 255"),
    "table of particles for a folder": Mistake(
        "measure labels.tif --particles 1 --csv mine --overwrite",
        "mine is a folder; give",
    ),
    "measures of nothing": Mistake("measure zero.tif", "labelled; nothing to measure"),
    "measures of float": Mistake("measure float.tif", "convert it to uint8"),
    "unknown neighbourhood": Mistake(
        "measure labels.tif --neighbourhood 5", "invalid choice"
    ),
    # experimenters
    "comparison of one": Mistake("compare labels.tif", "two experimenters or more"),
    "comparison with itself": Mistake(
        "compare labels.tif labels.tif", "labels.tif is given twice"
    ),
    "comparison of other shapes": Mistake(
        "compare labels.tif one.tif short.tif",
        "labels.tif, one.tif: (6, 24, 24); short.tif: (5, 24, 24)",
    ),
    "two unreadable files of three": Mistake(
        "compare empty.tif labels.tif text.tif --majority new.tif",
        "2 of 3 files cannot be used; fix them, or leave them out: empty.tif is empty "
        "(0 bytes); text.tif cannot be read",
    ),
    "two damaged files of three": Mistake(
        "compare negative.tif labels.tif high.tif --majority new.tif",
        "2 of 3 files cannot be used; fix them, or leave them out: negative.tif holds "
        "-1 in slice z = 1; labels are whole numbers from 0 to 255; high.tif holds 300",
    ),
    "comparison out of range": Mistake(
        "compare labels.tif one.tif --z 9", "slices 0 to 5"
    ),
    "comparison of nothing": Mistake(
        "compare labels.tif zero.tif", "is painted by two of the 2 experimenters"
    ),
    "target of nothing": Mistake(
        "compare labels.tif one.tif --target zero.tif", "is painted in zero.tif and by"
    ),
    "negative distance": Mistake(
        "compare labels.tif one.tif --near 5 -1", "0 or more voxels, got [5, -1]"
    ),
    "vote over an input": Mistake(
        "compare labels.tif one.tif --majority one.tif --overwrite", "is an input"
    ),
    "existing vote": Mistake(
        "compare labels.tif one.tif --agreement done.zarr", "done.zarr exists already"
    ),
    "vote over a folder": Mistake(
        "compare labels.tif one.tif --majority mine.tif --overwrite", "choose another"
    ),
    "table over a folder": Mistake(
        "compare labels.tif one.tif --csv mine --overwrite", "mine is a folder; give"
    ),
    "one file for two votes": Mistake(
        "compare labels.tif one.tif --majority new.tif --agreement new.tif",
        "overlap; choose another name",
    ),
    # baselines
    "number of phases left out": Mistake(
        baseline("--method otsu"), "--n-phases is missing; give the number"
    ),
    "one phase to part": Mistake(
        baseline("--method otsu --n-phases 1"), "n_phases must be 2 to 255, got 1"
    ),
    "unknown method": Mistake(
        baseline("--method watershed --n-phases 2"), "invalid choice: 'watershed'"
    ),
    "fractions left out": Mistake(
        baseline("--method fractions --n-phases 2"), "0 fractions are given; expected 2"
    ),
    "fractions beyond 1": Mistake(
        baseline("--method fractions --n-phases 2 --fractions .5 .6"), "add up to 1.1"
    ),
    "fractions for Otsu": Mistake(
        baseline("--method otsu --n-phases 2 --fractions .5 .5"), "are not for otsu"
    ),
    "order of too few": Mistake(
        baseline("--method kmeans --n-phases 3 --order 2 1"), "1 to 3, once"
    ),
    "forest without labels": Mistake(
        baseline("--method forest --n-phases 2"),
        "needs both the labels and the painted slices",
    ),
    "labels without slices": Mistake(
        baseline("--method forest --labels labels.tif"), "--labels and --train-z go"
    ),
    "slice beyond a forest": Mistake(
        baseline("--method forest --n-phases 2 --labels labels.tif --train-z 6"),
        "slice 6 is out of range: image.tif has slices 0 to 5",
    ),
    "forest of labels of another shape": Mistake(
        baseline("--method forest --labels short.tif --train-z 1"), "short.tif is (5, "
    ),
    "forest of one phase": Mistake(
        baseline("--method forest --labels one.tif --train-z 1"), "show only phase 1"
    ),
    "forest of nothing": Mistake(
        baseline("--method forest --labels zero.tif --train-z 1"), "show nothing; paint"
    ),
    "constant image to part": Mistake(
        baseline("--method otsu --n-phases 2", image="constant.npy"), "constant (7)"
    ),
    "NaN to part": Mistake(
        baseline("--method otsu --n-phases 2", image="far.npy"), "NaN or infinity"
    ),
    "mask around nothing to part": Mistake(
        baseline("--method otsu --n-phases 2 --mask zero.tif"), "check the mask"
    ),
    "existing segmentation": Mistake(
        baseline("--method otsu --n-phases 2", out="done.tif"), "done.tif exists"
    ),
    "segmentation of another type": Mistake(
        baseline("--method otsu --n-phases 2", out="new.png"), "end in .tif or .tiff or"
    ),
    "segmentation over its image": Mistake(
        baseline("--method otsu --n-phases 2 --overwrite", out="image.tif"),
        "is an input; choose another name",
    ),
    "segmentation over its labels": Mistake(
        baseline(
            "--method forest --labels labels.tif --train-z 1 --overwrite",
            out="labels.tif",
        ),
        "is an input; choose another name",
    ),
    # outputs that are, hold or lie in an input
    **{
        f"input in the way of {command}": Mistake(command, says)
        for command, says in {
            predict(out="one.tif", flags="--mask one.tif --overwrite"): "is an input",
            predict(
                flags="--mask one.tif --confidence one.tif --overwrite"
            ): "one.tif is an input",
            predict("group.zarr/a", out="group.zarr", flags="--overwrite"): (
                "group.zarr contains the input group.zarr/a"
            ),
            predict("first", out="first/scan.tif", flags="--overwrite"): (
                "first/scan.tif is inside the input first"
            ),
            predict("several.h5:/raw", out="link.tif", flags="--overwrite"): (
                "link.tif is an input"
            ),
            predict("i*.tif", out=".", flags="--overwrite"): "image.tif is an input",
            predict(out="run/best.safetensors/x.tif"): "is inside the input",
            baseline(
                "--method otsu --n-phases 2 --mask one.tif --overwrite", out="one.tif"
            ): "is an input",
            baseline(
                "--method otsu --n-phases 2 --overwrite",
                image="group.zarr/a",
                out="group.zarr",
            ): "contains the input",
            "compare labels.tif group.zarr/a --majority group.zarr --overwrite": (
                "contains the input"
            ),
            "compare labels.tif one.tif --csv one.tif --overwrite": "is an input",
            "measure labels.tif --particles 1 --csv q --particles-out q": (
                "overlap; choose another name"
            ),
            "perturb run/labels.tif --out run --overwrite": "contains the input",
            uncertainty(labels="run/labels.tif", out="run", flags="--overwrite"): (
                "contains the input"
            ),
            train(labels="run/labels.tif", out="run", flags="--overwrite"): (
                "contains the input"
            ),
            train(out="run", flags="--initial-weights run --overwrite"): (
                "contains the input"
            ),
            "train all.toml --out inputs --overwrite " + TINY: (
                "inputs contains the input"
            ),
        }.items()
    },
    # places that are not ours to replace
    "a pipe": Mistake(  # not a device of the system: a failure would replace it
        "measure labels.tif --particles 1 --csv pipe --overwrite",
        "pipe is not a regular file",
    ),
    "a folder of a partial result's name": Mistake(
        predict(out="taken.tif"), "taken.tif.partial is in the way"
    ),
    "the same for a baseline": Mistake(
        baseline("--method otsu --n-phases 2", out="taken.tif"), "is in the way"
    ),
    # studies
    "study of a missing image": Mistake(
        uncertainty("nowhere.tif"), "no file or folder nowhere.tif"
    ),
    "study of one phase": Mistake(
        uncertainty(labels="one.tif"), "only phase 1; paint at least two"
    ),
    "study without an interface": Mistake(
        uncertainty(labels="apart.tif"), "no interface to perturb; paint neighbouring"
    ),
    "study of another shape": Mistake(
        uncertainty(labels="short.tif"), "short.tif is (5, 24, 24)"
    ),
    "study that tests what it trains on": Mistake(
        uncertainty(slices="--train-z 1:3 --test-z 2"), "slice 2 has more than one role"
    ),
    "study that tests beyond the volume": Mistake(
        uncertainty(slices="--train-z 1:3 --test-z 60"), "slice 60 is out of range"
    ),
    "study that tests what is not painted": Mistake(
        uncertainty(labels="some.tif", slices="--train-z 1 --test-z 3"),
        "slice z=3 of some.tif has no painted voxel; paint it, or choose another one "
        "for test",
    ),
    "study without a test": Mistake(
        uncertainty(slices="--train-z 1"), "required: --test-z"
    ),
    "study of one member": Mistake(
        uncertainty(flags="--n-members 1"), "n_members must be at least 2, got 1"
    ),
    "study whose last seed is too large": Mistake(
        uncertainty(flags="--seed 2147483640"), "seed must be at most 2147483648"
    ),
    "study of a kernel and a wanted share": Mistake(
        uncertainty(flags="--wanted-share .1 --kernel cross"), "leave out --kernel"
    ),
    "wanted share of slices beyond the volume": Mistake(
        uncertainty(slices="--train-z 9 --test-z 5", flags="--wanted-share .1"),
        "slice 9 is out of range",
    ),
    "study on a device too many": Mistake(
        uncertainty(flags="--devices cpu cuda:99"), "use auto or cpu"
    ),
    "study in place of something else": Mistake(
        uncertainty(out="run", flags="--overwrite"), "run exists and is not a study"
    ),
    "no study to resume": Mistake(
        uncertainty(out="run", flags="--resume"), "no study in run"
    ),
    "study that resumes and overwrites": Mistake(
        uncertainty(flags="--resume --overwrite"), "leave one of them out"
    ),
    "no folder for a study": Mistake(uncertainty(out="no/where"), "there is no folder"),
    # perturbed labels
    "one phase to perturb": Mistake(
        "perturb one.tif --out new", "only phase 1 is painted, but an interface needs 2"
    ),
    "nothing to perturb": Mistake(
        "perturb zero.tif --out new", "painted on none of the chosen slices"
    ),
    "unpainted slice to perturb": Mistake(
        "perturb some.tif --out new --z 3", "painted on none of the chosen slices"
    ),
    "slice out of range to perturb": Mistake(
        "perturb labels.tif --out new --z 4:9", "there are 6 slices, 0 to 5"
    ),
    "no label to perturb": Mistake("perturb high.tif --out new", "from 0 to 255"),
    "no member": Mistake(
        "perturb labels.tif --out new --n-members 0", "must be at least 1, got 0"
    ),
    "negative seed": Mistake(
        "perturb labels.tif --out new --seed -1", "seed must be at least 0, got -1"
    ),
    "too many simulations": Mistake(
        "perturb labels.tif --out new --n-simulations 99999", "must be 1 to 65535"
    ),
    "fewer simulations than none": Mistake(
        "perturb labels.tif --out new --n-simulations -1", "must be at least 0, got -1"
    ),
    "control character in the name of a phase": Mistake(
        train(flags="--phases \x1b[31m b"), r"'\x1b[31m' has a control character"
    ),
    "share beyond 1": Mistake(
        "perturb labels.tif --out new --wanted-share 10", "below 1, got 10"
    ),
    "share and kernel": Mistake(
        "perturb labels.tif --out new --wanted-share .1 --kernel cross", "leave out"
    ),
    "growth of no phase": Mistake(
        "perturb labels.tif --out new --growing 3", "painted are 1, 2"
    ),
    "set over a run": Mistake(
        "perturb labels.tif --out run --overwrite", "which is not of a set"
    ),
    "existing set": Mistake("perturb labels.tif --out mine", "mine exists already"),
    "set over a file": Mistake(
        "perturb labels.tif --out done.tif --overwrite", "which is not of a set"
    ),
    "no folder for a set": Mistake(
        "perturb labels.tif --out no/set", "there is no folder"
    ),
    # the rest
    "existing demo": Mistake("demo --out mine", "mine exists already"),
    "demo on no device": Mistake("demo --out new --device tpu", "got 'tpu'"),
    "demo with other phases": Mistake(
        "demo --out new --device cpu --phase-weights 1 2", "must be 3 numbers"
    ),
    "no command": Mistake("", "COMMAND"),
    "unknown command": Mistake("segment image.tif", "invalid choice: 'segment'"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake,
    place: Path,
    before: dict[str, bytes | None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()

    code = call(mistake.command)

    printed = capsys.readouterr()
    *progress, error = printed.err.splitlines()
    assert error.startswith("error: ")
    assert mistake.says in error
    assert not [line for line in progress if not line.startswith("predicting ")]
    assert (code, printed.out) == (BAD_INPUT, "")
    assert contents(place) == before


@pytest.mark.parametrize(
    "command",
    [
        train(out="run"),
        train(flags="--device tpu"),
        train(flags="--initial-weights pickle.safetensors"),
        train(flags="--resume"),
        train(slices="--train-z a"),
        train(labels="short.tif"),
        predict(out="done.tif"),
        predict(out="new.png"),
        predict(flags="--device tpu"),
        predict(flags="--z 6"),
        predict(flags="--mask short.tif"),
        predict(model="foreign.safetensors"),
        "evaluate short.tif labels.tif",
        "evaluate labels.tif labels.tif --z 6",
        "measure labels.tif --mask short.tif",
        baseline("--method otsu"),
        baseline("--method otsu --n-phases 2", out="done.tif"),
        baseline("--method fractions --n-phases 2 --fractions .5 .6"),
        baseline("--method otsu --n-phases 2 --mask short.tif"),
        baseline("--method forest --n-phases 2 --labels labels.tif --train-z 6"),
        "compare labels.tif short.tif",
        "compare labels.tif one.tif --majority done.tif",
    ],
)
@pytest.mark.usefixtures("place")
def test_mistake_is_found_before_a_voxel_is_read(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        pytest.fail("a voxel is read")

    monkeypatch.setattr(Volume, "slab", read)

    assert call(command) == BAD_INPUT


def test_cuda_is_refused_where_there_is_none(
    place: Path,
    before: dict[str, bytes | None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    code = call(predict(flags="--device cuda"))

    error = capsys.readouterr().err
    assert code == BAD_INPUT
    assert error.startswith("error: device cuda does not exist (torch")
    assert contents(place) == before


# ---- full disks ----


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def leave_no_room_for_tiff(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tifffile.TiffWriter, "write", no_space)


def leave_no_room_for_zarr(patch: pytest.MonkeyPatch) -> None:
    """Metadata, and the chunks of two slabs, still find room."""
    local_set = zarr.storage.LocalStore.set
    n_chunks = 0

    async def store(self: zarr.storage.LocalStore, key: str, value: Any) -> None:
        nonlocal n_chunks
        n_chunks += "/c/" in key or key.startswith("c/")
        if n_chunks > 2:
            no_space()
        await local_set(self, key, value)

    patch.setattr(zarr.storage.LocalStore, "set", store)


@pytest.fixture
def copy(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of the place, where something may be left."""
    folder = tmp_path / "copy"
    shutil.copytree(place, folder, ignore=shutil.ignore_patterns("pipe"))
    monkeypatch.chdir(folder)
    return folder


def only_error(printed: str) -> str:
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert error == printed.splitlines()[-1]
    assert "Traceback" not in printed
    return error


@pytest.mark.parametrize(
    ("fill", "out"),
    [
        (leave_no_room_for_tiff, "new.tif"),
        (leave_no_room_for_tiff, "done.tif"),
        (leave_no_room_for_zarr, "new.zarr"),
        (leave_no_room_for_zarr, "done.zarr"),
    ],
)
def test_prediction_on_a_full_disk_is_continued_when_there_is_room(
    fill: Callable[[pytest.MonkeyPatch], None],
    out: str,
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_lrcs.inference.geometry._SLAB_SLICES", 1)
    before = contents(copy)
    command = predict(out=out, flags="--overwrite")

    with monkeypatch.context() as patch:
        fill(patch)
        code = call(command)

    error = only_error(capsys.readouterr().err)
    assert code == BAD_INPUT
    assert os.strerror(errno.ENOSPC) in error
    assert f"kept in {out}.partial: run the same command again" in error
    partial = f"{out}.partial"
    after = contents(copy)
    assert {n: b for n, b in after.items() if not n.startswith(partial)} == before

    assert call(command) == 0

    assert "were finished before" in capsys.readouterr().err
    assert not (copy / partial).exists()


@pytest.mark.parametrize("flag", ["", "--overwrite"])
def test_prediction_without_room_for_its_second_file_is_continued(
    flag: str,
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(contents(copy))
    command = predict(out="new.zarr", flags=f"--confidence c.tif {flag}")

    with monkeypatch.context() as patch:
        leave_no_room_for_tiff(patch)
        assert call(command) == BAD_INPUT
    assert "run the same command again to continue" in capsys.readouterr().err
    assert not Path("new.zarr").exists()

    assert call(command) == 0

    assert "; 6 were finished before" in capsys.readouterr().err
    left = set(contents(copy)) - before
    assert {name.split("/")[0] for name in left} == {"new.zarr", "c.tif"}


def test_prediction_without_room_for_a_slab_leaves_nothing(
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = contents(copy)
    monkeypatch.setattr(zarr.storage.LocalStore, "set", no_space)

    code = call(predict(out="new.zarr"))

    assert code == BAD_INPUT
    assert only_error(capsys.readouterr().err).endswith(os.strerror(errno.ENOSPC))
    assert contents(copy) == before


def test_training_on_a_full_disk_is_resumed_when_there_is_room(
    copy: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = contents(copy)
    write_bytes = Path.write_bytes

    def write(self: Path, data: bytes) -> int:
        if "best" in self.name:
            no_space()
        return write_bytes(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write)
        code = call(train(flags="--json"))

    printed = capsys.readouterr()
    error = only_error(printed.err)
    assert (code, printed.out) == (BAD_INPUT, "")
    assert os.strerror(errno.ENOSPC) in error
    assert "the run in new is kept: continue with --resume" in error
    after = contents(copy)
    assert {n: b for n, b in after.items() if not n.startswith("new")} == before

    assert call(train(flags="--resume")) == 0


# ---- real disks ----


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a small file system in memory with some options, or skip."""
    place = tmp_path / "mounted"
    place.mkdir()

    def mount(options: str) -> Path:
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(words, check=False).returncode:
            pytest.skip("mounting a file system is not permitted here")
        return place

    yield mount
    if place.is_mount():
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "size"),
    [
        (predict(out="{}/new.tif"), "16k"),
        (predict(out="{}/new.zarr", flags="--probabilities {}/p.zarr"), "32k"),
        (train(out="{}/new"), "64k"),
    ],
)
def test_a_disk_that_is_really_full_is_one_line(
    command: str,
    size: str,
    place: Path,
    before: dict[str, bytes | None],
    mounted: Callable[[str], Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    disk = mounted(f"size={size}")

    code = call(command.replace("{}", str(disk)))

    printed = capfd.readouterr()
    assert (code, printed.out) == (BAD_INPUT, "")
    assert os.strerror(errno.ENOSPC) in only_error(printed.err)
    assert not (disk / "new.tif").exists()
    assert not (disk / "new.zarr").exists()
    assert contents(place) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [predict(out="{}/new.tif"), train(out="{}/new"), "demo --out {}/new"],
)
def test_a_read_only_place_is_one_line(
    command: str,
    place: Path,
    before: dict[str, bytes | None],
    mounted: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    disk = mounted("ro")

    code = call(command.replace("{}", str(disk)))

    printed = capsys.readouterr()
    assert (code, printed.out) == (BAD_INPUT, "")
    assert "read-only for you" in printed.err
    assert printed.err == only_error(printed.err) + "\n"
    assert contents(place) == before
    assert not contents(disk)
