"""Units of length: as OME-NGFF spells them, as others do, and in metres."""

_UNITS = {
    "picometer": ("pm", 1e-12),
    "angstrom": ("Å", 1e-10),
    "nanometer": ("nm", 1e-9),
    "micrometer": ("µm", 1e-6),
    "millimeter": ("mm", 1e-3),
    "centimeter": ("cm", 1e-2),
    "meter": ("m", 1.0),
    "inch": ("in", 0.0254),
}

SYMBOLS = {unit: symbol for unit, (symbol, _) in _UNITS.items()}
"""Symbols as OME-TIFF takes them, by the units' names in OME-NGFF."""

METRES = {unit: metres for unit, (_, metres) in _UNITS.items()}
"""Lengths of the units in metres, by their names in OME-NGFF."""

# Folding the case also makes the micro sign the Greek letter.
_SPELLINGS = {
    **{unit: unit for unit in _UNITS},
    **{symbol.casefold(): unit for unit, symbol in SYMBOLS.items()},
    "um": "micrometer",
    "\\u00b5m": "micrometer",  # ImageJ's escape, left as it stands by some readers
    "micron": "micrometer",
    "microns": "micrometer",
}


def known_unit(spelling: str | None) -> str | None:
    """Return a unit as OME-NGFF spells it.

    Parameters
    ----------
    spelling : str, optional
        Name or symbol, in capitals or not.

    Returns
    -------
    str or None
        None where there is no unit, or none of length that is known, as for pixels.

    Examples
    --------
    >>> known_unit("um")
    'micrometer'
    >>> known_unit("pixel") is None
    True
    """
    return _SPELLINGS.get((spelling or "").strip().casefold())
