from collections.abc import Callable

import pytest

from mistakes import TINY, Mistake, baseline, predict, train, uncertainty

pytestmark = pytest.mark.usefixtures("one_thread")


MISTAKES = {
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
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
