import pytest

from napari_lrcs.io.units import METRES, SYMBOLS, known_unit


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [
        ("micrometer", "micrometer"),
        ("um", "micrometer"),
        ("\u00b5m", "micrometer"),  # the micro sign
        ("\u03bcm", "micrometer"),  # the Greek letter
        ("\\u00B5m", "micrometer"),
        (" Microns ", "micrometer"),
        ("Å", "angstrom"),
        ("in", "inch"),
        ("pixel", None),
        ("furlong", None),
        ("", None),
        (None, None),
    ],
)
def test_units_are_known_by_their_spellings(
    spelling: str | None, unit: str | None
) -> None:
    assert known_unit(spelling) == unit


@pytest.mark.parametrize("unit", METRES)
def test_every_unit_is_known_by_its_symbol(unit: str) -> None:
    assert known_unit(SYMBOLS[unit]) == unit
