from collections.abc import Callable

import pytest

from mistakes import Mistake, search

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = "--search learning_rate=1e-3,1e-2"

MISTAKES = {
    "no setting": Mistake(search(flags="--search best"), "not a setting to search"),
    "misspelt setting": Mistake(
        search(flags="--search learning_rat=1,2"),
        "no setting 'learning_rat'; did you mean ",
    ),
    "setting that cannot be searched": Mistake(
        search(flags="--search seed=1,2"), "each repeat has a seed of its own"
    ),
    "one value": Mistake(
        search(flags="--search gain=0.1"), "at least two different values"
    ),
    "value out of bounds": Mistake(
        search(flags="--search learning_rate=1e-3:2"), "must be at most 1.0, got 2.0"
    ),
    "range from its end": Mistake(
        search(flags="--search gain=0.5:0.1"), "must end above its beginning"
    ),
    "setting that is set as well": Mistake(
        search(flags="--search batch_size=2,4"), "leave out --batch-size, or --search"
    ),
    "unknown network": Mistake(
        search(flags="--search model=lrcsnet,resnet"), "no model is named 'resnet'"
    ),
    "settings that do not fit into memory": Mistake(
        search(flags=f"{RATES} --patch-size 8192 --n-filters 1024 --batch-size 4096"),
        "each needs about",
    ),
    "unknown sampler": Mistake(
        search(flags=f"{RATES} --sampler best"), "invalid choice: 'best'"
    ),
    "no trial": Mistake(
        search(flags=f"{RATES} --n-trials 0"), "trials must be at least 1, got 0"
    ),
    "last seed too large": Mistake(
        search(flags=f"{RATES} --seed 2147483647"), "seed must be at most 2147483648"
    ),
    "unknown preset": Mistake(
        search(flags=f"{RATES} --preset finest"), "known: quick, best, paper"
    ),
    "preset of the package": Mistake(
        search(flags=f"{RATES} --save-preset quick"), "the preset quick cannot be"
    ),
    "preset elsewhere": Mistake(
        search(flags=f"{RATES} --save-preset ../mine"), "cannot be named '../mine'"
    ),
    "missing image": Mistake(search("nowhere.tif"), "no file or folder nowhere.tif"),
    "constant image": Mistake(search("constant.npy"), "constant"),
    "one phase": Mistake(search(labels="one.tif"), "only phase 1; paint at least two"),
    "place of something else": Mistake(
        search(out="run", flags=f"{RATES} --overwrite"), "exists and is not a search"
    ),
    "nothing to resume": Mistake(
        search(out="run", flags="--resume"), "there is no search in run"
    ),
    "resume and overwrite": Mistake(
        search(flags="--resume --overwrite"), "leave one of them out"
    ),
    "folder of the image": Mistake(search(out="image.tif"), "image.tif is an input"),
    "no folder for a search": Mistake(search(out="no/where"), "there is no folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
