import pytest

from command_line import call
from mistakes import baseline, predict, train
from napari_lrcs.commands.parts.terminal import BAD_INPUT
from napari_lrcs.io.volume import Volume

pytestmark = pytest.mark.usefixtures("one_thread")


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
        "evaluate labels.tif labels.tif --confidence short.tif",
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
