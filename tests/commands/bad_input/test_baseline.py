from collections.abc import Callable

import pytest

from mistakes import Mistake, baseline

pytestmark = pytest.mark.usefixtures("one_thread")


MISTAKES = {
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
    "fractions for other phases": Mistake(
        baseline("--method fractions --n-phases 2 --fractions .5 .2 .3"), "expected 2"
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
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
