from collections.abc import Callable

import pytest

from mistakes import Mistake

pytestmark = pytest.mark.usefixtures("one_thread")


def export(
    model: str = "run",
    *,
    format_: str = "onnx",
    out: str = "new.onnx",
    flags: str = "",
) -> str:
    return f"export {model} --format {format_} --out {out} {flags}"


MISTAKES = {
    "unknown format": Mistake(export(format_="tensorflow"), "invalid choice: 'tensor"),
    "suffix of another format": Mistake(
        export(out="new.zip"),
        "cannot be written to new.zip: its name must end in .onnx",
    ),
    "no suffix": Mistake(
        export(format_="bioimageio", out="new"), "its name must end in .zip"
    ),
    "missing model": Mistake(export("no"), "no checkpoint at no; choose a"),
    "pickle": Mistake(export("pickle.safetensors"), "is a pickle, which may run"),
    "weights of another network": Mistake(
        export("mixed.safetensors"), "does not fit the network"
    ),
    "no parent folder": Mistake(export(out="no/new.onnx"), "there is no folder"),
    "existing file": Mistake(export(out="taken.onnx"), "taken.onnx exists already"),
    "a folder": Mistake(
        export(out="folder.onnx", flags="--overwrite"), "is a folder; give the name"
    ),
    "into the run": Mistake(
        export(out="run/best.safetensors/new.onnx"), "is inside the input"
    ),
    "an author in a file without": Mistake(
        export(flags="--author Ada"), "--author is for --format bioimageio"
    ),
    "short name": Mistake(
        export(format_="bioimageio", out="new.zip", flags="--name LRCS"),
        "give one of 5 to 128 letters",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_one_line_and_touches_nothing(
    mistake: Mistake, assert_refused: Callable[[Mistake], None]
) -> None:
    assert_refused(mistake)
