import numpy as np
import pytest

from napari_lrcs.commands.measure import print_measures
from napari_lrcs.commands.parts.output import print_scores, print_table
from napari_lrcs.metrics.composition import measure_dict
from napari_lrcs.metrics.counting import compose
from napari_lrcs.metrics.overlap import scores_dict
from napari_lrcs.phases import ELECTRODE, PhaseTable

CONFUSION = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])


def test_scores_are_a_table_with_a_dash_for_what_is_undefined(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_scores(scores_dict(CONFUSION, ELECTRODE), title="Test of the best model")

    printed = capsys.readouterr()
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in printed.out.splitlines()
        if "│" in line
    ]
    assert rows == [
        ["pore", "75.0%", "85.7%", "100.0%", "75.0%"],
        ["CBD", "80.0%", "88.9%", "80.0%", "100.0%"],
        ["NMC", "–", "–", "–", "–"],
        ["mean", "77.5%", "", "", ""],
    ]
    assert "Test of the best model" in printed.out
    assert "accuracy 87.5%" in printed.out
    assert printed.err == ""


def test_measures_are_tables_of_phases_and_interfaces(
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = np.array([[[1, 1, 1, 2]]], np.uint8)
    phases = PhaseTable.named("pore", "solid")

    print_measures(measure_dict(compose(labels, n_phases=2), phases))

    printed = capsys.readouterr().out
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in printed.splitlines()
        if "│" in line
    ]
    assert rows == [
        ["pore", "75.0%", "25.0%", "33.3%"],
        ["solid", "25.0%", "25.0%", "100.0%"],
        ["pore – solid", "50.0%", "25.0%", "25.0%"],
    ]
    assert "26 neighbours" in printed


def test_pairs_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("napari-lrcs", [], {"torch": "2.6", "GPU": "none"}.items())

    printed = capsys.readouterr().out
    assert "napari-lrcs" in printed
    assert all(word in printed for word in ("torch", "2.6", "GPU", "none"))


def test_phases_that_are_never_predicted_are_named_below_the_scores(
    capsys: pytest.CaptureFixture[str],
) -> None:
    crack = np.array([[3, 0, 1], [1, 0, 0], [2, 0, 1]])

    print_scores(scores_dict(CONFUSION, ELECTRODE), title="Good")
    good = capsys.readouterr().out
    print_scores(scores_dict(crack, ELECTRODE), title="Bad")
    bad = capsys.readouterr().out

    assert "never predicted" not in good
    assert bad.splitlines()[-1] == "! CBD is never predicted where it is painted"


# ---- names from outside ----

ODD = "[/b] \x1b[31m:smile:\n\u202e"
SHOWN = "[/b] \\x1b[31m:smile:\\n\\u202e"


def test_names_are_shown_as_they_are_in_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    phases = PhaseTable.named(ODD, "b", "c")
    measured = compose(np.array([[1, 1, 2, 3]], np.uint8), n_phases=3)

    print_scores(scores_dict(CONFUSION, phases), title=ODD)
    print_measures(measure_dict(measured, phases))
    print_table(ODD, [], [(ODD, ODD)])

    printed = capsys.readouterr().out
    assert printed.count(SHOWN) == 8
    assert not set(printed) & {"\x1b", "\u202e"}
