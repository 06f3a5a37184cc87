from collections.abc import Callable

import pytest

from mistakes import Mistake, train

pytestmark = pytest.mark.usefixtures("one_thread")


MISTAKES = {
    # scores and measures
    "scores of other shapes": Mistake("evaluate short.tif labels.tif", "of one shape"),
    "scores of no prediction": Mistake(
        "evaluate some.tif labels.tif", "no prediction for painted voxels of slice z=3"
    ),
    "scores of nothing": Mistake("evaluate labels.tif zero.tif", "is painted on these"),
    "scores out of range": Mistake(
        "evaluate one.tif labels.tif --z 9", "slices 0 to 5"
    ),
    "confidence of another shape": Mistake(
        "evaluate one.tif labels.tif --confidence short.tif",
        "the confidence short.tif is (5, 24, 24) voxels",
    ),
    "confidence in floats": Mistake(
        "evaluate one.tif labels.tif --confidence float.tif",
        "float.tif holds float32, expected uint8, 0 to 255",
    ),
    "confidence of another prediction": Mistake(
        "evaluate one.tif labels.tif --confidence zero.tif",
        "zero.tif is 0 in painted voxels of slice z=0",
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
    "malformed line": Mistake("profile image.tif --line 1,2", "z,y0,x0:y1,x1, such"),
    "line beyond the image": Mistake(
        "profile image.tif --line 1,2,3:2,99", "lies outside the image"
    ),
    "line in no slice": Mistake(
        "profile image.tif --line 9,2,3:2,9", "slice z=9 does not exist"
    ),
    "figure of no kind": Mistake(
        "profile image.tif --line 1,2,3:2,9 --figure p.xyz", "ends in .png, .pdf, .svg"
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
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
