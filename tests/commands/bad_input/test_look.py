from collections.abc import Callable

import pytest

from mistakes import Mistake, look

pytestmark = pytest.mark.usefixtures("one_thread")


MISTAKES = {
    "no slice": Mistake(look(slices=""), "--z is missing; give --z and --out, or"),
    "no folder": Mistake("look image.tif run --z 1", "--out is missing; give --z and"),
    "several slices": Mistake(look(slices="--z 1:3"), "must be one slice, got '1:3'"),
    "malformed slice": Mistake(look(slices="--z one"), "got 'one'"),
    "slice beyond the end": Mistake(
        look(slices="--z 6"), "slice z=6 does not exist: image.tif has slices 0 to 5"
    ),
    "unknown layer": Mistake(
        look(layer="--layer encoder.9"),
        "no layer named 'encoder.9'; choose one of its",
    ),
    "missing model": Mistake(look(model="no"), "no checkpoint at no; choose a"),
    "missing model to list": Mistake(
        "look image.tif no --layers", "no checkpoint at no; choose a"
    ),
    "pickle": Mistake(look(model="pickle.safetensors"), "is a pickle, which may run"),
    "weights of another network": Mistake(
        look(model="mixed.safetensors"), "does not fit the network"
    ),
    "missing image": Mistake(look("nowhere.tif"), "nowhere.tif"),
    "complex image": Mistake(look("complex.npy"), "complex"),
    "colour image": Mistake(look("colour.tif"), "colour"),
    "NaN": Mistake(look("nan.npy"), "NaN or infinity"),
    "mask of another volume": Mistake(look(flags="--mask short.tif"), "the mask sh"),
    "labels of another volume": Mistake(
        look(flags="--labels short.tif"), "labels need the image's shape"
    ),
    "slice that is not painted": Mistake(
        look(flags="--labels zero.tif"), "slice z=1 of zero.tif has no painted voxel"
    ),
    "a phase too many": Mistake(
        look(flags="--labels three.tif"), "the labels reach 3, but the network has 2"
    ),
    "a folder of others": Mistake(
        look(out="mine", flags="--overwrite"), "mine exists and is not a folder that lo"
    ),
    "a run as the folder": Mistake(look(out="run", flags="--overwrite"), "run"),
    "no parent folder": Mistake(look(out="no/new"), "there is no folder"),
    "over the image": Mistake(look(out="image.tif"), "image.tif is an input"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
