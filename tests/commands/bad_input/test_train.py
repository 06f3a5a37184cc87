from collections.abc import Callable

import pytest

from mistakes import Mistake, train

pytestmark = pytest.mark.usefixtures("one_thread")


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
    "open range": Mistake(
        train(slices="--train-z 50:"), "must look like 0, 0,2 or 1:3"
    ),
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
    "unknown preset": Mistake(
        train(flags="--preset finest"), "no preset 'finest'; known: quick, best"
    ),
    "unknown flag": Mistake(train(flags="--epochs 3"), "--epochs 3; see napari-lrcs"),
    "even kernel": Mistake(train(flags="--kernel-size 4"), "must be odd, got 4"),
    "negative epochs": Mistake(train(flags="--n-epochs -1"), "at least 1, got -1"),
    "epochs in words": Mistake(train(flags="--n-epochs many"), "invalid int value"),
    "NaN for a rate": Mistake(
        train(flags="--learning-rate nan"), "--learning-rate must"
    ),
    "weights of the wrong length": Mistake(
        train(flags="--phase-weights 1 2 3"), "must be 2 numbers, one per phase"
    ),
    "unknown model": Mistake(
        train(flags="--model resnet"), "known: lrcsnet, segnet, unet, xlearn"
    ),
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
    "no run to resume": Mistake(train(flags="--resume"), "no run in new; choose"),
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
        "sees 1 slices at once, this training 3; set --context-slices to 0",
    ),
    "other filters": Mistake(
        train(flags="--initial-weights run --n-filters 4"), "the network needs"
    ),
    "nothing to keep": Mistake(
        train(flags="--keep encoder"), "--keep needs --initial-weights"
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
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
