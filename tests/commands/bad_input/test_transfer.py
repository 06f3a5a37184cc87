from collections.abc import Callable

import pytest

from mistakes import Mistake, transfer

pytestmark = pytest.mark.usefixtures("one_thread")

FROM = "--from run"

MISTAKES = {
    "no earlier training": Mistake(transfer(flags=""), "--from"),
    "missing run": Mistake(transfer(flags="--from nowhere"), "there is no run in"),
    "checkpoint in place of a run": Mistake(
        transfer(flags="--from model.safetensors"), "there is no run in"
    ),
    "damaged run": Mistake(
        transfer(flags="--from garbled"), "config.json in garbled is damaged"
    ),
    "other channels": Mistake(
        transfer(flags=f"{FROM} --context-slices 1"), "sees 1 slices at once"
    ),
    "other filters": Mistake(
        transfer(flags=f"{FROM} --n-filters 4"), "the network needs"
    ),
    "no repeat": Mistake(transfer(flags=f"{FROM} --n-repeats 0"), "at least 1, got 0"),
    "too many moments": Mistake(
        transfer(flags=f"{FROM} --n-moments 5"), "at most 4, got 5"
    ),
    "unknown part": Mistake(
        transfer(flags=f"{FROM} --keep decoder"), "invalid choice: 'decoder'"
    ),
    "last seed too large": Mistake(
        transfer(flags=f"{FROM} --seed 2147483647"), "seed must be at most 2147483648"
    ),
    "missing image": Mistake(transfer("nowhere.tif"), "no file or folder nowhere.tif"),
    "one phase": Mistake(
        transfer(labels="one.tif"), "only phase 1; paint at least two"
    ),
    "folder of the run": Mistake(transfer(out="run"), "run is an input"),
    "place of something else": Mistake(
        transfer(out="mine", flags=f"{FROM} --overwrite"),
        "exists and is not a transfer",
    ),
    "nothing to resume": Mistake(
        transfer(out="mine", flags=f"{FROM} --resume"), "there is no transfer in mine"
    ),
    "resume and overwrite": Mistake(
        transfer(flags=f"{FROM} --resume --overwrite"), "leave one of them out"
    ),
    "no folder for it": Mistake(transfer(out="no/where"), "there is no folder"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
