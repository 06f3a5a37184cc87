import json
import math
from pathlib import Path
from typing import Any

import pytest

from napari_lrcs.errors import VolumeError
from napari_lrcs.io.records import (
    Record,
    convert,
    parse_json,
    read_json,
    read_toml,
)
from napari_lrcs.phases import ELECTRODE, PhaseTable

DEEP = 100_000


def test_dataclasses_are_built_from_their_json() -> None:
    text = json.dumps({"phases": ELECTRODE.to_dicts()})

    assert parse_json(text, PhaseTable) == ELECTRODE


def test_nan_is_a_number() -> None:
    assert math.isnan(parse_json('{"loss": NaN}', dict[str, float])["loss"])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (5, "Expected `object`, got `int`"),
        ({}, "missing required field `phases`"),
        ({"phases": [{"label": 1, "name": 5, "colour": "#ffffff"}]}, "phases.0..name"),
        ({"phases": [{"label": 0, "name": "a", "colour": "#ffffff"}]}, "must be 1 to"),
        ({"phases": []}, "needs at least 2 phases"),
    ],
)
def test_another_type_is_refused_with_its_place(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert(value, PhaseTable)


@pytest.mark.parametrize("text", ["[" * DEEP, '{"a":' * DEEP], ids=["lists", "objects"])
def test_json_that_is_nested_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(text, dict[str, Any])


def test_toml_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text("a = " + "[" * DEEP, encoding="utf-8")

    with pytest.raises(ValueError, match="nested too deeply"):
        read_toml(path, dict[str, Any])


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"\xff{}")

    with pytest.raises(ValueError, match="utf-8"):
        read_json(path, dict[str, Any])


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"n": 1, "config": {"seed": 8, "balance": 0.5}}, r"\(seed: 7, now 8\)"),
        ({"n": 1, "config": {"seed": 7}}, r"\(balance: 0.5, now None\)"),
        ({"config": {"seed": 7, "balance": 0.5}}, r"\(n: 1, now None\)"),
    ],
)
def test_a_task_that_has_changed_is_refused(
    now: dict[str, Any], message: str, tmp_path: Path
) -> None:
    record = Record(path=tmp_path / "a.json", kind=dict[str, Any], what="search")
    begun = {"n": 1, "config": {"seed": 7, "balance": 0.5}}
    record.write({"task": begun})

    record.check_same(begun)
    with pytest.raises(VolumeError, match=message):
        record.check_same(now)
