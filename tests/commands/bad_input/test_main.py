from collections.abc import Callable

import pytest

from mistakes import Mistake

pytestmark = pytest.mark.usefixtures("one_thread", "small_phantom")


MISTAKES = {
    "existing demo": Mistake("demo --out mine", "mine exists already"),
    "demo on no device": Mistake("demo --out new --device tpu", "got 'tpu'"),
    "demo with other phases": Mistake(
        "demo --out new --device cpu --phase-weights 1 2", "must be 3 numbers"
    ),
    "no command": Mistake("", "COMMAND"),
    "unknown command": Mistake("segment image.tif", "invalid choice: 'segment'"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
