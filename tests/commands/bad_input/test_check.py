from collections.abc import Callable

import pytest

from mistakes import Mistake

pytestmark = pytest.mark.usefixtures("one_thread")


def draw(flags: str = "", *, segmentation: str = "labels.tif", out: str = "new") -> str:
    return f"check draw {segmentation} --out {out} {flags}"


def report(
    segmentation: str = "labels.tif", check: str = "check-check", flags: str = ""
) -> str:
    return f"check report {segmentation} {check} {flags}"


DRAWS = {
    "no part": Mistake("check", "PART"),
    "too many patches": Mistake(
        draw("--size 8 --n-patches 55"), "the field of view holds 54 of 8 pixels"
    ),
    "no patch": Mistake(draw("--n-patches 0"), "0 patches were requested"),
    "tiny patches": Mistake(draw("--size 4"), "at least 8 pixels wide, got 4"),
    "two slices thick": Mistake(draw("--thickness 2"), "invalid choice: 2"),
    "negative seed": Mistake(draw("--seed -1"), "seed must be at least 0, got -1"),
    "nothing predicted": Mistake(draw(segmentation="zero.tif"), "no predicted voxel"),
    "no labels": Mistake(draw(segmentation="float.tif"), "labels are whole numbers"),
    "missing": Mistake(draw(segmentation="nowhere.tif"), "nowhere.tif"),
    "mask of another volume": Mistake(draw("--mask short.tif"), "the mask short.tif"),
    "painted patches would go": Mistake(draw(out="check-check"), "exists already"),
    "somebody's folder": Mistake(draw(out="mine"), "exists already"),
    "no parent folder": Mistake(draw(out="no/new"), "there is no folder"),
    "over the segmentation": Mistake(draw(out="labels.tif"), "is an input"),
}

REPORTS = {
    "no check": Mistake(report(check="run"), "there is no check in run"),
    "no folder": Mistake(report(check="nowhere"), "there is no check in nowhere"),
    "another shape": Mistake(report("short.tif"), "choose a segmentation of the vol"),
    "prediction is missing": Mistake(report("some.tif"), "no prediction for"),
    "unknown phase": Mistake(report("three.tif"), "have the label 3, but there are 2"),
    "nothing is painted": Mistake(report(check="empty-check"), "0 of 5 check patches"),
    "done but not painted": Mistake(
        report(check="open-check"), "is marked as done, but 1 of its voxels are unp"
    ),
    "edited by hand": Mistake(report(check="moved-check"), "where chance has placed"),
    "torn": Mistake(report(check="torn-check"), "check.json in torn-check is damaged"),
    "of a later version": Mistake(report(check="future-check"), "has format 9"),
    "painting of another volume": Mistake(
        report(flags="--labels short.tif"), "give labels of that shape"
    ),
    "painting of other phases": Mistake(
        report(flags="--labels later.tif"), "has the label 3 in check patch"
    ),
    "across slices": Mistake(
        report(flags="--neighbourhood 26"), "draw patches three slices thick"
    ),
    "certainty": Mistake(
        report(flags="--confidence-level 1"), "above 0 and below 1, got 1.0"
    ),
    "no width": Mistake(report(flags="--half-width 0"), "above 0 and below 1, got 0"),
    "half width in percent": Mistake(report(flags="--half-width 2"), "got 2.0"),
    "table over the painting": Mistake(
        report(flags="--csv check-check"), "check-check is an input"
    ),
    "table over a file": Mistake(report(flags="--csv done.tif"), "exists already"),
    "figure over a folder": Mistake(report(flags="--figure mine"), "mine is a folder"),
}


@pytest.mark.parametrize(
    "mistake", [*DRAWS.values(), *REPORTS.values()], ids=[*DRAWS, *REPORTS]
)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
