from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lrcs.phases import (
    ELECTRODE,
    MAX_PHASES,
    UNPAINTED,
    Phase,
    PhaseTable,
    check_same_numbers,
    naming_notes,
)


def phase(label: int, name: str = "pore", colour: str = "#0072b2") -> Phase:
    return Phase(label=label, name=name, colour=colour)


def test_unpainted_is_zero() -> None:
    assert UNPAINTED == 0


@pytest.mark.parametrize("label", [0, -1, 256])
def test_label_out_of_range_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=f"label must be 1 to 255, got {label}"):
        phase(label)


@pytest.mark.parametrize("name", ["", "  "])
def test_empty_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="the phase with label 2 has an empty name"):
        phase(2, name)


@pytest.mark.parametrize(
    "colour",
    ["", "blue", "#fff", "0072b2", "0072b2f", "#0072bg", "#0072b2ff", "##0072b"],
)
def test_colour_that_is_no_rrggbb_is_refused(colour: str) -> None:
    with pytest.raises(ValueError, match="a colour must look like #rrggbb"):
        phase(1, colour=colour)


def test_colour_is_red_green_blue() -> None:
    assert phase(1, colour="#FF8000").rgb == pytest.approx((1, 128 / 255, 0))


@pytest.mark.parametrize("labels", [(2, 1), (1, 3), (2, 3), (1, 1)])
def test_labels_with_gaps_or_out_of_order_are_refused(labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="phases must be labelled 1 to 2 in order"):
        PhaseTable(tuple(phase(label, f"phase {label}") for label in labels))


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_phases_are_refused(n: int) -> None:
    with pytest.raises(ValueError, match="a segmentation needs at least 2 phases"):
        PhaseTable.numbered(n)


def test_name_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two phases share a name: pore, NMC, pore"):
        PhaseTable.named("pore", "NMC", "pore")


@given(st.integers(2, MAX_PHASES))
def test_any_number_of_phases_gets_names_and_colours(n: int) -> None:
    table = PhaseTable.numbered(n)

    assert len(table) == n
    assert [p.label for p in table] == list(range(1, n + 1))
    assert table.names[-1] == f"phase {n}"


def test_first_eight_phases_differ_in_colour() -> None:
    assert len({p.colour for p in PhaseTable.numbered(8)}) == 8


def test_256_phases_do_not_fit_into_a_byte() -> None:
    with pytest.raises(ValueError, match="label must be 1 to 255, got 256"):
        PhaseTable.numbered(256)


def test_table_survives_the_way_to_json_and_back() -> None:
    assert PhaseTable.from_dicts(ELECTRODE.to_dicts()) == ELECTRODE


@pytest.mark.parametrize(
    "row", [{"label": 1}, {"label": 1, "name": "a", "colour": "#000000", "x": 1}]
)
def test_row_of_other_keys_is_refused(row: Any) -> None:
    with pytest.raises(ValueError, match=r"missing|labelled 1 to 2"):
        PhaseTable.from_dicts([row, row])


def test_electrode_is_pores_binder_and_particles() -> None:
    assert ELECTRODE.names == ("pore", "CBD", "NMC")


# ---- tables of several files ----


def test_the_same_phases_in_another_order_are_refused() -> None:
    other = PhaseTable.named("nmc", "Pore", "cbd")

    with pytest.raises(ValueError, match="1 pore, 2 CBD, 3 NMC") as caught:
        check_same_numbers(("a.tif", ELECTRODE), ("b.tif", None), ("c.tif", other))

    assert "c.tif has 1 nmc, 2 Pore, 3 cbd: the same phases" in str(caught.value)
    assert "Label phases" in str(caught.value)


def test_a_phase_with_another_number_is_refused() -> None:
    with pytest.raises(ValueError, match="pore does not have the same number"):
        check_same_numbers(("a", ELECTRODE), ("b", PhaseTable.named("air", "pore")))


@pytest.mark.parametrize(
    "other",
    [
        PhaseTable.numbered(3),
        PhaseTable.named("PORE", "cbd", "nmc"),
        PhaseTable.named("pores", "binder", "particles", "crack"),
        PhaseTable.named("phase 1", "CBD", "phase 3"),
    ],
)
def test_other_names_at_the_same_numbers_are_accepted(other: PhaseTable) -> None:
    check_same_numbers(("a", ELECTRODE), ("b", other))


def test_other_names_at_the_same_numbers_are_noted() -> None:
    spelt = PhaseTable.named("pores", "CBD", "NMC")

    (note,) = naming_notes(("a", ELECTRODE), ("b", None), ("c", spelt))

    assert note.startswith("a has 3 phases (pore, CBD, NMC), c 3 (pores, CBD, NMC)")


def test_names_that_differ_in_case_or_are_numbers_are_not_noted() -> None:
    shouted, numbered = PhaseTable.named("PORE", "cbd", "nmc"), PhaseTable.numbered(3)

    notes = naming_notes(("a", ELECTRODE), ("b", shouted), ("c", numbered))

    assert notes == ()
