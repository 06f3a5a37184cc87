from collections.abc import Callable

import pytest

from mistakes import Mistake, uncertainty

pytestmark = pytest.mark.usefixtures("one_thread")


MISTAKES = {
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
        uncertainty(flags="--n-members 1"), "--n-members must be at least 2, got 1"
    ),
    "study whose last seed is too large": Mistake(
        uncertainty(flags="--seed 2147483640"), "--seed must be at most 2147483648"
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
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
