import csv
from pathlib import Path

import pytest

from command_line import Run, printed_object


def test_profile_finds_the_width_of_an_interface(place: Path, run: Run) -> None:
    line = "profile image.tif --line 2,12,2:12,21 --width 9"

    profile = printed_object(run(f"{line} --json --csv p.csv --figure p.png"))
    printed = run(line)

    assert profile["start"] == [2, 12, 2]
    assert profile["fit"]["width"] < 2  # the step is sharp
    assert profile["fit"]["centre"] == pytest.approx(9.5, abs=0.5)
    assert profile["fit"]["low"] == pytest.approx(500, abs=10)
    assert profile["physical"] is None
    with (place / "p.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == profile["value"]
    assert (place / "p.png").is_file()
    assert "Interface in image.tif" in printed
