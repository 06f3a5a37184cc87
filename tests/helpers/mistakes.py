"""Commands with a mistake, and what must come of them."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

TINY = (
    "--n-filters 2 --n-epochs 1 --patches-per-epoch 4 --patch-size 16 --batch-size 2 "
    "--context-slices 0 --device cpu --precision float32"
)


def _learn(
    command: str,
    image: str = "image.tif",
    labels: str = "labels.tif",
    *,
    slices: str = "--train-z 1 --validation-z 4",
    out: str = "new",
    flags: str = "",
) -> str:
    return f"{command} {image} {labels} {slices} --out {out} {TINY} {flags}"


train = partial(_learn, "train")
uncertainty = partial(_learn, "uncertainty", slices="--train-z 1:3 --test-z 5")
search = partial(_learn, "search", flags="--search learning_rate=1e-3,1e-2")
transfer = partial(_learn, "transfer", flags="--from run")


def predict(
    image: str = "image.tif",
    model: str = "run",
    *,
    out: str = "new.tif",
    flags: str = "",
) -> str:
    return f"predict {image} {model} --out {out} --device cpu {flags}"


def baseline(flags: str, *, image: str = "image.tif", out: str = "new.tif") -> str:
    return f"baseline {image} {flags} --out {out}"


def look(
    image: str = "image.tif",
    model: str = "run",
    *,
    slices: str = "--z 1",
    layer: str = "--layer encoder.0",
    out: str = "new",
    flags: str = "",
) -> str:
    return f"look {image} {model} {slices} {layer} --out {out} {flags}"


class Mistake(NamedTuple):
    command: str
    says: str


def contents(folder: Path) -> dict[str, bytes | None]:
    """Take all names under a folder, and the bytes of files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def only_error(printed: str) -> str:
    (error,) = [line for line in printed.splitlines() if line.startswith("error: ")]
    assert error == printed.splitlines()[-1]
    assert "Traceback" not in printed
    return error
