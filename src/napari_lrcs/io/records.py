"""Read JSON and TOML, and check that every value has the type that is expected.

JSON is written without NaN, which it lacks.

All files that this package writes for itself are read through these functions.
"""

import json
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from napari_lrcs.io.writing import replacing

T = TypeVar("T")


def convert(value: object, kind: type[T]) -> T:
    """Check the types of JSON values, and build dataclasses from them.

    Parameters
    ----------
    value : object
        JSON values: dicts, lists, strings, numbers, None.
    kind : type
        Expected type: a dataclass, a ``TypedDict`` or a generic type. Keys that it does
        not name are ignored.

    Returns
    -------
    object of type `kind`

    Raises
    ------
    ValueError
        If a value has another type or is missing, or if its dataclass refuses it.

    Examples
    --------
    >>> convert([1, 2], tuple[int, ...])
    (1, 2)
    >>> convert({"iou": [0.5, "x"]}, dict[str, list[float]])
    Traceback (most recent call last):
    ...
    msgspec.ValidationError: Expected `float`, got `str` - at `$[...][1]`
    """
    try:
        return msgspec.convert(value, kind)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except AttributeError as error:  # a tensor, which looks like a mapping
        raise ValueError(f"expected an object: {error}") from error


def parse_json(text: str, kind: type[T]) -> T:
    """Parse JSON, NaN allowed, and `convert` it.

    Raises
    ------
    ValueError
        If the text is not JSON, or does not match `kind`.
    """
    return convert(_parse(json.loads, text), kind)


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file as `parse_json` does.

    Raises
    ------
    ValueError
        If the file is not JSON, or does not match `kind`.
    OSError
        If the file cannot be read.
    """
    return parse_json(read_text(path), kind)


def write_json(path: Path, values: object) -> None:
    """Write a JSON file, NaN allowed; an existing one is replaced as a whole."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_toml(path: Path, kind: type[T]) -> T:
    """Read a TOML file and `convert` it.

    Raises
    ------
    ValueError
        If the file is not TOML, or does not match `kind`.
    OSError
        If the file cannot be read.
    """
    return convert(_parse(tomllib.loads, read_text(path)), kind)


def as_json(values: object, *, indent: int | None = None) -> str:
    """Write values as JSON; NaN and infinity, which JSON lacks, become null.

    Parameters
    ----------
    values : object
        JSON values: dicts, lists, strings, numbers, None.
    indent : int, optional
        Spaces per level; all on one line by default.

    Examples
    --------
    >>> as_json({"iou": [0.5, float("nan")]})
    '{"iou": [0.5, null]}'
    """
    return json.dumps(_finite(values), indent=indent, allow_nan=False)


def _finite(values: object) -> object:
    match values:
        case dict():
            return {name: _finite(value) for name, value in values.items()}
        case list():
            return [_finite(value) for value in values]
        case float() if not math.isfinite(values):
            return None
    return values


def read_text(path: Path) -> str:
    """Read a text file; refuse pipes and devices, which may never end.

    Raises
    ------
    ValueError
        If it is not a regular file, or not UTF-8.
    OSError
        If it cannot be read.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    return path.read_text(encoding="utf-8")


def _parse(loads: Callable[[str], Any], text: str) -> object:
    try:
        return loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
