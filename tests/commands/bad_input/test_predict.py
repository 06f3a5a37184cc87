from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from command_line import call
from mistakes import Mistake, contents, predict
from napari_lrcs.commands.parts.terminal import BAD_INPUT

pytestmark = pytest.mark.usefixtures("one_thread")


MISTAKES = {
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
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)


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
