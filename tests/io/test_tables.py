import csv
import io
from pathlib import Path

import pytest

from napari_lrcs.io.tables import as_text, write_csv


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t"])
def test_a_text_that_a_spreadsheet_would_run_is_quoted(sign: str) -> None:
    text = as_text([{"file": f"{sign}cmd.tif"}], delimiter=",")

    _, (cell,) = csv.reader(io.StringIO(text, newline=""))
    assert cell == f"'{sign}cmd.tif"


def test_a_column_that_a_spreadsheet_would_run_is_quoted() -> None:
    assert as_text([{"=a": 1, "b": 2}], delimiter=",") == "'=a,b\n1,2\n"


def test_a_text_cannot_begin_another_row() -> None:
    text = as_text([{"file": "a\r=cmd\n=cmd"}], delimiter=",")

    assert [*csv.reader(io.StringIO(text, newline=""))] == [
        ["file"],
        ["a\\r=cmd\n=cmd"],
    ]


def test_numbers_and_other_texts_stay_as_they_are() -> None:
    text = as_text([{"n": -1, "x": -0.5, "name": "a-b=c", "none": None}], delimiter=",")

    assert text == "n,x,name,none\n-1,-0.5,a-b=c,\n"


def test_a_name_that_is_not_text_is_written_as_an_escape(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", [{"file": "\udcff.tif"}])

    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == "file\n\\udcff.tif\n"
